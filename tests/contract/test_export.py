"""What must hold between trainer and runtime: an exported bundle is the PyTorch model, or it is not written."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_infer import Diagnoser
from edge_infer.bundle.golden import read_golden, replay
from edge_infer.bundle.manifest import (
    CLASSIFIER_FILE,
    GOLDEN_FILE,
    MANIFEST,
    MODEL_CARD,
    SEGMENTER_FILE,
    Manifest,
    Stage,
)
from edge_infer.bundle.store import load_bundle
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.schema import parse
from tests.support.sabotage import SABOTAGE
from tests.support.toy_system import (
    CLASSIFIER_SIZE,
    SEGMENTER_SIZE,
    toy_bundle_recipe,
    toy_choices,
    toy_system,
    wide_system,
)
from trainer import pipeline
from trainer.bundle import swapping
from trainer.bundle import write as exporter
from trainer.bundle.errors import ExportError, ParityError
from trainer.bundle.onnx import export_onnx
from trainer.bundle.parts import Places
from trainer.bundle.storage import load_wide
from trainer.bundle.system import System
from trainer.bundle.write import write_bundle
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import Record, read_ham10000
from trainer.models.serving import ServingGraph, as_network
from trainer.pipeline import answer_test, report, write_tables
from trainer.report.model_card import model_card
from trainer.report.tables import read_refused
from trainer.scoring.ledger import LEDGER
from trainer.scoring.networks import open_onnx
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import read_predictions, write_predictions


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=60, seed=4, height=150, width=200, split=(0.2, 0.4, 0.4))
    return read_ham10000(folder)


@pytest.fixture(scope="module")
def exported(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in `toy/` with its predictions in `results/` beside it. Read only."""
    root = tmp_path_factory.mktemp("export")
    write(root / "toy", records, root / "results")
    return root / "toy"


def write(out: Path, records: Sequence[Record], results: Path, system: System | None = None) -> Manifest:
    system, choices = system or toy_system(), toy_choices()
    recipe = replace(toy_bundle_recipe(), store=system.store)
    rules = replace(system.rules(), mask=choices.mask, quality=choices.quality)
    with tempfile.TemporaryDirectory() as work:
        places = Places(Path(work), out, results)
        write_bundle(places.written, recipe, system, choices, select(records, "val"))
        bundle = load_bundle(places.written)
        unseen = list(predict(select(records, "val"), rules, system.networks(choices.calibration.temperature)))
        answer_test(bundle, records, places)
        return report(bundle, unseen, places)


def test_the_bundle_is_complete_and_trusted(exported: Path) -> None:
    bundle = load_bundle(exported)
    listed = {MANIFEST, *bundle.manifest.files}
    assert listed == {path.name for path in exported.iterdir()}
    assert {SEGMENTER_FILE, CLASSIFIER_FILE, GOLDEN_FILE, MODEL_CARD} <= listed
    assert "float16" not in (exported / MODEL_CARD).read_text(encoding="utf-8")
    assert all(gate.passed for gate in bundle.manifest.parity)
    assert bundle.manifest.evaluations[0].metrics["dice"].low is not None
    assert bundle.manifest.operating_points[0].metrics["sensitivity"].value >= 0
    assert not [path for path in exported.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("file", [SEGMENTER_FILE, CLASSIFIER_FILE])
def test_each_file_explains_itself_and_names_no_machine(exported: Path, file: str) -> None:
    model = onnx.load(exported / file)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    manifest = load_bundle(exported).manifest
    stage = manifest.segmenter if file == SEGMENTER_FILE else manifest.classifier
    assert parse(Stage, json.loads(metadata["edge_infer.stage"])) == stage
    if file == CLASSIFIER_FILE:
        assert tuple(json.loads(metadata["edge_infer.labels"])) == manifest.labels
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert str(Path(torch.__file__).parents[1]).encode() not in (exported / file).read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_gives_what_torch_gives(exported: Path, batch: int) -> None:
    rng = np.random.default_rng(batch)
    ours = toy_system().networks(toy_choices().calibration.temperature)
    files = open_onnx(exported)
    pictures = rng.integers(0, 256, (batch, SEGMENTER_SIZE, SEGMENTER_SIZE, 3), np.uint8)
    crops = rng.integers(0, 256, (batch, CLASSIFIER_SIZE, CLASSIFIER_SIZE, 3), np.uint8)
    assert files.segment(pictures) == pytest.approx(ours.segment(pictures), abs=1e-5)
    assert files.classify(crops) == pytest.approx(ours.classify(crops), abs=1e-5)
    assert files.classify(crops).sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("views", "axes"), [(2, [(), (2,)]), (4, [(), (1,), (2,), (1, 2)])])
def test_mirrored_views_average_the_logits(tmp_path: Path, views: int, axes: list[tuple[int, ...]]) -> None:
    system = replace(toy_system(), views=views)
    export_onnx(system.graphs(2.0)[1], system.stages()[1], tmp_path / CLASSIFIER_FILE, system.labels)
    crops = np.random.default_rng(1).integers(0, 256, (3, CLASSIFIER_SIZE, CLASSIFIER_SIZE, 3), np.uint8)
    single = toy_system().networks(1.0).classify
    logits = sum(np.log(single(np.flip(crops, axis).copy())) for axis in axes) / (2.0 * views)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    engine = OnnxEngine(tmp_path / CLASSIFIER_FILE, providers=["cpu"])
    assert engine.run(crops) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ExportError):
        replace(system, views=3)


def test_golden_examples_replay(exported: Path) -> None:
    manifest = load_bundle(exported).manifest
    traces = read_golden(exported / GOLDEN_FILE)
    assert "probabilities" in traces[0]
    assert all(deviation.passed for deviation in replay(traces, manifest, *open_onnx(exported)))
    files = open_onnx(exported)
    swapped = list(replay(traces, manifest, files.segment, lambda batch: files.classify(batch[..., ::-1].copy())))
    assert not all(deviation.passed for deviation in swapped)


def test_evaluation_and_runtime_agree_on_every_picture(exported: Path, records: list[Record]) -> None:
    manifest = load_bundle(exported).manifest
    chosen = select(records, "test")
    found = list(predict(chosen, Rules.of_manifest(manifest), open_onnx(exported), progress=False))
    with Diagnoser.load(exported, providers=["cpu"]) as diagnoser:
        answers = list(diagnoser.diagnose_many([record.image_path for record in chosen], batch_size=16))
    assert {p.reason for p in found} != {""} or len(found) > 10
    for prediction, diagnosis in zip(found, answers, strict=True):
        assert prediction.reason == (diagnosis.reason or "")
        if not prediction.reason:
            assert prediction.probabilities == pytest.approx(dict(diagnosis.probabilities), abs=1e-5)
            assert prediction.area == pytest.approx(diagnosis.lesion_area_fraction)
    stored = read_predictions(exported.parent / "results/test.parquet")
    assert [p.image_id for p in stored] == [p.image_id for p in found]
    assert stored[0].probabilities == pytest.approx(found[0].probabilities, abs=1e-6)


def rebuilt(results: Path, manifest: Manifest) -> str:
    return model_card(manifest, [write_tables(results, manifest).summaries["test"]], read_refused(results, manifest))


def test_the_card_follows_from_the_stored_predictions(exported: Path, tmp_path: Path) -> None:
    manifest = load_bundle(exported).manifest
    results = tmp_path / "results"
    shutil.copytree(exported.parent / "results", results)
    card = (exported / MODEL_CARD).read_text(encoding="utf-8")
    assert rebuilt(results, manifest) == card
    write_predictions(results / "test.parquet", read_predictions(results / "test.parquet")[:-5])
    assert rebuilt(results, manifest) != card


@pytest.mark.parametrize("file", [SEGMENTER_FILE, CLASSIFIER_FILE])
@pytest.mark.parametrize("how", list(SABOTAGE))
def test_a_sabotaged_export_is_refused_and_nothing_is_written(
    how: str, file: str, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = exporter.export_onnx

    def sabotaged(model: ServingGraph, stage: Stage, path: Path, *args: Any, **options: Any) -> None:
        honest(SABOTAGE[how](model).eval() if path.name == file else model, stage, path, *args, **options)

    monkeypatch.setattr(exporter, "export_onnx", sabotaged)
    with pytest.raises(ParityError, match=file):
        write(tmp_path / "toy", select(records, "val") + select(records, "test"), tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


def test_weights_in_float16_take_half_and_have_gates_of_their_own(records: list[Record], tmp_path: Path) -> None:
    manifest = write(tmp_path / "toy", records, tmp_path / "results", wide_system())
    rounding = [gate for gate in manifest.parity if gate.artifact.startswith("float16 weights of")]
    assert len(rounding) == 5 and all(gate.passed for gate in manifest.parity)
    assert any(gate.value > 0 for gate in rounding if gate.relation == "<=")
    assert {recipe["weights_stored_as"] for recipe in manifest.provenance.recipes.values()} == {"float16"}
    assert "rounded to float16" in (tmp_path / "toy" / MODEL_CARD).read_text(encoding="utf-8")
    for file in (SEGMENTER_FILE, CLASSIFIER_FILE):
        path = tmp_path / "toy" / file
        assert len(load_wide(path).SerializeToString()) - path.stat().st_size == pytest.approx(36864 * 2, rel=0.02)
    assert load_bundle(tmp_path / "toy").manifest == manifest


@pytest.mark.parametrize(("scale", "error"), [(1e-9, ParityError), (1e9, ExportError)])
def test_weights_that_float16_cannot_hold_are_refused(
    scale: float, error: type[ExportError], records: list[Record], tmp_path: Path
) -> None:
    with pytest.raises(error, match="float16") as raised:
        write(tmp_path / "toy", select(records, "val"), tmp_path / "results", wide_system(scale))
    assert "--store float32" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_old_bundle(
    exported: Path, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(exported, tmp_path / "toy")
    before = load_bundle(tmp_path / "toy").sha256

    def broken(*_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(swapping, "swap", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        write(tmp_path / "toy", records, tmp_path / "results")
    monkeypatch.undo()
    monkeypatch.setattr(pipeline, "measured", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        write(tmp_path / "toy", records, tmp_path / "results")
    assert load_bundle(tmp_path / "toy").sha256 == before
    assert {path.name for path in tmp_path.iterdir()} == {"toy", "results", LEDGER}


def test_a_second_export_replaces_the_first(
    exported: Path, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(exported, tmp_path / "toy")
    (tmp_path / "toy/stray.txt").write_text("left over")
    write(tmp_path / "toy", records, tmp_path / "results")
    load_bundle(tmp_path / "toy")
    assert not (tmp_path / "toy/stray.txt").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"toy", "results", LEDGER}


def test_float_and_uint8_pictures_give_the_same(records: list[Record]) -> None:
    graphs = toy_system().graphs()
    crop = np.random.default_rng(0).integers(0, 256, (1, CLASSIFIER_SIZE, CLASSIFIER_SIZE, 3), np.uint8)
    with torch.inference_mode():
        as_float = graphs[1](torch.from_numpy(crop).float()).numpy()
    assert as_network(graphs[1])(crop) == pytest.approx(as_float, abs=1e-7)
