"""Readers, splits, the decoded cache, and augmentation."""
