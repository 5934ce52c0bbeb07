"""What cameras, lights and archives do to a picture, as changes of whole batches drawn for each picture on its own.

Sources differ in just these, and a network that sees each of them in one source only learns the source. All take and
give float32 RGB 0..1, shape (n, 3, s, s), and move no pixel, so that masks stay.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.recipe import AugmentConfig

LOWEST_SHARE = 0.4
"""Smallest side to which `low_resolution` reduces a picture, as a share of its side."""
LOWEST_SIDE = 60
"""Smallest side in pixels of the other kind of `low_resolution`: what is left of a lesion in a picture of 84."""
HIGHEST_SIDE = 84
BLUR_SIGMA = (0.3, 1.6)
"""Of the Gaussian, in pixels of a picture of 128."""
JPEG_QUALITY = (25, 90)

_BLOCK = 8
_STEP = 4  # sides of reduced pictures are multiples of it, so that few sizes occur in a batch
# The luminance table of the JPEG standard (ITU-T T.81, annex K), for all three channels.
_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def apply_camera(images: Tensor, augment: AugmentConfig) -> Tensor:
    """Every change that the recipe asks for, in the order in which a picture suffers it: light, lens, size, archive."""
    if augment.temperature:
        images = temperature(images, augment.temperature)
    if augment.exposure:
        images = exposure(images, augment.exposure)
    if augment.vignette:
        images = vignette(images, augment.vignette)
    if augment.blur:
        images = blur(images, augment.blur)
    if augment.low_resolution:
        images = low_resolution(images, augment.low_resolution)
    if augment.jpeg:
        images = jpeg(images, augment.jpeg)
    return images


def temperature(images: Tensor, limit: float) -> Tensor:
    """Red and blue change by opposite factors of at most exp(limit), green by a third of that, on its own."""
    count = len(images)
    warm, tint = _symmetric(count, limit), _symmetric(count, limit / 3)
    gains = torch.exp(torch.stack([warm, tint, -warm], 1)).to(images.device)
    return (images * gains[:, :, None, None]).clamp(0, 1)


def exposure(images: Tensor, limit: float) -> Tensor:
    """Values to the power of exp(-limit) to exp(limit): mid-tones move, black and white stay."""
    powers = torch.exp(_symmetric(len(images), limit)).to(images.device)
    return images.clamp(min=1e-6) ** powers[:, None, None, None]


def vignette(images: Tensor, limit: float) -> Tensor:
    """Darkens by the square of the distance from a point near the middle, at the corners by at most `limit`."""
    count, side = len(images), images.shape[-1]
    strength, centre = torch.rand(count) * limit, _symmetric(2 * count, 0.3).view(count, 2)
    line = (torch.arange(side) + 0.5) * (2 / side) - 1
    down, across = centre[:, 0, None, None], centre[:, 1, None, None]
    distance = (line[None, :, None] - down) ** 2 + (line[None, None] - across) ** 2
    shade = 1 - strength[:, None, None] * distance / distance.amax((1, 2), keepdim=True)
    return images * shade[:, None].to(images.device)


def blur(images: Tensor, share: float) -> Tensor:
    """With probability `share` a Gaussian blur."""
    count, side = len(images), images.shape[-1]
    chosen = torch.rand(count) < share
    low, high = (math.log(sigma * side / 128) for sigma in BLUR_SIGMA)
    sigmas = torch.exp(low + (high - low) * torch.rand(count))
    rows = torch.nonzero(chosen).flatten()
    if not len(rows):
        return images
    radius = max(1, math.ceil(2.5 * float(sigmas[rows].max())))
    offsets = torch.arange(-radius, radius + 1)
    kernels = torch.exp(-(offsets**2) / (2 * sigmas[rows, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, 0).to(images.device)
    flat = F.pad(images[rows].reshape(1, -1, side, side), (radius,) * 4, mode="reflect")
    groups = 3 * len(rows)
    flat = F.conv2d(flat, kernels[:, None, :, None], groups=groups)
    flat = F.conv2d(flat, kernels[:, None, None, :], groups=groups)
    return images.index_copy(0, rows.to(images.device), flat.view(-1, 3, side, side))


def low_resolution(images: Tensor, share: float) -> Tensor:
    """With probability `share` a picture is reduced and enlarged again.

    Half of them to 40 to 100 % of their side, the other half to 60 to 84 pixels, as the smallest archives keep.
    """
    count, side = len(images), images.shape[-1]
    chosen, small = torch.rand(count) < share, torch.rand(count) < 0.5
    places = torch.rand(count)
    by_share = side * (LOWEST_SHARE + (1 - LOWEST_SHARE) * places)
    by_side = LOWEST_SIDE + (HIGHEST_SIDE - LOWEST_SIDE) * places
    sides = (torch.where(small, by_side, by_share) / _STEP).round().long() * _STEP
    changed = images
    for length in torch.unique(sides[chosen & (sides < side)]).tolist():
        rows = torch.nonzero(chosen & (sides == length)).flatten().to(images.device)
        reduced = F.interpolate(images[rows], size=(length, length), mode="bilinear", antialias=True)
        enlarged = F.interpolate(reduced, size=(side, side), mode="bilinear")
        changed = changed.index_copy(0, rows, enlarged)
    return changed


def jpeg(images: Tensor, share: float) -> Tensor:
    """With probability `share` the loss of a JPEG of quality 25 to 90, without subsampled colour.

    Every 8 x 8 block of each channel is rounded in the cosine domain; pictures are mirrored to a multiple of 8.
    """
    count, side = len(images), images.shape[-1]
    chosen = torch.rand(count) < share
    low, high = JPEG_QUALITY
    quality = low + (high - low) * torch.rand(count)
    rows = torch.nonzero(chosen).flatten().to(images.device)
    if not len(rows):
        return images
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).to(images.device)[rows]
    table = (torch.tensor(_TABLE, device=images.device) * scale[:, None, None] / 255).clamp(min=1 / 255)
    missing = -side % _BLOCK
    to_ycc = images.new_tensor(_RGB_TO_YCC)
    planes = torch.einsum("dc,nchw->ndhw", to_ycc, images[rows])
    planes = F.pad(planes, (0, missing, 0, missing), mode="reflect") if missing else planes
    full = side + missing
    blocks = planes.reshape(-1, 3, full // _BLOCK, _BLOCK, full // _BLOCK, _BLOCK).transpose(3, 4)
    cosines = _cosines().to(images)
    steps = table[:, None, None, None]
    waves = cosines @ blocks @ cosines.T
    blocks = cosines.T @ ((waves / steps).round() * steps) @ cosines
    planes = blocks.transpose(3, 4).reshape(-1, 3, full, full)[..., :side, :side]
    rounded = torch.einsum("dc,nchw->ndhw", torch.linalg.inv(to_ycc), planes).clamp(0, 1)
    return images.index_copy(0, rows, rounded.contiguous())


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values, float32, shape (8, 8)."""
    steps = torch.arange(_BLOCK)
    matrix = torch.cos(math.pi / _BLOCK * (steps[None] + 0.5) * steps[:, None]) * math.sqrt(2 / _BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix


def _symmetric(count: int, limit: float) -> Tensor:
    return (2 * torch.rand(count) - 1) * limit
