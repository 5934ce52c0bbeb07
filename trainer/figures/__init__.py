"""Figures for people: cases side by side, and maps of what a classifier looked at.

They show patients' pictures, so they go to the folder that the caller names and never into the repository. Curves from
numbers alone are in `trainer.scoring.plots`.
"""
