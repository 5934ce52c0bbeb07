"""Results as text, from results made by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import read_manifest
from edge_infer.diagnosis import MELANOMA, Diagnosis
from edge_infer.errors import ImageDecodeError
from edge_infer.geometry import Box
from edge_infer.output.card import to_card
from edge_infer.output.records import to_json, to_ndjson, to_record
from edge_infer.output.table import csv_columns, csv_header, to_csv
from edge_infer.output.wording import advice, percent, reason_title, sentence
from edge_infer.reasons import Reason

ANSWER = Diagnosis(
    status="ok",
    source='odd, "name"\n.jpg',
    melanoma_probability=0.5,
    label=MELANOMA,
    threshold=0.4,
    operating_point="balanced",
    probabilities=MappingProxyType(dict.fromkeys(("akiec", "bcc", "bkl", "df", "nv", "vasc"), 0.05) | {"mel": 0.5}),
    image_size=(450, 600),
    lesion_box=Box(1, 2, 3, 4),
    roi_box=Box(-5, 0, 10, 15),
    lesion_area_fraction=0.25,
    quality=MappingProxyType({"luminance": 1.0, "contrast": 2.0, "sharpness": 3.0}),
    timings_ms=MappingProxyType({"total": 12.5}),
    provider="CPUExecutionProvider",
    bundle="toy",
    bundle_sha256="ab" * 32,
    warnings=("one", "two"),
)
UNSURE = replace(
    ANSWER,
    status="indeterminate",
    source="dark.jpg",
    reason=Reason.TOO_DARK,
    message="Too dark.",
    melanoma_probability=None,
    label=None,
    probabilities=MappingProxyType({}),
)
FAILED = Diagnosis(
    status="error", source="\udcff.jpg", message="Damaged. Copy it.", error=ImageDecodeError("Damaged.", "Copy it.")
)


@pytest.fixture(scope="module")
def manifest(toy_bundle: Path) -> Manifest:
    return read_manifest(toy_bundle).manifest


def test_csv_reads_back(manifest: Manifest) -> None:
    text = csv_header(manifest) + "".join(to_csv(d, {"mask": "m.png"}, manifest) for d in (ANSWER, UNSURE, FAILED))
    header, *rows = list(csv.reader(io.StringIO(text)))
    assert header == csv_columns(manifest)
    ok, unsure, failed = (dict(zip(header, row, strict=True)) for row in rows)
    assert ok["source"] == ANSWER.source
    assert (ok["melanoma_probability"], ok["probability_mel"], ok["label"]) == ("0.5", "0.5", "melanoma")
    assert (ok["roi_x0"], ok["lesion_y1"], ok["image_width"], ok["total_ms"]) == ("-5", "4", "600", "12.5")
    assert (ok["warnings"], ok["mask_file"], ok["overlay_file"]) == ("one | two", "m.png", "")
    assert (unsure["reason"], unsure["melanoma_probability"], unsure["probability_mel"]) == ("too_dark", "", "")
    assert (failed["error"], failed["message"], failed["bundle"]) == ("image-decode", "Damaged. Copy it.", "")


def test_json_reads_back_and_is_ascii() -> None:
    records = [to_record(d, {}) for d in (ANSWER, UNSURE, FAILED)]
    text = to_json(records)
    assert text.isascii()
    assert json.loads(text) == [json.loads(to_ndjson(record)) for record in records]
    assert json.loads(text)[2]["source"] == "\udcff.jpg"
    assert json.loads(text)[2]["error"] == {"code": "image-decode", "message": "Damaged.", "remedy": "Copy it."}
    assert all(to_ndjson(record).count("\n") == 1 for record in records)


def test_cards(manifest: Manifest) -> None:
    card = to_card(ANSWER, {"roi": "r.png"}, manifest, position="2/3")
    lines = card.splitlines()
    assert lines[0].startswith("2/3 ")
    assert "50.0 % - suspicious (threshold 40.0 %)" in card
    assert "warning          one" in card and "warning          two" in card
    assert "roi saved        r.png" in card
    assert "covers 25.0 % of the picture" in card
    unsure = to_card(UNSURE, {}, manifest)
    assert "picture too dark - no probability is given" in unsure and "Too dark." in unsure
    assert "suspicious (threshold" not in unsure
    failed = to_card(FAILED, {}, manifest)
    assert "[image-decode] Damaged." in failed and "Copy it." in failed
    assert all(len(line) <= 100 for text in (card, unsure, failed) for line in text.splitlines())


def test_an_undecided_card_gives_the_probability_and_what_to_do(manifest: Manifest) -> None:
    undecided = replace(
        ANSWER, status="indeterminate", reason=Reason.UNCERTAIN, message="Close.", label=None, band=(0.3, 0.6)
    )
    card = to_card(undecided, {}, manifest)
    assert "too close to call - melanoma 50.0 %, undecided between 30.0 % and 60.0 %" in " ".join(card.split())
    assert "no reassurance" in card and "other classes" in card
    cells = next(csv.reader(io.StringIO(to_csv(undecided, {}, manifest))))
    row = dict(zip(csv_columns(manifest), cells, strict=True))
    assert (row["melanoma_probability"], row["band_low"], row["label"]) == ("0.5", "0.3", "")
    for reason in Reason:
        assert advice(replace(UNSURE, reason=reason)) and reason_title(replace(UNSURE, reason=reason))


def test_card_is_painted_by_meaning(manifest: Manifest) -> None:
    def tones(diagnosis: Diagnosis) -> set[str]:
        seen = set()

        def style(text: str, tone: str) -> str:
            seen.add(tone)
            return text

        to_card(diagnosis, {}, manifest, style=style)
        return seen

    assert "alarm" in tones(ANSWER)
    calm = tones(replace(ANSWER, label="not melanoma"))
    assert "calm" in calm and "alarm" not in calm
    assert "unsure" in tones(UNSURE) and not {"alarm", "calm"} & tones(UNSURE)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "< 0.1 %"), (0.00099, "< 0.1 %"), (0.1234, "12.3 %"), (1.0, "> 99.9 %"), (0.5, "50.0 %"), (None, "-")],
)
def test_percent_never_claims_certainty(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize("text", ["misses few", "Misses few.", " misses few. "])
def test_sentence(text: str) -> None:
    assert sentence(text) == "Misses few."
