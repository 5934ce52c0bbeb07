"""What is told of the machine over one run: what it is, and whether it was quiet."""

from __future__ import annotations

import os

from edge_infer.benchmark.hardware import conditions, describe_machine, processor_times
from edge_infer.benchmark.measure import Pulse
from edge_infer.benchmark.setting import Machine, Stability
from edge_infer.benchmark.stability import judge_stability


class Watch:
    """Starts where the run starts; tells what there is to tell up to now.

    Attributes:
        pulse: the heartbeat, for measurements to beat.
    """

    def __init__(self) -> None:
        self._before, self._times, self._own = conditions(), processor_times(), _own_seconds()
        self.pulse = Pulse()

    def stability(self) -> Stability:
        """Was it quiet since the start?"""
        own, later = _own_seconds() - self._own, processor_times()
        return judge_stability(self.pulse.samples, self._times, later, own, self._before)

    def machine(self) -> Machine:
        """The machine, at the start and now."""
        return describe_machine(self._before, conditions())


def _own_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])
