"""Peers: separate processes, failures as rows, the same weights everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import networks, peers
from benchmarks.engines import PillowRunner, TorchEngine
from benchmarks.networks import DarkerThanTheRest
from benchmarks.workers import PeerConfig, PeerError, RemoteRunner
from edge_infer.benchmark.accuracy import replay_golden
from edge_infer.benchmark.measure import Effort
from edge_infer.benchmark.result_file import contradictions
from edge_infer.benchmark.results import Results
from edge_infer.benchmark.runners import LocalRunner, load_pictures
from edge_infer.bundle.store import load_bundle
from edge_infer.engines.base import Engine
from edge_infer.engines.onnx import OnnxEngine
from trainer.data.drawn import draw_picture


@pytest.fixture(scope="module")
def encoded(toy_bundle: Path) -> tuple[bytes, ...]:
    return tuple(load_pictures((), load_bundle(toy_bundle))[0])


@pytest.fixture(scope="module")
def results(toy_bundle: Path) -> Results:
    """Two peers of ours on the toy bundle, one without its bundle, and one that cannot start."""
    return peers.run_peers(
        {"float32": toy_bundle, "int8": toy_bundle},
        (),
        peers=("ours", "ours-float32", "shipped", "torch-eager"),
        threads=(1,),
        segmenter="no such network",
        classifier="resnet50",
        effort=Effort(warmup=1, runs=10, seconds=0.0, block=2),
        probe_seconds=0.01,
    )


def test_peers_take_turns_in_processes_of_their_own(results: Results) -> None:
    rows = {row.target: row for row in results.rows}
    assert {name: row.status for name, row in rows.items()} == {
        "ours": "ok",
        "ours-float32": "ok",
        "shipped": "failed",
        "torch-eager": "failed",
    }
    ours, other = rows["ours"].single, rows["ours-float32"].single
    assert ours is not None and other is not None and ours.rounds == other.rounds and len(ours.wall_ms) == 10
    assert rows["ours"].multi is not None and rows["ours"].multi.size == 8
    assert "no such network" in rows["torch-eager"].error and "shipped bundle" in rows["shipped"].error
    assert contradictions(results) == []


def test_nothing_is_faster_than_a_baseline_that_failed(results: Results) -> None:
    ratios = [item for item in results.ratios if item.baseline == "torch-eager"]
    assert ratios and all(item.ratio is None and "failed" in item.withheld for item in ratios)


def test_an_unknown_peer_is_refused(toy_bundle: Path) -> None:
    with pytest.raises(PeerError, match="ours-float32"):
        peers.run_peers({"float32": toy_bundle}, (), peers=("tvm",), segmenter="", classifier="", effort=Effort())


@pytest.fixture
def remote(toy_bundle: Path, encoded: tuple[bytes, ...]) -> Iterator[RemoteRunner]:
    runner = RemoteRunner(PeerConfig("ours", 1, toy_bundle, "", "", encoded), peers.start_peer)
    yield runner
    runner.close()


def test_a_worker_answers_and_its_death_is_an_error(remote: RemoteRunner) -> None:
    assert remote.statuses() == {"ok": 2}
    assert remote.query(0, 1).wall_ms > 0
    assert remote.segment(0.05, 2, 1).pictures >= 2
    with pytest.raises(PeerError, match="TypeError"):
        remote.query("not a number", 1)  # type: ignore[arg-type]
    remote._process.terminate()
    remote._process.join()
    with pytest.raises(PeerError, match="has ended"):
        remote.query(0, 1)


class Flat(nn.Module):
    """Logits that say nothing, of the right shape; the weight is there to have one."""

    def __init__(self, classes: int | None) -> None:
        super().__init__()
        self.classes, self.weight = classes, nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if self.classes is None:
            return image[:, :1] * self.weight
        return torch.zeros(len(image), self.classes) + self.weight


def test_the_stand_in_segmenter_finds_the_dark_lesion() -> None:
    drawn = draw_picture(np.random.default_rng(3), 256, 256, "mel", hairs=0, vignette=False, artefacts=False)
    planes = torch.from_numpy(drawn.image).permute(2, 0, 1)[None].float() / 255
    found = DarkerThanTheRest(Flat(None))((planes - 0.45) / 0.22)[0, 0].detach().numpy() > 0
    truth = drawn.mask > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.5


def test_the_usual_script_crops_and_classifies(encoded: tuple[bytes, ...]) -> None:
    pair = SimpleNamespace(network=DarkerThanTheRest(Flat(None))), SimpleNamespace(network=Flat(3))
    runner = PillowRunner("p", pair, encoded)
    rows = runner.diagnose(encoded)
    assert all(row is not None and row.shape == (3,) and row.sum() == pytest.approx(1) for row in rows)
    assert runner.statuses() == {"ok": len(encoded)}
    assert runner.query(0, 2).wall_ms > 0
    nothing = SimpleNamespace(network=Flat(None)), SimpleNamespace(network=Flat(3))
    assert PillowRunner("p", nothing, encoded).statuses() == {"indeterminate": len(encoded)}


def test_the_pair_is_the_same_in_every_library(
    encoded: tuple[bytes, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(source: Path, target: Path, *_: Any, **__: Any) -> None:
        shutil.copy(source, target)

    monkeypatch.setattr("trainer.bundle.quantize.quantize_onnx", copied)
    names = "unet_mobilenet_v2", "simple_cnn"
    folder, _ = networks.write_peer_bundles(tmp_path, encoded, *names)
    bundle = load_bundle(folder)
    ours = [OnnxEngine(bundle.file(stage, "onnx"), providers=["cpu"]) for stage in ("segmenter", "classifier")]
    pair = networks.serving_networks(encoded, *names)
    labels = '["benign", "melanoma"]'
    theirs = TorchEngine(pair[0], None, "eager"), TorchEngine(pair[1], labels, "eager")
    both: list[tuple[Engine, Engine]] = [(ours[0], ours[1]), theirs]
    for engines in both:
        runner = LocalRunner("a", bundle, engines[0], engines[1], encoded, 1)
        assert runner.statuses() == {"ok": len(encoded)}
        checks = replay_golden(runner.diagnoser)
        assert all(check.passed for check in checks), checks
        assert any(check.value is not None and check.value < 1e-3 for check in checks)
    assert bundle.manifest.segmenter.gflops is not None and bundle.manifest.segmenter.gflops > 1
