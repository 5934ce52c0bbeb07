"""The bundles in `exported/`: every figure follows from the predictions in the repository, and the files replay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.bundle.golden import Scoring, read_golden, replay
from edge_infer.bundle.manifest import MANIFEST, MODEL_CARD, Manifest, StageName
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.engines.base import Engine
from edge_infer.engines.variants import open_variant
from edge_infer.schema import dump
from trainer.bundle.write import check_sizes
from trainer.cli.bundle import RESULTS
from trainer.pipeline import write_tables
from trainer.report.summary import headline
from trainer.report.tables import card_text
from trainer.scoring.ledger import LEDGER

REPOSITORY = Path(__file__).parents[2]
STAGES: tuple[StageName, StageName] = ("segmenter", "classifier")
FLOORS = {
    "mobile": {"ham10000": (0.93, 0.90), "msk-uda": (0.88, 0.83)},
    "reference": {"ham10000": (0.92, 0.89), "msk-uda": (0.86, 0.55)},
    "open": {"msk-uda": (0.88, 0.80), "ham10000 (external)": (0.90, 0.72)},
}
"""Dice of all outlines and melanoma AUC on `test`, by data, below which a bundle must not be replaced."""
LICENSES = {"open": "CC0-1.0"}
ONNX_BYTES = {"mobile": 15_000_000, "reference": 45_000_000, "open": 16_000_000}
EXPORTED_BYTES = 100_000_000
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


def both(engine: Engine, manifest: Manifest) -> Scoring:
    """The segmenter's map and its score of one run."""
    assert manifest.familiarity is not None
    names = (manifest.segmenter.output.name, manifest.familiarity.output)

    def run(batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps, scores = engine.run_named(batch, names)
        return maps, scores

    return Scoring(run)


def test_the_default_bundle_is_there() -> None:
    assert "mobile" in {path.name for path in SHIPPED}


def test_figures_tables_and_card_follow_from_the_stored_predictions(bundle: Bundle, tmp_path: Path) -> None:
    stored = RESULTS / bundle.manifest.name
    shutil.copytree(stored, tmp_path / "results")
    shutil.copy(RESULTS / LEDGER, tmp_path)
    reported = write_tables(tmp_path / "results", bundle.manifest)
    assert (tmp_path / "results/RESULTS.md").read_text("utf-8") == (stored / "RESULTS.md").read_text("utf-8")
    again, before = (
        json.loads((folder / "evaluation.json").read_text("utf-8")) for folder in (tmp_path / "results", stored)
    )
    assert dict(numbers(again)) == pytest.approx(dict(numbers(before)), abs=2e-6)
    assert card_text(tmp_path / "results", bundle.manifest, reported) == (bundle.path / MODEL_CARD).read_text("utf-8")
    assert {evaluation.split for evaluation in bundle.manifest.evaluations} == {"test"}
    if len(bundle.manifest.evaluations) > 1:
        return  # a summary a source and their mean; the figures are those of evaluation.json, compared above
    (evaluation,), test = bundle.manifest.evaluations, reported.summaries["test"]
    assert dict(numbers(dump(evaluation.metrics))) == pytest.approx(dict(numbers(dump(headline(test)))), abs=2e-6)
    for point in bundle.manifest.operating_points:
        measured = dict(numbers(dump(test.operating_points[point.name])))
        assert dict(numbers(dump(point.metrics))) == pytest.approx(measured, abs=2e-6)


def test_it_is_worth_shipping(bundle: Bundle) -> None:
    floors, found = FLOORS[bundle.manifest.name], {item.data: item for item in bundle.manifest.evaluations}
    for data, (dice, auc) in floors.items():
        evaluation = next(item for name, item in found.items() if name.startswith(data))
        assert evaluation.images in (529, 1690), "measured on the whole test split"
        assert evaluation.metrics["dice"].value >= dice
        assert evaluation.metrics["melanoma_auc"].value >= auc
    assert all(gate.passed for gate in bundle.manifest.gates)
    assert {gate.artifact for gate in bundle.manifest.parity} >= {"segmenter.onnx", "classifier.onnx"}
    assert bundle.manifest.provenance.license == LICENSES.get(bundle.manifest.name, "CC-BY-NC-4.0")
    check_sizes(bundle.manifest)


def test_its_networks_are_as_small_as_promised(bundle: Bundle) -> None:
    sizes = {name: entry.bytes for name, entry in bundle.manifest.files.items()}
    plain = [size for name, size in sizes.items() if name.endswith(".onnx") and ".int8." not in name]
    assert sum(plain) <= ONNX_BYTES[bundle.manifest.name]


def test_all_bundles_together_stay_below_the_limit() -> None:
    files = [path for path in (REPOSITORY / "exported").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= EXPORTED_BYTES


def test_golden_examples_replay_on_this_machine(bundle: Bundle) -> None:
    traces, manifest = read_golden(bundle.path / bundle.manifest.golden.file), bundle.manifest
    for name, variant in manifest.variants("classifier").items():
        if variant.format == "onnx":
            segmenter, classifier = (open_variant(bundle, stage, name, providers=["cpu"]) for stage in STAGES)
            tolerance = manifest.variant("segmenter", name).tolerance.wider(variant.tolerance)
            segment = segmenter.run if manifest.familiarity is None else both(segmenter, manifest)
            deviations = list(replay(traces, manifest, segment, classifier.run, tolerance))
            assert [(name, d.step) for d in deviations if not d.passed] == []
