"""Grey values as people are meant to see them: modality and VOI transformations, then 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.dicom.checks import broken, text_of, whole_number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Floats = NDArray[np.float64]


def to_grey(array: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    """Stored grey values as uint8, shape (rows, columns), 255 white (DICOM PS3.3, C.11.1 and C.11.2).

    Rescale Slope and Intercept, then the first VOI LUT or window; without one, all that the stored bits can hold is
    shown. MONOCHROME1 is turned so that white is white.

    Raises:
        DicomBrokenError: a transformation holds no such values.
    """
    try:
        shown = _shown(array, dataset)
    except (ValueError, TypeError, IndexError, AttributeError, KeyError, ZeroDivisionError) as error:
        raise broken("its grey values have a transformation that cannot be applied") from error
    if not np.isfinite(shown).all():
        raise broken("its grey values have a transformation that gives no numbers")
    if text_of(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        shown = 1 - shown
    return np.rint(255 * shown).astype(np.uint8)


def _shown(array: NDArray[Any], dataset: Dataset) -> Floats:
    """Between 0 and 1."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    if "VOILUTSequence" in dataset and dataset.VOILUTSequence:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(apply_voi(apply_modality_lut(array, dataset), dataset) / (2**bits - 1), float).clip(0, 1)
    depth, signed = whole_number(dataset, "BitsStored"), dataset.get("PixelRepresentation") == 1
    low, high = (-(2 ** (depth - 1)), 2 ** (depth - 1) - 1) if signed else (0, 2**depth - 1)
    if "ModalityLUTSequence" in dataset and dataset.ModalityLUTSequence:
        low, high = 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
        values = np.asarray(apply_modality_lut(array, dataset), float)
    else:
        slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
        values = array * slope + intercept
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if centre is None or width is None:
        shown: Floats = np.clip((values - low) / (high - low), 0, 1)
        return shown
    return _window(values, centre, width, text_of(dataset, "VOILUTFunction") or "LINEAR")


def _window(values: Floats, centre: float, width: float, function: str) -> Floats:
    if function == "LINEAR":
        if width < 1:
            raise ValueError("a linear window is at least 1 wide")
        return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1)
    if width <= 0:
        raise ValueError("a window is wider than nothing")
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    raise ValueError("there is no such VOI LUT Function")


def _first(dataset: Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
