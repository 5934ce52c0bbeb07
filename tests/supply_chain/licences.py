"""Licences of what the wheel needs: each is known and permissive, and copyleft inside binary wheels is listed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

PERMISSIVE = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "HPND", "ISC", "MIT", "PSF-2.0", "Python-2.0"}
    | {"Unlicense", "Zlib"}
)
"""SPDX identifiers that ask for no more than a notice."""

IN_BINARIES = {
    "numpy": "libgfortran (GPL-3.0-or-later WITH GCC-exception-3.1) and libquadmath (LGPL-2.1-or-later), shared "
    "libraries beside OpenBLAS",
    "opencv-python-headless": "FFmpeg (LGPL-2.1-or-later), shared libraries of the video part, which is never called",
    "onnxruntime": "Eigen (MPL-2.0, used unchanged); further notices speak of the LGPL and are of no library in it",
}
"""Distributions whose own notices speak of copyleft, and what of it travels in their binary wheels. All of it is
replaceable shared libraries or unchanged files, none of it is in this project's wheel."""

_OLD_NAMES = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit": "MIT",
    "mit license": "MIT",
    "python software foundation license": "PSF-2.0",
    "zlib/libpng license": "Zlib",
}
_COPYLEFT = re.compile(r"\b[AL]?GPL\b|General Public License|Mozilla Public|\bMPL\b|\bEUPL\b|\bSSPL\b")
_NOTICES = re.compile(r"licen[sc]e|copying|notice", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    """What one distribution is under.

    Attributes:
        name, version: of the distribution.
        spdx: its licence as an SPDX expression; "" where it cannot be told.
        inside: what of copyleft travels in its binaries, by `IN_BINARIES`.
        complaint: why it is not accepted; "" where it is.
    """

    name: str
    version: str
    spdx: str
    inside: str
    complaint: str


def licence(name: str, installed: Distribution) -> Licence:
    """Judges one distribution by its metadata and by the notices that it carries."""
    spdx = expression(installed)
    complaint = ""
    if not spdx:
        complaint = "its licence is unknown"
    elif not permissive(spdx):
        complaint = f"{spdx} is not known as permissive"
    elif name not in IN_BINARIES and speaks_of_copyleft(installed):
        complaint = "its notices speak of copyleft: see what travels in its wheel, and list it in IN_BINARIES"
    return Licence(name, installed.version, spdx, IN_BINARIES.get(name, ""), complaint)


def expression(installed: Distribution) -> str:
    """The SPDX expression: as given, or from the older fields where these are plain; else ""."""
    metadata = installed.metadata
    if "License-Expression" in metadata:
        return str(metadata["License-Expression"])
    named = [metadata["License"]] if "License" in metadata else []
    classifiers = metadata.get_all("Classifier") or []
    named += [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    found = dict.fromkeys(_OLD_NAMES[text.strip().lower()] for text in named if text.strip().lower() in _OLD_NAMES)
    return " AND ".join(found)


def permissive(spdx: str) -> bool:
    """Whether an expression can be met by permissive licences alone; of alternatives (OR), one suffices.

    Nested parentheses are beyond it: such an expression is not accepted, and somebody looks.
    """
    alternatives = spdx.split(" OR ") if "(" not in spdx else [spdx]
    return any(all(part.strip() in PERMISSIVE for part in one.split(" AND ")) for one in alternatives)


def speaks_of_copyleft(installed: Distribution) -> bool:
    """Whether a licence or notice file of the distribution names a copyleft licence."""
    for file in installed.files or ():
        if _NOTICES.search(file.name) and file.suffix in ("", ".txt", ".md", ".rst"):
            text = Path(str(installed.locate_file(file))).read_text(encoding="utf-8", errors="replace")
            if _COPYLEFT.search(text):
                return True
    return False
