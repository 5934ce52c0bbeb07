from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from edge_infer.schema import SchemaError, dump, parse


@dataclass(frozen=True)
class Inner:
    size: int
    mode: Literal["keep", "zero"] = "keep"


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float
    inner: Inner
    sizes: tuple[int, ...] = ()
    table: dict[str, Inner] = field(default_factory=dict)
    limit: float | None = None
    extra: Any = None


GOOD: dict[str, Any] = {
    "name": "a",
    "rate": 1,
    "inner": {"size": 3, "mode": "zero"},
    "sizes": [1, 2],
    "table": {"x": {"size": 1}},
    "limit": 0.5,
    "extra": {"anything": [1]},
}


def test_round_trip() -> None:
    value = parse(Outer, GOOD)
    assert value == Outer("a", 1.0, Inner(3, "zero"), (1, 2), {"x": Inner(1)}, 0.5, {"anything": [1]})
    assert parse(Outer, dump(value)) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nam": "b"}, "nam: unknown key; did you mean 'name'?"),
        ({"inner": {"siez": 1}}, "inner.siez: unknown key; did you mean 'size'?"),
        ({"inner": {}}, "inner.size: missing"),
        ({"inner": {"size": True}}, "inner.size: expected int, got True"),
        ({"inner": {"size": 1, "mode": "kepe"}}, "did you mean 'keep'"),
        ({"rate": float("nan")}, "rate: nan is not a finite number"),
        ({"rate": "1"}, "rate: expected float"),
        ({"sizes": [1, "x"]}, "sizes[1]: expected int"),
        ({"table": {"x": {"size": "1"}}}, "table.x.size: expected int"),
        ({"limit": "x"}, "limit: expected float"),
        ({"inner": [1]}, "inner: expected a table, got list"),
    ],
)
def test_a_misfit_names_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(Outer, {**GOOD, **change})
    assert message in str(caught.value)
