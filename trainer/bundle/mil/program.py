"""A saved program, read from disk and evaluated operation by operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.bundle.mil.errors import MilError, UnknownOperationError
from trainer.bundle.mil.operations import OPERATIONS
from trainer.bundle.mil.rounding import WEIGHTED, FirstLayers, to_half
from trainer.bundle.mil.weights import DECOMPRESSIONS, constant

_REMEDY = "Export it with trainer.bundle.coreml."


class MilProgram:
    """A saved ML program with an image input, evaluated picture by picture.

    Attributes:
        outputs: names of all outputs, the stage's own first.
        metadata: the package's user-defined strings.
        layers: how many operations have weights of their own (convolutions and linear layers).
        multiplications: of these layers for one picture.
        float32_share: the part of `multiplications` in layers whose results are float32.
        input_shape: (height, width, 3) of the image input.
        operations: how often the program uses each operation, constants left out.
    """

    def __init__(self, path: Path) -> None:
        """Reads a package from disk.

        Args:
            path: an `.mlpackage` with an ML program of one image input.

        Raises:
            UnknownOperationError: the program uses an operation that is not implemented.
            MilError: the package is no ML program with one image input and an output.
        """
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.models import MLModel

        package = MLModel(str(path), skip_model_load=True)
        spec = package.get_spec()
        if spec.WhichOneof("Type") != "mlProgram":
            raise MilError(f"'{path}' holds no ML program.", "Convert it with convert_to='mlprogram'.")
        inputs, outputs = spec.description.input, spec.description.output
        if len(inputs) != 1 or inputs[0].type.WhichOneof("Type") != "imageType" or not outputs:
            raise MilError(f"'{path}' does not take one image and give an output.", _REMEDY)
        image = inputs[0].type.imageType
        colours = {image.ColorSpace.Value("RGB"): slice(None), image.ColorSpace.Value("BGR"): slice(None, None, -1)}
        if image.colorSpace not in colours:
            raise MilError(f"'{path}' takes a {image.ColorSpace.Name(image.colorSpace)} image.", _REMEDY)
        self._channels = colours[image.colorSpace]
        self.metadata: Mapping[str, str] = dict(spec.description.metadata.userDefined)
        self.input_shape = (int(image.height), int(image.width), 3)
        self._input = inputs[0].name
        self.outputs: tuple[str, ...] = tuple(output.name for output in outputs)
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=package.weights_dir)
        main = program.functions["main"]
        self._steps: list[_Step] = []
        self._constants: dict[str, Any] = {}
        self.operations: Counter[str] = Counter()
        for op in main.operations:
            if op.op_type == "const":
                self._constants[op.outputs[0].name] = constant(op.outputs[0].val)
                continue
            self.operations[op.op_type] += 1
            if op.op_type in DECOMPRESSIONS:
                dense = DECOMPRESSIONS[op.op_type]({name: var.val for name, var in op.inputs.items()})
                self._constants[op.outputs[0].name] = constant(dense)
            elif op.op_type in OPERATIONS:
                self._steps.append(_Step(op))
            else:
                raise UnknownOperationError(op.op_type)
        weighted = [step for step in self._steps if step.multiplications]
        self.layers = len(weighted)
        self.multiplications = sum(step.multiplications for step in weighted)
        exact = sum(step.multiplications for step in weighted if not step.is_half)
        self.float32_share = exact / self.multiplications if self.multiplications else 0.0
        last_use = {name: i for i, step in enumerate(self._steps) for name in step.uses}
        for i, step in enumerate(self._steps):
            step.frees = [name for name in step.uses if last_use[name] == i and name not in self.outputs]

    def share_of_first(self, layers: int) -> float:
        """The part of all multiplications that the first so many layers do."""
        weighted = [step.multiplications for step in self._steps if step.multiplications]
        return sum(weighted[:layers]) / self.multiplications if self.multiplications else 0.0

    def run(
        self, batch: NDArray[np.uint8], *, fp16: bool = True, float_layers: int | None = None
    ) -> NDArray[np.float32]:
        """Evaluates the program on every picture of a batch, one after the other (the package's batch is 1).

        Args:
            batch: uint8, shape (n, height, width, 3), RGB.
            fp16: round every result that the program declares float16; False keeps float32 activations throughout
                (weights keep the precision in which they are stored).
            float_layers: for a float32 program: give what a float16 program with so many first layers in float32
                would, rounding weights too (see `trainer.bundle.coreml.export_coreml`).

        Returns:
            float32, shape (n, ...): the program's output without its own leading batch axis.

        Raises:
            MilError: the batch has another dtype or picture size.
        """
        return self._run(batch, self.outputs[:1], fp16, float_layers)[0]

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """As `run`, with these outputs."""
        return self._run(batch, names, True, None)

    def _run(
        self, batch: NDArray[np.uint8], names: Sequence[str], fp16: bool, float_layers: int | None
    ) -> tuple[NDArray[np.float32], ...]:
        if batch.dtype != np.uint8 or batch.shape[1:] != self.input_shape:
            raise MilError(
                f"Expected uint8 pictures of shape (n, {', '.join(map(str, self.input_shape))}), "
                f"got {batch.dtype} {batch.shape}.",
                "Resize the pictures to the stage's input size.",
            )
        rows = [self._run_one(picture, names, fp16, float_layers) for picture in batch]
        return tuple(np.concatenate(column) for column in zip(*rows, strict=True))

    @torch.no_grad()
    def _run_one(
        self, picture: NDArray[np.uint8], names: Sequence[str], fp16: bool, float_layers: int | None
    ) -> list[NDArray[np.float32]]:
        planes = np.ascontiguousarray(picture[:, :, self._channels].transpose(2, 0, 1)[None])
        values: dict[str, Any] = {**self._constants, self._input: torch.from_numpy(planes).float()}
        in_float = FirstLayers(float_layers or 0)
        for step in self._steps:
            arguments = step.arguments(values)
            rounded = fp16 and step.is_half
            if float_layers is not None and not in_float(step.type):
                arguments, rounded = {name: to_half(value) for name, value in arguments.items()}, True
            result = OPERATIONS[step.type](arguments)
            if rounded:
                result = to_half(result)
            values[step.output] = result
            for name in step.frees:
                values.pop(name, None)
        return [np.asarray(values[name].numpy(), np.float32) for name in names]


class _Step:
    """One operation of the program with the names of its arguments and of its result."""

    def __init__(self, op: Any) -> None:
        from coremltools.converters.mil.mil import types

        if len(op.outputs) != 1:
            raise UnknownOperationError(op.op_type, f"{len(op.outputs)} results")
        self.type: str = op.op_type
        self.output: str = op.outputs[0].name
        self.is_half: bool = op.outputs[0].dtype == types.fp16
        self._inputs: dict[str, str | list[str]] = {
            name: [v.name for v in var] if isinstance(var, list | tuple) else var.name
            for name, var in op.inputs.items()
            if var is not None
        }
        self.multiplications = _multiplications(op) if self.type in WEIGHTED else 0
        self.uses = [
            name for value in self._inputs.values() for name in (value if isinstance(value, list) else [value])
        ]
        self.frees: list[str] = []

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: [values[name] for name in names] if isinstance(names, list) else values[names]
            for key, names in self._inputs.items()
        }


def _multiplications(op: Any) -> int:
    """Of one picture. A weight's first axis is the output's channels; in a transposed convolution, the input's."""
    over = op.inputs["x"] if op.op_type == "conv_transpose" else op.outputs[0]
    return int(np.prod(over.shape) * np.prod(op.inputs["weight"].shape[1:]))
