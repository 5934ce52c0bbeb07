"""The whole benchmark of one bundle on this device."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edge_infer.benchmark import results as r
from edge_infer.benchmark.accuracy import Case, Predictions, judge, predict, read_cases, replay_golden
from edge_infer.benchmark.cold import child_command, measure_cold
from edge_infer.benchmark.coreml import conclude
from edge_infer.benchmark.hardware import ENERGY_HINT, conditions, describe_machine, energy_joules, processor_times
from edge_infer.benchmark.measure import (
    Pulse,
    RunnerError,
    measure_latency,
    measure_offline,
    measure_sustained,
)
from edge_infer.benchmark.opening import OpenTarget, discover, open_target
from edge_infer.benchmark.plan import Plan
from edge_infer.benchmark.probe import attained_share, probe_peak
from edge_infer.benchmark.ratios import ratios_of
from edge_infer.benchmark.runners import LocalRunner, load_pictures, skipped_notes
from edge_infer.benchmark.setting import BundleFacts
from edge_infer.benchmark.stability import judge_stability
from edge_infer.benchmark.targets import DEFAULT_TARGET, Target, find_target
from edge_infer.bundle.store import Bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.engines.threads import available_threads
from edge_infer.errors import EdgeInferError

MULTI_STREAM = 8
Opener = Callable[[Target, Bundle, int], OpenTarget]
Progress = Callable[[str], None]


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
        facts = BundleFacts.of(self.bundle)
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
        conclusions = conclude((entry.target, entry.row) for entry in entries)
        for entry, said in zip(entries, conclusions, strict=True):
            if entry.alive:
                entry.row = replace(entry.row, notes=(*entry.row.notes, *said))
            if entry.alive and entry.target.on_cpu:
                entry.row = replace(entry.row, attained=attained_share(entry.row, peaks, facts.gflops))
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
            bundle=facts,
            pictures=self.pictures,
            options=self.plan.options([target.name for target in self.targets], self.threads),
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


def _fail(entries: Sequence[_Entry], error: RunnerError) -> None:
    for entry in entries:
        if entry.runner is not None and entry.runner.name == error.name:
            entry.fail(error.__cause__ or error)
            return
    raise error
