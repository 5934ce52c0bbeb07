"""Imports run one way: a room uses only rooms below it in its package's list; see `docs/architecture.md`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY

# From the top. Rooms of one line may not use each other.
RUNTIME: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("serve", "kiosk", "batch", "watch"),
    ("benchmark", "evaluate", "conformance", "compare"),
    ("diagnoser",),
    ("dicom",),
    ("output",),
    ("engines",),
    ("bundle",),
    ("diagnosis",),
    ("measurements",),
    ("steps",),
    ("rules",),
    ("reasons", "geometry", "schema", "files", "extras"),
    ("errors",),
)
TRAINER: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("pipeline",),
    ("papers", "search", "figures"),
    ("report",),
    ("bundle",),
    ("choices",),
    ("scoring",),
    ("training",),
    ("models",),
    ("data",),
    ("recipe",),
    ("errors", "_torchvision_compat"),
)
LAYERS = {"edge_infer": RUNTIME, "trainer": TRAINER}


class Import(NamedTuple):
    """One import of a module of the project."""

    file: str
    line: int
    module: str


def imports(package: str, root: Path = REPOSITORY) -> Iterator[Import]:
    """Every import of the project's own modules, those inside functions and for type checking included."""
    for path in sorted((root / package).rglob("*.py")):
        where = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    deeper = root / node.module.replace(".", "/") / alias.name
                    inner = deeper.with_suffix(".py").is_file() or deeper.is_dir()
                    yield Import(where, node.lineno, f"{node.module}.{alias.name}" if inner else node.module)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(where, node.lineno, alias.name)


def room(package: str, module: str) -> str | None:
    """The room of a dotted module: the part below the package; None for the package's own face."""
    parts = module.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 else None


def violations(package: str, layers: tuple[tuple[str, ...], ...], root: Path = REPOSITORY) -> list[str]:
    """Each import that runs upwards or sideways, in words."""
    level = {name: number for number, names in enumerate(layers) for name in names}
    found = []
    for file, line, module in imports(package, root):
        home = room(package, file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        target = room(package, module)
        if home is None or home == "__main__" or target is None or home == target:
            continue
        if level[target] <= level[home]:
            found.append(f"{file}:{line} imports {module}: '{target}' is not below '{home}'")
    return found


def file_circle(package: str, root: Path = REPOSITORY) -> list[str]:
    """Files that import each other in a circle, in order; empty where there is none."""
    edges: dict[str, set[str]] = {}
    for file, _, module in imports(package, root):
        for candidate in (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"):
            if candidate != file and candidate.startswith(f"{package}/") and (root / candidate).is_file():
                edges.setdefault(file, set()).add(candidate)
    done: set[str] = set()

    def visit(file: str, path: list[str]) -> list[str]:
        if file in path:
            return [*path[path.index(file) :], file]
        if file in done:
            return []
        for target in sorted(edges.get(file, ())):
            circle = visit(target, [*path, file])
            if circle:
                return circle
        done.add(file)
        return []

    for file in sorted(edges):
        circle = visit(file, [])
        if circle:
            return circle
    return []


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_one_way(package: str) -> None:
    found = violations(package, LAYERS[package])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", [*LAYERS, "benchmarks"])
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    circle = file_circle(package)
    assert not circle, " -> ".join(circle)


@pytest.mark.parametrize("package", LAYERS)
def test_every_file_of_a_package_root_is_a_room_of_its_list(package: str) -> None:
    known = {name for names in LAYERS[package] for name in names} | {"__init__", "__main__"}
    strays = sorted(path.name for path in (REPOSITORY / package).glob("*.py") if path.stem not in known)
    assert not strays, f"These files of {package}/ belong into a room: {', '.join(strays)}"


def test_the_runtime_knows_nothing_of_trainer_and_benchmarks() -> None:
    upwards = [found for found in imports("edge_infer") if found.module.split(".")[0] in ("trainer", "benchmarks")]
    assert not upwards, "\n".join(f"{file}:{line} imports {module}" for file, line, module in upwards)


def test_an_import_that_runs_upwards_is_named(tmp_path: Path) -> None:
    for name, text in (("errors", "from edge_infer.cli.app import app\n"), ("cli/app", "import edge_infer.errors\n")):
        file = tmp_path / "edge_infer" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert violations("edge_infer", RUNTIME, tmp_path) == [
        "edge_infer/errors.py:1 imports edge_infer.cli.app: 'cli' is not below 'errors'"
    ]
    assert file_circle("edge_infer", tmp_path)[0] == "edge_infer/cli/app.py"
