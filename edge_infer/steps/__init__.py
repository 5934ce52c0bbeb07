"""The numbered steps of `exported/README.md`, from file bytes to the crop, in NumPy and OpenCV."""
