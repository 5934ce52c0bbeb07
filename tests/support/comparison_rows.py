"""Rows of comparisons with drawn answers: each figure follows from `skill`, without any network."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.papers.measures import measure
from trainer.papers.rows import Compute, Row, View, external_file, stem_of, store_predictions, write_row
from trainer.recipe import load_recipe
from trainer.scoring.predict import Quality
from trainer.scoring.predictions import Counts, Prediction

MIX = ("mel", "nv", "nv", "bkl")
BINARY = ("other", "mel")
SEVEN = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def answers(
    name: str,
    skill: float,
    labels: Sequence[str] = BINARY,
    positive: str = "mel",
    *,
    masks: bool = False,
    mix: Sequence[str] = MIX,
    count: int = 160,
    source: str = "ham10000",
) -> list[Prediction]:
    """Drawn answers to pictures that are the same for every name: two a lesion, diagnoses in turn.

    Args:
        name: decides the noise.
        skill: added to the score of a picture of `positive`, and taken from the errors of a mask; 0 is chance.
        labels, positive: of the classes; no labels give none.
        masks: whether there are masks.
        mix: diagnoses in turn.
        count: pictures.
        source: of the pictures.
    """
    draws = np.random.default_rng(zlib.crc32(f"{name} {source}".encode()))
    found = []
    for number in range(count):
        dx = mix[(number // 2) % len(mix)]
        score = 1 / (1 + np.exp(-(draws.normal() + skill * (dx == positive))))
        rest = {label: float((1 - score) / (len(labels) - 1)) for label in labels if label != positive}
        answer = {label: float(score) if label == positive else rest[label] for label in labels}
        missed = int(np.clip(40 - 15 * skill + 5 * draws.normal(), 0, 90))
        counts = Counts(100 - missed, 5, missed, 300) if masks else None
        who = (f"{source}{number}", f"{source}{number // 2}", "test", dx, "histo", 40.0, "male", "back")
        quality = Quality(1, 1, 1)
        found.append(Prediction(*who, "truth", "", quality, 0.1, 0.1, 1.0, counts, counts, answer, source=source))
    return found


def make_row(
    folder: Path,
    name: str,
    skill: float,
    *,
    table: str = "classifiers",
    view: View = "truth",
    system: str = "S7",
    positive: str = "mel",
    labels: Sequence[str] | None = None,
    masks: bool = False,
    recipe: str = "mobilenet-v3-large",
    away: float | None = None,
    away_mix: Sequence[str] = MIX,
    count: int = 160,
    noise: str = "",
    compute: dict[str, Any] | None = None,
    **changes: Any,
) -> Row:
    """Writes a row with its predictions, also on the source `msk-uda` where `away` says how good it is there.

    Args:
        folder: of the comparisons.
        name, skill, table, view, system, positive, masks, count: of the row; see `answers`.
        labels: the classes; those of two by `positive`, unless given.
        recipe: shipped, whose network it is.
        away, away_mix: skill and diagnoses on `msk-uda`.
        noise: decides the noise in place of the name.
        compute, changes: of the row's cost, and of the row.
    """
    classes = tuple(labels if labels is not None else ("other", positive) if positive else ())
    asked: dict[str, Any] = {"labels": classes, "positive": positive or "mel", "masks": masks}
    home, stem = folder / table, stem_of(name, view)
    home.mkdir(parents=True, exist_ok=True)
    own = store_predictions(answers(noise or name, skill, count=count, **asked), home / f"{stem}.parquet")
    external = {}
    if away is not None:
        there = answers(noise or name, away, source="msk-uda", mix=away_mix, **asked)
        external["msk-uda"] = measure(
            store_predictions(there, home / external_file(stem, "msk-uda")), classes, positive or "mel", 0.3, 200
        )
    start = "random" if name.endswith("-scratch") else "imagenet.pth, 9 of 9 tensors"
    cost = Compute(90, 20, 90, 6, 6, 40, 6, 128, 224, 1000, 20.0, 1.0, 1, "cpu", "a processor")
    row = Row(
        schema=1, table=table, name=name, system=system, what=f"the network {name}", view=view, roi_from="bundle toy"
        if view == "predicted" else "", data="HAM10000", split="column", leaks=False, shared=0.0, shared_melanoma=0.0,
        test_limit=None, seed=0, initialisation=start,
        recipe=replace(load_recipe(recipe), name=name).to_dict(), compute=replace(cost, **(compute or {})),
        labels=classes, positive=positive, predictions=f"{stem}.parquet", pace="medium", external=external,
        figures=measure(own, classes, positive or "mel", 0.3, 200),
    )  # fmt: skip
    row = replace(row, **changes)
    write_row(row, home)
    return row
