"""Code on the pages: Python runs from top to bottom, cheap commands run, the others parse."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from edge_infer.cli.app import app as edge_infer_app
from tests.docs.conftest import REPOSITORY, blocks, pages_with
from trainer.data.drawn.__main__ import main as draw

COMMANDS = {
    ("edge-infer",): "edge_infer.cli.app",
    ("python", "-m", "trainer"): "trainer.cli.app",
    ("python", "-m", "benchmarks"): "benchmarks.__main__",
}
RUN = ("README.md", "docs/first-diagnosis.md", "docs/read-the-answer.md", "docs/bundles.md")
"""Pages whose `edge-infer` commands are run; on the others they are parsed."""
SLOW = ("benchmark",)


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_on_the_page_runs(page: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(REPOSITORY / page, "python"):
        # Lines as on the page, so that a failure names the right one.
        exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), namespace)
    if page == "docs/embed.md":
        assert blocks(REPOSITORY / page, "text")[0].text in capsys.readouterr().out


@pytest.mark.parametrize("page", pages_with("sh"))
def test_commands_on_the_page_parse(page: str) -> None:
    for words in commands(page):
        if words[:3] == ["python", "-m", "trainer.data.drawn"]:
            with pytest.raises(SystemExit) as stop:
                draw([*words[3:], "--help"])
            assert stop.value.code == 0
            continue
        prefix, module = next(item for item in COMMANDS.items() if tuple(words[: len(item[0])]) == item[0])
        parse(typer.main.get_command(import_module(module).app), words[len(prefix) :])


@pytest.mark.parametrize("page", RUN)
def test_cheap_commands_on_the_page_run(page: str, checkout: Path) -> None:
    ran = 0
    for words in commands(page):
        if words[0] == "edge-infer" and words[1] not in SLOW and not _needs_more(words):
            result = CliRunner().invoke(edge_infer_app, words[1:])
            assert result.exit_code == 0, f"{words}\n{result.output}"
            ran += 1
    assert ran


def parse(command: Any, words: list[str]) -> None:
    """Reads a command line as the application would, down to the last option, and runs nothing."""
    context = command.make_context(command.name, list(words), resilient_parsing=False)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        # Commands may ask for files that the page's reader would have.
        for parameter in command.params:
            if hasattr(parameter.type, "exists"):
                parameter.type.exists = False
        context = command.make_context(name, list(words), parent=context)


def commands(page: str) -> Iterator[list[str]]:
    """The project's own commands in a page's blocks, as words, without redirections; installation is left out."""
    for block in blocks(REPOSITORY / page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in line.split(" && "):
                words = shlex.split(part.replace(".venv/bin/", ""), comments=True)
                words = words[: words.index(">")] if ">" in words else words
                if words[:1] == ["edge-infer"] or (words[:2] == ["python", "-m"] and words[2] != "pytest"):
                    yield words


def _needs_more(words: list[str]) -> bool:
    """Whether a command needs pictures, hardware or a variant that is not in the repository."""
    return bool({"--provider", "--variant", "photos/", "img.jpg"} & set(words))
