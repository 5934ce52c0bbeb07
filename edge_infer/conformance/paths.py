"""Vectors of whole ways: every reason with pictures just on either side of its limit, and whole diagnoses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.golden import Trace
from edge_infer.bundle.manifest import Manifest
from edge_infer.conformance import encode
from edge_infer.conformance.files import phone_file
from edge_infer.conformance.limits import PREVALENCES, around
from edge_infer.conformance.pictures import disc, noise, probability_map, skin
from edge_infer.conformance.small_steps import Case
from edge_infer.conformance.store import FileBytes
from edge_infer.schema import dump

Image = NDArray[np.uint8]
Compute = Callable[[str, dict[str, Any]], dict[str, Any]]
SIZE, MIN_SIDE, CROP = (64, 80), 48, 32
_STRICT = {"roi": {"max_abs": 1.0}, "lesion_confidence": {"max_abs": 1e-4}, "lesion_area_fraction": {"max_abs": 1e-9}}
_LOOSE = {
    "segmenter_input": {"max_abs": 1.0},
    "mask": {"max_share": 0.006},
    "lesion_box": {"max_abs": 1.0},
    "lesion_area_fraction": {"max_abs": 0.006},
    "lesion_confidence": {"max_abs": 1e-4},
    "roi_box": {"max_abs": 2.0},
    "roi": {"mean_abs": 4.0},
}


def path_cases(manifest: Manifest, compute: Compute) -> Iterator[Case]:
    """Each reason with a picture on either side of its limit, at small sizes and with the bundle's limits.

    Args:
        manifest: its limits are used, but for the least side and the sizes of the networks' inputs.
        compute: what the runtime gives for a step, to find where a reason begins.
    """
    rules = small_rules(manifest)
    usual: dict[str, Any] = {"rules": rules, "probability_map": probability_map(disc(*SIZE, (30, 42), 17))}
    if manifest.familiarity is not None:
        usual["familiarity"] = manifest.familiarity.threshold + 1
    picture = skin(*SIZE)
    yield "usable", "path", "a lesion in the middle", usual | {"image": picture}, _STRICT
    yield from _pictures(usual, picture, compute)
    yield from _lesions(usual, picture, manifest)
    if manifest.familiarity is not None:
        yield from _scores(usual | {"image": picture}, manifest.familiarity.threshold)
    yield from _crops(usual)


def small_rules(manifest: Manifest) -> dict[str, Any]:
    """The bundle's rules with small inputs, so that the vectors are small."""
    return {
        "segmenter": {"height": SIZE[0], "width": SIZE[1]},
        "classifier": {"height": CROP, "width": CROP},
        "quality": dump(manifest.quality) | {"min_side": MIN_SIDE},
        "dermoscopy": dump(manifest.dermoscopy),
        "mask": dump(manifest.mask),
        "roi": dump(manifest.roi),
        "familiarity": dump(manifest.familiarity),
    }


def _pictures(usual: dict[str, Any], picture: Image, compute: Compute) -> Iterator[Case]:
    def as_image(values: NDArray[np.float64]) -> Image:
        return np.clip(np.round(values), 0, 255).astype(np.uint8)

    floats = picture.astype(np.float64)
    mean = floats.mean((0, 1))
    other = noise(3, *SIZE, 3).astype(np.float64)
    ways: dict[str, Callable[[float], Image]] = {
        "too_dark": lambda t: as_image(floats * (1 - t)),
        "overexposed": lambda t: as_image(255 - (255 - floats) * (1 - t)),
        "uniform": lambda t: as_image(mean + (floats - mean) * (1 - t)),
        "blurred": lambda t: picture if t == 0 else cv2.GaussianBlur(picture, (0, 0), 8 * t),
        "not_dermoscopy": lambda t: as_image(floats * (1 - t) + other * t),
    }
    for reason, make in ways.items():

        def refused(t: float, make: Callable[[float], Image] = make, reason: str = reason) -> bool:
            return bool(compute("path", usual | {"image": make(t)})["reason"] == reason)

        edge = _edge(refused)
        if edge is None:
            continue
        for side, t in zip(("before", "beyond"), edge, strict=True):
            yield f"{reason}-{side}", "path", f"just {side} the limit", usual | {"image": make(t)}, _STRICT
    flat = np.full((*SIZE, 3), 140, np.uint8)
    spot = flat.copy()
    spot[30, 40] = 141
    yield "blank-beyond", "path", "all pixels equal", usual | {"image": flat}, _STRICT
    yield "blank-before", "path", "one pixel differs", usual | {"image": spot}, _STRICT
    for side, height in (("before", MIN_SIDE), ("beyond", MIN_SIDE - 1)):
        about = f"the shorter side has {height} pixels, {MIN_SIDE} needed"
        yield f"picture_too_small-{side}", "path", about, usual | {"image": skin(height, 60)}, _LOOSE


def _edge(refused: Callable[[float], bool]) -> tuple[float, float] | None:
    """Two values close to each other between which refusing begins; None where it never or always does."""
    low, high = 0.0, 0.97
    if refused(low) or not refused(high):
        return None
    while high - low > 1 / 200:
        middle = (low + high) / 2
        low, high = (low, middle) if refused(middle) else (middle, high)
    return low, high


def _lesions(usual: dict[str, Any], picture: Image, manifest: Manifest) -> Iterator[Case]:
    rule, pixels = manifest.mask, SIZE[0] * SIZE[1]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    order = np.argsort(((y - 31.3) ** 2 + (x - 39.6) ** 2).ravel(), kind="stable")

    def nearest(count: int) -> NDArray[np.float32]:
        inside = np.zeros(pixels, bool)
        inside[order[:count]] = True
        return probability_map(inside.reshape(SIZE), high=0.999)

    least, most = rule.min_area_fraction * pixels, rule.max_area_fraction * pixels
    sure = max(rule.min_confidence, rule.threshold)
    region = disc(*SIZE, (30, 42), 17)
    maps: dict[str, NDArray[np.float32]] = {
        "no_lesion-beyond": nearest(0),
        "no_lesion-before": nearest(1),
        "lesion_too_small-before": nearest(int(np.ceil(least))),
        "lesion_too_small-beyond": nearest(max(int(np.ceil(least)) - 1, 0)),
        "lesion_fills_frame-before": nearest(int(np.floor(most))),
        "lesion_fills_frame-beyond": nearest(min(int(np.floor(most)) + 1, pixels)),
        "lesion_uncertain-before": probability_map(region, high=min(sure + 0.002, 1.0)),
        "lesion_uncertain-beyond": probability_map(region, high=sure - 0.002),
    }
    for name, given in maps.items():
        about = "just on either side of the lesion's limit"
        yield name, "path", about, usual | {"image": picture, "probability_map": given}, _STRICT


def _scores(usual: dict[str, Any], threshold: float) -> Iterator[Case]:
    """Scores just on either side of the least familiar one that is taken."""
    beyond, *_, before = (score for _, score in around(threshold))
    empty = {"familiarity": beyond, "probability_map": probability_map(np.zeros(SIZE, bool))}
    about = "just on either side of the least score: the outline stays, the crop does not"
    yield "not_dermoscopy-before", "path", about, usual | {"familiarity": before}, _STRICT
    yield "not_dermoscopy-beyond", "path", about, usual | {"familiarity": beyond}, _STRICT
    about = "unfamiliar and without a lesion: the score is the reason"
    yield "order-unfamiliar-first", "path", about, usual | empty, _STRICT


def _crops(usual: dict[str, Any]) -> Iterator[Case]:
    """Where the map is smaller than the picture, and lesions at the edges."""
    picture = skin(90, 131)
    places = {
        "corner": disc(*SIZE, (8, 9), 12),
        "edge": disc(*SIZE, (34, 76), 14),
        "large": disc(*SIZE, (31, 40), 30),
        "two": disc(*SIZE, (20, 20), 9) | disc(*SIZE, (40, 60), 10),
        "ring": disc(*SIZE, (31, 40), 20) & ~disc(*SIZE, (31, 40), 8),
    }
    for name, inside in places.items():
        given = usual | {"image": picture, "probability_map": probability_map(inside)}
        yield f"crop-{name}", "path", "the mask grows to the picture's size, and the crop is cut there", given, _LOOSE
    for background in ("keep", "zero"):
        for outside in ("pad", "clip", "cap", "reflect"):
            rules = usual["rules"] | {"roi": {"background": background, "margin": 0.3, "outside": outside}}
            given = usual | {"image": picture, "probability_map": probability_map(places["large"]), "rules": rules}
            yield f"crop-{background}-{outside}", "path", "another crop rule", given, _LOOSE


def diagnose_cases(manifest: Manifest, traces: list[Trace]) -> Iterator[Case]:
    """Files to answers, with the bundle's networks."""
    end_to_end = manifest.variant("segmenter").tolerance.max_end_to_end
    tolerance = {
        "lesion_box": {"max_abs": 2.0},
        "roi_box": {"max_abs": 3.0},
        "lesion_area_fraction": {"max_abs": 0.005},
        "lesion_confidence": {"max_abs": 0.005},
        "melanoma_probability": {"max_abs": max(end_to_end, 0.01)},
    }
    if manifest.familiarity is not None:
        tolerance["familiarity"] = {"max_abs": max(manifest.golden.max_familiarity or 0.0, 0.05)}
    about = "a drawn picture of the bundle's golden examples"
    for number, trace in enumerate(traces):
        image = np.asarray(trace["image"], np.uint8)
        data = encode.png(image) if image.size < 30_000 else encode.jpeg(image, 85)
        given: dict[str, Any] = {"file": FileBytes(data, ".jpg")}
        yield f"golden-{number}", "diagnose", about, given, tolerance
        if number == 0 and manifest.calibration.prior is not None:
            for prevalence in PREVALENCES:
                case, words = f"golden-{number}-prevalence-{prevalence:g}", "for another share of melanoma"
                yield case, "diagnose", words, given | {"prevalence": prevalence}, tolerance
    given = {"file": FileBytes(phone_file(), ".jpg")}
    phone = tolerance | {"melanoma_probability": {"max_abs": 0.05}}
    phone |= {"lesion_box": {"max_abs": 40.0}, "roi_box": {"max_abs": 60.0}}
    about = "a phone's size: Python decodes it at a reduced size, which a port need not"
    yield "phone", "diagnose", about, given, phone
    blank = FileBytes(encode.png(np.full((200, 240, 3), 120, np.uint8)), ".png")
    yield from _transparent(np.asarray(traces[0]["image"], np.uint8), tolerance)
    yield "blank", "diagnose", "a blank picture", {"file": blank}, {}
    yield "no-picture", "diagnose", "no picture at all", {"file": FileBytes(b"no picture", ".jpg")}, {}


def _transparent(image: Image, tolerance: dict[str, dict[str, float]]) -> Iterator[Case]:
    """A small picture with an alpha channel: opaque, and with a corner that nobody sees."""
    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    opaque = np.full(small.shape[:2], 255, np.uint8)
    corner = opaque.copy()
    corner[:4, :4] = 0
    for name, about, alpha in (
        ("opaque", "a PNG with an alpha channel, opaque everywhere", opaque),
        ("transparent", "a PNG with a transparent corner: refused before anything is looked at", corner),
    ):
        given = {"file": FileBytes(encode.png(np.dstack([small, alpha])), ".png")}
        yield name, "diagnose", about, given, tolerance
