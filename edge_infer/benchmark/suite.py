"""The whole benchmark of one bundle on this device."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from edge_infer.benchmark import results as r
from edge_infer.benchmark.accuracy import Case, Predictions, judge, predict, read_cases, replay_golden
from edge_infer.benchmark.cold import child_command, measure_cold
from edge_infer.benchmark.coreml import UNITS, triangulate
from edge_infer.benchmark.hardware import ENERGY_HINT, conditions, describe_machine, energy_joules, processor_times
from edge_infer.benchmark.measure import (
    Effort,
    Pulse,
    RunnerError,
    measure_latency,
    measure_offline,
    measure_sustained,
)
from edge_infer.benchmark.probe import probe_peak
from edge_infer.benchmark.runners import LocalRunner, load_pictures, skipped_notes
from edge_infer.benchmark.stability import judge_stability
from edge_infer.benchmark.stats import Interval, ratio_of_medians, ratio_of_rates
from edge_infer.benchmark.targets import DEFAULT_TARGET, OpenTarget, Target, discover, find_target, open_target
from edge_infer.bundle.store import Bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.engines.threads import available_threads
from edge_infer.errors import EdgeInferError

MULTI_STREAM = 8
Opener = Callable[[Target, Bundle, int], OpenTarget]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        targets: names; empty: every target that is available here.
        threads: numbers of threads for the targets that compute on the CPU; empty: 1 and all usable ones.
        batch_sizes: of Offline.
        pictures: files or folders; empty: the bundle's golden pictures.
        data: labelled data in HAM10000's layout, and the split and the number of its pictures to use.
        reference: a float32 bundle that `data` is also diagnosed with; None: the same bundle on the CPU.
        effort: of SingleStream and MultiStream.
        offline_seconds: of each Offline figure.
        sustained_minutes: 0 leaves Sustained out.
        cold_starts: processes for each row; 0 leaves cold starts out.
        probe_seconds: of each peak.
        baseline: target to which the others are compared.
    """

    targets: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 8)
    pictures: tuple[Path, ...] = ()
    data: Path | None = None
    split: str = "test"
    data_limit: int | None = None
    reference: Bundle | None = None
    effort: Effort = field(default_factory=Effort)
    offline_seconds: float = 5.0
    sustained_minutes: float = 0.0
    cold_starts: int = 5
    probe_seconds: float = 1.0
    baseline: str = DEFAULT_TARGET


def run_suite(
    bundle: Bundle, plan: Plan, progress: Progress = lambda text: None, opener: Opener = open_target
) -> r.Results:
    """Measures a bundle on this device.

    Args:
        bundle: loaded and checked.
        plan: what to measure.
        progress: is told, in a few words, what is being done.
        opener: loads a target; tests give their own.

    Raises:
        ProviderUnavailableError: a target has no known name.
        ResultsError: pictures or labelled data cannot be used.
    """
    return _Run(bundle, plan, progress, opener).run()


@dataclass
class _Entry:
    """A row while it is being filled."""

    target: Target
    threads: int
    row: r.Row
    runner: LocalRunner | None = None
    predictions: Predictions | None = None

    @property
    def alive(self) -> bool:
        return self.runner is not None

    def fail(self, error: BaseException) -> None:
        """Everything measured so far goes: half a row would be read as a whole one."""
        if self.runner is not None:
            self.runner.close()
        self.runner = None
        self.row = r.Row(self.target.name, self.target.title, "failed", self.threads, error=str(error))


class _Run:
    def __init__(self, bundle: Bundle, plan: Plan, progress: Progress, opener: Opener) -> None:
        self.bundle, self.plan, self.progress, self.opener = bundle, plan, progress, opener
        self.pulse = Pulse()
        self.available = discover(bundle)
        names = plan.targets or tuple(entry.target for entry in self.available if entry.available)
        self.targets = [find_target(name) for name in dict.fromkeys(names)]
        find_target(plan.baseline)
        self.threads = tuple(sorted(set(plan.threads or (1, available_threads()))))
        self.encoded, self.pictures = load_pictures(plan.pictures, bundle)
        self.cases: list[Case] = read_cases(plan.data, plan.split, plan.data_limit) if plan.data else []

    def run(self) -> r.Results:
        created, start = datetime.now(UTC), time.perf_counter()
        before, times = conditions(), processor_times()
        process = time.process_time()
        entries = [
            self._open(target, threads)
            for target in self.targets
            for threads in (self.threads if target.on_cpu else self.threads[-1:])
        ]
        self._check(entries)
        totals = sorted({1, *self.threads, available_threads()})
        self.progress("peak of the machine")
        seconds = self.plan.probe_seconds
        peaks = tuple(probe_peak(kind, n, seconds=seconds) for kind in ("float32", "int8") for n in totals)
        for size in (1, MULTI_STREAM):
            self._latency(entries, size)
        for batch_size in self.plan.batch_sizes:
            self._offline(entries, batch_size)
        if self.plan.sustained_minutes:
            self._sustained(entries)
        process = time.process_time() - process
        later = processor_times()
        if self.plan.cold_starts:
            self._cold(entries)
        _explain_coreml(entries)
        for entry in entries:
            if entry.alive and entry.target.on_cpu:
                entry.row = replace(entry.row, attained=attained_share(entry.row, peaks, bundle_gflops(self.bundle)))
        rows = tuple(entry.row for entry in entries)
        for entry in entries:
            if entry.runner is not None:
                entry.runner.close()
        after = conditions()
        return r.Results(
            schema_version=r.SCHEMA_VERSION,
            kind="device",
            created=created.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - start,
            machine=describe_machine(before, after),
            bundle=bundle_facts(self.bundle),
            pictures=self.pictures,
            options=self._options(),
            peaks=peaks,
            available=self.available,
            rows=rows,
            ratios=ratios_of(rows, self.plan.baseline),
            stability=judge_stability(self.pulse.samples, times, later, process, before),
            warnings=() if energy_joules() is not None else (ENERGY_HINT,),
        )

    def _open(self, target: Target, threads: int) -> _Entry:
        self.progress(f"loading {target.name}, {threads} threads")
        entry = _Entry(target, threads, r.Row(target.name, target.title, "ok", threads))
        name = f"{target.name}/{threads}"
        try:
            opened = self.opener(target, self.bundle, threads)
            entry.runner = LocalRunner(
                name,
                self.bundle,
                opened.segmenter,
                opened.classifier,
                self.encoded,
                threads if target.on_cpu else 1,
                opened.variant,
            )
            statuses = entry.runner.statuses()
            warnings = dict.fromkeys((*opened.segmenter.warnings, *opened.classifier.warnings))
            entry.row = replace(
                entry.row,
                provider=opened.segmenter.provider,
                variant=opened.variant,
                placement=opened.placement,
                planned=opened.planned,
                statuses=statuses,
                notes=(*warnings, *skipped_notes(statuses)),
            )
        except EdgeInferError as error:
            entry.fail(error)
        return entry

    def _check(self, entries: Sequence[_Entry]) -> None:
        """Accuracy of every row, against the reference bundle or else the first CPU row."""
        reference, reference_name = None, ""
        if self.cases and self.plan.reference is not None:
            name = self.plan.reference.manifest.name
            self.progress(f"labelled pictures with {name}")
            opened = open_target(find_target(DEFAULT_TARGET), self.plan.reference, available_threads(), prove=False)
            with Diagnoser(self.plan.reference, opened.segmenter, opened.classifier) as diagnoser:
                reference, reference_name = predict(diagnoser, self.cases), f"bundle {name}, cpu"
        golden: dict[int, tuple[r.Check, ...]] = {}
        for i, entry in enumerate(entries):
            if entry.runner is None:
                continue
            self.progress(f"accuracy of {entry.runner.name}")
            try:
                golden[i] = replay_golden(entry.runner.diagnoser)
                entry.predictions = predict(entry.runner.diagnoser, self.cases) if self.cases else None
            except EdgeInferError as error:
                entry.fail(error)
        on_cpu = next((entry for entry in entries if entry.target.name == DEFAULT_TARGET and entry.predictions), None)
        if reference is None and on_cpu is not None:
            reference, reference_name = on_cpu.predictions, "the same bundle, cpu"
        data = f"{self.plan.split}, {len(self.cases)} pictures"
        for i, entry in enumerate(entries):
            if entry.runner is not None:
                accuracy = judge(golden[i], data, self.cases, entry.predictions, reference, reference_name)
                entry.row = replace(entry.row, accuracy=accuracy, status="ok" if accuracy.passed else "outside_gate")

    def _latency(self, entries: Sequence[_Entry], size: int) -> None:
        self.progress("SingleStream" if size == 1 else f"MultiStream of {size}")
        effort = self.plan.effort
        if size > 1:
            effort = replace(effort, runs=max(1, effort.runs // 4), block=max(1, effort.block // 4))
        while runners := [entry.runner for entry in entries if entry.runner is not None]:
            try:
                found = measure_latency(runners, size, effort, self.pulse)
            except RunnerError as error:
                _fail(entries, error)
                continue
            for entry in entries:
                if entry.runner is not None:
                    latency = found[entry.runner.name]
                    entry.row = replace(entry.row, single=latency) if size == 1 else replace(entry.row, multi=latency)
            return

    def _offline(self, entries: Sequence[_Entry], batch_size: int) -> None:
        self.progress(f"Offline, batches of {batch_size}")
        processors = available_threads()
        while alive := [entry for entry in entries if entry.alive]:
            callers = [(entry, 1) for entry in alive]
            callers += [(entry, processors) for entry in alive if entry.threads == 1 and processors > 1]
            runners = [entry.runner for entry, _ in callers if entry.runner is not None]
            workers, threads = [count for _, count in callers], [entry.threads for entry, _ in callers]
            seconds = self.plan.offline_seconds
            try:
                found = measure_offline(runners, batch_size, threads, workers, seconds, self.pulse)
            except RunnerError as error:
                _fail(entries, error)
                continue
            for (entry, _), throughput in zip(callers, found, strict=True):
                entry.row = replace(entry.row, offline=(*entry.row.offline, throughput))
            return

    def _sustained(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            if entry.runner is None:
                continue
            self.progress(f"Sustained, {self.plan.sustained_minutes:g} minutes of {entry.runner.name}")
            try:
                sustained = measure_sustained(entry.runner, self.plan.sustained_minutes, self.pulse)
            except RunnerError as error:
                entry.fail(error.__cause__ or error)
            else:
                entry.row = replace(entry.row, sustained=sustained)

    def _cold(self, entries: Sequence[_Entry]) -> None:
        self.progress("cold starts")
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "picture.jpg"
            picture.write_bytes(self.encoded[0])
            alive = [entry for entry in entries if entry.alive]
            commands = {
                f"{entry.target.name}/{entry.threads}": child_command(
                    self.bundle.path.resolve(), entry.target.name, entry.threads, picture
                )
                for entry in alive
            }
            found = measure_cold(commands, self.plan.cold_starts)
        for entry in alive:
            cold = found.get(f"{entry.target.name}/{entry.threads}")
            notes = entry.row.notes if cold else (*entry.row.notes, "The cold start failed in a process of its own.")
            entry.row = replace(entry.row, cold=cold, notes=notes)

    def _options(self) -> r.Options:
        effort = self.plan.effort
        return r.Options(
            targets=tuple(target.name for target in self.targets),
            threads=self.threads,
            batch_sizes=self.plan.batch_sizes,
            warmup_runs=effort.warmup,
            minimum_runs=effort.runs,
            minimum_seconds=effort.seconds,
            block=effort.block,
            offline_seconds=self.plan.offline_seconds,
            sustained_minutes=self.plan.sustained_minutes,
            cold_starts=self.plan.cold_starts,
            baseline=self.plan.baseline,
        )


def bundle_gflops(bundle: Bundle) -> float | None:
    """GFLOPs of both networks for one picture, a multiply-add counting as two; None where the manifest lacks one."""
    first, second = bundle.manifest.segmenter.gflops, bundle.manifest.classifier.gflops
    return None if first is None or second is None else first + second


def bundle_facts(bundle: Bundle) -> r.BundleFacts:
    """What the result file says about a bundle."""
    first, second = bundle.manifest.segmenter, bundle.manifest.classifier
    return r.BundleFacts(
        name=bundle.manifest.name,
        sha256=bundle.sha256,
        segmenter=first.architecture,
        classifier=second.architecture,
        segmenter_input=(first.input.height, first.input.width),
        classifier_input=(second.input.height, second.input.width),
        gflops=bundle_gflops(bundle),
    )


def attained_share(row: r.Row, peaks: Sequence[r.Peak], gflops: float | None) -> dict[str, float]:
    """Share of each probed peak that the row's best Offline throughput attains, with as many threads at work."""
    if gflops is None or not row.offline:
        return {}
    best = max(row.offline, key=lambda part: part.pictures_per_second)
    busy = best.threads * best.workers
    return {peak.kind: best.pictures_per_second * gflops / peak.gops for peak in peaks if peak.threads == busy}


def ratios_of(rows: Sequence[r.Row], baseline: str) -> tuple[r.Ratio, ...]:
    """Every row against the baseline with as many threads, and against itself with one thread."""
    found = []
    for row in rows:
        for other in rows:
            same_threads = other.target == baseline and other.threads == row.threads and other.target != row.target
            scaling = other.target == row.target and other.threads == 1 and row.threads > 1
            if same_threads or scaling:
                found += compare(row, other)
    return tuple(found)


def compare(row: r.Row, base: r.Row) -> list[r.Ratio]:
    """How many times faster `row` is than `base`: medians of wall and CPU time, and Offline for each batch size."""

    def ratio(measure: str, interval: Interval | None, withheld: str) -> r.Ratio:
        return r.Ratio(measure, row.target, row.threads, base.target, base.threads, interval, withheld)

    bad = [item for item in (row, base) if item.status != "ok"]
    if bad:
        words = {"failed": "failed", "outside_gate": "is outside its accuracy gate"}
        return [ratio("SingleStream p50", None, f"{bad[0].target} {words[bad[0].status]}")]
    found = []
    if row.single and base.single:
        interval = ratio_of_medians(base.single.wall_ms, base.single.rounds, row.single.wall_ms, row.single.rounds)
        found.append(ratio("SingleStream p50", interval, "" if interval else "too few rotations"))
        # CPU time hardly depends on who else is running; at one thread it is the wall time of a quiet machine.
        interval = ratio_of_medians(base.single.cpu_ms, base.single.rounds, row.single.cpu_ms, row.single.rounds)
        if interval and row.threads == base.threads == 1:
            found.append(ratio("SingleStream CPU time p50", interval, ""))
    if row.multi and base.multi:
        interval = ratio_of_medians(base.multi.wall_ms, base.multi.rounds, row.multi.wall_ms, row.multi.rounds)
        measure = f"MultiStream of {row.multi.size} p50"
        found.append(ratio(measure, interval, "" if interval else "too few rotations"))
    for part in row.offline:
        for other in base.offline:
            if part.batch_size == other.batch_size and part.workers == other.workers == 1:
                interval = ratio_of_rates(_rates(other), _rates(part))
                measure = f"Offline, batch {part.batch_size}"
                found.append(ratio(measure, interval, "" if interval else "too few rotations"))
    return found


def _rates(part: r.Throughput) -> list[float]:
    return [count / seconds for count, seconds in zip(part.segment_pictures, part.segment_seconds, strict=True)]


def _fail(entries: Sequence[_Entry], error: RunnerError) -> None:
    for entry in entries:
        if entry.runner is not None and entry.runner.name == error.name:
            entry.fail(error.__cause__ or error)
            return
    raise error


def _explain_coreml(entries: Sequence[_Entry]) -> None:
    """Adds what the four compute-unit settings say together to each of their rows."""
    for attribute in ("compute_units", "MLComputeUnits"):
        rows = {_units(entry.target, attribute): entry for entry in entries}
        medians = {
            units: entry.row.single.percentiles["p50"].value
            for units, entry in rows.items()
            if units and entry.row.single and "p50" in entry.row.single.percentiles
        }
        for units, entry in rows.items():
            if units and medians and entry.alive:
                entry.row = replace(entry.row, notes=(*entry.row.notes, triangulate(medians)))


def _units(target: Target, attribute: str) -> str | None:
    if target.variant is not None:
        return None
    if attribute == "compute_units":
        return target.compute_units
    suffix = target.name.removeprefix("coreml-ep-").upper().replace("-", "_")
    return suffix if target.name.startswith("coreml-ep-") and suffix in UNITS else None
