"""The pages on measurements hold what their commands print."""

from __future__ import annotations

import pytest

from edge_infer.measurements.measure import KINDS
from tests.docs.conftest import REPOSITORY


def between(page: str, name: str) -> str:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0].strip()


def test_the_table_of_drawn_lesions_is_what_the_command_prints() -> None:
    from trainer.scoring.abcd import drawn_table

    assert between("measurements.md", "drawn") == drawn_table().strip(), (
        "run python -m trainer measurements drawn --into docs/measurements.md"
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_number_is_documented(kind: object) -> None:
    page = (REPOSITORY / "docs/measurements.md").read_text(encoding="utf-8")
    assert f"`{kind.name}`" in page  # type: ignore[attr-defined]
