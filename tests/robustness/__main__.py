"""`python -m tests.robustness`: tries to break the runtime, and writes `tests/ROBUSTNESS.md` from what came of it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.robustness import determinism, faults, fuzz_decoders, fuzz_headers, load, network, soak
from tests.robustness.measure import REPOSITORY, SIZES, Measure, Trial, Wish
from tests.robustness.page import write_page

RESULTS = REPOSITORY / "tests" / "robustness" / "results.json"
TRIALS: dict[str, Trial] = {
    "headers": fuzz_headers.trial,
    "decoders": fuzz_decoders.trial,
    "faults": faults.trial,
    "soak": soak.trial,
    "load": load.trial,
    "determinism": determinism.trial,
    "network": network.trial,
}


def main() -> int:
    """Runs the wanted trials; exit code 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="seconds", help="how long it may take; the tests use seconds")
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"of: {', '.join(TRIALS)}; default: all")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="soak: diagnose these, and the worst cases")
    parser.add_argument("--count", type=int, metavar="N", help="soak: so many diagnoses")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="soak, determinism: with this bundle")
    parser.add_argument("--write", action="store_true", help="keep the results, and write tests/ROBUSTNESS.md from all")
    parser.add_argument("--page", action="store_true", help="try nothing: write the page from what is kept")
    wanted = parser.parse_args()
    if wanted.page:
        write_page(RESULTS)
        return 0
    if unknown := [name for name in wanted.trials if name not in TRIALS]:
        parser.error(f"there is no trial {', '.join(unknown)}; there are: {', '.join(TRIALS)}")
    wish = Wish(wanted.pictures, wanted.count, wanted.bundle, wanted.write)
    lost = 0
    for name in wanted.trials or TRIALS:
        start = time.monotonic()
        measure = TRIALS[name](wanted.size, wish)
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
