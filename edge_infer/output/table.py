"""Results as a table: one CSV row per picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TextIO

from edge_infer.bundle.manifest import Manifest
from edge_infer.diagnosis import Diagnosis
from edge_infer.files import write_stream
from edge_infer.output import abcd
from edge_infer.output.sink import SAVED_KINDS, Result, Run


class CsvSink:
    """A header, then one row per picture, each as soon as it is known."""

    def __init__(self, stream: TextIO) -> None:
        """Writes to `stream`, which stays open."""
        self._stream = stream

    def open(self, run: Run) -> None:
        """Writes the header. See `Sink.open`."""
        self._manifest, self._measurements = run.manifest, run.measurements
        write_stream(self._stream, csv_header(run.manifest, run.measurements), flush=False)

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        write_stream(self._stream, to_csv(result.diagnosis, result.saved, self._manifest, self._measurements))

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""


def csv_columns(manifest: Manifest, measurements: bool = False) -> list[str]:
    """The columns of `to_csv`, always in this order; only the class columns depend on the bundle.

    Where lesions are measured, their numbers come last.
    """
    boxes = [f"{box}_{edge}" for box in ("lesion", "roi") for edge in ("x0", "y0", "x1", "y1")]
    return [
        *("source", "status", "reason", "message", "error", "melanoma_probability", "label", "threshold"),
        *("operating_point", "prior", "band_low", "band_high"),
        *(f"probability_{label}" for label in manifest.labels),
        *("image_height", "image_width"),
        *boxes,
        *("lesion_area_fraction", "lesion_confidence", "luminance", "contrast", "sharpness"),
        *("dermoscopy", "familiarity", "total_ms"),
        *("provider", "variant", "bundle", "bundle_sha256", "site_sha256", "warnings"),
        *(f"{kind}_file" for kind in SAVED_KINDS),
        *(abcd.columns() if measurements else ()),
    ]


def csv_header(manifest: Manifest, measurements: bool = False) -> str:
    """The first line of a CSV, with its newline."""
    return _csv_line(csv_columns(manifest, measurements))


def to_csv(diagnosis: Diagnosis, saved: Mapping[str, str], manifest: Manifest, measurements: bool = False) -> str:
    """One result as one CSV record, with its newline; unknown values are empty, warnings are joined by " | ".

    A file name such as `=1+1.jpg` becomes `'=1+1.jpg`, so that no spreadsheet computes it; JSON has it as it is.
    """
    values = to_row(diagnosis, saved)
    return _csv_line([values.get(column) for column in csv_columns(manifest, measurements)])


def to_row(diagnosis: Diagnosis, saved: Mapping[str, str]) -> dict[str, object]:
    """One result's values by the names of `csv_columns`; what is unknown is absent or None."""
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
        "prior": diagnosis.prior,
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
        "site_sha256": diagnosis.site_sha256,
        "warnings": " | ".join(diagnosis.warnings),
        **diagnosis.quality,
        **{f"probability_{label}": p for label, p in diagnosis.probabilities.items()},
        **{f"{kind}_file": saved.get(kind) for kind in SAVED_KINDS},
    }
    for name, box in (("lesion", diagnosis.lesion_box), ("roi", diagnosis.roi_box)):
        if box is not None:
            values |= {f"{name}_{edge}": value for edge, value in box._asdict().items()}
    if diagnosis.measurements is not None:
        values |= abcd.row(diagnosis.measurements)
    return values


def _no_formula(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a ' before it, as OWASP advises; numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def _csv_line(values: Sequence[object]) -> str:
    line = io.StringIO()
    # Whatever the line ends with is what gets quoted, and a lone "\r" in a name would end a row too.
    csv.writer(line, lineterminator="\r\n").writerow(["" if value is None else _no_formula(value) for value in values])
    return line.getvalue().removesuffix("\r\n") + "\n"
