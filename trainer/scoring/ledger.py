"""The ledger of `test`: who looked at its pictures, when, with which networks and rules, and why.

One line a reading, as JSON. The command that reads `test` writes its line before it opens a picture. Networks and rules
that have answered once are not asked again: what they said is stored, and whoever would choose anew by a second look
needs new weights or new choices, which have another hash and make another line.
"""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from edge_infer.bundle.manifest import Manifest
from edge_infer.files import OutputError
from edge_infer.schema import SchemaError, dump, parse
from trainer.data.ham10000 import Record
from trainer.data.splits import standard_split
from trainer.errors import DataError
from trainer.scoring.origin import Origin, changed, digest, digest_records, read_origin, write_origin
from trainer.scoring.predictions import Prediction

LEDGER = "test-readings.ndjson"
"""Its name, beside the folders of results."""
ORIGIN = "origin.json"
"""Beside predictions of `test`: which networks and rules gave them, on which pictures."""

_ABOUT = (
    *("schema_version", "name", "version", "min_onnxruntime", "description", "intended_use", "label_names", "golden"),
    *("parity", "evaluations", "provenance", "files", "variants_left_out"),
)
_WORDS = ("metrics", "rule", "meaning", "chosen_on", "fitted_on", "architecture", "parameters", "gflops", "variants")


@dataclass(frozen=True)
class Reading:
    """One look at pictures of `test`.

    Attributes:
        date: UTC, ISO 8601.
        what: the bundle and its version, the row of a comparison, or checkpoints or a run by their paths.
        hash: of networks and rules, see `decisions_hash`; of a training, of what it is asked to do.
        data: SHA-256 of what the pictures are, see `trainer.scoring.origin.digest_records`; "" where it is not known.
        pictures: how many of each source.
        command: that read them.
        reason: why.
        entered_later: whether the line was written after the reading, from what the repository shows of it.
    """

    date: str
    what: str
    hash: str
    data: str
    pictures: dict[str, int]
    command: str
    reason: str
    entered_later: bool = False


def decisions_hash(manifest: Manifest) -> str:
    """SHA-256 of all that decides a bundle's answers: its float32 networks and its rules.

    Metrics, names, words, card, golden examples and variants do not count, nor do keys that have their defaults.
    """
    rules = {name: value for name, value in _deciding(manifest).items() if name not in _ABOUT}
    files = {stage: getattr(manifest, stage).files["onnx"] for stage in ("segmenter", "classifier")}
    return digest({"rules": rules, "networks": {stage: manifest.files[file].sha256 for stage, file in files.items()}})


def readings(ledger: Path) -> list[Reading]:
    """All lines, the oldest first; none where there is no such file.

    Raises:
        DataError: a line is no reading.
    """
    if not ledger.is_file():
        return []
    found = []
    for number, line in enumerate(ledger.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(parse(Reading, json.loads(line)))
        except (ValueError, SchemaError) as error:
            raise DataError(f"{ledger}, line {number}: {error}.", "Restore the file; lines are only added.") from error
    return found


def enter(
    ledger: Path, what: str, identity: str, records: Sequence[Record], command: str, reason: str
) -> Reading | None:
    """Writes a reading down before it happens; the same networks and rules on the same pictures have one line.

    Args:
        ledger: the file; made where missing.
        what, command, reason: see `Reading`.
        identity: hash of networks and rules.
        records: pictures that are about to be opened; those that are not of the data's own `test` do not count.

    Returns:
        The line; None where it stood there, or no picture is of `test`.

    Raises:
        OutputError: the line cannot be written, so nothing must be read.
    """
    if not records:
        return None
    reading = Reading(
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        what,
        identity,
        digest_records(records),
        dict(sorted(Counter(record.source for record in records).items())),
        command,
        reason,
    )
    if _stands(ledger, reading):  # without the lock, which a ledger that is only read does not give
        return None
    with _alone(ledger):
        if _stands(ledger, reading):
            return None
        append(ledger, [reading])
    return reading


def append(ledger: Path, lines: Sequence[Reading]) -> None:
    """Adds lines at the end.

    Raises:
        OutputError: they cannot be written.
    """
    text = "".join(json.dumps(dump(line), ensure_ascii=False) + "\n" for line in lines)
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise _unwritable(ledger, error) from error


def _stands(ledger: Path, reading: Reading) -> bool:
    return any((one.hash, one.data) == (reading.hash, reading.data) for one in readings(ledger))


@contextmanager
def _alone(ledger: Path) -> Iterator[None]:
    """Between looking for a line and adding it, no other process does either.

    The ledger itself is locked: a lock file would stay beside bundles and results.
    """
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        stream = ledger.open("a", encoding="utf-8")
    except OSError as error:
        raise _unwritable(ledger, error) from error
    with stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        except ImportError:  # Windows
            pass
        except OSError as error:
            raise _unwritable(ledger, error) from error
        yield


def _unwritable(ledger: Path, error: OSError) -> OutputError:
    return OutputError(f"{ledger} cannot be written: {error}.", "`test` is read only with a line there.")


def of_test(everything: Sequence[Record], chosen: Sequence[Record]) -> list[Record]:
    """Those of the chosen records that are of the data's own `test`, whatever split they were drawn for.

    Data that give no standard split, as their column leaks or their lesions are too few, have what they mark as `test`.
    """
    try:
        test = standard_split(everything)["test"]
    except DataError:
        test = [record for record in everything if record.split == "test"]
    known = {record.image_id for record in test}
    return [record for record in chosen if record.image_id in known]


def origin_of(identity: str, records: Sequence[Record]) -> Origin:
    """What stored predictions of `test` depend on."""
    return {"decisions": identity, "data": digest_records(records)}


def stored_for(folder: Path, origin: Origin) -> bool:
    """Whether a folder's predictions of `test` are of these networks, rules and pictures."""
    return not changed(read_origin(folder / ORIGIN), origin)


def mark(folder: Path, origin: Origin) -> None:
    """Says whose predictions a folder holds; written after them."""
    write_origin(folder / ORIGIN, origin)


def among_stored(
    folder: Path, identity: str, records: Sequence[Record], stored: Sequence[Prediction]
) -> list[Prediction] | None:
    """What these networks and rules said of the records when they were asked; None unless they were, of all.

    Args:
        folder: of the stored predictions.
        identity: hash of networks and rules.
        records: pictures of `test`.
        stored: the folder's predictions.
    """
    if (read_origin(folder / ORIGIN) or {}).get("decisions") != identity:
        return None
    known = {p.image_id: p for p in stored}
    found = [known.get(record.image_id) for record in records]
    answers = [p for p, record in zip(found, records, strict=True) if p is not None and p.dx == record.dx]
    return answers if len(answers) == len(records) else None


def _deciding(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        pairs = [(field, getattr(value, field.name)) for field in fields(value)]
        return {
            field.name: _deciding(one)
            for field, one in pairs
            if field.name not in (*_WORDS, "files") and not _is_default(field, one)
        }
    if isinstance(value, Mapping):
        return {key: _deciding(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_deciding(one) for one in value]
    return value


def _is_default(field: Field[Any], value: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return field.default is not MISSING and bool(value == field.default)
