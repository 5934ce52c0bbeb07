"""The sinks of `diagnose`: what each writes, in which order, and what is left where one cannot write."""

from __future__ import annotations

import csv
import errno
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_infer.bundle.store import load_bundle
from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import Diagnosis
from edge_infer.errors import ImageNotFoundError
from edge_infer.files import OutputError
from edge_infer.output.card import CardSink, to_card
from edge_infer.output.html import HtmlSink
from edge_infer.output.picture import draw_overlay, mask_picture
from edge_infer.output.records import JsonSink, NdjsonSink, to_record
from edge_infer.output.saved import PictureSink
from edge_infer.output.sink import SAVED_KINDS, Result, Run, Sink, opened
from edge_infer.output.table import CsvSink, csv_columns
from edge_infer.reasons import Reason

FAILED = Diagnosis.failed("gone.jpg", ImageNotFoundError("Gone.", "Look."), "toy", "ab" * 32)


class FullDisk(io.StringIO):
    """A stream that takes so many writes and then fails."""

    name = "<stdout>"

    def __init__(self, writes: int = 0, error: OSError | None = None) -> None:
        super().__init__()
        self.left = writes
        self.error = error or OSError(errno.ENOSPC, "No space left on device")

    def write(self, text: str) -> int:
        if self.left <= 0:
            raise self.error
        self.left -= 1
        return super().write(text)


class Spy:
    """Notes its calls in a list that several may share; fails in the step that is named."""

    def __init__(self, name: str, calls: list[str], fails: str = "") -> None:
        self.name, self.calls, self.fails = name, calls, fails

    def open(self, run: Run) -> None:
        self._note("open")

    def add(self, result: Result) -> None:
        self._note("add")

    def close(self, complete: bool) -> None:
        self._note("close" if complete else "give up")

    def _note(self, step: str) -> None:
        self.calls.append(f"{self.name} {step}")
        if self.fails == step:
            raise OutputError(f"{self.name} cannot {step}.")


@pytest.fixture(scope="module")
def run(toy_bundle: Path) -> Run:
    bundle = load_bundle(toy_bundle)
    return Run(bundle, bundle.manifest.operating_point(), 3)


@pytest.fixture(scope="module")
def answer(toy_bundle: Path, nevus_file: Path) -> Diagnosis:
    with Diagnoser.load(toy_bundle) as diagnoser:
        return diagnoser.diagnose(nevus_file)


@pytest.fixture
def results(answer: Diagnosis, nevus: NDArray[np.uint8]) -> list[Result]:
    """One answer, one picture without a lesion, and one that could not be read."""
    empty = replace(
        answer, source="empty.png", status="indeterminate", reason=Reason.NO_LESION, mask=None, lesion_box=None,
        roi_box=None, roi=None, label=None, melanoma_probability=None, probabilities={},
    )  # fmt: skip

    def unreadable() -> NDArray[np.uint8]:
        raise AssertionError("the pixels of a picture that failed were asked for")

    return [
        Result(answer, PurePath("a"), lambda: nevus),
        Result(empty, PurePath("deeper/b"), lambda: nevus),
        Result(FAILED, PurePath("gone"), unreadable),
    ]


def write(sinks: list[Sink], run: Run, results: list[Result]) -> None:
    with opened(sinks, run) as add:
        for result in results:
            add(result)


def test_cards_are_numbered_and_parted_by_an_empty_line(run: Run, results: list[Result]) -> None:
    stream = io.StringIO()
    write([CardSink(stream)], run, results)
    expected = [
        to_card(result.diagnosis, {}, run.manifest, position=f"{i}/3") for i, result in enumerate(results, start=1)
    ]
    assert stream.getvalue() == "\n".join(expected)


def test_a_card_alone_has_no_number(run: Run, results: list[Result]) -> None:
    stream = io.StringIO()
    write([CardSink(stream)], replace(run, count=1), results[:1])
    assert stream.getvalue() == to_card(results[0].diagnosis, {}, run.manifest)


def test_cards_are_painted(run: Run, results: list[Result]) -> None:
    stream = io.StringIO()
    write([CardSink(stream, lambda text, tone: f"<{tone}>{text}")], run, results[:1])
    assert stream.getvalue().startswith("<title>1/3 ")


def test_json_is_one_array_at_the_end(run: Run, results: list[Result]) -> None:
    stream = io.StringIO()
    with opened([JsonSink(stream)], run) as add:
        for result in results:
            add(result)
            assert stream.getvalue() == ""
    assert json.loads(stream.getvalue()) == [to_record(result.diagnosis, {}) for result in results]


@pytest.mark.parametrize("make", [NdjsonSink, CsvSink, CardSink])
def test_the_others_write_each_result_at_once(
    run: Run, results: list[Result], make: Callable[[io.StringIO], Sink]
) -> None:
    class Flushed(io.StringIO):
        seen = 0

        def flush(self) -> None:
            self.seen = len(self.getvalue())

    stream, lengths = Flushed(), [0]
    with opened([make(stream)], run) as add:
        for result in results:
            add(result)
            lengths.append(stream.seen)
    assert lengths == sorted(set(lengths)) and lengths[-1] == len(stream.getvalue())


def test_ndjson_is_one_object_a_line(run: Run, results: list[Result]) -> None:
    stream = io.StringIO()
    write([NdjsonSink(stream)], run, results)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        to_record(result.diagnosis, {}) for result in results
    ]


def test_csv_has_its_header_even_without_results(run: Run, results: list[Result]) -> None:
    stream = io.StringIO()
    write([CsvSink(stream)], run, [])
    assert next(csv.reader([stream.getvalue()])) == csv_columns(run.manifest)
    stream = io.StringIO()
    write([CsvSink(stream)], run, results)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [row["status"] for row in rows] == ["ok", "indeterminate", "error"]


def test_pictures_are_saved_where_there_are_any(run: Run, results: list[Result], tmp_path: Path) -> None:
    stream = io.StringIO()
    saving: list[Sink] = [PictureSink(kind, tmp_path / kind) for kind in ("overlay", "mask", "roi")]
    write([*saving, NdjsonSink(stream)], run, results)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"overlay/a.png", "overlay/deeper/b.png", "mask/a.png", "mask/deeper/b.png", "roi/a.png"}
    assert results[0].saved == {kind: str(tmp_path / kind / "a.png") for kind in SAVED_KINDS}
    assert [json.loads(line)["saved"]["roi"] for line in stream.getvalue().splitlines()] == [
        str(tmp_path / "roi" / "a.png"), None, None
    ]  # fmt: skip
    first = results[0]
    assert first.pixels is not None and first.diagnosis.roi is not None
    overlay, roi = cv2.imread(str(tmp_path / "overlay/a.png")), cv2.imread(str(tmp_path / "roi/a.png"))
    assert overlay is not None and np.array_equal(overlay[..., ::-1], draw_overlay(first.pixels, first.diagnosis))
    assert roi is not None and np.array_equal(roi[..., ::-1], first.diagnosis.roi)
    mask = cv2.imread(str(tmp_path / "mask/deeper/b.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None and np.array_equal(mask, mask_picture(results[1].diagnosis)) and not mask.any()


def test_pixels_are_read_once_and_only_when_asked_for(
    run: Run, answer: Diagnosis, nevus: NDArray[np.uint8], tmp_path: Path
) -> None:
    reads = []

    def read() -> NDArray[np.uint8]:
        reads.append(1)
        return nevus

    write([PictureSink("mask", tmp_path), JsonSink(io.StringIO())], run, [Result(answer, PurePath("a"), read)])
    assert reads == []
    sinks: list[Sink] = [PictureSink("overlay", tmp_path), HtmlSink(tmp_path / "report.html")]
    write(sinks, run, [Result(answer, PurePath("a"), read)])
    assert reads == [1]


def test_the_page_holds_every_result(run: Run, results: list[Result], tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.html"
    with opened([HtmlSink(file)], run) as add:
        for result in results:
            add(result)
        assert not file.exists()
    page = file.read_text(encoding="utf-8")
    assert page.count("<article>") == 3 and page.count("data:image/jpeg;base64,") == 2 and "Failed: Gone." in page


def test_sinks_are_opened_and_served_in_order_and_closed_last_first(run: Run, results: list[Result]) -> None:
    calls: list[str] = []
    write([Spy("a", calls), Spy("b", calls)], run, results[:1])
    assert calls == ["a open", "b open", "a add", "b add", "b close", "a close"]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ("open", ["a open", "b open", "a give up"]),
        ("add", ["a open", "b open", "c open", "a add", "b add", "c give up", "b give up", "a give up"]),
        ("close", ["a open", "b open", "c open", "a add", "b add", "c add", "c close", "b close", "a give up"]),
    ],
)
def test_where_one_fails_the_others_are_closed(
    run: Run, results: list[Result], fails: str, expected: list[str]
) -> None:
    calls: list[str] = []
    sinks: list[Sink] = [Spy("a", calls), Spy("b", calls, fails), Spy("c", calls)]
    with pytest.raises(OutputError, match=f"b cannot {fails}"):
        write(sinks, run, results[:1])
    assert calls == expected


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError("elsewhere")])
def test_a_run_that_breaks_off_leaves_nothing_that_looks_whole(
    run: Run, results: list[Result], tmp_path: Path, error: BaseException
) -> None:
    stream = io.StringIO()
    with (
        pytest.raises((KeyboardInterrupt, OutputError)),
        opened([HtmlSink(tmp_path / "report.html"), JsonSink(stream)], run) as add,
    ):
        add(results[0])
        raise error
    assert stream.getvalue() == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "writes"),
    [(JsonSink, 0), *((make, writes) for make in (CardSink, NdjsonSink, CsvSink) for writes in (0, 1))],
)
def test_a_full_disk_behind_the_stream_is_a_typed_error(
    run: Run, results: list[Result], tmp_path: Path, make: Callable[[io.StringIO], Sink], writes: int
) -> None:
    with pytest.raises(OutputError, match=r"Cannot write '<stdout>': No space left on device\."):
        write([HtmlSink(tmp_path / "report.html"), make(FullDisk(writes))], run, results)
    assert not (tmp_path / "report.html").exists()


def test_a_reader_that_has_gone_is_no_full_disk(run: Run, results: list[Result]) -> None:
    with pytest.raises(BrokenPipeError):
        write([NdjsonSink(FullDisk(error=BrokenPipeError()))], run, results)


@pytest.mark.parametrize("kind", ["overlay", "mask", "roi"])
def test_a_picture_that_cannot_be_written_is_a_typed_error_and_leaves_no_part(
    run: Run, results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    stream = io.StringIO()
    with pytest.raises(OutputError, match="No space left"):
        write([PictureSink(kind, tmp_path), NdjsonSink(stream)], run, results)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [] and stream.getvalue() == "" and results[0].saved == {}


def test_a_page_that_cannot_be_written_is_a_typed_error_and_leaves_no_part(
    run: Run, results: list[Result], tmp_path: Path
) -> None:
    (tmp_path / "report.html").mkdir()
    stream = io.StringIO()
    with pytest.raises(OutputError, match=r"report\.html"):
        write([HtmlSink(tmp_path / "report.html"), JsonSink(stream)], run, results)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert len(json.loads(stream.getvalue())) == 3


@pytest.mark.parametrize("make", [lambda path: PictureSink("mask", path), lambda path: HtmlSink(path / "report.html")])
def test_a_folder_that_cannot_be_made_fails_before_any_result(
    run: Run, results: list[Result], tmp_path: Path, make: Callable[[Path], Sink]
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError), opened([make(tmp_path / "file")], run):
        pytest.fail("it was opened")
