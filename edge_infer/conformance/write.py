"""Makes the vectors of a bundle: the cases, with what this runtime computes for each."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from edge_infer.bundle.golden import Trace, read_golden
from edge_infer.bundle.manifest import Manifest
from edge_infer.conformance import files, limits, paths, small_steps
from edge_infer.conformance.run import STEPS, compute
from edge_infer.conformance.small_steps import Case, computed
from edge_infer.conformance.store import FORMAT, README, BundleEntry, Index, write_folder
from edge_infer.diagnoser import Diagnoser


def make_index(diagnoser: Diagnoser) -> Index:
    """All vectors of the diagnoser's bundle."""
    bundle = diagnoser.bundle
    vectors = [computed(case, compute(case[1], case[3], diagnoser)) for case in _cases(diagnoser)]
    entry = BundleEntry(bundle.manifest.name, bundle.manifest.version, bundle.sha256)
    return Index(FORMAT, entry, {name: step[0] for name, step in STEPS.items()}, tuple(vectors))


def write_vectors(diagnoser: Diagnoser, folder: Path) -> tuple[Index, int]:
    """Writes the vectors of the diagnoser's bundle; see `edge_infer.conformance.store.write_folder`."""
    index = make_index(diagnoser)
    readme = resources.files("edge_infer.conformance").joinpath(README).read_text(encoding="utf-8")
    return index, write_folder(folder, index, readme)


def _cases(diagnoser: Diagnoser) -> Iterator[Case]:
    manifest = diagnoser.manifest
    yield from files.header_cases()
    yield from files.decode_cases(manifest.segmenter.input)
    yield from files.transparent_cases()
    yield from files.damaged_cases()
    yield from small_steps.resize_cases()
    yield from small_steps.quality_cases()
    yield from limits.picture_cases(manifest)
    if manifest.dermoscopy is not None:
        yield from small_steps.appearance_cases(manifest.dermoscopy)
    yield from small_steps.mask_cases(manifest.mask.threshold)
    yield from limits.lesion_cases(manifest)
    yield from small_steps.crop_cases(manifest.roi.margin, manifest.roi.background)
    yield from paths.path_cases(manifest, lambda step, given: compute(step, given, diagnoser))
    traces = read_golden(diagnoser.bundle.path / manifest.golden.file)
    yield from _networks(manifest, traces)
    yield from limits.decision_cases(manifest)
    yield from limits.prevalence_cases(manifest)
    yield from paths.diagnose_cases(manifest, traces)


def _networks(manifest: Manifest, traces: list[Trace]) -> Iterator[Case]:
    bounds = manifest.golden
    for number, trace in enumerate(traces[:1]):
        given: dict[str, Any] = {"image": trace["segmenter_input"]}
        tolerance = {"probability_map": {"mean_abs": bounds.max_map}}
        if bounds.max_familiarity is not None:
            tolerance["familiarity"] = {"max_abs": bounds.max_familiarity}
        yield f"golden-{number}", "segment", "the bundle's golden example", given, tolerance
    for number, trace in enumerate(traces[:1]):
        if "roi" in trace:
            tolerance = {"probabilities": {"max_abs": bounds.max_probability}}
            yield f"golden-{number}", "classify", "the bundle's golden example", {"image": trace["roi"]}, tolerance
