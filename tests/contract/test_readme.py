"""The figures in the README and in the docs are those of the shipped bundle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_infer.bundle.store import DEFAULT_BUNDLE, read_manifest
from trainer.papers.sources.rows import read_arm
from trainer.scoring.metrics import show

REPOSITORY = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| (?P<places>[A-Z][^|(]*?)(?: \([\d,]+\))? \| ([^|]*\d\.\d{3} \([^|]+) \| ([^|]+) \|$", re.MULTILINE
)
SOURCES = {"HAM10000": "ham10000", "MSK and Utah": "msk-uda", "Barcelona at 84 pixels": "bcn"}


@pytest.mark.parametrize(("bundle", "column"), [("mobile", 0), ("open", 1)])
def test_the_figures_are_the_bundles(bundle: str, column: int) -> None:
    rows = {row["places"]: row.groups()[1:] for row in ROW.finditer((REPOSITORY / "README.md").read_text("utf-8"))}
    assert set(rows) == set(SOURCES)
    found = read_manifest(REPOSITORY / "exported" / bundle).manifest.evaluations
    for places, source in SOURCES.items():
        evaluation = next(item for item in found if item.data.startswith(source))
        auc, answered = evaluation.metrics["auc"], evaluation.metrics["answered"].value
        cell = rows[places][column]
        assert f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})" in cell, (places, cell)
        if "dice" in evaluation.metrics:
            assert f"; {evaluation.metrics['dice'].value:.3f}; {100 * (1 - answered):.1f} %" in cell, (places, cell)


def test_the_figures_of_reference_are_its_own() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = read_manifest(REPOSITORY / "exported" / "reference").manifest.evaluations
    home, away = (next(e for e in found if e.data.startswith(name)).metrics["auc"] for name in ("ham10000", "msk-uda"))
    words = [f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})" for auc in (home, away)]
    assert f"melanoma AUC {words[0]} on HAM10000, {words[1]} on MSK and Utah" in readme


def test_the_words_fit_the_default_operating_point() -> None:
    manifest = read_manifest(REPOSITORY / "exported" / DEFAULT_BUNDLE).manifest
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    words = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    metrics = manifest.operating_point().metrics
    missed = words[round(1 / (1 - metrics["sensitivity"].value))]
    called = words[round(1 / (1 - metrics["specificity"].value))]
    assert f"misses about one melanoma in {missed} and calls about one harmless lesion in {called}" in readme


def test_the_calibration_in_the_docs_is_the_bundles() -> None:
    text = (REPOSITORY / "docs" / "read-the-answer.md").read_text(encoding="utf-8")
    found = read_manifest(REPOSITORY / "exported" / DEFAULT_BUNDLE).manifest.evaluations
    for places, source in SOURCES.items():
        metrics = next(item for item in found if item.data.startswith(source)).metrics
        shown = [metrics[key].value for key in ("calibration_error", "calibration_error_corrected")]
        row = next(line for line in text.splitlines() if line.startswith(f"| {places.partition(' at ')[0]} |"))
        assert row.endswith("| " + " | ".join(f"{value:.3f}" for value in shown) + " |")


def test_the_dark_skin_that_the_docs_count_is_the_cards() -> None:
    folder = REPOSITORY / "exported" / DEFAULT_BUNDLE
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| skin tone \(estimated\) \| (?:brown|dark) \| (\d+) \| (\d+) \|", card, re.MULTILINE)
    dark, melanomas = (sum(map(int, column)) for column in zip(*rows, strict=True))
    found = [item for item in read_manifest(folder).manifest.evaluations if "answered" in item.metrics]
    answered = sum(round(item.images * item.metrics["answered"].value) for item in found)
    faq = " ".join((REPOSITORY / "docs" / "faq.md").read_text(encoding="utf-8").split())
    assert f"Of {answered:,} test pictures that `mobile` answers, {dark} count as brown or dark, {melanomas} of" in faq


ARMS = {
    "a crop that leaves the picture is padded black, not clipped": "outside-pad",
    "the same, mirrored": "outside-reflect",
    "the same, capped at the shorter side": "outside-cap",
    "no camera augmentation": "no-camera",
    "ring, ruler and bubbles in a fifth of the pictures each": "dermoscope",
    "a source is drawn as often as it has pictures": "as-they-come",
    "the light's colour taken out of half of the pictures": "constancy",
    "MobileNetV2 in the place of EfficientNet-Lite0": "network-mobilenet-v2",
}


def _means(left_out: str) -> dict[str, dict[str, str]]:
    """Mean differences in AUC by arm and source, from the stored page of the arms."""
    page = REPOSITORY / f"trainer/results/choices/sources-classifier-short-without-{left_out}/README.md"
    table = page.read_text(encoding="utf-8").split("## Differences to the base: AUC\n")[1].split("##")[0]
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines() if "|" in line]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines if line[1] == "mean"}


def test_the_arms_in_the_trainers_readme_are_the_stored_ones() -> None:
    text = (REPOSITORY / "trainer/README.md").read_text(encoding="utf-8")
    msk, ham = _means("msk-uda"), _means("ham10000")
    for words, arm in ARMS.items():
        away = ham[arm]["ham10000 (left out)"] if arm in ham else ""
        cells = [msk[arm][name] for name in ("ham10000", "bcn", "msk-uda (left out)")]
        assert f"| {words} | {' | '.join(cells)} | {away}{' ' if away else ''}|" in text, (words, cells, away)


@pytest.mark.parametrize(("recipe", "full"), [("sources-classifier", True), ("sources-classifier-short", False)])
def test_the_sources_left_out_in_the_trainers_readme_are_the_stored_ones(recipe: str, full: bool) -> None:
    text = (
        (REPOSITORY / "trainer/README.md").read_text(encoding="utf-8").split("**A source left out of everything**")[1]
    )
    for source in ("msk-uda", "ham10000"):
        row = read_arm(REPOSITORY / f"trainer/results/left-out/{recipe}-without-{source}-seed0.json")
        auc = row.figures[source]["auc"]
        assert (show(auc) if full else f"{auc.value:.3f}") in text.partition("\n\n")[0]
