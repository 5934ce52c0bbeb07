"""Pages with code, and a place to run it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Code(NamedTuple):
    """A block of code on a page."""

    language: str
    text: str
    line: int


def blocks(page: Path, language: str) -> list[Code]:
    """The page's blocks of one language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Code(language, block["code"], text[: block.start()].count("\n") + 2)
        for block in BLOCK.finditer(text)
        if block["language"] == language
    ]


def pages_with(language: str) -> list[str]:
    """Pages that have such blocks, relative to the repository."""
    return [page.relative_to(REPOSITORY).as_posix() for page in PAGES if blocks(page, language)]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout to the code on the pages, and may be written to; it is the current one."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    shutil.copytree(REPOSITORY / "exported/mobile", tmp_path / "exported/mobile")
    monkeypatch.chdir(tmp_path)
    return tmp_path
