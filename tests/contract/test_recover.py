"""A shipped bundle turns back into checkpoints that compute the same, or says why not."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.engines.onnx import OnnxEngine
from trainer.bundle.errors import ExportError
from trainer.bundle.extend import extend_bundle
from trainer.bundle.onnx import export_onnx
from trainer.bundle.recover import familiarity_weights, recover_checkpoint, recover_graph
from trainer.bundle.rounding import rounded
from trainer.bundle.storage import MIN_ELEMENTS
from trainer.bundle.variants import Request
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import read_ham10000
from trainer.models.ensemble import Ensemble
from trainer.models.serving import ServingClassifier, ServingSegmenter, as_network
from trainer.scoring.predict import select
from trainer.training.checkpoint import load_checkpoint

MOBILE = Path(__file__).parents[2] / "exported/mobile"


@pytest.fixture(scope="module")
def mobile() -> Bundle:
    return load_bundle(MOBILE)


def with_recipe(bundle: Bundle, stage: str, change: dict[str, object] | None) -> Bundle:
    recipes = copy.deepcopy(dict(bundle.manifest.provenance.recipes))
    if change is None:
        del recipes[stage]
    else:
        recipes[stage]["model"].update(change)
    provenance = dataclasses.replace(bundle.manifest.provenance, recipes=recipes)
    return dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, provenance=provenance))


def test_recovered_checkpoints_answer_as_the_files_do(mobile: Bundle, tmp_path: Path) -> None:
    for stage in ("segmenter", "classifier"):
        assert recover_checkpoint(mobile, stage, tmp_path / stage / "best.pt") <= 1e-4  # type: ignore[arg-type]
    segmenter = load_checkpoint(tmp_path / "segmenter/best.pt")
    size = segmenter.recipe.data.size
    ramp = np.linspace(0, 255, size * size * 3, dtype=np.uint8).reshape(1, size, size, 3)
    ours = as_network(ServingSegmenter(segmenter.model, segmenter.recipe.normalization))(ramp)
    file = MOBILE / mobile.manifest.segmenter.files["onnx"]
    assert np.abs(ours - OnnxEngine(file, providers=["cpu"]).run(ramp)).max() <= 1e-4
    assert segmenter.metrics == mobile.manifest.provenance.recipes["segmenter"]["validation"]


def test_styles_of_masks_outlast_a_recovery(mobile: Bundle, tmp_path: Path) -> None:
    recover_checkpoint(mobile, "segmenter", tmp_path / "best.pt")
    found = load_checkpoint(tmp_path / "best.pt")
    assert found.recipe.data.styles == ("ham10000", "msk-uda")
    model, images = found.model.eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model(images, torch.tensor([0, 1])))
    assert any(name.endswith("offset") for name, _ in model.named_parameters())


def test_weights_stored_as_float16_come_back(mobile: Bundle, tmp_path: Path) -> None:
    recover_checkpoint(mobile, "segmenter", tmp_path / "plain.pt")
    trained = load_checkpoint(tmp_path / "plain.pt")
    network, stage = rounded(trained.model, trained.recipe.data.size), mobile.manifest.segmenter
    file = stage.files["onnx"]
    graph = ServingSegmenter(network, trained.recipe.normalization, familiarity_weights(MOBILE / file))
    export_onnx(graph, stage, tmp_path / file, store="float16")
    export_onnx(graph, stage, tmp_path / "plain.onnx", store="float32")
    assert (tmp_path / file).stat().st_size < 0.6 * (tmp_path / "plain.onnx").stat().st_size
    half = dataclasses.replace(mobile, path=tmp_path)
    assert recover_checkpoint(half, "segmenter", tmp_path / "half.pt") <= 1e-4
    recovered = load_checkpoint(tmp_path / "half.pt")
    again = dict(rounded(recovered.model, recovered.recipe.data.size).named_parameters())
    weights = {name: value for name, value in network.named_parameters() if name.endswith(".weight")}
    assert all(torch.equal(again[name], value) for name, value in weights.items() if value.numel() >= MIN_ELEMENTS)


def test_an_ensemble_comes_back_with_its_members(mobile: Bundle, tmp_path: Path) -> None:
    recipes = copy.deepcopy(dict(mobile.manifest.provenance.recipes))
    recipes["classifier"] |= {"members": 2, "folds": 0}
    single, recipe, _ = recover_graph(mobile, "classifier")
    other = copy.deepcopy(single.network)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(0.9)
    assert isinstance(single, ServingClassifier)
    together = Ensemble([single.network, other])
    graph = ServingClassifier(together.eval(), recipe.normalization, single.temperature, single.views)
    stage = mobile.manifest.classifier
    export_onnx(graph, stage, tmp_path / stage.files["onnx"])
    provenance = dataclasses.replace(mobile.manifest.provenance, recipes=recipes)
    manifest = dataclasses.replace(mobile.manifest, provenance=provenance)
    assert (
        recover_checkpoint(
            dataclasses.replace(mobile, path=tmp_path, manifest=manifest), "classifier", tmp_path / "best.pt"
        )
        <= 1e-4
    )
    assert len(load_checkpoint(tmp_path / "best.pt").model.members) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [None, {"options": {"decoder_channels": [96, 64, 32, 16]}}])
def test_a_stage_that_cannot_be_rebuilt_is_an_error(
    mobile: Bundle, tmp_path: Path, change: dict[str, object] | None
) -> None:
    with pytest.raises(ExportError):
        recover_checkpoint(with_recipe(mobile, "segmenter", change), "segmenter", tmp_path / "best.pt")
    assert not (tmp_path / "best.pt").exists()


def test_variants_are_added_to_a_finished_bundle(mobile: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    draw_dataset(folder, lesions=24, seed=5, height=120, width=160, split=(0.5, 0.4, 0.1))
    records = read_ham10000(folder)
    quiet = Request(("coreml-float32",), select(records, "train"), select(records, "val"), say=lambda text: None)
    extended = extend_bundle(mobile, tmp_path / "mobile", quiet)
    kept = load_bundle(tmp_path / "mobile").manifest
    assert kept == extended and extended.evaluations == mobile.manifest.evaluations
    for before, after in (
        (mobile.manifest.segmenter, kept.segmenter),
        (mobile.manifest.classifier, kept.classifier),
    ):
        assert set(after.variants) == {*before.variants, "coreml-float32"}
        assert all(gate.passed for gate in after.variants["coreml-float32"].parity)
