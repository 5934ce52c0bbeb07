"""Turn labelled dermoscopic pictures into a bundle that `edge_infer` reads: `python -m trainer --help`."""

import os

from trainer import _torchvision_compat

# As `edge_infer.engines.install` does, for the modules here that import ONNX Runtime's tools directly.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
_torchvision_compat.ensure_torchvision()
