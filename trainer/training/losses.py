"""Losses, on logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.recipe import LossConfig


class BceDiceLoss(nn.Module):
    """Binary cross-entropy plus soft Dice loss, with equal weight."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Logits (n, 1, h, w) and masks 0..1 of the same shape to a scalar."""
        return F.binary_cross_entropy_with_logits(logits, masks) + soft_dice_loss(logits, masks, self.smooth)


class FocalLoss(nn.Module):
    """Cross-entropy times (1 - probability of the true class) ** gamma (Lin et al., ICCV 2017), without weights."""

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (n, classes) and integer labels (n,) to a scalar."""
        log_probability = F.log_softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
        return (-((1 - log_probability.exp()) ** self.gamma) * log_probability).mean()


class FocalDiceLoss(nn.Module):
    """Binary focal loss plus soft Dice loss, for masks (Lin et al.; Milletari et al.)."""

    def __init__(self, gamma: float = 2.0, smooth: float = 1.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.smooth = smooth

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Logits (n, 1, h, w) and masks 0..1 of the same shape to a scalar."""
        cross_entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
        focal = ((1 - torch.exp(-cross_entropy)) ** self.gamma * cross_entropy).mean()
        return focal + soft_dice_loss(logits, masks, self.smooth)


class PartlyKnown(nn.Module):
    """A loss for classes where some pictures are known to be benign and no more (label below 0).

    Their loss is minus the logarithm of 1 - p(melanoma), the likelihood of what is known, without smoothing.

    Args:
        loss: for the others, a mean over its pictures.
        melanoma: position of that class.
    """

    def __init__(self, loss: nn.Module, melanoma: int) -> None:
        super().__init__()
        self.loss = loss
        self.melanoma = melanoma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (n, classes) and integer labels (n,) to a scalar, the mean over the pictures."""
        known = labels >= 0
        if bool(known.all()):
            complete: Tensor = self.loss(logits, labels)
            return complete
        benign = logits[~known]
        others = torch.cat([benign[:, : self.melanoma], benign[:, self.melanoma + 1 :]], 1)
        total = (torch.logsumexp(benign, 1) - torch.logsumexp(others, 1)).sum()
        if bool(known.any()):
            total = total + self.loss(logits[known], labels[known]) * known.sum()
        return total / len(labels)


def soft_dice_loss(logits: Tensor, masks: Tensor, smooth: float) -> Tensor:
    """One minus Dice of probabilities, per picture and then averaged, so that small lesions weigh as much as large.

    Milletari et al., 3DV 2016, in the form with plain sums in the denominator.
    """
    probability, truth = torch.sigmoid(logits).flatten(1), masks.flatten(1)
    overlap = (probability * truth).sum(1)
    return (1 - (2 * overlap + smooth) / (probability.sum(1) + truth.sum(1) + smooth)).mean()


def build_class_loss(config: LossConfig) -> nn.Module:
    """The loss for classes that a recipe names."""
    if config.name == "cross-entropy":
        return nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    return FocalLoss(config.focal_gamma)
