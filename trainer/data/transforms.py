"""Augmentation of whole batches, with parameters drawn for each picture on its own.

Written as `torchvision.transforms.v2` transforms over tv_tensors: pictures and masks pass through one call and move
together. torchvision's own transforms draw one set of parameters per call; calling them picture by picture costs about
12 ms a picture on a CPU core (colour jitter with hue alone takes 8), one grid and one matrix product a batch cost 1.5.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from trainer.data.camera import apply_camera
from trainer.data.constancy import shades_of_grey
from trainer.data.dermoscope import apply_dermoscope
from trainer.data.lesion_free import lesion_free_frames
from trainer.data.occlusions import cutmix, cutout, hairs, mosaic
from trainer.recipe import AugmentConfig, Normalization

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


class Geometry(v2.Transform):  # type: ignore[misc]
    """Flips, turns, zoom, shift and shear as one affine map per picture, sampled once.

    Pictures are sampled bilinearly; masks too, and then cut at one half. Outside the cached picture its mirror image
    continues.

    Args:
        augment: the ranges.
        size: side of the result in pixels.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)

    def __init__(self, augment: AugmentConfig, size: int) -> None:
        super().__init__()
        self.augment = augment
        self.size = size
        self.frames: Tensor | None = None

    def set_frames(self, frames: Tensor | None) -> None:
        """Frames of the next batch: float32 (n, 4), x0, y0, x1, y1 as fractions of the cached side; None: all of it."""
        self.frames = frames

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws one affine map per picture: `theta`, shape (n, 2, 3), as `affine_grid` takes it."""
        picture = next(item for item in flat_inputs if isinstance(item, tv_tensors.Image))
        return {"theta": self.draw(len(picture)).to(picture.device)}

    def draw(self, count: int) -> Tensor:
        """Maps from the result's coordinates (-1..1) to the cached picture's, shape (count, 2, 3)."""
        config = self.augment
        angle = _symmetric(count, math.radians(config.rotation))
        if config.quarter_turns:
            angle = angle + torch.randint(4, (count,)) * (math.pi / 2)
        zoom = torch.exp(_symmetric(count, config.zoom))
        slant = torch.tan(_symmetric(count, math.radians(config.shear)))
        flip = 1 - 2 * torch.randint(2, (count,)) if config.flip else torch.ones(count)
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
        shear = torch.eye(2).repeat(count, 1, 1)
        shear[:, 0, 1] = slant
        shear[:, :, 0] = shear[:, :, 0] * flip[:, None]
        linear = zoom[:, None, None] * (turn @ shear)
        centre = 2 * torch.stack([_symmetric(count, config.shift), _symmetric(count, config.shift)], -1)
        if self.frames is not None:
            low, high = self.frames[:, :2], self.frames[:, 2:]
            linear = (high - low)[:, :, None] * linear
            centre = (high - low) * centre + (low + high - 1)
        return torch.cat([linear, centre[:, :, None]], -1)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Samples pictures, float32 (n, 3, h, w), and masks, uint8 0/1 (n, h, w)."""
        if isinstance(inpt, tv_tensors.Mask):
            moved = self._sample(inpt.as_subclass(Tensor).unsqueeze(1).float(), params["theta"])
            return tv_tensors.Mask((moved.squeeze(1) >= 0.5).to(torch.uint8))
        return tv_tensors.Image(self._sample(inpt.as_subclass(Tensor), params["theta"]))

    def _sample(self, values: Tensor, theta: Tensor) -> Tensor:
        grid = F.affine_grid(theta, [len(values), 1, self.size, self.size], align_corners=False)
        return F.grid_sample(values, grid, padding_mode="reflection", align_corners=False)


class Colour(v2.Transform):  # type: ignore[misc]
    """Brightness, contrast, saturation and hue as one 3x3 matrix and offset per picture; the result stays in 0..1.

    Contrast is about the picture's mean grey, saturation about each pixel's grey; hue turns the colour plane of YIQ,
    which keeps the luma.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, augment: AugmentConfig) -> None:
        super().__init__()
        self.augment = augment
        self.idle = not (augment.brightness or augment.contrast or augment.saturation or augment.hue)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws `matrix` (n, 3, 3) and `offset` (n, 3, 1)."""
        if self.idle:
            return {}
        pictures = flat_inputs[0].as_subclass(Tensor)
        count = len(pictures)
        grey = torch.tensor(_GREY)
        brightness = (1 + _symmetric(count, self.augment.brightness))[:, None, None]
        contrast = (1 + _symmetric(count, self.augment.contrast))[:, None, None]
        saturation = (1 + _symmetric(count, self.augment.saturation))[:, None, None]
        turn = _symmetric(count, 2 * math.pi * self.augment.hue)
        to_yiq = torch.tensor(_RGB_TO_YIQ)
        plane = torch.eye(3).repeat(count, 1, 1)
        plane[:, 1, 1] = plane[:, 2, 2] = torch.cos(turn)
        plane[:, 1, 2], plane[:, 2, 1] = -torch.sin(turn), torch.sin(turn)
        hue = torch.linalg.inv(to_yiq) @ plane @ to_yiq
        saturate = saturation * torch.eye(3) + (1 - saturation) * grey.expand(3, 3)
        matrix = (brightness * contrast * (saturate @ hue)).to(pictures.device)
        mean_grey = pictures.mean((2, 3)) @ grey.to(pictures.device)
        offset = (brightness * (1 - contrast)).to(pictures.device) * mean_grey[:, None, None]
        return {"matrix": matrix, "offset": offset.expand(-1, 3, 1)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Changes pictures, float32 (n, 3, h, w), values 0..1."""
        if self.idle:
            return inpt
        pixels = inpt.as_subclass(Tensor).flatten(2)
        changed = torch.baddbmm(params["offset"], params["matrix"], pixels).clamp_(0, 1)
        return tv_tensors.Image(changed.view(inpt.shape))


def augment_batch(
    images: Tensor, masks: Tensor | None, frames: Tensor | None, augment: AugmentConfig, size: int
) -> tuple[Tensor, Tensor | None]:
    """One training batch: geometry and mixing for pictures and masks together, then what covers or colours pictures.

    Args:
        images: RGB uint8, shape (n, h, w, 3).
        masks: uint8 0/1, shape (n, h, w), or None.
        frames: float32 (n, 4) as in `trainer.data.cache.CachedArrays`, or None.
        augment: the ranges.
        size: side of the result in pixels.

    Returns:
        Float32 RGB 0..1, shape (n, 3, size, size), and the masks, uint8 0/1, shape (n, size, size), or None.
    """
    if frames is None and masks is not None and augment.lesion_free:
        frames = lesion_free_frames(masks, augment.lesion_free)
    geometry, colour = Geometry(augment, size), Colour(augment)
    geometry.set_frames(frames)
    pictures = tv_tensors.Image(images.permute(0, 3, 1, 2).contiguous().float().div_(255))
    moved: Tensor | None = None
    if masks is None:
        pictures = geometry(pictures).as_subclass(Tensor)
    else:
        pictures, moved = (item.as_subclass(Tensor) for item in geometry(pictures, tv_tensors.Mask(masks)))
        if augment.mosaic:
            pictures, moved = mosaic(pictures, moved, augment.mosaic)
        if augment.cutmix:
            pictures, moved = cutmix(pictures, moved, augment.cutmix)
    if augment.hairs:
        pictures = hairs(pictures, augment.hairs)
    if augment.cutout:
        pictures = cutout(pictures, augment.cutout)
    pictures = apply_dermoscope(pictures, augment)
    if augment.constancy:
        pictures = shades_of_grey(pictures, augment.constancy)
    return apply_camera(colour(tv_tensors.Image(pictures)).as_subclass(Tensor), augment), moved


def to_float(images: Tensor) -> Tensor:
    """RGB uint8 (n, h, w, 3) to float32 0..1 (n, 3, h, w), channels-last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def normalize(images: Tensor, normalization: Normalization) -> Tensor:
    """Subtracts the mean and divides by the standard deviation, per channel of float32 RGB 0..1, shape (n, 3, h, w)."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (normalization.mean, normalization.std))
    return (images - mean) / std


def denormalize(images: Tensor, normalization: Normalization) -> Tensor:
    """The inverse of `normalize`."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (normalization.mean, normalization.std))
    return images * std + mean


def resize_batch(values: Tensor, size: int) -> Tensor:
    """Float32 (n, c, h, w) to (n, c, size, size): bilinear, antialiased where it shrinks; itself where it fits."""
    if values.shape[-2:] == (size, size):
        return values
    return F.interpolate(values, size=(size, size), mode="bilinear", antialias=True)


def _symmetric(count: int, limit: float) -> Tensor:
    """Uniform in -limit..limit; draws even for limit 0, so that one setting does not change the others' draws."""
    return (2 * torch.rand(count) - 1) * limit
