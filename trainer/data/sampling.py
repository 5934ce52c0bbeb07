"""Which pictures an epoch visits where several sources are learnt from together.

Sources differ in their share of melanoma, and a network that recognises a source would know half of the answer. So the
source is drawn first and the class by one rule for all sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.ham10000 import Record
from trainer.recipe import SourceConfig

_MELANOMA = "mel"


def source_chances(
    records: Sequence[Record], power: float, sources: Mapping[str, SourceConfig] | None = None
) -> NDArray[np.float64]:
    """The chance of each record in one draw, shape (n,), summing to 1.

    A source of n pictures is drawn with n to the `power`, times its weight. Then melanoma is drawn with its share of
    all pictures, whatever the source, and among the other diagnoses those that the source has, in proportion to their
    shares of all pictures. A source without melanoma, or with nothing else, gives what it has.

    Args:
        records: at least one.
        power: 1 takes sources as large as they are, 0 all alike.
        sources: their weights by name; 1 where a name is missing.
    """
    pooled = Counter(record.dx for record in records)
    by_source = Counter(record.source for record in records)
    by_cell = Counter((record.source, record.dx) for record in records)
    weights = {
        name: (sources[name].weight if sources and name in sources else 1.0) * count**power
        for name, count in by_source.items()
    }
    melanoma = pooled[_MELANOMA] / len(records)
    share: dict[tuple[str, str], float] = {}
    for name in by_source:
        present = [dx for source, dx in by_cell if source == name]
        others = sum(pooled[dx] for dx in present if dx != _MELANOMA)
        for dx in present:
            own = 1.0 if dx == _MELANOMA else pooled[dx] / others
            side = melanoma if dx == _MELANOMA else 1 - melanoma
            share[name, dx] = own * (side if _MELANOMA in present and others else 1.0)
    total = sum(weights.values())
    return np.array(
        [
            weights[record.source] / total * share[record.source, record.dx] / by_cell[record.source, record.dx]
            for record in records
        ]
    )
