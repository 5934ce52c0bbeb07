"""Answers to labelled pictures: fresh ones from a Diagnoser, or those of an earlier run from its file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_infer.diagnoser import Diagnoser
from edge_infer.errors import InputError
from edge_infer.evaluate.labels import Labelled
from edge_infer.extras import need


@dataclass(frozen=True)
class Case:
    """A labelled picture and its answer.

    Attributes:
        picture: see `Labelled`.
        probability: of melanoma; None where there is none.
        reason: why not: a reason, or an error's code.
        failed: whether the picture could not be used at all.
    """

    picture: Labelled
    probability: float | None
    reason: str | None = None
    failed: bool = False


def diagnosed(
    pictures: Sequence[Labelled], diagnoser: Diagnoser, advance: Callable[[], None] = lambda: None
) -> list[Case]:
    """Diagnoses the pictures.

    A picture that abstention leaves undecided keeps its probability, so that its reason is not counted as a refusal.
    """
    found = []
    answers = diagnoser.diagnose_many(picture.path for picture in pictures)
    for picture, answer in zip(pictures, answers, strict=True):
        reason = None if answer.melanoma_probability is not None or answer.reason is None else answer.reason.value
        code = None if answer.error is None else answer.error.code
        found.append(Case(picture, answer.melanoma_probability, code or reason, answer.error is not None))
        advance()
    return found


def remembered(
    pictures: Sequence[Labelled], file: Path, bundle_sha256: str, site_sha256: str | None = None
) -> list[Case]:
    """Takes the answers from a CSV of `diagnose` or from a CSV or Parquet file of `batch merge`.

    Rows are found by the picture's path, or else by its file name where only one row has it.

    Raises:
        InputError: the file cannot be read, another bundle or overlay answered, or a picture has no row.
    """
    by_path: dict[str, dict[str, Any]] = {}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(file):
        if row.get("bundle_sha256") != bundle_sha256:
            raise InputError(
                f"'{file}' has answers of bundle {str(row.get('bundle_sha256'))[:12]}…, not of {bundle_sha256[:12]}….",
                "Give that bundle with --bundle, or diagnose again.",
            )
        if (row.get("site_sha256") or None) != site_sha256:
            raise InputError(
                f"'{file}' has answers {'of another' if row.get('site_sha256') else 'without the'} overlay.",
                "Give the overlay that answered with --site, or diagnose again.",
            )
        source = str(row["source"])
        by_path[str(Path(source).absolute())] = row
        by_name.setdefault(Path(source).name, []).append(row)
    return [_case(picture, by_path, by_name, file) for picture in pictures]


def _case(
    picture: Labelled, by_path: dict[str, dict[str, Any]], by_name: dict[str, list[dict[str, Any]]], file: Path
) -> Case:
    rows = by_name.get(picture.path.name, [])
    row = by_path.get(str(picture.path.absolute())) or (rows[0] if len(rows) == 1 else None)
    if row is None:
        raise InputError(
            f"'{file}' has {len(rows) or 'no'} answers for '{picture.path}'.", "Diagnose all labelled pictures first."
        )
    probability = row["melanoma_probability"]
    if probability not in (None, ""):
        return Case(picture, float(probability))
    failed = row["status"] == "error"
    return Case(picture, None, str(row["error"] if failed else row["reason"]), failed)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        if file.suffix.lower() == ".parquet":
            names = ["source", "status", "reason", "error", "melanoma_probability", "bundle_sha256", "site_sha256"]
            rows: Iterable[dict[str, Any]] = (
                need("pyarrow.parquet", "batch").read_table(file, columns=names).to_pylist()
            )
            yield from rows
        else:
            with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
                yield from csv.DictReader(stream)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(f"The answers '{file}' cannot be read: {error}.", "Make them with `batch merge`.") from error
