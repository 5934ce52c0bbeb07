"""Hyper-parameter search: many short trainings of one recipe, each with values drawn from a space (Optuna).

A search lives in one folder: the trials in `search.db`, each trial's run in `trial-NUMBER/`, and what came out in
`trials.csv`, `SEARCH.md`, `trials.png` and `best.toml`. It may be stopped whenever you like, and several processes may
work on it at once.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from edge_infer.files import write_atomically
from edge_infer.schema import dump
from trainer.data.ham10000 import Record
from trainer.errors import SearchError
from trainer.recipe import Recipe, save_recipe
from trainer.search.space import Space, apply
from trainer.search.tables import to_csv, to_markdown, trial_line
from trainer.training.curves import plot_trials
from trainer.training.loop import train
from trainer.training.tasks import monitored

Sampler = Literal["random", "tpe"]

STARTUP = 5
"""Trials that end before any is pruned."""

_STUDY = "search"
_LOCK = ".search.lock"


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes:
        best: number of the best trial.
        value: its monitored validation metric.
        params: its values by key.
        trials: all that have ended.
    """

    best: int
    value: float
    params: dict[str, Any]
    trials: int


def search(
    recipe: Recipe,
    space: Space,
    train_records: Sequence[Record],
    val_records: Sequence[Record],
    out: Path,
    *,
    trials: int,
    sampler: Sampler = "tpe",
    epochs: int | None = None,
    prune: bool = True,
    weights: Path | None = None,
    cache: Path = Path("cache"),
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> Found:
    """Runs trials until `trials` have ended, those of earlier calls counted, and writes tables, plot and best recipe.

    An interrupted trial is continued from its last epoch. One that fails is recorded with its error, and the search
    goes on. Trials are compared by the recipe's monitored metric on the validation pictures; those whose metric is
    below the median of the others at the same epoch are ended early.

    Args:
        recipe: what the space changes; its folds are left out while searching, so that there is a validation split.
        space: see `load_space`.
        train_records: pictures whose gradients are followed.
        val_records: pictures that compare the trials; the test split is never looked at.
        out: folder of the search.
        trials: how many there should be in the end.
        sampler: `random` (Bergstra and Bengio, JMLR 2012) or `tpe` (Bergstra et al., NeurIPS 2011).
        epochs: of each trial; None: the recipe's.
        prune: end trials early.
        weights: partial initialisation of each trial.
        cache: folder of decoded pictures.
        device: `cpu` or `cuda`.
        say: takes one line for each trial that has ended.

    Raises:
        SearchError: `out` holds a search of something else, or every trial has failed.
    """
    if not val_records:
        raise SearchError("There are no validation pictures to compare trials by.", "Use data with a validation split.")
    out.mkdir(parents=True, exist_ok=True)
    base = dataclasses.replace(recipe, folds=0, members=1)
    if epochs and "optim.epochs" not in space:
        base = dataclasses.replace(base, optim=dataclasses.replace(base.optim, epochs=epochs))
    metric = monitored(base)
    study = _open(out, base, space, len(val_records))
    study.pruner = (
        optuna.pruners.MedianPruner(STARTUP, n_warmup_steps=max(1, base.optim.epochs // 4))
        if prune
        else optuna.pruners.NopPruner()
    )
    while claimed := _claim(study, out, trials, sampler, base.seed):
        trial, lock = claimed
        try:
            _run(study, trial, base, space, train_records, val_records, out, weights, cache, device)
        finally:
            lock.release()
        with FileLock(out / _LOCK):
            write_results(study, recipe, out)
        say(trial_line(_trials(study)[trial.number], metric))
    with FileLock(out / _LOCK):
        found, ended = write_results(study, recipe, out), _ended(study)
        shown = [(trial.number, trial.state.name, trial.value, trial.params) for trial in ended]
        looks = {key: "choices" if item.choices else "log" if item.log else "linear" for key, item in space.items()}
        plot_trials(shown, looks, metric, out / "trials.png")
    if found is None:
        first = ended[0].user_attrs.get("error") if ended else "other processes are still at work"
        raise SearchError(
            f"None of {len(ended)} trials came to its end: {first}.",
            f"See {out / 'trials.csv'}; where the trials have failed, correct the cause and begin another search.",
        )
    return found


def write_results(study: optuna.Study, recipe: Recipe, out: Path) -> Found | None:
    """Writes `trials.csv`, `SEARCH.md` and `best.toml` from the stored trials.

    Where no trial has come to its end yet, the last two are left out and the result is None.
    """
    ended = _ended(study)
    metric = monitored(recipe)
    keys = list(dict.fromkeys(key for trial in ended for key in trial.params))
    write_atomically(out / "trials.csv", to_csv(ended, keys, metric).encode())
    if all(trial.state != TrialState.COMPLETE for trial in ended):
        return None
    best = study.best_trial
    assert best.value is not None
    write_atomically(
        out / "SEARCH.md", to_markdown(ended, keys, metric, recipe, best, study.user_attrs["val_pictures"]).encode()
    )
    summary = f"{recipe.name} with the values of trial {best.number} of a search: {metric} {best.value:.4f} on val."
    chosen = dataclasses.replace(apply(recipe, best.params), name=f"{recipe.name}-searched", summary=summary)
    save_recipe(chosen, out / "best.toml")
    return Found(best.number, best.value, best.params, len(ended))


def trial_folder(out: Path, number: int) -> Path:
    """Where a trial's run lies; trials count from 0."""
    return out / f"trial-{number:04d}"


def _open(out: Path, base: Recipe, space: Space, pictures: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with FileLock(out / _LOCK):
        study = optuna.create_study(
            storage=f"sqlite:///{out / 'search.db'}", study_name=_STUDY, direction="maximize", load_if_exists=True
        )
        known = study.user_attrs
        for key, value in (("recipe", base.to_dict()), ("space", dump(space)), ("val_pictures", pictures)):
            if known.get(key, value) != value:
                raise SearchError(f"{out} holds a search with other {key}.", "Choose another folder.")
            study.set_user_attr(key, value)
    return study


def _trials(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in _trials(study) if trial.state.is_finished()]


def _claim(
    study: optuna.Study, out: Path, trials: int, sampler: Sampler, seed: int
) -> tuple[optuna.Trial, FileLock] | None:
    """An interrupted trial that no process holds, or a new one, with its lock held; None: all trials are begun."""

    def hold(number: int) -> FileLock | None:
        # A seed that moves on with the trials, or a continued search would draw the same values again.
        study.sampler = RandomSampler(seed + number) if sampler == "random" else TPESampler(seed=seed + number)
        lock = FileLock(out / f".trial-{number:04d}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    with FileLock(out / _LOCK):
        begun = len(_trials(study))
        for number in [trial.number for trial in _trials(study) if trial.state == TrialState.RUNNING]:
            lock = hold(number)
            frozen = _trials(study)[number]
            if lock is not None and frozen.state == TrialState.RUNNING:
                return optuna.Trial(study, frozen._trial_id), lock
            if lock is not None:
                lock.release()
        if begun >= trials:
            return None
        lock = hold(begun)
        assert lock is not None
        return study.ask(), lock


def _draw(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """The trial's values; what it has drawn before an interruption stays."""
    params: dict[str, Any] = {}
    for key, item in space.items():
        if item.choices is not None:
            params[key] = trial.suggest_categorical(key, item.choices)
        elif isinstance(item.low, int) and isinstance(item.high, int):
            params[key] = trial.suggest_int(key, item.low, item.high, log=item.log)
        else:
            assert item.low is not None and item.high is not None
            params[key] = trial.suggest_float(key, item.low, item.high, log=item.log)
    return params


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    base: Recipe,
    space: Space,
    train_records: Sequence[Record],
    val_records: Sequence[Record],
    out: Path,
    weights: Path | None,
    cache: Path,
    device: str,
) -> None:
    metric, folder = monitored(base), trial_folder(out, trial.number)
    hopeless, failed, value = False, False, 0.0
    started = time.monotonic()

    def report(row: dict[str, float]) -> bool:
        nonlocal hopeless
        trial.report(row[metric], int(row["epoch"]))
        hopeless = row["epoch"] < chosen.optim.epochs and trial.should_prune()
        return hopeless

    try:
        chosen = apply(base, _draw(trial, space))
        options: dict[str, Any] = {"weights": weights, "cache": cache, "device": device, "after_epoch": report}
        outcome = train(chosen, train_records, val_records, folder, **options)
        value = outcome.best_metrics[metric]
        if not math.isfinite(value):
            raise SearchError(f"{metric} is undefined on these validation pictures.", "Validate on more pictures.")
        trial.set_user_attr("epochs", outcome.epochs)
    except Exception as error:
        failed = True
        trial.set_user_attr("error", f"{type(error).__name__}: {error}")
    finally:  # of an interrupted trial too
        trial.set_user_attr("minutes", trial.user_attrs.get("minutes", 0.0) + (time.monotonic() - started) / 60)
    if failed:
        study.tell(trial, state=TrialState.FAIL)
        return
    if hopeless:
        study.tell(trial, state=TrialState.PRUNED)
        (folder / "best.pt").unlink(missing_ok=True)
    else:
        study.tell(trial, value)
    (folder / "last.pt").unlink(missing_ok=True)
