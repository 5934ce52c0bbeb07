"""Conformance vectors: every step of `exported/README.md` with its inputs and results, for ports in any language.

`write` makes them for a bundle, `run` replays them with this runtime; the format is in this package's `README.md`.
"""
