"""Bundles: the manifest, its strict parsing, finding and verifying one, and its golden examples."""
