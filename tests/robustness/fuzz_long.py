"""Fuzzes for minutes or hours, and adds up: `python -m tests.robustness.fuzz_long --minutes 60`.

It may be stopped and started again at any time: what is done is in `fuzz_totals.json` beside this file within a minute,
and the next call goes on from there. Both fuzzers run side by side, each on one processor.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_infer.files import write_atomically
from tests.robustness.fuzz_decoders import block
from tests.robustness.fuzz_headers import FINDINGS, command, fill_corpus
from tests.robustness.measure import REPOSITORY, environment

TOTALS = Path(__file__).parent / "fuzz_totals.json"
CORPUS = FINDINGS / "corpus"
_SLICE = 60
_BLOCK = 2_000


class Totals:
    """What all runs together have done; every change is on the disk at once."""

    def __init__(self, file: Path = TOTALS) -> None:
        """Goes on from a stored file."""
        self._file, self._lock = file, threading.Lock()
        self.values: dict[str, dict[str, Any]] = {}
        if file.exists():
            self.values = json.loads(file.read_text(encoding="utf-8"))

    def of(self, fuzzer: str) -> dict[str, Any]:
        """One fuzzer's: executions, seconds, losses in words."""
        with self._lock:
            return dict(self.values.setdefault(fuzzer, {"executions": 0, "seconds": 0.0, "losses": []}))

    def add(self, fuzzer: str, executions: int, seconds: float, losses: list[str], **facts: Any) -> None:
        """Adds a piece of work; `facts` replace earlier ones, counts in a dict are added."""
        known = self.of(fuzzer)
        with self._lock:
            known["executions"] += executions
            known["seconds"] = round(known["seconds"] + seconds, 1)
            known["losses"] = [*known["losses"], *losses][:50]
            for name, fact in facts.items():
                if isinstance(fact, dict):
                    before = known.get(name, {})
                    fact = {key: before.get(key, 0) + fact.get(key, 0) for key in sorted({*before, *fact})}
                known[name] = fact
            self.values[fuzzer] = known
            write_atomically(self._file, (json.dumps(self.values, indent=1) + "\n").encode())


def fuzz_headers(totals: Totals, deadline: float) -> None:
    """Coverage-guided, in slices of a minute over one growing corpus."""
    if find_spec("atheris") is None:
        print("headers: atheris is not installed (pip install atheris)", flush=True)
        return
    CORPUS.mkdir(parents=True, exist_ok=True)
    fill_corpus(CORPUS)
    while (left := deadline - time.monotonic()) > 1:
        start = time.monotonic()
        with tempfile.TemporaryFile("w+") as log:
            wanted = [f"-max_total_time={max(1, min(_SLICE, int(left)))}", "-print_final_stats=1"]
            done = subprocess.run(
                command(CORPUS, *wanted), cwd=REPOSITORY, env=environment(), stdout=log, stderr=log, check=False
            )
            log.seek(0)
            text = log.read()
        found = re.findall(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+)", text, re.MULTILINE)
        final = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text)
        executions = int(final[-1]) if final else int(found[-1][0]) if found else 0
        losses = [] if done.returncode == 0 else [f"exit {done.returncode}: {text[-600:]}"]
        coverage = {"edges": int(found[-1][1]), "features": int(found[-1][2])} if found else {}
        totals.add("headers", executions, time.monotonic() - start, losses, **coverage)
        if not executions:
            print(f"headers: nothing ran: {text[-600:]}", flush=True)
            return


def fuzz_decoders(totals: Totals, deadline: float) -> None:
    """Mutations by number, from where the last run stopped."""
    while time.monotonic() < deadline:
        first = int(totals.of("decoders").get("next", 0))
        start = time.monotonic()
        reached, ends, losses = block(first, first + _BLOCK)
        totals.add("decoders", reached - first, time.monotonic() - start, losses, next=reached, ends=dict(ends))


def main() -> int:
    """Exit code 1 where anything was lost in this or an earlier run."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.fuzz_long", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--only", choices=("headers", "decoders"))
    wanted = parser.parse_args()
    totals, deadline = Totals(), time.monotonic() + 60 * wanted.minutes
    fuzzers = {"headers": fuzz_headers, "decoders": fuzz_decoders}
    threads = [
        threading.Thread(target=fuzz, args=(totals, deadline))
        for name, fuzz in fuzzers.items()
        if wanted.only in (None, name)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in fuzzers:
        known = totals.of(name)
        print(f"{name}: {known['executions']:,} executions in {known['seconds']:,.0f} s, {len(known['losses'])} lost")
    return 1 if any(totals.of(name)["losses"] for name in fuzzers) else 0


if __name__ == "__main__":
    sys.exit(main())
