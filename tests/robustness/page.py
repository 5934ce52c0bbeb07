"""`tests/ROBUSTNESS.md` from the stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.robustness.fuzz_long import TOTALS
from tests.robustness.measure import REPOSITORY, SIZES
from tests.robustness.soak import PLOT, TABLE

PAGE = REPOSITORY / "tests" / "ROBUSTNESS.md"
GOALS = {"headers": 10_000_000, "decoders": 200_000}
_FUZZED = {"headers": "intake's own code (atheris)", "decoders": "native decoders, mutated files"}


def write_page(results: Path) -> None:
    """Writes the page."""
    stored = json.loads(results.read_text(encoding="utf-8"))
    totals = json.loads(TOTALS.read_text(encoding="utf-8")) if TOTALS.exists() else {}
    found = (Path(__file__).parent / "found.md").read_text(encoding="utf-8")
    PAGE.write_text(page(stored, found, totals, plot=PLOT.exists()), encoding="utf-8")


def page(
    stored: dict[str, dict[str, dict[str, Any]]], found: str, totals: dict[str, dict[str, Any]], plot: bool = False
) -> str:
    """The text: a table for each size, the sum of all long fuzzing, the soak's plot, then the bugs that were found."""
    lines = [
        "# Robustness: what was tried to break the runtime, and what broke",
        "",
        "Made by `python -m tests.robustness --size seconds|minutes|hours --write`; each table has the last run of its",
        "size. `--page` writes it from the stored results without trying anything. A case is lost where the process",
        "crashed, hung, left its limits, raised an untyped error, or told what is not true. The seconds are no",
        "benchmark: the machine may have done other work meanwhile.",
        "",
    ]
    for size in SIZES:
        rows = stored.get(size)
        if not rows:
            continue
        lines += [
            f"## Size: {size}",
            "",
            "| what | tried | lost | seconds | figures |",
            "| --- | --- | --- | --- | --- |",
        ]
        losses: list[str] = []
        for row in rows.values():
            words = "; ".join(f"{key}: {value}" for key, value in row["figures"].items())
            lines.append(f"| {row['title']} | {row['tried']:,} | {row['lost']} | {row['seconds']:.0f} | {words} |")
            losses += [f"- {row['title']}: {' '.join(str(loss).split())}" for loss in row["losses"]]
        lines += ["", *(["Lost:", "", *losses, ""] if losses else [])]
    if totals:
        lines += _fuzzed(totals)
    if plot:
        lines += [
            "## Soak",
            "",
            f"![Memory, open handles and throughput of the last written soak](robustness/{PLOT.name})",
            "",
            f"Each point is a row of [robustness/{TABLE.name}](robustness/{TABLE.name}).",
            "",
        ]
    return "\n".join([*lines, found.rstrip(), ""])


def _fuzzed(totals: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "## Long fuzzing, all runs together",
        "",
        "By `python -m tests.robustness.fuzz_long --minutes N`, which goes on where the last run stopped.",
        "",
        "| what | executions | goal | lost | hours | figures |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    losses: list[str] = []
    for name, known in totals.items():
        figures = {key: known[key] for key in ("edges", "features") if key in known} | known.get("ends", {})
        words = ", ".join(f"{value:,} {key}" for key, value in figures.items())
        hours = known["seconds"] / 3600
        lost = len(known["losses"])
        lines.append(
            f"| {_FUZZED[name]} | {known['executions']:,} | {GOALS[name]:,} | {lost} | {hours:.2f} | {words} |"
        )
        losses += [f"- {_FUZZED[name]}: {' '.join(loss.split())}" for loss in known["losses"]]
    return [*lines, "", *(["Lost:", "", *losses, ""] if losses else [])]
