"""What an ONNX file asks for, read from its bytes before any engine sees them.

A bundle may come from anybody. Its networks are one graph of standard operators with their weights inside: no data
beside the file, no code of others, no loops, no weights that are no numbers, no sizes that nothing backs. This reads
just enough of the protocol buffer (`onnx.proto`, field numbers as there) to say so, without the package `onnx`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np

from edge_infer.bundle.manifest import Stage
from edge_infer.bundle.protobuf import Span, fields, numbers, text
from edge_infer.errors import BundleMismatchError, BundleUnsafeError

_DOMAINS = ("", "ai.onnx")
_IMPORTED = ("ai.onnx.", "com.microsoft", "com.ms.internal.", "org.pytorch.aten")
"""How further domains begin that ONNX Runtime's tools import in every file that they write; no node may be of them."""
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_GROWS = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3}
"""Operators that make a tensor of a given size, and which of their inputs gives it."""
_MOST_ELEMENTS = 2**28
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_FLOATS: dict[int, type[np.floating] | str] = {1: "<f4", 10: "<f2", 11: "<f8"}
_BFLOAT16 = 16
_UINT8, _FLOAT = 2, 1


@dataclass
class _Graph:
    inputs: dict[str, tuple[int, list[int | None]]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, list[int | None]]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    grown: list[tuple[str, str]] = field(default_factory=list)


def check_network(data: bytes, stage: Stage, name: str) -> None:
    """Refuses an ONNX file that a bundle may not hold.

    Args:
        data: the file.
        stage: what the manifest says of it.
        name: how messages call the file.

    Raises:
        BundleUnsafeError: no readable ONNX; external data, operators outside ONNX's own, functions, loops or branches,
            random operators, weights that are not finite, or sizes that nothing backs.
        BundleMismatchError: inputs or outputs have other names, types or shapes than the manifest says.
    """
    try:
        graph = _model(memoryview(data), name)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise _unsafe(name, "is no readable ONNX file") from error
    for operator, tensor in graph.grown:
        if graph.sizes.get(tensor, 0) > _MOST_ELEMENTS:
            raise _unsafe(name, f"makes a tensor of {graph.sizes[tensor]:,} elements ({operator})")
    spec, wanted = stage.input, stage.output
    shape: list[int | None] = [spec.height, spec.width, spec.channels]
    if list(graph.inputs) != [spec.name] or not _fits(graph.inputs[spec.name], _UINT8, 4, shape):
        raise _mismatch(
            name, f"takes {_words(graph.inputs)}", f"'{spec.name}' uint8 (n, {spec.height}, {spec.width}, 3)"
        )
    rank = 3 if wanted.kind == "probability_map" else 2
    inner: list[int | None] = [spec.height, spec.width] if rank == 3 else [None]
    if wanted.name not in graph.outputs or not _fits(graph.outputs[wanted.name], _FLOAT, rank, inner):
        raise _mismatch(name, f"gives {_words(graph.outputs)}", f"'{wanted.name}' float32 of {rank} axes")


def _unsafe(name: str, what: str) -> BundleUnsafeError:
    return BundleUnsafeError(f"'{name}' {what}.", "Do not use this bundle; take it from where you trust.")


def _mismatch(name: str, has: str, wanted: str) -> BundleMismatchError:
    return BundleMismatchError(
        f"'{name}' {has}; the manifest says {wanted}.",
        "Export the bundle again; do not mix files of different bundles.",
    )


def _words(values: dict[str, tuple[int, list[int | None]]]) -> str:
    listed = (
        f"'{key}' type {kind} {tuple('?' if s is None else s for s in shape)}" for key, (kind, shape) in values.items()
    )
    return ", ".join(listed) or "nothing"


def _fits(found: tuple[int, list[int | None]], kind: int, rank: int, inner: list[int | None]) -> bool:
    if found[0] != kind or len(found[1]) != rank:
        return False
    return all(size is None or want is None or size == want for size, want in zip(found[1][1:], inner, strict=True))


def _model(data: memoryview, name: str) -> _Graph:
    graphs: list[Span] = []
    for number, _, span in fields(data, (0, len(data))):
        if number == 7:
            graphs.append(span)
        elif number == 8:
            for inner, _, where in fields(data, span):
                domain = text(data, where) if inner == 1 else ""
                if domain not in _DOMAINS and not domain.startswith(_IMPORTED):
                    raise _unsafe(name, f"needs operators of '{domain}', which are not ONNX's own")
        elif number in (20, 25):
            raise _unsafe(name, "holds functions or training steps of its own")
    if len(graphs) != 1:
        raise _unsafe(name, "is no readable ONNX file")
    graph = _Graph()
    for number, _, span in fields(data, graphs[0]):
        if number == 1:
            _node(data, span, graph, name)
        elif number == 5:
            _tensor(data, span, graph, name)
        elif number == 11:
            _value(data, span, graph.inputs)
        elif number == 12:
            _value(data, span, graph.outputs)
        elif number == 15:
            raise _unsafe(name, "holds sparse weights")
    for tensor in graph.sizes:
        graph.inputs.pop(tensor, None)  # before IR 4, weights were listed among the inputs
    return graph


def _value(data: memoryview, span: Span, values: dict[str, tuple[int, list[int | None]]]) -> None:
    key, kind, shape = "", 0, []
    for number, _, where in fields(data, span):
        if number == 1:
            key = text(data, where)
        elif number == 2:
            for inner, _, tensor in fields(data, where):
                if inner != 1:
                    continue
                for part, value, dims in fields(data, tensor):
                    if part == 1:
                        kind = value
                    elif part == 2:
                        shape = [_dimension(data, dim) for _, _, dim in fields(data, dims)]
    values[key] = (kind, shape)


def _dimension(data: memoryview, span: Span) -> int | None:
    for number, value, _ in fields(data, span):
        if number == 1:
            return value
    return None


def _node(data: memoryview, span: Span, graph: _Graph, name: str) -> None:
    inputs: list[str] = []
    outputs: list[str] = []
    operator, tensors = "", []
    for number, _, where in fields(data, span):
        if number == 1:
            inputs.append(text(data, where))
        elif number == 2:
            outputs.append(text(data, where))
        elif number == 4:
            operator = text(data, where)
        elif number == 5:
            tensors += _attribute(data, where, name)
        elif number == 7 and text(data, where) not in _DOMAINS:
            raise _unsafe(name, f"needs operators of '{text(data, where)}', which are not ONNX's own")
    if operator in _RANDOM:
        raise _unsafe(name, f"answers at random ({operator})")
    for tensor in tensors:
        _tensor(data, tensor, graph, name, outputs[0] if outputs else "")
    place = _GROWS.get(operator)
    if place is not None and place < len(inputs):
        graph.grown.append((operator, inputs[place]))


def _attribute(data: memoryview, span: Span, name: str) -> list[Span]:
    tensors = []
    for number, _, where in fields(data, span):
        if number in (6, 11):
            raise _unsafe(name, "holds loops or branches")
        if number in (22, 23):
            raise _unsafe(name, "holds sparse weights")
        if number in (5, 10):
            tensors.append(where)
    return tensors


def _tensor(data: memoryview, span: Span, graph: _Graph, name: str, output: str = "") -> None:
    dims: list[int] = []
    kind, key, raw, others = 0, output, None, []
    for number, value, where in fields(data, span):
        if number == 1:
            dims += numbers(data, where)
        elif number == 2:
            kind = value
        elif number == 8 and not output:
            key = text(data, where)
        elif number == 9:
            raw = where
        elif number in (4, 5, 7, 10, 11):
            others.append((number, value, where))
        elif number == 13 or (number == 14 and value == 1):
            raise _unsafe(name, "keeps weights in another file")
    count = math.prod(dims)
    if any(size >= 2**63 for size in dims) or kind not in _ITEM_BYTES:
        raise _unsafe(name, f"holds weights of a shape or type that does not exist ({dims}, type {kind})")
    if raw is not None and raw[1] - raw[0] != count * _ITEM_BYTES[kind]:
        raise _unsafe(name, f"says that weights have {count:,} values, and holds {raw[1] - raw[0]:,} bytes for them")
    if raw is None and count > sum(where[1] - where[0] for _, _, where in others):
        raise _unsafe(name, f"says that weights have {count:,} values, and does not hold them")
    _require_finite(data, kind, raw, others, key, name)
    graph.sizes[key] = _elements(data, kind, raw, others) if count <= 8 else 0


def _require_finite(
    data: memoryview, kind: int, raw: Span | None, others: list[tuple[int, int, Span]], key: str, name: str
) -> None:
    finite = True
    if raw is not None and kind in _FLOATS:
        finite = bool(np.isfinite(np.frombuffer(data[raw[0] : raw[1]], _FLOATS[kind])).all())
    elif raw is not None and kind == _BFLOAT16:
        finite = bool(((np.frombuffer(data[raw[0] : raw[1]], "<u2") & 0x7F80) != 0x7F80).all())
    for number, _, where in others:
        if number in (4, 10):
            stored = "<f4" if number == 4 else "<f8"
            finite = finite and bool(np.isfinite(np.frombuffer(data[where[0] : where[1]], stored)).all())
    if not finite:
        raise _unsafe(name, f"holds weights that are not finite ('{key}')")


def _elements(data: memoryview, kind: int, raw: Span | None, others: list[tuple[int, int, Span]]) -> int:
    """The product of a few 64-bit integers, as if they were a shape; 0 for other tensors."""
    if kind != 7:
        return 0
    values = [] if raw is None else np.frombuffer(data[raw[0] : raw[1]], "<i8").tolist()
    for number, _, where in others:
        values += numbers(data, where) if number == 7 else []
    return math.prod(max(1, value if value < 2**63 else 1) for value in values)
