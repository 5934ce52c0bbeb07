"""`edge-infer bundles`, `inspect` and `verify`: which bundles there are, what they do, whether they are whole."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge_infer.cli.options import (
    BundleArgument,
    Format,
    PrecisionOption,
    PrevalenceOption,
    ProviderOption,
    SignatureOption,
    ThreadsOption,
    VariantOption,
)
from edge_infer.cli.terminal import note, prepare_stdout
from edge_infer.errors import BundleMismatchError, BundleNotFoundError, EdgeInferError

if TYPE_CHECKING:
    from edge_infer.bundle.manifest import Manifest
    from edge_infer.bundle.store import Bundle
    from edge_infer.rules import Metric, OperatingPoint


_OUTSIDE = {
    "clip": "cut there, and stretched to the network's square",
    "cap": "no larger than the picture's shorter side, so that large lesions are cut",
    "reflect": "continued by the picture's mirror image",
}


def bundles() -> None:
    """List the bundles that can be used by name."""
    from edge_infer.bundle.store import DEFAULT_BUNDLE, SEARCH_VARIABLE, available_bundles, read_manifest, search_path

    listed = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    for folder in listed:
        if not folder.is_dir():
            note(f"{SEARCH_VARIABLE} names '{folder}', which is no folder.")
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
            size = _megabytes(sum(entry.bytes for entry in manifest.files.values()))
            typer.echo(f"  version {manifest.version}, {size}, from {origin}")
        typer.echo(f"  {folder}")


def inspect(bundle: BundleArgument = None, prevalence: PrevalenceOption = None) -> None:
    """Explain a bundle.

    Its networks and their inputs, operating points, measured quality, licence and origin. With a prevalence: the
    thresholds that hold for it, and what becomes of some probabilities.
    """
    from edge_infer.bundle.store import find_bundle, read_manifest
    from edge_infer.steps.prevalence import known_ratio

    loaded = read_manifest(find_bundle(bundle))
    known_ratio(loaded.manifest.calibration, prevalence)
    prepare_stdout(Format.CARD)
    for line in _explain(loaded, prevalence):
        typer.echo(line)


def verify(
    bundle: BundleArgument = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    require_signature: SignatureOption = None,
) -> None:
    """Check a bundle on this device.

    Every file's hash is compared, then the bundle's stored examples are run again. For each step the table shows the
    largest deviation from what the trainer stored, and the bundle's own bound. A variant, such as int8, has bounds of
    its own.
    """
    from edge_infer.bundle.store import find_bundle, read_file, read_manifest, verify_file

    folder = find_bundle(bundle)
    manifest = read_manifest(folder, require_signature).manifest
    prepare_stdout(Format.CARD)
    typer.echo(f"bundle {manifest.name} {manifest.version} in {folder}")
    if require_signature is not None:
        typer.echo(f"  ok      signed by the owner of {require_signature}")
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

    from edge_infer.bundle.golden import Scoring, read_golden, replay
    from edge_infer.diagnoser import Diagnoser

    with Diagnoser.load(
        folder,
        providers=provider or None,
        threads=threads,
        variant=variant,
        precision=precision,
        require_signature=require_signature,
    ) as diagnoser:
        golden = manifest.golden.file
        traces = read_golden(io.BytesIO(read_file(folder, golden, manifest.files[golden])))
        typer.echo(f"{len(traces)} stored examples run again on {diagnoser.provider}, variant {diagnoser.variant}")
        typer.echo(f"  {'':<8}{'step':<30}{'measure':<24}{'largest':>12}{'bound':>12}")
        failed = []
        for deviation in replay(
            traces, manifest, Scoring(diagnoser.segment_and_score), diagnoser.classify, diagnoser.tolerance
        ):
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


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


def _explain(bundle: Bundle, prevalence: float | None) -> Iterator[str]:
    """The manifest in words, line by line."""
    from edge_infer.output.wording import sentence

    manifest = bundle.manifest
    yield f"{manifest.name} {manifest.version}: {manifest.description}"
    yield f"  intended use      {manifest.intended_use}"
    yield f"  folder            {bundle.path}"
    yield f"  manifest SHA-256  {bundle.sha256}"
    if manifest.min_onnxruntime is not None:
        yield f"  needs             ONNX Runtime {manifest.min_onnxruntime} or newer, for its ONNX files"
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
    if roi.outside != "pad":
        yield f"                    where it leaves the picture: {_OUTSIDE[roi.outside]}"
    yield f"  picture           shorter side >= {limits.min_side} px, contrast >= {limits.min_contrast:g},"
    brightness = f"brightness {limits.min_luminance:g} to {limits.max_luminance:g}"
    yield f"                    {brightness}, sharpness >= {limits.min_sharpness:g}; otherwise indeterminate"
    if manifest.dermoscopy is not None:
        least = f"score >= {manifest.dermoscopy.min_score:.2f} from {len(manifest.dermoscopy.terms)} measures"
        yield f"  dermoscopy        {least} of colour and texture; otherwise indeterminate"
    if manifest.familiarity is not None:
        least = f"the segmenter's own score '{manifest.familiarity.output}' >= {manifest.familiarity.threshold:.2f}"
        yield f"  dermoscopy        {least}; otherwise indeterminate"
    calibration = manifest.calibration
    fitted = f", T = {calibration.temperature:.3f}, fitted on {calibration.fitted_on}"
    yield f"  calibration       {calibration.method}{fitted if calibration.method != 'none' else ''}"
    yield from _prior(manifest, prevalence)
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
        yield from _moved(manifest, point, prevalence)
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


def _prior(manifest: Manifest, prevalence: float | None) -> Iterator[str]:
    """What share of melanoma the probabilities assume, and what another one makes of some of them."""
    from edge_infer.output.wording import percent
    from edge_infer.steps.prevalence import correct, known_ratio

    prior = manifest.calibration.prior
    if prior is None:
        yield "  prior             not stated: probabilities cannot be corrected for another share of melanoma"
        return
    yield f"  prior             probabilities assume that {percent(prior)} of the pictures show melanoma"
    if prevalence is not None:
        ratio = known_ratio(manifest.calibration, prevalence)
        yield f"                    with {percent(prevalence)} the odds are multiplied by {ratio:.4g}:"
        pairs = (f"{percent(p)} -> {percent(correct(p, ratio))}" for p in (0.05, 0.2, 0.5, 0.8))
        yield f"                    {', '.join(pairs)}"


def _moved(manifest: Manifest, point: OperatingPoint, prevalence: float | None) -> Iterator[str]:
    """The threshold with this prevalence, and which decisions change."""
    from edge_infer.output.wording import percent
    from edge_infer.steps.prevalence import known_ratio, move

    if prevalence is None:
        return
    threshold = move(point, known_ratio(manifest.calibration, prevalence)).threshold
    why = "it is a probability in itself" if point.basis == "probability" else "no decision changes"
    yield f"    With {percent(prevalence)} melanoma: from {threshold:.4f} upwards; {why}."


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
