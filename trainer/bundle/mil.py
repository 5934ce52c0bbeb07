"""A reference interpreter for Core ML packages: a saved `.mlpackage` can be checked where Core ML does not run.

It reads the package back from disk, program and weights, and evaluates every operation with PyTorch on the CPU. The
parity gate of the export uses it on real pictures on any platform, which is why it lives here and not among the tests;
on macOS, Core ML's own `predict` can be compared with it. Arithmetic inside an operation is float32; with `fp16=True`
the result of every operation that the program declares float16 is rounded to float16, which is how Core ML stores
activations. Accelerators may sum in another order or precision: the figures are those of the format, not of one chip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainer.bundle.errors import ExportError

Arguments = Mapping[str, Any]
Operation = Callable[[Arguments], Any]
Decompression = Callable[[Arguments], NDArray[Any]]
WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})
_REMEDY = "Export it with trainer.bundle.coreml."


class MilError(ExportError):
    """A Core ML package cannot be evaluated by the interpreter."""

    code = "mil"


class UnknownOperationError(MilError):
    """The program uses an operation, or a mode of one, that the interpreter does not know; `operation` names it."""

    code = "mil-unknown-operation"

    def __init__(self, operation: str, detail: str = "") -> None:
        super().__init__(
            f"The MIL interpreter does not know the operation '{operation}'{f' with {detail}' if detail else ''}.",
            "Add it to trainer/bundle/mil.py with a test against PyTorch.",
        )
        self.operation = operation


class MilProgram:
    """A saved ML program with an image input and one output, evaluated picture by picture.

    Attributes:
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
            path: an `.mlpackage` with an ML program of one image input and one output.

        Raises:
            UnknownOperationError: the program uses an operation that is not implemented.
            MilError: the package is no ML program with one image input and one output.
        """
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.models import MLModel

        package = MLModel(str(path), skip_model_load=True)
        spec = package.get_spec()
        if spec.WhichOneof("Type") != "mlProgram":
            raise MilError(f"'{path}' holds no ML program.", "Convert it with convert_to='mlprogram'.")
        inputs, outputs = spec.description.input, spec.description.output
        if len(inputs) != 1 or inputs[0].type.WhichOneof("Type") != "imageType" or len(outputs) != 1:
            raise MilError(f"'{path}' does not take one image and give one output.", _REMEDY)
        image = inputs[0].type.imageType
        colours = {image.ColorSpace.Value("RGB"): slice(None), image.ColorSpace.Value("BGR"): slice(None, None, -1)}
        if image.colorSpace not in colours:
            raise MilError(f"'{path}' takes a {image.ColorSpace.Name(image.colorSpace)} image.", _REMEDY)
        self._channels = colours[image.colorSpace]
        self.metadata: Mapping[str, str] = dict(spec.description.metadata.userDefined)
        self.input_shape = (int(image.height), int(image.width), 3)
        self._input, self._output = inputs[0].name, outputs[0].name
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=package.weights_dir)
        main = program.functions["main"]
        self._steps: list[_Step] = []
        self._constants: dict[str, Any] = {}
        self.operations: Counter[str] = Counter()
        for op in main.operations:
            if op.op_type == "const":
                self._constants[op.outputs[0].name] = _constant(op.outputs[0].val)
                continue
            self.operations[op.op_type] += 1
            if op.op_type in _DECOMPRESSIONS:
                dense = _DECOMPRESSIONS[op.op_type]({name: var.val for name, var in op.inputs.items()})
                self._constants[op.outputs[0].name] = _constant(dense)
            elif op.op_type in _OPERATIONS:
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
            step.frees = [name for name in step.uses if last_use[name] == i and name != self._output]

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
        if batch.dtype != np.uint8 or batch.shape[1:] != self.input_shape:
            raise MilError(
                f"Expected uint8 pictures of shape (n, {', '.join(map(str, self.input_shape))}), "
                f"got {batch.dtype} {batch.shape}.",
                "Resize the pictures to the stage's input size.",
            )
        return np.concatenate([self._run_one(picture, fp16, float_layers) for picture in batch])

    @torch.no_grad()
    def _run_one(self, picture: NDArray[np.uint8], fp16: bool, float_layers: int | None) -> NDArray[np.float32]:
        planes = np.ascontiguousarray(picture[:, :, self._channels].transpose(2, 0, 1)[None])
        values: dict[str, Any] = {**self._constants, self._input: torch.from_numpy(planes).float()}
        in_float = FirstLayers(float_layers or 0)
        for step in self._steps:
            arguments = step.arguments(values)
            rounded = fp16 and step.is_half
            if float_layers is not None and not in_float(step.type):
                arguments, rounded = {name: _to_half(value) for name, value in arguments.items()}, True
            result = _OPERATIONS[step.type](arguments)
            if rounded:
                result = _to_half(result)
            values[step.output] = result
            for name in step.frees:
                values.pop(name, None)
        return np.asarray(values[self._output].numpy(), np.float32)


class FirstLayers:
    """Tells, operation by operation in the program's order, whether it belongs to the first so many layers.

    A layer is an operation with weights and all operations up to the next; what comes before the first layer belongs to
    it. So the boundary is crossed once, but for skip connections.
    """

    def __init__(self, count: int) -> None:
        self._count, self._seen = count, 0

    def __call__(self, operation: str) -> bool:
        """Takes the operation's type; must be called for each in turn."""
        self._seen += operation in WEIGHTED
        return self._count > 0 and self._seen <= self._count


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


def _to_half(value: Any) -> Any:
    """Tensors rounded to float16, in lists too; all else unchanged."""
    if isinstance(value, Tensor):
        return value.half().float()
    return [_to_half(item) for item in value] if isinstance(value, list) else value


def _constant(value: Any) -> Any:
    """Float arrays become float32 tensors; integers, flags and strings stay plain values (arrays become lists)."""
    if isinstance(value, np.ndarray | np.generic):
        if np.issubdtype(value.dtype, np.floating):
            return torch.from_numpy(np.array(value, np.float32))
        return value.tolist()
    return value


_OPERATIONS: dict[str, Operation] = {}


def _operation(*names: str) -> Callable[[Operation], Operation]:
    def register(function: Operation) -> Operation:
        _OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def _padding(args: Arguments, kernel: Sequence[int]) -> list[int]:
    """Padding before and after each spatial axis: [top, bottom, left, right]."""
    kind = args.get("pad_type", "valid")
    if kind == "valid":
        return [0] * 2 * len(kernel)
    if kind == "custom":
        return list(args["pad"])
    if kind not in ("same", "same_lower"):
        raise UnknownOperationError("padding", kind)
    sizes = args["x"].shape[2:]
    strides = args.get("strides", [1] * len(kernel))
    dilations = args.get("dilations", [1] * len(kernel))
    pads: list[int] = []
    for size, length, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (length - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        pads += [small, large] if kind == "same" else [large, small]
    return pads


def _torch_pads(pads: Sequence[int]) -> list[int]:
    """MIL lists axes from the first to the last, `torch.nn.functional.pad` from the last to the first."""
    pairs = [list(pads[i : i + 2]) for i in range(0, len(pads), 2)]
    return [value for pair in reversed(pairs) for value in pair]


@_operation("conv")
def _conv(args: Arguments) -> Any:
    x, weight = args["x"], args["weight"]
    if x.dim() != 4:
        raise UnknownOperationError("conv", f"rank {x.dim()}")
    pads = _padding(args, weight.shape[2:])
    padding = (0, 0)
    if pads[0] == pads[1] and pads[2] == pads[3]:
        padding = (pads[0], pads[2])
    else:
        x = F.pad(x, _torch_pads(pads))
    return F.conv2d(
        x,
        weight,
        args.get("bias"),
        stride=args.get("strides", [1, 1]),
        padding=padding,
        dilation=args.get("dilations", [1, 1]),
        groups=args.get("groups", 1),
    )


@_operation("conv_transpose")
def _conv_transpose(args: Arguments) -> Any:
    x, weight = args["x"], args["weight"]
    if x.dim() != 4 or args.get("pad_type", "valid") not in ("valid", "custom"):
        raise UnknownOperationError("conv_transpose", f"rank {x.dim()}, padding {args.get('pad_type')}")
    full = F.conv_transpose2d(
        x,
        weight,
        args.get("bias"),
        stride=args.get("strides", [1, 1]),
        dilation=args.get("dilations", [1, 1]),
        groups=args.get("groups", 1),
    )
    top, bottom, left, right = _padding(args, weight.shape[2:])
    cropped = full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
    wanted = args.get("output_shape")
    if wanted is not None and list(cropped.shape) != list(wanted):
        raise UnknownOperationError(
            "conv_transpose", f"output shape {list(wanted)} where {list(cropped.shape)} follows"
        )
    return cropped


@_operation("batch_norm")
def _batch_norm(args: Arguments) -> Any:
    return F.batch_norm(
        args["x"],
        args["mean"],
        args["variance"],
        args.get("gamma"),
        args.get("beta"),
        eps=_float(args, "epsilon", 1e-5),
    )


@_operation("matmul")
def _matmul(args: Arguments) -> Any:
    x = args["x"].mT if args.get("transpose_x", False) else args["x"]
    y = args["y"].mT if args.get("transpose_y", False) else args["y"]
    return torch.matmul(x, y)


@_operation("max_pool")
def _max_pool(args: Arguments) -> Any:
    x, kernel = args["x"], args["kernel_sizes"]
    if args.get("ceil_mode", False):
        raise UnknownOperationError("max_pool", "ceil_mode")
    padded = F.pad(x, _torch_pads(_padding(args, kernel)), value=-torch.inf)
    return F.max_pool2d(padded, kernel, stride=args.get("strides", [1, 1]))


@_operation("avg_pool")
def _avg_pool(args: Arguments) -> Any:
    x, kernel = args["x"], args["kernel_sizes"]
    if args.get("ceil_mode", False):
        raise UnknownOperationError("avg_pool", "ceil_mode")
    pads = _torch_pads(_padding(args, kernel))
    stride = args.get("strides", [1, 1])
    mean = F.avg_pool2d(F.pad(x, pads), kernel, stride=stride)
    if any(pads) and args.get("exclude_padding_from_average", False):
        mean = mean / F.avg_pool2d(F.pad(torch.ones_like(x), pads), kernel, stride=stride)
    return mean


@_operation("reduce_mean")
def _reduce_mean(args: Arguments) -> Any:
    axes = args.get("axes") or list(range(args["x"].dim()))
    return args["x"].mean(dim=axes, keepdim=args.get("keep_dims", False))


@_operation("upsample_nearest_neighbor")
def _upsample_nearest(args: Arguments) -> Any:
    x = args["x"]
    for axis, key in ((-2, "scale_factor_height"), (-1, "scale_factor_width")):
        factor = _float(args, key, 1.0)
        if factor != int(factor):
            raise UnknownOperationError("upsample_nearest_neighbor", f"factor {factor}")
        x = x.repeat_interleave(int(factor), dim=axis)
    return x


@_operation("upsample_bilinear")
def _upsample_bilinear(args: Arguments) -> Any:
    x, align = args["x"], bool(args.get("align_corners", True))
    if args.get("half_pixel_centers", not align) == align:
        raise UnknownOperationError("upsample_bilinear", f"align_corners={align} and half_pixel_centers={align}")
    height, width = (
        int(size * _float(args, key, 1.0))
        for size, key in zip(x.shape[-2:], ("scale_factor_height", "scale_factor_width"), strict=True)
    )
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=align)


@_operation("resize_bilinear")
def _resize_bilinear(args: Arguments) -> Any:
    modes = {"STRICT_ALIGN_CORNERS": True, "UNALIGN_CORNERS": False}
    mode = args.get("sampling_mode", "DEFAULT")
    if mode not in modes:
        raise UnknownOperationError("resize_bilinear", f"sampling_mode {mode}")
    size = (args["target_size_height"], args["target_size_width"])
    return F.interpolate(args["x"], size=size, mode="bilinear", align_corners=modes[mode])


@_operation("clip")
def _clip(args: Arguments) -> Any:
    return args["x"].clamp(_float(args, "alpha", -torch.inf), _float(args, "beta", torch.inf))


@_operation("concat")
def _concat(args: Arguments) -> Any:
    if args.get("interleave", False):
        raise UnknownOperationError("concat", "interleave")
    return torch.cat(args["values"], dim=args["axis"])


@_operation("reshape")
def _reshape(args: Arguments) -> Any:
    shape = [size or args["x"].shape[i] for i, size in enumerate(args["shape"])]
    return args["x"].reshape(shape)


@_operation("squeeze")
def _squeeze(args: Arguments) -> Any:
    axes = args.get("axes")
    return args["x"].squeeze() if axes is None else args["x"].squeeze(tuple(axes))


@_operation("expand_dims")
def _expand_dims(args: Arguments) -> Any:
    x: Tensor = args["x"]
    rank = x.dim() + len(args["axes"])
    for axis in sorted(axis % rank for axis in args["axes"]):
        x = x.unsqueeze(axis)
    return x


@_operation("slice_by_index")
def _slice_by_index(args: Arguments) -> Any:
    x = args["x"]
    unset = [False] * x.dim()
    begins, ends = args["begin"], args["end"]
    strides = args.get("stride", [1] * x.dim())
    begin_mask, end_mask = args.get("begin_mask", unset), args.get("end_mask", unset)
    squeeze = args.get("squeeze_mask", unset)
    if any(stride < 1 for stride in strides):
        raise UnknownOperationError("slice_by_index", f"stride {strides}")
    index: list[int | slice] = [
        begins[i]
        if squeeze[i]
        else slice(None if begin_mask[i] else begins[i], None if end_mask[i] else ends[i], strides[i])
        for i in range(x.dim())
    ]
    return x[tuple(index)]


@_operation("pad")
def _pad(args: Arguments) -> Any:
    if args.get("mode", "constant") != "constant":
        raise UnknownOperationError("pad", f"mode {args['mode']}")
    return F.pad(args["x"], _torch_pads(args["pad"]), value=_float(args, "constant_val", 0.0))


@_operation("cast")
def _cast(args: Arguments) -> Any:
    if args["dtype"] not in ("fp16", "fp32"):
        raise UnknownOperationError("cast", f"dtype {args['dtype']}")
    return args["x"]


_OPERATIONS.update(
    {
        "add": lambda args: args["x"] + args["y"],
        "sub": lambda args: args["x"] - args["y"],
        "mul": lambda args: args["x"] * args["y"],
        "real_div": lambda args: args["x"] / args["y"],
        "abs": lambda args: torch.abs(args["x"]),
        "reverse": lambda args: args["x"].flip(args["axes"] if "axes" in args else list(range(args["x"].dim()))),
        "relu": lambda args: torch.relu(args["x"]),
        "relu6": lambda args: F.relu6(args["x"]),
        "sigmoid": lambda args: torch.sigmoid(args["x"]),
        "softmax": lambda args: torch.softmax(args["x"], dim=args.get("axis", -1)),
        "linear": lambda args: F.linear(args["x"], args["weight"], args.get("bias")),
        "transpose": lambda args: args["x"].permute(args["perm"]),
        "identity": lambda args: args["x"],
    }
)


def _float(args: Arguments, name: str, default: float) -> float:
    return float(args.get(name, default))


def _affine_dequantize(args: Arguments) -> NDArray[Any]:
    """(quantized - zero point) * scale along one axis, in the scale's precision."""
    data, scale, zero = args["quantized_data"], args["scale"], args["zero_point"]
    shape = [1] * data.ndim
    if np.ndim(scale):
        shape[int(args["axis"])] = -1
    difference = data.astype(np.float32) - np.reshape(zero, shape if np.ndim(zero) else [1] * data.ndim).astype(
        np.float32
    )
    dense = difference * np.reshape(scale, shape).astype(np.float32)
    return np.asarray(dense, scale.dtype)


def _lut_to_dense(args: Arguments) -> NDArray[Any]:
    """Look-up table indices, packed least significant bit first, back to the dense weight."""
    lut, shape = args["lut"], tuple(int(size) for size in args["shape"])
    bits = int(np.log2(lut.size))
    flags = np.unpackbits(args["indices"].view(np.uint8), bitorder="little")[: int(np.prod(shape)) * bits]
    weights = 1 << np.arange(bits)
    return np.asarray(lut.reshape(-1)[flags.reshape(-1, bits) @ weights].reshape(shape))


_DECOMPRESSIONS: dict[str, Decompression] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_cast": lambda args: np.asarray(args["source_val"], np.float32),
}
