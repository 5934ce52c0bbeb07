"""`edge-infer diagnose`: pictures in, answers out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_infer.cli.guard import EXIT_IMAGE
from edge_infer.cli.options import BundleOption, Format, ProviderOption, ThreadsOption, VariantOption
from edge_infer.cli.sources import Source, expand, output_names
from edge_infer.cli.terminal import limit_opencv, note, prepare_stdout, progress, read_stdin, style
from edge_infer.files import OutputError, make_writable_folder, write_atomically

if TYPE_CHECKING:
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.diagnosis import Diagnosis
    from edge_infer.output.html import HtmlReport


def diagnose(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMG",
            help="Pictures (JPEG, PNG, WebP, BMP, TIFF), folders (searched with their subfolders), quoted patterns "
            "such as 'photos/**/*.jpg', or - for one picture on standard input. A picture given twice counts once.",
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
        typer.Option("--save-overlay", metavar="DIR", help="Save pictures with outline, crop and answer (PNG)."),
    ] = None,
    save_mask: Annotated[
        Path | None, typer.Option("--save-mask", metavar="DIR", help="Save lesion masks, 0 and 255 (PNG).")
    ] = None,
    save_roi: Annotated[
        Path | None, typer.Option("--save-roi", metavar="DIR", help="Save the crops that the classifier saw (PNG).")
    ] = None,
    save_report: Annotated[
        Path | None,
        typer.Option("--save-report", metavar="FILE", help="Save a page for people: thumbnails and answers (HTML)."),
    ] = None,
    bundle: BundleOption = None,
    operating_point: Annotated[
        str | None,
        typer.Option(
            "--operating-point",
            metavar="NAME",
            help="Decision threshold by name; `edge-infer inspect` lists them.",
            show_default="the bundle's own",
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
        ),
    ] = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Pictures per network call.")] = 8,
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
    folders = {"overlay": save_overlay, "mask": save_mask, "roi": save_roi}
    wanted = {kind: folder for kind, folder in folders.items() if folder is not None}
    expansion = expand(images, outputs=list(wanted.values()))
    if expansion.skipped:
        note(f"files without a picture's suffix were left out: {expansion.skipped}")
    stdin = read_stdin() if any(source.path is None for source in expansion.sources) else b""
    names = output_names(expansion.sources)
    _check_outputs(expansion.sources, [folder / f"{name}.png" for folder in wanted.values() for name in names.values()])
    for folder in wanted.values():
        make_writable_folder(folder)
    if save_report is not None:
        _check_outputs(expansion.sources, [save_report])
        make_writable_folder(save_report.parent)
    _check_operating_point(bundle, operating_point, abstain)

    from edge_infer.engines.loading import start_loading

    # The networks get ready while the rest is imported.
    loading = start_loading(bundle, providers=provider or None, threads=threads, variant=variant)

    from edge_infer.diagnoser import Diagnoser
    from edge_infer.output.text import csv_header, to_card, to_csv, to_json, to_ndjson, to_record
    from edge_infer.steps.image import DEFAULT_MAX_PIXELS, open_picture

    limit_opencv(threads)
    limit = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    count = len(expansion.sources)
    tally = {"ok": 0, "indeterminate": 0, "error": 0}
    records: list[dict[str, Any]] = []
    streams = format != Format.JSON
    prepare_stdout(format)
    with Diagnoser.from_loading(
        loading, operating_point=operating_point, abstain=abstain, max_pixels=limit
    ) as diagnoser:
        manifest = diagnoser.manifest
        report = None if save_report is None else _html_report(diagnoser, operating_point)
        if format == Format.CSV:
            sys.stdout.write(csv_header(manifest))
        results = _results(diagnoser, expansion.sources, stdin, batch_size)
        with progress(count, streams) as advance:
            for number, (source, diagnosis) in enumerate(results, start=1):
                pixels, saved = None, {}
                if diagnosis.status != "error":
                    if "overlay" in wanted or report:
                        pixels = open_picture(stdin if source.path is None else source.path, max_pixels=limit).pixels
                    saved = _save(diagnosis, pixels, wanted, f"{names[source.name]}.png")
                if report:
                    report.add(diagnosis, pixels)
                tally[diagnosis.status] += 1
                if format == Format.JSON:
                    records.append(to_record(diagnosis, saved))
                elif format == Format.NDJSON:
                    sys.stdout.write(to_ndjson(to_record(diagnosis, saved)))
                elif format == Format.CSV:
                    sys.stdout.write(to_csv(diagnosis, saved, manifest))
                else:
                    position = f"{number}/{count}" if count > 1 else ""
                    card = to_card(diagnosis, saved, manifest, position=position, style=style())
                    sys.stdout.write(card if number == 1 else f"\n{card}")
                if streams:
                    sys.stdout.flush()
                advance()
    if format == Format.JSON:
        sys.stdout.write(to_json(records))
    sys.stdout.flush()
    if save_report is not None and report is not None:
        write_atomically(save_report, report.page().encode("utf-8"))
    if count > 1 and (tally["error"] or format == Format.CARD):
        note(
            f"{count} pictures: {tally['ok']} with a probability, {tally['indeterminate']} indeterminate, "
            f"{tally['error']} failed."
        )
    if tally["error"]:
        raise typer.Exit(EXIT_IMAGE)


def _check_operating_point(bundle: str | None, name: str | None, abstain: float | None) -> None:
    if name is None and abstain is None:
        return
    from edge_infer.bundle.store import find_bundle, read_manifest
    from edge_infer.errors import BundleError

    manifest = read_manifest(find_bundle(bundle)).manifest
    known = [point.name for point in manifest.operating_points]
    if name is not None and name not in known:
        raise typer.BadParameter(
            f"the bundle has no '{name}'; it has: {', '.join(known)}.", param_hint="--operating-point"
        )
    if abstain is not None:
        try:
            manifest.operating_point(name).band(abstain)
        except BundleError as error:
            raise typer.BadParameter(str(error), param_hint="--abstain") from error


def _check_outputs(sources: Sequence[Source], files: Sequence[Path]) -> None:
    """Refuses to write over a picture that was given, over another result, or where a folder is."""
    originals = {(found.st_dev, found.st_ino) for source in sources if (found := _stat(source.path)) is not None}
    planned: set[str] = set()
    for file in files:
        found = _stat(file)
        if found is not None and (found.st_dev, found.st_ino) in originals:
            raise OutputError(f"'{file}' is one of the given pictures.", "Save into another folder.")
        if file.is_dir():
            raise OutputError(f"'{file}' is a folder.", "Save into another folder, or give a file's name.")
        key = os.path.abspath(file).casefold()  # noqa: PTH100 - the file need not exist
        if key in planned:
            raise OutputError(f"Two results would be written to '{file}'.", "Give each --save option its own folder.")
        planned.add(key)


def _stat(path: Path | None) -> os.stat_result | None:
    try:
        return None if path is None else path.stat()
    except (OSError, ValueError):
        return None


def _html_report(diagnoser: Diagnoser, operating_point: str | None) -> HtmlReport:
    from edge_infer.output.html import HtmlReport

    return HtmlReport(diagnoser.bundle, diagnoser.manifest.operating_point(operating_point))


def _results(
    diagnoser: Diagnoser, sources: Sequence[Source], stdin: bytes, batch_size: int
) -> Iterator[tuple[Source, Diagnosis]]:
    from edge_infer.diagnosis import Diagnosis

    usable = (stdin if source.path is None else source.path for source in sources if source.error is None)
    answers = diagnoser.diagnose_many(usable, batch_size)
    for source in sources:
        if source.error is None:
            yield source, replace(next(answers), source=source.name)
        else:
            yield (
                source,
                Diagnosis(
                    status="error",
                    source=source.name,
                    message=str(source.error),
                    error=source.error,
                    bundle=diagnoser.manifest.name,
                    bundle_sha256=diagnoser.bundle.sha256,
                ),
            )


def _save(diagnosis: Diagnosis, pixels: Any, folders: dict[str, Path], name: str) -> dict[str, str]:
    """Writes what was asked for and exists; returns the paths by kind."""
    from edge_infer.output.picture import draw_overlay, encode_png, mask_picture

    images = {
        "overlay": draw_overlay(pixels, diagnosis) if "overlay" in folders else None,
        "mask": mask_picture(diagnosis) if "mask" in folders else None,
        "roi": diagnosis.roi,
    }
    saved = {}
    for kind, folder in folders.items():
        image = images[kind]
        if image is not None:
            write_atomically(folder / name, encode_png(image))
            saved[kind] = str(folder / name)
    return saved
