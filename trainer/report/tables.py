"""All tables and figures of a bundle, from the predictions and measures that lie in one folder.

Nothing here runs a network or opens a picture, so that they can be made again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_infer.bundle.manifest import Evaluation, Manifest
from edge_infer.schema import dump
from trainer.bundle.recipe import learnt_by
from trainer.data.ham10000 import MELANOMA
from trainer.report import many
from trainer.report.figures import FIGURES, draw_figures
from trainer.report.goals import goals_table
from trainer.report.markdown import to_markdown
from trainer.report.model_card import model_card
from trainer.report.refusals import Refusals, detection, refusal_tables, refused
from trainer.report.source_goals import source_goals_table
from trainer.report.sources import by_source
from trainer.report.summary import Summary, summarise, to_evaluation
from trainer.scoring.columns import SUFFIX
from trainer.scoring.predictions import Prediction, RoiSource, read_predictions, write_predictions
from trainer.scoring.trials import read_trials
from trainer.training.folds import OUT_OF_FOLD

TRIALS_FILE = f"refusals{SUFFIX}"

# File stem and ROI of each predictions file on `test`; the first one is the one that the manifest reports. Beside them
# lie the predictions that the choices rest on, in a file named after `calibration.fitted_on`.
REPORTED: tuple[tuple[str, RoiSource], ...] = (("test", "predicted"), ("test-true-roi", "truth"))

TITLES = {
    "test": "Test split",
    "test-true-roi": "Test split, crops from the true masks",
    "val": "Validation split",
    OUT_OF_FOLD: "Pictures of the training and validation split, each answered by a network that left its lesion out",
}


@dataclass(frozen=True)
class Reported:
    """What was computed: of one source by file stem, or of several."""

    summaries: dict[str, Summary]
    several: many.Several | None = None


def write_stem(results: Path, stem: str, predictions: Sequence[Prediction]) -> None:
    """Stores predictions in a folder of results under a name of `TITLES`."""
    write_predictions(results / f"{stem}{SUFFIX}", predictions)


def read_stem(results: Path, stem: str) -> list[Prediction]:
    """Reads what `write_stem` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    return read_predictions(results / f"{stem}{SUFFIX}")


def read_summaries(results: Path, manifest: Manifest) -> dict[str, Summary]:
    """Figures of every predictions file of a bundle, by file stem."""
    m = manifest
    return {
        stem: summarise(read_stem(results, stem), m.labels, MELANOMA, m.operating_points, m.default_operating_point)
        for stem in (*(stem for stem, _ in REPORTED), m.calibration.fitted_on)
    }


def read_refused(results: Path, manifest: Manifest) -> Refusals:
    """What a bundle refuses, from the stored measures."""
    trials = read_trials(results / TRIALS_FILE)
    return Refusals(refused(trials, manifest), detection(trials, read_stem(results, REPORTED[0][0]), manifest))


def figure_names(results: Path) -> dict[str, str]:
    """File and caption of each figure of a folder of results."""
    sources = list(dict.fromkeys(p.source for p in read_stem(results, REPORTED[0][0])))
    return dict(FIGURES) if len(sources) == 1 else many.figure_names(sources)


def write_tables(results: Path, manifest: Manifest, protocol: str = "") -> Reported:
    """Computes all figures from the stored predictions; writes `evaluation.json`, `RESULTS.md` and the figures there.

    Args:
        results: folder of the predictions.
        manifest: labels, rules and operating points.
        protocol: table of the papers' own protocol, where there is one.
    """
    test = read_stem(results, REPORTED[0][0])
    if len({p.source for p in test}) > 1:
        learnt = learnt_by(manifest)
        rest = [read_stem(results, stem) for stem in (REPORTED[1][0], manifest.calibration.fitted_on)]
        found = many.several(results, manifest, learnt, test, rest[0], rest[1])
        refusals = read_refused(results, manifest)
        shares: dict[str, object] = {"refused_trials": refusals.shares, "detection": dump(refusals.detection)}
        many.write(results, manifest, found, refusal_tables(refusals), shares, protocol)
        many.draw(results, manifest, test)
        return Reported({}, found)
    return Reported(_write_single(results, manifest, protocol))


def _write_single(results: Path, manifest: Manifest, protocol: str) -> dict[str, Summary]:
    summaries = read_summaries(results, manifest)
    refusals = read_refused(results, manifest)
    figures = {**dump(summaries), "refused": refusals.shares, "detection": dump(refusals.detection)}
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    (results / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    points = manifest.operating_points
    tables = "\n".join(to_markdown(summary, TITLES[stem], points) for stem, summary in summaries.items())
    made = "Made by `python -m trainer report` from the predictions here."
    head = f"# Results of the bundle `{manifest.name}`\n\n{made}\n\n"
    test = REPORTED[0][0]
    draw_figures(results, read_stem(results, test), summaries[test], manifest)
    pictures = "".join(f"![{caption}]({name})\n\n" for name, caption in FIGURES.items())
    above = f"## Figures, {TITLES[test].lower()}\n\n{pictures}{refusal_tables(refusals)}\n"
    rows = by_source(read_stem(results, test), manifest.labels, points, manifest.calibration.prior, learnt_by(manifest))
    goals = source_goals_table(manifest.name, rows) or goals_table(summaries[test])
    head += f"## Goals, {TITLES[test].lower()}\n\n{goals}\n"
    if protocol:
        head += f"{many.PROTOCOL}\n\n{protocol}\n"
    (results / "RESULTS.md").write_text(head + above + tables, encoding="utf-8")
    return summaries


def with_figures(manifest: Manifest, evaluation: Evaluation, summary: Summary) -> Manifest:
    """The manifest with what was measured on `test`, overall and at each operating point."""
    points = tuple(
        replace(
            point,
            metrics=summary.operating_points[point.name],
            bands=tuple(
                replace(band, metrics=figures)
                for band, figures in zip(point.bands, summary.bands[point.name], strict=True)
            ),
        )
        for point in manifest.operating_points
    )
    return replace(manifest, evaluations=(evaluation,), operating_points=points)


def card_text(results: Path, manifest: Manifest, reported: Reported) -> str:
    """The model card of a manifest that has its figures."""
    refused = read_refused(results, manifest)
    if reported.several is not None:
        return model_card(manifest, (), refused, reported.several)
    return model_card(manifest, [reported.summaries[REPORTED[0][0]]], refused)


def measured(results: Path, manifest: Manifest, reported: Reported) -> tuple[Manifest, str]:
    """A written bundle's manifest with its figures, and the text of its model card.

    Args:
        results: folder of its predictions and measures.
        manifest: as written, without figures.
        reported: what was computed from them.
    """
    if reported.several is not None:
        complete = many.with_figures(manifest, reported.several)
        return complete, card_text(results, complete, reported)
    summary = reported.summaries[REPORTED[0][0]]
    command = f"python -m trainer evaluate --bundle exported/{manifest.name} --data DIR"
    complete = with_figures(manifest, to_evaluation(summary, manifest.provenance.data, command), summary)
    return complete, card_text(results, complete, reported)
