"""What runs a network: ONNX Runtime, OpenVINO or Core ML behind one protocol, chosen and loaded here."""
