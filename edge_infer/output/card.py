"""Results for people at a terminal: a card in plain words for every picture."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import TextIO

from edge_infer.bundle.manifest import DEFAULT_VARIANT, Manifest
from edge_infer.diagnosis import Diagnosis
from edge_infer.files import write_stream
from edge_infer.output import abcd, wording
from edge_infer.output.sink import SAVED_KINDS, Result, Run

Style = Callable[[str, str], str]

_CARD_WIDTH = 92
_LABEL_WIDTH = 17


def plain(text: str, tone: str) -> str:
    """The style that paints nothing."""
    return text


class CardSink:
    """A card per picture, each as soon as it is known, an empty line between two."""

    def __init__(self, stream: TextIO, style: Style = plain) -> None:
        """Writes to `stream`, which stays open; `style` as for `to_card`."""
        self._stream, self._style = stream, style
        self._number = 0

    def open(self, run: Run) -> None:
        """See `Sink.open`."""
        self._run = run

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        self._number += 1
        position = f"{self._number}/{self._run.count}" if self._run.count > 1 else ""
        manifest = self._run.manifest
        card = to_card(result.diagnosis, result.saved, manifest, position=position, style=self._style)
        write_stream(self._stream, card if self._number == 1 else f"\n{card}")

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""


def to_card(
    diagnosis: Diagnosis,
    saved: Mapping[str, str],
    manifest: Manifest,
    *,
    position: str = "",
    style: Style = plain,
) -> str:
    """One result in plain words for a terminal, several lines with a final newline.

    Args:
        diagnosis: the result.
        saved: files written for it by kind.
        manifest: names the classes and explains the operating point.
        position: for example "3/20", put before the picture's name.
        style: paints a text; gets the text and one of "title", "alarm", "calm", "unsure", "quiet".
    """
    lines = [style(f"{position} {wording.source_name(diagnosis)}".strip(), "title")]
    if diagnosis.error is not None:
        lines += _row("failed", f"[{diagnosis.error.code}] {diagnosis.error.message}", style, "alarm")
        lines += _row("fix", diagnosis.error.remedy)
        return "\n".join(lines) + "\n"
    if diagnosis.status == "ok":
        tone = "alarm" if diagnosis.label == "melanoma" else "calm"
        probability = wording.percent(diagnosis.melanoma_probability)
        lines += _row("melanoma", f"{probability} - {wording.decision(diagnosis)}", style, tone)
    else:
        title = wording.reason_title(diagnosis)
        lines += _row("indeterminate", f"{title} - {wording.undecided(diagnosis)}", style, "unsure")
        if diagnosis.melanoma_probability is None:
            lines += _row("reason", diagnosis.message or "")
        lines += _row("what to do", wording.advice(diagnosis))
    if diagnosis.melanoma_probability is not None:
        lines += _row("other classes", _others(diagnosis, manifest))
        point = manifest.operating_point(diagnosis.operating_point)
        meaning = wording.suspicious_from(diagnosis.threshold, point.meaning)
        lines += _row("operating point", f"{point.name}: {meaning}")
        lines += _row("prior", wording.assumption(diagnosis.prior))
    if diagnosis.lesion_area_fraction is not None:
        lines += _row("lesion", f"covers {wording.percent(diagnosis.lesion_area_fraction)} of the picture")
    if diagnosis.measurements is not None:
        for label, text in abcd.lines(diagnosis.measurements):
            lines += _row(label, text, style, "" if label else "quiet")
    if diagnosis.class_map is not None:
        lines += _row("explanation", wording.class_map_words(diagnosis.class_map))
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
    lines += _row("", wording.DISCLAIMER, style, "quiet")
    return "\n".join(lines) + "\n"


def _others(diagnosis: Diagnosis, manifest: Manifest) -> str:
    others = [(p, label) for label, p in diagnosis.probabilities.items() if label != manifest.melanoma_label]
    names = manifest.label_names
    return ", ".join(f"{names[label]} {wording.percent(p)}" for p, label in sorted(others, reverse=True)[:3])


def _row(label: str, text: str, style: Style = plain, tone: str = "") -> list[str]:
    wrapped = textwrap.wrap(text, _CARD_WIDTH - _LABEL_WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    indent = " " * (_LABEL_WIDTH + 2)
    return [
        (f"  {label:<{_LABEL_WIDTH}}" if i == 0 else indent) + (style(line, tone) if tone else line)
        for i, line in enumerate(wrapped)
    ]
