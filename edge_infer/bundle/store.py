"""Bundles on disk: where they are found, and the checks before one is trusted."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_infer.bundle.manifest import MANIFEST, FileEntry, Manifest, StageName
from edge_infer.bundle.parse import parse_manifest
from edge_infer.errors import (
    BundleError,
    BundleFileMissingError,
    BundleNotFoundError,
    BundleSchemaError,
    BundleTamperedError,
    BundleUnsafeError,
)

DEFAULT_BUNDLE = "mobile"
SEARCH_VARIABLE = "EDGE_INFER_BUNDLES"
_LARGEST_MANIFEST = 2**24


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest was read and whose files match their hashes.

    `sha256` is the hash of `bundle.json`; as that lists every file's hash, it identifies the whole bundle. `raw` are
    the bytes of `bundle.json` that were read.
    """

    path: Path
    manifest: Manifest
    sha256: str
    raw: bytes = field(default=b"", repr=False, compare=False)

    @property
    def identity(self) -> tuple[str, str, str]:
        """Name, version and hash, as a diagnosis states them."""
        return self.manifest.name, self.manifest.version, self.sha256

    def file(self, stage: StageName, format: str) -> Path:
        """Path of a stage's file in a format such as `onnx`.

        Raises:
            BundleError: the bundle has no such file.
        """
        files = (self.manifest.segmenter if stage == "segmenter" else self.manifest.classifier).files
        if format not in files:
            raise BundleError(
                f"Bundle '{self.manifest.name}' has no {format} file for its {stage}.",
                f"It has: {', '.join(sorted(files))}.",
            )
        return self.path / files[format]

    def variant_file(self, stage: StageName, name: str | None = None) -> Path:
        """Path of a stage's variant: an `.onnx` file or an `.mlpackage` folder; see `Manifest.variant`.

        Raises:
            BundleError: the bundle has no such variant of this stage.
        """
        return self.path / self.manifest.variant(stage, name).file


def load_bundle(
    bundle: str | os.PathLike[str] | None = None, *, require_signature: str | os.PathLike[str] | None = None
) -> Bundle:
    """Finds a bundle and checks every file against the manifest before anything is used.

    Args:
        bundle: a folder's path, a bundle's name, or None for the default one. A name is looked up in the folders
            listed in the environment variable EDGE_INFER_BUNDLES, then among the bundles shipped with the package.
        require_signature: path of a public key whose owner must have signed it; see `edge_infer.bundle.signature`.

    Raises:
        BundleNotFoundError: nothing there.
        BundleSignatureError: it is not signed, or not with this key.
        BundleSchemaError: the manifest cannot be read.
        BundleUnsafeError: a file is a link out of the folder, or no regular file.
        BundleFileMissingError: a listed file is absent.
        BundleTamperedError: a file's hash differs.
    """
    folder = find_bundle(bundle)
    loaded = read_manifest(folder, require_signature)
    for name, entry in loaded.manifest.files.items():
        verify_file(folder, name, entry)
    return loaded


def read_manifest(folder: Path, require_signature: str | os.PathLike[str] | None = None) -> Bundle:
    """Reads a bundle's manifest without checking its files (for listings). Errors as for `load_bundle`."""
    path = folder / MANIFEST
    try:
        raw = _read_regular(path, _LARGEST_MANIFEST)
    except OSError as error:
        raise BundleNotFoundError(
            f"Cannot read '{path}': {error.strerror or error}.", "Check its permissions."
        ) from error
    if require_signature is not None:
        from edge_infer.bundle import signature

        signature.require_signature(folder, raw, require_signature)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleSchemaError(f"'{path}' is not UTF-8 text.", "Restore the bundle from its source.") from error
    return Bundle(folder, parse_manifest(text), hashlib.sha256(raw).hexdigest(), raw)


def verify_file(folder: Path, name: str, entry: FileEntry) -> None:
    """Checks one file of a bundle against its manifest entry. Raises as `read_file` does."""
    read_file(folder, name, entry)


def read_file(folder: Path, name: str, entry: FileEntry) -> bytes:
    """Reads one file of a bundle, once, and checks these bytes: what was hashed is what is used.

    Raises:
        BundleFileMissingError: it cannot be read.
        BundleTamperedError: size or hash differ from the manifest.
        BundleUnsafeError: it is a link out of the bundle's folder, or no regular file.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise BundleUnsafeError(
                f"'{path}' is a link out of its bundle, to '{real}'.", "Copy the file itself there."
            )
        data = _read_regular(real, entry.bytes)
    except (OSError, RuntimeError) as error:
        raise BundleFileMissingError(
            f"'{path}' is listed in {MANIFEST} and cannot be read: {getattr(error, 'strerror', None) or error}.",
            "Copy the whole bundle again.",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256 or len(data) != entry.bytes:
        raise BundleTamperedError(
            f"'{path}' has SHA-256 {digest[:12]}… in {len(data)} bytes, the manifest says {entry.sha256[:12]}… in "
            f"{entry.bytes}.",
            "The file was changed or damaged; restore the bundle from its source.",
        )
    return data


def _read_regular(path: Path, expected: int) -> bytes:
    """At most one byte more than expected, so that a file without an end is not read to its end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleUnsafeError(f"'{path}' is no regular file.", "Copy the whole bundle again.")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(min(expected, os.fstat(descriptor).st_size) + 1)
    finally:
        os.close(descriptor)


def search_path() -> list[Path]:
    """Folders in which names are looked up, in order: EDGE_INFER_BUNDLES, the package, the source checkout."""
    listed = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    package = Path(__file__).parents[1]
    return [*listed, package / "bundles", package.parent / "exported"]


def available_bundles() -> Iterator[Path]:
    """Folders with a manifest on the search path; a name found twice counts where it is found first."""
    seen: set[str] = set()
    for root in search_path():
        for manifest in sorted(root.glob(f"*/{MANIFEST}")):
            folder = manifest.parent
            if folder.name not in seen:
                seen.add(folder.name)
                yield folder


def find_bundle(bundle: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a bundle; see `load_bundle`.

    Raises:
        BundleNotFoundError: nothing there.

    Examples:
        >>> find_bundle().name
        'mobile'
        >>> find_bundle("exported/mobile").as_posix()
        'exported/mobile'
    """
    wanted = DEFAULT_BUNDLE if bundle is None else os.fspath(bundle)
    is_name = PurePosixPath(wanted).name == wanted and os.sep not in wanted and wanted not in {".", ".."}
    if is_name:
        for folder in available_bundles():
            if folder.name == wanted:
                return folder
    path = Path(wanted)
    if bundle is not None and (path / MANIFEST).is_file():
        return path
    known = ", ".join(folder.name for folder in available_bundles())
    names = f", or one of these names: {known}" if known else " (no bundle is installed by name)"
    raise BundleNotFoundError(
        f"There is no bundle '{wanted}'.",
        f"Give the path of a folder with a {MANIFEST}{names}. Folders listed in {SEARCH_VARIABLE} are searched too.",
    )
