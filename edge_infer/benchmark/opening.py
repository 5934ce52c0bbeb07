"""Which targets are here, and opening one without ever getting another."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_infer.benchmark.coreml import planned_shares
from edge_infer.benchmark.setting import Availability
from edge_infer.benchmark.targets import CATALOGUE, DEFAULT_TARGET, Target, find_target
from edge_infer.bundle.manifest import DEFAULT_VARIANT, Stage, StageName
from edge_infer.bundle.onnx_file import check_network
from edge_infer.bundle.store import Bundle, read_file
from edge_infer.engines.base import NATIVE_OPENVINO, Engine
from edge_infer.engines.install import load_onnxruntime
from edge_infer.engines.loading import STAGES
from edge_infer.engines.onnx import OnnxEngine, short_name
from edge_infer.engines.variants import open_variant
from edge_infer.errors import EdgeInferError, EngineError, InferenceError, ProviderUnavailableError


@dataclass(frozen=True)
class OpenTarget:
    """Both networks, loaded and proven to run where they were asked to run."""

    segmenter: Engine
    classifier: Engine
    placement: dict[str, float]
    planned: dict[str, dict[str, float]]
    variant: str = DEFAULT_VARIANT


def discover(bundle: Bundle) -> tuple[Availability, ...]:
    """Every target of the catalogue: whether it can be tried on this machine, and if not, why.

    The bundle's other variants follow on the CPU, and where Core ML is, on all of its units.
    """
    found = [_availability(target, bundle) for target in CATALOGUE]
    forms = bundle.manifest.variants("segmenter")
    native = [name for name, form in forms.items() if form.format == "coreml"]
    for name in forms:
        if name not in (DEFAULT_VARIANT, *native[:1]):
            bases = ("coreml-all",) if name in native else (DEFAULT_TARGET, NATIVE_OPENVINO)
            found += [_availability(find_target(base).with_variant(name), bundle) for base in bases]
    return tuple(found)


def _availability(target: Target, bundle: Bundle) -> Availability:
    missing = {None: _missing_coreml, NATIVE_OPENVINO: _missing_openvino}.get(target.provider, _missing_provider)
    reason = missing(target, bundle)
    return Availability(target.name, target.title, not reason, reason)


def _missing_provider(target: Target, bundle: Bundle) -> str:
    try:
        target.variant_in(bundle)
        installed = load_onnxruntime().get_available_providers()
    except EdgeInferError as error:
        return str(error)
    if target.provider in installed:
        return ""
    has = ", ".join(map(short_name, installed))
    return f"This ONNX Runtime was built without {target.provider} (it has: {has}). To get it: {target.install}."


def _missing_openvino(target: Target, bundle: Bundle) -> str:
    try:
        target.variant_in(bundle)
    except EdgeInferError as error:
        return str(error)
    found = importlib.util.find_spec("openvino") is not None
    return "" if found else f"openvino is not installed. To get it: {target.install}."


def _missing_coreml(target: Target, bundle: Bundle) -> str:
    if sys.platform != "darwin":
        return "Core ML exists on Apple systems only."
    if importlib.util.find_spec("coremltools") is None:
        return "coremltools is not installed. To get it: pip install 'edge-infer[coreml]'."
    try:
        target.variant_in(bundle)
    except EdgeInferError as error:
        return str(error)
    return ""


def open_target(target: Target, bundle: Bundle, threads: int, *, prove: bool = True) -> OpenTarget:
    """Loads both networks on exactly this target.

    Args:
        target: of the catalogue.
        bundle: whose networks.
        threads: inside an operator, on the CPU.
        prove: also profile where the nodes run, in sessions of its own.

    The provider must be active in each session, and must have run at least one node of each network by ONNX Runtime's
    own profile: a provider can be active and leave everything to the CPU.

    Raises:
        EngineError: not installed, not started, or nothing ran there; see its subclasses.
        BundleError: the bundle has no file for it.
    """
    reason = _availability(target, bundle).reason
    if reason:
        raise ProviderUnavailableError(f"Target '{target.name}' is not available: {reason}")
    if target.provider is None:
        return _open_coreml(target, bundle)
    if target.provider == NATIVE_OPENVINO:
        variant = target.variant_in(bundle)
        first, second = (
            open_variant(bundle, stage, variant, providers=[NATIVE_OPENVINO], threads=threads) for stage in STAGES
        )
        return OpenTarget(first, second, {}, {}, variant)
    engines: list[Engine] = []
    times: Counter[str] = Counter()
    variant = target.variant_in(bundle)
    for stage in STAGES:
        file = bundle.manifest.variant(stage, variant).file
        data = read_file(bundle.path, file, bundle.manifest.files[file])
        check_network(data, _spec(bundle, stage), file)
        if target.options:
            engine: Engine = ProviderEngine(data, target.provider, target.options, threads)
        else:
            engine = OnnxEngine(bundle.path / file, providers=[target.provider], threads=threads, data=data)
        engines.append(engine)
        if engine.provider != target.provider:
            raise ProviderUnavailableError(f"{target.provider} did not become active; {engine.provider} did.")
        if not prove:
            continue
        ran = profile_placement(data, target, threads, _spec(bundle, stage))
        if not ran.get(target.provider):
            places = ", ".join(sorted(map(short_name, ran))) or "nowhere"
            raise ProviderUnavailableError(
                f"{target.provider} is active and ran no node of the {stage}; it ran on: {places}.",
                "The figures would be those of another target, so there are none.",
            )
        times.update(ran)
    total = sum(times.values())
    return OpenTarget(engines[0], engines[1], {name: value / total for name, value in times.items()}, {}, variant)


class ProviderEngine:
    """An ONNX Runtime session with provider options; see `edge_infer.engines.base.Engine`."""

    def __init__(self, data: bytes, provider: str, options: Mapping[str, str], threads: int) -> None:
        """Raises ProviderUnavailableError where the provider does not start with this ONNX file."""
        self._session = _session(data, provider, options, threads)
        self.provider: str = self._session.get_providers()[0]
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.warnings: tuple[str, ...] = ()
        entry = self._session.get_inputs()[0]
        height, width, channels = (size if isinstance(size, int) else None for size in entry.shape[1:])
        self.input_shape = (height, width, channels)
        self._input = entry.name
        self.outputs: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        return self.run_named(batch, self.outputs[:1])[0]

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.run_named`."""
        try:
            results = self._session.run(list(names), {self._input: batch})
            return tuple(np.asarray(result, np.float32) for result in results)
        except Exception as error:
            raise InferenceError(f"{self.provider} failed while it ran: {error}", "Try another target.") from error

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def profile_placement(data: bytes, target: Target, threads: int, spec: Stage) -> dict[str, float]:
    """Microseconds that each execution provider spent in one network's nodes, by ONNX Runtime's profile of three runs.

    Raises:
        EngineError: the session does not start, or does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = _session(data, target.provider or "", target.options, threads, profile=Path(folder) / "profile")
        batch = np.full((1, spec.input.height, spec.input.width, 3), 127, np.uint8)
        try:
            for _ in range(3):
                session.run(None, {spec.input.name: batch})
        except Exception as error:
            raise InferenceError(f"{target.provider} failed while it ran: {error}", "Try another target.") from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return placement_of(events)


def placement_of(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Node time by provider from the events of an ONNX Runtime profile."""
    times: Counter[str] = Counter()
    for event in events:
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and arguments.get("provider"):
            # A node too quick for the profile's microsecond clock still ran.
            times[arguments["provider"]] += max(event.get("dur", 0), 0.5)
    return dict(times)


def _session(
    data: bytes, provider: str, options: Mapping[str, str], threads: int, *, profile: Path | None = None
) -> Any:
    runtime = load_onnxruntime()
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(profile)
    given = dict(options)
    if provider == "XnnpackExecutionProvider":
        given["intra_op_num_threads"] = str(threads)
    try:
        session = runtime.InferenceSession(data, settings, providers=[(provider, given)])
    except Exception as error:
        message = str(error).strip().partition("\n")[0]
        raise ProviderUnavailableError(f"{provider} did not start: {message}") from error
    active = session.get_providers()[0]
    if active != provider:
        raise ProviderUnavailableError(f"{provider} did not become active; {active} did.")
    return session


def _open_coreml(target: Target, bundle: Bundle) -> OpenTarget:
    assert target.compute_units is not None
    engines: list[Engine] = []
    planned: dict[str, dict[str, float]] = {}
    variant = target.variant_in(bundle)
    for stage in STAGES:
        path = bundle.variant_file(stage, variant)
        engines.append(open_variant(bundle, stage, variant, compute_units=target.compute_units))
        with suppress(EngineError):  # no plan before macOS 14.4: the timings stand without it
            planned[stage] = planned_shares(path, target.compute_units)
    return OpenTarget(engines[0], engines[1], {}, planned, variant)


def _spec(bundle: Bundle, stage: StageName) -> Stage:
    return bundle.manifest.segmenter if stage == "segmenter" else bundle.manifest.classifier
