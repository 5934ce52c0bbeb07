"""The whole runtime on a toy bundle: one answer whatever the route, and no probability where there should be none."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edge_infer import Diagnoser, Diagnosis, Reason, errors
from edge_infer.bundle.golden import Scoring, read_golden, replay
from edge_infer.bundle.manifest import MANIFEST
from edge_infer.bundle.store import load_bundle, read_manifest
from edge_infer.diagnoser import ImageInput
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.engines.threads import in_order
from edge_infer.rules import Band, Calibration, DermoscopyRule, RoiRule, Term
from tests.support.toy_bundle import FAMILIARITY, file_entry, write_manifest, write_toy_bundle
from trainer.data.drawn import draw_picture


@pytest.fixture(scope="module")
def diagnoser(toy_bundle: Path) -> Iterator[Diagnoser]:
    with Diagnoser.load(toy_bundle, providers=["cpu"], threads=1) as loaded:
        yield loaded


def drawn(seed: int = 1, kind: str = "mel", height: int = 300, width: int = 400) -> NDArray[np.uint8]:
    return draw_picture(np.random.default_rng(seed), height, width, kind).image


def encode(pixels: NDArray[np.uint8], format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def answers(diagnosis: Diagnosis) -> dict[str, Any]:
    """What must not depend on the route: everything but the source and the times."""
    plain = diagnosis.to_dict()
    del plain["source"], plain["timings_ms"]
    return plain


def assert_same(first: Diagnosis, second: Diagnosis, tolerance: float = 0.0) -> None:
    a, b = answers(first), answers(second)
    if tolerance:
        for plain in (a, b):
            for name in ("probabilities", "melanoma_probability"):
                plain[name] = pytest.approx(plain[name], abs=tolerance) if plain is b else plain[name]
    assert a == b
    for name in ("mask", "roi"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_diagnosis_is_complete(diagnoser: Diagnoser) -> None:
    image = drawn()
    result = diagnoser.diagnose(image)
    manifest = diagnoser.manifest
    assert result.status == "ok" and result.reason is None and result.error is None
    assert set(result.probabilities) == set(manifest.labels)
    assert sum(result.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert result.melanoma_probability == result.probabilities["mel"]
    assert result.operating_point == "balanced" and result.threshold == 0.4
    assert result.label == ("melanoma" if result.melanoma_probability >= 0.4 else "not melanoma")  # type: ignore[operator]
    assert result.image_size == image.shape[:2] == result.mask.shape  # type: ignore[union-attr]
    assert result.mask is not None and result.mask.dtype == np.uint8 and set(np.unique(result.mask)) == {0, 1}
    assert result.lesion_area_fraction == pytest.approx(result.mask.mean())
    assert result.roi is not None and result.roi.shape == (64, 64, 3)
    assert result.lesion_box is not None and result.roi_box is not None
    assert result.provider == "CPUExecutionProvider"
    assert (result.bundle, result.bundle_sha256) == (manifest.name, diagnoser.bundle.sha256)
    assert set(result.timings_ms) == {"decode", "preprocess", "segment", "postprocess", "classify", "total"}
    assert result.timings_ms["total"] == pytest.approx(
        sum(time for step, time in result.timings_ms.items() if step != "total")
    )
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["status"] == "ok"


def test_the_mask_lies_on_the_lesion_at_full_size(diagnoser: Diagnoser) -> None:
    mask = diagnoser.diagnose(with_disc(80, 600, 900)).mask
    assert mask is not None
    truth = cv2.circle(np.zeros((600, 900), np.uint8), (450, 300), 80, 1, -1)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.95


def test_results_cannot_be_changed(diagnoser: Diagnoser) -> None:
    result = diagnoser.diagnose(drawn())
    with pytest.raises(FrozenInstanceError):
        result.melanoma_probability = 0.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        result.probabilities["mel"] = 0.0  # type: ignore[index]
    with pytest.raises(ValueError):
        result.mask[0, 0] = 1  # type: ignore[index]
    with pytest.raises(ValueError):
        result.roi[0, 0] = 1  # type: ignore[index]


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["mel", "nv", "bkl", "skin"]))
@settings(max_examples=12, deadline=None)
def test_path_bytes_and_array_give_the_same_diagnosis(
    diagnoser: Diagnoser, tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    image = drawn(seed, kind, 150, 200)
    data = encode(image)
    path = tmp_path_factory.mktemp("routes") / "a.png"
    path.write_bytes(data)
    reference = diagnoser.diagnose(image)
    for route in (path, str(path), data):
        assert_same(diagnoser.diagnose(route), reference)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_jpeg_is_diagnosed_upright(diagnoser: Diagnoser, orientation: int) -> None:
    image = drawn(5)
    exif = Image.Exif()
    exif[0x112] = orientation
    rotated = diagnoser.diagnose(encode(image, "JPEG", quality=95, exif=exif))
    upright = diagnoser.diagnose(
        np.ascontiguousarray(
            {
                1: image,
                2: image[:, ::-1],
                3: image[::-1, ::-1],
                4: image[::-1],
                5: image.transpose(1, 0, 2),
                6: np.rot90(image, -1),
                7: image[::-1, ::-1].transpose(1, 0, 2),
                8: np.rot90(image, 1),
            }[orientation]
        )
    )
    assert rotated.image_size == upright.image_size
    assert rotated.mask is not None and upright.mask is not None
    assert (rotated.mask != upright.mask).mean() < 0.01
    assert rotated.melanoma_probability == pytest.approx(upright.melanoma_probability, abs=0.03)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, None), (8, 2), (50, 3), (1, 4)])
def test_many_gives_what_one_gives_in_order(diagnoser: Diagnoser, batch_size: int, workers: int | None) -> None:
    kinds = ["mel", "nv", "skin", "bkl", "vasc", "df", "mel", "nv", "akiec", "bcc"]
    images = [drawn(seed, kind, 150 + 10 * seed, 200) for seed, kind in enumerate(kinds)]
    many = list(diagnoser.diagnose_many((image for image in images), batch_size, workers))
    assert len(many) == len(images)
    for image, result in zip(images, many, strict=True):
        assert_same(result, diagnoser.diagnose(image), tolerance=1e-6)


def test_many_is_lazy(diagnoser: Diagnoser) -> None:
    taken = []

    def source() -> Iterator[ImageInput]:
        for seed in range(10):
            taken.append(seed)
            yield drawn(seed, "nv", 100, 120)

    results = diagnoser.diagnose_many(source(), batch_size=2)
    assert taken == []
    next(results)
    assert taken == [0, 1]
    with pytest.raises(ValueError, match="batch_size"):
        diagnoser.diagnose_many([], batch_size=0)
    with pytest.raises(ValueError, match="workers"):
        diagnoser.diagnose_many([], workers=0)


def test_workers_take_no_more_than_one_batch_each_and_one_ahead(diagnoser: Diagnoser) -> None:
    taken = []

    def source() -> Iterator[ImageInput]:
        for seed in range(30):
            taken.append(seed)
            yield drawn(seed, "nv", 100, 120)

    results = diagnoser.diagnose_many(source(), batch_size=2, workers=3)
    next(results)
    assert len(taken) == 8
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 8


def test_a_list_is_shared_by_as_many_workers_as_there_are_threads(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(work: Any, items: Any, workers: int) -> Iterator[Any]:
        seen.append(workers)
        return in_order(work, items, workers)

    monkeypatch.setattr("edge_infer.diagnoser.in_order", watched)
    pictures = [drawn(seed) for seed in range(3)]
    with Diagnoser.load(toy_bundle, providers=["cpu"], threads=3) as three:
        assert three.threads == 3
        for images in (pictures, iter(pictures)):
            assert len(list(three.diagnose_many(images, batch_size=1))) == 3
        assert len(list(three.diagnose_many(pictures, batch_size=2))) == 3
    assert seen == [3, 1, 2]


@pytest.mark.parametrize("moved", [False, True])
def test_workers_that_share_many_pictures_have_networks_of_one_thread(
    toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    loaded: list[int | None] = []
    ran: list[int | None] = []

    class Watched(OnnxEngine):
        def __init__(self, path: Path, *, threads: int | None = None, **options: Any) -> None:
            loaded.append(threads)
            self.of = threads
            super().__init__(path, threads=threads, **options)

        def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            ran.append(self.of)
            return super().run(batch)

    monkeypatch.setattr("edge_infer.engines.variants.OnnxEngine", Watched)
    monkeypatch.setattr("edge_infer.diagnoser._MANY", 3)
    folder = Path(shutil.copytree(toy_bundle, tmp_path / "bundle"))
    pictures = [drawn(seed) for seed in range(4)]
    with Diagnoser.load(folder, providers=["cpu"], threads=2) as diagnoser:
        expected = [diagnoser.diagnose(picture).melanoma_probability for picture in pictures]
        assert len(list(diagnoser.diagnose_many(pictures[:2], batch_size=1))) == 2
        assert len(list(diagnoser.diagnose_many(pictures, batch_size=1, workers=1))) == 4
        assert loaded == [2, 2]
        if moved:
            folder.rename(tmp_path / "elsewhere")
        for given in (pictures, iter(pictures), pictures[:2]):
            ran.clear()
            found = list(diagnoser.diagnose_many(given, batch_size=1, workers=2))
            assert [one.melanoma_probability for one in found] == pytest.approx(expected[: len(found)], abs=1e-6)
            assert set(ran) == ({2} if moved else {1})
        assert loaded == ([2, 2] if moved else [2, 2, 1, 1])
    with pytest.raises(errors.EngineError, match="closed"):
        list(diagnoser.diagnose_many(pictures, batch_size=1, workers=2))


def test_bad_pictures_among_many_keep_their_place(diagnoser: Diagnoser, tmp_path: Path) -> None:
    good = encode(drawn(2))
    (tmp_path / "text.jpg").write_text("not a picture")
    bad: list[tuple[Any, type[errors.ImageError]]] = [
        (b"", errors.ImageDecodeError),
        (good[: len(good) // 2], errors.ImageDecodeError),
        (tmp_path / "text.jpg", errors.ImageDecodeError),
        (tmp_path / "absent.jpg", errors.ImageNotFoundError),
        (tmp_path, errors.ImageNotFoundError),
        (np.full((90, 90, 3), np.nan), errors.ImageArrayError),
        (np.zeros((90, 90), np.uint8), errors.ImageArrayError),
        (None, errors.ImageArrayError),
    ]
    inputs = [item for image, _ in bad for item in (image, good)]
    results = list(diagnoser.diagnose_many(inputs, batch_size=3))
    reference = diagnoser.diagnose(good)
    for (image, error), failed, fine in zip(bad, results[::2], results[1::2], strict=True):
        assert failed.status == "error" and type(failed.error) is error
        assert failed.melanoma_probability is None and failed.label is None and not failed.probabilities
        assert failed.source == (str(image) if isinstance(image, Path) else None)
        assert failed.to_dict()["error"]["code"] == error.code
        assert_same(fine, reference, tolerance=1e-6)
        if not isinstance(image, Path) or image.name:
            with pytest.raises(error):
                diagnoser.diagnose(image)


def bare_skin(contrast: float = 6.0) -> NDArray[np.uint8]:
    """Smooth texture with nothing dark in it; drawn skin has hairs, which the toy segmenter takes for lesions."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (300, 400, 3)), (0, 0), 3)
    return np.clip(np.array([205, 165, 150]) + contrast * noise / noise.std(), 0, 255).astype(np.uint8)


def with_disc(radius: int, height: int = 300, width: int = 400) -> NDArray[np.uint8]:
    picture = draw_picture(np.random.default_rng(0), height, width, "skin").image.copy()
    cv2.circle(picture, (width // 2, height // 2), radius, (70, 40, 40), -1)
    return picture


INDETERMINATE: dict[str, tuple[NDArray[np.uint8], Reason]] = {
    "bare skin": (bare_skin(), Reason.NO_LESION),
    "a speck": (with_disc(12), Reason.LESION_TOO_SMALL),
    "black": (np.zeros((300, 400, 3), np.uint8), Reason.BLANK),
    "white": (np.full((300, 400, 3), 255, np.uint8), Reason.BLANK),
    "grey": (np.full((300, 400, 3), 127, np.uint8), Reason.BLANK),
    "nearly uniform": (bare_skin(contrast=1.0), Reason.UNIFORM),
    "too dark": ((drawn() * 0.08).astype(np.uint8), Reason.TOO_DARK),
    "overexposed": (np.clip(drawn() * 0.1 + 235, 0, 255).astype(np.uint8), Reason.OVEREXPOSED),
    "blurred": (cv2.GaussianBlur(drawn(), (0, 0), 25), Reason.BLURRED),
    "one pixel": (np.zeros((1, 1, 3), np.uint8), Reason.PICTURE_TOO_SMALL),
    "a line": (np.random.default_rng(0).integers(0, 255, (1, 10_000, 3), dtype=np.uint8), Reason.PICTURE_TOO_SMALL),
    "too small": (drawn(1, "mel", 60, 80), Reason.PICTURE_TOO_SMALL),
}


@pytest.mark.parametrize("name", INDETERMINATE)
def test_no_probability_without_a_reason_to_trust_it(diagnoser: Diagnoser, name: str) -> None:
    image, reason = INDETERMINATE[name]
    for result in (diagnoser.diagnose(image), next(diagnoser.diagnose_many([image]))):
        assert (result.status, result.reason) == ("indeterminate", reason)
        assert result.melanoma_probability is None and result.label is None and not result.probabilities
        assert result.message and result.message.endswith(".")
        assert result.roi is None


def test_a_lesion_that_fills_the_frame(toy_bundle: Path, tmp_path: Path) -> None:
    mask = replace(read_manifest(toy_bundle).manifest.mask, max_area_fraction=0.05)
    with Diagnoser.load(write_toy_bundle(tmp_path / "strict", mask=mask), providers=["cpu"]) as strict:
        result = strict.diagnose(with_disc(100))
    assert result.reason == Reason.LESION_FILLS_FRAME and result.melanoma_probability is None
    assert result.mask is not None and result.lesion_area_fraction is not None


def test_an_outline_that_the_segmenter_doubts(toy_bundle: Path, tmp_path: Path) -> None:
    usual = with_disc(80)
    with Diagnoser.load(toy_bundle, providers=["cpu"]) as loaded:
        confidence = loaded.diagnose(usual).lesion_confidence
    assert confidence is not None and 0.5 < confidence <= 1
    mask = replace(read_manifest(toy_bundle).manifest.mask, min_confidence=0.9 * confidence)
    with Diagnoser.load(write_toy_bundle(tmp_path / "sure", mask=mask), providers=["cpu"]) as sure:
        assert sure.diagnose(usual).status == "ok"
        faint = with_disc(0)
        cv2.circle(faint, (200, 150), 80, (158, 132, 124), -1)
        doubtful = sure.diagnose(faint)
    assert doubtful.reason == Reason.LESION_UNCERTAIN and doubtful.melanoma_probability is None
    assert doubtful.lesion_confidence is not None and doubtful.lesion_confidence < confidence


def test_warnings_name_what_a_reader_should_know(diagnoser: Diagnoser) -> None:
    picture = with_disc(0)
    cv2.circle(picture, (0, 150), 80, (70, 40, 40), -1)
    assert any("edge" in warning for warning in diagnoser.diagnose(picture).warnings)
    assert any("enlarged" in warning for warning in diagnoser.diagnose(with_disc(22, 100, 140)).warnings)
    assert diagnoser.diagnose(with_disc(90)).warnings == ()
    assert any("Transparency" in w for w in diagnoser.diagnose(encode_rgba(with_disc(90))).warnings)


def encode_rgba(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    image.putalpha(200)
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("radius", [60, 900])
def test_a_large_jpeg_decoded_small_gives_nearly_the_same(diagnoser: Diagnoser, radius: int) -> None:
    """A small lesion needs the finer decode for its crop; a large one does not."""
    small = draw_picture(np.random.default_rng(0), 300, 400, "skin").image
    picture = cv2.resize(small, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (2000, 1500), max(radius, 320), (150, 80, 60), -1)
    cv2.circle(picture, (2000, 1500), max(radius, 320) // 2, (70, 40, 40), -1)
    data = encode(picture, "JPEG", quality=92)
    reduced, full = diagnoser.diagnose(data), diagnoser.diagnose(picture)
    assert reduced.image_size == full.image_size == (3000, 4000)
    assert reduced.status == full.status == "ok"
    assert reduced.mask is not None and full.mask is not None and reduced.roi is not None and full.roi is not None
    assert (reduced.mask != full.mask).mean() < 0.002
    assert np.abs(reduced.roi.astype(int) - full.roi).mean() < 3
    assert reduced.melanoma_probability == pytest.approx(full.melanoma_probability, abs=0.05)


def test_the_bundles_roi_rule_is_obeyed(tmp_path: Path) -> None:
    zero = write_toy_bundle(tmp_path / "zero", roi=RoiRule("zero", 0.0))
    with Diagnoser.load(zero, providers=["cpu"]) as published:
        roi = published.diagnose(with_disc(80)).roi
    assert roi is not None
    assert not roi[:3, :3].any() and roi[32, 32].any()


def test_the_operating_point_decides_the_label(toy_bundle: Path) -> None:
    image = drawn(4, "bkl")
    with (
        Diagnoser.load(toy_bundle, providers=["cpu"]) as usual,
        Diagnoser.load(toy_bundle, providers=["cpu"], operating_point="sensitive") as sensitive,
    ):
        a, b = usual.diagnose(image), sensitive.diagnose(image)
    assert (b.operating_point, b.threshold) == ("sensitive", 0.1)
    assert a.probabilities == b.probabilities
    for result in (a, b):
        expected = result.melanoma_probability >= result.threshold  # type: ignore[operator]
        assert result.label == ("melanoma" if expected else "not melanoma")
    with pytest.raises(errors.BundleError, match="no operating point"):
        Diagnoser.load(toy_bundle, operating_point="nonsense")


def test_eight_threads_share_one_diagnoser(diagnoser: Diagnoser) -> None:
    images = [drawn(seed, kind, 150, 200) for seed in range(8) for kind in ("mel", "nv", "skin")]
    expected = [diagnoser.diagnose(image) for image in images]
    start = threading.Barrier(8)

    def work(worker: int) -> list[Diagnosis]:
        start.wait()
        turned = images[worker:] + images[:worker]
        return [diagnoser.diagnose(image) for image in turned]

    with ThreadPoolExecutor(8) as pool:
        for worker, results in enumerate(pool.map(work, range(8))):
            for result, reference in zip(results, expected[worker:] + expected[:worker], strict=True):
                assert_same(result, reference)


def test_a_closed_diagnoser_says_so(toy_bundle: Path) -> None:
    diagnoser = Diagnoser.load(toy_bundle, providers=["cpu"])
    diagnoser.warmup()
    diagnoser.close()
    diagnoser.close()
    with pytest.raises(errors.EngineError, match="closed"):
        diagnoser.diagnose(drawn())


def test_golden_examples_replay(diagnoser: Diagnoser) -> None:
    traces = read_golden(diagnoser.bundle.path / diagnoser.manifest.golden.file)
    checks = list(replay(traces, diagnoser.manifest, diagnoser.segment, diagnoser.classify))
    assert {check.step.split()[0] for check in checks} == {
        "segmenter_input",
        "probability_map",
        "mask",
        "probabilities",
    }
    assert all(check.passed for check in checks), checks
    assert list(replay(traces, diagnoser.manifest, Scoring(diagnoser.segment_and_score), diagnoser.classify)) == checks
    worse = list(replay(traces, diagnoser.manifest, lambda b: 1 - diagnoser.segment(b), diagnoser.classify))
    assert not all(check.passed for check in worse)


class BrokenEngine:
    """Wraps an engine and spoils its output."""

    def __init__(self, inner: OnnxEngine, spoil: Any) -> None:
        self._inner, self._spoil = inner, spoil
        self.provider, self.metadata, self.warnings = inner.provider, inner.metadata, inner.warnings
        self.input_shape, self.outputs = inner.input_shape, inner.outputs

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self._spoil(self._inner.run(batch)), np.float32)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("stage", ["segmenter", "classifier"])
@pytest.mark.parametrize(
    "spoil",
    [lambda x: x * np.nan, lambda x: x + 5, lambda x: x - 5, lambda x: x[..., :-1]],
    ids=["nan", "+5", "-5", "cut"],
)
def test_what_is_no_probability_is_an_error(toy_bundle: Path, stage: str, spoil: Any) -> None:
    bundle = load_bundle(toy_bundle)
    engines: dict[str, Any] = {
        name: OnnxEngine(toy_bundle / f"{name}.onnx", providers=["cpu"]) for name in ("segmenter", "classifier")
    }
    engines[stage] = BrokenEngine(engines[stage], spoil)
    broken = Diagnoser(bundle, engines["segmenter"], engines["classifier"])
    with pytest.raises(errors.InferenceError, match=stage):
        broken.diagnose(drawn())


def test_a_model_of_another_bundle_is_refused(toy_bundle: Path, tmp_path: Path) -> None:
    folder = write_toy_bundle(tmp_path / "mixed")
    model = onnx.load(folder / "classifier.onnx")
    onnx.helper.set_model_props(model, {"edge_infer.labels": json.dumps(["benign", "malignant"])})
    onnx.save(model, folder / "classifier.onnx")
    manifest = read_manifest(folder).manifest
    entry = file_entry(folder / "classifier.onnx")
    write_manifest(folder, replace(manifest, files={**manifest.files, "classifier.onnx": entry}))
    with pytest.raises(errors.BundleMismatchError, match="benign"):
        Diagnoser.load(folder, providers=["cpu"])

    spec = replace(manifest.segmenter, input=replace(manifest.segmenter.input, height=64))
    folder = write_toy_bundle(tmp_path / "other-size", segmenter=spec)
    with pytest.raises(errors.BundleMismatchError, match=r"segmenter.onnx. takes .* the manifest says"):
        Diagnoser.load(folder, providers=["cpu"])


def test_a_tampered_bundle_never_loads(tmp_path: Path) -> None:
    folder = write_toy_bundle(tmp_path / "tampered")
    text = (folder / MANIFEST).read_text()
    (folder / "segmenter.onnx").write_bytes((folder / "classifier.onnx").read_bytes())
    with pytest.raises(errors.BundleTamperedError):
        Diagnoser.load(folder)
    assert (folder / MANIFEST).read_text() == text


def test_engine_warnings_reach_every_diagnosis(toy_bundle: Path) -> None:
    engines = [OnnxEngine(toy_bundle / f"{name}.onnx", providers=["cpu"]) for name in ("segmenter", "classifier")]
    for engine in engines:
        engine.warnings = ("CUDA did not start.",)
    result = Diagnoser(load_bundle(toy_bundle), *engines).diagnose(drawn())
    assert result.warnings.count("CUDA did not start.") == 1


def test_abstention_is_off_unless_asked_for_and_keeps_the_probability(tmp_path: Path, toy_bundle: Path) -> None:
    points = read_manifest(toy_bundle).manifest.operating_points
    banded = replace(points[0], threshold=0.5, bands=(Band(0.1, 0.49, 0.51), Band(0.2, 0.0, 1.0)))
    folder = write_toy_bundle(tmp_path / "banded", operating_points=(banded, points[1]))
    picture = drawn()
    with Diagnoser.load(folder) as plain, Diagnoser.load(folder, abstain=0.2) as careful:
        decided, left = plain.diagnose(picture), careful.diagnose(picture)
    assert decided.status == "ok" and decided.band is None
    assert (left.status, left.reason, left.label) == ("indeterminate", Reason.UNCERTAIN, None)
    assert left.melanoma_probability == decided.melanoma_probability and left.probabilities == decided.probabilities
    assert left.band == (0.0, 1.0) == tuple(left.to_dict()["band"])
    with Diagnoser.load(folder, abstain=0.1) as narrow:
        assert narrow.diagnose(picture).label == decided.label
    for share, point in ((0.15, None), (0.1, "sensitive")):
        with pytest.raises(errors.BundleError, match="no band"):
            Diagnoser.load(folder, abstain=share, operating_point=point)


def test_what_the_segmenter_does_not_know_is_refused_and_its_outline_is_still_told(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "knowing", familiarity=FAMILIARITY)
    skin = drawn()
    blue = np.ascontiguousarray(skin[..., ::-1])
    with Diagnoser.load(bundle, providers=["cpu"]) as diagnoser:
        one, other = diagnoser.diagnose_many([skin, blue])
        assert diagnoser.diagnose(blue).quality == other.quality
    assert one.status == "ok" and one.quality["familiarity"] > 2
    assert (other.reason, other.melanoma_probability) == (Reason.NOT_DERMOSCOPY, None)
    assert other.quality["familiarity"] < 2 and "familiarity" in (other.message or "")
    assert other.mask is not None and one.mask is not None and np.array_equal(other.mask, one.mask)
    assert other.lesion_box == one.lesion_box and (other.lesion_confidence or 0) > 0.9 and other.roi is None


def test_a_segmenter_without_the_score_that_its_manifest_refuses_by_is_told(tmp_path: Path) -> None:
    plain = read_manifest(write_toy_bundle(tmp_path / "plain")).manifest
    golden = replace(plain.golden, max_familiarity=1.0)
    write_manifest(tmp_path / "plain", replace(plain, familiarity=FAMILIARITY, golden=golden))
    with pytest.raises(errors.BundleMismatchError, match="no output 'redness'"):
        Diagnoser.load(tmp_path / "plain", providers=["cpu"])


def test_another_prevalence_leaves_measurements_and_workers_as_they_are(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "stated", calibration=Calibration("none", 1.0, "nothing", prior=0.2))
    options: dict[str, Any] = {"measurements": True, "mm_per_pixel": 0.1}
    with Diagnoser.load(bundle, providers=["cpu"], threads=2, **options) as plain:
        other = plain.with_prevalence(0.02)
        assert other.diagnose(drawn()).measurements == plain.diagnose(drawn()).measurements is not None
        assert other._alone is not None and other.threads == 2


def test_a_prevalence_corrects_probabilities_and_thresholds_and_is_told(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "stated", calibration=Calibration("none", 1.0, "nothing", prior=0.2))
    pictures = [drawn(kind=kind) for kind in ("mel", "nv", "bcc")]
    with Diagnoser.load(bundle, providers=["cpu"]) as plain, Diagnoser.load(bundle, prevalence=0.02) as rare:
        before, after = (list(one.diagnose_many(pictures)) for one in (plain, rare))
        assert (plain.prior, rare.prior) == (0.2, 0.02) and rare.operating_point.threshold < 0.4
    for old, new in zip(before, after, strict=True):
        assert (old.prior, new.prior) == (0.2, 0.02) and new.to_dict()["prior"] == 0.02
        assert old.label == new.label and old.status == new.status == "ok"
        p, q = old.melanoma_probability or 0, new.melanoma_probability or 0
        assert q / (1 - q) == pytest.approx(p / (1 - p) * (0.02 / 0.98) / (0.2 / 0.8), rel=1e-4)
        assert sum(new.probabilities.values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(errors.PrevalenceError):
        Diagnoser.load(bundle, prevalence=2)
    with pytest.raises(errors.BundleError, match="does not state"):
        Diagnoser.load(write_toy_bundle(tmp_path / "silent"), prevalence=0.02)


def test_what_does_not_look_like_dermoscopy_is_refused(tmp_path: Path) -> None:
    term = Term(centre=0.0, scale=1.0, weight=-10.0, curve=0.0)
    rule = DermoscopyRule({"flat": term}, clip=1.0, intercept=0.0, min_score=-5.0)
    document = np.full((300, 400, 3), 240, np.uint8)
    cv2.putText(document, "not skin", (40, 150), cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 20, 20), 6, cv2.LINE_AA)
    with Diagnoser.load(write_toy_bundle(tmp_path / "picky", dermoscopy=rule)) as picky:
        skin, paper = picky.diagnose(drawn()), picky.diagnose(document)
    assert skin.status == "ok" and skin.quality["dermoscopy"] > -5
    assert (paper.status, paper.reason) == ("indeterminate", Reason.NOT_DERMOSCOPY)
    assert paper.quality["dermoscopy"] < -5 and paper.melanoma_probability is None and paper.message
