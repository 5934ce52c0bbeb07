"""Whoever stands at the kiosk: languages, keyboard, screen readers, phones, and the next person in the queue."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_infer.kiosk.server import KioskServer
from edge_infer.kiosk.site import Site
from tests.ports.kiosk.conftest import KIOSK, served, with_settings
from tests.ports.kiosk.person import SCREENS, Person, write_blank

AXE = """
  const done = arguments[0];
  const rules = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"];
  axe.run(document, { resultTypes: ["violations"], runOnly: rules })
    .then((result) => done(result.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`)));
"""
SMALL = """
  return [...document.querySelectorAll("button")].filter((button) => button.offsetParent)
    .map((button) => [button.id || button.textContent, button.getBoundingClientRect()])
    .filter(([, box]) => box.height < 48 || box.width < 48 || box.left < 0 || box.right > innerWidth + 0.5)
    .map(([name]) => name);
"""


@pytest.fixture(scope="module")
def hasty(toy_site: Site) -> Iterator[KioskServer]:
    """A kiosk that asks after four seconds and clears after eight."""
    with served(with_settings(toy_site, idle_seconds=8)) as server:
        yield server


@pytest.fixture
def blank_file(tmp_path: Path) -> Path:
    """A white picture, which is refused."""
    return write_blank(tmp_path / "blank.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(at_start: Person, nevus_file: Path, blank_file: Path, screen: str, scheme: str) -> None:
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    at_start.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    at_start.brings_up(screen, nevus_file, blank_file)
    at_start.run((KIOSK / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
    assert at_start.browser.execute_async_script(AXE) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_a_phone_shows_everything_large_enough_to_touch(
    at_start: Person, nevus_file: Path, blank_file: Path, screen: str
) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    at_start.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for language in ("de", "es", "en"):
            at_start.browser.find_element("css selector", f"#languages [lang={language}]").click()
            assert at_start.run("return document.documentElement.lang") == language
        at_start.brings_up(screen, nevus_file, blank_file)
        assert at_start.run("return document.documentElement.scrollWidth <= innerWidth")
        assert at_start.run(SMALL) == []
    finally:
        at_start.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_answer_follows_the_language(at_start: Person, nevus_file: Path) -> None:
    at_start.chooses(nevus_file)
    words = {}
    for language in ("de", "es", "en"):
        at_start.browser.find_element("css selector", f"#languages [lang={language}]").click()
        words[language] = at_start.reads("answer")
        assert at_start.run("return document.documentElement.lang") == language
    assert "Melanoms" in words["de"] and "melanoma" in words["es"] and "threshold" in words["en"]
    assert not {"{", "undefined"} & set("".join(words.values()).split())


def test_the_keyboard_is_enough(at_start: Person) -> None:
    from selenium.webdriver import ActionChains, Keys

    def active() -> str:
        return str(at_start.run("return document.activeElement.id || document.activeElement.tagName"))

    def press(key: str) -> None:
        ActionChains(at_start.browser).send_keys(key).perform()

    assert active() == "H1"
    press(Keys.TAB)
    assert active() == "use-camera"
    assert at_start.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(Keys.ENTER)
    at_start.sees("camera")
    at_start.until(lambda: at_start.browser.find_element("id", "camera-take").is_enabled())
    assert active() == "H1"
    press(Keys.TAB)
    assert active() == "camera-back"
    press(Keys.SPACE)
    at_start.sees("start")
    for _ in range(3):
        press(Keys.TAB)
    assert active() == "about-open"
    press(Keys.ENTER)
    assert at_start.run("return document.getElementById('about').open") and active() == "about-close"
    press(Keys.ESCAPE)
    assert not at_start.run("return document.getElementById('about').open") and active() == "about-open"


def test_whoever_goes_away_leaves_nothing_behind(person: Person, hasty: KioskServer, nevus_file: Path) -> None:
    person.visit(hasty.url)
    person.browser.find_element("css selector", "#languages [lang=es]").click()
    person.chooses(nevus_file)
    dialog = person.browser.find_element("id", "idle")
    person.until(dialog.is_displayed)
    assert person.run("return document.activeElement.id") == "idle-keep"
    person.taps("idle-keep")
    time.sleep(0.5)
    assert person.screen() == "answer" and not dialog.is_displayed()
    person.sees("start")
    assert person.reads("start-notice") == "The last picture was cleared because nobody was here."
    assert person.run("return document.documentElement.lang") == "en"
    assert person.traces() == [] and not dialog.is_displayed()


def test_the_camera_is_not_left_on(person: Person, hasty: KioskServer) -> None:
    person.visit(hasty.url)
    person.taps("use-camera")
    person.until(lambda: person.browser.find_element("id", "camera-take").is_enabled())
    person.run("window.track = document.getElementById('video').srcObject.getTracks()[0]")
    person.sees("start")
    assert person.run("return window.track.readyState") == "ended" and person.traces() == []


def test_a_hidden_window_keeps_no_camera(at_start: Person, nevus_file: Path) -> None:
    at_start.taps("use-camera")
    at_start.until(lambda: at_start.browser.find_element("id", "camera-take").is_enabled())
    with at_start.another_tab():
        time.sleep(0.2)
    at_start.sees("start")
    assert "out of sight" in at_start.reads("start-notice") and at_start.traces() == []
    at_start.chooses(nevus_file)


def test_a_picture_that_is_looked_at_in_a_hidden_window_is_dropped(at_start: Person, nevus_file: Path) -> None:
    at_start.run("""
      new MutationObserver((_, observer) => {
        if (document.body.dataset.screen !== "working") return;
        observer.disconnect();
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
        delete document.hidden;
      }).observe(document.body, { attributes: true });
    """)
    at_start.chooses(nevus_file, "start")
    time.sleep(1)
    assert at_start.screen() == "start" and at_start.traces() == []
    assert "out of sight" in at_start.reads("start-notice")
    at_start.chooses(nevus_file)


def test_a_worker_that_dies_is_said_and_the_next_picture_gets_a_new_one(at_start: Person, nevus_file: Path) -> None:
    at_start.run("""
      const post = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function (...all) {
        Worker.prototype.postMessage = post;
        this.dispatchEvent(new ErrorEvent("error", { message: "RangeError: Array buffer allocation failed" }));
      };
    """)
    at_start.chooses(nevus_file, "problem")
    assert "[engine-error]" in at_start.reads("problem-detail") and at_start.traces() == []
    at_start.chooses(nevus_file)


def test_print_and_saved_report_hold_the_answer(at_start: Person, nevus_file: Path, downloads: Path) -> None:
    at_start.chooses(nevus_file)
    assert base64.b64decode(at_start.browser.print_page()).startswith(b"%PDF")
    at_start.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert "operating point" in at_start.reads("identity") and at_start.reads("headline")
        assert not at_start.browser.find_element("id", "answer-done").is_displayed()
    finally:
        at_start.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    headline = at_start.reads("headline")
    at_start.taps("answer-save")
    # Chromium reserves the name with an empty file and renames the finished download over it.
    at_start.until(lambda: any(file.stat().st_size for file in downloads.glob("edge-infer-*.html")))
    (file,) = downloads.glob("edge-infer-*.html")
    page = file.read_text(encoding="utf-8")
    assert headline in page and 'src="data:image/jpeg;base64,' in page and "<script" not in page
    assert "Not a medical device" in page and "toy 1.2.3" in page
