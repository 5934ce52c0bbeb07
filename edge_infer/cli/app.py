"""The `edge-infer` command. Heavy modules are imported inside the command that needs them."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from edge_infer import __version__
from edge_infer.cli.benchmark import benchmark
from edge_infer.cli.sources import Source, expand, output_names
from edge_infer.errors import BundleMismatchError, BundleNotFoundError, EdgeInferError, ImageError
from edge_infer.files import OutputError, make_writable_folder, write_atomically

if TYPE_CHECKING:
    from edge_infer.bundle.manifest import Bundle, Manifest, Metric
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.diagnosis import Diagnosis
    from edge_infer.output.html import HtmlReport

P = ParamSpec("P")
R = TypeVar("R")

EXIT_OK, EXIT_IMAGE, EXIT_USAGE, EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_PIPE = 0, 1, 2, 3, 130, 141

_EXIT_CODES = """\b
Exit codes:
  0    every picture has an answer (indeterminate is an answer)
  1    at least one picture could not be used; the others have their answers
  2    wrong usage, or results cannot be written
  3    the bundle or the inference engine is missing, broken or unavailable
  130  interrupted (Ctrl-C);  141  whoever read the output has closed it
"""

app = typer.Typer(
    name="edge-infer",
    help="Outline a skin lesion on a dermoscopic picture, crop it, and estimate the probability of melanoma.\n\n"
    "Runs on this device, without a network. Research use only; not a medical device.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How `diagnose` writes its results."""

    CARD = "card"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


BundleOption = Annotated[
    str | None,
    typer.Option("--bundle", metavar="NAME|DIR", help="Bundle to use.", show_default="the one in the package"),
]
BundleArgument = Annotated[
    str | None,
    typer.Argument(metavar="[BUNDLE]", help="Name or folder of a bundle; the default one if left out."),
]
ProviderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Execution provider (cpu, cuda, coreml, directml, openvino, ...); repeat it for an order of preference. "
        "The first must start, or it is an error. On macOS coreml-all, coreml-cpu-and-ne, coreml-cpu-and-gpu or "
        "coreml-cpu-only is Core ML itself; ne is the Neural Engine.",
        show_default="the best installed one",
    ),
]
VariantOption = Annotated[
    str | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Form of the networks, such as int8 or coreml-float16; `edge-infer inspect` lists what the bundle has.",
        show_default="float32",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Threads per network.", show_default="all that this process may use"
    ),
]


def main() -> None:
    """The console entry point."""
    app(prog_name="edge-infer")


def _guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turns typed errors, Ctrl-C and a closed pipe into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = command(*args, **kwargs)
            sys.stdout.flush()
            return result
        except EdgeInferError as error:
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.flush()
            complain(error)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except BrokenPipeError as error:
            # What is still buffered must go somewhere, or the interpreter complains when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_PIPE) from error

    return run


def complain(error: EdgeInferError) -> None:
    """Prints a typed error and its remedy on stderr."""
    typer.echo(f"error [{error.code}]: {error.message}", err=True)
    if error.remedy:
        typer.echo(f"fix: {error.remedy}", err=True)


def exit_code(error: EdgeInferError) -> int:
    """The exit code that stands for an error."""
    if isinstance(error, ImageError):
        return EXIT_IMAGE
    return EXIT_USAGE if isinstance(error, OutputError) else EXIT_BROKEN


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-infer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(epilog=_EXIT_CODES)
@_guarded
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
        _note(f"files without a picture's suffix were left out: {expansion.skipped}")
    stdin = _read_stdin() if any(source.path is None for source in expansion.sources) else b""
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
    _prepare_stdout(format)
    with Diagnoser.from_loading(
        loading, operating_point=operating_point, abstain=abstain, max_pixels=limit
    ) as diagnoser:
        manifest = diagnoser.manifest
        report = None if save_report is None else _html_report(diagnoser, operating_point)
        if format == Format.CSV:
            sys.stdout.write(csv_header(manifest))
        results = _results(diagnoser, expansion.sources, stdin, batch_size)
        with _progress(count, streams) as advance:
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
                    card = to_card(diagnosis, saved, manifest, position=position, style=_style())
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
        _note(
            f"{count} pictures: {tally['ok']} with a probability, {tally['indeterminate']} indeterminate, "
            f"{tally['error']} failed."
        )
    if tally["error"]:
        raise typer.Exit(EXIT_IMAGE)


@app.command(epilog=_EXIT_CODES)
@_guarded
def bundles() -> None:
    """List the bundles that can be used by name."""
    from edge_infer.bundle.manifest import (
        DEFAULT_BUNDLE,
        SEARCH_VARIABLE,
        available_bundles,
        read_manifest,
        search_path,
    )

    listed = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    for folder in listed:
        if not folder.is_dir():
            _note(f"{SEARCH_VARIABLE} names '{folder}', which is no folder.")
    package = Path(__file__).parents[1] / "bundles"
    found = list(available_bundles())
    if not found:
        searched = ", ".join(f"'{folder}'" for folder in search_path())
        raise BundleNotFoundError(
            f"No bundle was found in {searched}.",
            f"Install the edge-infer wheel, which holds one, or set {SEARCH_VARIABLE} to a folder of bundles.",
        )
    for folder in found:
        if folder.parent in listed:
            origin = SEARCH_VARIABLE
        else:
            origin = "edge-infer package" if folder.parent == package else "source checkout"
        mark = " (default)" if folder.name == DEFAULT_BUNDLE else ""
        typer.echo(f"{folder.name}{mark}")
        try:
            manifest = read_manifest(folder).manifest
        except EdgeInferError as error:
            typer.echo(f"  BROKEN [{error.code}]: {error.message}\n  fix: {error.remedy}")
        else:
            typer.echo(f"  {manifest.description}")
            if manifest.name != folder.name:
                typer.echo(f"  calls itself '{manifest.name}'")
            typer.echo(f"  {_megabytes(sum(entry.bytes for entry in manifest.files.values()))}, from {origin}")
        typer.echo(f"  {folder}")


@app.command(epilog=_EXIT_CODES)
@_guarded
def inspect(bundle: BundleArgument = None) -> None:
    """Explain a bundle.

    Its networks and their inputs, operating points, measured quality, licence and origin.
    """
    from edge_infer.bundle.manifest import find_bundle, read_manifest

    loaded = read_manifest(find_bundle(bundle))
    _prepare_stdout(Format.CARD)
    for line in _explain(loaded):
        typer.echo(line)


@app.command(epilog=_EXIT_CODES)
@_guarded
def verify(
    bundle: BundleArgument = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Check a bundle on this device.

    Every file's hash is compared, then the bundle's stored examples are run again. For each step the table shows the
    largest deviation from what the trainer stored, and the bundle's own bound. A variant, such as int8, has bounds of
    its own.
    """
    from edge_infer.bundle.manifest import find_bundle, read_manifest, verify_file

    folder = find_bundle(bundle)
    manifest = read_manifest(folder).manifest
    _prepare_stdout(Format.CARD)
    typer.echo(f"bundle {manifest.name} in {folder}")
    failure: EdgeInferError | None = None
    for name, entry in manifest.files.items():
        try:
            verify_file(folder, name, entry)
        except EdgeInferError as error:
            failure = error
            typer.echo(f"  FAILED  {name}  [{error.code}]")
        else:
            typer.echo(f"  ok      {name}  {_megabytes(entry.bytes)}, SHA-256 {entry.sha256[:12]}")
    if failure is not None:
        raise failure

    from edge_infer.bundle.golden import read_golden, replay
    from edge_infer.diagnoser import Diagnoser

    with Diagnoser.load(folder, providers=provider or None, threads=threads, variant=variant) as diagnoser:
        traces = read_golden(folder / manifest.golden.file)
        typer.echo(f"{len(traces)} stored examples run again on {diagnoser.provider}, variant {diagnoser.variant}")
        typer.echo(f"  {'':<8}{'step':<30}{'measure':<24}{'largest':>12}{'bound':>12}")
        failed = []
        for deviation in replay(traces, manifest, diagnoser.segment, diagnoser.classify, diagnoser.tolerance):
            verdict = "ok" if deviation.passed else "FAILED"
            figures = f"{deviation.value:>12.3g}{deviation.limit:>12.3g}"
            typer.echo(f"  {verdict:<8}{deviation.step:<30}{deviation.measure:<24}{figures}")
            if not deviation.passed:
                failed.append(deviation.step)
        if failed:
            raise BundleMismatchError(
                f"On {diagnoser.provider} this bundle does not compute what its trainer stored: {', '.join(failed)}.",
                "Try --provider cpu; if that fails too, update ONNX Runtime or export the bundle again.",
            )
    typer.echo("verified")


app.command(epilog=_EXIT_CODES, short_help="Measure a bundle on this device.")(_guarded(benchmark))


@app.command(epilog=_EXIT_CODES)
@_guarded
def doctor() -> None:
    """Check this installation.

    What is installed, which providers can be used, and whether the default bundle works.
    """
    import platform

    import cv2
    import numpy as np

    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.onnx import available_threads, load_onnxruntime, short_name

    typer.echo(f"edge-infer   {__version__}, Python {platform.python_version()}, {platform.platform()}")
    typer.echo(f"libraries    numpy {np.__version__}, OpenCV {cv2.__version__}")
    typer.echo(f"threads      {available_threads()} of {os.cpu_count()} processors may be used")
    runtime = load_onnxruntime()
    installed = ", ".join(map(short_name, runtime.get_available_providers()))
    typer.echo(f"engine       ONNX Runtime {runtime.__version__} with {installed}")
    start = time.perf_counter()
    with Diagnoser.load() as diagnoser:
        diagnoser.warmup()
        took = (time.perf_counter() - start) * 1000
        typer.echo(f"bundle       {diagnoser.manifest.name} in {diagnoser.bundle.path}")
        typer.echo(f"works        on {diagnoser.provider}; loaded and run once in {took:.0f} ms")
        manifest = diagnoser.manifest
    names = list(manifest.variants("segmenter"))
    typer.echo(f"variants     {', '.join(names)}; {names[0]} runs unless --variant names another")
    packages = [name for name, entry in manifest.variants("segmenter").items() if entry.format == "coreml"]
    typer.echo(f"Core ML      {_coreml_state(packages)}")


def _coreml_state(packages: Sequence[str]) -> str:
    from edge_infer.engines.coreml import import_coreml
    from edge_infer.engines.onnx import NATIVE_COREML, require_macos

    try:
        require_macos()
        import_coreml()
    except EdgeInferError as error:
        return f"no: {error.message}"
    if not packages:
        return "no: the bundle has no Core ML variant."
    return f"yes, with {', '.join(packages)}: --provider {', '.join(NATIVE_COREML)}"


def limit_opencv(threads: int | None) -> None:
    """Gives OpenCV as many threads as each network: this process is the command's own, so the limit is its to set."""
    import cv2

    from edge_infer.engines.onnx import available_threads

    cv2.setNumThreads(threads or available_threads())


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


def _read_stdin() -> bytes:
    if sys.stdin.isatty():
        raise typer.BadParameter("standard input is a terminal; pipe a picture into it.", param_hint="IMG '-'")
    return sys.stdin.buffer.read()


def _check_operating_point(bundle: str | None, name: str | None, abstain: float | None) -> None:
    if name is None and abstain is None:
        return
    from edge_infer.bundle.manifest import find_bundle, read_manifest
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


def _prepare_stdout(format: Format) -> None:
    """File names may hold bytes that are no text: data carries them through, cards escape them."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        reconfigure(errors="surrogateescape" if utf8 and format == Format.CSV else "backslashreplace")


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


@contextlib.contextmanager
def _progress(count: int, streams: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr for several pictures, unless results scroll by on the same terminal."""
    if count < 2 or not sys.stderr.isatty() or (streams and sys.stdout.isatty()):
        yield lambda: None
        return
    with typer.progressbar(length=count, label="pictures", file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)


def _style() -> Callable[[str, str], str]:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, _: text
    looks: dict[str, dict[str, Any]] = {
        "title": {"bold": True},
        "alarm": {"fg": typer.colors.RED, "bold": True},
        "calm": {"fg": typer.colors.GREEN, "bold": True},
        "unsure": {"fg": typer.colors.YELLOW},
        "quiet": {"dim": True},
    }
    return lambda text, tone: typer.style(text, **looks[tone])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


def _explain(bundle: Bundle) -> Iterator[str]:
    """The manifest in words, line by line."""
    from edge_infer.output.wording import sentence

    manifest = bundle.manifest
    yield f"{manifest.name}: {manifest.description}"
    yield f"  intended use      {manifest.intended_use}"
    yield f"  folder            {bundle.path}"
    yield f"  manifest SHA-256  {bundle.sha256}"
    yield ""
    yield "Networks"
    for name, stage in (("segmenter", manifest.segmenter), ("classifier", manifest.classifier)):
        cost = f", {stage.gflops:g} GFLOP" if stage.gflops is not None else ""
        spec = stage.input
        yield f"  {name:<16}  {stage.architecture}, {stage.parameters:,} parameters{cost}"
        shape = f"n x {spec.height} x {spec.width} x {spec.channels}"
        yield f"  {'':<16}  in: {spec.color} {spec.dtype} {spec.layout}, {shape}"
    yield ""
    yield from _variants(manifest)
    yield ""
    yield "Steps"
    mask, roi, limits = manifest.mask, manifest.roi, manifest.quality
    yield f"  mask              probability >= {mask.threshold:g}, largest region, holes filled"
    area = f"{mask.min_area_fraction:.2%} to {mask.max_area_fraction:.0%}"
    yield f"  lesion            {area} of the picture,"
    yield f"                    mean probability inside >= {mask.min_confidence:g}; otherwise indeterminate"
    kept = "background kept" if roi.background == "keep" else "background set to zero"
    yield f"  crop              square around the lesion with a margin of {roi.margin:.0%} on each side, {kept}"
    yield f"  picture           shorter side >= {limits.min_side} px, contrast >= {limits.min_contrast:g},"
    brightness = f"brightness {limits.min_luminance:g} to {limits.max_luminance:g}"
    yield f"                    {brightness}, sharpness >= {limits.min_sharpness:g}; otherwise indeterminate"
    if manifest.dermoscopy is not None:
        least = f"score >= {manifest.dermoscopy.min_score:.2f} from {len(manifest.dermoscopy.terms)} measures"
        yield f"  dermoscopy        {least} of colour and texture; otherwise indeterminate"
    calibration = manifest.calibration
    fitted = f", T = {calibration.temperature:.3f}, fitted on {calibration.fitted_on}"
    yield f"  calibration       {calibration.method}{fitted if calibration.method != 'none' else ''}"
    yield ""
    yield "Classes"
    for label in manifest.labels:
        mark = "  <- the probability that is decided on" if label == manifest.melanoma_label else ""
        yield f"  {label:<16}  {manifest.label_names[label]}{mark}"
    yield ""
    yield "Operating points"
    for point in manifest.operating_points:
        mark = " (default)" if point.name == manifest.default_operating_point else ""
        yield f"  {point.name}{mark}: suspicious from a probability of {point.threshold:.4f} upwards"
        yield f"    {sentence(point.meaning)}"
        yield f"    Chosen by: {point.rule}, on {point.chosen_on}."
        yield from _figures(point.metrics)
        for band in point.bands:
            between = f"{band.low:.4f} and {band.high:.4f}"
            yield f"    --abstain {band.referred:g}: undecided between {between}; of the others"
            yield from _figures(band.metrics)
    yield ""
    yield "Measured"
    for evaluation in manifest.evaluations:
        yield f"  {evaluation.data}, {evaluation.split}: {evaluation.images} pictures of {evaluation.lesions} lesions"
        yield from _figures(evaluation.metrics)
        yield f"    again with: {evaluation.command}"
    for gate in manifest.gates:
        yield f"  {gate.artifact} against PyTorch: {gate.measure} {gate.value:.3g} ({gate.relation} {gate.limit:g})"
    yield ""
    yield from _origin(manifest)


def _variants(manifest: Manifest) -> Iterator[str]:
    from edge_infer.bundle.manifest import DEFAULT_VARIANT
    from edge_infer.engines.loading import STAGES

    yield "Variants (choose one with --variant)"
    for name in {name: None for stage in STAGES for name in manifest.variants(stage)}:
        entries = [(stage, manifest.variants(stage)[name]) for stage in STAGES if name in manifest.variants(stage)]
        form = entries[0][1]
        mark = " (default)" if name == DEFAULT_VARIANT else ""
        engine = "ONNX Runtime" if form.format == "onnx" else "Core ML, macOS only"
        meant = "" if form.meant_for == "any" else f", meant for {form.meant_for}"
        yield f"  {name}{mark}: {engine}, {form.precision}{meant}"
        for stage, entry in entries:
            size = sum(e.bytes for f, e in manifest.files.items() if f == entry.file or f.startswith(f"{entry.file}/"))
            scheme = "" if entry.scheme == name else f" ({entry.scheme})"
            yield f"    {stage:<14}  {entry.file}, {_megabytes(size)}{scheme}"
    for name, why in manifest.variants_left_out.items():
        yield f"  {name}: left out. {why}"


def _origin(manifest: Manifest) -> Iterator[str]:
    origin = manifest.provenance
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    yield "Origin"
    yield f"  licence           {origin.license}. {origin.license_note}"
    yield f"  data              {origin.data}"
    yield f"  cite              {origin.citation}"
    yield f"  trained           {origin.created} with trainer {origin.trainer_version} ({packages})"
    yield "Files"
    for name, entry in manifest.files.items():
        yield f"  {name:<24}  {_megabytes(entry.bytes):>9}  SHA-256 {entry.sha256[:16]}"


def _figures(metrics: Mapping[str, Metric]) -> Iterator[str]:
    width = max(map(len, metrics), default=0)
    for name, metric in metrics.items():
        has_interval = metric.low is not None and metric.high is not None
        interval = f"  (95 % CI {metric.low:.4f} to {metric.high:.4f})" if has_interval else ""
        yield f"    {name:<{width}}  {metric.value:.4f}{interval}"
