"""From a bundle on disk to two running networks, with both stages made ready at the same time.

Each stage has a thread: it hashes the stage's file, compares the hash with the manifest, and only then loads the file
into an engine. Meanwhile the thread that started them is free, for example to import what a diagnosis needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from edge_infer.bundle.manifest import DEFAULT_VARIANT, StageName
from edge_infer.bundle.store import Bundle, find_bundle, read_file, read_manifest
from edge_infer.engines.base import (
    NATIVE_COREML,
    ComputeUnits,
    Engine,
    check_precision,
    require_macos,
    wants_openvino,
)
from edge_infer.engines.install import load_onnxruntime
from edge_infer.engines.threads import available_threads
from edge_infer.engines.variants import open_variant
from edge_infer.errors import BundleError, BundleMismatchError, ProviderUnavailableError

STAGES: tuple[StageName, StageName] = ("segmenter", "classifier")


class Loading:
    """Two networks on their way; made by `start_loading`.

    Attributes:
        bundle: its manifest is read; the files of this variant are checked by the time `wait` returns.
        variant: name of the variant that is loaded.
        threads: of each network.
        alone: loads both networks once more with one thread each, from files that are checked again; None where that
            would be the same.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: str,
        prepare: Callable[[], object],
        opener: Callable[[StageName, bytes | None], Engine],
        threads: int = 1,
        alone: Callable[[], tuple[Engine, Engine]] | None = None,
    ) -> None:
        """Starts the threads.

        Args:
            bundle: with its manifest read.
            variant: whose files are checked.
            prepare: called once, in this thread, while files are hashed; imports what `opener` needs. Two threads that
                import the same library at the same time would wait for each other, or see it half made.
            opener: loads one stage; called in that stage's thread after its files were checked, with the bytes of the
                stage's own file: what was hashed is what is loaded. None where the variant is a folder.
            threads: that `opener` gives a network.
            alone: see the attribute.
        """
        self.bundle, self.variant, self.threads, self.alone = bundle, variant, threads, alone
        self._prepared = threading.Event()
        self._failure: BaseException | None = None
        files = files_of(bundle, variant)
        self._parts = [
            _Part(bundle, stage, files[stage], opener, bundle.manifest.variant(stage, variant).file, self._prepared)
            for stage in STAGES
        ]
        for part in self._parts:
            part.start()
        try:
            prepare()
        except Exception as error:
            self._failure = error
            for part in self._parts:
                part.give_up = True
        finally:
            self._prepared.set()

    def wait(self) -> tuple[Bundle, Engine, Engine]:
        """The checked bundle, its segmenter and its classifier.

        Raises:
            BundleError: a file is missing or differs from its hash; see its subclasses.
            EngineError: no engine, or a stage cannot be loaded; see its subclasses.
        """
        for part in self._parts:
            part.join()
        failures = [part.failure for part in self._parts if part.failure is not None]
        if self._failure is not None:
            failures.append(self._failure)
        engines = [part.engine for part in self._parts if part.engine is not None]
        if failures:
            for engine in engines:
                engine.close()
            raise failures[0]
        segmenter, classifier = engines
        return self.bundle, segmenter, classifier


class _Part(threading.Thread):
    """Checks and loads one stage."""

    def __init__(
        self,
        bundle: Bundle,
        stage: StageName,
        files: Sequence[str],
        opener: Callable[[StageName, bytes | None], Engine],
        own: str,
        prepared: threading.Event,
    ) -> None:
        super().__init__(name=f"load-{stage}", daemon=True)
        self._bundle, self._stage, self._files, self._opener = bundle, stage, files, opener
        self._own, self._prepared = own, prepared
        self.give_up = False
        self.engine: Engine | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        """The thread's work; what goes wrong is kept for `Loading.wait`."""
        try:
            own = None
            for name in self._files:
                data = read_file(self._bundle.path, name, self._bundle.manifest.files[name])
                own = data if name == self._own else own
            self._prepared.wait()
            if not self.give_up:
                self.engine = self._opener(self._stage, own)
        except BaseException as error:
            self.failure = error


def files_of(bundle: Bundle, variant: str) -> dict[StageName, list[str]]:
    """Which of the bundle's files each stage's thread checks: the variant's own, and with the segmenter all that belong
    to no variant. Files of other variants are not used, so they are not read.

    Raises:
        BundleError: the bundle has no such variant.
    """
    manifest = bundle.manifest
    others = [entry.file for stage in STAGES for entry in manifest.variants(stage).values()]

    def inside(file: str, path: str) -> bool:
        return file == path or file.startswith(f"{path}/")

    own = {stage: manifest.variant(stage, variant).file for stage in STAGES}
    found = {stage: [file for file in manifest.files if inside(file, own[stage])] for stage in STAGES}
    shared = (file for file in manifest.files if not any(inside(file, path) for path in others))
    found["segmenter"] += shared
    return found


def start_loading(
    bundle: str | os.PathLike[str] | None = None,
    *,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    variant: str | None = None,
    precision: str | None = None,
    require_signature: str | os.PathLike[str] | None = None,
    explain: bool = False,
) -> Loading:
    """Finds a bundle, reads its manifest, and starts to check and load its networks.

    The arguments are those of `edge_infer.Diagnoser.load`.

    Raises:
        BundleError: not found, its manifest cannot be read, or it has no such variant.
        ProviderUnavailableError: Core ML was asked for where it cannot be, or it or OpenVINO itself together with other
            providers, or a precision that the engine does not take.
        What comes later is raised by `Loading.wait`.
    """
    found = read_manifest(find_bundle(bundle), require_signature)
    units = _compute_units(providers)
    computed = check_precision(precision, providers)
    name = _choose_variant(found, variant, units)
    chosen = None if units is not None else providers
    count = threads or available_threads()

    def opener(stage: StageName, data: bytes | None, threads: int = count) -> Engine:
        return open_variant(
            found,
            stage,
            name,
            providers=chosen,
            threads=threads,
            compute_units=units or "ALL",
            precision=computed,
            data=data,
            explain=explain,
        )

    def alone() -> tuple[Engine, Engine]:
        return opener("segmenter", None, 1), opener("classifier", None, 1)

    format = found.manifest.variant("segmenter", name).format
    prepare = _prepare(format, wants_openvino(chosen))
    return Loading(found, name, prepare, opener, count, alone if count > 1 else None)


def _prepare(format: str, openvino: bool) -> Callable[[], object]:
    """What imports the library that runs this format."""
    if format == "onnx" and openvino:
        from edge_infer.engines.openvino import import_openvino

        return import_openvino
    if format == "onnx":
        return load_onnxruntime
    from edge_infer.engines.coreml import import_coreml

    return import_coreml


def _compute_units(providers: Sequence[str] | None) -> ComputeUnits | None:
    """What Core ML may use where it is the wanted provider itself; None where the providers are ONNX Runtime's.

    Raises:
        ProviderUnavailableError: Core ML and another provider, or this is not macOS.
    """
    wanted = [NATIVE_COREML[name.lower()] for name in providers or () if name.lower() in NATIVE_COREML]
    if not wanted:
        return None
    if len(wanted) < len(providers or ()) or len(wanted) > 1:
        raise ProviderUnavailableError(
            f"{', '.join(providers or ())}: Core ML itself cannot share a network with another provider.",
            "Give one of them alone; what Core ML may use is part of its name.",
        )
    require_macos()
    return wanted[0]


def _choose_variant(bundle: Bundle, variant: str | None, units: ComputeUnits | None) -> str:
    """The variant to load: the wanted one; the bundle's first Core ML variant for Core ML; otherwise float32."""
    known = bundle.manifest.variants("segmenter")
    packages = [name for name, entry in known.items() if entry.format == "coreml"]
    if variant is None and units is not None and not packages:
        left_out = "".join(f" {name}: {why}" for name, why in bundle.manifest.variants_left_out.items())
        raise BundleError(
            f"Bundle '{bundle.manifest.name}' has no Core ML variant.{left_out}",
            "Export one with `python -m trainer export`, or use --provider coreml, ONNX Runtime's own way to Core ML.",
        )
    name = variant or (packages[0] if units is not None else DEFAULT_VARIANT)
    for stage in STAGES:
        format = bundle.manifest.variant(stage, name).format
        if units is not None and format != "coreml":
            raise BundleMismatchError(
                f"Variant '{name}' is an ONNX file, which Core ML itself does not run.",
                f"Choose a Core ML variant ({', '.join(packages) or 'this bundle has none'}), or --provider coreml.",
            )
        if format == "coreml":
            require_macos()
    return name
