"""From two checkpoints to a bundle: graphs, ONNX files, parity gates, golden examples, manifest and model card."""
