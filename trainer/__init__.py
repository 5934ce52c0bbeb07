"""Turn labelled dermoscopic pictures into a bundle that `edge_infer` reads: `python -m trainer --help`."""

from trainer import _torchvision_compat

_torchvision_compat.ensure_torchvision()
