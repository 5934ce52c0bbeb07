"""`tests/constraints.txt`: the versions that the tests ran with, for `pip install -c`."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import REPOSITORY
from tests.supply_chain.needs import TESTS, closure, direct, project

CONSTRAINTS = REPOSITORY / "tests" / "constraints.txt"
_HEAD = """\
# The versions that the tests ran with, from `python -m tests.supply_chain lock`. To test with these and no others:
#   PIP_CONSTRAINT=tests/constraints.txt pip install -e '.[cpu,trainer,dev]'
# What only other systems and other Pythons need is not listed, nor what PyTorch's CUDA build pins by itself.
"""


def locked() -> dict[str, Version]:
    """What the stored file says, by canonical name."""
    lines = (line.strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name: Version(version) for name, version in pairs}


def lock() -> str:
    """The file's text for what is installed here."""
    build = [Requirement(text) for text in project()["build-system"]["requires"]]
    found = closure([*direct(TESTS), *build])
    return _HEAD + "".join(f"{name}=={Version(d.version).public}\n" for name, d in found.items())


def unmet() -> list[str]:
    """Direct requirements of every extra of the tests that the stored file leaves open or contradicts, in words."""
    versions = locked()
    complaints = []
    for requirement in direct(TESTS):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = versions.get(canonicalize_name(requirement.name))
        if version is None:
            complaints.append(f"{requirement.name} is not locked")
        elif not requirement.specifier.contains(version, prereleases=True):
            complaints.append(f"{requirement.name} is locked to {version}, wanted is {requirement.specifier}")
    return complaints
