"""What a person does at the kiosk, in words that tests read well with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PATIENCE = 60.0
SCREENS = ("start", "camera", "answer", "refusal", "problem", "about", "idle")


def write_blank(path: Path) -> Path:
    """A white picture, which is refused."""
    assert cv2.imwrite(str(path), np.full((300, 400, 3), 255, np.uint8))
    return path


class Person:
    """Somebody in front of an open browser."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def visit(self, url: str, screen: str = "start") -> None:
        """Opens the kiosk and waits for a screen."""
        self.browser.get(url)
        self.sees(screen)

    def sees(self, screen: str) -> None:
        """Waits until this screen is shown."""
        self.until(lambda: self.screen() == screen, lambda: f"'{screen}', but sees '{self.screen()}': {self.problem()}")

    def screen(self) -> str | None:
        """The screen that is shown now; None while the page is being loaded."""
        return self.run("return document.body && document.body.dataset.screen || null")

    def problem(self) -> str:
        """What the page says is wrong."""
        return self.run("return document.getElementById('problem')?.innerText ?? ''") or ""

    def taps(self, name: str) -> None:
        """Clicks the part of this id."""
        self.browser.find_element("id", name).click()

    def chooses(self, file: Path, screen: str = "answer") -> None:
        """Chooses a file and waits for what comes of it."""
        before = self.count()
        self.browser.find_element("id", "file").send_keys(str(file))
        self.until(lambda: self.screen() == screen and (screen != "answer" or self.count() > before),
                   lambda: f"'{screen}', but sees '{self.screen()}': {self.problem()}")  # fmt: skip

    def brings_up(self, screen: str, picture: Path, blank: Path) -> None:
        """Goes from the start to one of `SCREENS`."""
        if screen == "camera":
            self.taps("use-camera")
            self.until(lambda: self.browser.find_element("id", "camera-take").is_enabled())
        elif screen == "answer":
            self.chooses(picture)
        elif screen == "refusal":
            self.chooses(blank)
        elif screen == "problem":
            (blank.parent / "words.txt").write_text("words")
            self.chooses(blank.parent / "words.txt", "problem")
        elif screen == "about":
            self.taps("about-open")
        elif screen == "idle":
            self.chooses(picture)
            self.run("document.getElementById('idle').showModal()")

    def count(self) -> int:
        """How many answers this page has given."""
        return int(self.run("return performance.getEntriesByType('measure').filter(e => /answer/.test(e.name)).length"))

    def reads(self, name: str) -> str:
        """The visible words of the part of this id."""
        return str(self.browser.find_element("id", name).text)

    def run(self, script: str, *arguments: object) -> Any:
        """A script's value in the page; None while the page is being replaced."""
        from selenium.common.exceptions import WebDriverException

        try:
            return self.browser.execute_script(script, *arguments)
        except WebDriverException as error:
            if "javascript error" in str(error):
                raise
            return None

    def until(self, true: Callable[[], object], what: Callable[[], str] = lambda: "it") -> None:
        """Waits for something to become true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if true():
                return
            time.sleep(0.05)
        raise AssertionError(f"waited {PATIENCE:.0f} s for {what()}; log: {self.browser.get_log('browser')[:5]}")

    def complaints(self) -> list[str]:
        """Warnings and errors in the browser's log since it was last asked."""
        return [
            entry["message"] for entry in self.browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")
        ]

    def traces(self) -> list[str]:
        """What is left of a picture or an answer in the page: must be nothing between two people."""
        return list(self.run(_TRACES))

    @contextmanager
    def another_tab(self) -> Iterator[None]:
        """Looks at another tab meanwhile."""
        here = self.browser.current_window_handle
        self.browser.switch_to.new_window("tab")
        try:
            yield
        finally:
            self.browser.close()
            self.browser.switch_to.window(here)


_TRACES = """
  const found = [];
  const canvas = document.getElementById("picture");
  if (canvas.width * canvas.height) found.push("canvas");
  for (const id of ["headline", "probability", "threshold", "advice", "next", "rates", "identity", "meaning"]) {
    if (document.getElementById(id).textContent) found.push(id);
  }
  if (document.getElementById("file").value) found.push("file");
  if (document.getElementById("video").srcObject) found.push("video");
  if (document.querySelector("img, [src^='blob:'], [href^='blob:']")) found.push("blob");
  for (const id of ["picture", "scale"]) if (document.getElementById(id).ariaLabel) found.push(id + " label");
  return found;
"""
