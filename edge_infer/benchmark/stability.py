"""Was the machine quiet? Told by three independent witnesses, so that a noisy result carries its own warning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_infer.benchmark.hardware import ProcessorTimes
from edge_infer.benchmark.setting import Conditions, Stability
from edge_infer.engines.threads import available_threads

HEARTBEAT_SPREAD = 1.25
OTHER_SHARE = 0.05
STOLEN_SHARE = 0.01
LOAD_SHARE = 0.5


def judge_stability(
    heartbeat_ms: Sequence[float],
    before: ProcessorTimes | None,
    after: ProcessorTimes | None,
    own_seconds: float,
    start: Conditions,
) -> Stability:
    """Puts the witnesses together.

    Args:
        heartbeat_ms: times of a fixed piece of work, taken all along.
        before: counters of the whole machine at the start, after: at the end; None where there are none.
        own_seconds: CPU time of this process in between.
        start: conditions at the start.
    """
    warnings = []
    spread = float(np.quantile(heartbeat_ms, 0.9) / np.quantile(heartbeat_ms, 0.1)) if heartbeat_ms else 1.0
    if spread > HEARTBEAT_SPREAD:
        warnings.append(
            f"The machine was unsteady: a fixed piece of work took {spread:.2f} times as long at its 90th percentile "
            "as at its 10th."
        )
    other = stolen = None
    if before is not None and after is not None and after.total > before.total:
        total = after.total - before.total
        other = max(0.0, (after.busy - before.busy - own_seconds) / total)
        stolen = (after.stolen - before.stolen) / total
        if other > OTHER_SHARE:
            warnings.append(f"Other processes used {other:.0%} of the processors' time.")
        if stolen > STOLEN_SHARE:
            warnings.append(f"The hypervisor took {stolen:.1%} of the processors' time.")
    load = start.load_average
    if load is not None and load > LOAD_SHARE * available_threads():
        warnings.append(f"The machine was busy when the run began (load average {load:.1f}).")
    if start.power_source == "battery":
        warnings.append("The device ran on battery.")
    return Stability(tuple(heartbeat_ms), other, stolen, tuple(warnings))
