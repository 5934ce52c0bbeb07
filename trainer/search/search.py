"""Hyper-parameter search: many short trainings of one recipe, each with values drawn from a space (Optuna).

A search lives in one folder: the trials in `search.db`, each trial's run in `trial-NUMBER/`, and what came out in
`trials.csv`, `SEARCH.md`, `trials.png` and `best.toml`. It may be stopped whenever you like, and several processes may
work on it at once.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import io
import math
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from edge_infer.files import write_atomically
from edge_infer.schema import SchemaError, dump, parse
from trainer.data.ham10000 import Record
from trainer.errors import RecipeError, SearchError
from trainer.recipe import Recipe, recipe_from_dict, save_recipe
from trainer.training.curves import plot_trials
from trainer.training.loop import train
from trainer.training.tasks import monitored

SPACE_FOLDER = Path(__file__).parents[1] / "spaces"

Sampler = Literal["random", "tpe"]

STARTUP = 5
"""Trials that end before any is pruned."""

_STUDY = "search"
_LOCK = ".search.lock"
_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "ended early", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Dimension:
    """The values that one key of a recipe may take: a range, or a list of choices.

    Attributes:
        low, high: ends of a range, both included; whole numbers where the key takes whole numbers.
        log: draw evenly on a logarithmic scale.
        choices: instead of a range.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None


Space = dict[str, Dimension]
"""Dimensions by the key's path in the recipe, for example `optim.learning_rate`."""


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


def load_space(path: Path, recipe: Recipe) -> Space:
    """Reads a search space, a TOML file laid out as the recipe is, and tries its ends and choices on the recipe.

    Raises:
        RecipeError: no TOML, an unknown key (the nearest known one is named), or a value that the recipe does not take.
    """
    if not path.is_file():
        known = sorted(item.stem for item in SPACE_FOLDER.glob("*.toml"))
        near = difflib.get_close_matches(path.stem, known, n=1)
        hint = f"Did you mean {SPACE_FOLDER / near[0]}.toml?" if near else f"Examples are in {SPACE_FOLDER}."
        raise RecipeError(f"There is no search space {path}.", hint)
    try:
        space = dict(_dimensions(tomllib.loads(path.read_text(encoding="utf-8")), ""))
    except (tomllib.TOMLDecodeError, SchemaError) as error:
        raise RecipeError(f"{path}: {error}.", "Correct the search space.") from error
    if not space:
        raise RecipeError(f"{path} names no key.", "Give at least one key a range or choices.")
    for key, item in space.items():
        # Taken as the recipe takes them: ends of a range may be written as whole numbers where the key is none.
        taken = [_read(apply(recipe, {key: value}, str(path)), key) for value in item.choices or (item.low, item.high)]
        if item.choices is None:
            space[key] = dataclasses.replace(item, low=taken[0], high=taken[1])
    return space


def apply(recipe: Recipe, params: Mapping[str, Any], where: str = "trial") -> Recipe:
    """The recipe with some values changed, by their keys' paths.

    Raises:
        RecipeError: an unknown key (the nearest known one is named), or a value that the recipe does not take.
    """
    plain = recipe.to_dict()
    for key, value in params.items():
        *sections, name = key.split(".")
        table = plain
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise RecipeError(
                    f"{where}: {key}: the recipe has no table '{section}'.", "Give it one, or drop the key."
                )
        table[name] = value
    return recipe_from_dict(plain, where)


def _read(recipe: Recipe, key: str) -> Any:
    value: Any = recipe.to_dict()
    for part in key.split("."):
        value = value[part]
    return value


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
        say(_line(_trials(study)[trial.number], metric))
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
    write_atomically(out / "trials.csv", _csv(ended, keys, metric).encode())
    if all(trial.state != TrialState.COMPLETE for trial in ended):
        return None
    best = study.best_trial
    assert best.value is not None
    write_atomically(
        out / "SEARCH.md", _markdown(ended, keys, metric, recipe, best, study.user_attrs["val_pictures"]).encode()
    )
    summary = f"{recipe.name} with the values of trial {best.number} of a search: {metric} {best.value:.4f} on val."
    chosen = dataclasses.replace(apply(recipe, best.params), name=f"{recipe.name}-searched", summary=summary)
    save_recipe(chosen, out / "best.toml")
    return Found(best.number, best.value, best.params, len(ended))


def trial_folder(out: Path, number: int) -> Path:
    """Where a trial's run lies; trials count from 0."""
    return out / f"trial-{number:04d}"


def _dimensions(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Dimension]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if not isinstance(value, dict):
            raise SchemaError(f"{key}: expected a range such as {{ low = 0.1, high = 0.5 }}, or choices")
        is_range = value.keys() & {"low", "high", "log", "choices"}
        if not is_range or any(isinstance(item, dict) for item in value.values()):
            yield from _dimensions(value, f"{key}.")
            continue
        found = parse(Dimension, value, key)
        if (found.choices is None) == (found.low is None or found.high is None):
            raise SchemaError(f"{key}: expected either low and high, or choices")
        if found.low is not None and found.high is not None and not found.low < found.high:
            raise SchemaError(f"{key}: low is not below high")
        if found.log and (found.low is None or found.low <= 0):
            raise SchemaError(f"{key}: log needs a range above zero")
        yield key, found


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


def _line(trial: FrozenTrial, metric: str) -> str:
    values = ", ".join(f"{key} {_short(value)}" for key, value in trial.params.items())
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number} failed: {trial.user_attrs.get('error')} ({values})"
    state = "ended early" if trial.state == TrialState.PRUNED else "done"
    return f"trial {trial.number} {state}: {metric} {_short(trial.value)} ({values})"


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _csv(trials: Sequence[FrozenTrial], keys: Sequence[str], metric: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", metric, "epochs", "minutes", *keys, "error"])
    for trial in trials:
        notes = trial.user_attrs
        row = [trial.number, _STATES[trial.state], trial.value, notes.get("epochs"), notes.get("minutes")]
        writer.writerow([*row, *(trial.params.get(key) for key in keys), notes.get("error")])
    return stream.getvalue()


def _markdown(
    trials: Sequence[FrozenTrial],
    keys: Sequence[str],
    metric: str,
    recipe: Recipe,
    best: FrozenTrial,
    val_pictures: int,
) -> str:
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
