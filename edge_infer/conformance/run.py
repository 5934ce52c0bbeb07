"""Replays conformance vectors with this runtime: the steps by name, and the comparison with what is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_infer.bundle.store import Bundle
from edge_infer.conformance.store import Index, StepEntry, Vector, VectorsError
from edge_infer.diagnoser import Diagnoser, decide
from edge_infer.errors import EdgeInferError
from edge_infer.geometry import Box
from edge_infer.rules import DermoscopyRule, FamiliarityRule, InputSpec, MaskRule, QualityLimits, RoiRule
from edge_infer.schema import parse
from edge_infer.steps.appearance import appearance_problem, dermoscopy_score, measure_appearance
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.header import read_header
from edge_infer.steps.image import DEFAULT_MAX_PIXELS, open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_mask
from edge_infer.steps.prevalence import correct_classes, known_ratio, move
from edge_infer.steps.quality import Quality, lesion_problem, measure_quality, picture_problem
from edge_infer.steps.resize import resize, to_batch
from edge_infer.steps.work import StepRules, examine, locate

ANSWER = (
    *("status", "reason", "label", "melanoma_probability", "image_size", "lesion_box", "roi_box"),
    *("lesion_area_fraction", "lesion_confidence", "threshold", "prior"),
)
"""What a `diagnose` vector expects of a diagnosis, beside its score of familiarity."""
Values = dict[str, Any]
Step = Callable[[Values, Diagnoser], Values]


@dataclass(frozen=True)
class Outcome:
    """How one vector went: `failures` has a sentence for each result that is off, `deviations` the measured values.

    Keys of `deviations` are `<result>.<measure>`.
    """

    vector: Vector
    failures: tuple[str, ...]
    deviations: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether every result is within its tolerance."""
        return not self.failures


def replay_vectors(index: Index, diagnoser: Diagnoser) -> Iterator[Outcome]:
    """Runs every vector.

    Args:
        index: from `edge_infer.conformance.store.read_folder`.
        diagnoser: of the bundle that the vectors were made from.

    Raises:
        VectorsError: the diagnoser has another bundle, or a step is unknown.
    """
    check_bundle(index, diagnoser.bundle)
    for vector in index.vectors:
        yield replay_vector(vector, diagnoser)


def check_bundle(index: Index, bundle: Bundle) -> None:
    """Raises VectorsError where the vectors were made from another bundle."""
    if index.bundle.sha256 != bundle.sha256:
        raise VectorsError(
            f"These vectors were made from bundle {index.bundle.name} ({index.bundle.sha256[:12]}), "
            f"not from {bundle.manifest.name} ({bundle.sha256[:12]}).",
            "Write them again with `edge-infer vectors BUNDLE -o DIR`.",
        )


def replay_vector(vector: Vector, diagnoser: Diagnoser) -> Outcome:
    """Runs one vector; see `replay_vectors`."""
    if vector.step not in STEPS:
        raise VectorsError(f"Vector '{vector.name}' checks an unknown step '{vector.step}'.", "Update edge-infer.")
    found = compute(vector.step, vector.given, diagnoser)
    return compare(vector, found)


def compute(step: str, given: Values, diagnoser: Diagnoser) -> Values:
    """What this runtime computes for a step; `{"error": code}` where it raises a typed error."""
    try:
        return STEPS[step][1](given, diagnoser)
    except EdgeInferError as error:
        return {"error": error.code}


def compare(vector: Vector, found: Values) -> Outcome:
    """Holds results against a vector's expectations."""
    failures: list[str] = []
    deviations: dict[str, float] = {}
    for key, wanted in vector.expect.items():
        if key not in found:
            failures.append(f"{key}: missing; found {_short(found)}")
            continue
        bounds = vector.tolerance.get(key)
        if bounds is None or wanted is None or found[key] is None:
            if not _equal(wanted, found[key]):
                failures.append(f"{key}: {_short(found[key])}, expected {_short(wanted)}")
            continue
        a, b = (np.asarray(value, np.float64) for value in (wanted, found[key]))
        if a.shape != b.shape:
            failures.append(f"{key}: shape {b.shape}, expected {a.shape}")
            continue
        for measure, bound in bounds.items():
            value = deviations[f"{key}.{measure}"] = _MEASURES[measure](a, b)
            if not (value >= bound if measure.startswith("min") else value <= bound):
                failures.append(f"{key}: {measure} {value:.6g}, bound {bound:g}")
    return Outcome(vector, tuple(failures), deviations)


def _iou(a: Any, b: Any) -> float:
    union = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / union) if union else 1.0


_MEASURES: dict[str, Callable[[Any, Any], float]] = {
    "max_abs": lambda a, b: float(np.abs(a - b).max(initial=0.0)),
    "mean_abs": lambda a, b: float(np.abs(a - b).mean()) if a.size else 0.0,
    "max_relative": lambda a, b: float((np.abs(a - b) / np.maximum(np.abs(a), 1e-12)).max(initial=0.0)),
    "max_share": lambda a, b: float((a != b).mean()) if a.size else 0.0,
    "min_iou": _iou,
}


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.shape(a) == np.shape(b) and bool(np.array_equal(a, b))
    return bool(a == b)


def _short(value: Any) -> str:
    return f"array {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:100]


def _box(value: Any) -> Box:
    return Box(*value)


def _boxed(box: Box | None) -> list[int] | None:
    return None if box is None else list(box)


def _reason(problem: tuple[Any, str] | None) -> str | None:
    return None if problem is None else str(problem[0].value)


def _picture(given: Values) -> Any:
    return given["file"].data if "file" in given else given["image"]


def _header(given: Values, _: Diagnoser) -> Values:
    header = read_header(given["file"].data)
    return {"format": header.format, "height": header.height, "width": header.width}


def _decode(given: Values, _: Diagnoser) -> Values:
    picture = open_picture(given["file"].data, max_pixels=given.get("max_pixels", DEFAULT_MAX_PIXELS))
    if "resized_to" in given:
        return {"resized": resize(picture.pixels, *given["resized_to"])}
    return {"image": picture.pixels}


def _resize(given: Values, _: Diagnoser) -> Values:
    return {"image": resize(given["image"], given["height"], given["width"])}


def _quality(given: Values, _: Diagnoser) -> Values:
    return measure_quality(given["image"])._asdict()


def _picture_problem(given: Values, _: Diagnoser) -> Values:
    quality = Quality(given["luminance"], given["contrast"], given["sharpness"])
    limits = parse(QualityLimits, given["limits"])
    return {"reason": _reason(picture_problem(given["height"], given["width"], quality, limits))}


def _appearance(given: Values, _: Diagnoser) -> Values:
    appearance = measure_appearance(given["image"])
    found: Values = {"measures": list(appearance), "names": list(appearance._fields)}
    if "rule" in given:
        found["score"] = dermoscopy_score(appearance, parse(DermoscopyRule, given["rule"]))
    return found


def _appearance_problem(given: Values, _: Diagnoser) -> Values:
    rule = DermoscopyRule({}, 1.0, 0.0, given["min_score"])
    return {"reason": _reason(appearance_problem(given["score"], rule))}


def _clean_mask(given: Values, _: Diagnoser) -> Values:
    return {"mask": clean_mask(given["probability_map"], given["threshold"])}


def _confidence(given: Values, _: Diagnoser) -> Values:
    return {"confidence": lesion_confidence(given["probability_map"], given["mask"])}


def _restore_mask(given: Values, _: Diagnoser) -> Values:
    return {"mask": restore_mask(given["mask"], given["height"], given["width"])}


def _lesion_box(given: Values, _: Diagnoser) -> Values:
    return {"box": _boxed(lesion_box(given["mask"]))}


def _lesion_problem(given: Values, _: Diagnoser) -> Values:
    rule = parse(MaskRule, given["rule"])
    return {"reason": _reason(lesion_problem(given["area_fraction"], given["confidence"], rule))}


def _roi_box(given: Values, _: Diagnoser) -> Values:
    arguments = (given["height"], given["width"], given["margin"], given["outside"])
    return {"box": _boxed(roi_box(_box(given["box"]), *arguments))}


def _crop(given: Values, _: Diagnoser) -> Values:
    rule = RoiRule(given["background"], 0.0, given["outside"])
    return {"image": crop_roi(given["image"], given["mask"], _box(given["box"]), rule, given["size"])}


def _segment(given: Values, diagnoser: Diagnoser) -> Values:
    maps, scores = diagnoser.segment_and_score(to_batch([given["image"]]))
    return {"probability_map": maps[0], "familiarity": None if scores is None else float(scores[0])}


def _classify(given: Values, diagnoser: Diagnoser) -> Values:
    return {"probabilities": diagnoser.classify(to_batch([given["image"]]))[0]}


def _decide(given: Values, diagnoser: Diagnoser) -> Values:
    manifest = diagnoser.manifest
    point = manifest.operating_point(given["operating_point"])
    row = np.asarray(given["probabilities"], np.float64)
    if "prevalence" in given:
        ratio = known_ratio(manifest.calibration, given["prevalence"])
        point, row = move(point, ratio), correct_classes(row, manifest.melanoma_index, ratio)
    band = None if given["abstain"] is None else point.band(given["abstain"])
    probability = float(row[manifest.melanoma_index])
    label, problem = decide(probability, point, band)
    return {
        "melanoma_probability": probability,
        "threshold": point.threshold,
        "label": label,
        "reason": _reason(problem),
    }


def step_rules(values: Values) -> StepRules:
    """The rules of a `path` vector."""
    first, second = values["segmenter"], values["classifier"]
    dermoscopy, familiarity = values["dermoscopy"], values.get("familiarity")
    return StepRules(
        InputSpec("image", first["height"], first["width"]),
        InputSpec("image", second["height"], second["width"]),
        parse(QualityLimits, values["quality"]),
        None if dermoscopy is None else parse(DermoscopyRule, dermoscopy),
        parse(MaskRule, values["mask"]),
        parse(RoiRule, values["roi"]),
        None if familiarity is None else parse(FamiliarityRule, familiarity),
    )


def _path(given: Values, _: Diagnoser) -> Values:
    rules = step_rules(given["rules"])
    work = examine(given["image"], rules, DEFAULT_MAX_PIXELS)
    found: Values = {"segmenter_input": work.segmenter_input}
    if work.problem is None:
        locate(work, given["probability_map"], rules, given.get("familiarity"))
    return found | {
        "reason": _reason(work.problem),
        "mask": work.mask,
        "lesion_box": _boxed(work.lesion_box),
        "lesion_area_fraction": work.area,
        "lesion_confidence": work.confidence,
        "roi_box": _boxed(work.roi_box),
        "roi": work.roi,
    }


def _diagnose(given: Values, diagnoser: Diagnoser) -> Values:
    asked = diagnoser.with_prevalence(given["prevalence"]) if "prevalence" in given else diagnoser
    found = asked.diagnose(_picture(given)).to_dict()
    return {name: found[name] for name in ANSWER} | {"familiarity": found["quality"].get("familiarity")}


_TABLE: tuple[tuple[str, Step, str, str], ...] = (
    ("header", _header, "nothing", "Format and stored size from a file's first bytes, before anything is decoded."),
    ("decode", _decode, "decoder", "A file becomes an upright RGB picture."),
    ("resize", _resize, "nothing", "Area average where no axis grows, bilinear otherwise."),
    ("quality", _quality, "nothing", "Luminance, contrast and sharpness of a resized picture."),
    ("picture_problem", _picture_problem, "nothing", "The first quality limit that is broken, or null."),
    ("appearance", _appearance, "nothing", "Colour and texture measures, and their score."),
    ("appearance_problem", _appearance_problem, "nothing", "Whether a score is refused."),
    ("clean_mask", _clean_mask, "nothing", "Threshold, largest region, filled."),
    ("confidence", _confidence, "nothing", "Mean probability inside the cleaned mask."),
    ("restore_mask", _restore_mask, "nothing", "The mask at another size."),
    ("lesion_box", _lesion_box, "nothing", "The smallest rectangle around the mask, or null."),
    ("lesion_problem", _lesion_problem, "nothing", "The first lesion limit that is broken, or null."),
    ("roi_box", _roi_box, "nothing", "The region that is cropped."),
    ("crop", _crop, "nothing", "Cut, fill, resize."),
    ("path", _path, "nothing", "Steps 2 to 7 in order, with the segmenter's answer given."),
    ("segment", _segment, "networks", "The bundle's segmenter."),
    ("classify", _classify, "networks", "The bundle's classifier."),
    ("decide", _decide, "manifest", "From the classifier's output to the answer."),
    ("diagnose", _diagnose, "networks", "All of it: a file to an answer."),
)
STEPS: dict[str, tuple[StepEntry, Step]] = {
    name: (StepEntry(about, needs), step) for name, step, needs, about in _TABLE
}
"""By name: what a step is, and how this runtime does it."""
