"""The score of familiarity from its fit to the file that a phone reads: one value everywhere, and refusals by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_infer import Diagnoser, Reason
from edge_infer.bundle.golden import segment_and_score
from edge_infer.bundle.manifest import SEGMENTER_FILE
from edge_infer.bundle.store import Bundle, load_bundle
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import resize, to_batch
from tests.support.toy_system import SEGMENTER_SIZE, encoding_system, toy_bundle_recipe, toy_choices
from trainer.bundle.quantize import quantize_onnx
from trainer.bundle.recover import familiarity_weights
from trainer.bundle.system import System
from trainer.bundle.write import write_bundle
from trainer.choices.familiarity import REFUSED, fit_familiarity
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import Record, read_ham10000
from trainer.data.negatives import negatives
from trainer.errors import ModelError
from trainer.scoring.familiarity import (
    Features,
    good_items,
    pool_features,
    pool_items,
    read_features,
    write_features,
)
from trainer.scoring.networks import as_segmenter, open_onnx
from trainer.scoring.predict import Rules, predict, select


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=70, seed=4, height=150, width=200, split=(0.3, 0.4, 0.3))
    return read_ham10000(folder)


@pytest.fixture(scope="module")
def features(records: list[Record]) -> Features:
    graph, _ = encoding_system().graphs()
    return pool_features(graph, records, SEGMENTER_SIZE, progress=False)


@pytest.fixture(scope="module")
def system(features: Features) -> System:
    return replace(encoding_system(), familiarity=fit_familiarity(features))


@pytest.fixture(scope="module")
def bundle(records: list[Record], system: System, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("familiar")
    choices = replace(toy_choices(), familiarity=system.familiarity_rule)
    write_bundle(folder / "toy", toy_bundle_recipe(), system, choices, select(records, "val"))
    return load_bundle(folder / "toy")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [one.image for one in negatives("test", drawn=3)][::9]


def test_features_are_stored_as_they_are(features: Features, tmp_path: Path) -> None:
    write_features(tmp_path / "features.npz", features)
    again = read_features(tmp_path / "features.npz")
    assert np.array_equal(again.values, features.values) and again.sources == features.sources == ["ham10000"]
    assert {"varied", "val", "fit", "fit-varied"} == set(again.parts.tolist()), "no picture of test is opened"


def test_it_is_fitted_to_pictures_as_other_cameras_give_them(records: list[Record]) -> None:
    graph, _ = encoding_system().graphs()
    items = list(good_items(records, 6, unchanged=True))
    found, again = (pool_items(graph, items, SEGMENTER_SIZE, progress=False) for _ in range(2))
    assert np.array_equal(found.values, again.values), "the same copies each time"
    one = [item for item in items if item.part == "varied"][3]
    copy = pool_items(graph, [one], SEGMENTER_SIZE, progress=False).values
    assert copy == pytest.approx(found.of("varied")[3:4], abs=1e-4), "whatever else is pooled"
    changed = np.abs(found.of("varied") - found.of("train")).max(axis=1)
    assert len(changed) == 6 and (changed > 1e-3).all()
    alone = pool_items(graph, [item for item in items if item.part == "val"], SEGMENTER_SIZE, progress=False)
    assert alone.values == pytest.approx(found.of("val"), abs=1e-4), "what sets the threshold is as it was taken"


def test_a_segmenter_without_an_encoder_is_told(records: list[Record]) -> None:
    from tests.support.toy_system import toy_system

    with pytest.raises(ModelError, match="no encoder"):
        pool_features(toy_system().graphs()[0], records, SEGMENTER_SIZE, progress=False)


def test_the_file_gives_what_torch_gives_and_the_manifest_says_what_it_was_fitted_on(
    bundle: Bundle, system: System
) -> None:
    manifest = bundle.manifest
    assert manifest.familiarity == system.familiarity_rule and manifest.dermoscopy is None
    assert manifest.provenance.familiarity["fitted_on"]["ham10000"]["val"] > 0
    pictures = np.random.default_rng(0).integers(0, 256, (3, SEGMENTER_SIZE, SEGMENTER_SIZE, 3), np.uint8)
    ours, theirs = (segment_and_score(net.segment, pictures) for net in (system.networks(), open_onnx(bundle.path)))
    assert ours[1] is not None and theirs[1] is not None
    assert theirs[0] == pytest.approx(ours[0], abs=1e-5) and theirs[1] == pytest.approx(ours[1], abs=1e-4)
    assert any("score of familiarity" in gate.measure for gate in manifest.parity)


def test_an_8_bit_file_stays_near_and_keeps_the_score_in_float(
    bundle: Bundle, records: list[Record], tmp_path: Path
) -> None:
    side = SEGMENTER_SIZE
    pictures = to_batch([resize(open_picture(r.image_path).pixels, side, side) for r in records[:12]])
    source, target = bundle.path / SEGMENTER_FILE, tmp_path / "segmenter.int8.onnx"
    quantize_onnx(source, target, pictures[:4], pictures[4:8], limit=0.1)
    engine = OnnxEngine(target, providers=["cpu"])
    exact, rounded = (
        segment_and_score(network, pictures)[1] for network in (open_onnx(bundle.path).segment, as_segmenter(engine))
    )
    assert exact is not None and rounded is not None and 0 < np.abs(rounded - exact).max() < 1
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(target).graph.initializer}
    assert all(kinds[f"familiarity.{name}"] == onnx.TensorProto.FLOAT for name in ("weight", "curve", "centre"))


def test_the_weights_are_found_again_in_the_file(bundle: Bundle, system: System) -> None:
    assert system.familiarity is not None
    found, known = familiarity_weights(bundle.path / SEGMENTER_FILE), system.familiarity.weights
    for name in ("centre", "scale", "weight", "curve"):
        assert np.array_equal(getattr(found, name), getattr(known, name)), name
    assert (found.bias, found.clip) == (pytest.approx(known.bias), known.clip)


def test_the_runtime_refuses_what_the_trainer_says_it_refuses(
    bundle: Bundle, records: list[Record], photographs: list[np.ndarray]
) -> None:
    manifest = bundle.manifest
    validation = select(records, "val")
    found = list(predict(validation, Rules.of_manifest(manifest), open_onnx(bundle.path), progress=False))
    with Diagnoser.load(bundle.path, providers=["cpu"]) as diagnoser:
        answers = [diagnoser.diagnose(record.image_path) for record in validation]
        others = [diagnoser.diagnose(image) for image in photographs]
    for prediction, answer in zip(found, answers, strict=True):
        assert prediction.familiarity == pytest.approx(answer.quality.get("familiarity"), abs=1e-4)
        assert prediction.reason == (answer.reason.value if answer.reason else "")
    refused = [answer.reason is Reason.NOT_DERMOSCOPY for answer in answers]
    assert np.mean(refused) <= max(REFUSED, 1 / len(refused))
    assert np.mean([answer.reason is Reason.NOT_DERMOSCOPY for answer in others]) > 0.5
