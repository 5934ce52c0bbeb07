"""What each operation of a program computes, with PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.bundle.mil.errors import UnknownOperationError

Arguments = Mapping[str, Any]
Operation = Callable[[Arguments], Any]

OPERATIONS: dict[str, Operation] = {}


def _operation(*names: str) -> Callable[[Operation], Operation]:
    def register(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(names, function))
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


def _window(args: Arguments, operation: str) -> tuple[list[int], list[int], list[int]]:
    """Of a pooling: the window's size, the padding as PyTorch lists it, and the stride."""
    if args.get("ceil_mode", False):
        raise UnknownOperationError(operation, "ceil_mode")
    kernel = args["kernel_sizes"]
    return kernel, _torch_pads(_padding(args, kernel)), args.get("strides", [1, 1])


@_operation("max_pool")
def _max_pool(args: Arguments) -> Any:
    kernel, pads, stride = _window(args, "max_pool")
    return F.max_pool2d(F.pad(args["x"], pads, value=-torch.inf), kernel, stride=stride)


@_operation("avg_pool")
def _avg_pool(args: Arguments) -> Any:
    x, (kernel, pads, stride) = args["x"], _window(args, "avg_pool")
    mean = F.avg_pool2d(F.pad(x, pads), kernel, stride=stride)
    if any(pads) and args.get("exclude_padding_from_average", False):
        mean = mean / F.avg_pool2d(F.pad(torch.ones_like(x), pads), kernel, stride=stride)
    return mean


@_operation("reduce_mean")
def _reduce_mean(args: Arguments) -> Any:
    axes = args.get("axes") or list(range(args["x"].dim()))
    return args["x"].mean(dim=axes, keepdim=args.get("keep_dims", False))


@_operation("reduce_sum")
def _reduce_sum(args: Arguments) -> Any:
    axes = args.get("axes") or list(range(args["x"].dim()))
    return args["x"].sum(dim=axes, keepdim=args.get("keep_dims", False))


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


OPERATIONS.update(
    {
        "add": lambda args: args["x"] + args["y"],
        "sub": lambda args: args["x"] - args["y"],
        "mul": lambda args: args["x"] * args["y"],
        "real_div": lambda args: args["x"] / args["y"],
        "abs": lambda args: torch.abs(args["x"]),
        "sqrt": lambda args: torch.sqrt(args["x"]),
        "square": lambda args: torch.square(args["x"]),
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
