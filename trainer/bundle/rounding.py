"""Networks whose weights 16 or 8 bits hold exactly, so that every file made of them may store them in that space.

Rounding happens here and once: the PyTorch network, its ONNX files and all variants then compute with the same weights,
in float32. Batch norms are folded first, because folding afterwards would make new weights.
"""

from __future__ import annotations

import copy

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from trainer.bundle.errors import ExportError
from trainer.bundle.storage import MIN_ELEMENTS, MIN_INT8_ELEMENTS, Store, on_grid


def rounded(model: nn.Module, size: int, store: Store = "float16") -> nn.Module:
    """A copy on the CPU in eval mode with batch norms folded and the weights of its layers rounded.

    Biases, and weights of fewer than `MIN_ELEMENTS`, keep float32.

    Args:
        model: takes (n, 3, size, size).
        size: side of its input in pixels.
        store: "float16" rounds to that format, "int8" weights of `MIN_INT8_ELEMENTS` or more to 255 levels for each
            output channel and the others to float16.

    Raises:
        ExportError: a weight is beyond float16's range.
    """
    result = copy.deepcopy(model).to("cpu", torch.float32).eval()
    fold_norms(result, size)
    for name, module in result.named_modules():
        if isinstance(module, _ConvNd | nn.Linear) and module.weight.numel() >= MIN_ELEMENTS:
            eight = store == "int8" and module.weight.numel() >= MIN_INT8_ELEMENTS
            module.weight.data = _on_levels(module) if eight else _in_half(name, module.weight.data)
    return result


def _in_half(name: str, weight: Tensor) -> Tensor:
    half = weight.half()
    if not half.isfinite().all():
        raise ExportError(
            f"'{name}.weight' goes up to {weight.abs().max():.3g}, float16 to 65504.",
            "Store the weights as they are: --store float32.",
        )
    return half.float()


def _on_levels(layer: _ConvNd | nn.Linear) -> Tensor:
    outputs = 1 if isinstance(layer, nn.ConvTranspose2d) and layer.groups == 1 else 0
    return torch.from_numpy(on_grid(layer.weight.data.contiguous().numpy(), outputs))


@torch.no_grad()
def fold_norms(model: nn.Module, size: int) -> int:
    """Folds each batch norm into the convolution before it, in place; others stay.

    Args:
        model: in eval mode.
        size: side of its input in pixels.

    Returns:
        How many were folded.
    """
    pairs = {norm: layer for layer, norm in norms_after(model, size).items() if _foldable(layer, norm)}
    for norm, layer in pairs.items():
        assert norm.running_mean is not None and norm.running_var is not None
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.weight,
            layer.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
            transpose=isinstance(layer, nn.ConvTranspose2d),
        )
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in pairs:
                setattr(parent, name, _what_follows(child))
    return len(pairs)


def _what_follows(norm: nn.Module | None) -> nn.Module:
    """What is left of a folded batch norm: timm's holds an activation too."""
    return nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()


def _foldable(layer: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> bool:
    """Other subclasses of batch norm may do more than it; PyTorch folds no grouped transposed convolutions."""
    return (
        type(norm) in (nn.BatchNorm2d, BatchNormAct2d)
        and norm.running_mean is not None
        and not parametrize.is_parametrized(layer)
        and (layer.groups == 1 or not isinstance(layer, nn.ConvTranspose2d))
    )


@torch.no_grad()
def norms_after(model: nn.Module, size: int) -> dict[nn.Conv2d | nn.ConvTranspose2d, nn.BatchNorm2d]:
    """By convolution the batch norm that takes all its output and nothing else, found by running the network once.

    Args:
        model: in eval mode.
        size: side of its input in pixels.
    """
    made_by: dict[int, nn.Conv2d | nn.ConvTranspose2d] = {}
    taken_by: dict[int, nn.BatchNorm2d] = {}
    takes: dict[nn.BatchNorm2d, set[nn.Module | None]] = {}
    kept: list[Tensor] = []  # a tensor that is freed could lend its id to another
    uses = _Uses()

    def after_convolution(module: nn.Conv2d | nn.ConvTranspose2d, _: object, output: Tensor) -> None:
        kept.append(output)
        made_by[id(output)] = module
        uses.count[id(output)] = 0

    def before_norm(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        taken_by[id(inputs[0])] = module
        takes.setdefault(module, set()).add(made_by.get(id(inputs[0])))

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before_norm))
    try:
        with uses:
            model(torch.zeros(1, 3, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    followers: dict[nn.Conv2d | nn.ConvTranspose2d, set[nn.BatchNorm2d | None]] = {}
    for output, layer in made_by.items():
        followers.setdefault(layer, set()).add(taken_by.get(output) if uses.count[output] == 1 else None)
    return {
        layer: norm
        for layer, (norm, *others) in followers.items()
        if norm is not None and not others and takes[norm] == {layer}
    }


class _Uses(TorchFunctionMode):
    """Counts how often tensors go into an operation that gives a tensor, by id, from when their count is set."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[int, int] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """See the class."""
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor) and id(leaf) in self.count:
                    self.count[id(leaf)] += 1
        return result
