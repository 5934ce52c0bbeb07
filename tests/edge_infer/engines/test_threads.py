"""Work that several threads share: in order, bounded, and with errors in their place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from edge_infer.engines.threads import in_order


def test_results_keep_the_order_whoever_is_quicker() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    for workers in (1, 2, 5):
        assert list(in_order(slow_first, range(20), workers)) == [number * number for number in range(20)]
        assert list(in_order(slow_first, [], workers)) == []


def test_workers_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=30)
    assert len(list(in_order(lambda _: meeting.wait(), range(3), 3))) == 3


def test_an_error_comes_in_its_place_and_nothing_is_begun_after_it() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 4:
            raise ValueError("four")
        return number

    results = in_order(work, range(100), 2)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="four"):
        next(results)
    assert max(begun) <= 7


def test_an_error_of_the_source_comes_after_what_it_gave() -> None:
    def source() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("gone")

    for workers in (1, 3):
        results = in_order(lambda number: -number, source(), workers)
        assert [next(results), next(results)] == [-1, -2]
        with pytest.raises(OSError, match="gone"):
            next(results)


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    results = in_order(lambda number: number, range(100), 4)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
