"""What every result of one picture shares: its source, this program as a device, new UIDs, and the last touches."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from edge_infer import __version__
from edge_infer.dicom.carried import carry, neutral
from edge_infer.dicom.checks import text_of
from edge_infer.dicom.reading import Header
from edge_infer.dicom.recognise import IMPLEMENTATION, MODEL
from edge_infer.dicom.uids import Uids
from edge_infer.output.sink import Run

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_WRITERS_ROOT = "1.2.826.0.1.3680043.10.511.3."
"""highdicom's: it names dimensions itself; they get UIDs of the stated root."""


@dataclass(frozen=True)
class Place:
    """Where a result stands in its study: its series, the series' number, and its own number."""

    series: str
    series_number: int
    number: int


@dataclass(frozen=True)
class Origin:
    """One picture's source and who answers.

    Attributes:
        header: of the source; its patient and study are read once, by `finish`.
        run: the bundle that answers.
        uids: where new UIDs come from.
    """

    header: Header
    run: Run
    uids: Uids

    @property
    def equipment(self) -> dict[str, Any]:
        """The General Equipment module as highdicom's arguments; the bundle's hash is the serial number."""
        return {
            "manufacturer": MODEL,
            "manufacturer_model_name": MODEL,
            "software_versions": (__version__, f"{self.run.manifest.name} {self.run.manifest.version}"[:64]),
            "device_serial_number": self.run.bundle.sha256,
        }

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return f"{MODEL} {self.run.manifest.name}"[:64]

    @property
    def parameters(self) -> dict[str, str]:
        """What an answer depends on beside the picture."""
        return {"software": f"{MODEL} {__version__}", "bundle sha256": self.run.bundle.sha256}

    def source(self) -> Dataset:
        """The source without patient and study."""
        return neutral(self.header.dataset)

    @property
    def frames(self) -> list[int] | None:
        """The frame that a reference names; None where the source has only one."""
        return [self.header.frame] if self.header.frames > 1 else None

    def finish(self, result: Dataset) -> bytes:
        """A result as a file: patient and study carried over, dated, and every new UID under the stated root."""
        source = self.header.dataset
        _rename(result, self.uids, {})
        carry(source, result)
        _date(result, text_of(source, "TimezoneOffsetFromUTC"))
        result.file_meta.ImplementationClassUID = self.uids.named(f"implementation {__version__}")
        result.file_meta.ImplementationVersionName = f"{IMPLEMENTATION}_{__version__}"[:16]
        stream = io.BytesIO()
        result.save_as(stream, enforce_file_format=True)
        return stream.getvalue()


def _rename(dataset: Dataset, uids: Uids, known: dict[str, str]) -> None:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _rename(item, uids, known)
        elif element.VR == "UI" and str(element.value).startswith(_WRITERS_ROOT):
            element.value = known.setdefault(str(element.value), uids.new())


def _date(dataset: Dataset, offset: str) -> None:
    """Now, in the time zone that the source states for all its times."""
    zone = None
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = 60 * int(offset[1:3]) + int(offset[3:])
        zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)) if minutes < 1440 else None
    now = datetime.now(zone)
    for kind in ("InstanceCreation", "Content"):
        setattr(dataset, f"{kind}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{kind}Time", now.strftime("%H%M%S"))
    for item in dataset.get("ContributingEquipmentSequence") or ():
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
