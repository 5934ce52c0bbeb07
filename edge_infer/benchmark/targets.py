"""Targets: what could run the networks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge_infer.bundle.manifest import DEFAULT_VARIANT
from edge_infer.bundle.store import Bundle
from edge_infer.engines.base import NATIVE_COREML, NATIVE_OPENVINO, ComputeUnits
from edge_infer.engines.loading import STAGES
from edge_infer.errors import BundleError, ProviderUnavailableError

DEFAULT_TARGET = "cpu"


@dataclass(frozen=True)
class Target:
    """One way to run the networks.

    Attributes:
        name: as the command line takes it.
        title: for people.
        provider: ONNX Runtime's name of the execution provider, or `NATIVE_OPENVINO`; None for Core ML itself.
        options: the provider's options.
        compute_units: Core ML's load-time choice, for the native targets.
        install: what to do where it is missing.
        variant: of the bundle; None takes float32, or for Core ML itself its first Core ML variant.
    """

    name: str
    title: str
    provider: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    compute_units: ComputeUnits | None = None
    install: str = ""
    variant: str | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU, so that the number of threads and the probed peak apply to it."""
        return self.name.partition(":")[0] in ("cpu", "xnnpack", "openvino-cpu", NATIVE_OPENVINO)

    def variant_in(self, bundle: Bundle) -> str:
        """Name of the bundle's variant that this target loads.

        Raises:
            BundleError: the bundle has none for it.
        """
        wanted = self.variant
        if wanted is None and self.provider is None:
            forms = bundle.manifest.variants("segmenter").items()
            wanted = next((name for name, form in forms if form.format == "coreml"), "coreml")
        wanted = wanted or DEFAULT_VARIANT
        for stage in STAGES:
            form = bundle.manifest.variant(stage, wanted)
            if (form.format == "coreml") != (self.provider is None):
                raise BundleError(f"Variant '{wanted}' of the {stage} is not for {self.title}.", "Choose another one.")
        return wanted

    def with_variant(self, variant: str) -> Target:
        """The same target with another variant: "cpu:int8"."""
        return replace(self, name=f"{self.name}:{variant}", title=f"{self.title}, {variant}", variant=variant)


_UNITS: dict[ComputeUnits, str] = {
    "CPU_ONLY": "CPUOnly",
    "CPU_AND_GPU": "CPUAndGPU",
    "CPU_AND_NE": "CPUAndNeuralEngine",
    "ALL": "ALL",
}


def _slug(units: str) -> str:
    return units.lower().replace("_", "-")


CATALOGUE: tuple[Target, ...] = (
    Target("cpu", "ONNX Runtime, CPU", "CPUExecutionProvider", install="pip install 'edge-infer[cpu]'"),
    Target("xnnpack", "ONNX Runtime, XNNPACK", "XnnpackExecutionProvider", install="build ONNX Runtime with XNNPACK"),
    Target("cuda", "ONNX Runtime, CUDA", "CUDAExecutionProvider", install="pip install 'edge-infer[cuda]'"),
    Target(
        "tensorrt",
        "ONNX Runtime, TensorRT",
        "TensorrtExecutionProvider",
        install="pip install 'edge-infer[cuda]' tensorrt",
    ),
    *(
        Target(
            f"coreml-ep-{_slug(units)}",
            f"ONNX Runtime, Core ML ({units})",
            "CoreMLExecutionProvider",
            {"ModelFormat": "MLProgram", "MLComputeUnits": option},
            install="pip install 'edge-infer[cpu]' on macOS",
        )
        for units, option in _UNITS.items()
    ),
    Target("directml", "ONNX Runtime, DirectML", "DmlExecutionProvider", install="pip install 'edge-infer[directml]'"),
    *(
        Target(
            f"openvino-{device.lower()}",
            f"ONNX Runtime, OpenVINO ({device})",
            "OpenVINOExecutionProvider",
            {"device_type": device},
            install="pip install 'edge-infer[openvino]'",
        )
        for device in ("CPU", "GPU", "NPU")
    ),
    Target(NATIVE_OPENVINO, "OpenVINO, CPU", NATIVE_OPENVINO, install="pip install 'edge-infer[openvino-native]'"),
    Target(
        "qnn-htp",
        "ONNX Runtime, QNN (Hexagon)",
        "QNNExecutionProvider",
        {"backend_type": "htp"},
        install="pip install onnxruntime-qnn",
    ),
    *(
        Target(
            name,
            f"Core ML ({units})",
            compute_units=units,
            install="pip install 'edge-infer[coreml]'",
        )
        for name, units in NATIVE_COREML.items()
    ),
)


def find_target(name: str) -> Target:
    """The catalogue's entry. "cpu:int8" is the entry "cpu" with the bundle's variant "int8".

    Raises:
        ProviderUnavailableError: no target has this name; the message names the nearest.
    """
    base, _, variant = name.partition(":")
    for target in CATALOGUE:
        if target.name == base:
            return target.with_variant(variant) if variant else target
    names = [target.name for target in CATALOGUE]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known targets: {', '.join(names)}."
    raise ProviderUnavailableError(f"There is no target '{name}'.", hint)
