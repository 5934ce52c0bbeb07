"""How the stored matrix of pixels becomes an upright picture with square pixels, and how a mask goes back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.dicom.checks import broken, text_of
from edge_infer.steps.image import check_pixels
from edge_infer.steps.resize import resize

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_MOST_ASPECT = 10.0
_SQUARE = 1e-3
"""Pixels whose sides differ by less are square: the picture would not change by a pixel in a thousand."""


@dataclass(frozen=True)
class Geometry:
    """From stored pixels to the picture: stretched to square pixels, turned, mirrored.

    Attributes:
        rows: stored rows.
        columns: stored columns.
        aspect: height of a stored pixel over its width.
        turns: quarter turns clockwise.
        mirrored: whether left and right are then exchanged.
    """

    rows: int
    columns: int
    aspect: float = 1.0
    turns: int = 0
    mirrored: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether the picture is the stored matrix."""
        return self.stretched == (self.rows, self.columns) and self.turns == 0 and not self.mirrored

    @property
    def stretched(self) -> tuple[int, int]:
        """Rows and columns with square pixels. The axis whose pixels are longer grows, so that nothing is lost."""
        if abs(self.aspect - 1) < _SQUARE:
            return self.rows, self.columns
        if self.aspect > 1:
            return round(self.rows * self.aspect), self.columns
        return self.rows, round(self.columns / self.aspect)

    def upright(self, pixels: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
        """The picture of stored pixels, shape (rows, columns, 3).

        Raises:
            ImageTooLargeError: it has more than `max_pixels` once its pixels are square.
        """
        check_pixels(*self.stretched, max_pixels)
        turned = np.rot90(resize(pixels, *self.stretched), -self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def stored(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask of the picture, 0 and 1, on the stored matrix: shape (rows, columns)."""
        turned = np.rot90(mask[:, ::-1] if self.mirrored else mask, self.turns)
        if turned.shape == (self.rows, self.columns):
            return np.ascontiguousarray(turned)
        size = (self.columns, self.rows)
        back: NDArray[np.uint8] = cv2.resize(np.ascontiguousarray(turned), size, interpolation=cv2.INTER_NEAREST_EXACT)
        return back


def read_geometry(dataset: Dataset, rows: int, columns: int) -> Geometry:
    """The geometry that a data set states.

    Turning and mirroring: Image Rotation and Image Horizontal Flip where they are given, else Patient Orientation, by
    which the picture is turned until the patient's head is up. Patient Orientation never mirrors: which side of the
    body a photograph is taken from is not known.

    Aspect: the first of Pixel Spacing, Imager Pixel Spacing, Nominal Scanned Pixel Spacing, Pixel Aspect Ratio.

    Raises:
        DicomBrokenError: an attribute holds no such value.
    """
    return Geometry(rows, columns, _aspect(dataset), *_orientation(dataset))


def read_scale(dataset: Dataset) -> float | None:
    """Millimetres of a pixel of the upright picture, from Pixel Spacing; None where it is not given.

    Imager Pixel Spacing and Nominal Scanned Pixel Spacing are sizes on a sensor or a film and say nothing of the skin.
    """
    values = _values(dataset, "PixelSpacing")
    return min(map(float, values)) if values else None


def _orientation(dataset: Dataset) -> tuple[int, bool]:
    degrees, flip = dataset.get("ImageRotation"), text_of(dataset, "ImageHorizontalFlip")
    if degrees is None and not flip:
        return _turns_of_patient(_values(dataset, "PatientOrientation")), False
    if degrees not in (None, 0, 90, 180, 270) or flip not in ("", "Y", "N"):
        raise broken("its Image Rotation or Image Horizontal Flip has no such value")
    return (degrees or 0) // 90, flip == "Y"


def _turns_of_patient(directions: list[Any]) -> int:
    """Quarter turns clockwise until the head is up.

    The first letters say where the right end of a row and the lower end of a column point to: head or feet.
    """
    if len(directions) != 2:
        return 0
    right, down = (str(direction)[:1] for direction in directions)
    if down in ("F", "H"):
        return 0 if down == "F" else 2
    return {"F": 1, "H": 3}.get(right, 0)


def _aspect(dataset: Dataset) -> float:
    for keyword in (*_SPACINGS, "PixelAspectRatio"):
        values = _values(dataset, keyword)
        if not values:
            continue
        try:
            vertical, horizontal = map(float, values)
            aspect = vertical / horizontal
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise broken(f"its {keyword} are no two sizes") from error
        if not math.isfinite(aspect) or vertical <= 0 or not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
            raise broken(f"by its {keyword} a pixel is more than {_MOST_ASPECT:g} times as long as wide")
        return aspect
    return 1.0


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    try:
        value = dataset.get(keyword)
    except Exception as error:  # pydicom's, which depend on what is damaged
        raise broken(f"its {keyword} cannot be read") from error
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
