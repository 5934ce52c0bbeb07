"""A share of melanoma that is stated reaches every answer, whichever command gives it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import edge_infer.kiosk.app
import edge_infer.serve.server
from edge_infer.batch.plan import read_plan
from edge_infer.batch.work import open_diagnoser
from edge_infer.cli.app import app
from edge_infer.diagnoser import Diagnoser
from edge_infer.rules import Calibration
from tests.support.toy_bundle import write_toy_bundle

RARE = 0.02


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle that states its prior."""
    folder = tmp_path_factory.mktemp("bundles") / "stated"
    return write_toy_bundle(folder, calibration=Calibration("none", 1.0, "nothing", prior=0.2))


def invoke(*arguments: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    assert done.exit_code == 0, done.output


def test_serve(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float | None] = []
    monkeypatch.setattr(edge_infer.serve.server, "serve", lambda diagnoser, settings: seen.append(diagnoser.prior))
    invoke("serve", "--bundle", bundle, "--prevalence", RARE)
    assert seen == [RARE]


def test_watch(bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/nevus.png").write_bytes(nevus_file.read_bytes())
    output = tmp_path / "out.ndjson"
    invoke("watch", tmp_path / "in", "-o", output, "--once", "--settle", 0, "--bundle", bundle, "--prevalence", RARE)
    assert json.loads(output.read_text(encoding="utf-8"))["prior"] == RARE


def test_batch(bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    invoke("batch", "plan", nevus_file, "-o", tmp_path / "run", "--bundle", bundle, "--prevalence", RARE)
    with open_diagnoser(read_plan(tmp_path / "run")) as diagnoser:
        assert diagnoser.prior == RARE


def test_a_batch_that_cannot_be_corrected_is_not_planned(toy_bundle: Path, nevus_file: Path, tmp_path: Path) -> None:
    given = ["batch", "plan", str(nevus_file), "-o", str(tmp_path / "run"), "--bundle", str(toy_bundle)]
    done = CliRunner().invoke(app, [*given, "--prevalence", str(RARE)])
    assert done.exit_code != 0 and "does not state" in done.output
    assert not (tmp_path / "run").exists()


def test_kiosk(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("index.html", "sw.js", "headers.json"):
        (tmp_path / "app").mkdir(exist_ok=True)
        (tmp_path / "app" / name).write_text("{}", encoding="utf-8")
    monkeypatch.setattr(edge_infer.kiosk.app, "find_app", lambda: tmp_path / "app")
    invoke("kiosk", "--export", tmp_path / "site", "--bundle", bundle, "--prevalence", RARE)
    release = json.loads((tmp_path / "site/release.json").read_text(encoding="utf-8"))
    assert release["settings"]["prevalence"] == RARE


def test_the_same_networks_for_another_share(bundle: Path, nevus_file: Path) -> None:
    with Diagnoser.load(bundle, prevalence=RARE) as wanted, Diagnoser.load(bundle) as plain:
        rare = plain.with_prevalence(RARE)
        first, second = wanted.diagnose(nevus_file), rare.diagnose(nevus_file)
        assert (first.melanoma_probability, first.threshold) == (second.melanoma_probability, second.threshold)
        assert plain.diagnose(nevus_file).prior == 0.2
