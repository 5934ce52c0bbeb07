"""Trains and evaluates the rows of a comparison; what is done already is not done again."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from trainer.data.ham10000 import DX, Record
from trainer.data.isic import detect, read_dataset
from trainer.data.splits import LEAKING, named_split, siblings, spread, standard_split
from trainer.errors import DataError, RecipeError
from trainer.papers.ablations import BASE
from trainer.papers.cost import curve, epoch_seconds, processor, processor_seconds
from trainer.papers.job import Job, beyond_defaults, trained
from trainer.papers.measures import Figured, measure, threshold_on
from trainer.papers.plan import Plan
from trainer.papers.plans import plans
from trainer.papers.predictions import (
    predict_masks,
    predict_with,
    reference_classes,
    reference_masks,
    write_predicted_masks,
)
from trainer.papers.render import write_table
from trainer.papers.rows import (
    SCHEMA,
    Compute,
    Row,
    View,
    external_file,
    folder_of,
    judged_elsewhere,
    ledger_of,
    read_row,
    stem_of,
    store_predictions,
    write_row,
)
from trainer.recipe import Recipe, recipe_from_dict
from trainer.scoring.columns import SUFFIX
from trainer.scoring.ledger import enter, of_test
from trainer.scoring.networks import Segmenter, adjust_for_classes, open_segmenter
from trainer.scoring.origin import digest, digest_files
from trainer.scoring.predictions import Prediction, RoiSource
from trainer.training.checkpoint import BEST, LAST, class_names, load_checkpoint
from trainer.training.initial import RANDOM, prepared, weights_for
from trainer.training.loop import train

POSITIVE = {"dx": "mel", "melanoma": "mel", "keratosis": "bkl"}
REFERENCES = ("random", "constant-negative")
_WORDS = {
    "random": "each answer drawn by chance",
    "constant-negative": "always the harmless answer: no lesion, no melanoma, a nevus",
    "ellipse": "a centred ellipse of the training masks' mean area",
}


def compare(job: Job, say: Callable[[str], None] = print) -> Path:
    """Makes or completes a comparison; returns its Markdown table.

    Raises:
        TrainerError: an unknown row, unreadable data, weights that do not fit.
    """
    chosen = plans(job.table, job.base, job.only)
    fitted = [job.budget.fit(plan) for plan in chosen]
    if any(plan.predicted_masks for plan in chosen) and not job.segmenter:
        raise DataError(
            "One row learns from predicted outlines, and there is no segmenter.",
            "Give --segmenter, or choose other rows with --only.",
        )
    for name in job.weights:
        if name not in [plan.name for plan in chosen]:
            raise DataError(f"--init-weights names '{name}', which is no row here.", "Name a row of this table.")
    work = _Work(job, say)
    for plan, full in zip(fitted, chosen, strict=True):
        work.row(plan, full.recipe)
    targets = sorted({plan.recipe.data.target for plan in fitted})
    work.references(targets, masks=any(plan.recipe.task != "classification" for plan in fitted))
    return write_table(folder_of(job.out, job.table, job.split), job.table)


def complete(job: Job, say: Callable[[str], None] = print) -> None:
    """The rows of S10 and the Markdown table of a comparison whose other rows are there; nothing is trained.

    Raises:
        TrainerError: unreadable data.
    """
    chosen = plans(job.table, job.base)
    targets = sorted({plan.recipe.data.target for plan in chosen})
    _Work(job, say).references(targets, masks=any(plan.recipe.task != "classification" for plan in chosen))
    write_table(folder_of(job.out, job.table, job.split), job.table)


def views_of(job: Job, plan: Plan) -> list[View]:
    """How a row is shown the pictures; each way has files of its own."""
    recipe = plan.recipe
    if recipe.task != "classification":
        return ["picture"]
    if recipe.data.roi is None:
        return ["whole"]
    if job.table == "ablations" and not (plan.predicted_masks or plan.name.endswith(BASE)):
        return ["truth"]
    return ["truth", "predicted"] if job.segmenter and not recipe.data.metadata else ["truth"]


class _Work:
    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self.folder = folder_of(job.out, job.table, job.split)
        self.data = detect(job.data)
        records = read_dataset(job.data)
        whole = named_split(records, job.split, job.split_seed)
        budget = job.budget
        limits = {"train": budget.limit, "val": budget.limit, "test": budget.test_limit or budget.limit}
        self.parts = {name: spread(records, limits[name]) for name, records in whole.items()}
        self.full = {name: len(records) for name, records in whole.items()}
        if not all(self.parts.values()):
            raise DataError("The split leaves nothing to train, choose or test on.", "Choose another --split.")
        self.shared = siblings(self.parts)
        self.tested = of_test(records, self.parts["test"])
        self.learnt = of_test(records, [*self.parts["train"], *self.parts["val"]])
        self.external = _external(job.external, {record.source for part in whole.values() for record in part})
        self.segmenter: Segmenter | None = None

    def row(self, plan: Plan, full: Recipe) -> None:
        recipe = plan.recipe
        weights = self._weights(plan)
        run = self._run(plan)
        views = views_of(self.job, plan)
        if not self.job.fresh and all(self._done(plan.name, view, plan) for view in views):
            self.say(f"{plan.name}: done before")
            return
        start, initialisation = (None, RANDOM) if weights is None else prepared(recipe, weights, run)
        pictures = len(self.parts["train"])
        self.say(f"{plan.name}: {pictures} pictures, {recipe.data.size} pixels, initial weights {initialisation}")
        self._enter(plan.name, views[0], ["learns", run.name], self.learnt, "the training of a row")
        train_records, val_records = self._training_records(plan)
        train(
            self._taught(trained(plan)),
            train_records,
            val_records,
            run,
            weights=start,
            measured=self.parts["test"],
            resume=bool(plan.weights_of) or not self.job.fresh,
            cache=self.job.cache,
            device=self.job.device,
        )
        kept = run / self._kept()
        checkpoint = load_checkpoint(kept)
        seconds = epoch_seconds(run)
        for view in views:
            started = time.monotonic()
            found, threshold = self._evaluate(kept, plan, view)
            elsewhere = self.external if judged_elsewhere(view) else {}
            for records in elsewhere.values():
                self._enter(plan.name, view, self._decides(kept, plan, view), records)
            away = {name: self._answer(kept, plan, view, records) for name, records in elsewhere.items()}
            compute = Compute(
                train_images=len(self.parts["train"]),
                val_images=len(self.parts["val"]),
                full_train_images=self.full["train"],
                epochs=len(seconds),
                planned_epochs=recipe.optim.epochs,
                recipe_epochs=full.optim.epochs,
                best_epoch=checkpoint.epoch,
                size=recipe.data.size,
                recipe_size=round(plan.scale * full.data.size),
                parameters=sum(value.numel() for value in checkpoint.model.parameters()),
                train_minutes=round(sum(seconds) / 60, 2),
                evaluate_minutes=round((time.monotonic() - started) / 60, 2),
                threads=torch.get_num_threads(),
                device=self.job.device if self.job.device == "cpu" else torch.cuda.get_device_name(),
                hardware=processor(),
                core_minutes=None if (worked := processor_seconds(run)) is None else round(worked / 60, 2),
            )
            row = self._row(plan.name, plan.system, plan.what, view, found, class_names(recipe), recipe, threshold)
            row = replace(row, segmenter=self._outlines(plan, view), initialisation=initialisation)
            row = replace(row, pace=self.job.pace, cut=self.job.cut, curve=curve(run))
            row = replace(row, external=self._external_figures(row, away, threshold))
            self._write(replace(row, recipe=recipe.to_dict(), compute=compute))

    def references(self, targets: Sequence[str], masks: bool) -> None:
        """S10: rows that learnt nothing, on the same pictures."""
        test, system = self.parts["test"], "S10"
        blank: list[Prediction] = []
        if masks:
            for kind in (*REFERENCES, "ellipse"):
                name = f"{kind}-mask"
                if self.job.fresh or not self._done(name, "picture"):
                    self._enter(name, "picture", kind, self.tested)
                    found = predict_masks(reference_masks(kind, self.parts["train"]), test)
                    self._write(self._row(name, system, _WORDS[kind], "picture", found, (), None, None))
        for target in targets:
            labels = {"dx": DX, "melanoma": ("other", "mel"), "keratosis": ("other", "bkl")}.get(target)
            if labels is None:
                continue
            majority = "nv" if target == "dx" else "other"
            for kind in REFERENCES:
                name = f"{kind}-{target}"
                if self.job.fresh or not self._done(name, "whole"):
                    self._enter(name, "whole", kind, self.tested)
                    blank = blank or predict_masks(reference_masks("constant-negative", ()), test)
                    found = [replace(p, raw=None, clean=None) for p in reference_classes(kind, blank, labels, majority)]
                    row = self._row(name, system, _WORDS[kind], "whole", found, labels, None, None)
                    self._write(row)

    def _segmenter(self) -> Segmenter:
        """The job's segmenter, opened once.

        Raises:
            DataError: it names none.
        """
        if self.segmenter is None:
            if not self.job.segmenter:
                raise DataError("There is no segmenter for predicted outlines.", "Give --segmenter.")
            self.segmenter = open_segmenter(self.job.segmenter, self.job.device)
        return self.segmenter

    def _training_records(self, plan: Plan) -> tuple[list[Record], list[Record]]:
        if not plan.predicted_masks:
            return self.parts["train"], self.parts["val"]
        segmenter, known = self._segmenter(), [*self.parts["train"], *self.parts["val"]]
        name = re.sub(r"\W+", "-", segmenter.name)
        folder = self.job.runs / "masks" / f"{name}-{segmenter.identity[:8]}"
        outlined = write_predicted_masks(segmenter, known, folder)
        return outlined[: len(self.parts["train"])], outlined[len(self.parts["train"]) :]

    def _evaluate(self, file: Path, plan: Plan, view: View) -> tuple[list[Prediction], float | None]:
        """Predictions on `test`, and the threshold that `val` chooses, seen in the same way."""
        recipe = plan.recipe
        labels = class_names(recipe)
        val = self._answer(file, plan, view, self.parts["val"]) if labels else []
        threshold = threshold_on(val, labels, POSITIVE[recipe.data.target]) if labels else None
        self._enter(plan.name, view, self._decides(file, plan, view), self.tested)
        return self._answer(file, plan, view, self.parts["test"]), threshold

    def _decides(self, file: Path, plan: Plan, view: View) -> list[object]:
        """What a row's answers depend on."""
        outlines = self._segmenter().identity if view == "predicted" else ""
        return [digest_files((file,)), view, plan.views, plan.post_hoc, outlines]

    def _answer(self, file: Path, plan: Plan, view: View, records: Sequence[Record]) -> list[Prediction]:
        roi: RoiSource = "predicted" if view == "predicted" else "truth"
        segmenter = self._segmenter() if view == "predicted" else None
        found = predict_with(
            load_checkpoint(file), records, roi=roi, segmenter=segmenter, device=self.job.device, views=plan.views
        )
        return adjust_for_classes(found, self.parts["train"], class_names(plan.recipe)) if plan.post_hoc else found

    def _external_figures(
        self, row: Row, away: Mapping[str, Sequence[Prediction]], threshold: float | None
    ) -> dict[str, Figured]:
        """Figures on sources that the row did not learn from, and their predictions on disk."""
        stem = Path(row.predictions).stem
        stored = {
            name: store_predictions(found, self.folder / external_file(stem, name)) for name, found in away.items()
        }
        return {name: measure(found, row.labels, row.positive or "mel", threshold) for name, found in stored.items()}

    def _enter(self, name: str, view: View, decides: object, records: Sequence[Record], use: str = "a row") -> None:
        """Writes down that a row is about to read these pictures of the data's own `test`, if there are any."""
        job = self.job
        what, reason = f"{job.table}/{stem_of(name, view)}", f"{use} of the comparison {job.table}, split {job.split}"
        enter(ledger_of(job.out), what, digest(decides), records, "python -m trainer compare", reason)

    def _row(
        self,
        name: str,
        system: str,
        what: str,
        view: View,
        found: Sequence[Prediction],
        labels: tuple[str, ...],
        recipe: Recipe | None,
        threshold: float | None,
    ) -> Row:
        positive = POSITIVE[recipe.data.target] if recipe and labels else labels[-1] if len(labels) == 2 else ""
        positive = positive or ("mel" if labels else "")
        job, file = self.job, f"{stem_of(name, view)}{SUFFIX}"
        stored = store_predictions(found, self.folder / file)
        return Row(
            schema=SCHEMA,
            table=job.table,
            name=name,
            system=system,
            what=what,
            view=view,
            roi_from=self.segmenter.name if view == "predicted" and self.segmenter else "",
            data=self.data,
            split=job.split,
            leaks=job.split in LEAKING,
            shared=round(self.shared.all, 4),
            shared_melanoma=round(self.shared.melanoma, 4),
            test_limit=None if len(found) == self.full["test"] else len(found),
            seed=recipe.seed if recipe else 0,
            initialisation="",
            recipe=None,
            compute=None,
            labels=labels,
            positive=positive,
            predictions=file,
            figures=measure(stored, labels, positive or "mel", threshold),
        )

    def _write(self, row: Row) -> None:
        self.say(f"{write_row(row, self.folder)}")

    def _done(self, name: str, view: View, plan: Plan | None = None) -> bool:
        """Whether the folder holds this row, made from the same recipe, weights, segmenter and numbers of pictures."""
        path = self.folder / f"{stem_of(name, view)}.json"
        if not path.is_file():
            return False
        row = read_row(path)
        if row.figures.images != len(self.parts["test"]) or (row.recipe is None) != (plan is None):
            return False
        if plan is None or row.recipe is None or row.compute is None:
            return True
        try:
            before = recipe_from_dict(row.recipe, path.name)
        except RecipeError:
            return False
        weights = self._weights(plan)
        begun = weights.name if weights else RANDOM
        return (
            before == plan.recipe
            and row.initialisation.startswith(begun)
            and row.compute.train_images == len(self.parts["train"])
            and row.segmenter in ("", self._outlines(plan, view))
            and (self._kept() == BEST or row.compute.best_epoch == row.compute.epochs)
            and set(row.external) == (set(self.external) if judged_elsewhere(view) else set())
            and row.pace == self.job.pace
        )

    def _kept(self) -> str:
        """The checkpoint that is evaluated: a few hundred pictures of `val` choose epochs by chance.

        An ablation's difference is smaller than that chance, so its rows all keep the last epoch.
        """
        return LAST if self.job.table == "ablations" or self.job.budget.fixed else BEST

    def _outlines(self, plan: Plan, view: View) -> str:
        """Which segmenter's outlines a row learns from or is shown; "" where they are the true ones."""
        return self._segmenter().identity if plan.predicted_masks or view == "predicted" else ""

    def _weights(self, plan: Plan) -> Path | None:
        return None if plan.from_scratch else weights_for(trained(plan), self.job.weights, self.job.imagenet)

    def _taught(self, recipe: Recipe) -> Recipe:
        """The recipe with the checkpoints of other rows in the place of their names as teachers.

        Raises:
            DataError: a teacher's row has not been made at this budget.
        """
        if recipe.distill is None:
            return recipe
        known = {plan.name: plan for plan in plans(self.job.table, self.job.base)}
        files = []
        for name in recipe.distill.teachers:
            if name not in known:
                files.append(name)
                continue
            teacher = self.job.budget.fit(known[name])
            file = self._run(teacher) / self._kept()
            if not (file.is_file() and all(self._done(name, view, teacher) for view in views_of(self.job, teacher))):
                raise DataError(
                    f"{recipe.name} learns from {name}, which is not trained.", f"Make the row {name} first."
                )
            files.append(str(file))
        return replace(recipe, distill=replace(recipe.distill, teachers=tuple(files)))

    def _run(self, plan: Plan) -> Path:
        """A row's folder, whose name changes with everything that decides the run, except the code.

        Keys that have their defaults do not count, so that a recipe keeps its folder when recipes get new ones.
        """
        recipe, weights = trained(plan), self._weights(plan)
        decides: list[object] = [beyond_defaults(recipe), self.job.split, self.job.split_seed]
        decides += [weights and weights.name, self._segmenter().identity if plan.predicted_masks else ""]
        decides += [[record.image_id for record in self.parts[part]] for part in ("train", "val")]
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
        size_words = f"{recipe.data.size}px-{recipe.optim.epochs}ep-{len(self.parts['train'])}"
        return self.job.runs / f"{recipe.name}-{size_words}-{digest}"


def _external(folder: Path | None, known: Collection[str]) -> dict[str, list[Record]]:
    """The `test` pictures with masks of another data set, by source.

    Raises:
        DataError: it has none, or one of its sources is learnt from.
    """
    if folder is None:
        return {}
    found: dict[str, list[Record]] = {}
    for record in standard_split(read_dataset(folder))["test"]:
        if record.mask_path is not None:
            found.setdefault(record.source, []).append(record)
    if not found or set(found) & set(known):
        raise DataError(f"{folder} holds no other source with masks in its test split.", "Name another folder.")
    return found
