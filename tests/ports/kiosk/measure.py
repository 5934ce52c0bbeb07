"""How long the kiosk takes in this machine's Chromium, and how large it is: `python -m tests.ports.kiosk.measure`."""

from __future__ import annotations

import argparse
import datetime
import gzip
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge_infer.benchmark.hardware import conditions, describe_machine
from edge_infer.bundle.store import DEFAULT_BUNDLE, load_bundle
from edge_infer.kiosk.site import Settings, make_site
from tests.conftest import REPOSITORY
from tests.ports.kiosk.conftest import KIOSK, served, start_browser
from tests.ports.kiosk.person import Person

PICTURES = ("melanoma-ISIC_0014982.jpg", "nevus-ISIC_0000388.jpg", "nevus-ISIC_0000057.jpg", "nevus-like.jpg")


@dataclass(frozen=True)
class Times:
    """Milliseconds with so many threads: loading, the first answer after it, the answers after that."""

    threads: str
    load: float
    first: float
    steady: list[float]

    def row(self) -> str:
        """Its line in the table."""
        return (
            f"| {self.threads} | {self.load:.0f} | {self.first:.0f} | {statistics.median(self.steady):.0f} "
            f"| {max(self.steady):.0f} | {len(self.steady)} |"
        )


HEAD = (
    "| threads | networks loaded and run once, ms | first answer, ms | then the median, ms | worst, ms | pictures |\n"
    "| ---: | ---: | ---: | ---: | ---: | ---: |"
)


def main() -> None:
    """Prints sizes and times, and writes them where it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--bundle", default=str(REPOSITORY / "exported" / DEFAULT_BUNDLE), help="bundle to measure with"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that each of the four pictures is chosen")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file to write")
    chosen = parser.parse_args()
    bundle = load_bundle(chosen.bundle)
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app"
        subprocess.run(["node", "build.mjs", str(app)], cwd=KIOSK, check=True, capture_output=True)
        site = make_site(app, bundle, Settings(language="en"))
    small = sum(len(gzip.compress(data)) for data in site.files.values())
    size = f"{site.size / 1e6:.1f} MB in {len(site.files)} files, {small / 1e6:.1f} MB with gzip"
    rows: list[str] = []
    before = conditions()
    with served(site) as server:
        for isolated in (True, False):
            with start_browser() as browser:
                program = f"{browser.capabilities['browserName']} {browser.capabilities['browserVersion']}"
                if not isolated:
                    # As on a server that sends no headers, where the service worker is not at work either.
                    script = "Object.defineProperty(window, 'crossOriginIsolated', { value: false })"
                    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
                rows.append(_measure(Person(browser), server.url, chosen.rounds).row())
    day = datetime.datetime.now(datetime.UTC).date()
    machine = describe_machine(before, conditions())
    where = (
        f"{program}, headless, on {machine.processor}, {machine.logical_processors} processors; load before it "
        f"{before.load_average:.1f}"
    )
    lines = (
        "# The kiosk in Chromium",
        f"Written by `python -m tests.ports.kiosk.measure`: the application with bundle `{bundle.manifest.name}` "
        f"{bundle.sha256[:12]} is {size}. {where}. Pictures are chosen one after the other; an answer counts from the "
        f"file to the screen. Run on {day}.",
        "\n".join([HEAD, *rows]),
    )
    page = "\n\n".join(lines) + "\n"
    print(page)
    if chosen.output:
        chosen.output.write_text(page, encoding="utf-8")


def _measure(person: Person, url: str, rounds: int) -> Times:
    person.visit(url)
    person.visit(url)
    for file in PICTURES * rounds:
        person.chooses(REPOSITORY / "examples" / file)
    person.taps("about-open")
    threads = person.reads("facts").split("Threads\n")[1].split("\n")[0]
    (load,), (first,) = _times(person, "edge-infer:load"), _times(person, "edge-infer:first-answer")
    return Times(threads, load, first, _times(person, "edge-infer:answer"))


def _times(person: Person, name: str) -> list[float]:
    return list(person.run(f"return performance.getEntriesByName('{name}').map((entry) => entry.duration)"))


if __name__ == "__main__":
    main()
