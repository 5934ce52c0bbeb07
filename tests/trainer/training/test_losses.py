"""Losses against their formulas, computed again in numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from trainer.recipe import LossConfig
from trainer.training.losses import BceDiceLoss, FocalLoss, build_class_loss


def test_bce_dice() -> None:
    generator = np.random.default_rng(0)
    logits, masks = generator.normal(size=(3, 1, 5, 7)), generator.integers(0, 2, (3, 1, 5, 7)).astype(float)
    probability = 1 / (1 + np.exp(-logits))
    cross_entropy = -(masks * np.log(probability) + (1 - masks) * np.log(1 - probability)).mean()
    dice = [(2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1) for p, m in zip(probability, masks, strict=True)]
    expected = cross_entropy + 1 - np.mean(dice)
    actual = BceDiceLoss()(torch.tensor(logits), torch.tensor(masks))
    np.testing.assert_allclose(float(actual), expected, rtol=1e-9)


def test_focal() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 3, 1])
    probability = torch.softmax(logits, 1).numpy()[np.arange(6), labels.numpy()]
    expected = (-((1 - probability) ** 3) * np.log(probability)).mean()
    np.testing.assert_allclose(float(FocalLoss(3.0)(logits, labels)), expected, rtol=1e-9)
    torch.testing.assert_close(FocalLoss(0.0)(logits, labels), F.cross_entropy(logits, labels))


def test_label_smoothing_reaches_the_loss() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 1])
    smooth = build_class_loss(LossConfig("cross-entropy", label_smoothing=0.2))(logits, labels)
    torch.testing.assert_close(smooth, F.cross_entropy(logits, labels, label_smoothing=0.2))
    assert smooth != F.cross_entropy(logits, labels)
