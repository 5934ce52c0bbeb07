"""What a bundle decides by, chosen from stored predictions and measures: temperature, thresholds, limits."""
