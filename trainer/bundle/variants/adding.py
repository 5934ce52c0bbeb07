"""A bundle with its variants: made, judged by their gates on the validation split, kept or left out with a reason."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_infer.bundle.golden import Network, Trace, replay
from edge_infer.bundle.manifest import Manifest, Stage, StageName, Variant
from edge_infer.engines.onnx import OnnxEngine
from trainer.bundle.errors import ExportError, ParityError
from trainer.bundle.gates import Parity, Unseen, judge, measure_parities, require
from trainer.bundle.mil import MilProgram
from trainer.bundle.variants.kinds import KINDS, files_of
from trainer.bundle.variants.making import Maker, find_sources
from trainer.data.ham10000 import Record
from trainer.models.serving import ServingGraph
from trainer.scoring.networks import Networks, as_segmenter

STRICTNESS = (1.0, 0.5, 0.25)
"""Shares of the limits that an int8 file keeps on training pictures; the next is tried where a gate fails."""


@dataclass(frozen=True)
class Request:
    """Which variants a bundle shall have.

    Attributes:
        names: keys of `KINDS`.
        training: pictures for every choice; about 250 of them serve.
        validation: pictures for the gates; see `trainer.bundle.gates`.
        leave_out_failed: a variant that fails a gate is left out, and the manifest says why; otherwise it is an error.
        say: receives progress in sentences.
        unseen: answers to the validation pictures, where the classifier learnt from them.
    """

    names: tuple[str, ...]
    training: Sequence[Record] = ()
    validation: Sequence[Record] = ()
    leave_out_failed: bool = False
    say: Callable[[str], None] = field(default=print)
    unseen: Unseen | None = None


def add_variants(
    folder: Path,
    manifest: Manifest,
    graphs: tuple[ServingGraph, ServingGraph],
    reference: Networks,
    golden: Sequence[Trace],
    request: Request,
) -> Manifest:
    """Writes the wanted variants into a bundle's folder.

    Args:
        folder: of the bundle; holds its float32 ONNX files.
        manifest: of the bundle; its list of files is not read.
        graphs: segmenter and classifier as exported.
        reference: the same as callables.
        golden: examples that every variant must replay within its tolerance.
        request: which.

    Returns:
        The manifest with the variants of both stages and what was left out.

    Raises:
        ExportError: a variant cannot be made.
        ParityError: a variant fails a gate.
    """
    sources = find_sources(folder, manifest, graphs, request.training) if request.names else ()
    maker = Maker(manifest)
    failed: dict[str, str] = {}
    stages: dict[StageName, dict[str, Variant]] = {"segmenter": {}, "classifier": {}}
    refused: dict[str, ExportError] = {}
    names: Sequence[str] = request.names
    for strictness in STRICTNESS:
        made: dict[str, dict[StageName, str]] = {}
        for name in names:
            request.say(
                f"{name}: {KINDS[name].help}" if strictness == 1 else f"{name}, at {strictness:g} of its limits"
            )
            try:
                made[name] = {source.name: maker.make(name, source, folder, strictness) for source in sources}
            except ExportError as error:
                refused.setdefault(name, error)
        networks = {name: open_variant(folder, name) for name in made}
        judged, unseen = request.validation, request.unseen
        parities = measure_parities(judged, manifest, reference, networks, unseen=unseen) if made else {}
        again = []
        for name, schemes in made.items():
            try:
                found = _accept(name, schemes, parities[name], networks[name], golden, manifest, request)
            except ParityError as error:
                refused[name] = error
                if KINDS[name].format == "onnx":
                    request.say(f"  {name}: {error.message}")
                    again.append(name)
            else:
                refused.pop(name, None)
                for stage, variant in found.items():
                    stages[stage][name] = variant
        names = again
    for name, problem in refused.items():
        _fail(name, problem, failed, request)
    for name in failed:
        _remove(folder / file for file in files_of(name).values())
    packages = dict(manifest.provenance.packages)
    if any(KINDS[name].format == "coreml" for name in stages["segmenter"]):
        packages["coremltools"] = importlib.metadata.version("coremltools")
    return replace(
        manifest,
        segmenter=_with_variants(manifest.segmenter, stages["segmenter"]),
        classifier=_with_variants(manifest.classifier, stages["classifier"]),
        provenance=replace(manifest.provenance, packages=packages),
        variants_left_out=failed,
    )


def _accept(
    name: str,
    schemes: Mapping[StageName, str],
    parity: Parity,
    networks: Networks,
    golden: Sequence[Trace],
    manifest: Manifest,
    request: Request,
) -> dict[StageName, Variant]:
    """The variant of each stage with its gates.

    Raises:
        ParityError: a gate or a golden example fails.
    """
    kind, files = KINDS[name], files_of(name)
    gates = judge(parity, kind.limits(files["segmenter"], files["classifier"]))
    for gate in gates:
        request.say(f"  {gate.artifact}: {gate.measure} {gate.value:.3g}, gate {gate.relation} {gate.limit:g}")
    require(gates)
    _replay(name, golden, manifest, networks)
    tolerance = kind.tolerance if manifest.familiarity else replace(kind.tolerance, max_familiarity=None)
    found: dict[StageName, Variant] = {}
    for stage, scheme in schemes.items():
        own = tuple(gate for gate in gates if (gate.artifact == files["segmenter"]) == (stage == "segmenter"))
        found[stage] = Variant(kind.format, files[stage], kind.precision, kind.meant_for, scheme, own, tolerance)
    return found


def open_variant(folder: Path, name: str) -> Networks:
    """Both networks of a variant: ONNX Runtime's CPU provider, or the interpreter of Core ML packages."""

    def network(file: str) -> Network:
        coreml = KINDS[name].format == "coreml"
        return as_segmenter(MilProgram(folder / file) if coreml else OnnxEngine(folder / file, providers=["cpu"]))

    files = files_of(name)
    return Networks(network(files["segmenter"]), network(files["classifier"]))


def _replay(name: str, golden: Sequence[Trace], manifest: Manifest, networks: Networks) -> None:
    for deviation in replay(list(golden), manifest, *networks, KINDS[name].tolerance):
        if not deviation.passed:
            raise ParityError(
                f"Golden examples deviate: {deviation.step} by {deviation.value:.3g}, at most {deviation.limit:g}.",
                "Compare the variant with the float32 files step by step.",
            )


def _fail(name: str, error: ExportError, failed: dict[str, str], request: Request) -> None:
    if not request.leave_out_failed:
        kind = ParityError if isinstance(error, ParityError) else ExportError
        remedy = f"{error.remedy} Or leave it out: --leave-out-failed.".strip()
        raise kind(f"Variant '{name}': {error.message}", remedy) from error
    failed[name] = error.message
    request.say(f"  {name} is left out. {error.message}")


def _with_variants(stage: Stage, variants: Mapping[str, Variant]) -> Stage:
    packages = [variant.file for variant in variants.values() if variant.format == "coreml"]
    files = {**stage.files, "coreml": packages[0]} if packages else stage.files
    return replace(stage, files=files, variants=dict(variants))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
