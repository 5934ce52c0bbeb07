"""How far each port is from this runtime, step by step: the largest deviation over a folder of conformance vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_infer import __version__
from edge_infer.conformance.run import replay_vectors
from edge_infer.conformance.store import Index, VectorsError
from edge_infer.diagnoser import Diagnoser
from edge_infer.errors import EdgeInferError
from edge_infer.schema import SchemaError


class ReportError(EdgeInferError):
    """A port's report cannot be read, or is of another bundle."""

    code = "port-report"


@dataclass(frozen=True)
class Line:
    """How one vector went: `passed`, `failed`, or left out; deviations by `<result>.<measure>`."""

    name: str
    step: str
    status: str
    deviations: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """How all vectors went in one port."""

    port: str
    runtime: str
    engine: str | None
    bundle_sha256: str
    lines: tuple[Line, ...]

    def cell(self, step: str) -> str:
        """What the table says of a step: `equal`, or the largest deviation of each result."""
        mine = [line for line in self.lines if line.step == step]
        run = [line for line in mine if line.status in ("passed", "failed")]
        if not run:
            return "left out" if mine else "-"
        largest: dict[str, float] = {}
        for line in run:
            for key, value in line.deviations.items():
                off = 1 - value if key.endswith(".min_iou") else value
                largest[key] = max(largest.get(key, 0.0), off)
        said = [f"{_words(key)} {value:.2g}" for key, value in sorted(largest.items()) if value > 0] or ["equal"]
        failed = sum(line.status == "failed" for line in run)
        said += [f"**{failed} failed**"] if failed else []
        left = len(mine) - len(run)
        return ", ".join(said) + (f"; {left} left out" if left else "")


def here(index: Index, diagnoser: Diagnoser) -> Report:
    """This runtime's own report."""
    lines = tuple(
        Line(outcome.vector.name, outcome.vector.step, "passed" if outcome.passed else "failed", outcome.deviations)
        for outcome in replay_vectors(index, diagnoser)
    )
    return Report("python", f"edge-infer {__version__}", diagnoser.provider, diagnoser.bundle.sha256, lines)


def read_report(path: Path, index: Index) -> Report:
    """A report that a port's runner wrote.

    Raises:
        ReportError: it is none, or of another bundle than the vectors.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lines = tuple(Line(v["name"], v["step"], v["status"], v["deviations"]) for v in data["vectors"])
        report = Report(data["port"], data["runtime"], data["engine"], data["bundle_sha256"], lines)
    except (OSError, ValueError, KeyError, TypeError, SchemaError, VectorsError) as error:
        raise ReportError(f"'{path}' is no report of a port: {error!r}.", "Let the port's runner write it.") from error
    if report.bundle_sha256 != index.bundle.sha256:
        raise ReportError(f"'{path}' is of another bundle than the vectors.", "Run the port on the same vectors.")
    return report


def table(index: Index, reports: Sequence[Report]) -> str:
    """Markdown: a line for each step, a column for each port."""
    counts = {step: sum(vector.step == step for vector in index.vectors) for step in index.steps}
    head = ["step", "vectors", *(report.port for report in reports)]
    lines = [_row(head), _row(["---", "---:", *("---" for _ in reports)])]
    lines += [_row([step, str(n), *(report.cell(step) for report in reports)]) for step, n in counts.items() if n]
    totals = [_total(report.lines) for report in reports]
    return "\n".join([*lines, _row(["all", str(len(index.vectors)), *totals])])


def _total(lines: Iterable[Line]) -> str:
    status = [line.status for line in lines]
    passed, failed = status.count("passed"), status.count("failed")
    return f"{passed} passed, {failed} failed, {len(status) - passed - failed} left out"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _words(key: str) -> str:
    result, _, measure = key.partition(".")
    measures = {
        "max_abs": "",
        "mean_abs": " (mean)",
        "max_relative": " (share of the value)",
        "max_share": " (share of elements)",
        "min_iou": " (1 - IoU)",
    }
    return f"{result.replace('_', ' ')}{measures.get(measure, ' ' + measure)}"
