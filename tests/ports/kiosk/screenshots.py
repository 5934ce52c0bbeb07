"""Every screen of the kiosk, to be looked at: `python -m tests.ports.kiosk.screenshots -o FOLDER`.

One picture for each screen, language, colour scheme and size, and a sheet of all screens for each size and scheme.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_infer.bundle.store import DEFAULT_BUNDLE, load_bundle
from edge_infer.kiosk.site import Settings, make_site
from tests.conftest import REPOSITORY
from tests.ports.kiosk.conftest import KIOSK, served, start_browser, with_camera, write_clip
from tests.ports.kiosk.person import SCREENS, Person, write_blank

LANGUAGES = ("en", "de", "es")
SCHEMES = ("light", "dark")
SIZES = {"stand": (1280, 900, False), "phone": (360, 740, True)}
SUSPICIOUS = "suspicious"
SHOWN = (
    "start",
    "camera",
    "answer",
    SUSPICIOUS,
    *(name for name in SCREENS if name not in ("start", "camera", "answer")),
)
EXAMPLES = REPOSITORY / "examples"
_ABOUT = """
  const about = document.getElementById("about");
  if (!about.open) return;
  about.close();
  document.getElementById("about-open").click();
"""
"""Its facts are written when it is opened; nobody reaches the languages behind it."""


def main() -> None:
    """Writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--bundle", default=str(REPOSITORY / "exported" / DEFAULT_BUNDLE), help="bundle that answers")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["node", "build.mjs", str(folder / "app")], cwd=KIOSK, check=True, capture_output=True)
        site = make_site(folder / "app", load_bundle(chosen.bundle), Settings(language="en"))
        camera = with_camera(write_clip(folder / "nevus.y4m"))
        blank = write_blank(folder / "blank.png")
        with served(site) as server, start_browser(*camera) as browser:
            person = Person(browser)
            for screen in SHOWN:
                person.visit(server.url)
                picture = "melanoma-ISIC_0014982.jpg" if screen == SUSPICIOUS else "nevus-ISIC_0000388.jpg"
                person.brings_up("answer" if screen == SUSPICIOUS else screen, EXAMPLES / picture, blank)
                _photograph(person, screen, chosen.output)
    for size in SIZES:
        for scheme in SCHEMES:
            _sheet(chosen.output, size, scheme)
    print(f"written to {chosen.output}")


def _photograph(person: Person, screen: str, folder: Path) -> None:
    browser = person.browser
    for size, (width, height, mobile) in SIZES.items():
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for scheme in SCHEMES:
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            for language in LANGUAGES:
                person.run("document.querySelector(`#languages [lang=${arguments[0]}]`).click()", language)
                person.run(_ABOUT)
                shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": mobile})
                (folder / f"{size}-{scheme}-{screen}-{language}.png").write_bytes(base64.b64decode(shot["data"]))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _sheet(folder: Path, size: str, scheme: str) -> None:
    """Languages below each other, screens beside each other."""
    rows = [
        [cv2.imread(str(folder / f"{size}-{scheme}-{screen}-{language}.png")) for screen in SHOWN]
        for language in LANGUAGES
    ]
    height = max(picture.shape[0] for row in rows for picture in row if picture is not None)
    padded = [
        np.hstack(
            [
                cv2.copyMakeBorder(
                    picture, 0, height - picture.shape[0] + 8, 0, 8, cv2.BORDER_CONSTANT, value=(90,) * 3
                )
                for picture in row
                if picture is not None
            ]
        )
        for row in rows
    ]
    cv2.imwrite(str(folder / f"sheet-{size}-{scheme}.png"), np.vstack(padded))


if __name__ == "__main__":
    main()
