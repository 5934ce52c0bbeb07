"""What is written: no formulas, no markup, no links followed, private, and nothing of the input's metadata."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from edge_infer import Diagnoser
from edge_infer.bundle.store import load_bundle
from edge_infer.diagnosis import Diagnosis
from edge_infer.errors import ImageDecodeError
from edge_infer.files import OutputError, write_atomically, write_below
from edge_infer.output.html import HtmlReport
from edge_infer.output.table import csv_header, to_csv
from tests.conftest import REPOSITORY

SECRET = "GPS-OF-JANE-DOE"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_infer.cli", *map(str, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


@given(source=st.text(min_size=1, max_size=20), lead=st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "", "x"]))
@settings(max_examples=150, deadline=None)
def test_no_cell_of_a_csv_is_a_formula(source: str, lead: str, toy_bundle: Path) -> None:
    manifest = load_bundle(toy_bundle).manifest
    name = lead + source.replace("\ud800", "")
    error = ImageDecodeError(f"'{name}' is damaged.", "Export it again.")
    text = csv_header(manifest) + to_csv(Diagnosis.failed(name, error, "=bundle", "1.0.0", "abc"), {}, manifest)
    header, row = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert len(header) == len(row) and "bundle_sha256" in header
    for cell in row:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert row[0] in (name, f"'{name}")


def test_numbers_of_a_csv_stay_numbers(toy_bundle: Path, nevus_file: Path) -> None:
    with Diagnoser.load(toy_bundle) as diagnoser:
        line = to_csv(diagnoser.diagnose(nevus_file), {}, diagnoser.manifest)
    cells = next(csv.reader(io.StringIO(line)))
    assert any(re.fullmatch(r"0\.\d+", cell) for cell in cells)


class Elements(HTMLParser):
    """Names and attributes of every element of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


HARMLESS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "p",
    "b",
    "article",
    "div",
    "figure",
    "img",
    "i",
}


@given(
    text=st.text(max_size=60) | st.sampled_from(["</style><script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
)
@settings(max_examples=150, deadline=None)
def test_a_page_has_only_its_own_elements_whatever_names_say(text: str, toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    report = HtmlReport(bundle, bundle.manifest.operating_point())
    report.add(Diagnosis.failed(text, ImageDecodeError(text, text), text, "1.0.0", "abc"), None)
    page = report.page()
    page.encode("utf-8")
    for tag, attributes in Elements(page).found:
        assert tag in HARMLESS
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
    policy = next(a["content"] for t, a in Elements(page).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'") and "script" not in policy


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links and modes")
def test_results_are_private_and_never_follow_links(tmp_path: Path, toy_bundle: Path, nevus_file: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("precious")
    (out / "nevus.png").symlink_to(victim)
    report = tmp_path / "report.html"
    report.symlink_to(victim)
    done = run("diagnose", nevus_file, "--bundle", toy_bundle, "--save-mask", out, "--save-report", report)
    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    for file in (out / "nevus.png", report):
        assert not file.is_symlink() and file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in out.iterdir()) == ["nevus.png"]


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_nothing_is_written_outside_the_chosen_folder(tmp_path: Path, toy_bundle: Path, nevus_file: Path) -> None:
    pictures, out, outside = tmp_path / "pictures", tmp_path / "out", tmp_path / "outside"
    for folder in (pictures / "sub", out, outside):
        folder.mkdir(parents=True)
    shutil.copy(nevus_file, pictures / "sub" / "a.png")
    (out / "sub").symlink_to(outside)
    done = run("diagnose", pictures, "--bundle", toy_bundle, "--save-mask", out)
    assert done.returncode == 2 and "leads out of" in done.stderr
    assert list(outside.iterdir()) == []
    with pytest.raises(OutputError, match="leads out"):
        write_below(out, "../x.png", b"x")
    assert not (tmp_path / "x.png").exists()


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(target, b"new", durable=True)
    assert target.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["a"]


def marked(nevus_file: Path, folder: Path) -> list[Path]:
    """The same picture with a secret in every place that formats have for words."""
    image = Image.open(nevus_file)
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x9C9B] = SECRET
    exif.get_ifd(0x8825)[29] = SECRET
    info = PngImagePlugin.PngInfo()
    info.add_text("Patient", SECRET)
    info.add_itxt("XML:com.adobe.xmp", SECRET)
    files = [folder / name for name in ("a.jpg", "b.png", "c.webp", "d.tif")]
    image.save(
        files[0], exif=exif, comment=SECRET.encode(), icc_profile=SECRET.encode(), xmp=SECRET.encode(), quality=97
    )
    image.save(files[1], exif=exif, pnginfo=info, icc_profile=SECRET.encode())
    image.save(files[2], exif=exif, xmp=SECRET.encode(), icc_profile=SECRET.encode(), lossless=True)
    image.save(files[3], exif=exif, icc_profile=SECRET.encode())
    for file in files:
        assert SECRET.encode() in file.read_bytes()
    return files


@pytest.mark.parametrize("format", ["card", "json", "ndjson", "csv"])
def test_metadata_never_reaches_an_output_and_no_picture_stays_in_temporary_files(
    format: str, tmp_path: Path, toy_bundle: Path, nevus_file: Path
) -> None:
    pictures, out, temporary = tmp_path / "in", tmp_path / "out", tmp_path / "tmp"
    for folder in (pictures, out, temporary):
        folder.mkdir()
    files = marked(nevus_file, pictures)
    saving = [part for kind in ("overlay", "mask", "roi") for part in (f"--save-{kind}", out / kind)]
    done = run(
        "diagnose", *files, "--bundle", toy_bundle, "--format", format, *saving, "--save-report", out / "r.html",
        TMPDIR=str(temporary),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == 13
    for path in written:
        data = path.read_bytes()
        assert SECRET.encode() not in data and SECRET.encode("utf-16-le") not in data
        assert b"Exif" not in data and b"iCCP" not in data and b"tEXt" not in data
    assert list(temporary.iterdir()) == []
    if format == "ndjson":
        assert all(json.loads(line)["status"] == "ok" for line in done.stdout.splitlines())
