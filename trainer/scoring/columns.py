"""Tables of one row a picture as Parquet files: typed, compressed, and the same bytes for the same rows.

What the columns of the files in `trainer/results` mean stands in `trainer/results/FORMAT.md`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge_infer.files import write_atomically

SUFFIX = ".parquet"
"""How the names of these files end."""

_LEVEL = 19  # of zstd: a file is written once and kept for ever


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    """Words, dictionary-encoded; unknown ones, "" in Python, are null."""
    COUNT = "count"
    """Whole numbers, int32; may be null."""
    NUMBER = "number"
    """float32; may be null. Fewer digits would move figures at thresholds, and save no space in this encoding."""
    FLAG = "flag"
    """True or false; may be null."""

    @property
    def arrow(self) -> Any:
        """The column's type in Arrow."""
        types = {Kind.TEXT: pa.string(), Kind.COUNT: pa.int32(), Kind.FLAG: pa.bool_()}
        return types.get(self, pa.float32())


class Column(NamedTuple):
    """A column with its values in the order of the rows."""

    name: str
    kind: Kind
    values: Sequence[Any]


def write_columns(path: Path, columns: Sequence[Column]) -> None:
    """Writes a table at once, unless the file holds the same rows already.

    The same rows give the same bytes: no time and no name of a machine is stored. Another version of pyarrow may store
    them otherwise, and signs the file; a file whose rows have not changed is left as it is, so that nothing is stored
    again for that.

    Raises:
        OutputError: the file cannot be written.
    """
    table = pa.table({name: pa.array(_stored(kind, values), kind.arrow) for name, kind, values in columns})
    if path.is_file():
        try:
            if _table(path).equals(table):
                return
        except (OSError, ValueError):
            pass  # no table: it is replaced
    text = [name for name, kind, _ in columns if kind is Kind.TEXT]
    numbers = [name for name, kind, _ in columns if kind is Kind.NUMBER]
    stream = io.BytesIO()
    pq.write_table(
        table,
        stream,
        row_group_size=1 << 20,
        version="2.6",
        use_dictionary=text,
        use_byte_stream_split=numbers,
        compression="zstd",
        compression_level=_LEVEL,
        write_statistics=False,
        store_schema=False,
    )
    write_atomically(path, stream.getvalue())


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns of a table by name, in order, as Python values: numbers as short as they were written.

    Raises:
        OSError, ValueError: the file is missing or no Parquet file.
    """
    table = _table(path)
    return {name: _read(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _table(path: Path) -> Any:
    with pq.ParquetFile(path) as file:
        return file.read()


def _stored(kind: Kind, values: Sequence[Any]) -> Sequence[Any]:
    return [value or None for value in values] if kind is Kind.TEXT else values


def _read(column: Any) -> list[Any]:
    if column.type == pa.float32():
        # The shortest decimal that stands for the same float32: 0.1, not 0.10000000149.
        return [None if value is None else float(str(np.float32(value))) for value in column.to_pylist()]
    if column.type == pa.string():
        return [value or "" for value in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values
