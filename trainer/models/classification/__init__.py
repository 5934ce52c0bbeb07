"""Networks that name the lesion: normalised RGB (n, 3, h, w) in, logits (n, classes) out."""

from trainer.models.classification import backbones, fusion, lite, mobile, resnet, simple_cnn

__all__ = ["backbones", "fusion", "lite", "mobile", "resnet", "simple_cnn"]
