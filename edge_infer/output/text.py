"""Results as text: cards for people; JSON, NDJSON and CSV for machines."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_infer.bundle.manifest import DEFAULT_VARIANT, Manifest
from edge_infer.diagnosis import Diagnosis
from edge_infer.output.wording import DISCLAIMER, advice, decision, percent, reason_title, sentence, undecided

SAVED_KINDS = ("overlay", "mask", "roi")
"""What can be saved per picture; each has its column in every format, null or empty where nothing was written."""

Saved = Mapping[str, str]
Style = Callable[[str, str], str]

_CARD_WIDTH = 92
_LABEL_WIDTH = 17


def to_record(diagnosis: Diagnosis, saved: Saved) -> dict[str, Any]:
    """JSON-ready values: `Diagnosis.to_dict()` and, under "saved", the files written for this picture by kind."""
    return {**diagnosis.to_dict(), "saved": {kind: saved.get(kind) for kind in SAVED_KINDS}}


def to_json(records: Sequence[Mapping[str, Any]]) -> str:
    """All results as one JSON array, with a final newline; ASCII, so that any terminal and file name is safe."""
    return json.dumps(list(records), indent=2, allow_nan=False) + "\n"


def to_ndjson(record: Mapping[str, Any]) -> str:
    """One result as one line of JSON, with its newline."""
    return json.dumps(record, allow_nan=False) + "\n"


def csv_columns(manifest: Manifest) -> list[str]:
    """The columns of `to_csv`, always in this order; only the class columns depend on the bundle."""
    boxes = [f"{box}_{edge}" for box in ("lesion", "roi") for edge in ("x0", "y0", "x1", "y1")]
    return [
        *("source", "status", "reason", "message", "error", "melanoma_probability", "label", "threshold"),
        *("operating_point", "band_low", "band_high"),
        *(f"probability_{label}" for label in manifest.labels),
        *("image_height", "image_width"),
        *boxes,
        *("lesion_area_fraction", "lesion_confidence", "luminance", "contrast", "sharpness", "dermoscopy", "total_ms"),
        *("provider", "variant", "bundle", "bundle_sha256", "warnings"),
        *(f"{kind}_file" for kind in SAVED_KINDS),
    ]


def csv_header(manifest: Manifest) -> str:
    """The first line of a CSV, with its newline."""
    return _csv_line(csv_columns(manifest))


def to_csv(diagnosis: Diagnosis, saved: Saved, manifest: Manifest) -> str:
    """One result as one CSV record, with its newline; unknown values are empty, warnings are joined by " | "."""
    height, width = diagnosis.image_size or (None, None)
    low, high = diagnosis.band or (None, None)
    values: dict[str, object] = {
        "source": diagnosis.source,
        "status": diagnosis.status,
        "reason": diagnosis.reason.value if diagnosis.reason else None,
        "message": diagnosis.message,
        "error": diagnosis.error.code if diagnosis.error else None,
        "melanoma_probability": diagnosis.melanoma_probability,
        "label": diagnosis.label,
        "threshold": diagnosis.threshold,
        "operating_point": diagnosis.operating_point,
        "band_low": low,
        "band_high": high,
        "image_height": height,
        "image_width": width,
        "lesion_area_fraction": diagnosis.lesion_area_fraction,
        "lesion_confidence": diagnosis.lesion_confidence,
        "total_ms": diagnosis.timings_ms.get("total"),
        "provider": diagnosis.provider,
        "variant": diagnosis.variant,
        "bundle": diagnosis.bundle,
        "bundle_sha256": diagnosis.bundle_sha256,
        "warnings": " | ".join(diagnosis.warnings),
        **diagnosis.quality,
        **{f"probability_{label}": p for label, p in diagnosis.probabilities.items()},
        **{f"{kind}_file": saved.get(kind) for kind in SAVED_KINDS},
    }
    for name, box in (("lesion", diagnosis.lesion_box), ("roi", diagnosis.roi_box)):
        if box is not None:
            values |= {f"{name}_{edge}": value for edge, value in box._asdict().items()}
    return _csv_line([values.get(column) for column in csv_columns(manifest)])


def _csv_line(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return line.getvalue()


def to_card(
    diagnosis: Diagnosis,
    saved: Saved,
    manifest: Manifest,
    *,
    position: str = "",
    style: Style = lambda text, _: text,
) -> str:
    """One result in plain words for a terminal, several lines with a final newline.

    Args:
        diagnosis: the result.
        saved: files written for it by kind.
        manifest: names the classes and explains the operating point.
        position: for example "3/20", put before the picture's name.
        style: paints a text; gets the text and one of "title", "alarm", "calm", "unsure", "quiet".
    """
    name = "standard input" if diagnosis.source == "-" else diagnosis.source or "picture"
    lines = [style(f"{position} {name}".strip(), "title")]
    if diagnosis.error is not None:
        lines += _row("failed", f"[{diagnosis.error.code}] {diagnosis.error.message}", style, "alarm")
        lines += _row("fix", diagnosis.error.remedy)
        return "\n".join(lines) + "\n"
    if diagnosis.status == "ok":
        tone = "alarm" if diagnosis.label == "melanoma" else "calm"
        lines += _row("melanoma", f"{percent(diagnosis.melanoma_probability)} - {decision(diagnosis)}", style, tone)
    else:
        lines += _row("indeterminate", f"{reason_title(diagnosis)} - {undecided(diagnosis)}", style, "unsure")
        if diagnosis.melanoma_probability is None:
            lines += _row("reason", diagnosis.message or "")
        lines += _row("what to do", advice(diagnosis))
    if diagnosis.melanoma_probability is not None:
        lines += _row("other classes", _others(diagnosis, manifest))
        point = manifest.operating_point(diagnosis.operating_point)
        meaning = f"{point.name}: suspicious from {percent(point.threshold)} upwards. {sentence(point.meaning)}"
        lines += _row("operating point", meaning)
    if diagnosis.lesion_area_fraction is not None:
        lines += _row("lesion", f"covers {percent(diagnosis.lesion_area_fraction)} of the picture")
    for warning in diagnosis.warnings:
        lines += _row("warning", warning, style, "unsure")
    for kind in SAVED_KINDS:
        if kind in saved:
            lines += _row(f"{kind} saved", saved[kind])
    total = diagnosis.timings_ms.get("total", 0.0)
    sha = (diagnosis.bundle_sha256 or "")[:12]
    form = "" if diagnosis.variant in (None, DEFAULT_VARIANT) else f", variant {diagnosis.variant}"
    computed = f"in {total:.0f} ms on {diagnosis.provider} with bundle {diagnosis.bundle} ({sha}){form}"
    lines += _row("computed", computed)
    lines += _row("", DISCLAIMER, style, "quiet")
    return "\n".join(lines) + "\n"


def _others(diagnosis: Diagnosis, manifest: Manifest) -> str:
    others = [(p, label) for label, p in diagnosis.probabilities.items() if label != manifest.melanoma_label]
    return ", ".join(f"{manifest.label_names[label]} {percent(p)}" for p, label in sorted(others, reverse=True)[:3])


def _row(label: str, text: str, style: Style = lambda text, _: text, tone: str = "") -> list[str]:
    wrapped = textwrap.wrap(text, _CARD_WIDTH - _LABEL_WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    indent = " " * (_LABEL_WIDTH + 2)
    return [
        (f"  {label:<{_LABEL_WIDTH}}" if i == 0 else indent) + (style(line, tone) if tone else line)
        for i, line in enumerate(wrapped)
    ]
