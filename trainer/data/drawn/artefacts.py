"""What lies over skin and lesion: gel reflections, air bubbles, ruler marks and hairs."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.data.drawn.brush import Field, jitter, lay, point


def draw_artefacts(rng: np.random.Generator, planes: Field, unit: float) -> None:
    """Gel reflections, air bubbles and ruler marks, in place and sparingly."""
    height, width = planes.shape[1:]
    if rng.random() < 0.35:  # reflections: short bright strokes
        shine = np.zeros((height, width), np.uint8)
        middle = np.array((rng.uniform(0, width), rng.uniform(0, height)))
        for _ in range(int(rng.integers(4, 22))):
            start = middle + rng.normal(0, 60 * unit, 2)
            end = start + rng.normal(0, 7 * unit, 2)
            cv2.line(shine, point(start), point(end), 255, 1, cv2.LINE_AA)
        alpha = cv2.GaussianBlur(shine, (0, 0), 0.8).astype(np.float32) / np.float32(255)
        lay(planes, (250, 244, 246), alpha * np.float32(0.8))
    if rng.random() < 0.15:  # air bubbles: bright rings
        rings = np.zeros((height, width), np.uint8)
        for _ in range(int(rng.integers(1, 6))):
            centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(rings, centre, max(2, round(rng.uniform(4, 12) * unit)), 255, 1, cv2.LINE_AA)
        alpha = cv2.GaussianBlur(rings, (0, 0), 0.7).astype(np.float32) / np.float32(255)
        lay(planes, (246, 236, 236), alpha * np.float32(0.7))
    if rng.random() < 0.10:  # ruler marks along the lower edge
        step = max(4, round(22 * unit))
        for i, column in enumerate(range(step, width, step)):
            length = round((26 if i % 5 == 0 else 14) * unit)
            planes[:, height - length :, column : column + max(1, round(unit))] = 60


def draw_hairs(rng: np.random.Generator, planes: Field, count: int, unit: float) -> None:
    """So many bent hairs of one colour, roughly along one direction, in place."""
    if not count:
        return
    height, width = planes.shape[1:]
    layer = np.zeros((height, width), np.uint8)
    common = rng.uniform(0, 2 * np.pi)
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(count):
        angle = common + rng.normal(0, 0.7)
        length = rng.uniform(0.25, 0.9) * width
        start = np.array((rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height))
        end = start + length * np.array((np.cos(angle), np.sin(angle)))
        bend = (start + end) / 2 + rng.normal(0, 0.15 * length, 2)
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        thickness = max(1, round(rng.uniform(0.8, 2.4) * unit))
        shift = 4
        points = np.round(curve * 2**shift).astype(np.int32)
        cv2.polylines(layer, [points], False, int(rng.integers(170, 255)), thickness, cv2.LINE_AA, shift)
    alpha = cv2.GaussianBlur(layer, (0, 0), 0.6).astype(np.float32) / np.float32(255)
    lay(planes, jitter(rng, (64, 48, 44), 14), alpha * np.float32(0.9))
