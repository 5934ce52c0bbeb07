"""Variants of a bundle (int8, Core ML): proven like the float32 files, listed, replayed, and refused when sabotaged."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_infer.bundle.golden import read_golden, replay
from edge_infer.bundle.manifest import GOLDEN_FILE, MODEL_CARD, Manifest
from edge_infer.bundle.store import load_bundle
from edge_infer.cli.app import app
from edge_infer.engines.loading import STAGES
from edge_infer.engines.variants import open_variant as open_engine
from edge_infer.errors import ProviderUnavailableError
from tests.support.sabotage import SABOTAGE, SwappedChannels, no_mean
from tests.support.toy_system import toy_bundle_recipe, toy_choices, toy_system
from trainer.bundle.errors import ExportError, ParityError
from trainer.bundle.gates import Limit, int8_limits
from trainer.bundle.onnx import export_onnx
from trainer.bundle.system import golden_traces
from trainer.bundle.variants import KINDS, Request, add_variants, making, open_variant, parse_names
from trainer.bundle.write import publish, write_bundle
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import Record, read_ham10000
from trainer.models.serving import ServingGraph
from trainer.report.model_card import model_card
from trainer.report.refusals import Refusals
from trainer.report.summary import summarise, to_evaluation
from trainer.report.tables import with_figures
from trainer.scoring.networks import open_onnx
from trainer.scoring.predict import Rules, predict, select

NAMES = ("int8", "int8-arm", "coreml-float16")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=50, seed=8, height=120, width=160, split=(0.5, 0.4, 0.1))
    return read_ham10000(folder)


def request(records: Sequence[Record], *names: str, **options: Any) -> Request:
    return Request(names, select(records, "train"), select(records, "val"), say=lambda text: None, **options)


@pytest.fixture(scope="module", autouse=True)
def _gates_for_few_pictures() -> Iterator[None]:
    """The toy classifier's weights are random: one picture of 21 may flip, and any AUC is chance."""

    def limits(segmenter: str, classifier: str) -> tuple[Limit, ...]:
        kept = [limit for limit in int8_limits(segmenter, classifier) if not limit.measure.startswith("auc")]
        return tuple(replace(limit, limit=0.1) if limit.measure.endswith("flipped") else limit for limit in kept)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("int8", "int8-arm"):
            patch.setitem(KINDS, name, replace(KINDS[name], limits=limits))
        yield


@pytest.fixture(scope="module")
def exported(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with three variants. Read only."""
    folder = tmp_path_factory.mktemp("variants") / "toy"
    write(folder, records, request(records, *NAMES))
    return folder


def write(folder: Path, records: Sequence[Record], wanted: Request) -> Manifest:
    written = folder.with_name("written")
    validation = select(records, "val")
    manifest = write_bundle(written, toy_bundle_recipe(), toy_system(), toy_choices(), validation, wanted)
    found = list(predict(validation, Rules.of_manifest(manifest), open_onnx(written), progress=False))
    summary = summarise(found, manifest.labels, "mel", manifest.operating_points, manifest.default_operating_point)
    complete = with_figures(manifest, to_evaluation(summary, "drawn", "none"), summary)
    card = model_card(complete, [summary], Refusals({"none": 1.0}, {}))
    return publish(written, folder, complete, card)


def test_every_file_of_a_variant_is_listed_and_every_gate_is_recorded(exported: Path) -> None:
    manifest = load_bundle(exported).manifest
    on_disk = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert on_disk == {*manifest.files, "bundle.json"}
    assert sum(name.startswith("classifier.mlpackage/") for name in manifest.files) >= 3
    for stage in (manifest.segmenter, manifest.classifier):
        assert tuple(stage.variants) == NAMES
        assert stage.files["coreml"] == stage.variants["coreml-float16"].file
        assert stage.files["onnx"].endswith(".onnx") and "int8" not in stage.files["onnx"]
    measures = {gate.measure.partition(" (")[0] for gate in manifest.classifier.variants["int8"].parity}
    assert measures == {"decisions flipped, end to end", "max |Δp| of a class on the same crops"}  # fmt: skip
    assert {gate.limit for gate in manifest.segmenter.variants["int8"].parity} == {-0.001, -0.02, 0.1}
    assert all(gate.passed for gate in manifest.gates)
    assert "coremltools" in manifest.provenance.packages
    card = (exported / MODEL_CARD).read_text(encoding="utf-8")
    assert all(f"**{name}**" in card for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_is_near_the_float32_files_and_is_not_them(exported: Path, name: str) -> None:
    manifest = load_bundle(exported).manifest
    traces, networks = read_golden(exported / GOLDEN_FILE), open_variant(exported, name)
    deviations = list(replay(traces, manifest, *networks, KINDS[name].tolerance))
    assert [d.step for d in deviations if not d.passed] == []
    by_step = {deviation.step: deviation.value for deviation in deviations}
    assert by_step["probabilities (stored ROI)"] > 1e-7


def test_verify_replays_a_variant_with_its_own_bounds(exported: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["verify", str(exported), "--variant", "int8", "--provider", "cpu"])
    assert result.exit_code == 0, result.output
    assert "variant int8" in result.stdout
    assert f"{KINDS['int8'].tolerance.max_map:.3g}" in result.stdout
    plain = runner.invoke(app, ["verify", str(exported)])
    assert plain.exit_code == 0
    assert "variant float32" in plain.stdout
    unknown = runner.invoke(app, ["verify", str(exported), "--variant", "int4"])
    assert unknown.exit_code == 3
    assert "It has: float32, int8, int8-arm, coreml-float16." in unknown.stderr
    manifest = load_bundle(exported).manifest
    tolerance = replace(KINDS["int8"].tolerance, max_probability=0.0)
    strict = {stage: replace(getattr(manifest, stage).variants["int8"], tolerance=tolerance) for stage in STAGES}
    shutil.copytree(exported, tmp_path / "toy")
    changed = replace(
        manifest,
        segmenter=replace(manifest.segmenter, variants={"int8": strict["segmenter"]}),
        classifier=replace(manifest.classifier, variants={"int8": strict["classifier"]}),
    )
    (tmp_path / "toy/bundle.json").write_text(changed.to_json(), encoding="utf-8")
    failed = runner.invoke(app, ["verify", str(tmp_path / "toy"), "--variant", "int8"])
    assert failed.exit_code == 3
    assert "FAILED  probabilities (stored ROI)" in failed.stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs there")
def test_a_core_ml_variant_says_where_it_runs(exported: Path) -> None:
    bundle = load_bundle(exported)
    with pytest.raises(ProviderUnavailableError, match="macOS"):
        open_engine(bundle, "segmenter", "coreml-float16")
    with pytest.raises(ProviderUnavailableError, match="cannot run it"):
        open_engine(bundle, "segmenter", "coreml-float16", providers=["cpu"])


SABOTAGE_INT8 = SABOTAGE | {"wrong mean": no_mean}


def add(folder: Path, exported: Path, records: Sequence[Record], wanted: Request) -> Manifest:
    system, temperature = toy_system(), toy_choices().calibration.temperature
    plain = load_bundle(exported).manifest
    plain = replace(
        plain,
        segmenter=replace(plain.segmenter, variants={}, files={"onnx": "segmenter.onnx"}),
        classifier=replace(plain.classifier, variants={}, files={"onnx": "classifier.onnx"}),
    )
    for file in ("segmenter.onnx", "classifier.onnx"):
        shutil.copy(exported / file, folder / file)
    reference = system.networks(temperature)
    return add_variants(folder, plain, system.graphs(temperature), reference, golden_traces(plain, reference), wanted)


@pytest.mark.parametrize("stage", ["segmenter", "classifier"])
@pytest.mark.parametrize("how", list(SABOTAGE_INT8))
def test_a_sabotaged_int8_file_fails_the_gate(
    how: str, stage: str, exported: Path, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, honest = toy_system(), making.quantize_onnx
    position = ("segmenter", "classifier").index(stage)

    def sabotaged(source: Path, path: Path, *args: Any, **options: Any) -> Any:
        if source.stem == stage:
            source = tmp_path / f"sabotaged-{stage}.onnx"
            export_onnx(SABOTAGE_INT8[how](system.graphs(2.0)[position]).eval(), system.stages()[position], source)
        return honest(source, path, *args, **options)

    monkeypatch.setattr(making, "quantize_onnx", sabotaged)
    with pytest.raises(ParityError, match=rf"Variant 'int8'.*{stage}\.int8\.onnx"):
        add(tmp_path, exported, records, request(records, "int8"))


def test_a_failed_int8_file_is_made_again_at_stricter_limits(
    exported: Path, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, honest, limits = toy_system(), making.quantize_onnx, []

    def sabotaged_at_first(source: Path, path: Path, *args: Any, limit: float, **options: Any) -> Any:
        """The toy network keeps no stricter limit than the usual ones."""
        if source.stem == "classifier":
            limits.append(limit)
            if len(limits) == 1:
                source = tmp_path / "sabotaged.onnx"
                export_onnx(no_mean(system.graphs(2.0)[1]).eval(), system.stages()[1], source)
        usual = making.INT8_MAP_LIMIT if source.stem == "segmenter" else making.INT8_PROBABILITY_LIMIT
        return honest(source, path, *args, limit=usual, **(options | {"mean_limit": None, "decisions": None}))

    monkeypatch.setattr(making, "quantize_onnx", sabotaged_at_first)
    manifest = add(tmp_path, exported, records, request(records, "int8"))
    assert limits == [making.INT8_PROBABILITY_LIMIT, making.INT8_PROBABILITY_LIMIT / 2]
    assert "at 0.5 of the usual limits, as a gate failed" in manifest.classifier.variants["int8"].scheme
    assert not manifest.variants_left_out


def test_a_failed_variant_is_left_out_only_when_asked(
    exported: Path, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "find_float_layers", lambda *_: 0)

    def blurred(graph: ServingGraph, *args: Any, **options: Any) -> None:
        export_coreml(SwappedChannels(graph).eval(), *args, **options)

    export_coreml = making.export_coreml
    monkeypatch.setattr(making, "export_coreml", blurred)
    with pytest.raises(ParityError, match=r"coreml-float16.*--leave-out-failed"):
        add(tmp_path, exported, records, request(records, "coreml-float16"))
    manifest = add(tmp_path, exported, records, request(records, "coreml-float16", leave_out_failed=True))
    assert manifest.segmenter.variants == {} and manifest.segmenter.files == {"onnx": "segmenter.onnx"}
    assert "segmenter.mlpackage" in manifest.variants_left_out["coreml-float16"]
    assert {path.name for path in tmp_path.iterdir()} == {"segmenter.onnx", "classifier.onnx"}


def test_names_of_variants() -> None:
    assert parse_names(None) == parse_names("") == ()
    assert parse_names("int8, coreml,int8") == ("int8", "coreml-float16")
    with pytest.raises(ExportError, match=r"'int4'.*coreml-palette6"):
        parse_names("int8,int4")


def test_every_kind_has_files_of_its_own() -> None:
    assert len({kind.suffix for kind in KINDS.values()}) == len(KINDS)
    assert np.all([kind.tolerance.min_mask_iou >= 0.95 for kind in KINDS.values()])
