"""The story of a bundle over several sources on drawn pictures: one without masks, one external, some not named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_infer.bundle.manifest import MODEL_CARD
from edge_infer.bundle.store import load_bundle
from tests.support.many_sources import read_rows, write_rows
from tests.support.toy_system import ToyClassifier, ToySegmenter
from tests.trainer.test_pipeline import BUNDLE, STAGE
from trainer import pipeline
from trainer.cli import app as cli
from trainer.cli.bundle import evaluate
from trainer.data.drawn import draw_dataset
from trainer.data.sources import read_sources
from trainer.data.splits import standard_split
from trainer.models import registry
from trainer.scoring.ledger import LEDGER, ORIGIN, decisions_hash, readings
from trainer.scoring.predictions import read_predictions

SPLIT = (0.3, 0.4, 0.3)


@pytest.fixture(scope="module", autouse=True)
def _toy_models() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        kinds: dict[str, tuple[Any, Any]] = {
            "toy_segmenter": ("segmentation", ToySegmenter),
            "toy_classifier": ("classification", ToyClassifier),
        }
        for name, (task, build) in kinds.items():
            patch.setitem(registry._REGISTRY, name, registry.ModelEntry(name, task, build, "", 48, False))
        patch.setattr(pipeline, "TRIAL_PICTURES", 4)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished bundle that learnt from `ham10000` and `archive` (no masks); `clinic` is external."""
    home = tmp_path_factory.mktemp("story")
    draw_dataset(home / "data", lesions=36, seed=4, height=96, width=128, split=SPLIT)
    draw_dataset(home / "extra", lesions=40, seed=11, height=96, width=128, split=SPLIT)
    _two_sources(home / "extra")
    stage = {"role": "segmenter", "task": "segmentation", "loss": "bce-dice", "size": 64, "target": "mask"}
    text = STAGE.format(**stage, roi="sources = { ham10000 = {} }")
    (home / "toy-segmenter.toml").write_text(text, encoding="utf-8")
    stage = {"role": "classifier", "task": "classification", "loss": "cross-entropy", "size": 48, "target": "dx"}
    roi = 'roi = { background = "keep", margin = 0.25 }\nsources = { ham10000 = {}, archive = {} }\n'
    text = STAGE.format(**stage, roi=roi + f'outline = "{home}/runs/toy-segmenter/best.pt"')
    (home / "toy-classifier.toml").write_text(text, encoding="utf-8")
    several = BUNDLE.replace('["HAM10000"]', '["ham10000", "archive"]').replace("init_weights", "#init_weights")
    keys = 'calibration = "platt"\nprior = 0.2\nfolds = 0\nsize_exempt = ["archive"]\n[stages.segmenter]'
    (home / "toy.toml").write_text(several.replace("[stages.segmenter]", keys, 1), encoding="utf-8")
    run(home)
    return home


def _two_sources(folder: Path) -> None:
    rows = read_rows(folder)
    for row in rows:
        old = row["image_id"]
        row["image_id"], row["lesion_id"] = old.replace("ISIC_9", "ISIC_8"), row["lesion_id"].replace("HAM", "EXT")
        (folder / "images" / f"{old}.jpg").rename(folder / "images" / f"{row['image_id']}.jpg")
        mask = folder / "masks" / f"{old}_segmentation.png"
        row["source"] = "clinic" if int(row["lesion_id"].split("_")[-1]) % 2 else "archive"
        row["mask"] = "0" if row["source"] == "archive" else "1"
        if row["dx"] != "mel" and row["source"] == "archive":
            row |= {"dx": "", "age": "", "sex": ""}
        mask.rename(mask.with_name(f"{row['image_id']}_segmentation.png"))
    write_rows(folder, rows)


def run(home: Path) -> None:
    options = {"runs": "runs", "out": "out", "results": "results/toy", "cache": "cache"}
    data = [part for name in ("data", "extra") for part in ("--data", str(home / name))]
    places = [part for name, place in options.items() for part in (f"--{name}", str(home / place))]
    cli.app(["bundle", str(home / "toy.toml"), *data, *places], standalone_mode=False)


def test_every_source_has_its_row_and_what_was_not_learnt_from_is_external(folder: Path) -> None:
    manifest = load_bundle(folder / "out").manifest
    assert manifest.calibration.method == "platt" and manifest.calibration.prior == 0.2
    assert manifest.calibration.bias != 0
    for point in manifest.operating_points:
        assert "; there ham10000 sensitivity" in point.rule and "; archive sensitivity" in point.rule
    names = [evaluation.data for evaluation in manifest.evaluations]
    assert names == ["mean of the sources ham10000, archive, clinic", "ham10000", "archive", "clinic (external)"]
    chosen = read_predictions(folder / "results/toy/val.parquet")
    assert {p.source for p in chosen} == {"ham10000", "archive"}, "nothing is chosen on an external source"
    test = read_predictions(folder / "results/toy/test.parquet")
    assert {p.source for p in test} == {"ham10000", "archive", "clinic"}
    assert all((p.clean is None) == (p.source == "archive") for p in test)
    assert any(p.skin_angle is not None for p in test)
    text = (folder / "results/toy/RESULTS.md").read_text(encoding="utf-8")
    for row in ("| ham10000 |", "| archive |", "| clinic (external) |", "| macro |", "skin tone (estimated)"):
        assert row in text
    figures = json.loads((folder / "results/toy/evaluation.json").read_text(encoding="utf-8"))
    assert "dice" not in figures["test"]["rows"]["archive"]["figures"]
    assert figures["test"]["rows"]["clinic"]["external"] and not figures["test"]["rows"]["archive"]["external"]
    card = (folder / "out" / MODEL_CARD).read_text(encoding="utf-8")
    assert "clinic (external)" in card and "read `test` on" in card and "**estimate**" in card
    assert (folder / "results/toy/confusion-archive.png").is_file()


@pytest.mark.parametrize(("exempt", "lines"), [(["archive"], 0), (["archive", "clinic"], 1)])
def test_other_exemptions_are_another_reading(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exempt: list[str], lines: int
) -> None:
    monkeypatch.setattr("trainer.cli.bundle.RESULTS", folder / "results")
    ledger = tmp_path / LEDGER
    evaluate([folder / "data", folder / "extra"], str(folder / "out"), size_exempt=exempt, ledger=ledger)
    assert len(readings(ledger)) == lines


def test_a_reading_of_test_is_one_line_and_is_not_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = folder / "results" / LEDGER
    (line,) = readings(ledger)
    manifest = load_bundle(folder / "out").manifest
    assert line.hash == decisions_hash(manifest) and not line.entered_later
    test = standard_split(read_sources([folder / "data", folder / "extra"]))["test"]
    assert sum(line.pictures.values()) == len(test)

    def explode(*_: object, **__: object) -> Any:
        raise AssertionError("test was opened again")

    monkeypatch.setattr(pipeline, "predict", explode)
    for path in sorted((folder / "runs/bundles/toy/test").iterdir()):
        path.unlink()
    run(folder)  # the answers are taken from the results
    assert readings(ledger) == [line]
    (folder / "runs/bundles/toy/test" / ORIGIN).unlink()
    (folder / "results/toy" / ORIGIN).unlink()
    with pytest.raises(AssertionError, match="opened again"):
        run(folder)
