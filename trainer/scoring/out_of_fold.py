"""Each picture answered by the network of a cross-fitted recipe that left its lesion out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from trainer.data.ham10000 import Record
from trainer.data.splits import spread
from trainer.models.serving import ServingClassifier, as_network
from trainer.scoring.networks import Networks
from trainer.scoring.predict import Rules, predict
from trainer.scoring.predictions import Prediction
from trainer.training.checkpoint import Checkpoint


def predict_out_of_fold(
    folds: Sequence[Checkpoint],
    records: Sequence[Record],
    rules: Rules,
    networks: Networks,
    limit: int | None = None,
    views: int = 1,
) -> Iterator[Prediction]:
    """The serving path at temperature 1, each picture classified by the network that left it out.

    The segmenter is the one that ships; it has seen the masks of the training pictures, so that crops there may sit
    slightly better than in use.

    Args:
        folds: the fold networks.
        records: the whole data set.
        rules: of the path.
        networks: of the system that ships; its classifier is not used.
        limit: use only so many pictures of each fold.
        views: as in the system that ships.
    """
    by_id = {record.image_id: record for record in records}

    def of_fold(fold: Checkpoint) -> Iterator[Prediction]:
        held_out = spread([by_id[image] for image in fold.held_out], limit)
        classify = as_network(ServingClassifier(fold.model, fold.recipe.normalization, views=views))
        return predict(held_out, rules, Networks(networks.segment, classify))

    return chain.from_iterable(map(of_fold, folds))
