"""Pictures of the comparisons: accuracy against cost, and beside what others published, one of each a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_infer.rules import Metric
from trainer.data.ham10000 import MELANOMA
from trainer.papers.costs import Cost, Costs, cost_of, read_costs
from trainer.papers.measures import Figured, accuracy_of, auc_of, dice_of
from trainer.papers.published import PUBLISHED, Stage
from trainer.papers.rows import Row, read_rows
from trainer.papers.schedules import fitted, start_of
from trainer.scoring.plots import Dot, Dots, Spot, dot_plot, spot_plot

Pick = Callable[[Figured], Metric | None]

CONSTANT = "constant-negative-dx"
"""The row that answers every picture with the commonest of the seven diagnoses."""

_COSTS: dict[str, Callable[[Cost], float]] = {
    "GFLOP": lambda cost: cost.gflops,
    "million parameters": lambda cost: cost.parameters / 1e6,
    "milliseconds in ONNX Runtime": lambda cost: cost.milliseconds,
}


@dataclass(frozen=True)
class _Drawn:
    """A figure of one stage.

    Attributes:
        stage: names the files.
        measure: the figure in words.
        pick: finds it.
        positive: the class that it must be about; None where it is about none.
    """

    stage: Stage
    measure: str
    pick: Pick
    positive: str | None = None

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """Those that have it."""
        return [row for row in rows if self.pick(row.figures) and self.positive in (None, row.positive)]


_DICE = _Drawn("segmentation", "Dice", dice_of)
_AUC = _Drawn("classification", "AUC of melanoma", auc_of, MELANOMA)
_ACCURACY = _Drawn("classification", "accuracy over seven diagnoses", accuracy_of)


def draw(folder: Path, out: Path) -> list[Path]:
    """Draws every picture for which there are rows that were fitted to a time, and returns the files.

    Args:
        folder: of the comparisons, with `costs.json`; without it nothing is drawn against cost.
        out: folder of the pictures.

    Raises:
        DataError: a row or `costs.json` cannot be read.
    """
    rows = _rows(folder)
    costs = read_costs(folder)
    drawn = []
    for one in (_DICE, _AUC):
        these = one.rows(rows)
        if costs is not None and (spots := _spots(these, one.pick, costs)):
            drawn.append(out / f"{one.stage}-cost.png")
            title = f"{one.measure} on `test` of {these[0].data} against cost\n{_schedules(these)}; {costs.machine}"
            spot_plot(drawn[-1], spots, tuple(_COSTS), one.measure, title)
        if these:
            drawn.append(out / f"{one.stage}-elsewhere.png")
            title = f"{one.measure}: what survives a change of clinic\n{_schedules(these)}"
            dot_plot(drawn[-1], _elsewhere(these, one.pick), one.measure, title)
    for one in (_DICE, _ACCURACY):
        these = one.rows(rows)
        if these:
            drawn.append(out / f"{one.stage}-published.png")
            head = f"{one.measure[0].upper()}{one.measure[1:]}, beside published figures"
            title = f"{head}\nrows of here: {_schedules(these)}"
            references = _constant(folder, these) if one is _ACCURACY else {}
            dot_plot(drawn[-1], _beside(these, one.pick, one.stage), one.measure, title, references)
    return drawn


def unmeasured(folder: Path) -> list[str]:
    """Names of rows that no picture shows against cost, since `costs.json` lacks their network."""
    costs = read_costs(folder)
    return [row.name for row in _rows(folder) if costs is None or cost_of(row, costs) is None]


def _all(folder: Path) -> list[Row]:
    homes = sorted(home for home in folder.iterdir() if home.is_dir())
    return [row for home in homes for row in read_rows(home) if not row.leaks]


def _rows(folder: Path) -> list[Row]:
    """One row a network: on true crops where it takes any, and none on a split that leaks."""
    fitted_ones = [row for row in _all(folder) if row.pace and row.view != "predicted"]
    return list({row.name: row for row in fitted_ones}.values())


def _schedules(rows: Sequence[Row]) -> str:
    return f"schedules fitted to {fitted(rows)}"


def _spots(rows: Sequence[Row], pick: Pick, costs: Costs) -> list[Spot]:
    found = []
    for row in rows:
        cost, value = cost_of(row, costs), pick(row.figures)
        if cost is not None and value is not None:
            numbers = tuple(get(cost) for get in _COSTS.values())
            twin = row.name.removesuffix("-scratch")
            found.append(Spot(row.name, start_of(row), numbers, value, twin if twin != row.name else ""))
    return found


def _elsewhere(rows: Sequence[Row], pick: Pick) -> list[Dots]:
    own = [Dot(row.name, value) for row in rows if (value := pick(row.figures))]
    groups = [Dots(rows[0].data, own)]
    for name in sorted({source for row in rows for source in row.external}):
        values = [(row.name, pick(row.external[name])) for row in rows if name in row.external]
        groups.append(Dots(name, [Dot(label, value) for label, value in values if value]))
    return groups


def _beside(rows: Sequence[Row], pick: Pick, stage: Stage) -> list[Dots]:
    own = [Dot(row.name, value) for row in rows if (value := pick(row.figures))]
    others = [Dot(f"{one.what} ({one.data})", Metric(one.value)) for one in PUBLISHED if one.stage == stage]
    return [Dots(f"here: {rows[0].data}, split by lesion", own), Dots("published, split as in its source", others)]


def _constant(folder: Path, rows: Sequence[Row]) -> dict[str, float]:
    """What the constant answer reaches on the pictures of these rows, by the legend's words."""
    tested = {(row.data, row.figures.images) for row in rows}
    for row in _all(folder):
        value = accuracy_of(row.figures)
        if row.name == CONSTANT and value is not None and (row.data, row.figures.images) in tested:
            return {f"always the commonest diagnosis ({CONSTANT})": value.value}
    return {}
