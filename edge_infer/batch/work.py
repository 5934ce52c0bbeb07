"""One partition: its list in, its part out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge_infer.batch.entries import Entry
from edge_infer.batch.parts import Tally, tally_of, to_part_row, write_part
from edge_infer.batch.plan import Plan, read_list
from edge_infer.batch.reading import read_entry
from edge_infer.bundle.store import Bundle, find_bundle, read_manifest
from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import Diagnosis
from edge_infer.dicom.intake import as_picture
from edge_infer.errors import BundleMismatchError, ImageError
from edge_infer.steps.image import ImageInput


def planned_bundle(plan: Plan, bundle: str | None = None) -> Bundle:
    """The plan's bundle with its manifest read.

    Args:
        plan: says which.
        bundle: where it is on this machine, if elsewhere than the plan says.

    Raises:
        BundleNotFoundError: nothing there.
        BundleMismatchError: that bundle is not the one that was planned.
    """
    where = bundle or plan.options.bundle
    found = read_manifest(find_bundle(where))
    if found.sha256 != plan.bundle_sha256:
        raise BundleMismatchError(
            f"Bundle '{where}' has the hash {found.sha256[:12]}…, the plan was made for {plan.bundle_sha256[:12]}….",
            "Give the planned bundle with --bundle, or plan again into a new folder.",
        )
    return found


def open_diagnoser(plan: Plan, bundle: str | None = None) -> Diagnoser:
    """`planned_bundle`, loaded with the plan's options and one thread."""
    options = plan.options
    return Diagnoser.load(
        planned_bundle(plan, bundle).path,
        providers=options.providers,
        threads=1,
        variant=options.variant,
        operating_point=options.operating_point,
        abstain=options.abstain,
        prevalence=options.prevalence,
        max_pixels=options.max_pixels,
    )


def work_off(run: Path, plan: Plan, index: int, diagnoser: Diagnoser) -> Tally:
    """Diagnoses a partition's pictures and writes its part.

    Raises:
        InputError: its list is missing or was changed.
        StoreError: a store failed; nothing is written.
        EngineError: the engine failed; nothing is written.
        OutputError: the part cannot be written.
    """
    rows = [to_part_row(diagnosis) for diagnosis in answers(read_list(run, plan, index), plan, diagnoser)]
    write_part(run, plan, index, diagnoser.manifest, rows)
    return tally_of(rows)


def answers(entries: list[Entry], plan: Plan, diagnoser: Diagnoser) -> Iterator[Diagnosis]:
    """An answer for every entry, in order. Of the pictures no more than one batch is in memory."""
    read: deque[tuple[Entry, ImageError | None]] = deque()

    def pictures() -> Iterator[ImageInput]:
        for entry in entries:
            try:
                picture = as_picture(read_entry(entry, plan.options.max_pixels))
            except ImageError as error:
                read.append((entry, error))
            else:
                read.append((entry, None))
                yield picture

    def failed() -> Iterator[Diagnosis]:
        while read and read[0][1] is not None:
            entry, error = read.popleft()
            if error is not None:
                yield Diagnosis.failed(entry.source, error, *diagnoser.bundle.identity)

    for diagnosis in diagnoser.diagnose_many(pictures(), plan.options.batch_size):
        yield from failed()
        yield replace(diagnosis, source=read.popleft()[0].source)
    yield from failed()
