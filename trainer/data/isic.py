"""Reads the ISIC challenge sets of 2016 to 2019 and PH2, each in the folders that its publisher unpacks to.

Where a set says nothing about a picture the field stays empty: segmentation tasks have no diagnosis (`dx` is ""),
classification tasks have no masks (`mask_path` is None). Only ISIC 2019 says which pictures show
the same lesion; elsewhere every picture counts as a lesion of its own, so drawn splits may leak there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.data.ham10000 import Complain, Record, read_ham10000, refuse
from trainer.errors import DataError

ISIC_PUBLISHED = "The ISIC challenge sets are published at https://challenge.isic-archive.com/data."
PH2_PUBLISHED = "PH2 is published at https://www.fc.up.pt/addi/ph2%20database.html."

_ISIC_DX = {"MEL": "mel", "NV": "nv", "BCC": "bcc", "AKIEC": "akiec", "AK": "akiec", "BKL": "bkl", "DF": "df"}
_ISIC_DX |= {"VASC": "vasc", "SCC": "scc", "UNK": ""}
_NO_MASKS = "no-masks"


@dataclass(frozen=True)
class _Part:
    """One part of a challenge set; paths are relative to the data folder, and `suffix` ends a mask's name."""

    split: str
    images: str
    masks: str = _NO_MASKS
    suffix: str = "_segmentation"
    labels: str = ""
    metadata: str = ""


_ISIC_2016 = tuple(
    _Part(
        split,
        f"ISBI2016_ISIC_Part1_{name}_Data",
        f"ISBI2016_ISIC_Part1_{name}_GroundTruth",
        "_Segmentation",
        f"ISBI2016_ISIC_Part3_{name}_GroundTruth.csv",
    )
    for split, name in (("train", "Training"), ("test", "Test"))
)
_ISIC_2017 = tuple(
    _Part(
        split,
        f"ISIC-2017_{name}_Data",
        f"ISIC-2017_{name}_Part1_GroundTruth",
        labels=f"ISIC-2017_{name}_Part3_GroundTruth.csv",
        metadata=f"ISIC-2017_{name}_Data_metadata.csv",
    )
    for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test_v2"))
)
_ISIC_2018_MASKS = tuple(
    _Part(split, f"ISIC2018_Task1-2_{name}_Input", f"ISIC2018_Task1_{name}_GroundTruth")
    for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test"))
)
_ISIC_2018_CLASSES = tuple(
    _Part(
        split,
        f"ISIC2018_Task3_{name}_Input",
        labels=f"ISIC2018_Task3_{name}_GroundTruth/ISIC2018_Task3_{name}_GroundTruth.csv",
    )
    for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test"))
)
_ISIC_2019 = (
    _Part(
        "",
        "ISIC_2019_Training_Input",
        labels="ISIC_2019_Training_GroundTruth.csv",
        metadata="ISIC_2019_Training_Metadata.csv",
    ),
)
LAYOUTS: dict[str, tuple[_Part, ...]] = {
    "ISIC 2016": _ISIC_2016,
    "ISIC 2017": _ISIC_2017,
    "ISIC 2018 task 1": _ISIC_2018_MASKS,
    "ISIC 2018 task 3": _ISIC_2018_CLASSES,
    "ISIC 2019": _ISIC_2019,
}
_PH2_PICTURES, _PH2_TABLE = "PH2 Dataset images", "PH2_dataset.txt"
_PH2_DX = {"0": "nv", "1": "nv", "2": "mel"}  # common nevus, atypical nevus, melanoma


def detect(folder: str | Path) -> str:
    """Which data set a folder holds: `HAM10000`, a key of `LAYOUTS`, or `PH2`.

    Raises:
        DataError: none of them.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no data folder {root}.", ISIC_PUBLISHED)
    for name, parts in LAYOUTS.items():
        if any((root / part.images).is_dir() for part in parts):
            return name
    if (root / _PH2_PICTURES).is_dir():
        return "PH2"
    if any(root.glob("*metadata*")):
        return "HAM10000"
    known = ", ".join(["HAM10000", *LAYOUTS, "PH2"])
    raise DataError(f"{root} holds no data set that is known here.", f"Known, in the publisher's folders: {known}.")


def read_dataset(folder: str | Path, *, strict: bool = True, complain: Complain | None = None) -> list[Record]:
    """Reads whichever known data set a folder holds.

    Args:
        folder: the data set, as its publisher unpacks it.
        strict: a missing picture or mask is an error; False keeps the record, whose path then names no file.
        complain: see `trainer.data.ham10000.read_ham10000`; of the other sets it is called with each picture that has
            no diagnosis where the set gives them.

    Raises:
        DataError: no known data set, or a file of it is missing; the message names the file and the publisher.
    """
    name, root, report = detect(folder), Path(folder), complain or refuse
    if name == "HAM10000":
        return read_ham10000(root, strict=strict, complain=complain)
    if name == "PH2":
        return list(_read_ph2(root, strict, report))
    parts = (part for part in LAYOUTS[name] if (root / part.images).is_dir())
    return [record for part in parts for record in _read_part(root, part, strict, report)]


def _read_part(root: Path, part: _Part, strict: bool, report: Complain) -> Iterator[Record]:
    pictures = sorted(path for path in (root / part.images).iterdir() if path.suffix.lower() == ".jpg")
    if not pictures:
        raise DataError(f"{root / part.images} holds no picture.", ISIC_PUBLISHED)
    if part.masks != _NO_MASKS and not (root / part.masks).is_dir():
        raise DataError(f"{root / part.masks} is missing (mask folder).", ISIC_PUBLISHED)
    try:
        labels = _labels(root / part.labels) if part.labels else {}
    except (ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{root / part.labels} holds no labels: {error}.", ISIC_PUBLISHED) from error
    details = _details(root / part.metadata) if part.metadata and (root / part.metadata).is_file() else {}
    for path in pictures:
        mask = root / part.masks / f"{path.stem}{part.suffix}.png"
        if strict and part.masks != _NO_MASKS and not mask.is_file():
            raise DataError(f"{mask} is missing.", ISIC_PUBLISHED)
        if labels and path.stem not in labels:
            report(DataError(f"{root / part.labels} has no row for {path.stem}.", f"Restore it. {ISIC_PUBLISHED}"))
        row = details.get(path.stem, {})
        yield Record(
            image_id=path.stem,
            lesion_id=row.get("lesion_id") or path.stem,
            dx=labels.get(path.stem, ""),
            split=part.split,
            age=_age(row.get("age_approx") or row.get("age_approximate") or ""),
            sex=_known(row.get("sex", "")),
            localization=_known(row.get("anatom_site_general", "")),
            dx_type="",
            image_path=path,
            mask_path=None if part.masks == _NO_MASKS else mask,
            source=_source(part),
            listed_at=f"{root / (part.labels or part.images)}, {path.stem}",
        )


def _source(part: _Part) -> str:
    return next(name.lower().replace(" ", "-") for name, parts in LAYOUTS.items() if part in parts)


def _labels(path: Path) -> dict[str, str]:
    """Diagnosis by picture, from any of the four table formats."""
    if not path.is_file():
        raise DataError(f"{path} is missing (labels).", ISIC_PUBLISHED)
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream))
    header = [name.strip() for name in rows[0]] if rows else []
    if "melanoma" in header:  # 2017
        melanoma, keratosis = header.index("melanoma"), header.index("seborrheic_keratosis")
        return {row[0]: "mel" if _yes(row[melanoma]) else "bkl" if _yes(row[keratosis]) else "nv" for row in rows[1:]}
    if "MEL" in header:  # 2018, 2019: one column a class
        return {
            row[0]: next((_ISIC_DX[name] for name, value in zip(header[1:], row[1:], strict=True) if _yes(value)), "")
            for row in rows[1:]
        }
    if rows and len(rows[0]) == 2:  # 2016: no header; benign stands for every benign lesion
        malignant = {"malignant": "mel", "benign": "nv"}
        return {name: malignant.get(value) or ("mel" if _yes(value) else "nv") for name, value in rows}
    raise DataError(f"{path} is in no known format.", ISIC_PUBLISHED)


def _details(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return {row.get("image") or row.get("image_id") or "": row for row in csv.DictReader(stream)}


def _read_ph2(root: Path, strict: bool, report: Complain) -> Iterator[Record]:
    table = root / _PH2_TABLE
    if not table.is_file():
        raise DataError(f"{table} is missing (diagnoses).", PH2_PUBLISHED)
    found = False
    for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("||")]
        if not re.fullmatch(r"IMD\d+", cells[0]):
            continue
        found = True
        name = cells[0]
        diagnosis = _PH2_DX.get(cells[2]) if len(cells) > 2 else None
        if diagnosis is None:
            report(DataError(f"{table}, {name}: it has no diagnosis.", f"Restore it. {PH2_PUBLISHED}"))
        home = root / _PH2_PICTURES / name
        image = home / f"{name}_Dermoscopic_Image" / f"{name}.bmp"
        mask = home / f"{name}_lesion" / f"{name}_lesion.bmp"
        for path in (image, mask):
            if strict and not path.is_file():
                raise DataError(f"{path} is missing.", PH2_PUBLISHED)
        where = f"{table}, {name}"
        yield Record(name, name, diagnosis or "", "", None, "", "", "", image, mask, "ph2", where)
    if not found:
        raise DataError(f"{table} lists no picture.", PH2_PUBLISHED)


def _yes(value: str) -> bool:
    return float(value) > 0.5


def _age(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _known(value: str) -> str:
    return "" if value in ("unknown", "NA") else value
