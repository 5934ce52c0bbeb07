"""Networks that outline the lesion: normalised RGB (n, 3, h, w) in, logits (n, 1, h, w) out."""

from trainer.models.segmentation import encoders, mobile, resunet, unet, unetplusplus

__all__ = ["encoders", "mobile", "resunet", "unet", "unetplusplus"]
