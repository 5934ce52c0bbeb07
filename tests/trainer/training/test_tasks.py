"""Labels, metadata, sampling and the recipe's loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainer.data.ham10000 import DX, Record
from trainer.data.metadata import SEXES, SITES, encode_metadata
from trainer.errors import DataError
from trainer.models import create
from trainer.recipe import LossConfig, Recipe, load_recipe
from trainer.training.loop import sampling_order, serving_batch, training_batch
from trainer.training.losses import BceDiceLoss, FocalDiceLoss, FocalLoss
from trainer.training.tasks import Batch, Objective, labels_of, serving_data, training_data


def person(age: float | None = None, sex: str = "", site: str = "") -> Record:
    nowhere = Path("nowhere")
    return Record("ISIC_1", "HAM_1", "mel", "", age, sex, site, "histo", nowhere, nowhere)


def test_metadata_are_numbered_from_one_and_empty_is_zero() -> None:
    codes = encode_metadata([person(), person(0, "female", SITES[0]), person(85, "male", SITES[-1])])
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, [[0, 0, 0], [1 / 20, 1 / 2, 1 / len(SITES)], [18 / 20, 1, 1]], rtol=1e-6)
    distinct = {
        tuple(code) for code in encode_metadata([person(sex=sex, site=site) for sex in SEXES for site in SITES])
    }
    assert len(distinct) == len(SEXES) * len(SITES)
    general = encode_metadata([person(site=site) for site in ("posterior torso", "palms/soles", "head/neck")])
    np.testing.assert_array_equal(general, encode_metadata([person(site=site) for site in ("back", "acral", "")]))
    with pytest.raises(DataError, match="'elbow' has no code"):
        encode_metadata([person(site="elbow")])


def test_real_metadata_all_have_codes(ham10000: Path) -> None:
    from trainer.data.ham10000 import read_ham10000
    from trainer.data.isic import read_dataset

    codes = encode_metadata(read_ham10000(ham10000))
    assert codes.min() == 0
    assert codes.max() == 1
    extra = ham10000.parent / "isic_extra"
    if extra.is_dir():
        assert encode_metadata(read_dataset(extra)).max() == 1


def test_metadata_reach_the_network(drawn_records: list[Record], toy_cache: Path) -> None:
    recipe = load_recipe("metadata-fusion")
    recipe = dataclasses.replace(
        recipe, data=dataclasses.replace(recipe.data, size=32, cache_size=None, cache_margin=None)
    )
    rows = np.arange(4)
    expected = torch.from_numpy(encode_metadata(drawn_records)[:4])
    for batch in (
        training_batch(recipe, training_data(recipe, drawn_records, toy_cache), rows, 32),
        serving_batch(recipe, serving_data(recipe, drawn_records, toy_cache), rows),
    ):
        assert batch.metadata is not None
        assert torch.equal(batch.metadata, expected)
        assert len(batch.inputs()) == 2
    torch.manual_seed(0)
    model = create("metadata_fusion", classes=7).eval()
    with torch.inference_mode():
        known, unknown, none = (
            model(batch.images, expected),
            model(batch.images, torch.zeros_like(expected)),
            model(batch.images),
        )
    assert torch.equal(unknown, none)
    assert not torch.allclose(known, unknown)


@pytest.mark.parametrize(("name", "positive"), [("clnet-melanoma", "mel"), ("clnet-keratosis", "bkl")])
def test_binary_labels(name: str, positive: str, drawn_records: list[Record]) -> None:
    labels = labels_of(load_recipe(name), drawn_records)
    assert labels is not None
    assert labels.tolist() == [int(record.dx == positive) for record in drawn_records]
    assert 0 < labels.sum() < len(labels)


def test_seven_classes_and_masks(drawn_records: list[Record]) -> None:
    labels = labels_of(load_recipe("mobile-classifier"), drawn_records)
    assert labels is not None
    assert [DX[label] for label in labels] == [record.dx for record in drawn_records]
    assert labels_of(load_recipe("mobile-segmenter"), drawn_records) is None


def test_joint_objective_is_the_sum_of_both_losses() -> None:
    torch.manual_seed(0)
    masks = torch.randint(0, 2, (3, 1, 4, 4)).float()
    batch = Batch(torch.zeros(3, 3, 4, 4), masks, torch.tensor([0, 1, 1]), None)
    mask_logits, class_logits = torch.randn(3, 1, 4, 4), torch.randn(3, 2)
    expected = FocalDiceLoss(2.0)(mask_logits, masks) + FocalLoss(2.0)(class_logits, batch.labels)
    torch.testing.assert_close(Objective(load_recipe("clnet-melanoma"))((mask_logits, class_logits), batch), expected)


def test_focal_dice_without_gamma_is_bce_dice() -> None:
    logits, masks = torch.randn(2, 1, 5, 5), torch.randint(0, 2, (2, 1, 5, 5)).float()
    torch.testing.assert_close(FocalDiceLoss(0.0)(logits, masks), BceDiceLoss()(logits, masks))
    assert FocalDiceLoss(2.0)(logits, masks) < BceDiceLoss()(logits, masks)


def test_logit_adjustment_adds_log_frequencies() -> None:
    recipe = load_recipe("mobile-classifier")
    recipe = dataclasses.replace(recipe, loss=LossConfig("cross-entropy", logit_adjustment=1.0))
    counts = np.array([10, 20, 30, 5, 15, 100, 20])
    logits, labels = torch.randn(4, 7), torch.tensor([4, 5, 0, 3])
    batch = Batch(torch.zeros(4, 3, 2, 2), None, labels, None)
    prior = torch.from_numpy(counts / counts.sum()).float().log()
    torch.testing.assert_close(Objective(recipe, counts)(logits, batch), F.cross_entropy(logits + prior, labels))
    torch.testing.assert_close(Objective(recipe)(logits, batch), F.cross_entropy(logits, labels))


def test_balanced_sampling_evens_the_classes_out(
    toy_recipe: Callable[..., Recipe], drawn_records: list[Record], toy_cache: Path
) -> None:
    recipe = toy_recipe("mobile-classifier")
    data = training_data(recipe, drawn_records, toy_cache)
    assert sorted(sampling_order(recipe, data)) == list(range(len(drawn_records)))
    balanced = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sampling="balanced"))
    skewed = dataclasses.replace(data, labels=np.array([0] * (len(data) - 2) + [1, 1]))
    torch.manual_seed(0)
    drawn = np.concatenate([sampling_order(balanced, skewed) for _ in range(40)])
    assert skewed.labels is not None
    assert skewed.labels[drawn].mean() == pytest.approx(0.5, abs=0.06)
