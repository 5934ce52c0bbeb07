"""The papers' comparisons: systems trained on the same pictures and evaluated on the same test split, side by side."""
