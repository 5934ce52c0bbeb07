"""`edge-infer diagnose`: pictures in, answers out."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_infer.cli.grouped import BESIDES, DECIDING, RUNNING, SAVING
from edge_infer.cli.guard import EXIT_IMAGE, EXIT_OK
from edge_infer.cli.leaving import leave
from edge_infer.cli.options import (
    BundleOption,
    Format,
    PrecisionOption,
    PrevalenceOption,
    ProviderOption,
    SignatureOption,
    SiteOption,
    ThreadsOption,
    VariantOption,
)
from edge_infer.cli.outputs import claim_outputs
from edge_infer.cli.sources import Pictures, Source, gather
from edge_infer.cli.terminal import limit_opencv, note, prepare_stdout, progress, style

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_infer.diagnoser import Diagnoser
    from edge_infer.diagnosis import Status
    from edge_infer.dicom.reading import DicomPicture
    from edge_infer.output.saved import Kind
    from edge_infer.output.sink import Result, Sink


def diagnose(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMG",
            help="Pictures (JPEG, PNG, WebP, BMP, TIFF, and DICOM with the extra [dicom]), folders (searched with "
            "their subfolders), quoted patterns such as 'photos/**/*.jpg', or - for one picture on standard input. A "
            "picture given twice counts once.",
            show_default=False,
        ),
    ],
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="card: for people. json: one array at the end. ndjson: one object per line, as results come. "
            "csv: one row per picture.",
        ),
    ] = Format.CARD,
    save_overlay: Annotated[
        Path | None,
        typer.Option(
            "--save-overlay",
            metavar="DIR",
            help="Save pictures with outline, crop and answer (PNG).",
            rich_help_panel=SAVING,
        ),
    ] = None,
    save_mask: Annotated[
        Path | None,
        typer.Option("--save-mask", metavar="DIR", help="Save lesion masks, 0 and 255 (PNG).", rich_help_panel=SAVING),
    ] = None,
    save_roi: Annotated[
        Path | None,
        typer.Option(
            "--save-roi", metavar="DIR", help="Save the crops that the classifier saw (PNG).", rich_help_panel=SAVING
        ),
    ] = None,
    save_report: Annotated[
        Path | None,
        typer.Option(
            "--save-report",
            metavar="FILE",
            help="Save a page for people: thumbnails and answers (HTML).",
            rich_help_panel=SAVING,
        ),
    ] = None,
    measurements: Annotated[
        bool,
        typer.Option(
            "--measurements",
            help="Measure each lesion too: asymmetry, border, colours, diameter (ABCD), with what the outline's "
            "uncertainty makes of them. No answer depends on it.",
            rich_help_panel=BESIDES,
        ),
    ] = False,
    mm_per_pixel: Annotated[
        float | None,
        typer.Option(
            "--mm-per-pixel",
            metavar="MM",
            help="With --measurements: size of a pixel of the given pictures, which share one scale.",
            show_default="as a DICOM file states, else none",
            rich_help_panel=BESIDES,
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Draw which places of the crop raised or lowered the score for melanoma (class activation map), in "
            "overlay and report; JSON has its numbers. It does not show where disease is.",
            rich_help_panel=BESIDES,
        ),
    ] = False,
    save_dicom: Annotated[
        Path | None,
        typer.Option(
            "--save-dicom",
            metavar="DIR",
            help="Save the answers on DICOM pictures for their archive: segmentation, structured report, and the "
            "overlay as secondary capture.",
            rich_help_panel=SAVING,
        ),
    ] = None,
    uid_root: Annotated[
        str,
        typer.Option(
            "--uid-root",
            metavar="UID",
            help="Root of the UIDs of what --save-dicom writes; 2.25 makes them from UUIDs.",
            rich_help_panel=SAVING,
        ),
    ] = "2.25",
    frame: Annotated[
        int | None,
        typer.Option(
            "--frame",
            metavar="N",
            min=1,
            help="Frame of DICOM files that have several, counted from 1.",
            show_default="a file with several is refused",
        ),
    ] = None,
    bundle: BundleOption = None,
    operating_point: Annotated[
        str | None,
        typer.Option(
            "--operating-point",
            metavar="NAME",
            help="Decision threshold by name; `edge-infer inspect` lists them.",
            show_default="the bundle's own",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            "--abstain",
            metavar="SHARE",
            help="Leave the least certain pictures undecided (indeterminate, with their probability): a share that the "
            "bundle has limits for, such as 0.1, 0.2 or 0.3; `edge-infer inspect` lists them.",
            show_default="every picture is decided",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    prevalence: PrevalenceOption = None,
    site: SiteOption = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    precision: PrecisionOption = None,
    require_signature: SignatureOption = None,
    threads: ThreadsOption = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, help="Pictures per network call.", rich_help_panel=RUNNING),
    ] = 8,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            metavar="N",
            min=1,
            help="Refuse larger pictures before they are decoded.",
            show_default="100 million",
        ),
    ] = None,
) -> None:
    """Diagnose pictures.

    Only results go to stdout; everything else goes to stderr. A picture that cannot be used becomes a result that says
    why, and the others go on. Saved files keep their paths below the folder that was given, without the picture's own
    suffix; where two would share a name, the later one gets -2, -3 and so on. Nothing is written over a given picture,
    and folders for saved files are not searched for pictures.
    """
    folders: dict[Kind, Path | None] = {"overlay": save_overlay, "mask": save_mask, "roi": save_roi}
    wanted = {kind: folder for kind, folder in folders.items() if folder is not None}
    outputs = [*wanted.values(), *([] if save_dicom is None else [save_dicom])]
    pictures = gather(images, outputs=outputs, frame=frame)
    claim_outputs(pictures, list(wanted.values()), save_report, save_dicom)
    if mm_per_pixel is not None and not (measurements and 0 < mm_per_pixel < math.inf):
        raise typer.BadParameter("it is above 0 and goes with --measurements.", param_hint="--mm-per-pixel")
    _check_decision(bundle, operating_point, abstain, prevalence)
    prepare_stdout(format)

    from edge_infer.engines.loading import start_loading

    # The networks get ready while the rest is imported.
    loading = start_loading(
        bundle,
        providers=provider or None,
        threads=threads,
        variant=variant,
        precision=precision,
        require_signature=require_signature,
        explain=explain,
    )

    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.onnx import PROVIDERS
    from edge_infer.output.saved import PictureSink
    from edge_infer.output.sink import Run, opened
    from edge_infer.steps.image import DEFAULT_MAX_PIXELS
    from edge_infer.steps.native import keep_off_stderr

    limit_opencv(threads)
    keep_off_stderr()
    limit = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    saving: list[Sink] = [PictureSink(kind, folder) for kind, folder in wanted.items()]
    saving += _dicom(save_dicom, pictures, uid_root, limit)
    report = _report(save_report)
    tally: Counter[Status] = Counter()
    with Diagnoser.from_loading(
        loading,
        operating_point=operating_point,
        abstain=abstain,
        prevalence=prevalence,
        max_pixels=limit,
        site=site,
        measurements=measurements,
        mm_per_pixel=mm_per_pixel,
    ) as diagnoser:
        run = Run(diagnoser.bundle, diagnoser.operating_point, len(pictures.sources), diagnoser.prior, measurements)
        sinks = [*saving, *report, _printer(format)]
        with opened(sinks, run) as add, progress(run.count, streams=format is not Format.JSON) as advance:
            for result in _results(diagnoser, pictures, batch_size, limit):
                add(result)
                tally[result.diagnosis.status] += 1
                advance()
        if run.count > 1 and (tally["error"] or format is Format.CARD):
            note(
                f"{run.count} pictures: {tally['ok']} with a probability, {tally['indeterminate']} indeterminate, "
                f"{tally['error']} failed."
            )
        code = EXIT_IMAGE if tally["error"] else EXIT_OK
        if diagnoser.provider == PROVIDERS["cpu"]:  # others may hold a device, or files that go when they are closed
            leave(code)
    if code:
        raise typer.Exit(code)


def _report(file: Path | None) -> list[Sink]:
    if file is None:
        return []
    from edge_infer.output.html import HtmlSink

    return [HtmlSink(file)]


def _dicom(folder: Path | None, pictures: Pictures, uid_root: str, max_pixels: int) -> list[Sink]:
    if folder is None:
        return []
    from edge_infer.dicom.sink import DicomSink

    by_name = {source.name: source for source in pictures.sources}

    def picture(result: Result) -> DicomPicture | None:
        return pictures.dicom(by_name[result.diagnosis.source or ""])

    return [DicomSink(folder, picture, uid_root=uid_root, max_pixels=max_pixels, tell=note)]


def _check_decision(bundle: str | None, name: str | None, abstain: float | None, prevalence: float | None) -> None:
    """Wrong names and shares are told before the networks are loaded."""
    if name is None and abstain is None and prevalence is None:
        return
    from edge_infer.bundle.store import find_bundle, read_manifest
    from edge_infer.errors import BundleError, PrevalenceError
    from edge_infer.steps.prevalence import known_ratio

    manifest = read_manifest(find_bundle(bundle)).manifest
    known = [point.name for point in manifest.operating_points]
    if name is not None and name not in known:
        raise typer.BadParameter(
            f"the bundle has no '{name}'; it has: {', '.join(known)}.", param_hint="--operating-point"
        )
    try:
        known_ratio(manifest.calibration, prevalence)
    except (BundleError, PrevalenceError) as error:
        raise typer.BadParameter(str(error), param_hint="--prevalence") from error
    if abstain is not None:
        try:
            manifest.operating_point(name).band(abstain)
        except BundleError as error:
            raise typer.BadParameter(str(error), param_hint="--abstain") from error


def _printer(format: Format) -> Sink:
    """The sink that writes to standard output."""
    from edge_infer.output.card import CardSink
    from edge_infer.output.records import JsonSink, NdjsonSink
    from edge_infer.output.table import CsvSink

    match format:
        case Format.CARD:
            return CardSink(sys.stdout, style())
        case Format.JSON:
            return JsonSink(sys.stdout)
        case Format.NDJSON:
            return NdjsonSink(sys.stdout)
        case Format.CSV:
            return CsvSink(sys.stdout)


def _results(diagnoser: Diagnoser, pictures: Pictures, batch_size: int, max_pixels: int) -> Iterator[Result]:
    """Every picture's result, in the order in which they were given."""
    from edge_infer.diagnosis import Diagnosis
    from edge_infer.output.sink import Result
    from edge_infer.steps.image import open_picture

    bundle = diagnoser.bundle
    usable = map(pictures.read, pictures.usable())
    batches = math.ceil(len(pictures.sources) / batch_size)
    answers = diagnoser.diagnose_many(usable, batch_size, workers=max(1, min(diagnoser.threads, batches)))
    for source in pictures.sources:
        if source.error is None:
            diagnosis = replace(next(answers), source=source.name)
        else:
            diagnosis = Diagnosis.failed(source.name, source.error, *bundle.identity)

        def read(source: Source = source) -> NDArray[np.uint8]:
            return open_picture(pictures.read(source), max_pixels=max_pixels).pixels

        yield Result(diagnosis, pictures.places[source.name], read)
