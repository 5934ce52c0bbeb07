"""The papers' comparisons and the ablations: systems trained and evaluated side by side."""
