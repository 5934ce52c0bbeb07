"""`tests/ROBUSTNESS.md` from the stored results."""

from __future__ import annotations

import json
from pathlib import Path

from tests.robustness.measure import REPOSITORY, SIZES

PAGE = REPOSITORY / "tests" / "ROBUSTNESS.md"


def write_page(results: Path) -> None:
    """Writes the page."""
    stored = json.loads(results.read_text(encoding="utf-8"))
    found = (Path(__file__).parent / "found.md").read_text(encoding="utf-8")
    PAGE.write_text(page(stored, found), encoding="utf-8")


def page(stored: dict[str, dict[str, dict[str, object]]], found: str) -> str:
    """The text: a table for each size, then what was lost, then the bugs that were found."""
    lines = [
        "# Robustness: what was tried to break the runtime, and what broke",
        "",
        "Made by `python -m tests.robustness --size seconds|minutes|hours --write`; each table has the last run of its",
        "size. A case is lost where the process crashed, hung, left its limits, raised an untyped error, or told what",
        "is not true.",
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
            figures = row["figures"]
            assert isinstance(figures, dict)
            words = "; ".join(f"{key}: {value}" for key, value in figures.items())
            lines.append(f"| {row['title']} | {row['tried']:,} | {row['lost']} | {row['seconds']:.0f} | {words} |")
            listed = row["losses"]
            assert isinstance(listed, list)
            losses += [f"- {row['title']}: {' '.join(str(loss).split())}" for loss in listed]
        lines += ["", *(["Lost:", "", *losses, ""] if losses else [])]
    return "\n".join([*lines, found.rstrip(), ""])
