"""Pictures at the kiosk, in a real browser: answers, refusals, wrong files, the camera."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_infer import Diagnoser
from edge_infer.kiosk.server import KioskServer
from edge_infer.kiosk.site import Site
from edge_infer.output.wording import percent
from tests.conftest import REPOSITORY
from tests.ports.kiosk.conftest import served
from tests.ports.kiosk.person import Person

EXAMPLES = REPOSITORY / "examples"
TEXTS: dict[str, dict[str, str]] = json.loads((REPOSITORY / "ports/kiosk/src/texts.json").read_text(encoding="utf-8"))
ENGLISH = TEXTS["en"]
# Areas and interpolations are computed in floats here and in fixed point there: one row more or less of an outline.
PROBABILITY = 0.05


@pytest.fixture(scope="module")
def mobile_kiosk(mobile_site: Site) -> Iterator[KioskServer]:
    with served(mobile_site) as server:
        yield server


@pytest.fixture
def mobile(person: Person, mobile_kiosk: KioskServer) -> Person:
    """Somebody at a kiosk with the bundle that ships; the networks are loaded once for all that follow each other."""
    if person.browser.current_url != mobile_kiosk.url:
        person.visit(mobile_kiosk.url)
    return person


@pytest.fixture(scope="module")
def diagnoser() -> Iterator[Diagnoser]:
    with Diagnoser.load(REPOSITORY / "exported/mobile") as loaded:
        yield loaded


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.jpg")), ids=lambda path: path.stem)
def test_the_answer_is_that_of_the_python_runtime(mobile: Person, diagnoser: Diagnoser, file: Path) -> None:
    expected = diagnoser.diagnose(file)
    mobile.chooses(file)
    headline = mobile.reads("headline")
    if expected.reason:
        assert headline == f"No decision: {ENGLISH[f'reason_{expected.reason.value}']}"
        assert mobile.reads("advice") == ENGLISH[f"advice_{expected.reason.value}"]
        assert mobile.reads("probability") == "" and mobile.reads("no-number") == ENGLISH["answer_no_probability"]
    else:
        word = "Suspicious" if expected.label == "melanoma" else "Not suspicious"
        assert headline == f"{word} at the threshold “balanced”"
        assert expected.melanoma_probability is not None
        shown = float(re.sub(r"[^\d.]", "", mobile.reads("probability"))) / 100
        assert abs(shown - expected.melanoma_probability) <= PROBABILITY
        assert mobile.reads("threshold") == f"Suspicious from {percent(expected.threshold)} upwards"
    outlined = "The outlined lesion takes up" in mobile.run("return document.getElementById('picture').ariaLabel")
    assert outlined == (expected.mask is not None)
    assert mobile.complaints() == []
    warnings = mobile.reads("warnings")
    mobile.browser.find_element("css selector", "#languages [lang=de]").click()
    assert (mobile.reads("warnings") == warnings) == (warnings == "")
    mobile.browser.find_element("css selector", "#languages [lang=en]").click()
    mobile.taps("answer-done")
    mobile.sees("start")
    assert mobile.traces() == []


def test_the_page_has_threads_of_its_own(at_start: Person) -> None:
    assert at_start.run("return crossOriginIsolated && typeof SharedArrayBuffer === 'function'")


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size by its header, with no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


WRONG: dict[str, tuple[bytes, str]] = {
    "words.jpg": (b"These are words and no picture.", "image-decode"),
    "empty.png": (b"", "image-decode"),
    "cut.jpg": ((EXAMPLES / "nevus-like.jpg").read_bytes()[:2000], "image-decode"),
    "bomb.png": (png_header(60000, 60000), "image-too-large"),
    "iphone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "image-unsupported"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_said_and_the_next_picture_works(
    at_start: Person, tmp_path: Path, nevus_file: Path, name: str
) -> None:
    data, code = WRONG[name]
    (tmp_path / name).write_bytes(data)
    at_start.chooses(tmp_path / name, "problem")
    assert at_start.reads("problem-message") == ENGLISH[f"error_{code}"]
    assert at_start.reads("problem-remedy") == ENGLISH[f"remedy_{code}"]
    assert f"[{code}]" in at_start.reads("problem-detail")
    assert at_start.traces() == []
    at_start.chooses(nevus_file)


def test_a_frame_of_the_camera_is_a_picture(mobile: Person) -> None:
    mobile.taps("use-camera")
    mobile.sees("camera")
    mobile.until(lambda: mobile.browser.find_element("id", "camera-take").is_enabled())
    mobile.taps("camera-take")
    mobile.sees("answer")
    assert mobile.reads("headline") == "Not suspicious at the threshold “balanced”"
    # The grey at both sides of the clip is not in the frame, and so not in the picture.
    width, height = mobile.run("const c = document.getElementById('picture'); return [c.width, c.height]")
    assert width / height == pytest.approx(4 / 3, abs=0.01)
    assert mobile.run("return document.getElementById('video').srcObject") is None
    mobile.taps("answer-again")
    mobile.sees("camera")
    mobile.taps("camera-back")
    mobile.sees("start")
    assert mobile.traces() == []


def test_a_camera_that_stops_is_said_and_can_be_started_again(at_start: Person) -> None:
    at_start.taps("use-camera")
    at_start.until(lambda: at_start.browser.find_element("id", "camera-take").is_enabled())
    at_start.run("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    at_start.sees("problem")
    assert at_start.reads("problem-message") == ENGLISH["error_camera-lost"]
    assert at_start.traces() == []
    at_start.taps("problem-again")
    at_start.sees("camera")
    at_start.until(lambda: at_start.browser.find_element("id", "camera-take").is_enabled())
    at_start.taps("camera-back")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--use-fake-device-for-media-stream", "--deny-permission-prompts"), "camera-denied"),
        (("--use-fake-device-for-media-stream=device-count=0", "--use-fake-ui-for-media-stream"), "camera-missing"),
    ],
    ids=["denied", "missing"],
)
def test_without_a_camera_there_is_still_the_file(
    open_browser: Callable[..., Any], toy_kiosk: KioskServer, nevus_file: Path, arguments: tuple[str, ...], code: str
) -> None:
    with open_browser(*arguments) as browser:
        person = Person(browser)
        person.visit(toy_kiosk.url)
        person.taps("use-camera")
        person.sees("problem")
        assert person.reads("problem-message") == ENGLISH[f"error_{code}"]
        assert browser.find_element("id", "problem-file").is_displayed()
        person.chooses(nevus_file)
