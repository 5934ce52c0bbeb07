"""What makes a run that run, beside its recipe: which pictures it learns from and is validated on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainer.data.ham10000 import Record

_WORDS = {
    "learns_from": "the pictures it learns from",
    "validated_on": "the pictures that validate it",
    "split": "--split",
    "fold": "--fold",
    "limit": "--limit",
}


@dataclass(frozen=True)
class RunIdentity:
    """Stored with a run; a folder is continued only by the same.

    Attributes:
        learns_from: hash of the training pictures' ids, in order.
        validated_on: the same of the validation pictures.
        split: protocol that named them, "" where the caller chose them.
        fold: left out, from 1; None: none.
        limit: pictures of each split, at most; None: all.
    """

    learns_from: str
    validated_on: str
    split: str = ""
    fold: int | None = None
    limit: int | None = None

    @classmethod
    def of(
        cls,
        train: Sequence[Record],
        val: Sequence[Record],
        split: str = "",
        fold: int | None = None,
        limit: int | None = None,
    ) -> RunIdentity:
        """The identity of a run on these records."""
        return cls(_hash([r.image_id for r in train]), _hash([r.image_id for r in val]), split, fold, limit)

    @staticmethod
    def stored_in(state: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint's content says; older ones name the pictures that validated them, and no more."""
        known: dict[str, Any] | None = state.get("identity")
        return {"validated_on": _hash(state.get("held_out", ()))} if known is None else known

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and JSON."""
        return asdict(self)

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """What a stored identity says otherwise, in words; what it does not say is no difference."""
        mine = self.to_dict()
        found: list[str] = []
        for field in fields(self):
            if field.name in stored and stored[field.name] != mine[field.name]:
                was, now = (_show(value) for value in (stored[field.name], mine[field.name]))
                found.append(f"{_WORDS[field.name]} ({was} then, {now} now)")
        return found


def _hash(images: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps(list(images)).encode()).hexdigest()
    return f"{len(images)} pictures, {digest[:12]}"


def _show(value: object) -> str:
    return "none" if value in (None, "") else str(value)
