"""Networks that name the lesion: normalised RGB (n, 3, h, w) in, logits (n, classes) out."""

from trainer.models.classification import mobile

__all__ = ["mobile"]
