"""Pictures for people: the overlay, the mask and the crop of a diagnosis."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.diagnosis import MELANOMA, Diagnosis
from edge_infer.output.wording import (
    DISCLAIMER,
    NOT_EXPLAINED,
    class_map_limit,
    class_map_scale,
    decision,
    percent,
    reason_title,
)
from edge_infer.steps.resize import resize

Colour = tuple[int, int, int]

# Okabe and Ito's palette, told apart by colour-blind readers too.
_ORANGE, _BLUE, _YELLOW = (230, 159, 0), (86, 180, 233), (240, 228, 66)
WHITE, DARK, _GREY = (255, 255, 255), (24, 26, 30), (190, 190, 190)

_MIN_WIDTH = 480
_MAP_STRENGTH = 0.7
_MAX_SIDE = 2048


def draw_overlay(picture: NDArray[np.uint8], diagnosis: Diagnosis) -> NDArray[np.uint8]:
    """The picture with the lesion's outline and the crop's square, and the answer in words below.

    Where there is a class activation map, the picture stands there twice, the second time with the map.

    Small pictures are enlarged and large ones reduced, so that the words can be read and the file stays small.

    Args:
        picture: RGB uint8, shape (h, w, 3): the whole picture at `diagnosis.image_size`.
        diagnosis: with status "ok" or "indeterminate".

    Returns:
        RGB uint8, shape (H, W, 3): at least 480 wide; the picture's longer side is at most 2048, each time.
    """
    wanted = max(1.0, _MIN_WIDTH / picture.shape[1])
    scale = min(wanted, _MAX_SIDE / max(picture.shape[:2]))
    canvas = draw_outline(picture, diagnosis, scale)
    if diagnosis.class_map is not None:
        canvas = np.hstack((canvas, draw_class_map(picture, diagnosis, scale)))
    return _with_caption(canvas, diagnosis)


def draw_outline(picture: NDArray[np.uint8], diagnosis: Diagnosis, scale: float = 1.0) -> NDArray[np.uint8]:
    """The picture, resized by `scale`, with the lesion's outline and the crop's square, without words.

    Arguments and result as for `draw_overlay`. The outline is orange at or above the threshold, blue below it, yellow
    where there is no probability.
    """
    canvas = _scaled(picture, scale)
    _draw_lines(canvas, diagnosis, picture.shape[:2], outline_colour(diagnosis))
    return canvas


def draw_class_map(picture: NDArray[np.uint8], diagnosis: Diagnosis, scale: float = 1.0) -> NDArray[np.uint8]:
    """As `draw_outline`, in grey, with the class activation map over the crop that the classifier saw.

    Orange places raised melanoma's logit against the other classes, blue ones lowered it; the largest amount has the
    full colour. The map has few places (5 x 5 in a crop of 160 pixels); colours change smoothly between their centres.
    The outline is white: orange and blue are the map's.
    """
    canvas = np.repeat(cv2.cvtColor(_scaled(picture, scale), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if diagnosis.class_map is not None and diagnosis.roi_box is not None:
        down, across = canvas.shape[0] / picture.shape[0], canvas.shape[1] / picture.shape[1]
        box = diagnosis.roi_box
        x0, y0, x1, y1 = (round(box.x0 * across), round(box.y0 * down), round(box.x1 * across), round(box.y1 * down))
        size = max(1, x1 - x0), max(1, y1 - y0)
        values = cv2.resize(diagnosis.class_map / class_map_limit(diagnosis.class_map), size)
        inside = values[max(0, -y0) : canvas.shape[0] - y0, max(0, -x0) : canvas.shape[1] - x0, None]
        part = canvas[max(0, y0) : y1, max(0, x0) : x1]
        colour = np.where(inside > 0, np.array(_ORANGE, np.float32), np.array(_BLUE, np.float32))
        weight = _MAP_STRENGTH * np.abs(inside)
        part[:] = np.round(part * (1 - weight) + colour * weight)
    _draw_lines(canvas, diagnosis, picture.shape[:2], WHITE)
    return canvas


def _scaled(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale))).copy()


def _draw_lines(canvas: NDArray[np.uint8], diagnosis: Diagnosis, size: tuple[int, ...], colour: Colour) -> None:
    """Square and outline of a picture of this height and width, onto the canvas."""
    height, width = size
    rows, columns = canvas.shape[:2]
    thickness = max(2, round(min(rows, columns) / 220))
    if diagnosis.roi_box is not None:
        across, down = columns / width, rows / height
        box = diagnosis.roi_box
        x0, y0, x1, y1 = (round(box.x0 * across), round(box.y0 * down), round(box.x1 * across), round(box.y1 * down))
        inner = max(1, thickness // 2)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), DARK, inner + 2)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), WHITE, inner)
    if diagnosis.mask is not None:
        draw_border(canvas, diagnosis.mask, colour, thickness)


def draw_border(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], colour: Colour, thickness: int) -> None:
    """The outer border of a mask of 0 and 1, resized to the canvas, onto it; a dark halo makes it show on any skin."""
    inside = resize(mask * np.uint8(255), *canvas.shape[:2]) >= 128
    contours, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.polylines(canvas, contours, True, DARK, thickness + 2, cv2.LINE_AA)
    cv2.polylines(canvas, contours, True, colour, thickness, cv2.LINE_AA)


def mask_picture(diagnosis: Diagnosis) -> NDArray[np.uint8] | None:
    """The lesion as uint8 0 and 255, shape `image_size`; all zero where none was found, None where none was sought."""
    if diagnosis.mask is not None:
        return diagnosis.mask * np.uint8(255)
    if diagnosis.reason is not None and diagnosis.reason.value == "no_lesion" and diagnosis.image_size:
        return np.zeros(diagnosis.image_size, np.uint8)
    return None


def encode_jpeg(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """JPEG bytes of an RGB (h, w, 3) uint8 picture."""
    encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"OpenCV cannot encode a picture of shape {image.shape}")
    return bytes(data)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an RGB (h, w, 3) or grey (h, w) uint8 picture."""
    encoded, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    if not encoded:
        raise ValueError(f"OpenCV cannot encode a picture of shape {image.shape}")
    return bytes(data)


def outline_colour(diagnosis: Diagnosis) -> Colour:
    """Orange at or above the threshold, blue below it, yellow where nothing was decided."""
    if diagnosis.status != "ok":
        return _YELLOW
    return _ORANGE if diagnosis.label == MELANOMA else _BLUE


def _with_caption(canvas: NDArray[np.uint8], diagnosis: Diagnosis) -> NDArray[np.uint8]:
    rows, columns = canvas.shape[:2]
    colour = outline_colour(diagnosis)
    width = max(columns, _MIN_WIDTH)
    size = max(0.5, width / 1200)
    pad = round(20 * size)
    lines: list[tuple[str, Colour, float, int]] = []
    for text, shade, factor, font in _caption(diagnosis, colour):
        lines += [(part, shade, factor, font) for part in _wrap(text, font, size * factor, width - 2 * pad)]
    steps = [round(34 * size * factor) for _, _, factor, _ in lines]
    strip = np.full((sum(steps) + 2 * pad, width, 3), DARK, np.uint8)
    strip[: max(3, pad // 4)] = colour
    y = pad
    for (text, shade, factor, font), step in zip(lines, steps, strict=True):
        y += step
        cv2.putText(strip, text, (pad, y - step // 4), font, size * factor, shade, 1, cv2.LINE_AA)
    upper = np.full((rows, width, 3), DARK, np.uint8)
    left = (width - columns) // 2
    upper[:, left : left + columns] = canvas
    return np.vstack([upper, strip])


def _caption(diagnosis: Diagnosis, colour: Colour) -> Iterator[tuple[str, Colour, float, int]]:
    """Lines as text, colour, relative size and font."""
    bold, plain = cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_SIMPLEX
    if diagnosis.status == "ok":
        yield f"Melanoma {percent(diagnosis.melanoma_probability)}: {decision(diagnosis)}", colour, 1.2, bold
    else:
        yield f"Indeterminate: {reason_title(diagnosis)}", colour, 1.2, bold
        yield diagnosis.message or "", WHITE, 0.9, plain
    if diagnosis.class_map is not None:
        yield f"Right: {class_map_scale(diagnosis.class_map)}", WHITE, 0.9, plain
        yield NOT_EXPLAINED, WHITE, 0.9, plain
    for warning in diagnosis.warnings:
        yield f"Note: {warning}", WHITE, 0.9, plain
    bundle = f"bundle {diagnosis.bundle} {(diagnosis.bundle_sha256 or '')[:8]}"
    yield f'Operating point "{diagnosis.operating_point}" | {bundle}', _GREY, 0.8, plain
    yield DISCLAIMER, _GREY, 0.8, plain


def _wrap(text: str, font: int, size: float, width: int) -> list[str]:
    """Breaks a text at spaces so that every line fits; a word that is too long alone is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if _text_width(longer, font, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while _text_width(word, font, size) > width and len(word) > 1:
            fits = max(1, math.floor(len(word) * width / _text_width(word, font, size)) - 1)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def _text_width(text: str, font: int, size: float) -> int:
    return int(cv2.getTextSize(text, font, size, 1)[0][0])
