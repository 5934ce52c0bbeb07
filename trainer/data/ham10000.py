"""Reads HAM10000 (Tschandl, Rosendahl, Kittler 2018, doi:10.1038/sdata.2018.161) with Tschandl's lesion masks.

Any other folder of the same kind is read alike: `metadata.csv`, `images/` and, for pictures that have them, `masks/`.
Its metadata may name each picture's `source`, say in a column `mask` which pictures have one, and leave `dx` empty.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError

DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""The seven diagnoses, in the order of the classifier's outputs."""

MELANOMA = "mel"

PUBLISHED = "HAM10000 with its masks and metadata is published at https://doi.org/10.7910/DVN/DBW86T (CC BY-NC 4.0)."

SOURCE = "ham10000"
"""Source of pictures whose metadata has no column of that name."""
SEXES = ("male", "female", "unknown", "")
NOT_STATED = ""
"""`dx` of a picture that is known to be benign and no more."""
UNKNOWN_LABEL = -1
"""`Record.label` where the exact diagnosis is not stated: not melanoma, and none of the others in particular."""

_COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex", "localization")
_NAMES = ("image_id", "lesion_id", "source")
_PICTURES = (".jpg", ".png", ".webp")

Complain = Callable[[DataError], None]
"""Takes a problem in place of raising it; what can be read is read on."""


def refuse(error: DataError) -> None:
    """The `Complain` of whoever has none: raises the problem."""
    raise error


@dataclass(frozen=True)
class Record:
    """One picture with its label and metadata.

    Attributes:
        image_id: for example `ISIC_0027419`.
        lesion_id: pictures of one lesion share it.
        dx: one of `DX`; readers of other sets also give `scc`, and "" where the set has no diagnosis, or says "benign"
            and no more.
        split: the split that the data set itself prescribes, or "" where it has none.
        age: in years, None where unknown.
        sex: `male`, `female`, or "" where unknown.
        localization: body site, "" where unknown.
        dx_type: how the diagnosis was made: `histo`, `follow_up`, `consensus`, `confocal`.
        image_path: the RGB picture.
        mask_path: the lesion mask, 0 background and 255 lesion, same framing as the picture and maybe another size;
            None where the picture has none.
        source: where the picture was taken or published: one name for what one clinic's cameras and habits share.
        listed_at: the file that lists it, and its row there, "" where it was not read from one; two records that differ
            in nothing else are equal.
    """

    image_id: str
    lesion_id: str
    dx: str
    split: str
    age: float | None
    sex: str
    localization: str
    dx_type: str
    image_path: Path
    mask_path: Path | None
    source: str = SOURCE
    listed_at: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        """Where errors say that it stands: `listed_at`, or its id."""
        return self.listed_at or self.image_id

    @property
    def label(self) -> int:
        """Position of `dx` in `DX`, or `UNKNOWN_LABEL`; DataError where the diagnosis is none of the seven."""
        if self.dx == NOT_STATED:
            return UNKNOWN_LABEL
        if self.dx not in DX:
            raise DataError(f"{self.image_id} has the diagnosis '{self.dx}', none of the seven.", "Leave it out.")
        return DX.index(self.dx)


def read_ham10000(folder: str | Path, *, strict: bool = True, complain: Complain | None = None) -> list[Record]:
    """Reads the records of a HAM10000 folder, or of another of its kind, in the order of its metadata file.

    The folder holds `metadata.csv` (or `HAM10000_metadata.csv`, or `HAM10000_metadata` as published), the pictures in
    `images/` (or the published `HAM10000_images_part_1/` and `_part_2/`), and the masks in `masks/` (or
    `HAM10000_segmentations_lesion_tschandl/`).

    Args:
        folder: the data set.
        strict: a missing picture or mask is an error; False keeps the record, whose path then names no file.
        complain: called with each missing folder or column and with every problem of every row; what is wrong is then
            left empty, and a row that names no picture, or one that another row has named, is left out. None: the first
            problem is raised.

    Raises:
        DataError: the metadata file is missing (the message says where the data set is published), no table, or lists
            no picture; without `complain` also: a file or column is missing, a row has too few or too many cells, a
            diagnosis is unknown, an age is no number, or an image id occurs twice.
    """
    report = complain or refuse
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no data folder {root}.", PUBLISHED)
    metadata = _first(root, ("metadata.csv", "HAM10000_metadata.csv", "HAM10000_metadata"), "metadata file")
    images = _index(root, ("images", "HAM10000_images_part_1", "HAM10000_images_part_2"), _PICTURES, "pictures", report)
    try:
        rows = _rows(metadata, report)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{metadata} is no table: {error}.", "Write it as CSV, in UTF-8.") from error
    masks: dict[str, Path] = {}
    if any(_has_mask(row) for row in rows.values()):
        masks = _index(root, ("masks", "HAM10000_segmentations_lesion_tschandl"), (".png",), "masks", report)
    records: dict[str, Record] = {}
    for where, row in rows.items():
        record = _record(row, images, masks, where, metadata.parent, strict, report)
        if not record.image_id:
            continue
        first = records.setdefault(record.image_id, record)
        if first is not record:
            report(
                DataError(
                    f"{where}: lists {record.image_id} twice, first at {first.listed_at}.",
                    "Remove one of the two rows.",
                )
            )
    if not records:
        raise DataError(f"{metadata} lists no picture.", PUBLISHED)
    return list(records.values())


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decodes a picture to RGB uint8, shape (h, w, 3).

    Raises:
        DataError: the file is missing or is no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(f"{path} is missing or no readable picture.", "Fetch or restore it.")
    decoded: NDArray[np.uint8] = image
    return decoded


def read_mask(path: Path | None) -> NDArray[np.uint8]:
    """Decodes a lesion mask to uint8 0/1, shape (h, w).

    Raises:
        DataError: the picture has no mask, or the file is missing or is no picture.
    """
    if path is None:
        raise DataError("A mask is asked for of a picture that has none.", "Choose pictures with masks.")
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError(f"{path} is missing or no readable mask.", "Fetch or restore it.")
    lesion: NDArray[np.uint8] = (mask >= 128).view(np.uint8)
    return lesion


MAX_STRETCH = 0.03
"""How far a mask's ratio of width to height may be from its picture's, as a fraction."""


def check_framing(record: Record, image: NDArray[np.generic], mask: NDArray[np.generic]) -> None:
    """Raises DataError where a mask has another aspect ratio than its picture: it would lie beside the lesion."""
    (height, width), (rows, columns) = image.shape[:2], mask.shape[:2]
    if abs(columns * height / (rows * width) - 1) > MAX_STRETCH:
        raise DataError(
            f"{record.place}: {record.mask_path} is {columns}x{rows}, and the picture of {record.image_id} "
            f"{width}x{height}: another aspect ratio.",
            "Bring the mask to the picture's framing, or write 0 in its column 'mask'.",
        )


def _rows(metadata: Path, report: Complain) -> dict[str, dict[str, str]]:
    """The rows by `FILE, row LINE`, each with all `_COLUMNS`: missing ones and cells are reported, and empty.

    Where a lesion's column or cell is missing, each picture counts as a lesion of its own.
    """
    found: dict[str, dict[str, str]] = {}
    with metadata.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = list(reader.fieldnames or ())
        missing = [column for column in _COLUMNS if column not in columns]
        if missing:
            names = f"{'column' if len(missing) == 1 else 'columns'} {', '.join(missing)}"
            remedy = f"Add {names}.{_published(columns)}"
            if len(columns) == 1 and (other := next((sign for sign in ";\t" if sign in columns[0]), None)):
                remedy = f"Separate cells by commas, not by {'semicolons' if other == ';' else 'tabs'}."
            report(DataError(f"{metadata}, row 1: it has no {names}.", remedy))
        for cells in reader:
            where = f"{metadata}, row {reader.line_num}"
            row = {name: cells.get(name) or "" for name in (*columns, *missing)}
            if None in cells or None in cells.values():
                report(DataError(f"{where}: it does not have {len(columns)} cells.", "Write one for each column."))
            elif empty := [name for name in _NAMES if name in columns and not row[name].strip()]:
                remedy = "Name the picture, its lesion and, where there is such a column, its source."
                report(DataError(f"{where}: {' and '.join(empty)} is empty.", remedy))
            row["lesion_id"] = row["lesion_id"] or row["image_id"]
            found[where] = row
    return found


def _has_mask(row: Mapping[str, str]) -> bool:
    return (row.get("mask") or "1") != "0"


def _published(columns: Iterable[str]) -> str:
    """Where the pictures are published, as a second sentence; "" of a folder that names its sources itself."""
    return "" if "source" in columns else f" {PUBLISHED}"


def _odd_cells(row: Mapping[str, str], where: str) -> Iterator[DataError]:
    """Cells whose words are not known, which would pass as empty."""
    image_id, dx = row["image_id"], row["dx"]
    if dx not in (*DX, NOT_STATED):
        near = difflib.get_close_matches(dx.strip().lower(), DX, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        remedy = f"{hint}Write one of {', '.join(DX)}; empty means benign, not stated."
        yield DataError(f"{where}: {image_id} has the unknown diagnosis '{dx}'.", remedy)
    if row["sex"] not in SEXES:
        yield DataError(f"{where}: {image_id} has the sex '{row['sex']}'.", "Write male or female, or leave it empty.")
    if row.get("mask", "") not in ("", "0", "1"):
        yield DataError(
            f"{where}: {image_id} has '{row['mask']}' in the column 'mask'.",
            "Write 1 where it has a mask, and 0 where not.",
        )


def _record(
    row: dict[str, str],
    images: dict[str, Path],
    masks: dict[str, Path],
    where: str,
    root: Path,
    strict: bool,
    report: Complain,
) -> Record:
    image_id, dx, age = row["image_id"], row["dx"], None
    image, mask = images.get(image_id), masks.get(f"{image_id}_segmentation")
    published = _published(row)
    if image is None and strict:
        report(DataError(f"{where}: {image_id} is listed, and {missing_picture(image_id)}", f"Restore it.{published}"))
    if mask is None and strict and _has_mask(row):
        report(
            DataError(
                f"{where}: {image_id} is listed, and {image_id}_segmentation.png is missing.",
                f"Restore it, or write 0 in a column 'mask'.{published}",
            )
        )
    for odd in _odd_cells(row, where):
        report(odd)
    dx = dx if dx in DX else NOT_STATED
    try:
        age = float(row["age"]) if row["age"] else None
    except ValueError:
        report(DataError(f"{where}: {image_id} has the age '{row['age']}'.", "Write a number, or leave it empty."))
    return Record(
        image_id=image_id,
        lesion_id=row["lesion_id"],
        dx=dx,
        split=row.get("split") or "",
        age=age,
        sex=_known(row["sex"]),
        localization=_known(row["localization"]),
        dx_type=row.get("dx_type") or "",
        image_path=image or root / "images" / f"{image_id}.jpg",
        mask_path=(mask or root / "masks" / f"{image_id}_segmentation.png") if _has_mask(row) else None,
        source=row.get("source", "").strip() or SOURCE,
        listed_at=where,
    )


def missing_picture(image_id: str) -> str:
    """That a picture's file is not there, under any of the endings that are read."""
    first, *others = (f"{image_id}{_PICTURES[0]}", *_PICTURES[1:])
    return f"{first} (or {', '.join(others)}) is missing."


def _known(value: str) -> str:
    return "" if value == "unknown" else value


def _first(root: Path, names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root / names[0]} is missing ({what}).", PUBLISHED)


def _index(
    root: Path, names: tuple[str, ...], suffixes: tuple[str, ...], what: str, report: Complain
) -> dict[str, Path]:
    folders = [root / name for name in names if (root / name).is_dir()]
    if not folders:
        report(DataError(f"{root / names[0]} is missing (folder of {what}).", PUBLISHED))
    return {path.stem: path for folder in folders for path in folder.iterdir() if path.suffix in suffixes}
