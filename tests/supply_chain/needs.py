"""The distributions that a requirement brings with it, as they are installed here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

WHEEL = ("cpu",)
"""Extras that make the wheel work: the runtime with one engine."""
TESTS = ("cpu", "trainer", "dev")
"""Extras of the README's test command."""


class NotInstalledError(Exception):
    """A requirement is not installed here, so that nothing can be said about it."""


def project() -> dict[str, Any]:
    """The `[project]` and `[build-system]` tables of `pyproject.toml`."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def direct(extras: Iterable[str]) -> list[Requirement]:
    """What the project itself requires with these extras; an extra that names the project again is followed."""
    table = project()["project"]
    found = [Requirement(text) for text in table["dependencies"]]
    for extra in extras:
        for text in table["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) == table["name"]:
                found += direct(sorted(requirement.extras))
            else:
                found.append(requirement)
    return found


def closure(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """Every distribution that the requirements need on this machine, by canonical name, sorted.

    Raises:
        NotInstalledError: one is absent.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError as error:
            raise NotInstalledError(f"{name} is not installed: pip install -e '.[cpu,trainer,dev]' first") from error
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(needed, wanted) for needed in _requirements(found[name])]
    return dict(sorted(found.items()))


def _requirements(installed: Distribution) -> Iterator[Requirement]:
    return map(Requirement, installed.requires or ())
