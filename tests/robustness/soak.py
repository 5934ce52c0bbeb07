"""One process diagnoses many pictures of mixed size and validity: memory, handles and throughput, as a CSV and a plot.

`python -m tests.robustness soak --pictures DIR --count N --bundle BUNDLE`; without pictures, drawn ones and the worst
cases of the tests.
"""

from __future__ import annotations

import csv
import gc
import itertools
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edge_infer import Diagnoser
from edge_infer.files import PICTURE_SUFFIXES
from edge_infer.steps.native import keep_off_stderr
from tests.robustness.measure import NO_WISH, REPOSITORY, Measure, Wish

COUNTS = {"seconds": 100, "minutes": 5_000, "hours": 100_000}
TABLE, PLOT = (REPOSITORY / "tests" / "robustness" / f"soak.{suffix}" for suffix in ("csv", "png"))
ROWS = 100
"""Lines of the CSV."""
MOST_GROWTH = 0.05
MOST_GROWTH_BYTES = 16e6
"""Memory of the last third may be this share, and this much, above that of the middle third."""
LEAST_THROUGHPUT = 0.8
"""Of the middle third's, in pictures for each second of processor time, which another program does not slow down."""
MAX_PIXELS = 20_000_000


class Row(NamedTuple):
    """The state of the process after so many pictures; seconds are since the row before."""

    pictures: int
    megabytes: float
    handles: int
    threads: int
    seconds: float
    processor_seconds: float
    answers: int
    refused: int
    failed: int


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """Memory that grows, handles that stay, throughput that falls, or another answer to the same picture is a loss."""
    measure = Measure("Soak: one process, pictures of mixed size and validity")
    with tempfile.TemporaryDirectory(prefix="edge-infer-soak-") as folder:
        pictures = _pictures(wish.pictures, Path(folder))
        bundle = wish.bundle or _toy(Path(folder, "toy"))
        total = wish.count or COUNTS[size]
        with Diagnoser.load(bundle, threads=1, providers=["cpu"], max_pixels=MAX_PIXELS) as diagnoser:
            rows = until_stopped(soak(diagnoser, pictures, total, measure), total, measure)
        measure.figures["bundle"] = f"{diagnoser.manifest.name} {diagnoser.manifest.version}"
    measure.figures["pictures"] = f"{len(pictures)} different files, in a random order"
    judge(rows, measure)
    if wish.keep:
        write_table(rows, TABLE)
        write_plot(rows, PLOT)
    return measure


def until_stopped(parts: Iterator[Row], total: int, measure: Measure) -> list[Row]:
    """The rows up to the end or Ctrl-C: hours of a run that is stopped are judged, and told to be a part."""
    rows: list[Row] = []
    try:
        for row in parts:
            rows.append(row)
    except KeyboardInterrupt:
        if not rows:
            raise
        measure.figures["not a whole run"] = f"stopped at {rows[-1].pictures:,} of {total:,}"
    measure.tried = rows[-1].pictures
    return rows


def soak(diagnoser: Diagnoser, pictures: list[Path], total: int, measure: Measure) -> Iterator[Row]:
    """Diagnoses one at a time and in batches by turns; a row after each part."""
    keep_off_stderr()
    cv2.setNumThreads(1)
    known: dict[Path, tuple[object, ...]] = {}
    rng = np.random.default_rng(17)
    part = max(1, total // ROWS)
    done = 0
    while done < total:
        chosen = [pictures[i] for i in rng.integers(len(pictures), size=min(part, total - done))]
        wall, processor, kinds = time.monotonic(), time.process_time(), Counter[str]()
        batch = int(rng.integers(1, 9))
        for path, answer in zip(chosen, diagnoser.diagnose_many(iter(chosen), batch, workers=1), strict=True):
            kinds[answer.status] += 1
            bits = (answer.status, answer.reason, answer.error and answer.error.code, answer.melanoma_probability)
            if known.setdefault(path, bits) != bits:
                measure.lose(f"'{path.name}' had {known[path]} and now has {bits}")
        done += len(chosen)
        gc.collect()
        yield Row(
            done,
            round(_resident() / 1e6, 3),
            _entries("/proc/self/fd"),
            _entries("/proc/self/task"),
            round(time.monotonic() - wall, 3),
            round(time.process_time() - processor, 3),
            kinds["ok"],
            kinds["indeterminate"],
            kinds["error"],
        )


def judge(rows: list[Row], measure: Measure) -> None:
    """Compares the last third with the middle one: the first still loads and learns."""
    third = max(1, len(rows) // 3)
    middle, last = rows[third : 2 * third] or rows, rows[-third:]
    memory = [float(np.median([row.megabytes for row in part])) for part in (middle, last)]
    rates = [_rate(part) for part in (middle, last)]
    measure.figures["memory, middle and last third"] = f"{memory[0]:.0f} and {memory[1]:.0f} MB"
    measure.figures["handles"] = f"{rows[0].handles} to {rows[-1].handles}"
    measure.figures["throughput"] = f"{rates[0]:.1f} and {rates[1]:.1f} pictures for a second of processor time"
    if memory[1] > memory[0] * (1 + MOST_GROWTH) + MOST_GROWTH_BYTES / 1e6:
        measure.lose(f"memory grew from {memory[0]:.0f} to {memory[1]:.0f} MB")
    if rows[-1].handles > rows[0].handles or rows[-1].threads > rows[0].threads:
        measure.lose(
            f"handles {rows[0].handles} to {rows[-1].handles}, threads {rows[0].threads} to {rows[-1].threads}"
        )
    if len(rows) >= ROWS and sum(row.processor_seconds for row in last) > 20 and rates[1] < LEAST_THROUGHPUT * rates[0]:
        measure.lose(f"throughput fell from {rates[0]:.1f} to {rates[1]:.1f} pictures for a second of processor time")


def _rate(rows: list[Row]) -> float:
    pictures = sum(row.answers + row.refused + row.failed for row in rows)
    return pictures / max(1e-9, sum(row.processor_seconds for row in rows))


def _entries(folder: str) -> int:
    return len(list(Path(folder).iterdir())) if Path(folder).exists() else 0


def _resident() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return float(int(statm.read_text().split()[1]) * resource.getpagesize())
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _pictures(folder: Path | None, made: Path) -> list[Path]:
    if folder is not None:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
        if not found:
            raise SystemExit(f"There is no picture in '{folder}'.")
    else:
        found = list(_drawn(made))
    return [*found, *_hostile(made)]


def _drawn(folder: Path) -> Iterator[Path]:
    from trainer.data.drawn import draw_picture

    for number, (height, width) in enumerate(itertools.product((96, 450), (128, 600))):
        image = draw_picture(np.random.default_rng(number), height, width, "nv").image
        for suffix in (".png", ".jpg"):
            path = folder / f"drawn-{number}{suffix}"
            cv2.imwrite(str(path), image[..., ::-1])
            yield path


def _hostile(folder: Path) -> Iterator[Path]:
    from tests.support.hostile_files import CASES

    for number, case in enumerate(CASES.values()):
        path = folder / f"case-{number}"
        path.write_bytes(case.make())
        if path.stat().st_size < 200_000:
            yield path
    yield folder / "gone.png"


def _toy(folder: Path) -> Path:
    from tests.support.toy_bundle import write_toy_bundle

    return write_toy_bundle(folder)


def write_table(rows: list[Row], path: Path) -> None:
    """Writes the CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)


def write_plot(rows: list[Row], path: Path) -> None:
    """Draws memory, handles and throughput over the number of pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = [row.pictures for row in rows]
    values = {
        "memory, MB": [row.megabytes for row in rows],
        "open handles": [float(row.handles) for row in rows],
        "pictures a CPU second": [_rate([row]) for row in rows],
    }
    for axes, (title, line) in zip(figure.subplots(1, 3), values.items(), strict=True):
        axes.plot(drawn, line, linewidth=1)
        axes.set(title=title, xlabel="pictures", ylim=(0, 1.15 * max(line)))
    figure.savefig(path, dpi=100)
