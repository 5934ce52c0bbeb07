"""The torchvision workaround acts only where it is needed."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from trainer import _torchvision_compat as compat

MISSING = "operator torchvision::nms does not exist"


class FakeLibrary:
    """Records what would be declared; the real operators exist already in this process."""

    declared: list[str] = []  # noqa: RUF012

    def __init__(self, namespace: str, kind: str) -> None:
        assert (namespace, kind) == ("torchvision", "DEF")

    def define(self, schema: str) -> None:
        self.declared.append(schema.partition("(")[0])


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    FakeLibrary.declared = []
    monkeypatch.setattr(torch.library, "Library", FakeLibrary)
    monkeypatch.setattr(compat, "_library", None)
    return FakeLibrary.declared


def fail_imports(monkeypatch: pytest.MonkeyPatch, message: str, times: int) -> list[str]:
    """Lets the first imports of torchvision fail; returns the names that were asked for."""
    asked: list[str] = []
    real = importlib.import_module

    def fake(name: str, package: str | None = None) -> object:
        if name != "torchvision":
            return real(name, package)
        asked.append(name)
        if len(asked) <= times:
            raise RuntimeError(message)
        return sys.modules.setdefault("torchvision", real("types"))

    monkeypatch.setattr(importlib, "import_module", fake)
    return asked


def test_does_nothing_where_the_import_works(declared: list[str]) -> None:
    assert compat.ensure_torchvision() is False
    assert declared == []


def test_declares_the_operators_and_imports_again(monkeypatch: pytest.MonkeyPatch, declared: list[str]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # put back afterwards
    asked = fail_imports(monkeypatch, MISSING, times=1)
    assert compat.ensure_torchvision() is True
    assert declared == ["nms", "qnms"]
    assert len(asked) == 2


def test_another_failure_is_not_hidden(monkeypatch: pytest.MonkeyPatch, declared: list[str]) -> None:
    fail_imports(monkeypatch, "CUDA version mismatch", times=1)
    with pytest.raises(RuntimeError, match="CUDA version mismatch"):
        compat.ensure_torchvision()
    assert declared == []
