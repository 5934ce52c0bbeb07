"""Providers, threads and installation problems of the engine; the networks themselves are in test_pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_infer import errors
from edge_infer.bundle.store import load_bundle
from edge_infer.engines import install, threads
from edge_infer.engines import onnx as engine
from edge_infer.engines.onnx import OnnxEngine, resolve_providers
from edge_infer.engines.threads import available_threads


class FakeSession:
    def __init__(self, active: list[str]) -> None:
        self._active = active

    def get_providers(self) -> list[str]:
        return self._active

    def get_modelmeta(self) -> SimpleNamespace:
        return SimpleNamespace(custom_metadata_map={"key": "value"})

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image", type="tensor(uint8)", shape=["n", 8, 8, 3])]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="probability", shape=["n", 8, 8])]


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An ONNX Runtime whose CUDA provider is installed; `broken` decides how it behaves."""
    fake = SimpleNamespace(broken="", tried=[], options=None)

    def session(path: str, options: Any, providers: list[str]) -> FakeSession:
        fake.tried.append(providers)
        fake.options = options
        if providers[0] == CUDA and fake.broken == "raises":
            raise RuntimeError("[ONNXRuntimeError] : 1 : libcudnn is missing\nmore")
        if providers[0] == CUDA and fake.broken == "silently falls back":
            return FakeSession([CPU])
        return FakeSession([*providers, *([CPU] if CPU not in providers else [])])

    class Options:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries[key] = value

    fake.module = SimpleNamespace(
        get_available_providers=lambda: [CUDA, CPU], InferenceSession=session, SessionOptions=Options
    )
    monkeypatch.setattr(engine, "load_onnxruntime", lambda: fake.module)
    return fake


def test_the_best_installed_provider_is_picked(runtime: SimpleNamespace) -> None:
    loaded = OnnxEngine(Path("m.onnx"))
    assert loaded.provider == CUDA and loaded.warnings == ()
    assert loaded.input_shape == (8, 8, 3) and loaded.metadata == {"key": "value"}
    assert runtime.options.entries["session.intra_op.allow_spinning"] == "0"
    assert runtime.options.intra_op_num_threads == available_threads()


@pytest.mark.parametrize("how", ["raises", "silently falls back"])
def test_a_picked_provider_that_does_not_start_is_said(runtime: SimpleNamespace, how: str) -> None:
    runtime.broken = how
    loaded = OnnxEngine(Path("m.onnx"))
    assert loaded.provider == CPU
    assert len(loaded.warnings) == 1 and CUDA in loaded.warnings[0]


@pytest.mark.parametrize("how", ["raises", "silently falls back"])
@pytest.mark.parametrize("wanted", ["cuda", "CUDA", CUDA])
def test_a_wanted_provider_that_does_not_start_is_an_error(runtime: SimpleNamespace, how: str, wanted: str) -> None:
    runtime.broken = how
    with pytest.raises(errors.ProviderUnavailableError, match="did not start") as caught:
        OnnxEngine(Path("m.onnx"), providers=[wanted, "cpu"])
    assert "cpu" in caught.value.remedy


def test_a_provider_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(errors.ProviderUnavailableError, match="DmlExecutionProvider") as caught:
        resolve_providers(["directml"], [CPU])
    assert "has: cpu" in caught.value.remedy
    with pytest.raises(errors.ProviderUnavailableError, match="nonsense"):
        resolve_providers(["nonsense"], [CPU])
    with pytest.raises(errors.ProviderUnavailableError, match="empty"):
        resolve_providers([], [CPU])


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(errors.EngineError, match=r"cannot load.*m\.onnx"):
        OnnxEngine(tmp_path / "m.onnx", providers=["cpu"])


def test_two_runtimes_at_once_are_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_installed_distributions", lambda: {"onnxruntime", "onnxruntime-gpu"})
    with pytest.raises(errors.EngineConflictError, match="onnxruntime, onnxruntime-gpu") as caught:
        engine.load_onnxruntime()
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu" in caught.value.remedy


def test_no_runtime_is_an_error_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_installed_distributions", set)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(errors.EngineNotInstalledError) as caught:
        engine.load_onnxruntime()
    assert "edge-infer[cpu]" in caught.value.remedy


@pytest.mark.parametrize(
    ("installed", "oldest", "fits"),
    [
        ("1.20.0", "1.20", True),
        ("1.20.1", "1.20.1", True),
        ("1.100.0", "1.20", True),
        ("2.0", "1.20", True),
        ("1.31.0+cu12", "1.31", True),
        ("1.19.2", "1.20", False),
        ("1.9.0", "1.20", False),
        ("1.20.0", "1.20.1", False),
        ("1.19.2", None, True),
    ],
)
def test_an_old_runtime_is_refused_with_the_fix(
    installed: str, oldest: str | None, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_installed_distributions", lambda: {"onnxruntime-openvino"})
    runtime = SimpleNamespace(__version__=installed)
    if fits:
        install.require_version(runtime, oldest)
        return
    with pytest.raises(
        errors.EngineVersionError, match=rf"needs ONNX Runtime {oldest} or newer; {installed} is"
    ) as caught:
        install.require_version(runtime, oldest)
    assert caught.value.remedy == f"Run: pip install --upgrade 'onnxruntime-openvino>={oldest}'"


def test_leftovers_of_a_removed_runtime_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_installed_distributions", lambda: {"onnxruntime"})
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(errors.EngineNotInstalledError, match="incomplete"):
        engine.load_onnxruntime()


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, 2.0),
        ("0::/host/only\n", {"cpu.max": "300000 100000"}, 3.0),
        (
            "3:cpu,cpuacct:/g\n",
            {"cpu,cpuacct/g/cpu.cfs_quota_us": "50000", "cpu,cpuacct/g/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "3:cpu,cpuacct:/g\n",
            {"cpu,cpuacct/g/cpu.cfs_quota_us": "-1", "cpu,cpuacct/g/cpu.cfs_period_us": "100000"},
            None,
        ),
        ("5:memory:/g\n", {"cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": "rubbish"}, None),
    ],
)
def test_cgroup_quotas(membership: str, files: dict[str, str], expected: float | None, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(membership)
    root = tmp_path / "sys"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    assert threads._cgroup_quota(tmp_path / "cgroup", root) == expected


def test_a_bound_run_gives_what_a_plain_one_gives(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = load_bundle(toy_bundle).file("segmenter", "onnx")
    plain = OnnxEngine(file, providers=["cpu"], threads=1)
    monkeypatch.setattr("edge_infer.engines.onnx._BOUND", {"CPUExecutionProvider"})
    bound = OnnxEngine(file, providers=["cpu"], threads=1)
    monkeypatch.setattr(bound._session, "run", None)
    height, width, _ = plain.input_shape
    batch = np.random.default_rng(0).integers(0, 256, (3, height or 1, width or 1, 3), np.uint8)[:, ::-1]
    for names in (plain.outputs, plain.outputs[:1]):
        for one, other in zip(plain.run_named(batch, names), bound.run_named(batch, names), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(errors.InferenceError):
        bound.run_named(batch, ["no such output"])


def test_threads_respect_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for quota, expected in ((None, 8), (2.5, 2), (0.5, 1), (64.0, 8)):
        monkeypatch.setattr(threads, "_cgroup_quota", lambda *_, quota=quota: quota)
        assert available_threads() == expected
