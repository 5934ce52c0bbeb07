"""Silence that several threads share ends with the last of them, and leaves everything as it was."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import ExitStack

import pytest

from edge_infer.dicom.quiet import quietly

LOGGERS = ("pydicom", "highdicom", "openjpeg")


def settings() -> tuple[list[int], list[object]]:
    return [logging.getLogger(name).level for name in LOGGERS], list(warnings.filters)


def test_overlapping_uses_restore_what_was_before_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """As two threads do: the one that began first ends first."""
    before = settings()
    first, second = ExitStack(), ExitStack()
    with second:
        with first:
            first.enter_context(quietly())
            second.enter_context(quietly())
        assert settings() != before
        with warnings.catch_warnings(record=True) as heard:
            warnings.warn("a patient's name", stacklevel=1)
            logging.getLogger("pydicom").critical("a patient's name")
        assert not heard and capsys.readouterr() == ("", "")
    assert settings() == before


def test_an_error_ends_the_silence() -> None:
    before = settings()
    with pytest.raises(ValueError, match="no"), quietly():
        raise ValueError("no")
    assert settings() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_forked_meanwhile_is_not_silent_for_ever() -> None:
    before = settings()
    with quietly():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                alone = settings() == before
                with quietly():
                    silent = settings() != before
                code = 0 if alone and silent and settings() == before else 1
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert status == 0 and settings() == before
