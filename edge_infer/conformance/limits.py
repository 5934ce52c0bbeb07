"""Vectors of every limit: measures exactly at it and the next number beyond, and probabilities around thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from edge_infer.bundle.manifest import Manifest
from edge_infer.conformance.small_steps import Case
from edge_infer.schema import dump


def picture_cases(manifest: Manifest) -> Iterator[Case]:
    """Quality limits; where several are broken, the first in order counts."""
    limits = manifest.quality
    middle = (limits.min_luminance + limits.max_luminance) / 2
    good = {"luminance": middle, "contrast": 2 * limits.min_contrast + 1, "sharpness": 2 * limits.min_sharpness + 0.01}
    side = limits.min_side
    cases: list[tuple[str, dict[str, Any]]] = [
        ("usable", {}),
        ("side-at", {"height": side, "width": side}),
        ("side-below", {"height": side - 1, "width": side + 1}),
        ("side-below-other", {"height": side + 1, "width": side - 1}),
        ("blank", {"contrast": 0.0, "sharpness": 0.0}),
    ]
    for measure in ("luminance", "contrast", "sharpness"):
        low = getattr(limits, f"min_{measure}")
        cases += [(f"{measure}-at-least", {measure: low}), (f"{measure}-below", {measure: math.nextafter(low, -1)})]
    high = limits.max_luminance
    cases += [("luminance-at-most", {"luminance": high}), ("luminance-above", {"luminance": math.nextafter(high, 256)})]
    bad = {"contrast": limits.min_contrast / 2, "sharpness": limits.min_sharpness / 2}
    cases += [
        ("order-small-first", {"height": side - 1, "width": side, **bad, "luminance": 0.0}),
        ("order-blank-before-bright", {"luminance": 255.0, "contrast": 0.0, "sharpness": 0.0}),
        ("order-bright-before-uniform", {**bad, "luminance": 255.0}),
        ("order-dark-before-uniform", {**bad, "luminance": 0.0}),
        ("order-uniform-before-blurred", bad),
    ]
    for name, changes in cases:
        given = {"height": side + 60, "width": side + 90, **good, **changes, "limits": dump(limits)}
        yield name, "picture_problem", "at a limit is usable, beyond is not; the first broken limit counts", given, {}


def lesion_cases(manifest: Manifest) -> Iterator[Case]:
    """Limits of the lesion, with the bundle's numbers."""
    rule = manifest.mask
    area = (rule.min_area_fraction + rule.max_area_fraction) / 2
    least, most, sure = rule.min_area_fraction, rule.max_area_fraction, rule.min_confidence
    cases: tuple[tuple[str, float, float], ...] = (
        ("usable", area, 1.0),
        ("none", 0.0, 0.0),
        ("confidence-at-least", area, sure),
        ("area-at-least", least, 1.0),
        ("area-at-most", most, 1.0),
        ("order-uncertain-first", least / 2, sure / 2),
    )
    beyond = [("confidence-below", area, math.nextafter(sure, -1))] if sure > 0 else []
    beyond += [("area-below", math.nextafter(least, -1), 1.0)] if least > 0 else []
    beyond += [("area-above", math.nextafter(most, 2), 1.0)] if most < 1 else []
    for name, fraction, confidence in (*cases, *beyond):
        given = {"area_fraction": fraction, "confidence": confidence, "rule": dump(rule)}
        yield name, "lesion_problem", "at a limit is usable, beyond is not; the first broken limit counts", given, {}


def decision_cases(manifest: Manifest) -> Iterator[Case]:
    """Every operating point and every band, at, just below and just above."""
    for point in manifest.operating_points:
        for name, value in around(point.threshold):
            given: dict[str, Any] = {"operating_point": point.name, "abstain": None}
            yield _decision(f"{point.name}-{name}", "at the threshold is melanoma", given, value, manifest)
        for band in point.bands:
            for end, limit in (("low", band.low), ("high", band.high)):
                for name, value in around(limit):
                    given = {"operating_point": point.name, "abstain": band.referred}
                    case = f"{point.name}-abstain-{band.referred:g}-{end}-{name}"
                    yield _decision(
                        case, "between the limits nothing is decided; at them it is", given, value, manifest
                    )


PREVALENCES = (0.02, 0.4)
"""Rarer and more frequent than in any bundle."""


def prevalence_cases(manifest: Manifest) -> Iterator[Case]:
    """Other shares of melanoma: probabilities and thresholds move together, and decisions stay."""
    if manifest.calibration.prior is None:
        return
    about = "corrected for another share of melanoma; the threshold moves unless it is a risk in itself"
    for point in manifest.operating_points:
        for prevalence in PREVALENCES:
            given: dict[str, Any] = {"operating_point": point.name, "abstain": None, "prevalence": prevalence}
            # A network gives float32; the threshold itself shows that both are moved by the same arithmetic.
            for name, value in (dict(around(point.threshold)) | {"at": point.threshold}).items():
                case = f"{point.name}-prevalence-{prevalence:g}-{name}"
                yield _decision(case, about, given, value, manifest)
            for band in point.bands[:1]:
                case = f"{point.name}-prevalence-{prevalence:g}-abstain"
                middle = (band.low + point.threshold) / 2
                yield _decision(case, about, given | {"abstain": band.referred}, float(np.float32(middle)), manifest)
    given = {"operating_point": manifest.default_operating_point, "abstain": None}
    for prevalence in (0.0, 1.0):
        about = "no share between 0 and 1"
        yield _decision(f"no-prevalence-{prevalence:g}", about, given | {"prevalence": prevalence}, 0.5, manifest)


def around(limit: float) -> list[tuple[str, float]]:
    """The float32 numbers next to a limit: the largest below it, the one at it where there is one, the next above."""
    nearest = np.float32(limit)
    below = nearest if float(nearest) < limit else np.nextafter(nearest, np.float32(-1))
    above = nearest if float(nearest) > limit else np.nextafter(nearest, np.float32(2))
    at = [("at", float(nearest))] if float(nearest) == limit else []
    return [("below", float(below)), *at, ("above", float(above))]


def _decision(name: str, about: str, given: dict[str, Any], value: float, manifest: Manifest) -> Case:
    rest = float(np.float32((1 - value) / (len(manifest.labels) - 1)))
    probabilities = [value if label == manifest.melanoma_label else rest for label in manifest.labels]
    tolerance = {"melanoma_probability": {"max_abs": 1e-9}, "threshold": {"max_abs": 1e-9}}
    return name, "decide", about, given | {"probabilities": probabilities}, tolerance
