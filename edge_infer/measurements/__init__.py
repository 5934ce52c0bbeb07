"""ABCD numbers of a lesion: asymmetry, border, colours, diameter. Measurements with units, no diagnosis.

The names are those of the ABCD rules (Friedman, Rigel, Kopf 1985; Nachbar et al. 1994). Both rules add points and draw
a line; nothing here does. What each number is, where it comes from, how far it can be trusted: `docs/measurements.md`.
"""
