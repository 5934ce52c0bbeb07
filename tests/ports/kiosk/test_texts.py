"""The kiosk's words: complete in every language, and the runtime's own where both say the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from edge_infer.cli.kiosk import Language
from edge_infer.output import wording
from edge_infer.reasons import Reason
from tests.conftest import REPOSITORY

SOURCES = REPOSITORY / "ports/kiosk/src"
TEXTS: dict[str, dict[str, str]] = json.loads((SOURCES / "texts.json").read_text(encoding="utf-8"))
# What no screen may say, in any language: words that reassure.
REASSURING = re.compile(
    r"no melanoma|kein melanom|sin melanoma|benign|gutartig|benign[ao]|harmless|harmlos|inofensiv|healthy|gesund"
    r"|\bsan[ao]\b|nothing to worry|keine sorge|no se preocupe|\bsafe\b|all good",
    re.IGNORECASE,
)


def test_the_languages_are_those_of_the_command() -> None:
    assert list(TEXTS) == [language.value for language in Language]


@pytest.mark.parametrize("language", [name for name in TEXTS if name != "en"])
def test_every_language_says_everything(language: str) -> None:
    assert list(TEXTS[language]) == list(TEXTS["en"])
    for name, text in TEXTS[language].items():
        assert text.strip()
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", TEXTS["en"][name])), name


@pytest.mark.parametrize("reason", Reason)
def test_reasons_and_advice_are_the_runtimes(reason: Reason) -> None:
    titles: Any = wording._REASONS
    advice: Any = wording._ADVICE
    assert TEXTS["en"][f"reason_{reason.value}"] == titles[reason]
    assert TEXTS["en"][f"advice_{reason.value}"] == advice[reason]


def test_what_the_core_warns_of_is_translated() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "ports/js/src").rglob("*.ts"))
    said = re.findall(r"""(?:warnings|said)\.push\(["`](.+?)["`]\)|header\.notes, "(.+?)"\]""", sources)
    core = {re.sub(r"\$\{String\((\w+)\)\}", r"{\1}", first or second) for first, second in said}
    assert core == {text for name, text in TEXTS["en"].items() if name.startswith("warning_")}


def test_the_disclaimer_is_the_runtimes() -> None:
    assert TEXTS["en"]["disclaimer"] == wording.DISCLAIMER


@pytest.mark.parametrize("language", TEXTS)
def test_nothing_reassures(language: str) -> None:
    for name, text in TEXTS[language].items():
        assert not REASSURING.search(text), f"{name}: {text}"
    assert "{point}" in TEXTS[language]["answer_not_suspicious"]


def test_every_text_is_used() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in SOURCES.iterdir() if path.suffix in {".ts", ".html"})
    # Families whose names are put together from what the bundle or an error says.
    built = ("reason_", "advice_", "error_", "remedy_", "point_", "warning_")
    unused = [name for name in TEXTS["en"] if not name.startswith(built) and name not in sources and name != "language"]
    assert not unused


def test_no_word_stands_outside_the_texts() -> None:
    page = (SOURCES / "index.html").read_text(encoding="utf-8")
    shown = re.sub(r"(?s)<head>.*</head>|<[^>]+>|<!--.*?-->", " ", page)
    assert shown.replace("<!doctype html>", "").split() == ["edge-infer"]
    assert not re.search(r"(?i)<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", page)
