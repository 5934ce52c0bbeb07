"""`--save-dicom`: every answer on a DICOM picture as DICOM objects of the same study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_infer.dicom.capture import make_capture
from edge_infer.dicom.carried import REFERENCES, can_be_referenced
from edge_infer.dicom.origin import Origin, Place
from edge_infer.dicom.quiet import quietly
from edge_infer.dicom.reading import DicomPicture
from edge_infer.dicom.recognise import RESULT_SUFFIXES
from edge_infer.dicom.report import make_report
from edge_infer.dicom.segmentation import make_segmentation
from edge_infer.dicom.uids import Uids
from edge_infer.extras import need
from edge_infer.files import make_writable_folder, write_below
from edge_infer.output.picture import draw_overlay
from edge_infer.output.sink import Result, Run

_OUTLINE, _REPORT, _OVERLAY = RESULT_SUFFIXES
_SERIES_NUMBERS = {_OUTLINE: 9001, _REPORT: 9002, _OVERLAY: 9003}


class DicomSink:
    """Saves segmentation, report and overlay of every picture that came as DICOM and has an answer.

    A picture that could not be read has none of them, and one without a lesion has no segmentation. Results of one
    source series share a new series by kind.
    """

    def __init__(
        self,
        folder: Path,
        picture: Callable[[Result], DicomPicture | None],
        *,
        uid_root: str,
        max_pixels: int,
        tell: Callable[[str], None],
    ) -> None:
        """Saves to `folder`.

        Args:
            folder: made where it is missing.
            picture: the DICOM picture of a result; None where its source is of another format.
            uid_root: under which new UIDs are made.
            max_pixels: as for reading the picture.
            tell: gets a sentence about what was not saved, at the end.

        Raises:
            ExtraNotInstalledError: the extra is not installed.
            InputError: the root is none.
        """
        need("highdicom", "dicom")
        self._folder, self._picture, self._max_pixels, self._tell = folder, picture, max_pixels, tell
        self._uids = Uids(uid_root)
        self._series: dict[tuple[str, str], tuple[str, int]] = {}
        self._others = self._nameless = 0

    def open(self, run: Run) -> None:
        """Makes the folder. See `Sink.open`."""
        self._run = run
        make_writable_folder(self._folder)

    def add(self, result: Result) -> None:
        """See `Sink.add`."""
        picture = self._picture(result)
        if picture is None:
            self._others += 1
        if picture is None or result.pixels is None:
            return
        header = picture.read_header(self._max_pixels)
        if not can_be_referenced(header.dataset):
            self._nameless += 1
            return
        origin = Origin(header, self._run, self._uids)
        diagnosis, tracking, segmentation = result.diagnosis, self._uids.new(), None
        with quietly():
            objects = {}
            if diagnosis.mask is not None and diagnosis.mask.any():
                segmentation = make_segmentation(diagnosis.mask, origin, self._place(origin, _OUTLINE), tracking)
                objects[_OUTLINE] = segmentation
            report = make_report(diagnosis, origin, self._place(origin, _REPORT), tracking, segmentation)
            overlay = draw_overlay(result.pixels, diagnosis)
            objects |= {
                _REPORT: report,
                _OVERLAY: make_capture(overlay, origin, self._place(origin, _OVERLAY)),
            }
            files = {suffix: origin.finish(made) for suffix, made in objects.items()}
        for suffix, data in files.items():
            write_below(self._folder, f"{result.place}{suffix}", data)

    def close(self, complete: bool) -> None:
        """See `Sink.close`."""
        if self._others:
            self._tell(
                f"pictures that are no DICOM files, so that no patient is known for DICOM results: {self._others}"
            )
        if self._nameless:
            self._tell(
                f"DICOM files without valid {', '.join(REFERENCES)}, which got no DICOM results: {self._nameless}"
            )

    def _place(self, origin: Origin, suffix: str) -> Place:
        key = (str(origin.header.dataset.SeriesInstanceUID), suffix)
        series, count = self._series.get(key) or (self._uids.new(), 0)
        self._series[key] = (series, count + 1)
        return Place(series, _SERIES_NUMBERS[suffix], count + 1)
