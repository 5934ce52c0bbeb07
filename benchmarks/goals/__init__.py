"""The ratios that the project promises, each measured in one run on this machine.

Numerator and denominator always take turns, so a slow minute falls on both. A missed goal is reported like a met one.
"""

from benchmarks.goals.history import add_to_history, against_last
from benchmarks.goals.measures import from_peers
from benchmarks.goals.record import Goal, Goals, goal, markdown, write_goals
from benchmarks.goals.run import PARTS, Settings, measure_goals

__all__ = [
    "PARTS",
    "Goal",
    "Goals",
    "Settings",
    "add_to_history",
    "against_last",
    "from_peers",
    "goal",
    "markdown",
    "measure_goals",
    "write_goals",
]
