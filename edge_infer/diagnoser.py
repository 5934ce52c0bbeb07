"""`Diagnoser`: picture in, diagnosis out, one or many."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_infer.bundle.class_map import CLASS_MAP, against_others
from edge_infer.bundle.manifest import DEFAULT_VARIANT, Manifest
from edge_infer.bundle.site import Site, read_site
from edge_infer.bundle.store import Bundle
from edge_infer.diagnosis import MELANOMA, NOT_MELANOMA, Diagnosis
from edge_infer.engines.base import Engine
from edge_infer.engines.checks import check_engines, check_maps, check_probabilities, check_scores
from edge_infer.engines.loading import STAGES, Loading, start_loading
from edge_infer.engines.onnx import PROVIDERS
from edge_infer.engines.threads import in_order
from edge_infer.errors import EdgeInferError, EngineError, ImageError, InputError
from edge_infer.measurements.scale import check_scale
from edge_infer.output.wording import percent
from edge_infer.reasons import Problem, Reason
from edge_infer.rules import Band, OperatingPoint, Tolerance
from edge_infer.steps.image import DEFAULT_MAX_PIXELS, ImageInput
from edge_infer.steps.prevalence import correct_classes, known_ratio, move
from edge_infer.steps.recalibrate import recalibrated_classes
from edge_infer.steps.resize import to_batch
from edge_infer.steps.work import StepRules, Work, examine, locate, source_of

if TYPE_CHECKING:
    from edge_infer.measurements.measure import Measurements

_MANY = 64
"""So many pictures, known beforehand or seen so far, repay the time in which networks are loaded for one thread.

Workers with networks of several threads each get in one another's way.
"""


class Diagnoser:
    """Diagnoses dermoscopic pictures with one bundle.

    Immutable after loading and safe to share between threads. Use it as a context manager, or call `close`.

    Examples:
        >>> with Diagnoser.load(operating_point="screening") as diagnoser:
        ...     for diagnosis in diagnoser.diagnose_many(["examples/blurred.jpg", "gone.jpg"]):
        ...         print(diagnosis.status, diagnosis.reason or diagnosis.error.code)
        indeterminate blurred
        error image-not-found
    """

    def __init__(
        self,
        bundle: Bundle,
        segmenter: Engine,
        classifier: Engine,
        *,
        variant: str = DEFAULT_VARIANT,
        operating_point: str | None = None,
        abstain: float | None = None,
        prevalence: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        threads: int = 1,
        site: Site | None = None,
        measurements: bool = False,
        mm_per_pixel: float | None = None,
        alone: Callable[[], tuple[Engine, Engine]] | None = None,
    ) -> None:
        """Joins a checked bundle with two loaded networks of one variant; most callers use `load`.

        `threads` is how many the networks were given; `diagnose_many` has as many workers. `alone` loads the same
        networks with one thread each: where several workers share many pictures, threads inside each network only wait
        for each other. None: the workers use the given ones.

        Raises:
            BundleMismatchError: a network's input size or labels differ from the manifest.
            BundleError: the bundle has no such operating point, no band of this share, or no prior to correct.
            PrevalenceError: the prevalence is not between 0 and 1.
            InputError: a site overlay and a prevalence, or a scale that is none or that nothing is measured with.
        """
        check_scale(mm_per_pixel)
        if mm_per_pixel is not None and not measurements:
            raise InputError("A scale was given and nothing is measured.", "Ask for measurements too, or leave it out.")
        self._measuring, self._scale = measurements, mm_per_pixel
        self._bundle = bundle
        calibration = bundle.manifest.calibration
        if site is not None and prevalence is not None:
            raise InputError(
                "A site overlay and a prevalence were both given.",
                "Give one: the overlay holds the share of melanoma of its own pictures.",
            )
        self._site = site
        self._ratio = known_ratio(calibration, prevalence)
        self._prior = None if site is not None else calibration.prior if prevalence is None else prevalence
        point = bundle.manifest.operating_point(operating_point)
        point = point if site is None else site.at_site(point)
        self._operating_point = point if prevalence is None else move(point, self._ratio)
        self._band = None if abstain is None else self._operating_point.band(abstain)
        self._max_pixels = max_pixels
        self._variant = variant
        self._threads = threads
        self._alone, self._alone_lock = alone if segmenter.provider == PROVIDERS["cpu"] else None, threading.Lock()
        self._for_workers: tuple[Engine, Engine] | None = None
        self._segmenter: Engine | None = segmenter
        self._classifier: Engine | None = classifier
        self._warnings = tuple(dict.fromkeys((*segmenter.warnings, *classifier.warnings)))
        self._provider = segmenter.provider
        check_engines(bundle.manifest, segmenter, classifier)
        self._rules = step_rules(bundle.manifest)

    @classmethod
    def load(
        cls,
        bundle: str | os.PathLike[str] | None = None,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        variant: str | None = None,
        precision: str | None = None,
        operating_point: str | None = None,
        abstain: float | None = None,
        prevalence: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        site: str | os.PathLike[str] | None = None,
        require_signature: str | os.PathLike[str] | None = None,
        measurements: bool = False,
        mm_per_pixel: float | None = None,
        explain: bool = False,
    ) -> Diagnoser:
        """Loads a bundle, after checking the hash of every file but those of other variants.

        Args:
            bundle: path or name of a bundle; None takes the one that ships with the package.
            providers: execution providers in order of preference ("cpu", "cuda", "coreml", ... or ONNX Runtime's
                names); the first must become active. None picks the best installed one. On macOS, one of
                `edge_infer.engines.base.NATIVE_COREML` alone is Core ML itself with these compute units, and
                "openvino-native" alone is OpenVINO itself. Neither is ever picked without being asked for.
            threads: threads inside an operator; None takes what affinity and the cgroup quota allow. OpenCV's own
                threads are the process's affair: see `cv2.setNumThreads`.
            variant: which form of both networks, such as "int8" or "coreml-float16"; None takes float32, or with Core
                ML itself the bundle's first Core ML variant. None other is ever picked without being asked for.
            precision: with "openvino-native", "bfloat16" computes what the file has in float32 in 16 bits, where the
                processor can: quicker, and the answers move. None is float32.
            operating_point: name of the decision threshold to use; None takes the bundle's default.
            abstain: share of least certain pictures to leave undecided, one of those that the operating point has a
                band for (such as 0.1, 0.2, 0.3). Between the band's limits the result is indeterminate with the reason
                "uncertain", and its probability is still given. None decides every picture.
            prevalence: share of melanoma among the pictures to come, such as 0.02. Probabilities are corrected for it,
                and thresholds with them: see `edge_infer.steps.prevalence`. None takes the share that the bundle's
                probabilities assume (`manifest.calibration.prior`).
            max_pixels: larger pictures are refused before they are decoded.
            site: overlay of `edge-infer calibrate` for this bundle; every answer names it. None takes the bundle as it
                is.
            require_signature: path of the publisher's public key (Ed25519, PEM), who must have signed the bundle; needs
                the extra `[sign]`.
            measurements: measure each lesion too: `Diagnosis.measurements`. No answer depends on it.
            mm_per_pixel: of all pictures to come, at their own size; adds millimetres to the measurements.
            explain: draw up a class activation map with each answer: `Diagnosis.class_map`. No answer depends on it.

        Raises:
            InputError: the overlay cannot be read, or was given together with a prevalence; or the scale is none.
            BundleError: not found, damaged, tampered with, of another schema version, or without a prior to correct;
                see its subclasses.
            PrevalenceError: the prevalence is not between 0 and 1.
            EngineError: no engine, or the wanted provider is not available; see its subclasses.
            ExplanationUnavailableError: an explanation was asked for, and the classifier has none that is exact.
        """
        loading = start_loading(
            bundle,
            providers=providers,
            threads=threads,
            variant=variant,
            precision=precision,
            require_signature=require_signature,
            explain=explain,
        )
        return cls.from_loading(
            loading,
            operating_point=operating_point,
            abstain=abstain,
            prevalence=prevalence,
            max_pixels=max_pixels,
            site=site,
            measurements=measurements,
            mm_per_pixel=mm_per_pixel,
        )

    @classmethod
    def from_loading(
        cls,
        loading: Loading,
        *,
        operating_point: str | None = None,
        abstain: float | None = None,
        prevalence: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        site: str | os.PathLike[str] | None = None,
        measurements: bool = False,
        mm_per_pixel: float | None = None,
    ) -> Diagnoser:
        """Waits for networks that were started with `edge_infer.engines.loading.start_loading`; see `load`."""
        point = loading.bundle.manifest.operating_point(operating_point)
        overlay = None if site is None else read_site(site, loading.bundle)
        if overlay is not None:
            point = overlay.at_site(point)
        if abstain is not None:
            point.band(abstain)
        known_ratio(loading.bundle.manifest.calibration, prevalence)
        return cls(
            *loading.wait(),
            variant=loading.variant,
            operating_point=operating_point,
            abstain=abstain,
            prevalence=prevalence,
            max_pixels=max_pixels,
            threads=loading.threads,
            site=overlay,
            measurements=measurements,
            mm_per_pixel=mm_per_pixel,
            alone=loading.alone,
        )

    def with_prevalence(self, prevalence: float) -> Diagnoser:
        """The same networks for pictures with another share of melanoma; close one of the two, when neither is needed.

        Raises:
            PrevalenceError: the prevalence is not between 0 and 1.
            BundleError: the bundle does not state its prior.
            InputError: a site's overlay is in use, which holds a share of its own.
        """
        return Diagnoser(
            self._bundle,
            _running(self._segmenter),
            _running(self._classifier),
            variant=self._variant,
            operating_point=self._operating_point.name,
            abstain=None if self._band is None else self._band.referred,
            prevalence=prevalence,
            max_pixels=self._max_pixels,
            threads=self._threads,
            site=self._site,
            measurements=self._measuring,
            mm_per_pixel=self._scale,
            alone=self._alone,
        )

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._bundle

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self._bundle.manifest

    @property
    def provider(self) -> str:
        """The execution provider that runs the networks."""
        return self._provider

    @property
    def variant(self) -> str:
        """Name of the bundle's variant that is loaded."""
        return self._variant

    @property
    def operating_point(self) -> OperatingPoint:
        """The operating point that decides, moved where a prevalence or a site's overlay was given."""
        return self._operating_point

    @property
    def prior(self) -> float | None:
        """Share of melanoma that the probabilities assume, see `Diagnosis.prior`."""
        return self._prior

    @property
    def threads(self) -> int:
        """Threads of each network, and of `diagnose_many`."""
        return self._threads

    @property
    def tolerance(self) -> Tolerance:
        """How far this variant may deviate when the golden examples are replayed."""
        stages = (self.manifest.variant(stage, self._variant).tolerance for stage in STAGES)
        first, second = stages
        return first.wider(second)

    def diagnose(self, image: ImageInput, *, mm_per_pixel: float | None = None) -> Diagnosis:
        """Diagnoses one picture.

        Args:
            image: path, encoded bytes (JPEG, PNG, WebP, BMP, TIFF), or RGB uint8 array of shape (height, width, 3).
            mm_per_pixel: of this picture, in place of the one for all; only where lesions are measured.

        Raises:
            InputError: the scale is none.
            ImageError: the picture cannot be used; see its subclasses.
            EngineError: the engine failed.
        """
        check_scale(mm_per_pixel)
        work = examine(image, self._rules, self._max_pixels)
        segmenter, classifier = self._engines()
        self._segment([work], segmenter)
        self._classify([work], classifier)
        return self._finish(work, mm_per_pixel or self._scale)

    def diagnose_many(
        self, images: Iterable[ImageInput], batch_size: int = 8, workers: int | None = None
    ) -> Iterator[Diagnosis]:
        """Diagnoses pictures in batches, lazily and in order.

        A picture that cannot be used becomes a `Diagnosis` with status "error"; the others go on.

        Args:
            images: as for `diagnose`; may be a generator.
            batch_size: pictures per network call.
            workers: batches that are worked on at the same time, each from decoding to its answers in a thread of its
                own; one more is held in memory. None: as many as `threads` for a list or tuple; one, in this thread,
                for other iterables, which may be live: they are then asked for no more than a batch ahead.

        Raises:
            ValueError: batch_size or workers is below 1.
            EngineError: the engine failed.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        known = len(images) if isinstance(images, list | tuple) else 0
        if workers is None:
            workers = max(1, min(self._threads, math.ceil(known / batch_size)))
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        return self._diagnose_batches(iter(images), known, batch_size, workers)

    def _diagnose_batches(
        self, images: Iterator[ImageInput], known: int, batch_size: int, workers: int
    ) -> Iterator[Diagnosis]:
        batches = enumerate(iter(lambda: list(islice(images, batch_size)), []))

        def work(batch: tuple[int, list[ImageInput]]) -> list[Diagnosis]:
            number, some = batch
            many = self._for_workers is not None or max(known, number * batch_size) >= _MANY
            return self._diagnose_batch(some, self._engines(workers > 1 and many))

        for answers in in_order(work, batches, workers):
            yield from answers

    def _engines(self, for_workers: bool = False) -> tuple[Engine, Engine]:
        """Segmenter and classifier; of one thread each for workers, where they can be loaded once more."""
        given = _running(self._segmenter), _running(self._classifier)
        if not for_workers or self._alone is None:
            return given
        with self._alone_lock:
            if self._for_workers is None and self._alone is not None:
                try:
                    self._for_workers = self._alone()
                except EdgeInferError:  # the bundle was moved meanwhile: what runs already gives the same answers
                    self._alone = None
            return self._for_workers or given

    def _diagnose_batch(self, images: Sequence[ImageInput], engines: tuple[Engine, Engine]) -> list[Diagnosis]:
        works: list[Work | Diagnosis] = []
        for image in images:
            try:
                works.append(examine(image, self._rules, self._max_pixels))
            except ImageError as error:
                works.append(Diagnosis.failed(source_of(image), error, *self._bundle.identity))
        usable = [work for work in works if isinstance(work, Work)]
        self._segment(usable, engines[0])
        self._classify(usable, engines[1])
        return [self._finish(work, self._scale) if isinstance(work, Work) else work for work in works]

    def segment(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Lesion probability maps: uint8 RGB (n, height, width, 3) in, float32 (n, height, width) in 0..1 out.

        Raises:
            InferenceError: the engine failed or its output is no probability map.
        """
        return self.segment_and_score(batch)[0]

    def segment_and_score(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """As `segment`, with the scores of familiarity of the same run: float32 (n,), None where the bundle has none.

        Raises:
            InferenceError: the engine failed, or its output is no probability map or no score.
        """
        return self._scored(_running(self._segmenter), batch)

    def _scored(
        self, engine: Engine, batch: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        rule = self.manifest.familiarity
        if rule is None:
            return check_probabilities("segmenter", engine.run(batch), batch.shape[:3]), None
        maps, scores = engine.run_named(batch, (self.manifest.segmenter.output.name, rule.output))
        return check_probabilities("segmenter", maps, batch.shape[:3]), check_scores(scores, batch.shape[0])

    def classify(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated class probabilities: uint8 RGB (n, size, size, 3) in, float32 (n, classes) in 0..1 out.

        Raises:
            InferenceError: the engine failed or its output is no probability.
        """
        return self._classified(_running(self._classifier), batch)[0]

    def classify_and_explain(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """As `classify`, with the class activation maps of the same run: float32 (n, rows, columns, classes), None
        without `explain`; see `edge_infer.bundle.class_map`.

        Raises:
            InferenceError: the engine failed, or its output is no probability or no map.
        """
        return self._classified(_running(self._classifier), batch)

    def _classified(
        self, engine: Engine, batch: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        classes, maps = len(self.manifest.labels), None
        if CLASS_MAP in engine.outputs:
            rows, maps = engine.run_named(batch, (engine.outputs[0], CLASS_MAP))
            maps = check_maps(maps, batch.shape[0], classes)
        else:
            rows = engine.run(batch)
        return check_probabilities("classifier", rows, (batch.shape[0], classes)), maps

    def warmup(self) -> None:
        """Runs both networks once, so that the first diagnosis does not pay for lazy initialisation."""
        first, second = self.manifest.segmenter.input, self.manifest.classifier.input
        self.segment(np.zeros((1, first.height, first.width, 3), np.uint8))
        self.classify(np.zeros((1, second.height, second.width, 3), np.uint8))

    def close(self) -> None:
        """Frees the networks. Later calls raise EngineError; closing twice is harmless."""
        with self._alone_lock:
            for engine in (self._segmenter, self._classifier, *(self._for_workers or ())):
                if engine is not None:
                    engine.close()
            self._segmenter = self._classifier = self._alone = self._for_workers = None

    def __enter__(self) -> Diagnoser:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _segment(self, works: Sequence[Work], engine: Engine) -> None:
        usable = [work for work in works if work.problem is None]
        if not usable:
            return
        start = time.perf_counter()
        maps, scores = self._scored(engine, to_batch([work.segmenter_input for work in usable]))
        share = (time.perf_counter() - start) * 1000 / len(usable)
        for number, (work, probability) in enumerate(zip(usable, maps, strict=True)):
            work.clock.add("segment", share)
            locate(work, probability, self._rules, None if scores is None else float(scores[number]))
            work.probability_map = probability if self._measuring and work.problem is None else None

    def _classify(self, works: Sequence[Work], engine: Engine) -> None:
        usable = [work for work in works if work.problem is None]
        rois = [work.roi for work in usable if work.roi is not None]
        if not rois:
            return
        start = time.perf_counter()
        rows, maps = self._classified(engine, to_batch(rois))
        share = (time.perf_counter() - start) * 1000 / len(usable)
        for number, (work, row) in enumerate(zip(usable, rows, strict=True)):
            if maps is not None:
                work.class_map = against_others(maps[number], self.manifest.melanoma_index, row)
            work.probabilities = row if self._site is None else self._at_site(row, self._site)
            work.clock.add("classify", share)

    def _at_site(self, row: NDArray[np.float32], site: Site) -> NDArray[np.float32]:
        return recalibrated_classes(row, self.manifest.melanoma_index, site.temperature, site.shift)

    def _finish(self, work: Work, mm_per_pixel: float | None) -> Diagnosis:
        manifest, point = self.manifest, self._operating_point
        probability = label = None
        by_class: dict[str, float] = {}
        if work.probabilities is not None:
            row: Sequence[np.floating] = list(work.probabilities)
            if self._ratio != 1:
                row = list(correct_classes(work.probabilities, manifest.melanoma_index, self._ratio))
            by_class = {name: float(p) for name, p in zip(manifest.labels, row, strict=True)}
            probability = by_class[manifest.melanoma_label]
            label, work.problem = decide(probability, point, self._band)
        measured = self._measure(work, mm_per_pixel or work.picture.mm_per_pixel)
        reason, message = work.problem or (None, None)
        scores = {"dermoscopy": work.dermoscopy, "familiarity": work.familiarity}
        quality = work.quality._asdict() | {name: score for name, score in scores.items() if score is not None}
        return Diagnosis(
            status="ok" if work.problem is None else "indeterminate",
            source=work.source,
            reason=reason,
            message=message,
            melanoma_probability=probability,
            label=label,
            threshold=point.threshold,
            operating_point=point.name,
            prior=self._prior,
            band=None if self._band is None else (self._band.low, self._band.high),
            probabilities=MappingProxyType(by_class),
            image_size=(work.picture.height, work.picture.width),
            mask=work.mask,
            lesion_box=work.lesion_box,
            roi_box=work.roi_box,
            roi=work.roi,
            lesion_area_fraction=work.area,
            lesion_confidence=work.confidence,
            quality=MappingProxyType(quality),
            timings_ms=MappingProxyType(work.clock.timings()),
            provider=self._provider,
            variant=self._variant,
            bundle=manifest.name,
            bundle_version=manifest.version,
            bundle_sha256=self._bundle.sha256,
            site_sha256=None if self._site is None else self._site.sha256,
            warnings=(
                *self._warnings,
                *(() if self._site is None else (self._site.sentence,)),
                *work.picture.warnings,
                *work.warnings,
            ),
            measurements=measured,
            class_map=work.class_map,
        )

    def _measure(self, work: Work, mm_per_pixel: float | None) -> Measurements | None:
        if work.probability_map is None:
            return None
        from edge_infer.measurements.measure import measure  # most runs measure nothing, and start sooner without

        work.clock.restart()
        size, threshold = (work.picture.height, work.picture.width), self.manifest.mask.threshold
        measured = measure(work.picture.pixels, work.probability_map, threshold, size, mm_per_pixel)
        work.clock.lap("measure")
        return measured


def step_rules(manifest: Manifest) -> StepRules:
    """What a bundle fixes for the steps outside its networks."""
    return StepRules(
        segmenter=manifest.segmenter.input,
        classifier=manifest.classifier.input,
        quality=manifest.quality,
        dermoscopy=manifest.dermoscopy,
        mask=manifest.mask,
        roi=manifest.roi,
        familiarity=manifest.familiarity,
    )


def decide(probability: float, point: OperatingPoint, band: Band | None) -> tuple[str | None, Problem | None]:
    """The label that a melanoma probability gets at an operating point, or why it gets none.

    Args:
        probability: calibrated, 0..1.
        point: its threshold decides; at the threshold the answer is melanoma.
        band: between its limits nothing is decided; None decides always.
    """
    if band is None or not band.low < probability < band.high:
        return (MELANOMA if probability >= point.threshold else NOT_MELANOMA), None
    return None, (
        Reason.UNCERTAIN,
        f"The probability of melanoma, {percent(probability)}, is too close to the threshold: between "
        f"{percent(band.low)} and {percent(band.high)} nothing is decided.",
    )


def _running(engine: Engine | None) -> Engine:
    if engine is None:
        raise EngineError("This Diagnoser is closed.", "Load a new one.")
    return engine
