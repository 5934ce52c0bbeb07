"""Pages that mkdocs writes at each build: every command's reference, and the repository's own pages beside the code."""

from __future__ import annotations

import html
import posixpath
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]
HOME = "https://github.com/edge-infer/edge-infer/blob/main"
COMMANDS = {
    "reference/edge-infer.md": ("edge-infer", "edge_infer.cli.app"),
    "reference/trainer.md": ("python -m trainer", "trainer.cli.app"),
    "reference/benchmarks.md": ("python -m benchmarks", "benchmarks.__main__"),
}
"""Page: the command as it is typed, and the module whose `app` it is."""
COMPARISONS = "trainer/results/compare"
INCLUDED = {
    "bundle-format.md": "exported/README.md",
    "examples.md": "examples/README.md",
    "systems.md": f"{COMPARISONS}/LESSONS.md",
}
"""Page of the site: page of the repository that it shows."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages and the example pictures."""
    sys.path.insert(0, str(REPOSITORY))
    for page, (command, module) in COMMANDS.items():
        files.append(File.generated(config, page, content=command_page(command, import_module(module).app)))
    for page, source in INCLUDED.items():
        files.append(File.generated(config, page, content=included_page(REPOSITORY / source)))
    for picture in sorted((REPOSITORY / "examples").glob("*.jpg")):
        files.append(File.generated(config, f"examples/{picture.name}", abs_src_path=str(picture)))
    for picture in sorted((REPOSITORY / COMPARISONS / "figures").glob("*.png")):
        files.append(File.generated(config, f"figures/{picture.name}", abs_src_path=str(picture)))
    return files


def command_page(command: str, app: typer.Typer) -> str:
    """Every command of a typer application as Markdown, from what its `--help` is made of."""
    root: Any = typer.main.get_command(app)
    lines = [f"# `{command}`", "", *_paragraphs(root.help), ""]
    for name, sub in _leaves(root):
        lines += [f"## {name}", "", *_command(f"{command} {name}", sub)]
    if root.epilog:
        lines += ["## Exit codes", "", "```text", *root.epilog.replace("\b", "").strip().splitlines(), "```", ""]
    return "\n".join(lines)


def _leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _command(usage: str, command: Any) -> Iterator[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    context = command.make_context(usage, [], resilient_parsing=True)
    words = " ".join(argument.make_metavar(context) for argument in arguments)
    yield from ("```sh", f"{usage} [OPTIONS] {words}".strip(), "```", "")
    yield from _paragraphs(command.help)
    for title, parameters in (("Argument", arguments), ("Option", options)):
        if parameters:
            yield from (f"| {title} | Meaning |", "| --- | --- |")
            for parameter in parameters:
                yield f"| {_name(parameter, context)} | {_meaning(parameter)} |"
            yield ""


def _name(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        return _code(parameter.make_metavar(context))
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag or parameter.count else f" {parameter.make_metavar(context)}"
    return _code(f"{names}{value}")


def _code(text: str) -> str:
    return "<code>" + html.escape(text).replace("|", "&#124;") + "</code>"


def _meaning(parameter: Any) -> str:
    text = _escaped(" ".join((parameter.help or "").split()))
    default = parameter.default
    if parameter.required:
        return f"{text} *Required.*"
    shown = parameter.show_default
    if isinstance(shown, str):
        return f"{text} *Default: {_escaped(shown)}.*"
    if default in (None, False, (), []) or callable(default) or type(default).__name__ == "Sentinel":
        return text
    return f"{text} *Default: `{getattr(default, 'value', default)}`.*"


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in (text or "").replace("\b", "").replace("\f", "").split("\n\n"):
        words = " ".join(paragraph.split())
        if words.startswith(("python -m", "torchrun")):
            yield from ("```sh", words, "```", "")
        elif words:
            yield from (_escaped(words), "")


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<>])", r"\\\1", text)


def included_page(source: Path) -> str:
    """A page of the repository with its relative links turned to the site, or to the repository's home."""
    text = re.sub(r"\]\(\.\./docs/", "](", source.read_text(encoding="utf-8"))
    folder = source.parent.relative_to(REPOSITORY).as_posix()
    elsewhere = r"\]\((?!https?:|#|figures/|[\w-]+\.md[#)])([^)]+)\)"
    text = re.sub(elsewhere, lambda link: f"]({HOME}/{posixpath.normpath(f'{folder}/{link[1]}')})", text)
    if folder == "examples":
        text = re.sub(r"^\| `([^`]+\.jpg)` \|", r"| ![](examples/\1){ width=160 }<br>`\1` |", text, flags=re.MULTILINE)
    return text
