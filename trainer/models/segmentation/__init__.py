"""Networks that outline the lesion: normalised RGB (n, 3, h, w) in, logits (n, 1, h, w) out."""

from trainer.models.segmentation import mobile

__all__ = ["mobile"]
