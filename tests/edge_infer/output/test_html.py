"""The HTML report: self-contained, escaped, complete."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from edge_infer.bundle.store import load_bundle
from edge_infer.cli.app import app
from edge_infer.cli.guard import EXIT_IMAGE, EXIT_USAGE
from edge_infer.diagnosis import Diagnosis
from edge_infer.errors import ImageNotFoundError
from edge_infer.output.html import HtmlReport
from edge_infer.reasons import Reason


class Balance(HTMLParser):
    """Collects tags that are closed wrongly, and everything that would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.loaded += [
            v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:image/jpeg;base64,")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_of_every_kind_of_result(toy_bundle: Path, nevus: NDArray[np.uint8]) -> None:
    bundle = load_bundle(toy_bundle)
    report = HtmlReport(bundle, bundle.manifest.operating_point())
    common = {"threshold": 0.4, "operating_point": "balanced"}
    report.add(
        Diagnosis(
            "ok",
            "a.png",
            melanoma_probability=0.75,
            label="melanoma",
            probabilities={"mel": 0.75, "nv": 0.25},
            **common,
        ),
        nevus,
    )
    report.add(
        Diagnosis("indeterminate", "-", reason=Reason.BLURRED, message="Blurred.", warnings=("R&D",), **common), nevus
    )
    report.add(Diagnosis("error", "<script>\udcff.png", error=ImageNotFoundError("Gone.", "Look.")), None)
    page = report.page()
    assert page.encode("utf-8")
    parser = Balance()
    parser.feed(page)
    assert parser.open == [] and parser.loaded == []
    assert "<script" not in page and "R&amp;D" in page
    assert "3 pictures: 1 suspicious, 0 not suspicious, 1 indeterminate, 1 failed" in page
    assert "Melanoma 75.0 %: suspicious (threshold 40.0 %)" in page and 'style="width:75.0%"' in page
    assert "Indeterminate: picture blurred" in page and "Failed: Gone." in page
    assert "Not a medical device" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_report_of_a_folder(toy_bundle: Path, example_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.html"
    arguments = [str(example_folder), "gone.jpg", "--bundle", str(toy_bundle), "--save-report", str(file)]
    result = CliRunner().invoke(app, ["diagnose", *arguments])
    assert result.exit_code == EXIT_IMAGE
    page = file.read_text(encoding="utf-8")
    pictures = sorted(path.name for path in example_folder.glob("*.jpg"))
    assert [name for name in pictures if f"{example_folder / name}</h2>" in page] == pictures
    thumbnails = re.findall(r"base64,([^\"]+)", page)
    assert len(thumbnails) == len(pictures)
    result = CliRunner().invoke(app, ["diagnose", *arguments[:-1], str(tmp_path)])
    assert result.exit_code == EXIT_USAGE


def test_thumbnail_is_small_and_whole(toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    report = HtmlReport(bundle, bundle.manifest.operating_point())
    report.add(Diagnosis("indeterminate", "a", reason=Reason.UNIFORM), np.full((3000, 1500, 3), 200, np.uint8))
    (encoded,) = re.findall(r"base64,([^\"]+)", report.page())
    thumbnail = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert thumbnail is not None and thumbnail.shape == (400, 200, 3)
