"""`part-NNNNN.parquet`: one row a picture, typed and versioned; the same answers are the same bytes."""

from __future__ import annotations

import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_infer.batch.plan import PARTS, Plan
from edge_infer.bundle.manifest import Manifest
from edge_infer.diagnosis import Diagnosis
from edge_infer.errors import InputError
from edge_infer.extras import need
from edge_infer.files import write_atomically
from edge_infer.output.sink import SAVED_KINDS
from edge_infer.output.table import csv_columns, to_row

PART_SCHEMA = 1
_ABANDONED = 600.0
_LEFT_OUT = frozenset({"total_ms", *(f"{kind}_file" for kind in SAVED_KINDS)})
_TEXT = frozenset(
    {"source", "status", "reason", "message", "error", "label", "operating_point"}
    | {"provider", "variant", "bundle", "bundle_sha256", "site_sha256"}
)
_WHOLE = frozenset(
    {"image_height", "image_width"}
    | {f"{box}_{edge}" for box in ("lesion", "roi") for edge in ("x0", "y0", "x1", "y1")}
)


@dataclass(frozen=True)
class Tally:
    """What a part holds: rows by status, refusals by reason, errors by code."""

    status: Counter[str]
    reason: Counter[str]
    error: Counter[str]

    @property
    def rows(self) -> int:
        """All of them."""
        return self.status.total()

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.status + other.status, self.reason + other.reason, self.error + other.error)

    @staticmethod
    def empty() -> Tally:
        """Of nothing."""
        return Tally(Counter(), Counter(), Counter())


def columns(manifest: Manifest) -> list[str]:
    """Columns of a part: those of `diagnose --format csv` but times and saved files."""
    return [name for name in csv_columns(manifest) if name not in _LEFT_OUT]


def part_schema(manifest: Manifest) -> Any:
    """The `pyarrow.Schema` of a part: text, int32, float64, and a list of text for `warnings`."""
    pa = need("pyarrow", "batch")

    def kind(name: str) -> Any:
        if name == "warnings":
            return pa.list_(pa.string())
        return pa.string() if name in _TEXT else pa.int32() if name in _WHOLE else pa.float64()

    return pa.schema(
        [pa.field(name, kind(name), nullable=name not in ("source", "status")) for name in columns(manifest)]
    )


def to_part_row(diagnosis: Diagnosis) -> dict[str, object]:
    """One answer as a row; bytes of file names that are no text are escaped."""
    row = to_row(diagnosis, {}) | {"warnings": list(diagnosis.warnings)}
    return {name: _clean(value) if isinstance(value, str) else value for name, value in row.items()}


def _clean(text: str) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def tally_of(rows: Sequence[dict[str, object]]) -> Tally:
    """Counts the rows."""
    return Tally(*(Counter(str(row[name]) for row in rows if row.get(name)) for name in ("status", "reason", "error")))


def part_file(run: Path, index: int) -> Path:
    """Where a partition's answers are."""
    return run / PARTS / f"part-{index:05d}.parquet"


def write_part(run: Path, plan: Plan, index: int, manifest: Manifest, rows: Sequence[dict[str, object]]) -> None:
    """Writes a partition's answers under a temporary name and then moves them into place."""
    pa, parquet = need("pyarrow", "batch"), need("pyarrow.parquet", "batch")
    schema = part_schema(manifest).with_metadata(
        {
            "edge_infer.part_schema": str(PART_SCHEMA),
            "edge_infer.plan_sha256": plan.sha256,
            "edge_infer.partition": str(index),
            "edge_infer.tally": json.dumps({name: dict(sorted(c.items())) for name, c in vars(tally_of(rows)).items()}),
        }
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", row_group_size=max(len(rows), 1))
    write_atomically(part_file(run, index), buffer.getvalue())


def part_tally(run: Path, plan: Plan, index: int, plan_sha256: str) -> Tally | None:
    """What a partition's part holds, from its footer; None where it is absent, damaged, or another plan's."""
    parquet, pa = need("pyarrow.parquet", "batch"), need("pyarrow", "batch")
    try:
        footer = parquet.read_metadata(part_file(run, index))
        said = {key.decode(): value.decode() for key, value in (footer.metadata or {}).items()}
        tally = Tally(**{name: Counter(counts) for name, counts in json.loads(said["edge_infer.tally"]).items()})
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException):
        return None
    ours = said.get("edge_infer.plan_sha256") == plan_sha256 and said.get("edge_infer.partition") == str(index)
    whole = footer.num_rows == plan.partitions[index].pictures == tally.rows
    return tally if ours and whole else None


def tallies(run: Path, plan: Plan) -> list[Tally | None]:
    """`part_tally` of every partition, in order."""
    sha = plan.sha256
    return [part_tally(run, plan, index, sha) for index in range(len(plan.partitions))]


def whole_parts(run: Path, plan: Plan) -> list[Path]:
    """Every part in order, once all are there.

    Raises:
        InputError: some are missing.
    """
    missing = sum(tally is None for tally in tallies(run, plan))
    if missing:
        raise InputError(
            f"{missing} of {len(plan.partitions)} partitions of '{run}' are not done.",
            f"Run `edge-infer batch run {run}`: it does what is missing.",
        )
    return [part_file(run, index) for index in range(len(plan.partitions))]


def read_rows(path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of one part, of these columns alone."""
    yield from need("pyarrow.parquet", "batch").read_table(path, columns=list(names)).to_pylist()


def sweep(run: Path) -> None:
    """Removes temporary files that a killed process left; those of the last ten minutes may be in use elsewhere."""
    for path in (run / PARTS).glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                os.unlink(path)  # noqa: PTH108
