"""Figures, curves and re-calibration from labelled pictures, without torch; the trainer uses the same figures."""
