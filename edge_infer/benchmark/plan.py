"""What a benchmark is asked to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_infer.benchmark.measure import Effort
from edge_infer.benchmark.setting import Options
from edge_infer.benchmark.targets import DEFAULT_TARGET
from edge_infer.bundle.store import Bundle


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
    split: str = "val"
    data_limit: int | None = None
    reference: Bundle | None = None
    effort: Effort = field(default_factory=Effort)
    offline_seconds: float = 5.0
    sustained_minutes: float = 0.0
    cold_starts: int = 5
    probe_seconds: float = 1.0
    baseline: str = DEFAULT_TARGET

    def options(self, targets: Sequence[str], threads: Sequence[int]) -> Options:
        """What the result file says about it, with the targets and threads that it came down to."""
        return Options(
            targets=tuple(targets),
            threads=tuple(threads),
            batch_sizes=self.batch_sizes,
            warmup_runs=self.effort.warmup,
            minimum_runs=self.effort.runs,
            minimum_seconds=self.effort.seconds,
            block=self.effort.block,
            offline_seconds=self.offline_seconds,
            sustained_minutes=self.sustained_minutes,
            cold_starts=self.cold_starts,
            baseline=self.baseline,
        )
