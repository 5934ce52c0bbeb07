"""A report for people as one self-contained HTML page: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections import Counter
from datetime import datetime
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_infer import __version__
from edge_infer.bundle.store import Bundle
from edge_infer.diagnosis import MELANOMA, Diagnosis
from edge_infer.files import PRIVATE, make_writable_folder, write_atomically
from edge_infer.output import abcd, wording
from edge_infer.output.picture import draw_class_map, draw_outline, encode_jpeg
from edge_infer.output.sink import Result, Run
from edge_infer.rules import OperatingPoint

_THUMBNAIL = 400
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
)
"""Whatever slipped through the escaping could load nothing, run nothing and send nothing."""

STYLE = """
:root { color-scheme: light dark; --alarm: #d98200; --calm: #2b8cc4; --unsure: #b3a200; --failed: #c0392b; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .3rem 0; } .small { font-size: .85rem; opacity: .8; }
.notice { border-left: .3rem solid var(--alarm); padding-left: .8rem; }
article { display: flex; flex-wrap: wrap; gap: 1rem; border-top: 1px solid #8886; padding: 1rem 0; }
article > div { flex: 1 1 20rem; } figure { margin: 0; width: 25rem; max-width: 100%; }
img { max-width: 100%; border-radius: .3rem; display: block; } img + img { margin: .4rem 0; }
.answer { font-size: 1.15rem; font-weight: 600; }
.alarm { color: var(--alarm); } .calm { color: var(--calm); } .unsure { color: var(--unsure); }
.failed { color: var(--failed); }
th { text-align: left; vertical-align: top; padding-right: .8rem; }
.scale { position: relative; height: .7rem; background: #8884; border-radius: .35rem; max-width: 25rem; }
.scale i { position: absolute; inset: 0 auto 0 0; background: currentColor; border-radius: .35rem; }
.scale b { position: absolute; top: -.2rem; bottom: -.2rem; width: 2px; background: CanvasText; }
"""


class HtmlSink:
    """The page of all results, written at the end; no file where results are missing."""

    def __init__(self, file: Path) -> None:
        """Writes to `file`, whose folder is made where it is missing."""
        self._file = file

    def open(self, run: Run) -> None:
        """See `Sink.open`."""
        make_writable_folder(self._file.parent)
        self._report = HtmlReport(run.bundle, run.operating_point, run.prior)

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        self._report.add(result.diagnosis, result.pixels)

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""
        if complete:
            write_atomically(self._file, self._report.page().encode("utf-8"), mode=PRIVATE)


class HtmlReport:
    """Collects results one by one and turns them into a page."""

    def __init__(self, bundle: Bundle, operating_point: OperatingPoint, prior: float | None = None) -> None:
        self._bundle, self._prior = bundle, prior
        self._point = operating_point
        self._articles: list[str] = []
        self._tally: Counter[str] = Counter()

    def add(self, diagnosis: Diagnosis, picture: NDArray[np.uint8] | None) -> None:
        """Adds one result.

        Args:
            diagnosis: the result.
            picture: RGB uint8, shape (h, w, 3), the whole picture; None where it could not be read.
        """
        tone, words = self._words(diagnosis)
        self._tally[tone] += 1
        figure = ""
        if picture is not None:
            thumbnail = draw_outline(picture, diagnosis, _THUMBNAIL / max(picture.shape[:2]))
            data = base64.b64encode(encode_jpeg(thumbnail)).decode("ascii")
            explained = self._explained(diagnosis, picture)
            figure = f'<figure><img alt="" src="data:image/jpeg;base64,{data}">{explained}</figure>'
        readable = wording.source_name(diagnosis).encode("utf-8", "replace").decode("utf-8")
        self._articles.append(
            f"<article>{figure}<div><h2>{escape(readable)}</h2>"
            f'<p class="answer {tone}">{escape(words)}</p>{self._details(diagnosis, tone)}</div></article>'
        )

    def page(self) -> str:
        """The HTML text."""
        manifest, point = self._bundle.manifest, self._point
        meaning = wording.suspicious_from(point.threshold, point.meaning)
        counts = [
            f"{self._tally[tone]} {word}"
            for tone, word in (
                ("alarm", "suspicious"),
                ("calm", "not suspicious"),
                ("unsure", "indeterminate"),
                ("failed", "failed"),
            )
        ]
        made = datetime.now().astimezone().isoformat(" ", "minutes")
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{_POLICY}<title>edge-infer report</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
            f"<h1>{len(self._articles)} pictures: {', '.join(counts)}</h1>\n"
            f'<p class="notice">{escape(wording.DISCLAIMER)} {escape(manifest.intended_use)}</p>\n'
            f"<p>Operating point <b>{escape(point.name)}</b>: "
            f"{escape(f'{meaning} {wording.assumption(self._prior)}'.strip())}</p>\n"
            f'<p class="small">Bundle {escape(manifest.name)} ({self._bundle.sha256[:12]}), edge-infer {__version__}, '
            f"{made}. Outline: what was taken for the lesion. Square: what the classifier saw.</p>\n"
            + "\n".join(self._articles)
            + "\n</body></html>\n"
        )

    @staticmethod
    def _explained(diagnosis: Diagnosis, picture: NDArray[np.uint8]) -> str:
        """A second thumbnail with what it says and does not say; empty where there is no class activation map."""
        if diagnosis.class_map is None:
            return ""
        drawn = draw_class_map(picture, diagnosis, _THUMBNAIL / max(picture.shape[:2]))
        data = base64.b64encode(encode_jpeg(drawn)).decode("ascii")
        words = escape(wording.class_map_words(diagnosis.class_map))
        return f'<img alt="" src="data:image/jpeg;base64,{data}"><figcaption class="small">{words}</figcaption>'

    @staticmethod
    def _words(diagnosis: Diagnosis) -> tuple[str, str]:
        if diagnosis.error is not None:
            return "failed", f"Failed: {diagnosis.error.message}"
        if diagnosis.status != "ok":
            return "unsure", f"Indeterminate: {wording.reason_title(diagnosis)}"
        tone = "alarm" if diagnosis.label == MELANOMA else "calm"
        return tone, f"Melanoma {wording.percent(diagnosis.melanoma_probability)}: {wording.decision(diagnosis)}"

    def _details(self, diagnosis: Diagnosis, tone: str) -> str:
        lines: list[str] = []
        if diagnosis.error is not None:
            lines.append(f"<p>{escape(diagnosis.error.remedy)}</p>")
        elif diagnosis.message:
            lines.append(f"<p>{escape(diagnosis.message)} {escape(wording.advice(diagnosis))}</p>")
        if diagnosis.melanoma_probability is not None and diagnosis.threshold is not None:
            lines.append(
                f'<div class="scale {tone}"><i style="width:{100 * diagnosis.melanoma_probability:.1f}%"></i>'
                f'<b style="left:{100 * diagnosis.threshold:.1f}%"></b></div>'
            )
            names = self._bundle.manifest.label_names
            ranked = sorted(diagnosis.probabilities.items(), key=lambda item: -item[1])
            classes = ", ".join(f"{names[label]} {wording.percent(p).replace(' ', chr(160))}" for label, p in ranked)
            lines.append(f'<p class="small">{escape(classes)}</p>')
        if diagnosis.measurements is not None:
            lines.append(abcd.table(diagnosis.measurements))
        lines += [f'<p class="unsure">Note: {escape(warning)}</p>' for warning in diagnosis.warnings]
        return "".join(lines)
