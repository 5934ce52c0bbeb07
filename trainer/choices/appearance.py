"""Fits the rule that refuses what does not look like dermoscopy; the measures are `edge_infer.steps.appearance`'s.

A logistic regression on the standardised measures and their squares, so that a measure may speak against dermoscopy on
both sides. Half of the dermoscopic pictures also count with other colours and, some of them, in a round field of view,
so that another dermatoscope is not taken for no dermatoscope.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from edge_infer.rules import DermoscopyRule, InputSpec, Term
from edge_infer.steps.appearance import Appearance, dermoscopy_score, measure_appearance
from edge_infer.steps.image import open_picture
from edge_infer.steps.resize import resize
from trainer.choices.negatives import negatives
from trainer.data.ham10000 import Record
from trainer.scoring.metrics import Floats

REFUSED = 0.0025
"""Share of dermoscopic pictures that the rule refuses."""

_CLIP = 4.0
_PENALTY = 0.01
_MOST_VARIED = 3000

Picture = NDArray[np.uint8]


def fit_dermoscopy_rule(
    training: Sequence[Record], validation: Sequence[Record], spec: InputSpec, progress: bool = True
) -> DermoscopyRule:
    """Weights from training pictures against `trainer.choices.negatives`; the limit from training and validation ones.

    The limit rests on both because one in four hundred validation pictures would be two or three; the thirty weights
    are too few for the training pictures to score much better than unseen ones.

    Args:
        training: dermoscopic pictures to fit to.
        validation: more of them, for the limit alone.
        spec: the segmenter's input, at whose size measures are taken.
        progress: shows bars on stderr.

    Raises:
        DataError: a library that ships photographs is not installed.
    """
    step = max(1, -(-len(training) // _MOST_VARIED), 2)
    plain, varied = [], []
    for i, record in enumerate(tqdm(training, desc="appearance", unit="img", disable=not progress)):
        image = _resized(open_picture(record.image_path).pixels, spec)
        plain.append(measure_appearance(image))
        if i % step == 0:
            varied.append(measure_appearance(vary(image, np.random.default_rng(i))))
    held = [
        measure_appearance(_resized(open_picture(record.image_path).pixels, spec))
        for record in tqdm(validation, desc="appearance, val", unit="img", disable=not progress)
    ]
    others = [measure_appearance(_resized(negative.image, spec)) for negative in negatives("fit")]
    return fit_rule(plain, varied, held, others)


def fit_rule(
    plain: Sequence[Appearance],
    varied: Sequence[Appearance],
    held: Sequence[Appearance],
    others: Sequence[Appearance],
) -> DermoscopyRule:
    """The rule from measures.

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


def vary(image: Picture, rng: np.random.Generator) -> Picture:
    """A copy with another white balance and brightness and, for every second, a round field of view."""
    changed = image.astype(np.float32)
    if rng.random() < 0.5:
        changed = round_view(changed, rng)
    gains = rng.uniform(0.9, 1.1, 3) * rng.uniform(0.8, 1.2)
    return np.asarray(np.clip(changed * gains, 0, 255), np.uint8)


def round_view(image: Floats | NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The picture (of 4:3, squeezed to any shape) with a dark surround, as through a dermatoscope without zoom."""
    height, width = image.shape[:2]
    y = (np.arange(height) + 0.5)[:, None] / height - 0.5
    x = (np.arange(width) + 0.5)[None, :] / width - 0.5
    distance = np.hypot(x, y * 3 / 4)
    inside = np.clip((rng.uniform(0.45, 0.62) - distance) / 0.01 + 0.5, 0, 1)[..., None]
    return np.asarray(image * inside + rng.uniform(0, 12) * (1 - inside), np.float32)


def _resized(image: Picture, spec: InputSpec) -> Picture:
    return resize(image, spec.height, spec.width)


def _figures(value: float) -> float:
    return float(f"{float(value):.6g}")
