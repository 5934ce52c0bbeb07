"""The kiosk as a person meets it: built here, served from this machine, opened in a real Chromium."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from edge_infer.bundle.store import load_bundle
from edge_infer.kiosk.server import KioskServer
from edge_infer.kiosk.site import RELEASE, Settings, Site, make_site
from tests.conftest import REPOSITORY
from tests.ports.conftest import unproven
from tests.ports.kiosk.person import Person

KIOSK = REPOSITORY / "ports/kiosk"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing(what: str) -> NoReturn:
    """Skips, or fails where the ports must be tested."""
    unproven("kiosk", f"no kiosk test: {what}")


@pytest.fixture(scope="session")
def kiosk_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built application, fresh from its sources."""
    node = shutil.which("node")
    if node is None:
        missing("node is not installed")
    if not (KIOSK / "node_modules/esbuild").is_dir():
        missing("its packages are not installed (npm --prefix ports/kiosk ci)")
    folder = tmp_path_factory.mktemp("kiosk") / "app"
    subprocess.run([node, "build.mjs", str(folder)], cwd=KIOSK, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def mobile_site(kiosk_app: Path) -> Site:
    """The kiosk with the bundle that ships."""
    return make_site(kiosk_app, load_bundle(REPOSITORY / "exported/mobile"), Settings(language="en"))


@pytest.fixture(scope="session")
def toy_site(kiosk_app: Path, toy_bundle: Path) -> Site:
    """The kiosk with the toy bundle: its networks are a few hand-written nodes."""
    return make_site(kiosk_app, load_bundle(toy_bundle), Settings(language="en"))


def changed(site: Site, path: str, data: bytes) -> Site:
    """The same site with another file in a place, named by its hash: what a newer release looks like."""
    files = {**site.files, path: data}
    release = json.loads(files[RELEASE])
    release["files"][path] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if path == "bundle/bundle.json":
        release["bundle"]["sha256"] = hashlib.sha256(data).hexdigest()
    return Site({**files, RELEASE: json.dumps(release).encode()})


def with_settings(site: Site, **settings: object) -> Site:
    """The same site with other settings."""
    release = json.loads(site.files[RELEASE])
    release["settings"] |= settings
    return Site({**site.files, RELEASE: json.dumps(release).encode()})


def damaged(site: Site, path: str) -> Site:
    """The same site with one bit of a file turned, which nobody says."""
    data = bytearray(site.files[path])
    data[len(data) // 2] ^= 1
    return Site({**site.files, path: bytes(data)})


@contextmanager
def served(site: Site, port: int = 0) -> Iterator[KioskServer]:
    """A kiosk on a free port, or on a given one."""
    server = KioskServer(site, port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def open_browser() -> Callable[..., Any]:
    """`start_browser`, where there is a browser."""
    if importlib.util.find_spec("selenium") is None:
        missing("selenium is not installed")
    if _program() is None or shutil.which("chromedriver") is None:
        missing("chromium and chromedriver are not installed")
    return start_browser


def _program() -> str | None:
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


@contextmanager
def start_browser(*arguments: str, downloads: Path | None = None) -> Iterator[Any]:
    """A headless Chromium with a profile of its own."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _program() or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--lang=en-GB",
        "--window-size=1280,900",
        *arguments,
    ):
        options.add_argument(argument)
    if downloads:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    session = webdriver.Chrome(options=options, service=service)
    session.set_script_timeout(60)
    try:
        yield session
    finally:
        session.quit()


@pytest.fixture(scope="session")
def fake_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera sees: a photographed nevus, wide as cameras are, with grey at both sides."""
    return write_clip(tmp_path_factory.mktemp("camera") / "nevus.y4m")


def write_clip(file: Path) -> Path:
    """See `fake_clip`."""
    picture = cv2.imread(str(REPOSITORY / "examples/nevus-ISIC_0000388.jpg"))
    assert picture is not None
    frame = np.full((480, 854, 3), 128, np.uint8)
    frame[:, 107:747] = cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC)
    planes = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()
    file.write_bytes(b"YUV4MPEG2 W854 H480 F10:1 Ip A1:1 C420\n" + (b"FRAME\n" + planes) * 5)
    return file


def with_camera(clip: Path) -> tuple[str, ...]:
    """Arguments of a browser whose camera sees a clip, and may."""
    fake = "--use-fake-device-for-media-stream"
    return (fake, f"--use-file-for-fake-video-capture={clip}", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="session")
def person(open_browser: Callable[..., Any], fake_clip: Path, downloads: Path) -> Iterator[Person]:
    """Somebody with a camera, who may use it. Each server is a place of its own, with its own storage."""
    with open_browser(*with_camera(fake_clip), downloads=downloads) as browser:
        yield Person(browser)


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser saves files."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def toy_kiosk(toy_site: Site) -> Iterator[KioskServer]:
    """One kiosk with the toy bundle for all tests that leave it as it is."""
    with served(toy_site) as server:
        yield server


@pytest.fixture
def at_start(person: Person, toy_kiosk: KioskServer) -> Person:
    """Somebody who has just come."""
    person.visit(toy_kiosk.url)
    person.complaints()
    return person
