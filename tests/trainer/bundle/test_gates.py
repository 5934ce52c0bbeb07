"""Gates rest on what a network has not seen, on enough pictures, and on an interval where chance has a part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.bundle.golden import Scoring
from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import read_manifest
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.rules import FamiliarityRule, QualityLimits
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import resize
from trainer.bundle.errors import ParityError
from trainer.bundle.gates import (
    Limit,
    Parity,
    _auc_change,
    _Score,
    int8_limits,
    judge,
    measure_parity,
    moved,
    require,
)
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import Record, read_ham10000
from trainer.scoring.networks import Networks

MEL, LABELS = 4, 7


class Certain:
    """A classifier that learnt every picture by heart: melanoma 0.998 or 0.002; `change` is added to its log-odds."""

    def __init__(self, change: float = 0.0, noise: float = 0.0) -> None:
        self._change, self._noise, self._calls = change, noise, 0

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = np.zeros((len(crops), LABELS), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            dark = float(crop.mean()) < 128
            seed = int(crop.astype(np.int64).sum()) % 2**32
            noise = self._noise * np.random.default_rng(seed).standard_normal()
            odds = np.exp((6.2 if dark else -6.2) + self._change + noise)
            row[MEL] = odds / (1 + odds)
            row[0] = 1 - row[MEL]
        return rows


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=40, seed=4, height=96, width=128, split=(0.1, 0.8, 0.1))
    return [record for record in read_ham10000(folder) if record.split == "val"]


@pytest.fixture(scope="module")
def manifest(toy_bundle: Path) -> Manifest:
    return read_manifest(toy_bundle).manifest


@pytest.fixture(scope="module")
def segment(toy_bundle: Path) -> OnnxEngine:
    return OnnxEngine(toy_bundle / "segmenter.onnx", providers=["cpu"], threads=1)


def measure(
    records: list[Record], manifest: Manifest, segment: OnnxEngine, change: Certain, unseen: dict[str, float] | None
) -> Parity:
    pairs = (Networks(segment.run, Certain()), Networks(segment.run, change))
    return measure_parity(records, manifest, *pairs, unseen=unseen, progress=False)


def test_a_change_that_hides_on_learnt_pictures_is_found_from_unseen_answers(
    records: list[Record], manifest: Manifest, segment: OnnxEngine
) -> None:
    """Odds that double move 0.002 to 0.004 and decide nothing otherwise; they move an unseen 0.3 to 0.46, over 0.4."""
    doubled = Certain(change=float(np.log(2)))
    learnt = measure(records, manifest, segment, doubled, None)
    assert learnt.flipped == 0 and learnt.max_probability < 0.01 and not learnt.out_of_fold
    unseen = {record.image_id: 0.3 for record in records}
    honest = measure(records, manifest, segment, doubled, unseen)
    assert honest.flipped == pytest.approx(0.5), "of two operating points, at 0.4 and 0.1, the first decides otherwise"
    assert honest.max_probability == learnt.max_probability, "of the network itself, on its own crops"
    assert honest.out_of_fold and honest.answered == len(records) == honest.pictures


def test_learnt_pictures_without_an_unseen_answer_decide_nothing(
    records: list[Record], manifest: Manifest, segment: OnnxEngine
) -> None:
    unseen = {record.image_id: 0.3 for record in records[:5]}
    parity = measure(records, manifest, segment, Certain(1.0), unseen)
    assert (parity.pictures, parity.answered) == (len(records), 5)
    limits = (Limit("s.onnx", "min_mask_iou", ">=", 0.99), Limit("c.onnx", "flipped", "<=", 1.0))
    words = [gate.measure for gate in judge(parity, limits)]
    assert words[0].endswith(f"({len(records)} validation pictures)")
    assert words[1].endswith("(5 validation pictures, as answered by networks that left them out)")
    with pytest.raises(ParityError, match="undefined"):
        judge(measure(records, manifest, segment, Certain(1.0), {}), limits)


def test_the_interval_of_the_auc_is_paired(records: list[Record], manifest: Manifest, segment: OnnxEngine) -> None:
    """The same scores have no interval at all, however few the pictures; one from unpaired resamples would be wide."""
    rng = np.random.default_rng(0)
    unseen = {record.image_id: float(rng.uniform(0.05, 0.95)) for record in records}
    same = measure(records, manifest, segment, Certain(), unseen)
    assert (same.auc_change, same.auc_low, same.auc_high) == (0, 0, 0)
    noisy = measure(records, manifest, segment, Certain(noise=0.5), unseen)
    assert noisy.auc_change is not None and noisy.auc_low is not None and noisy.auc_high is not None
    assert noisy.auc_low < noisy.auc_high
    assert noisy.auc_high - noisy.auc_low < 0.3


def test_the_auc_is_a_mean_over_the_sources() -> None:
    """What moves one clinic's probabilities against another's changes no ranking within a clinic."""
    rng = np.random.default_rng(0)
    ours = rng.uniform(0.2, 0.6, 80)
    moved = ours + np.repeat([0.0, 0.3], 40)
    rows = [
        _Score("here" if i < 40 else "there", f"L{i}", float(a), float(b), i % 4 == 0)
        for i, (a, b) in enumerate(zip(ours, moved, strict=True))
    ]
    change = _auc_change(rows)
    assert change is not None and (change.value, change.low, change.high) == (0, 0, 0)
    pooled = _auc_change([row._replace(source="all") for row in rows])
    assert pooled is not None and pooled.low is not None and pooled.low < 0
    assert _auc_change([row for row in rows if not row.melanoma]) is None


def test_too_few_pictures_fail_the_gate_although_their_auc_did_not_move() -> None:
    parity = Parity(
        20,
        0.0,
        1.0,
        1.0,
        0.0,
        0.0,
        0.0,
        0.0,
        auc_change=0.0,
        auc_low=-0.03,
        auc_high=0.02,
        answered=20,
        refused_flipped=0.0,
    )
    gates = judge(parity, int8_limits("s.onnx", "c.onnx"))
    with pytest.raises(ParityError, match=r"lower end of its 95 % interval .*-0\.03, must be >= -0\.005"):
        require(gates)
    require(judge(replace(parity, auc_low=-0.004), int8_limits("s.onnx", "c.onnx")))
    with pytest.raises(ParityError, match="undefined"):
        judge(replace(parity, auc_low=None), int8_limits("s.onnx", "c.onnx"))


def test_a_refusal_that_flips_counts_whatever_its_reason(
    records: list[Record], manifest: Manifest, segment: OnnxEngine
) -> None:
    """An outline that fades is the same outline, and its lesion is no longer certain."""

    def faded(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.where(segment.run(pictures) >= 0.5, np.float32(0.55), np.float32(0.0))

    def empty(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros(pictures.shape[:3], np.float32)

    sure = replace(manifest, quality=None, mask=replace(manifest.mask, min_confidence=0.6))

    def flipped(rules: Manifest, candidate: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> float:
        pairs = Networks(segment.run, Certain()), Networks(candidate, Certain())
        return measure_parity(records, rules, *pairs, progress=False).refused_flipped

    assert flipped(sure, segment.run) == 0
    assert flipped(sure, faded) > 0.9 and flipped(replace(sure, mask=replace(sure.mask, min_confidence=0)), faded) < 0.1
    assert flipped(sure, empty) > 0.9
    scored = replace(sure, familiarity=FamiliarityRule("familiarity", 0.5))

    def strange(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return segment.run(pictures), np.full(len(pictures), 0.4, np.float32)

    def known(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return segment.run(pictures), np.full(len(pictures), 0.6, np.float32)

    pair = Networks(Scoring(known), Certain()), Networks(Scoring(strange), Certain())
    assert measure_parity(records, scored, *pair, progress=False).refused_flipped == 1
    assert measure_parity(records, scored, pair[0], pair[0], progress=False).refused_flipped == 0
    dark = replace(manifest, quality=QualityLimits(1, 0.0, 250.0, 255.0, 0.0))
    assert flipped(dark, empty) == 0, "the runtime refuses these before it looks for a lesion"
    with pytest.raises(ParityError, match="refusals flipped"):
        pairs = Networks(segment.run, Certain()), Networks(faded, Certain())
        require(judge(measure_parity(records, sure, *pairs, progress=False), int8_limits("s.onnx", "c.onnx")))


def test_a_move_in_log_odds() -> None:
    def of(p: float, *rest: float) -> NDArray[np.float64]:
        return np.array([p, *(rest or (1 - p,))])

    assert moved(0.3, of(0.9), of(0.9), 0) == 0.3
    assert moved(0.5, of(0.5), of(0.8), 0) == pytest.approx(0.8)
    assert moved(0.5, of(0.5, 0.2, 0.3), of(0.5, 0.25, 0.25), 0) == pytest.approx(0.5)
    assert moved(0.2, of(1.0, 1e-9), of(1.0, 1e-8), 0) == pytest.approx(0.2), "both are certain"
    rounded = of(1.0, 3e-4)
    assert moved(0.5, of(0.9997, 3e-4), rounded, 0) == pytest.approx(0.5, abs=1e-3), (
        "a 1 that 16 bits cannot tell apart"
    )
    assert moved(1.0, of(0.5), of(0.4), 0) < 1


def test_drawn_lesions_are_found(records: list[Record], manifest: Manifest, segment: OnnxEngine) -> None:
    """Or the tests above would count nothing."""
    spec = manifest.segmenter.input
    picture = resize(open_picture(records[0].image_path).pixels, spec.height, spec.width)
    assert segment.run(picture[None]).max() > 0.5
