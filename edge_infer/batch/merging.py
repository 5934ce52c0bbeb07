"""All parts of a run as one Parquet or CSV file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_infer.batch.parts import part_schema, whole_parts
from edge_infer.batch.plan import Plan, read_plan
from edge_infer.bundle.manifest import Manifest
from edge_infer.errors import InputError
from edge_infer.extras import need
from edge_infer.files import OutputError, make_writable_folder

SUFFIXES = (".parquet", ".csv")


def merge(run: Path, target: Path, manifest: Manifest) -> Plan:
    """Writes the parts in order into one file, of which a reader never sees half; memory is one part's.

    Args:
        run: folder of the plan.
        target: ends in one of `SUFFIXES`. In a CSV `warnings` are joined by " | ".
        manifest: of the planned bundle.

    Raises:
        InputError: partitions are missing, or the suffix is another.
        OutputError: the file cannot be written.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"'{target}' ends in neither {' nor '.join(SUFFIXES)}.", "Name the file so.")
    plan = read_plan(run)
    parts = whole_parts(run, plan)
    schema = part_schema(manifest).with_metadata({"edge_infer.plan_sha256": plan.sha256})
    make_writable_folder(target.absolute().parent)
    temporary = target.with_name(f".{target.name[:100]}.{os.urandom(6).hex()}.tmp")
    parquet = need("pyarrow.parquet", "batch")
    try:
        with _writer(temporary, target.suffix.lower(), schema) as write:
            for part in parts:
                write(parquet.read_table(part, schema=schema))
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"Cannot write '{target}': {error.strerror or error}.", "Check free space.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return plan


@contextlib.contextmanager
def _writer(path: Path, suffix: str, schema: Any) -> Iterator[Any]:
    if suffix == ".parquet":
        with need("pyarrow.parquet", "batch").ParquetWriter(path, schema, compression="zstd") as writer:
            yield writer.write_table
        return
    pa, compute, text = need("pyarrow", "batch"), need("pyarrow.compute", "batch"), need("pyarrow.csv", "batch")
    column = schema.get_field_index("warnings")
    flat = schema.set(column, pa.field("warnings", pa.string()))
    with text.CSVWriter(path, flat, write_options=text.WriteOptions(quoting_style="needed")) as writer:
        yield lambda table: writer.write_table(
            table.set_column(column, flat.field(column), compute.binary_join(table["warnings"], " | ")).cast(flat)
        )
