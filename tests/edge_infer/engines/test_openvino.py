"""OpenVINO as an engine of its own: the same answers, chosen by name alone, and a cache that is only ever a hint."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_infer import Diagnoser
from edge_infer.bundle.store import load_bundle
from edge_infer.diagnosis import Diagnosis
from edge_infer.engines import compiled
from edge_infer.engines.base import Engine, check_precision, wants_openvino
from edge_infer.engines.onnx import OnnxEngine
from edge_infer.engines.openvino import OpenVinoEngine
from edge_infer.errors import EngineError, EngineNotInstalledError, InferenceError, ProviderUnavailableError

NATIVE = ["openvino-native"]
needs_openvino = pytest.mark.usefixtures("openvino")


@pytest.fixture
def openvino() -> Any:
    return pytest.importorskip("openvino", reason="the extra [openvino-native] is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(folder))
    return folder


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.compiled"))


def noise(engine: Engine, count: int = 2) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, *engine.input_shape), dtype=np.uint8)


@needs_openvino
def test_it_computes_what_onnx_runtime_computes(toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    for stage in ("segmenter", "classifier"):
        file = bundle.file(stage, "onnx")  # type: ignore[arg-type]
        ours: Engine = OpenVinoEngine(file, threads=1)
        theirs = OnnxEngine(file, providers=["cpu"], threads=1)
        for count in (1, 3):
            np.testing.assert_allclose(ours.run(noise(ours, count)), theirs.run(noise(ours, count)), atol=1e-5)
        assert ours.input_shape == theirs.input_shape
        assert dict(ours.metadata) == dict(theirs.metadata)
        assert ours.provider == "OpenVINO:CPU"


@needs_openvino
def test_an_earlier_result_is_not_overwritten_by_the_next_run(toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    engine = OpenVinoEngine(bundle.file("segmenter", "onnx"), threads=1)
    pictures = noise(engine)
    first = engine.run(pictures[:1])
    kept = first.copy()
    engine.run(pictures[1:])
    np.testing.assert_array_equal(first, kept)


@needs_openvino
def test_a_batch_has_the_answers_of_its_pictures(toy_bundle: Path) -> None:
    engine = OpenVinoEngine(load_bundle(toy_bundle).file("segmenter", "onnx"), threads=1)
    pictures = noise(engine, 3)
    np.testing.assert_array_equal(
        engine.run(pictures), np.concatenate([engine.run(picture[None]) for picture in pictures])
    )
    with pytest.raises(InferenceError, match="failed"):
        engine.run(pictures[:0])


@needs_openvino
def test_a_batch_of_another_shape_is_refused(toy_bundle: Path) -> None:
    engine = OpenVinoEngine(load_bundle(toy_bundle).file("segmenter", "onnx"), threads=1)
    for shape in ((1, 8, 8, 3), (8, 8, 3)):
        with pytest.raises(InferenceError, match="takes"):
            engine.run(np.zeros(shape, np.uint8))


@needs_openvino
def test_it_may_be_called_from_several_threads(toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    engine = OpenVinoEngine(bundle.file("segmenter", "onnx"), threads=1)
    pictures = noise(engine, 8)
    expected = [engine.run(picture[None]) for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: engine.run(pictures[number % 8][None]), range(64)))
    for number, result in enumerate(found):
        np.testing.assert_array_equal(result, expected[number % 8])


@needs_openvino
def test_a_diagnosis_is_the_same_and_says_what_ran(toy_bundle: Path, nevus_file: Path) -> None:
    def diagnose(provider: str) -> Diagnosis:
        with Diagnoser.load(toy_bundle, providers=[provider], threads=1) as diagnoser:
            return diagnoser.diagnose(nevus_file)

    ours, theirs = diagnose("openvino-native"), diagnose("cpu")
    assert ours.provider == "OpenVINO:CPU"
    assert ours.melanoma_probability == pytest.approx(theirs.melanoma_probability, abs=1e-5)
    assert (ours.label, ours.lesion_box) == (theirs.label, theirs.lesion_box)


def test_it_is_never_picked_by_itself(toy_bundle: Path) -> None:
    with Diagnoser.load(toy_bundle) as diagnoser:
        assert not diagnoser.provider.startswith("OpenVINO:")


@pytest.mark.parametrize("providers", [["openvino-native", "cpu"], ["cpu", "OpenVINO-Native"]])
def test_it_shares_a_network_with_no_other(toy_bundle: Path, providers: list[str]) -> None:
    with pytest.raises(ProviderUnavailableError, match="alone"):
        Diagnoser.load(toy_bundle, providers=providers)


def test_a_missing_extra_is_named_and_nothing_else_runs(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineNotInstalledError, match=r"edge-infer\[openvino-native\]"):
        Diagnoser.load(toy_bundle, providers=NATIVE)


def test_precision_is_openvinos_alone(toy_bundle: Path) -> None:
    assert not wants_openvino(None)
    assert check_precision(None, ["cpu"]) == "float32"
    with pytest.raises(ProviderUnavailableError, match="openvino-native"):
        Diagnoser.load(toy_bundle, providers=["cpu"], precision="bfloat16")
    with pytest.raises(ProviderUnavailableError, match="float32, bfloat16"):
        Diagnoser.load(toy_bundle, providers=NATIVE, precision="fp8")


@needs_openvino
def test_bfloat16_runs_where_it_is_and_is_refused_elsewhere(toy_bundle: Path, openvino: Any) -> None:
    has = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not has:
        with pytest.raises(ProviderUnavailableError, match="bfloat16"):
            Diagnoser.load(toy_bundle, providers=NATIVE, precision="bfloat16")
        return
    with Diagnoser.load(toy_bundle, providers=NATIVE, precision="bfloat16") as diagnoser:
        assert diagnoser.provider == "OpenVINO:CPU:bfloat16"


@needs_openvino
def test_a_file_that_is_no_network_is_an_engine_error(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "segmenter.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(EngineError, match=r"segmenter\.onnx"):
        OpenVinoEngine(file)
    assert entries(cache) == []


@needs_openvino
def test_a_closed_engine_is_a_typed_error(toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    engine = OpenVinoEngine(bundle.file("segmenter", "onnx"))
    engine.close()
    with pytest.raises(InferenceError):
        engine.run(noise(engine))


@needs_openvino
def test_the_second_start_reads_what_the_first_compiled(toy_bundle: Path, cache: Path) -> None:
    file = load_bundle(toy_bundle).file("classifier", "onnx")
    first, second = OpenVinoEngine(file, threads=1), OpenVinoEngine(file, threads=1)
    assert (first.kept, second.kept) == ("written", "read")
    assert dict(second.metadata) == dict(first.metadata)
    pictures = noise(first)
    np.testing.assert_array_equal(first.run(pictures), second.run(pictures))
    assert OpenVinoEngine(file, threads=2).kept == "written"
    assert len(entries(cache)) == 2


@needs_openvino
def test_another_file_or_version_never_reads_it(
    toy_bundle: Path, tmp_path: Path, openvino: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(toy_bundle)
    file = tmp_path / "network.onnx"
    file.write_bytes(bundle.file("classifier", "onnx").read_bytes())
    assert OpenVinoEngine(file, threads=1).kept == "written"
    file.write_bytes(bundle.file("segmenter", "onnx").read_bytes())
    assert OpenVinoEngine(file, threads=1).kept == "written"
    monkeypatch.setattr(openvino, "__version__", "2099.1")
    assert OpenVinoEngine(file, threads=1).kept == "written"


@needs_openvino
@pytest.mark.parametrize("cached", [False, True])
def test_what_was_checked_is_what_runs(toy_bundle: Path, tmp_path: Path, cached: bool) -> None:
    file = load_bundle(toy_bundle).file("classifier", "onnx")
    expected, checked = OpenVinoEngine(file, threads=1), file.read_bytes()
    pictures = noise(expected, 3)
    if not cached:
        for entry in entries(tmp_path / "cache"):
            entry.unlink()
    exchanged = tmp_path / "classifier.onnx"
    exchanged.write_bytes(b"another network, put there after the check")
    engine = OpenVinoEngine(exchanged, threads=1, data=checked)
    assert engine.kept == ("read" if cached else "written")
    exchanged.unlink()
    np.testing.assert_array_equal(engine.run(pictures[:1]), expected.run(pictures[:1]))
    np.testing.assert_array_equal(engine.run(pictures), expected.run(pictures))  # the form for batches comes later


@needs_openvino
@pytest.mark.parametrize("harm", ["truncated", "empty", "one bit", "another blob", "no facts"])
def test_a_spoilt_entry_is_compiled_again(toy_bundle: Path, cache: Path, harm: str) -> None:
    file = load_bundle(toy_bundle).file("classifier", "onnx")
    engine = OpenVinoEngine(file, threads=1)
    pictures = noise(engine, 1)
    expected = engine.run(pictures)
    [path] = entries(cache)
    data = path.read_bytes()
    if harm == "another blob":  # whole by its own hash, and nothing that OpenVINO takes
        found = compiled.read_entry(path)
        assert found is not None
        compiled.write_entry(path, compiled.Entry(found.facts, found.blob[: len(found.blob) // 2]))
    elif harm == "no facts":
        found = compiled.read_entry(path)
        assert found is not None
        compiled.write_entry(path, compiled.Entry({}, found.blob))
    else:
        flipped = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "one bit": flipped}[harm])
    again = OpenVinoEngine(file, threads=1)
    assert again.kept == "written"
    np.testing.assert_array_equal(again.run(pictures), expected)
    assert OpenVinoEngine(file, threads=1).kept == "read"


@needs_openvino
def test_a_cache_that_cannot_be_written_costs_only_time(
    toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nevus_file: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(in_the_way / "below"))
    engine = OpenVinoEngine(load_bundle(toy_bundle).file("classifier", "onnx"), threads=1)
    assert "Cannot write" in engine.kept
    with Diagnoser.load(toy_bundle, providers=NATIVE, threads=1) as diagnoser:
        assert diagnoser.diagnose(nevus_file).status == "ok"


@needs_openvino
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_somebody_elses_entry_is_not_read(toy_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = load_bundle(toy_bundle).file("classifier", "onnx")
    OpenVinoEngine(file, threads=1)
    [path] = entries(cache)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert compiled.read_entry(path) is None


def test_the_cache_folder_follows_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(compiled.CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert compiled.cache_folder() == tmp_path / "xdg" / "edge-infer"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compiled.cache_folder() == tmp_path / "Library" / "Caches" / "edge-infer"


def test_the_oldest_entries_go_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_ENTRIES", 2)
    for number in range(4):
        path = compiled.entry_path("openvino", {"file": str(number)})
        assert compiled.write_entry(path, compiled.Entry({"number": number}, b"blob")) == ""
        os.utime(path, (number, number))
    left = [compiled.read_entry(path) for path in entries(cache)]
    assert sorted(entry.facts["number"] for entry in left if entry) == [2, 3]


def _write_and_read(arguments: tuple[str, int]) -> bool:
    path, number = Path(arguments[0]), arguments[1]
    for _ in range(20):
        compiled.write_entry(path, compiled.Entry({"number": number}, bytes([number]) * 100_000))
        found = compiled.read_entry(path)
        if found is None or found.blob != bytes([found.facts["number"]]) * 100_000:
            return False
    return True


def test_many_processes_may_write_one_entry(cache: Path) -> None:
    path = compiled.entry_path("openvino", {"file": "shared"})
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert all(pool.map(_write_and_read, [(str(path), number) for number in range(6)]))
    assert [path] == list(path.parent.iterdir())
