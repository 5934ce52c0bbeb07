"""From trained networks to the files of a bundle: ONNX, Core ML, int8, rounding, gates, manifest."""
