"""What README and examples/README.md say about the example pictures is what the shipped bundle answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge_infer import Diagnoser, Diagnosis
from edge_infer.diagnosis import MELANOMA

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
ROW = re.compile(
    r"^\| `(?P<picture>[^`]+\.jpg)` \|.*?"
    r"\| (?:(?P<percent>\d+\.\d) %, (?P<decision>suspicious|not suspicious)|indeterminate \(`(?P<reason>\w+)`\)) \|",
    re.MULTILINE,
)
STATED = {row["picture"]: row for row in ROW.finditer((EXAMPLES / "README.md").read_text(encoding="utf-8"))}
PICTURES = sorted(path.name for path in EXAMPLES.glob("*.jpg"))
PHOTOGRAPHS = [name for name in PICTURES if "ISIC_" in name]
NEWEST_CC0 = 16072
"""Pictures of ISIC up to this id were published as CC-0 with ISIC 2017."""
NOISE = 0.3
"""Percentage points by which processors may differ."""


@pytest.fixture(scope="module")
def answers() -> dict[str, Diagnosis]:
    with Diagnoser.load(REPOSITORY / "exported/mobile") as diagnoser:
        return {name: diagnoser.diagnose(EXAMPLES / name) for name in PICTURES}


def test_every_example_has_a_stated_answer() -> None:
    assert set(STATED) == set(PICTURES)


@pytest.mark.parametrize("picture", PICTURES)
def test_the_stated_answer_is_the_bundles(picture: str, answers: dict[str, Diagnosis]) -> None:
    stated, answer = STATED[picture], answers[picture]
    assert stated["reason"] == answer.reason
    if answer.melanoma_probability is not None:
        assert float(stated["percent"]) == pytest.approx(100 * answer.melanoma_probability, abs=NOISE)
        assert (stated["decision"] == "suspicious") == (answer.label == MELANOMA)


def test_the_examples_show_what_they_promise(answers: dict[str, Diagnosis]) -> None:
    """A melanoma that is found and one that is missed, a harmless lesion that is cleared, a picture that is refused."""
    seen = {(name.split("-")[0], answers[name].label) for name in PHOTOGRAPHS}
    assert {("melanoma", "melanoma"), ("melanoma", "not melanoma"), ("nevus", "not melanoma")} <= seen
    assert any(label is None for _, label in seen)


def test_no_drawing_is_named_after_what_its_answer_denies(answers: dict[str, Diagnosis]) -> None:
    for name in set(PICTURES) - set(PHOTOGRAPHS):
        assert ("melanoma" in name) <= (answers[name].label == MELANOMA), name
        assert ("nevus" in name) <= (answers[name].label != MELANOMA), name


def test_photographs_are_free_few_and_small() -> None:
    assert 4 <= len(PHOTOGRAPHS) <= 6
    assert sum((EXAMPLES / name).stat().st_size for name in PHOTOGRAPHS) < 400_000
    for name in PHOTOGRAPHS:
        number = re.fullmatch(r"(?:melanoma|nevus)-ISIC_(\d{7})\.jpg", name)
        assert number and int(number[1]) <= NEWEST_CC0, name


def test_the_readme_shows_what_the_command_prints() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    command = re.search(r"edge-infer diagnose (examples/\S+\.jpg)", readme)
    assert command
    shown = re.search(r"```text\n(?P<card>" + re.escape(command[1]) + r"\n.*?)```", readme, re.DOTALL)
    assert shown, "README shows no answer of its first command"
    run = [sys.executable, "-m", "edge_infer.cli", "diagnose", command[1]]
    environment = {**os.environ, "COLUMNS": "92"}
    printed = subprocess.run(run, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True).stdout
    assert _lasting(shown["card"]) == _lasting(printed)


def test_the_readme_opens_with_a_picture_of_this_bundles_answer() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    picture = re.search(r"!\[(?P<words>[^\]]+)\]\((?P<file>docs/assets/\S+\.jpg)\)", readme)
    assert picture and readme.index(picture[0]) < readme.index("```")
    file = REPOSITORY / picture["file"]
    assert file.stat().st_size < 150_000 and cv2.imread(str(file)) is not None
    first = re.search(r"edge-infer diagnose examples/(\S+\.jpg)", readme)
    assert first and f"{STATED[first[1]]['percent']} %" in picture["words"]


def _lasting(card: str) -> list[str]:
    """The lines of a card without what differs between machines: the time, the provider."""
    return [line.rstrip() for line in card.splitlines() if "computed" not in line]
