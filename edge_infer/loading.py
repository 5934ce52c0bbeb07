"""From a bundle on disk to two running networks, with both stages made ready at the same time.

Each stage has a thread: it hashes the stage's file, compares the hash with the manifest, and only then loads the file
into an engine. Meanwhile the thread that started them is free, for example to import what a diagnosis needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from edge_infer.bundle import Bundle, find_bundle, read_manifest, verify_file
from edge_infer.engine import Engine, OnnxEngine, load_onnxruntime

StageName = Literal["segmenter", "classifier"]
STAGES: tuple[StageName, StageName] = ("segmenter", "classifier")


class Loading:
    """Two networks on their way; made by `start_loading`.

    Attributes:
        bundle: its manifest is read; its files are checked by the time `wait` returns.
    """

    def __init__(self, bundle: Bundle, prepare: Callable[[], None], opener: Callable[[StageName], Engine]) -> None:
        """Starts the threads.

        Args:
            bundle: with its manifest read.
            prepare: called once, in this thread, while files are hashed; imports what `opener` needs. Two threads that
                import the same library at the same time would wait for each other, or see it half made.
            opener: loads one stage; called in that stage's thread after its files were checked.
        """
        self.bundle = bundle
        self._prepared = threading.Event()
        self._failure: BaseException | None = None
        self._parts = [_Part(bundle, stage, opener, self._prepared) for stage in STAGES]
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
        self, bundle: Bundle, stage: StageName, opener: Callable[[StageName], Engine], prepared: threading.Event
    ) -> None:
        super().__init__(name=f"load-{stage}", daemon=True)
        self._bundle, self._stage, self._opener, self._prepared = bundle, stage, opener, prepared
        self.give_up = False
        self.engine: Engine | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        """The thread's work; what goes wrong is kept for `Loading.wait`."""
        try:
            for name in files_of(self._bundle, self._stage):
                verify_file(self._bundle.path, name, self._bundle.manifest.files[name])
            self._prepared.wait()
            if not self.give_up:
                self.engine = self._opener(self._stage)
        except BaseException as error:
            self.failure = error


def files_of(bundle: Bundle, stage: StageName) -> list[str]:
    """Which of the bundle's files a stage's thread checks: the stage's own, and with the segmenter all that are no
    stage's."""
    manifest = bundle.manifest
    own = {name: getattr(manifest, name).files.values() for name in STAGES}

    def belongs(file: str, name: StageName) -> bool:
        return any(file == path or file.startswith(f"{path}/") for path in own[name])

    if stage == "segmenter":
        return [file for file in manifest.files if not belongs(file, "classifier") or belongs(file, "segmenter")]
    return [file for file in manifest.files if belongs(file, "classifier")]


def start_loading(
    bundle: str | os.PathLike[str] | None = None, *, providers: Sequence[str] | None = None, threads: int | None = None
) -> Loading:
    """Finds a bundle, reads its manifest, and starts to check and load its networks.

    The arguments are those of `edge_infer.Diagnoser.load`.

    Raises:
        BundleError: not found, or its manifest cannot be read. What comes later is raised by `Loading.wait`.
    """
    found = read_manifest(find_bundle(bundle))

    def prepare() -> None:
        load_onnxruntime()

    def opener(stage: StageName) -> Engine:
        return OnnxEngine(found.file(stage, "onnx"), providers=providers, threads=threads)

    return Loading(found, prepare, opener)
