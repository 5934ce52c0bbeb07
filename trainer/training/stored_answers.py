"""A teacher as a table: what cross-fitted networks answered about the pictures that they left out, without networks.

The table is that of `python -m trainer out-of-fold`. It costs no forward pass and needs no checkpoint, so that anybody
can train the student; the price is that a picture gets one answer, that to the crop as it is, however it is augmented
(against Beyer et al., arXiv 2106.05237, who ask the teacher again for every view).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.data.ham10000 import Record
from trainer.errors import CheckpointError, DataError, LeakError

SUFFIX = ".parquet"
"""Tells a table from a checkpoint in a recipe's list of teachers."""

_REMEDY = "Make it with `python -m trainer out-of-fold`."
_LEAST = 1e-6  # a probability stored as 0 would teach that a diagnosis is impossible


@dataclass(frozen=True)
class StoredAnswers:
    """One teacher's table.

    Attributes:
        path: of the file.
        classes: the diagnoses, in the order of the columns.
        probabilities: float32, shape (pictures, classes), rows sum to 1.
        places: row by picture.
        lesions: all lesions of the table. Each network that answered has learnt from some of them.
    """

    path: Path
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    places: dict[str, int]
    lesions: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> StoredAnswers:
        """Reads a table.

        Raises:
            CheckpointError: the file is missing or no such table.
        """
        try:
            table = pq.read_table(path).to_pydict()
            classes = tuple(name.removeprefix("p_") for name in table if name.startswith("p_"))
            values = np.array([table[f"p_{name}"] for name in classes], np.float32).T
            places = {image: place for place, image in enumerate(table["image_id"])}
            lesions = frozenset(table["lesion_id"])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"'{path}' is no table of a teacher's answers: {error}.",
                _REMEDY,
            ) from error
        if not len(places) or not classes or not np.isfinite(values).all():
            raise CheckpointError(
                f"'{path}' has no probabilities of diagnoses, or not all.",
                _REMEDY,
            )
        return cls(path, classes, values, places, lesions)

    def check_no_leak(self, measured: Sequence[Record]) -> None:
        """Raises LeakError where a lesion of the table measures the student: networks that answered have learnt it."""
        seen = sorted({record.lesion_id for record in measured} & self.lesions)
        if seen:
            raise LeakError(
                f"The networks behind {self.path} have learnt from {len(seen)} of the lesions that the student is "
                f"measured on (first {seen[0]}).",
                "Use their checkpoints, of which each fold of a student takes its own, or a student without folds.",
            )

    def softened(self, records: Sequence[Record], classes: Sequence[str], temperature: float) -> NDArray[np.float32]:
        """The answers to these pictures, softened as logits would be, float32, shape (n, classes), rows sum to 1.

        Args:
            records: the student's training pictures.
            classes: the student's, in its order. Two of them, the second one of the table's: all others are the first.
            temperature: of the softmax.

        Raises:
            DataError: a picture has no answer, or the classes are others than the table's.
        """
        unknown = [record.image_id for record in records if record.image_id not in self.places]
        if unknown:
            raise DataError(
                f"{self.path} has no answer to {len(unknown)} training pictures (first {unknown[0]}).",
                "Use the sources that it was made from, or make it again with `python -m trainer out-of-fold`.",
            )
        found = self.probabilities[[self.places[record.image_id] for record in records]]
        if set(classes) == set(self.classes):
            found = found[:, [self.classes.index(name) for name in classes]]
        elif len(classes) == 2 and classes[1] in self.classes:
            positive = found[:, self.classes.index(classes[1])]
            found = np.stack([1 - positive, positive], 1)
        else:
            raise DataError(
                f"{self.path} answers {', '.join(self.classes)}, and the student is asked for {', '.join(classes)}.",
                "Use teachers of the same diagnoses.",
            )
        powered = np.maximum(found, _LEAST) ** (1 / temperature)
        softened: NDArray[np.float32] = (powered / powered.sum(1, keepdims=True)).astype(np.float32)
        return softened
