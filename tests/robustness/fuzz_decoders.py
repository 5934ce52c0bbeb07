"""Mutation fuzzing of the native decoders, through intake, in a child with limits of memory and time.

Every input follows from its number alone, so a crash is repeated by `python -m tests.robustness.fuzz_decoders N N+1`.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.robustness.measure import NO_WISH, REPOSITORY, Measure, Wish, environment, share_of_a_core, throttled

RUNS = {"seconds": 3_000, "minutes": 30_000, "hours": 200_000}
MAX_PIXELS = 2**22
MEMORY = 2**29
"""Bytes of address space that decoding may take beside what the process has: far above 12 a pixel of `MAX_PIXELS`."""
SECONDS = 20.0
"""Processor time for one input; a picture of `MAX_PIXELS` takes well under one."""


def seeds() -> list[bytes]:
    """Small files of every format and of the layouts that decoders treat apart."""
    from PIL import Image

    from tests.support.hostile_files import CASES, animated, encoded, pixels

    small = Image.fromarray(pixels(24, 32))
    found = [encoded("JPEG", small, progressive=progressive, quality=q) for progressive in (0, 1) for q in (30, 95)]
    found += [encoded("JPEG", small.convert("CMYK")), encoded("JPEG", small.convert("L"))]
    found += [encoded("PNG", small.convert(mode)) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
    found += [encoded("BMP", small.convert(mode)) for mode in ("RGB", "L", "P", "1")]
    found += [encoded("WEBP", small, lossless=lossless) for lossless in (True, False)]
    for compression in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        found.append(encoded("TIFF", small, **({"compression": compression} if compression else {})))
    found += [encoded("TIFF", small.convert("1"), compression="group4"), encoded("TIFF", small.convert("CMYK"))]
    found += [animated(format) for format in ("PNG", "WEBP", "TIFF")]
    made = (case.make() for name, case in CASES.items() if "bomb" not in name)
    return found * 4 + [data for data in made if 0 < len(data) < 20_000]


def mutated(number: int, pool: list[bytes]) -> bytes:
    """The input of this number: some bytes, words and blocks of a seed changed, moved, doubled or cut."""
    rng = np.random.default_rng(number)
    data = bytearray(pool[int(rng.integers(len(pool)))])
    for _ in range(int(rng.integers(1, 9))):
        if not data:
            break
        at = int(len(data) * rng.random() ** 2)
        kind = int(rng.integers(8))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
        elif kind == 2:
            value = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 65_535 * 16]))
            data[at : at + 4] = struct.pack(">I" if rng.random() < 0.5 else "<I", value)
        elif kind == 3:
            data[at : at + 2] = struct.pack(">H" if rng.random() < 0.5 else "<H", int(rng.integers(65_536)))
        elif kind == 4:
            data[at:at] = data[at : at + int(rng.integers(1, 200))]
        elif kind == 5:
            del data[at : at + int(rng.integers(1, 50))]
        elif kind == 6:
            data[at:] = pool[int(rng.integers(len(pool)))][at:]
        else:
            data[at : at + 8] = rng.bytes(8)
    return bytes(data)


def child(first: int, last: int, progress: Path) -> None:
    """Works inputs off; says in `progress` which one it is at, and prints how they ended."""
    import resource

    import cv2

    from edge_infer.errors import ImageError
    from edge_infer.steps.image import open_picture
    from edge_infer.steps.native import keep_off_stderr

    cv2.setNumThreads(1)
    keep_off_stderr()
    pool = seeds()
    for number in range(10):
        _try(open_picture, pool[number])
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    ends: Counter[str] = Counter()
    with progress.open("r+b") as stream, mmap.mmap(stream.fileno(), 8) as shared:
        for number in range(first, last):
            shared[:8] = struct.pack("<Q", number)
            data = mutated(number, pool)
            start = time.process_time()
            side = 8 if number % 2 else None
            try:
                picture = open_picture(data, max_pixels=MAX_PIXELS, min_side=side)
                assert picture.height * picture.width <= MAX_PIXELS
                assert picture.pixels.dtype == np.uint8 and picture.pixels.ndim == 3 and picture.pixels.shape[2] == 3
                ends["pictures"] += 1
            except ImageError as error:
                ends[type(error).__name__] += 1
            if time.process_time() - start > SECONDS:
                raise TimeoutError(f"input {number} took {time.process_time() - start:.1f} s")
        shared[:8] = struct.pack("<Q", last)
    print(json.dumps(ends))


def _try(function: object, data: bytes) -> None:
    from edge_infer.errors import ImageError

    with contextlib.suppress(ImageError):
        function(data)  # type: ignore[operator]


def block(first: int, last: int) -> tuple[int, Counter[str], list[str]]:
    """Works inputs off in a child, up to the first that is lost.

    Returns:
        The first input that was not tried, how inputs ended (of a child that ended well), and losses in words: a
        crash, an untyped error, or an input beyond its limits.
    """
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder, "progress")
        progress.write_bytes(struct.pack("<Q", first))
        command = [sys.executable, "-m", "tests.robustness.fuzz_decoders", str(first), str(last), str(progress)]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with throttled(process, share_of_a_core()):
            out, complaint = process.communicate()
        (at,) = struct.unpack("<Q", progress.read_bytes())
    if process.returncode == 0:
        ends = Counter(json.loads(out.splitlines()[-1]))
        return last, ends, [f"inputs {first} to {last}: on stderr: {complaint[:300]}"] if complaint else []
    words = (complaint.strip().splitlines() or ["no words"])[-1]
    return at + 1, Counter(), [f"input {at}: exit {process.returncode}: {words[:300]}"]


def trial(size: str, wish: Wish = NO_WISH) -> Measure:
    """The run goes on after a loss."""
    measure = Measure("Native decoders, mutated files")
    ends: Counter[str] = Counter()
    number, last = 0, RUNS[size]
    while number < last:
        number, more, losses = block(number, min(number + 20_000, last))
        ends += more
        for loss in losses:
            measure.lose(loss)
    measure.tried = last
    measure.figures["ends"] = ", ".join(f"{count:,} {name}" for name, count in ends.most_common())
    return measure


if __name__ == "__main__":
    child(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
