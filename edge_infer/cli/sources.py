"""What the command line was given - files, folders, patterns, standard input - as a list of pictures."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from edge_infer.cli.terminal import note, read_stdin
from edge_infer.dicom.intake import as_picture, dicom_picture
from edge_infer.dicom.recognise import SUFFIXES, belongs_to_search
from edge_infer.errors import ImageAccessError, ImageError, ImageNotFoundError
from edge_infer.files import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from edge_infer.dicom.reading import DicomPicture

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One picture to diagnose.

    Attributes:
        name: how results refer to it: the path as it was given or found, "-" for standard input.
        path: where it is; None for standard input.
        relative: where its output files go below an output folder; the path below the folder or pattern that was given.
        error: why there is no picture; the command reports it as it reports a damaged file.
    """

    name: str
    path: Path | None
    relative: PurePath
    error: ImageError | None = None


@dataclass(frozen=True)
class Expansion:
    """The pictures, in the order in which they were given, and how many other files the folders held."""

    sources: tuple[Source, ...]
    skipped: int


@dataclass(frozen=True)
class Pictures:
    """What one run diagnoses.

    Attributes:
        sources: in the order in which they were given.
        places: by a source's name, where its files go below a folder of results; see `output_names`.
        stdin: what standard input held, where it is one of the sources.
        frame: which frame of a DICOM file is read, counted from 1; None where each has one only.
    """

    sources: tuple[Source, ...]
    places: dict[str, PurePath]
    stdin: bytes = b""
    frame: int | None = None

    def usable(self) -> Iterator[Source]:
        """The sources that were found."""
        return (source for source in self.sources if source.error is None)

    def read(self, source: Source) -> Path | bytes | DicomPicture:
        """What a `Diagnoser` takes: the path, the bytes of standard input, or a frame of a DICOM file."""
        return as_picture(self._file(source), self.frame)

    def dicom(self, source: Source) -> DicomPicture | None:
        """The source's frame where it is a DICOM file."""
        return dicom_picture(self._file(source), self.frame)

    def _file(self, source: Source) -> Path | bytes:
        return self.stdin if source.path is None else source.path


def gather(inputs: Sequence[str], outputs: Collection[Path] = (), frame: int | None = None) -> Pictures:
    """The pictures of `expand` with their places; reads standard input where it is one, and notes what was left out."""
    expansion = expand(inputs, outputs)
    if expansion.skipped:
        note(f"files without a picture's suffix were left out: {expansion.skipped}")
    stdin = read_stdin() if any(source.path is None for source in expansion.sources) else b""
    return Pictures(expansion.sources, output_names(expansion.sources), stdin, frame)


def expand(inputs: Sequence[str], outputs: Collection[Path] = ()) -> Expansion:
    """Expands files, folders, patterns and "-" into pictures.

    Folders are searched with their subfolders, in alphabetical order; hidden files and folders are left out, and so are
    files that are neither named like a picture nor DICOM (`edge_infer.dicom.recognise.belongs_to_search`). Patterns
    (`*`, `?`, `[...]`, `**`) are expanded where no file has that very name. A picture that is found twice counts once.
    What cannot be found or read becomes a source with an error, so that it shows up in the results.

    Args:
        inputs: as the user wrote them.
        outputs: folders for results; they are not searched where they lie in a folder that is, so that the results of
            one run are not the pictures of the next.
    """
    left_out = frozenset(folder.resolve() for folder in outputs)
    found: dict[str, Source] = {}
    skipped = 0
    for given in inputs:
        for source in _expand_one(given, left_out):
            if source is None:
                skipped += 1
            else:
                key = STDIN if source.path is None else os.path.abspath(source.path)  # noqa: PTH100 - keeps symlinks
                found.setdefault(key, source)
    return Expansion(tuple(found.values()), skipped)


def _expand_one(given: str, left_out: frozenset[Path]) -> Iterator[Source | None]:
    if given == STDIN:
        yield Source(STDIN, None, PurePath("stdin"))
    elif os.path.isdir(given):  # noqa: PTH112 - unlike Path.is_dir, takes any string
        yield from _folder(Path(given), Path(given), left_out)
    elif os.path.lexists(given) or not glob.has_magic(given):
        path = Path(given)
        yield Source(given, path, PurePath(path.name))
    else:
        base = Path(*_before_pattern(Path(given)))
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        below = {folder for folder in left_out if base.resolve() in folder.parents}
        found = False
        for match in matches:
            path = Path(match)
            if path.is_dir():
                if "**" not in given:  # `**` has already looked inside
                    found = True
                    yield from _folder(path, base, left_out)
            elif not below.isdisjoint(path.resolve().parents):
                yield None
            elif not Path(given).suffix and not _is_picture(path):
                yield None  # `*` asks for pictures among other files, `*.dcm` asks for just these
            else:
                found = True
                yield Source(match, path, _below(base, path))
        if not found:
            error = ImageNotFoundError(f"No picture matches '{given}'.", "Check the pattern.")
            yield Source(given, Path(given), PurePath("none"), error)


def _before_pattern(pattern: Path) -> Iterator[str]:
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _below(base: Path, path: Path) -> PurePath:
    return PurePath(*(part for part in path.relative_to(base).parts if part != ".."))


def _folder(folder: Path, base: Path, left_out: frozenset[Path]) -> Iterator[Source | None]:
    empty = True
    for path, error in _walk(folder, left_out):
        if error is not None:
            empty = False
            problem = ImageAccessError(
                f"The folder '{path}' cannot be read: {error.strerror}.", "Check its permissions."
            )
            yield Source(str(path), path, _below(base, path), problem)
        elif _is_picture(path):
            empty = False
            yield Source(str(path), path, _below(base, path))
        else:
            yield None
    if empty:
        error_here = ImageNotFoundError(
            f"The folder '{folder}' holds no pictures.",
            f"Known suffixes: {', '.join(sorted(PICTURE_SUFFIXES | SUFFIXES))}.",
        )
        yield Source(str(folder), folder, _below(base, folder), error_here)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES or belongs_to_search(path)


def _walk(folder: Path, left_out: frozenset[Path]) -> Iterator[tuple[Path, OSError | None]]:
    """Files below a folder in alphabetical order, and folders that cannot be listed with the reason."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, error
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if (folder / entry.name).resolve() not in left_out:
                yield from _walk(folder / entry.name, left_out)
        else:
            yield folder / entry.name, None


def output_names(sources: Iterable[Source]) -> dict[str, PurePath]:
    """A path below the output folders for every source by its name, without suffix; no two of them are the same.

    The picture's own suffix is dropped, unless it is a number: DICOM files are often named by their UIDs.
    Where two pictures would then share a name (`a.jpg` and `a.png`, or `a.jpg` of
    two folders), the later ones get `-2`, `-3` and so on, also where they differ only in upper and lower case.
    """
    taken: set[str] = set()
    names: dict[str, PurePath] = {}
    for source in sources:
        suffix = source.relative.suffix
        stem = source.relative.with_suffix("") if suffix and not suffix[1:].isdigit() else source.relative
        candidate, number = stem, 1
        while str(candidate).casefold() in taken:
            number += 1
            candidate = stem.with_name(f"{stem.name}-{number}")
        taken.add(str(candidate).casefold())
        names[source.name] = candidate
    return names
