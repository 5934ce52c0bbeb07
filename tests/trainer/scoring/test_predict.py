"""The serving path over labelled pictures, with networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.rules import InputSpec, MaskRule, QualityLimits, RoiRule
from edge_infer.steps.crop import crop_roi, lesion_box, roi_box
from edge_infer.steps.mask import restore_mask
from trainer.data.drawn import draw_dataset
from trainer.data.ham10000 import DX, Record, read_ham10000, read_image, read_mask
from trainer.errors import DataError
from trainer.scoring.networks import Networks
from trainer.scoring.predict import Rules, predict, select
from trainer.scoring.predictions import Counts, indeterminate, read_predictions, write_predictions

SIZE = 64
RULES = Rules(
    InputSpec("image", SIZE, SIZE), InputSpec("image", 32, 32), DX, MaskRule(0.5, 0.001, 0.95), RoiRule("keep", 0.2)
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, lesions=30, seed=2, height=120, width=160, split=(0.3, 0.3, 0.4))
    return select(read_ham10000(folder), "test")


class Oracle:
    """A segmenter that knows the true masks, in the order of the records; a classifier that records its crops."""

    def __init__(self, records: list[Record], add_speck: bool = False) -> None:
        self.masks = iter(
            [cv2.resize(read_mask(r.mask_path), (SIZE, SIZE), interpolation=cv2.INTER_AREA) for r in records]
        )
        self.add_speck = add_speck
        self.crops: list[NDArray[np.uint8]] = []

    def segment(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = np.stack([next(self.masks) for _ in batch]).astype(np.float32)
        if self.add_speck:
            maps[:, :3, :3] = 1
        return maps

    def classify(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.crops += list(batch)
        return np.tile(np.float32([0.1, 0.1, 0.1, 0.1, 0.3, 0.2, 0.1]), (len(batch), 1))

    @property
    def networks(self) -> Networks:
        return Networks(self.segment, self.classify)


def test_true_masks_score_nearly_perfectly(records: list[Record]) -> None:
    found = list(predict(records, RULES, Oracle(records).networks, batch_size=4, progress=False))
    assert [p.image_id for p in found] == [r.image_id for r in records]
    for p in found:
        assert p.clean is not None and p.clean.dice > 0.9, "only the resizing to 64 pixels and back is lost"
        assert p.area == pytest.approx(p.true_area, abs=0.02)
        assert p.probabilities["mel"] == pytest.approx(0.3)
        assert sum(p.clean) == read_mask(records[0].mask_path).size


def test_clean_up_is_what_separates_raw_from_clean(records: list[Record]) -> None:
    plain = list(predict(records, RULES, Oracle(records).networks, progress=False))
    specked = list(predict(records, RULES, Oracle(records, add_speck=True).networks, progress=False))
    assert [p.clean for p in specked] == [p.clean for p in plain]
    assert all(
        a.raw is not None and b.raw is not None and a.raw.fp > b.raw.fp for a, b in zip(specked, plain, strict=True)
    )


def test_true_roi_is_the_serving_crop_of_the_true_mask(records: list[Record]) -> None:
    oracle = Oracle(records)
    found = list(predict(records, RULES, oracle.networks, roi="truth", progress=False))
    image, mask = read_image(records[0].image_path), read_mask(records[0].mask_path)
    mask = restore_mask(mask, *image.shape[:2])
    box = lesion_box(mask)
    assert box is not None
    expected = crop_roi(image, mask, roi_box(box, *image.shape[:2], 0.2), RULES.roi, 32)
    assert np.array_equal(oracle.crops[0], expected)
    assert found[0].clean is None and found[0].raw is None and found[0].roi == "truth"


def test_pictures_without_an_answer_are_counted_by_reason(records: list[Record]) -> None:
    nothing = Networks(lambda batch: np.zeros(batch.shape[:3], np.float32), Oracle(records).classify)
    assert indeterminate(predict(records, RULES, nothing, progress=False)) == {"no_lesion": len(records)}
    everything = Networks(lambda batch: np.ones(batch.shape[:3], np.float32), Oracle(records).classify)
    full = list(predict(records, RULES, everything, progress=False))
    assert indeterminate(full) == {"lesion_fills_frame": len(records)}
    assert all(p.probabilities for p in full), "the answer is recorded although the runtime would withhold it"
    picky = Rules(
        RULES.segmenter_input, RULES.classifier_input, DX, RULES.mask, RULES.roi, QualityLimits(64, 1e9, 0, 255, 0)
    )
    assert indeterminate(predict(records, picky, Oracle(records).networks, progress=False)) == {"uniform": len(records)}


def test_predictions_survive_the_file(records: list[Record], tmp_path: Path) -> None:
    found = list(predict(records, RULES, Oracle(records).networks, progress=False))
    write_predictions(tmp_path / "deep/test.parquet", found)
    again = read_predictions(tmp_path / "deep/test.parquet")
    for a, b in zip(found, again, strict=True):
        assert (a.image_id, a.lesion_id, a.dx, a.age, a.raw, a.clean, a.reason, a.roi) == (
            b.image_id,
            b.lesion_id,
            b.dx,
            b.age,
            b.raw,
            b.clean,
            b.reason,
            b.roi,
        )
        assert b.probabilities == pytest.approx(a.probabilities, rel=1e-7)
        assert tuple(b.quality) == pytest.approx(tuple(a.quality), rel=1e-6)


def test_files_that_are_no_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_predictions(tmp_path / "missing.parquet")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError):
        read_predictions(tmp_path / "other.csv")
    with pytest.raises(DataError):
        write_predictions(tmp_path / "none.parquet", [])


def test_select_keeps_to_the_split(records: list[Record]) -> None:
    assert {record.split for record in records} == {"test"}
    assert len(select(records, "test", 3)) == 3
    with pytest.raises(DataError):
        select(records, "val")


def test_counts() -> None:
    assert Counts(8, 1, 1, 90).dice == pytest.approx(16 / 18)
    assert Counts(8, 1, 1, 90).jaccard == pytest.approx(0.8)
    assert Counts(0, 0, 0, 100).dice == 1
