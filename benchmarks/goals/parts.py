"""What the time outside the networks, and that of a cold start, consists of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from edge_infer.benchmark.cold import BARE, timed_process
from edge_infer.diagnoser import Diagnoser, step_rules
from edge_infer.geometry import Box
from edge_infer.steps.crop import crop_roi, roi_box
from edge_infer.steps.image import DEFAULT_MAX_PIXELS, open_picture
from edge_infer.steps.mask import clean_mask, lesion_confidence, restore_lesion
from edge_infer.steps.quality import measure_quality
from edge_infer.steps.resize import resize

Milliseconds = Mapping[str, Sequence[float]]


def outside_parts(diagnoser: Diagnoser, pictures: Sequence[bytes], rounds: int) -> Milliseconds:
    """Milliseconds of each step of `edge_infer.steps.work` on encoded pictures, with the networks run between them, so
    that the processor's caches are as they are in use.

    Args:
        diagnoser: of one thread.
        pictures: JPEGs that show a lesion, too small to be decoded at a part of their size.
        rounds: over all pictures.
    """
    rules, manifest = step_rules(diagnoser.manifest), diagnoser.manifest
    spec, size = manifest.segmenter.input, manifest.classifier.input.height
    spent: dict[str, list[float]] = {}

    class Lap:
        def __init__(self) -> None:
            self.start = time.perf_counter()

        def __call__(self, step: str | None) -> None:
            now = time.perf_counter()
            if step is not None:
                spent.setdefault(step, []).append((now - self.start) * 1000)
            self.start = time.perf_counter()

    for number in range(rounds * len(pictures)):
        lap = Lap()
        picture = open_picture(
            pictures[number % len(pictures)], max_pixels=DEFAULT_MAX_PIXELS, min_side=rules.decode_side
        )
        lap("decode")
        pixels = resize(picture.pixels, spec.height, spec.width)
        lap("resize to the segmenter")
        measure_quality(pixels)
        lap("quality")
        probability = diagnoser.segment(pixels[None])[0]
        lap(None)
        small = clean_mask(probability, rules.mask.threshold)
        lesion_confidence(probability, small)
        lap("clean-up")
        lesion = restore_lesion(small, picture.height, picture.width)
        lap("mask at the picture's size")
        box = roi_box(
            lesion.box or Box(0, 0, picture.width, picture.height),
            picture.height,
            picture.width,
            rules.roi.margin,
            rules.roi.outside,
        )
        roi = crop_roi(picture.pixels, lesion.mask, box, rules.roi, size)
        lap("crop for the classifier")
        diagnoser.classify(roi[None])
    return spent


def cold_parts(bundle: Path, picture: Path, starts: int) -> Milliseconds:
    """Milliseconds of whole processes, each of which does a part more than the one before; started in turn."""
    leave = "print('done', flush=True); os._exit(0)"
    modules = "import edge_infer.cli.app, edge_infer.cli.diagnose, edge_infer.diagnoser, edge_infer.output.sink"
    load = f"d = edge_infer.diagnoser.Diagnoser.load({str(bundle.resolve())!r}, providers=['cpu'])"
    answer = f"d.diagnose({str(picture)!r})"
    libraries = BARE[1]
    stages = {
        "interpreter": "import os",
        "libraries": libraries,
        "command line and modules": f"{libraries}; {modules}",
        "networks": f"{libraries}; {modules}; {load}",
        "first picture": f"{libraries}; {modules}; {load}; {answer}",
    }
    spent: dict[str, list[float]] = {name: [] for name in stages}
    for number in range(starts + 1):
        for name, code in stages.items():
            took, done = timed_process(("-c", f"{code}; {leave}"))
            if not done:
                raise RuntimeError(f"a process failed that does: {name}")
            if number:
                spent[name].append(took)
    return spent


def told(parts: Milliseconds) -> str:
    """The medians in words."""
    return ", ".join(f"{name} {median(values):.2f}" for name, values in parts.items())


def told_as_steps(parts: Milliseconds) -> str:
    """What each stage adds to the one before, in words."""
    before, words = 0.0, []
    for name, values in parts.items():
        words.append(f"{name} {median(values) - before:.0f}")
        before = median(values)
    return ", ".join(words)
