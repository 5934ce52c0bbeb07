"""New unique identifiers under a stated root."""

from __future__ import annotations

import re
import secrets
import uuid

from edge_infer.errors import InputError

UUID_ROOT = "2.25"
"""The root under which anyone may derive UIDs from UUIDs (ITU-T X.667, DICOM PS3.5 annex B.2)."""
_LONGEST = 64
_SHORTEST_TAIL = 24
_ROOT = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


class Uids:
    """Makes UIDs below one root."""

    def __init__(self, root: str = UUID_ROOT) -> None:
        """`root` is an organisation's own; 2.25 needs no registration.

        Raises:
            InputError: it is no UID, or too long to leave room.
        """
        root = root.removesuffix(".")
        if not _ROOT.fullmatch(root) or len(root) > _LONGEST - 1 - _SHORTEST_TAIL:
            raise InputError(
                f"'{root}' is no root for UIDs.",
                f"Give numbers with dots between them, at most {_LONGEST - 1 - _SHORTEST_TAIL} characters, "
                f"or leave it out for {UUID_ROOT}.",
            )
        self.root = root

    def new(self) -> str:
        """A UID that nobody has."""
        if self.root == UUID_ROOT:
            return f"{UUID_ROOT}.{uuid.uuid4().int}"
        digits = min(38, _LONGEST - 1 - len(self.root))
        return f"{self.root}.{1 + secrets.randbelow(10**digits - 1)}"

    def named(self, name: str) -> str:
        """The UID of a thing that always has the same one."""
        number = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.root} {name}").int
        digits = min(39, _LONGEST - 1 - len(self.root))
        return f"{self.root}.{str(number)[:digits]}"
