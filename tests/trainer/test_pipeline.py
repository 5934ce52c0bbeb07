"""The story of a bundle on drawn pictures: killed in every step, chosen again, blind to `test` until the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from edge_infer.bundle.manifest import MANIFEST, MODEL_CARD
from edge_infer.bundle.store import load_bundle
from edge_infer.errors import EdgeInferError
from tests.support.toy_system import ToyClassifier, ToySegmenter
from trainer import pipeline
from trainer.bundle import swapping
from trainer.bundle.parts import Networks, Places, Training, open_system
from trainer.bundle.recipe import BundleRecipe, load_bundle_recipe
from trainer.bundle.system import System
from trainer.choices.choose import choose
from trainer.cli import app as cli
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import Record, read_ham10000
from trainer.data.splits import standard_split
from trainer.errors import DataError, RecipeError, StaleError
from trainer.models import registry
from trainer.pipeline import make_bundle, records_of, stored_answers, trained
from trainer.scoring import measures, predict

STAGE = """
name = "toy-{role}"
summary = "For tests."
task = "{task}"
model = {{ name = "toy_{role}" }}
augment = {{ flip = true }}
loss = {{ name = "{loss}" }}
optim = {{ epochs = 1, batch_size = 16, learning_rate = 1e-9 }}
[data]
size = {size}
target = "{target}"
{roi}
"""
BUNDLE = """
name = "toy"
version = "1.0.0"
description = "For tests."
intended_use = "None."
sources = ["HAM10000"]
data = "Drawn pictures."
citation = "None."
license = "Apache-2.0"
license_note = "Nothing of anybody's."
roi = { background = "keep", margin = 0.25 }
store = "float32"
[stages.segmenter]
recipe = "toy-segmenter.toml"
init_weights = "toy.pth"
[stages.classifier]
recipe = "toy-classifier.toml"
"""


@pytest.fixture(scope="module", autouse=True)
def _toy_models() -> Iterator[None]:
    """Two networks whose weights are of use before they are trained, and few pictures to try."""
    with pytest.MonkeyPatch.context() as patch:
        kinds: dict[str, tuple[Any, Any]] = {
            "toy_segmenter": ("segmentation", ToySegmenter),
            "toy_classifier": ("classification", ToyClassifier),
        }
        for name, (task, build) in kinds.items():
            patch.setitem(registry._REGISTRY, name, registry.ModelEntry(name, task, build, "", 48, False))
        patch.setattr(pipeline, "TRIAL_PICTURES", 4)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Drawn pictures in `data/`, recipes, and weights in `weights/`."""
    draw_dataset(tmp_path / "data", lesions=36, seed=4, height=96, width=128, split=(0.3, 0.4, 0.3))
    segmenter = {"role": "segmenter", "task": "segmentation", "loss": "bce-dice", "size": 64, "target": "mask"}
    classifier = {"role": "classifier", "task": "classification", "loss": "cross-entropy", "size": 48, "target": "dx"}
    (tmp_path / "toy-segmenter.toml").write_text(STAGE.format(**segmenter, roi=""), encoding="utf-8")
    roi = 'roi = { background = "keep", margin = 0.25 }'
    (tmp_path / "toy-classifier.toml").write_text(STAGE.format(**classifier, roi=roi), encoding="utf-8")
    (tmp_path / "toy.toml").write_text(BUNDLE, encoding="utf-8")
    (tmp_path / "weights").mkdir()
    torch.save(ToySegmenter().state_dict(), tmp_path / "weights/toy.pth")
    return tmp_path


def arguments(folder: Path) -> list[str]:
    options = {"data": "data", "init-weights": "weights", "runs": "runs", "out": "out", "results": "results"}
    options |= {"cache": "cache"}
    return ["bundle", str(folder / "toy.toml")] + [
        part for name, place in options.items() for part in (f"--{name}", str(folder / place))
    ]


def run(folder: Path) -> None:
    cli.app(arguments(folder), standalone_mode=False)


class Killed(BaseException):
    """As by a signal: nothing catches it."""


def killed(*_: object, **__: object) -> Any:
    raise Killed


def explode(*_: object, **__: object) -> Any:
    raise AssertionError("this was not to be done again")


def hide_test(folder: Path) -> Callable[[], None]:
    """Makes pictures and masks of `test` unreadable; the result makes them readable again."""
    test = standard_split(read_ham10000(folder / "data"))["test"]
    files = [path for record in test for path in (record.image_path, record.mask_path)]
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(b"?")

    def show() -> None:
        for path, data in kept.items():
            path.write_bytes(data)

    return show


def test_a_bundle_goes_on_where_it_was_killed_and_test_is_looked_at_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = hide_test(folder)
    honest = pipeline.train_network
    done: list[str] = []

    def first_only(recipe: Any, *args: Any, **options: Any) -> None:
        if done:
            raise Killed
        honest(recipe, *args, **options)
        done.append(recipe.name)

    work = folder / "runs/bundles/toy"
    steps: list[tuple[Any, str, Callable[..., Any]]] = [
        (pipeline, "train_network", first_only),
        (pipeline, "answer_unseen", killed),
        (swapping, "swap", killed),
    ]
    for where, name, instead in steps:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, instead)
            with pytest.raises(Killed):
                run(folder)
        assert not (folder / "out").exists() and not (work / "test").exists()
    assert done == ["toy-segmenter"]

    answers = (work / "unseen.json").read_bytes()
    monkeypatch.setattr(pipeline, "answer_unseen", explode)
    with pytest.raises(EdgeInferError):
        run(folder)  # the first look at test, which cannot be read
    written = (work / "bundle" / MANIFEST).read_bytes()
    assert not load_bundle(work / "bundle").manifest.evaluations
    show()
    monkeypatch.setattr(pipeline, "write_bundle", explode)
    for name in ("try_negatives", "publish"):
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, name, killed)
            with pytest.raises(Killed):
                run(folder)
        assert not (folder / "out").exists()

    monkeypatch.setattr(pipeline, "predict", explode)
    run(folder)
    assert (work / "unseen.json").read_bytes() == answers
    assert (work / "bundle" / MANIFEST).read_bytes() == written
    bundle = load_bundle(folder / "out")
    assert (bundle.path / MODEL_CARD).is_file() and bundle.manifest.evaluations[0].split == "test"
    recipe = load_bundle_recipe(folder / "toy.toml")
    assert bundle.manifest.provenance.bundle_recipe == recipe.to_dict() | {"sources": ["HAM10000"], "variants": []}
    assert {"test.parquet", "val.parquet", "refusals.parquet", "RESULTS.md"} <= {
        path.name for path in (folder / "results").iterdir()
    }

    # Choosing again asks no network and opens no picture.
    choices, _ = choose(stored_answers(recipe, trained(recipe, folder / "runs"), Places(work, folder, folder)))
    assert choices.calibration == bundle.manifest.calibration
    assert [(p.name, p.threshold) for p in choices.operating_points] == [
        (p.name, p.threshold) for p in bundle.manifest.operating_points
    ]
    for where, name in ((System, "graphs"), (nn.Module, "__call__"), (measures, "open_picture")):
        monkeypatch.setattr(where, name, explode)
    monkeypatch.setattr(predict, "open_picture", explode)
    again = CliRunner().invoke(cli.app, ["choose", str(folder / "toy.toml"), "--runs", str(folder / "runs")])
    assert again.exit_code == 0, again.output
    assert f"temperature {choices.calibration.temperature:g}" in again.output

    # Other weights: the stored answers are not theirs.
    torch.save({}, folder / "runs/toy-classifier/best.pt")
    with pytest.raises(StaleError, match="other networks"):
        stored_answers(recipe, trained(recipe, folder / "runs"), Places(work, folder, folder))


def test_answers_depend_on_limit_and_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, records, networks = _untrained(folder)
    places = Places(folder / "work", folder / "out", folder / "results")
    made: list[object] = []

    def remember(*_: object) -> Any:
        made.append(object())
        raise Killed

    def ask(records: list[Record], limit: int | None = None) -> None:
        pipeline.answer(recipe, networks, records, places, limit, lambda text: None)

    ask(records, 12)
    monkeypatch.setattr(pipeline, "answer_unseen", remember)
    ask(records, 12)
    assert not made
    for changed in (lambda: ask(records), lambda: ask(records[:-9], 12)):
        with pytest.raises(Killed):
            changed()
    assert len(made) == 2


def test_data_and_checkpoints_must_be_those_of_the_recipe(folder: Path) -> None:
    recipe, _, networks = _untrained(folder)
    with pytest.raises(DataError, match="is in 'ham10000'"):
        records_of(recipe, [folder / "data", folder / "data"])
    with pytest.raises(RecipeError, match="was trained by 'toy-classifier'"):
        open_system(recipe, Networks(networks.classifier, networks.classifier))
    text = (folder / "toy.toml").read_text(encoding="utf-8")
    (folder / "other.toml").write_text(text.replace("HAM10000", "PH2"), encoding="utf-8")
    with pytest.raises(DataError, match="learns from ph2; the folders hold ham10000"):
        records_of(load_bundle_recipe(folder / "other.toml"), [folder / "data"])
    (folder / "weights/toy.pth").unlink()
    with pytest.raises(RecipeError, match=r"does not hold toy\.pth"):
        make_bundle(
            recipe,
            records_of(recipe, [folder / "data"]),
            Training(folder / "other", folder / "weights", cache=folder / "cache"),
            Places(folder, folder, folder),
        )


def _untrained(folder: Path) -> tuple[BundleRecipe, list[Record], Networks]:
    recipe = load_bundle_recipe(folder / "toy.toml")
    records = records_of(recipe, [folder / "data"])
    training = Training(folder / "runs", folder / "weights", limit=8, cache=folder / "cache")
    return recipe, records, pipeline.train(recipe, records, training, lambda text: None)
