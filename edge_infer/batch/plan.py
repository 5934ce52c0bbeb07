"""The plan of a batch: which pictures, in which partitions, by which bundle and options. Nothing in it has a date."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edge_infer import __version__
from edge_infer.batch.entries import Entry, from_line, in_order, to_line
from edge_infer.errors import InputError
from edge_infer.files import OutputError, make_writable_folder
from edge_infer.schema import SchemaError, dump, parse

PLAN_SCHEMA = 1
PLAN, LISTS, PARTS, LOGS = "plan.json", "lists", "parts", "logs"


@dataclass(frozen=True)
class Options:
    """What decides about answers; see `Diagnoser.load` and `diagnose_many`.

    `bundle` is a name or an absolute path, as the bundle is looked up when the plan is run. `prevalence` is None where
    the bundle's own share of melanoma holds.
    """

    bundle: str
    variant: str | None
    operating_point: str
    abstain: float | None
    providers: tuple[str, ...] | None
    batch_size: int
    max_pixels: int
    prevalence: float | None = None


@dataclass(frozen=True)
class Partition:
    """One partition: pictures, their bytes as far as known, and the SHA-256 of its list."""

    pictures: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Plan:
    """The contents of `plan.json`.

    Attributes:
        schema: of this file.
        edge_infer: version of the package that planned; another one does not continue.
        bundle_name, bundle_version, bundle_sha256: the bundle that answers.
        options: see `Options`.
        inputs: as they were given.
        pictures, bytes: of all partitions; bytes as far as they are known.
        partition_size: pictures in every partition but the last.
        partitions: in order.
    """

    schema: int
    edge_infer: str
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    options: Options
    inputs: tuple[str, ...]
    pictures: int
    bytes: int
    partition_size: int
    partitions: tuple[Partition, ...]

    def to_json(self) -> str:
        """The text of `plan.json`."""
        return json.dumps(dump(self), indent=1, ensure_ascii=True) + "\n"

    @property
    def sha256(self) -> str:
        """Hash of `to_json`: what every part of this plan carries."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()


def list_file(run: Path, index: int) -> Path:
    """The list of a partition: one entry a line."""
    return run / LISTS / f"part-{index:05d}.ndjson"


def write_plan(
    run: Path,
    entries: Iterable[Entry],
    *,
    bundle: tuple[str, str, str],
    options: Options,
    inputs: Iterable[str],
    partition_size: int,
) -> Plan:
    """Sorts and partitions the entries into a new folder, which appears whole or not at all.

    Args:
        run: the folder to make; it must not exist, or be empty.
        entries: in any order; a source that comes twice counts once.
        bundle: name, version and hash, see `Bundle.identity`.
        options, inputs, partition_size: as `Plan` has them.

    Raises:
        OutputError: the folder is not empty, or cannot be written.
        InputError: there are no pictures.
    """
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise OutputError(f"'{run}' is not empty.", "Plan into a new folder; `batch run` continues an old one.")
    make_writable_folder(run.absolute().parent)
    making = run.absolute().parent / f".{run.name}.planning"
    try:
        shutil.rmtree(making, ignore_errors=True)
        (making / LISTS).mkdir(parents=True)
        partitions = tuple(_write_lists(making, entries, partition_size))
        if not partitions:
            raise InputError(
                "No pictures were found.", "Check what was given; folders count files with known suffixes."
            )
        plan = Plan(
            PLAN_SCHEMA,
            __version__,
            *bundle,
            options,
            tuple(inputs),
            sum(partition.pictures for partition in partitions),
            sum(partition.bytes for partition in partitions),
            partition_size,
            partitions,
        )
        for folder in (PARTS, LOGS):
            (making / folder).mkdir()
        (making / PLAN).write_text(plan.to_json(), encoding="ascii")
        if run.exists():
            run.rmdir()
        making.rename(run)
    except OSError as error:
        raise OutputError(f"Cannot write '{run}': {error.strerror or error}.", "Choose another place.") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return plan


def _write_lists(folder: Path, entries: Iterable[Entry], size: int) -> Iterator[Partition]:
    stream = in_order(entries)
    index = 0
    while chunk := list(islice(stream, size)):
        data = "".join(map(to_line, chunk)).encode("ascii")
        list_file(folder, index).write_bytes(data)
        yield Partition(len(chunk), sum(entry.size or 0 for entry in chunk), hashlib.sha256(data).hexdigest())
        index += 1


def read_plan(run: Path) -> Plan:
    """Reads `plan.json`.

    Raises:
        InputError: there is none, it cannot be read, or it is of another schema.
    """
    path = run / PLAN
    try:
        data = json.loads(path.read_bytes())
        if isinstance(data, dict) and data.get("schema") != PLAN_SCHEMA:
            raise InputError(
                f"'{path}' is of plan schema {data.get('schema')}, this version reads {PLAN_SCHEMA}.",
                "Use the version that planned it, or plan again.",
            )
        return parse(Plan, data)
    except OSError as error:
        raise InputError(
            f"Cannot read '{path}': {error.strerror}.", "Make a plan first: edge-infer batch plan PICTURES -o RUN"
        ) from error
    except (ValueError, SchemaError) as error:
        raise InputError(f"'{path}' is damaged: {error}.", "Plan again into a new folder.") from error


def read_list(run: Path, plan: Plan, index: int) -> list[Entry]:
    """The entries of a partition.

    Raises:
        InputError: its list is missing, or is not the one that was planned.
    """
    path = list_file(run, index)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read '{path}': {error.strerror}.", "Plan again into a new folder.") from error
    if hashlib.sha256(data).hexdigest() != plan.partitions[index].sha256:
        raise InputError(f"'{path}' was changed after it was planned.", "Plan again into a new folder.")
    return [from_line(line) for line in data.decode("ascii").splitlines()]


def portable_bundle(given: str | os.PathLike[str] | None, default: str) -> str:
    """What `Options.bundle` says: a name stays a name, a path becomes absolute."""
    if given is None:
        return default
    text = os.fspath(given)
    return str(Path(text).resolve()) if os.sep in text or (Path(text) / "bundle.json").is_file() else text
