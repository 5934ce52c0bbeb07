"""The figures in the README are those of the shipped bundle."""

from __future__ import annotations

import re
from pathlib import Path

from edge_infer.bundle.store import DEFAULT_BUNDLE, read_manifest

REPOSITORY = Path(__file__).parents[2]
ROW = re.compile(r"^\| [^|]*\(`(?P<name>\w+)`\) \| (?P<figures>[^|]+) \|$", re.MULTILINE)


def test_the_figures_are_the_bundles() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (evaluation,) = read_manifest(REPOSITORY / "exported" / DEFAULT_BUNDLE).manifest.evaluations
    rows = {row["name"]: row["figures"] for row in ROW.finditer(readme)}
    assert {"dice", "melanoma_auc"} <= set(rows)
    for name, figures in rows.items():
        metric = evaluation.metrics[name]
        interval = "" if metric.low is None else f" ({metric.low:.3f} to {metric.high:.3f})"
        assert figures == f"{metric.value:.3f}{interval}", name


def test_the_words_fit_the_default_operating_point() -> None:
    manifest = read_manifest(REPOSITORY / "exported" / DEFAULT_BUNDLE).manifest
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    words = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    metrics = manifest.operating_point().metrics
    missed = words[round(1 / (1 - metrics["sensitivity"].value))]
    called = words[round(1 / (1 - metrics["specificity"].value))]
    assert f"misses about one melanoma in {missed} and calls about one harmless lesion in {called}" in readme
