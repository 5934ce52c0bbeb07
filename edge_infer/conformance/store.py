"""Vectors on disk: `index.json`, raw little-endian arrays, encoded picture files; `README.md` has the format."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_infer.errors import EdgeInferError
from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse

FORMAT = 1
INDEX, README = "index.json", "README.md"
DTYPES = {"uint8": "|u1", "float32": "<f4"}
MEASURES = ("max_abs", "mean_abs", "max_relative", "max_share", "min_iou")


class VectorsError(EdgeInferError):
    """A folder of conformance vectors is missing, damaged, of another format, or of another bundle."""

    code: ClassVar[str] = "vectors"


@dataclass(frozen=True)
class FileBytes:
    """The bytes of a file that a step is given, and the ending that its name gets."""

    data: bytes
    suffix: str


@dataclass(frozen=True)
class Vector:
    """One check of one step.

    Attributes:
        name: `<step>/<case>`, unique.
        step: a key of `edge_infer.conformance.run.STEPS`.
        about: what the case is, in words.
        given: arguments by name: JSON values, arrays (uint8 or float32), `FileBytes`.
        expect: results by name: JSON values and arrays; `{"error": code}` where a typed error is expected.
        tolerance: by result name, bounds by measure (see `MEASURES`); a result without one must be equal.
    """

    name: str
    step: str
    about: str
    given: dict[str, Any]
    expect: dict[str, Any]
    tolerance: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class StepEntry:
    """What a step is: in words, and what it needs: `nothing`, `decoder`, `manifest` or `networks` of the bundle."""

    about: str
    needs: str


@dataclass(frozen=True)
class BundleEntry:
    """The bundle that the vectors were made from; `sha256` is that of its manifest."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Index:
    """The contents of `index.json`, with references in place of arrays and files."""

    format: int
    bundle: BundleEntry
    steps: dict[str, StepEntry]
    vectors: tuple[Vector, ...]


def write_folder(folder: Path, index: Index, readme: str) -> int:
    """Writes the vectors into a folder, in place of those that it holds. Equal arrays are stored once.

    Returns:
        Bytes written.

    Raises:
        VectorsError: the folder holds something other than vectors.
        OutputError: it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / INDEX).is_file():
        raise VectorsError(f"'{folder}' holds something other than vectors.", "Give a new or empty folder.")
    for old in ("arrays", "files"):
        shutil.rmtree(folder / old, ignore_errors=True)
    known: dict[str, str] = {}
    total = 0

    def keep(place: str, suffix: str, data: bytes) -> str:
        nonlocal total
        digest = hashlib.sha256(data).hexdigest() + suffix
        if digest not in known:
            known[digest] = place
            write_atomically(folder / place, data)
            total += len(data)
        return known[digest]

    def refer(value: Any, place: str) -> Any:
        if isinstance(value, FileBytes):
            return {"file": keep(f"files/{place}{value.suffix}", value.suffix, value.data)}
        if isinstance(value, np.ndarray):
            name = str(value.dtype)
            data = np.ascontiguousarray(value).astype(DTYPES[name]).tobytes()
            path = keep(f"arrays/{place}.{'u8' if name == 'uint8' else 'f32'}", name, data)
            return {"array": path, "dtype": name, "shape": list(value.shape)}
        if isinstance(value, Mapping):
            return {key: refer(item, f"{place}.{key}") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [refer(item, f"{place}.{i}") for i, item in enumerate(value)]
        return value

    stored = []
    for vector in index.vectors:
        place = re.sub(r"[^\w.-]+", "-", vector.name)
        given = refer(vector.given, f"{place}.given")
        expect = refer(vector.expect, f"{place}.expect")
        stored.append(replace(vector, given=given, expect=expect))
    head = dump(Index(index.format, index.bundle, index.steps, ()))
    lines = [json.dumps(dump(vector), ensure_ascii=False, allow_nan=False) for vector in stored]
    text = json.dumps(head, indent=1, ensure_ascii=False).replace('"vectors": []', '"vectors": [\n  %s\n ]')
    content = (text % ",\n  ".join(lines) + "\n").encode()
    write_atomically(folder / README, readme.encode())
    write_atomically(folder / INDEX, content)
    return total + len(content) + len(readme.encode())


def read_folder(folder: Path) -> Index:
    """Reads vectors with their arrays and files.

    Raises:
        VectorsError: something is missing, damaged, or of another format.
    """
    remedy = "Write the vectors again with `edge-infer vectors BUNDLE -o DIR`."
    try:
        data = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise VectorsError(f"'{folder / INDEX}' is of another format than {FORMAT}.", remedy)
        index = parse(Index, data)
        vectors = tuple(
            Vector(v.name, v.step, v.about, _resolve(v.given, folder), _resolve(v.expect, folder), v.tolerance)
            for v in index.vectors
        )
    except (OSError, ValueError, KeyError, SchemaError) as error:
        raise VectorsError(f"The vectors in '{folder}' cannot be read: {error}.", remedy) from error
    return Index(index.format, index.bundle, index.steps, vectors)


def _resolve(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"array", "dtype", "shape"}:
            return _array(folder / value["array"], value["dtype"], value["shape"])
        if set(value) == {"file"} and isinstance(value["file"], str):
            path = folder / value["file"]
            return FileBytes(path.read_bytes(), path.suffix)
        return {key: _resolve(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, folder) for item in value]
    return value


def _array(path: Path, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    raw: NDArray[Any] = np.frombuffer(path.read_bytes(), DTYPES[dtype])
    return raw.astype(dtype).reshape(shape)
