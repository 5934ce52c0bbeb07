"""Everything that the kiosk serves, read once and named by one hash, so that no two versions of it can mix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from edge_infer import __version__
from edge_infer.bundle.manifest import MANIFEST
from edge_infer.bundle.store import Bundle
from edge_infer.files import OutputError, make_writable_folder, write_atomically
from edge_infer.steps.prevalence import known_ratio

RELEASE = "release.json"
"""Names every file of the site with its hash. Its own hash is the site's identity."""

HEADERS = "headers.json"
"""Headers for every answer, by name; the application's build puts it there."""

BUNDLE_FOLDER = "bundle"
WORKER = "sw.js"
"""The service worker. The browser keeps it apart from the files that it looks after."""

IDLE_SECONDS = 90
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What whoever sets a kiosk up decides, and whoever stands before it cannot change.

    Attributes:
        operating_point: name of one of the bundle's operating points; None for its default one.
        idle_seconds: seconds without a touch or a key, after which the last person's picture is cleared.
        save: whether a report may be saved as a file; on a shared device the next person could open it.
        language: code of the language that the kiosk starts with; None for the browser's.
        prevalence: share of melanoma among the people who come; None for the one that the bundle assumes.
    """

    operating_point: str | None = None
    idle_seconds: int = IDLE_SECONDS
    save: bool = True
    language: str | None = None
    prevalence: float | None = None


@dataclass(frozen=True)
class Site:
    """The files of a kiosk by their path below `/`, with `release.json` among them."""

    files: Mapping[str, bytes]

    @property
    def release(self) -> str:
        """SHA-256 of `release.json`, which has the hashes of all other files."""
        return _sha256(self.files[RELEASE])

    @property
    def headers(self) -> Mapping[str, str]:
        """What the application wants said with every answer: nothing from elsewhere, no inline script, isolation."""
        return MappingProxyType(json.loads(self.files[HEADERS]))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def make_site(app: Path, bundle: Bundle, settings: Settings) -> Site:
    """Reads the application and what it needs of a bundle.

    Args:
        app: folder of the built application; see `find_app`.
        bundle: a bundle whose files were checked; its float32 ONNX files are taken.
        settings: checked against the bundle.

    Raises:
        BundleError: the bundle has no such operating point, or no prior to correct.
        PrevalenceError: the prevalence is not between 0 and 1.
    """
    manifest = bundle.manifest
    if settings.operating_point is not None:
        manifest.operating_point(settings.operating_point)
    known_ratio(manifest.calibration, settings.prevalence)
    files = {path.relative_to(app).as_posix(): path.read_bytes() for path in sorted(app.rglob("*")) if path.is_file()}
    for name in (MANIFEST, manifest.segmenter.files["onnx"], manifest.classifier.files["onnx"]):
        files[f"{BUNDLE_FOLDER}/{name}"] = (bundle.path / name).read_bytes()
    release = {
        "schema_version": SCHEMA_VERSION,
        "edge_infer": __version__,
        "bundle": {"name": manifest.name, "version": manifest.version, "sha256": bundle.sha256},
        "settings": asdict(settings),
        "files": {
            path: {"sha256": _sha256(data), "bytes": len(data)} for path, data in files.items() if path != WORKER
        },
    }
    files[RELEASE] = json.dumps(release, indent=1).encode("utf-8")
    return Site(MappingProxyType(files))


def save_site(site: Site, folder: Path) -> None:
    """Writes every file into a folder that is not there yet, or is empty, for another web server.

    That server should send what `headers.json` says with every file. Where it cannot, the service worker does so from
    the second visit on.

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    make_writable_folder(folder)
    if any(folder.iterdir()):
        raise OutputError(
            f"The folder '{folder}' is not empty.", "Name a new one: a kiosk must not mix with other files."
        )
    for path, data in site.files.items():
        write_atomically(folder / path, data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
