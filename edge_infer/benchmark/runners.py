"""Runners: one loaded configuration that diagnoses pictures on command and says how long it took."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_infer.benchmark.results import STAGES, ResultsError
from edge_infer.benchmark.setting import Pictures
from edge_infer.bundle.golden import read_golden
from edge_infer.bundle.manifest import DEFAULT_VARIANT
from edge_infer.bundle.store import Bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import Diagnosis
from edge_infer.engines.base import Engine
from edge_infer.steps.image import open_picture

_GOLDEN_SIZE = (450, 600)
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Sample:
    """One query: wall time, CPU time of the whole process, and wall time by stage, in milliseconds."""

    wall_ms: float
    cpu_ms: float
    stages_ms: Mapping[str, float]


@dataclass(frozen=True)
class Segment:
    """A stretch of back-to-back work."""

    pictures: int
    seconds: float
    cpu_seconds: float


class Runner(Protocol):
    """One configuration under test. `name` is unique within a run."""

    name: str

    def query(self, first: int, size: int) -> Sample:
        """Diagnoses `size` pictures, beginning with number `first` (modulo the number of pictures), as one query."""
        ...

    def segment(self, seconds: float, batch_size: int, workers: int) -> Segment:
        """Diagnoses batches back to back for at least `seconds` with `workers` callers at the same time."""
        ...

    def statuses(self) -> dict[str, int]:
        """How many pictures are "ok" and how many "indeterminate"; every picture is diagnosed once."""
        ...


class TimedEngine:
    """An engine that notes how long each call took. Calls from several threads are noted in any order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.provider = engine.provider
        self.metadata = engine.metadata
        self.input_shape = engine.input_shape
        self.warnings = engine.warnings
        self.outputs = engine.outputs
        self.seconds: list[float] = []

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        start = time.perf_counter()
        result = self._engine.run(batch)
        self.seconds.append(time.perf_counter() - start)
        return result

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.run_named`."""
        start = time.perf_counter()
        results = self._engine.run_named(batch, names)
        self.seconds.append(time.perf_counter() - start)
        return results

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()


class LocalRunner:
    """Two engines behind a `Diagnoser`, in this process."""

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        segmenter: Engine,
        classifier: Engine,
        pictures: Sequence[bytes],
        threads: int,
        variant: str = DEFAULT_VARIANT,
    ) -> None:
        """Joins them.

        Args:
            name: of the configuration.
            bundle: its rules.
            segmenter: loaded.
            classifier: loaded.
            pictures: encoded.
            threads: that OpenCV may use, as the networks do; it is set before every measurement.
            variant: of the bundle, that the engines hold.
        """
        self.name = name
        self._threads = threads
        self._pictures = pictures
        self._engines = TimedEngine(segmenter), TimedEngine(classifier)
        self.diagnoser = Diagnoser(bundle, *self._engines, variant=variant)

    def query(self, first: int, size: int) -> Sample:
        """See `Runner.query`."""
        cv2.setNumThreads(self._threads)
        batch = [self._pictures[(first + i) % len(self._pictures)] for i in range(size)]
        for engine in self._engines:
            engine.seconds.clear()
        cpu, start = time.process_time(), time.perf_counter()
        if size == 1:
            found = [self.diagnoser.diagnose(batch[0])]
        else:
            found = list(self.diagnoser.diagnose_many(batch, batch_size=size))
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        networks = sum(sum(engine.seconds) for engine in self._engines)
        stages = {stage: sum(item.timings_ms.get(stage, 0.0) for item in found) for stage in STAGES}
        return Sample(wall * 1000, cpu * 1000, {**stages, "outside_networks": (wall - networks) * 1000})

    def segment(self, seconds: float, batch_size: int, workers: int) -> Segment:
        """See `Runner.segment`."""
        cv2.setNumThreads(1 if workers > 1 else self._threads)
        counts = [0] * workers
        failures: list[BaseException] = []
        begin = threading.Barrier(workers + 1)
        end = [0.0]

        def work(worker: int) -> None:
            stream = self._endless(worker * len(self._pictures) // workers)
            begin.wait()
            try:
                while time.perf_counter() < end[0]:
                    batch = list(islice(stream, batch_size))
                    counts[worker] += sum(1 for _ in self.diagnoser.diagnose_many(batch, batch_size=batch_size))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
        for thread in threads:
            thread.start()
        cpu, start = time.process_time(), time.perf_counter()
        end[0] = start + seconds
        begin.wait()
        for thread in threads:
            thread.join()
        spent, cpu = time.perf_counter() - start, time.process_time() - cpu
        if failures:
            raise failures[0]
        for engine in self._engines:
            engine.seconds.clear()
        return Segment(sum(counts), spent, cpu)

    def statuses(self) -> dict[str, int]:
        """See `Runner.statuses`."""
        cv2.setNumThreads(self._threads)
        return count_statuses(self.diagnoser.diagnose_many(self._pictures))

    def close(self) -> None:
        """Frees both networks."""
        self.diagnoser.close()

    def _endless(self, first: int) -> Iterator[bytes]:
        while True:
            yield self._pictures[first % len(self._pictures)]
            first += 1


def count_statuses(diagnoses: Iterable[Diagnosis]) -> dict[str, int]:
    """Counts by status.

    Raises:
        ResultsError: a picture could not be read; a benchmark on it would time the failure.
    """
    counts: Counter[str] = Counter()
    for number, diagnosis in enumerate(diagnoses):
        if diagnosis.status == "error":
            raise ResultsError(f"Picture {number} cannot be used: {diagnosis.message}", "Leave it out.")
        counts[diagnosis.status] += 1
    return dict(counts)


def skipped_notes(statuses: Mapping[str, int]) -> tuple[str, ...]:
    """A note where some pictures have no probability: the classifier may not have run on them, which is quicker."""
    skipped = statuses.get("indeterminate", 0)
    if not skipped:
        return ()
    count = sum(statuses.values())
    return (f"{skipped} of {count} pictures got no probability; the classifier may not have run on them.",)


def load_pictures(paths: Sequence[Path], bundle: Bundle) -> tuple[list[bytes], Pictures]:
    """The pictures to diagnose, encoded, in memory.

    Args:
        paths: files, or folders of pictures; none: the bundle's golden pictures, enlarged to 600x450 and encoded as
            JPEG, so that devices without pictures measure the same ones.
        bundle: where the golden pictures are.

    Raises:
        ResultsError: no picture is there.
        ImageError: one cannot be read.
    """
    if paths:
        encoded, source = read_pictures(paths), "given by the user"
    else:
        encoded, source = _golden_pictures(bundle), "the bundle's golden pictures, as JPEG of 600x450"
    sizes = Counter(_size(data) for data in encoded)
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in encoded)).hexdigest()
    named = tuple(f"{size}: {count}" for size, count in sorted(sizes.items()))
    return encoded, Pictures(source, len(encoded), named, digest)


def read_pictures(paths: Sequence[Path]) -> list[bytes]:
    """The encoded pictures at these paths, folders in the order of their files' names.

    Raises:
        ResultsError: there is none.
    """
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    encoded = [file.read_bytes() for file in files if file.suffix.lower() in _SUFFIXES]
    if not encoded:
        raise ResultsError("There is no picture to diagnose there.", "Give picture files, or a folder of them.")
    return encoded


def _size(data: bytes) -> str:
    picture = open_picture(data)
    return f"{picture.width}x{picture.height}"


def _golden_pictures(bundle: Bundle) -> list[bytes]:
    encoded = []
    for steps in read_golden(bundle.path / bundle.manifest.golden.file):
        image = cv2.resize(steps["image"], _GOLDEN_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
        if not done:
            raise ResultsError("OpenCV cannot write JPEG here.", "Give pictures with --pictures.")
        encoded.append(data.tobytes())
    return encoded
