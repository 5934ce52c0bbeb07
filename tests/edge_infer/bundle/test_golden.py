from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_infer.bundle.golden import read_golden, write_golden
from edge_infer.bundle.store import read_manifest
from edge_infer.errors import BundleSchemaError


def stored(toy_bundle: Path) -> Path:
    return toy_bundle / read_manifest(toy_bundle).manifest.golden.file


def test_traces_survive_the_round_trip(toy_bundle: Path, tmp_path: Path) -> None:
    traces = read_golden(stored(toy_bundle))
    write_golden(tmp_path / "again.npz", traces)
    for first, second in zip(traces, read_golden(tmp_path / "again.npz"), strict=True):
        assert list(first) == list(second)
        for step in first:
            np.testing.assert_array_equal(first[step], second[step])


def test_damaged_files_are_typed_errors(toy_bundle: Path, tmp_path: Path) -> None:
    whole = stored(toy_bundle).read_bytes()
    path = tmp_path / "golden.npz"
    damaged = [b"", b"PK\3\4rubbish", whole[: len(whole) // 2]]
    for position in range(40, len(whole), max(1, len(whole) // 25)):
        damaged.append(whole[:position] + bytes(8) + whole[position + 8 :])
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            read_golden(path)
        except BundleSchemaError:
            refused += 1
    assert refused >= 3


@pytest.mark.parametrize("keys", [{}, {"x/image": 1}, {"0/image": 1}, {"0/probability_map": 1}, {"image": 1}])
def test_incomplete_files_are_refused(keys: dict[str, int], tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{key: np.zeros(size) for key, size in keys.items()})
    with pytest.raises(BundleSchemaError):
        read_golden(tmp_path / "golden.npz")


def test_a_plain_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "golden.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(BundleSchemaError):
        read_golden(tmp_path / "golden.npz")
