"""Fits the rule that refuses what does not look like dermoscopy; the measures are `edge_infer.steps.appearance`'s.

A logistic regression on the standardised measures and their squares, so that a measure may speak against dermoscopy on
both sides. Half of the dermoscopic pictures also count with other colours and, some of them, in a round field of view,
so that another dermatoscope is not taken for no dermatoscope.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from edge_infer.rules import DermoscopyRule, Term
from edge_infer.steps.appearance import Appearance, dermoscopy_score

REFUSED = 0.0025
"""Share of dermoscopic pictures that the rule refuses."""

_CLIP = 4.0
_PENALTY = 0.01


def fit_rule(
    plain: Sequence[Appearance],
    varied: Sequence[Appearance],
    held: Sequence[Appearance],
    others: Sequence[Appearance],
) -> DermoscopyRule:
    """Weights from training pictures against `trainer.data.negatives`; the limit from training and validation ones.

    The limit rests on both because one in four hundred validation pictures would be two or three; the thirty weights
    are too few for the training pictures to score much better than unseen ones.

    Args:
        plain: of dermoscopic pictures.
        varied: of changed copies of some of them.
        held: of more dermoscopic pictures, which count for the limit alone.
        others: of pictures that are no dermoscopy.
    """
    positive, negative = np.array([*plain, *varied]), np.array(others)
    centre, scale = positive.mean(0), positive.std(0) + 1e-6
    rows = np.clip((np.vstack((positive, negative)) - centre) / scale, -_CLIP, _CLIP)
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    # The squares are divided by the clip, so that the penalty weighs both alike.
    model = LogisticRegression(C=_PENALTY, max_iter=5000, class_weight="balanced")
    model.fit(np.hstack((rows, rows**2 / _CLIP)), truth)
    weights, curves = np.split(model.coef_[0], 2)
    terms = {
        name: Term(_figures(c), _figures(s), _figures(w), _figures(q / _CLIP))
        for name, c, s, w, q in zip(Appearance._fields, centre, scale, weights, curves, strict=True)
    }
    rule = DermoscopyRule(terms, _CLIP, _figures(model.intercept_[0]), -1e9)
    limit = float(np.quantile([dermoscopy_score(one, rule) for one in (*plain, *held)], REFUSED))
    return DermoscopyRule(terms, _CLIP, rule.intercept, _figures(limit))


def _figures(value: float) -> float:
    return float(f"{float(value):.6g}")
