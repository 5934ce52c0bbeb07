"""How long the kiosk takes in this machine's Chromium, and how large it is: `python -m tests.ports.kiosk.measure`."""

from __future__ import annotations

import argparse
import gzip
import statistics
import subprocess
import tempfile
from pathlib import Path

from edge_infer.bundle.store import load_bundle
from edge_infer.kiosk.site import Settings, make_site
from tests.conftest import REPOSITORY
from tests.ports.kiosk.conftest import KIOSK, served, start_browser
from tests.ports.kiosk.person import Person

PICTURES = ("melanoma-ISIC_0014982.jpg", "nevus-ISIC_0000388.jpg", "nevus-ISIC_0000057.jpg", "nevus-like.jpg")


def main() -> None:
    """Prints sizes and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default=str(REPOSITORY / "exported/mobile"), help="bundle to measure with")
    parser.add_argument("--rounds", type=int, default=5, help="times that each of the four pictures is chosen")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app"
        subprocess.run(["node", "build.mjs", str(app)], cwd=KIOSK, check=True, capture_output=True)
        site = make_site(app, load_bundle(chosen.bundle), Settings(language="en"))
    small = sum(len(gzip.compress(data)) for data in site.files.values())
    print(f"size         {site.size / 1e6:.1f} MB in {len(site.files)} files, {small / 1e6:.1f} MB with gzip")
    with served(site) as server:
        for isolated in (True, False):
            with start_browser() as browser:
                if not isolated:
                    # As on a server that sends no headers, where the service worker is not at work either.
                    script = "Object.defineProperty(window, 'crossOriginIsolated', { value: false })"
                    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
                _measure(Person(browser), server.url, chosen.rounds)


def _measure(person: Person, url: str, rounds: int) -> None:
    person.visit(url)
    person.visit(url)
    for file in PICTURES * rounds:
        person.chooses(REPOSITORY / "examples" / file)
    person.taps("about-open")
    threads = person.reads("facts").split("Threads\n")[1].split("\n")[0]
    steady = _times(person, "edge-infer:answer")
    (load,), (first,) = _times(person, "edge-infer:load"), _times(person, "edge-infer:first-answer")
    print(
        f"{threads} thread(s)  networks loaded and run once {load:.0f} ms; first answer {first:.0f} ms; "
        f"then median {statistics.median(steady):.0f} ms, worst {max(steady):.0f} ms of {len(steady)} pictures"
    )


def _times(person: Person, name: str) -> list[float]:
    return list(person.run(f"return performance.getEntriesByName('{name}').map((entry) => entry.duration)"))


if __name__ == "__main__":
    main()
