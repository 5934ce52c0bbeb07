"""Variants of a bundle: both networks in other forms, each proven on real pictures before it is kept.

Everything that is chosen here (activation ranges, biases, which layers stay float) is chosen on the training split. The
parity gates then judge the finished files on the validation split, against the PyTorch float32 model.
"""

from trainer.bundle.variants.adding import Request, add_variants, open_variant
from trainer.bundle.variants.kinds import ALIASES, KINDS, Kind, parse_names

__all__ = ["ALIASES", "KINDS", "Kind", "Request", "add_variants", "open_variant", "parse_names"]
