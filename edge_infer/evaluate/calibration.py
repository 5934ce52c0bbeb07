"""Fits a site's overlay from labelled pictures and their answers; nothing here runs a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_infer import __version__
from edge_infer.bundle.site import SITE_SCHEMA, Site, SiteFit, SiteThreshold
from edge_infer.bundle.store import Bundle
from edge_infer.errors import InputError
from edge_infer.evaluate.answers import Case
from edge_infer.evaluate.figures import arrays
from edge_infer.evaluate.metrics import Bools, Floats, calibration_error
from edge_infer.steps.recalibrate import log_odds, recalibrated

FEWEST = 50
"""Lesions or patients with a melanoma, and without one, below which nothing is fitted."""
TEMPERATURES = (0.1, 10.0)
_FOLDS = 5


@dataclass(frozen=True)
class Aim:
    """What a threshold is chosen for at the site: at least this sensitivity or specificity, 0..1."""

    figure: Literal["sensitivity", "specificity"]
    at_least: float


def calibrate(
    cases: Sequence[Case], bundle: Bundle, name: str, group_column: str | None, aims: Mapping[str, Aim] | None = None
) -> Site:
    """Fits temperature and shift, and moves or chooses the thresholds.

    Args:
        cases: labelled pictures with answers of this bundle without an overlay; those without a probability are left
            out.
        bundle: that answered.
        name: of the site.
        group_column: what `Labelled.group` came from.
        aims: by operating point, what its threshold is chosen for anew; the others move with the probabilities, so
            that none of their decisions changes.

    Raises:
        InputError: there are too few cases, the answers do not rank the site's pictures, or an aim names no operating
            point.
    """
    answered = [case for case in cases if case.probability is not None]
    with_melanoma = {case.picture.group for case in answered if case.picture.melanoma}
    without = {case.picture.group for case in answered} - with_melanoma
    if len(with_melanoma) < FEWEST or len(without) < FEWEST:
        raise InputError(
            f"The answered pictures show {len(with_melanoma)} lesions or patients with a melanoma and {len(without)} "
            f"without; at least {FEWEST} of each are needed.",
            "Label more pictures, or use the bundle as it is.",
        )
    score, positive = arrays(answered)
    groups = np.unique([case.picture.group for case in answered], return_inverse=True)[1]
    temperature, shift = fit(score, positive)
    points = bundle.manifest.operating_points
    unknown = set(aims or {}) - {point.name for point in points}
    if unknown:
        raise InputError(
            f"The bundle has no operating point '{unknown.pop()}'.",
            f"It has: {', '.join(point.name for point in points)}.",
        )
    after = _map(score, temperature, shift)
    thresholds = {
        point.name: _chosen(after, positive, aims[point.name])
        if aims and point.name in aims
        else SiteThreshold(_figures(recalibrated(point.threshold, temperature, shift)), point.rule, moved=True)
        for point in points
    }
    return Site(
        schema=SITE_SCHEMA,
        name=name,
        bundle_name=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_sha256=bundle.sha256,
        edge_infer=__version__,
        pictures=len(answered),
        groups=int(groups.max()) + 1,
        melanomas=int(positive.sum()),
        group_column=group_column,
        prevalence=_figures(float(positive.mean())),
        temperature=temperature,
        shift=shift,
        thresholds=thresholds,
        fit=_quality(score, positive, groups),
    )


def fit(score: Floats, positive: Bools) -> tuple[float, float]:
    """Temperature and shift of greatest likelihood, by Newton's method.

    Args:
        score: probabilities of melanoma, shape (n,).
        positive: the truth, shape (n,).

    Raises:
        InputError: the temperature leaves `TEMPERATURES`: the scores do not rank these pictures, or separate them
            without a mistake.
    """
    x = np.array([log_odds(float(p)) for p in score])
    design = np.stack((x, np.ones_like(x)), 1)
    beta = np.array([1.0, 0.0])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -50, 50)))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (positive - p))
        beta = beta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10 or abs(beta[0]) > 2 / TEMPERATURES[0]:
            break
    if not 1 / TEMPERATURES[1] <= beta[0] <= 1 / TEMPERATURES[0]:
        raise InputError(
            f"The best slope is {beta[0]:.3g}: the bundle's answers do not rank these pictures, or all too well.",
            "Check the label column with `edge-infer evaluate`.",
        )
    return _figures(1 / float(beta[0])), _figures(float(beta[1]))


def _map(score: Floats, temperature: float, shift: float) -> Floats:
    return np.array([recalibrated(float(p), temperature, shift) for p in score])


def _chosen(score: Floats, positive: Bools, aim: Aim) -> SiteThreshold:
    """The threshold that holds the aim and gives the most of the other figure, between two neighbouring scores."""
    wanted = np.sort(score[positive] if aim.figure == "sensitivity" else score[~positive])
    if aim.figure == "sensitivity":
        last = wanted[len(wanted) - int(np.ceil(aim.at_least * len(wanted) - 1e-9))]
        below = score[score < last]
        threshold = (last + below.max()) / 2 if len(below) else last
    else:
        last = wanted[int(np.ceil(aim.at_least * len(wanted) - 1e-9)) - 1]
        above = score[score > last]
        threshold = (last + above.min()) / 2 if len(above) else (1 + last) / 2
    rule = f"{aim.figure} of at least {aim.at_least:g} on the site's {len(score)} pictures"
    return SiteThreshold(_figures(float(threshold)), rule, moved=False)


def _quality(score: Floats, positive: Bools, groups: np.typing.NDArray[np.intp]) -> SiteFit:
    after = np.empty_like(score)
    fold = np.random.default_rng(0).permutation(int(groups.max()) + 1)[groups] % _FOLDS
    for number in range(_FOLDS):
        held = fold == number
        after[held] = _map(score[held], *fit(score[~held], positive[~held]))
    return SiteFit(
        *(_figures(_log_loss(p, positive)) for p in (score, after)),
        *(_figures(float(calibration_error(p, positive)(np.ones((1, len(p))))[0])) for p in (score, after)),
    )


def _log_loss(score: Floats, positive: Bools) -> float:
    right = np.where(positive, score, 1 - score)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def _figures(value: float) -> float:
    return float(f"{value:.6g}")
