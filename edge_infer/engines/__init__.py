"""What runs a network: ONNX Runtime or Core ML behind one protocol, chosen and loaded here."""
