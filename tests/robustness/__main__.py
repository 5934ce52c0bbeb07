"""`python -m tests.robustness`: tries to break the runtime, and writes `tests/ROBUSTNESS.md` from what came of it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.robustness import fuzz_decoders, fuzz_headers
from tests.robustness.measure import REPOSITORY, SIZES, Measure, Trial
from tests.robustness.page import write_page

RESULTS = REPOSITORY / "tests" / "robustness" / "results.json"
TRIALS: dict[str, Trial] = {
    "headers": fuzz_headers.trial,
    "decoders": fuzz_decoders.trial,
}


def main() -> int:
    """Runs the wanted trials; exit code 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="seconds", help="how long it may take; the tests use seconds")
    parser.add_argument("--only", nargs="+", choices=TRIALS, metavar="TRIAL", help=f"of: {', '.join(TRIALS)}")
    parser.add_argument("--write", action="store_true", help="keep the results, and write tests/ROBUSTNESS.md from all")
    wanted = parser.parse_args()
    lost = 0
    for name in wanted.only or TRIALS:
        start = time.monotonic()
        measure = TRIALS[name](wanted.size)
        measure.seconds = time.monotonic() - start
        lost += measure.lost
        print(f"{measure.title}: {measure.tried:,} tried, {measure.lost} lost, {measure.seconds:.0f} s", flush=True)
        for key, figure in {
            **measure.figures,
            **{f"lost {i + 1}": loss for i, loss in enumerate(measure.losses)},
        }.items():
            print(f"  {key}: {figure}", flush=True)
        if wanted.write:
            keep(RESULTS, wanted.size, name, measure)
    if wanted.write:
        write_page(RESULTS)
    return 1 if lost else 0


def keep(file: Path, size: str, name: str, measure: Measure) -> None:
    """Puts one trial's result into the stored ones, in place of an earlier one of the same size."""
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    machine = f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}"
    stored.setdefault(size, {})[name] = {**asdict(measure), "machine": machine}
    file.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
