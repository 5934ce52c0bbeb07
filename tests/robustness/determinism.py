"""The same picture, the same bits: alone, again, in batches, over threads and workers, and in other processes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_infer import Diagnoser, Diagnosis
from edge_infer.bundle.store import DEFAULT_BUNDLE
from tests.robustness.measure import NO_WISH, REPOSITORY, Measure, Wish, environment
from trainer.data.drawn import draw_picture

PICTURES = {"seconds": 4, "minutes": 24, "hours": 200}
WAYS = ((1, 1), (8, 1), (3, 3), (1, 3), (2, 1), (2, 3), (3, 1), (8, 3))
"""Pictures in a batch, and workers."""
THREADS = (1, 2, 4)
TOLERANCE = 0.0
"""Largest difference of a probability: ONNX Runtime on a processor gives the same bits, however it is asked. Other
engines and machines are held to the bundle's own tolerance by `edge-infer verify`."""

Answer = tuple[str, float | None, str | None, str]


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """A bit that differs is a loss."""
    measure = Measure("Determinism: batches, threads, workers, processes")
    bundle = wish.bundle or REPOSITORY / "exported" / DEFAULT_BUNDLE
    with tempfile.TemporaryDirectory(prefix="edge-infer-bits-") as folder:
        pictures = list(_pictures(Path(folder), PICTURES[size]))
        with Diagnoser.load(bundle, threads=1, providers=["cpu"]) as diagnoser:
            wanted = answers(diagnoser, pictures, batch=1)
        measure.figures["answers"] = ", ".join(
            f"{sum(one[0] == status for one in wanted)} {status}" for status in ("ok", "indeterminate", "error")
        )
        for threads in THREADS:
            with Diagnoser.load(bundle, threads=threads, providers=["cpu"]) as diagnoser:
                for batch, workers in WAYS[: 3 if size == "seconds" else None]:
                    found = answers(diagnoser, pictures, batch, workers)
                    _compare(f"{threads} threads, batches of {batch}, {workers} workers", found, wanted, measure)
                backwards = answers(diagnoser, pictures[::-1], batch=3)[::-1]
                _compare(f"{threads} threads, backwards in batches of 3", backwards, wanted, measure)
        for seed in ("0", "1"):
            _compare(f"a process with hash seed {seed}", _elsewhere(bundle, pictures, seed), wanted, measure)
    return measure


def answers(diagnoser: Diagnoser, pictures: list[Path], batch: int, workers: int = 1) -> list[Answer]:
    """What it says, bit for bit."""
    return [_bits(answer) for answer in diagnoser.diagnose_many(pictures, batch, workers=workers)]


def _bits(answer: Diagnosis) -> Answer:
    parts = (answer.mask, answer.roi, *(np.float64(value) for value in answer.probabilities.values()))
    digest = hashlib.sha256(b"".join(b"" if part is None else part.tobytes() for part in parts)).hexdigest()
    return answer.status, answer.melanoma_probability, answer.label, digest


def _compare(what: str, found: list[Answer], wanted: list[Answer], measure: Measure) -> None:
    measure.tried += len(found)
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one != other:
            measure.lose(f"{what}: picture {number}: {one[:3]} in place of {other[:3]}")


def _elsewhere(bundle: Path, pictures: list[Path], seed: str) -> list[Answer]:
    command = [sys.executable, "-m", "tests.robustness.determinism", str(bundle), *map(str, pictures)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**environment(), "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(one) for one in json.loads(done.stdout)]


def _pictures(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        kind = ("nv", "mel", "bkl", "bcc")[number % 4]
        image = draw_picture(np.random.default_rng(number), 300 + 40 * (number % 3), 400, kind).image
        paths.append(folder / f"{number}{('.png', '.jpg')[number % 2]}")
        cv2.imwrite(str(paths[-1]), image[..., ::-1])
    return paths


if __name__ == "__main__":
    with Diagnoser.load(sys.argv[1], threads=1, providers=["cpu"]) as loaded:
        print(json.dumps(answers(loaded, [Path(text) for text in sys.argv[2:]], batch=2)))
