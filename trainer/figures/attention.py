"""Grad-CAM++ maps: where in the crop the evidence for a class was (Chattopadhay et al., WACV 2018).

Maps come from the maintained package `grad-cam`. They explain a network to its makers; they are no evidence about a
lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_infer.steps.resize import to_batch
from trainer.data.transforms import normalize, to_float
from trainer.errors import DataError, MissingPackageError
from trainer.figures.panels import save
from trainer.training.checkpoint import Checkpoint, class_names
from trainer.training.tasks import split_outputs

_POOLING = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Identity)


def attention_maps(checkpoint: Checkpoint, crops: Sequence[NDArray[np.uint8]], label: int) -> NDArray[np.float32]:
    """Grad-CAM++ of one class for pictures as the network sees them.

    Args:
        checkpoint: a network that classifies.
        crops: RGB uint8, shape (s, s, 3) each.
        label: the class, a position in `trainer.training.checkpoint.class_names`.

    Returns:
        Float32 0..1, shape (n, s, s); each map's largest value is 1 unless it is 0 everywhere.

    Raises:
        MissingPackageError: `grad-cam` is not installed.
        DataError: the network does not classify.
    """
    try:
        from pytorch_grad_cam import GradCAMPlusPlus
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:
        raise MissingPackageError(
            f"Grad-CAM++ needs the package grad-cam: {error}.", "Install the extra: pip install 'edge-infer[trainer]'."
        ) from error
    if not class_names(checkpoint.recipe):
        raise DataError(f"'{checkpoint.recipe.name}' does not classify.", "Give a classifier's checkpoint.")
    answer = _Answer(checkpoint).eval()
    images = normalize(to_float(torch.from_numpy(to_batch(list(crops)))), checkpoint.recipe.normalization).contiguous()
    layer = last_feature_map(answer, images[:1])
    with GradCAMPlusPlus(model=answer, target_layers=[layer]) as cam:
        found: NDArray[np.float32] = cam(input_tensor=images, targets=[ClassifierOutputTarget(label)] * len(images))
    return np.asarray(found, np.float32)


def last_feature_map(model: nn.Module, images: Tensor) -> nn.Module:
    """The module whose output is the last feature map before pooling: of all that give one, the last to finish.

    Raises:
        DataError: no module gives a feature map of more than one pixel.
    """
    joint = [module for name, module in model.named_modules() if name.endswith("fusions")]
    if joint:
        last: nn.Module = list(joint[0].children())[-1]
        return last
    finished: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[-2:]) > 1:
            finished.append(module)

    hooks = [module.register_forward_hook(note) for module in model.modules() if not isinstance(module, _POOLING)]
    try:
        with torch.inference_mode():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not finished:
        raise DataError("The network gives no feature map.", "Use a larger input.")
    return finished[-1]


def draw_attention(
    path: Path, crops: Sequence[NDArray[np.uint8]], maps: NDArray[np.float32], notes: Sequence[str], title: str
) -> None:
    """Crop and map over crop, one column a picture.

    Args:
        path: PNG file; pictures of patients do not belong into a repository.
        crops: RGB uint8, shape (s, s, 3) each.
        maps: as `attention_maps` gives them.
        notes: below each column.
        title: above the figure.
    """
    figure = Figure(figsize=(0.6 + 2.3 * len(crops), 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(crops), squeeze=False)
    for i, (crop, heat, note) in enumerate(zip(crops, maps, notes, strict=True)):
        for axes in grid[:, i]:
            axes.imshow(crop)
            axes.set(xticks=[], yticks=[])
        shown = grid[1, i].imshow(heat, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        grid[1, i].set_xlabel(note, fontsize=9)
    figure.colorbar(shown, ax=grid, shrink=0.7, label="weight of the evidence")
    figure.suptitle(title)
    save(figure, path)


class _Answer(nn.Module):
    """The class logits alone, with gradients switched on."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.task = checkpoint.recipe.task
        self.network = checkpoint.model.float()

    def forward(self, images: Tensor) -> Tensor:
        logits = split_outputs(self.task, self.network(images))[1]
        assert logits is not None
        return logits
