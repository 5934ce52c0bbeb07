"""The bundles in `exported/`: every figure follows from the predictions in the repository, and the files replay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_infer.bundle.golden import read_golden, replay
from edge_infer.bundle.manifest import MANIFEST, MODEL_CARD, StageName
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.engines.variants import open_variant
from edge_infer.schema import dump
from trainer.bundle.write import check_sizes
from trainer.cli.bundle import RESULTS
from trainer.pipeline import write_tables
from trainer.report.model_card import model_card
from trainer.report.summary import headline
from trainer.report.tables import read_refused

REPOSITORY = Path(__file__).parents[2]
STAGES: tuple[StageName, StageName] = ("segmenter", "classifier")
FLOORS = {"mobile": (0.92, 0.92), "reference": (0.90, 0.85)}
"""Dice and melanoma AUC on the test split below which a bundle must not be replaced."""
ONNX_BYTES = {"mobile": 15_000_000, "reference": 45_000_000}
EXPORTED_BYTES = 60_000_000
SHIPPED = sorted(path.parent for path in (REPOSITORY / "exported").glob(f"*/{MANIFEST}"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.name, scope="module")
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(request.param)


def numbers(value: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a JSON value by their path."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(item, f"{where}/{key}")
    elif isinstance(value, int | float):
        yield where, float(value)


def test_the_default_bundle_is_there() -> None:
    assert "mobile" in {path.name for path in SHIPPED}


def test_figures_tables_and_card_follow_from_the_stored_predictions(bundle: Bundle, tmp_path: Path) -> None:
    stored = RESULTS / bundle.manifest.name
    shutil.copytree(stored, tmp_path / "results")
    summaries = write_tables(tmp_path / "results", bundle.manifest).summaries
    assert (tmp_path / "results/RESULTS.md").read_text("utf-8") == (stored / "RESULTS.md").read_text("utf-8")
    again, before = (
        json.loads((folder / "evaluation.json").read_text("utf-8")) for folder in (tmp_path / "results", stored)
    )
    assert dict(numbers(again)) == pytest.approx(dict(numbers(before)), abs=2e-6)
    test = summaries["test"]
    card = model_card(bundle.manifest, [test], read_refused(stored, bundle.manifest))
    assert card == (bundle.path / MODEL_CARD).read_text("utf-8")
    (evaluation,) = bundle.manifest.evaluations
    assert evaluation.split == "test"
    assert dict(numbers(dump(evaluation.metrics))) == pytest.approx(dict(numbers(dump(headline(test)))), abs=2e-6)
    for point in bundle.manifest.operating_points:
        measured = dict(numbers(dump(test.operating_points[point.name])))
        assert dict(numbers(dump(point.metrics))) == pytest.approx(measured, abs=2e-6)


def test_it_is_worth_shipping(bundle: Bundle) -> None:
    (evaluation,) = bundle.manifest.evaluations
    assert evaluation.images == 1690, "measured on the whole test split"
    dice, auc = FLOORS[bundle.manifest.name]
    assert evaluation.metrics["dice"].value >= dice
    assert evaluation.metrics["melanoma_auc"].value >= auc
    assert all(gate.passed for gate in bundle.manifest.gates)
    assert {gate.artifact for gate in bundle.manifest.parity} >= {"segmenter.onnx", "classifier.onnx"}
    assert bundle.manifest.provenance.license == "CC-BY-NC-4.0"
    check_sizes(bundle.manifest)


def test_its_networks_are_as_small_as_promised(bundle: Bundle) -> None:
    sizes = {name: entry.bytes for name, entry in bundle.manifest.files.items()}
    assert sum(size for name, size in sizes.items() if name.endswith(".onnx")) <= ONNX_BYTES[bundle.manifest.name]


def test_all_bundles_together_stay_below_the_limit() -> None:
    files = [path for path in (REPOSITORY / "exported").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= EXPORTED_BYTES


def test_golden_examples_replay_on_this_machine(bundle: Bundle) -> None:
    traces, manifest = read_golden(bundle.path / bundle.manifest.golden.file), bundle.manifest
    for name, variant in manifest.variants("classifier").items():
        if variant.format == "onnx":
            networks = [open_variant(bundle, stage, name, providers=["cpu"]).run for stage in STAGES]
            tolerance = manifest.variant("segmenter", name).tolerance.wider(variant.tolerance)
            deviations = list(replay(traces, manifest, *networks, tolerance))
            assert [(name, d.step) for d in deviations if not d.passed] == []
