"""Result files side by side: loaded, checked against each other, and flattened to one record a device and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from edge_infer.benchmark.accuracy import end_to_end_change
from edge_infer.benchmark.figures import figures_of
from edge_infer.benchmark.result_file import read_results
from edge_infer.benchmark.results import Results, ResultsError, Row
from edge_infer.benchmark.table import explain


@dataclass(frozen=True)
class Loaded:
    """A result file. `label` names its device and is unique among the files of a report."""

    path: Path
    results: Results
    label: str


@dataclass(frozen=True)
class Record:
    """One row of the report's main table; None where there is no figure. Times in ms, memory in MB."""

    device: str
    target: str
    title: str
    threads: int
    status: str
    bundle: str
    p50_ms: float | None
    p50_low: float | None
    p50_high: float | None
    p90_ms: float | None
    p99_ms: float | None
    cpu_ms: float | None
    multi_p50_ms: float | None
    offline_per_second: float | None
    sustained_last_over_first: float | None
    cold_ms: float | None
    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None
    joules_per_picture: float | None
    share_of_float32_peak: float | None
    share_of_int8_peak: float | None
    max_probability_change: float | None
    dice: float | None
    auc: float | None
    flipped: float | None
    provider: str
    placement: str
    planned: str
    runs: int
    why: str


COLUMNS = tuple(field.name for field in fields(Record))
_OF_OTHERS = ("goals", "memory", "batch", "serve")
"""What names of result files begin with that other commands of `benchmarks` wrote."""


def load_files(paths: Sequence[Path], *, allow_different_bundles: bool = False) -> list[Loaded]:
    """Reads result files and refuses to lay unlike things side by side.

    Args:
        paths: result files, or folders of them (in a folder, what other commands wrote is left out).
        allow_different_bundles: take files that measured different networks all the same.

    Raises:
        ResultsError: none there, one is unreadable, or their bundles differ.
    """
    files = [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
    if not files:
        raise ResultsError("There is no result file there.", "Give files written by `edge-infer benchmark -o`.")
    found = [(path, read_results(path)) for path in files]
    hashes = {results.bundle.sha256: path.name for path, results in found}
    if len(hashes) > 1 and not allow_different_bundles:
        named = "; ".join(f"{name}: {digest[:12]}" for digest, name in hashes.items())
        raise ResultsError(
            f"These files measured different bundles ({named}).",
            "Compare files of one bundle, or pass --allow-different-bundles.",
        )
    names = [device_name(results) for _, results in found]
    counts = Counter(names)
    return [
        Loaded(path, results, name if counts[name] == 1 else f"{name} ({path.stem})")
        for (path, results), name in zip(found, names, strict=True)
    ]


def _in_folder(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.json")) if not file.name.startswith(_OF_OTHERS)]


def device_name(results: Results) -> str:
    """A short name of the device for tables and legends."""
    machine = results.machine
    named = machine.device not in ("unnamed machine", "")
    name = f"{machine.device}, {machine.processor}" if named and machine.processor else machine.processor
    return f"{name}, {machine.usable_processors} processors"


def records(files: Sequence[Loaded]) -> list[Record]:
    """One record for each row of each file."""
    return [_record(file, row) for file in files for row in file.results.rows]


def caveats(files: Sequence[Loaded]) -> list[str]:
    """What a reader must know before comparing these files."""
    found = []
    if len({file.results.bundle.sha256 for file in files}) > 1:
        found.append("These files measured different networks; their times do not compare devices.")
    if len({file.results.pictures.sha256 for file in files}) > 1:
        found.append("These files measured different pictures; decoding and cropping times differ for that reason too.")
    for file in files:
        found += [f"{file.label}: {text}" for text in (*file.results.stability.warnings, *file.results.warnings)]
    planned = [row for file in files for row in file.results.rows if row.planned]
    if not planned:
        found.append(
            "No file here was measured on an Apple device: nothing in this report says how fast the Neural Engine is. "
            "On a Mac: pip install 'edge-infer[coreml]' && edge-infer benchmark --sustained 5 -o mac.json"
        )
    return found


def accuracy_of(row: Row) -> tuple[str, float] | None:
    """The accuracy figure that a row can be placed by: AUC on labelled pictures, else the largest golden deviation."""
    if row.accuracy is None:
        return None
    if row.accuracy.labelled is not None and row.accuracy.labelled.auc is not None:
        return "AUC on labelled pictures", row.accuracy.labelled.auc
    change = end_to_end_change(row.accuracy)
    return None if change is None else ("max |Δp| on the golden pictures", change)


def _record(file: Loaded, row: Row) -> Record:
    found = figures_of(row)
    labelled = row.accuracy.labelled if row.accuracy else None
    bundle = file.results.bundle
    return Record(
        device=file.label,
        target=row.target,
        title=row.title,
        threads=row.threads,
        status={"ok": "ok", "outside_gate": "outside gate", "failed": "failed"}[row.status],
        bundle=f"{bundle.name} {bundle.sha256[:8]}",
        p50_ms=found.p50.value if found.p50 else None,
        p50_low=found.p50.low if found.p50 else None,
        p50_high=found.p50.high if found.p50 else None,
        p90_ms=found.p90.value if found.p90 else None,
        p99_ms=found.p99.value if found.p99 else None,
        cpu_ms=found.cpu_ms,
        multi_p50_ms=found.multi_p50_ms,
        offline_per_second=found.offline.pictures_per_second if found.offline else None,
        sustained_last_over_first=row.sustained.last_over_first if row.sustained else None,
        cold_ms=found.cold_ms,
        load_ms=found.load_ms,
        first_ms=found.first_ms,
        peak_memory_mb=found.peak_memory_mb,
        joules_per_picture=row.sustained.joules_per_picture if row.sustained else None,
        share_of_float32_peak=row.attained.get("float32"),
        share_of_int8_peak=row.attained.get("int8"),
        max_probability_change=end_to_end_change(row.accuracy),
        dice=labelled.dice if labelled else None,
        auc=labelled.auc if labelled else None,
        flipped=labelled.flipped if labelled else None,
        provider=row.provider,
        placement=_shares(row.placement),
        planned="; ".join(f"{stage}: {_shares(shares)}" for stage, shares in row.planned.items()),
        runs=len(row.single.wall_ms) if row.single else 0,
        why=explain(row) if row.status != "ok" else "",
    )


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
