"""Pictures of the comparisons: accuracy against cost, and beside what others published, one of each a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edge_infer.rules import Metric
from trainer.papers.costs import Cost, Costs, cost_of, read_costs
from trainer.papers.measures import Figured, accuracy_of, auc_of, dice_of
from trainer.papers.published import PUBLISHED, Stage
from trainer.papers.rows import Row, read_rows
from trainer.scoring.plots import Dot, Dots, Spot, dot_plot, spot_plot

Pick = Callable[[Figured], Metric | None]

_COSTS: dict[str, Callable[[Cost], float]] = {
    "GFLOP": lambda cost: cost.gflops,
    "million parameters": lambda cost: cost.parameters / 1e6,
    "milliseconds in ONNX Runtime": lambda cost: cost.milliseconds,
}


def draw(folder: Path, out: Path) -> list[Path]:
    """Draws every picture for which there are rows that were fitted to a budget, and returns the files.

    Args:
        folder: of the comparisons, with `costs.json`; without it nothing is drawn against cost.
        out: folder of the pictures.

    Raises:
        DataError: a row or `costs.json` cannot be read.
    """
    rows = _rows(folder)
    costs = read_costs(folder)
    drawn = []
    own: tuple[tuple[Stage, str, Pick], ...] = (
        ("segmentation", "Dice", dice_of),
        ("classification", "AUC of melanoma", auc_of),
    )
    for stage, measure, pick in own:
        these = [row for row in rows if pick(row.figures) is not None]
        if costs is not None and (spots := _spots(these, pick, costs)):
            drawn.append(out / f"{stage}-cost.png")
            title = f"{measure} on `test` of {rows[0].data} against cost; {costs.machine}"
            spot_plot(drawn[-1], spots, tuple(_COSTS), measure, title)
        if these:
            drawn.append(out / f"{stage}-elsewhere.png")
            dot_plot(drawn[-1], _elsewhere(these, pick), measure, f"{measure}: what survives a change of clinic")
    beside: tuple[tuple[Stage, str, Pick], ...] = (
        ("segmentation", "Dice", dice_of),
        ("classification", "accuracy over seven diagnoses", accuracy_of),
    )
    for stage, measure, pick in beside:
        these = [row for row in rows if pick(row.figures) is not None]
        if these:
            drawn.append(out / f"{stage}-published.png")
            dot_plot(drawn[-1], _beside(these, pick, stage), measure, f"{measure}: these rows and published figures")
    return drawn


def unmeasured(folder: Path) -> list[str]:
    """Names of rows that no picture shows against cost, since `costs.json` lacks their network."""
    costs = read_costs(folder)
    return [row.name for row in _rows(folder) if costs is None or cost_of(row, costs) is None]


def _rows(folder: Path) -> list[Row]:
    """One row a network: on true crops where it takes any, and none on a split that leaks."""
    homes = sorted(home for home in folder.iterdir() if home.is_dir())
    rows = [row for home in homes for row in read_rows(home)]
    fitted = [row for row in rows if row.pace and not row.leaks and row.view != "predicted"]
    return list({row.name: row for row in fitted}.values())


def _spots(rows: Sequence[Row], pick: Pick, costs: Costs) -> list[Spot]:
    found = []
    for row in rows:
        cost, value = cost_of(row, costs), pick(row.figures)
        if cost is not None and value is not None:
            found.append(Spot(row.name, _start(row), tuple(get(cost) for get in _COSTS.values()), value))
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


def _start(row: Row) -> str:
    return "random weights" if row.initialisation.startswith("random") else "ImageNet weights"
