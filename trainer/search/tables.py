"""What a search has found, as a line, a CSV file and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from trainer.recipe import Recipe

_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "ended early", TrialState.FAIL: "failed"}


def trial_line(trial: FrozenTrial, metric: str) -> str:
    """What became of a trial, for the log."""
    values = ", ".join(f"{key} {_short(value)}" for key, value in trial.params.items())
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number} failed: {trial.user_attrs.get('error')} ({values})"
    state = "ended early" if trial.state == TrialState.PRUNED else "done"
    return f"trial {trial.number} {state}: {metric} {_short(trial.value)} ({values})"


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def to_csv(trials: Sequence[FrozenTrial], keys: Sequence[str], metric: str) -> str:
    """All trials, one a line, with the values of these keys."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", metric, "epochs", "minutes", *keys, "error"])
    for trial in trials:
        notes = trial.user_attrs
        row = [trial.number, _STATES[trial.state], trial.value, notes.get("epochs"), notes.get("minutes")]
        writer.writerow([*row, *(trial.params.get(key) for key in keys), notes.get("error")])
    return stream.getvalue()


def to_markdown(
    trials: Sequence[FrozenTrial],
    keys: Sequence[str],
    metric: str,
    recipe: Recipe,
    best: FrozenTrial,
    val_pictures: int,
) -> str:
    """The page of a search: its best trial, then all of them."""
    count = {state: sum(trial.state == state for trial in trials) for state in _STATES}
    lines = [
        f"# Search around the recipe `{recipe.name}`",
        "",
        f"{len(trials)} trials: {count[TrialState.COMPLETE]} done, {count[TrialState.PRUNED]} ended early, "
        f"{count[TrialState.FAIL]} failed. Best: trial {best.number}, {metric} {_short(best.value)} on the "
        f"{val_pictures} validation pictures that chose it, which flatters it: report figures on the test split.",
        "",
        "Train the best one: `python -m trainer train best.toml`, with the path of the file beside this one.",
        "",
        f"| trial | state | {metric} | epochs | minutes | {' | '.join(keys)} |",
        f"| --- | --- | ---: | ---: | ---: |{' ---: |' * len(keys)}",
    ]
    order = sorted(trials, key=lambda trial: (trial.state != TrialState.COMPLETE, -(trial.value or 0.0), trial.number))
    for trial in order:
        notes = trial.user_attrs
        cells = [str(trial.number), _STATES[trial.state], _short(trial.value), _short(notes.get("epochs"))]
        cells += [f"{notes.get('minutes', 0):.1f}", *(_short(trial.params.get(key)) for key in keys)]
        lines.append(f"| {' | '.join(cells)} |")
    errors = [f"- trial {trial.number}: {trial.user_attrs['error']}" for trial in trials if "error" in trial.user_attrs]
    if errors:
        lines += ["", "Errors:", "", *errors]
    return "\n".join(lines) + "\n"
