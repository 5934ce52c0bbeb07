"""Whether limits hold: good pictures of each source, sources left out of the fit, and spoilt copies."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_infer.reasons import Reason
from edge_infer.rules import QualityLimits
from edge_infer.steps.quality import Quality
from tests.support.many_sources import draw_extra
from trainer.choices.limits import quality_limits
from trainer.cli.app import app
from trainer.errors import DataError
from trainer.report.limits import Good, fit_limits, limits_markdown, refused_reasons
from trainer.scoring.trials import SPOILT, Trial

SHIPPED = "toy 1.0.0", QualityLimits(100, 1.0, 1.0, 254.0, 0.001)
USUAL, DIM = Quality(160.0, 24.0, 0.1), Quality(80.0, 24.0, 0.1)


def good(source: str, quality: Quality, split: str = "train", side: int = 200) -> list[Good]:
    return [Good(source, split, (side, side), quality)] * 4


def test_a_source_is_left_out_of_the_fit_and_then_judged() -> None:
    darker = Quality(50.0, 24.0, 0.1)
    validated = [*good("a", USUAL, "val"), *good("b", darker, "val")]
    pictures = [*good("a", USUAL), *good("b", DIM), *validated, *good("c", darker), *good("only-trains", darker)]
    fits = fit_limits(pictures, SHIPPED, ["a", "b", "only-trains"], [])
    assert fits.now == quality_limits({"a": [USUAL], "b": [DIM]}, 100)
    assert fits.without["b"] == quality_limits({"a": [USUAL]}, 100) and set(fits.without) == {"a", "b"}
    text = limits_markdown(fits, pictures, [Trial("x", "dark", Quality(40.0, 24.0, 0.1))], [])
    assert "| b | val | 4 | 0.00% | 0.00% | 100.00% | none |" in text
    assert "| c | train | 4 | 0.00% | 0.00% | - | none |" in text
    assert "| dark (n = 1) | 0.0% | 0.0% | 0.0% | 100.0% |" in text


def test_sources_of_any_size_are_refused_for_light_alone_and_have_no_say() -> None:
    smooth = Quality(30.0, 24.0, 0.0001)
    tiny = [*good("tiny", USUAL._replace(sharpness=0.0001), side=84), *good("tiny", smooth)]
    pictures = [*good("a", USUAL), *good("a", USUAL, "val"), *tiny]
    fits = fit_limits(pictures, SHIPPED, ["a", "tiny"], ["tiny"])
    assert fits.now == quality_limits({"a": [USUAL]}, 100) and not fits.without
    assert refused_reasons(pictures, fits.now, ["tiny"]) == {Reason.TOO_DARK: 4}
    assert refused_reasons(pictures, fits.now, []) == {Reason.TOO_DARK: 4, Reason.PICTURE_TOO_SMALL: 4}


def test_nothing_to_fit_to_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="fit to") as error:
        fit_limits(good("c", USUAL), SHIPPED, ["a"], [])
    assert "folders of a" in str(error.value)


def test_the_command_tells_what_each_fit_refuses(
    toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.bundle.recipe.learnt_by", lambda manifest: ("clinic", "archive"))
    data = draw_extra(tmp_path / "extra")
    result = CliRunner().invoke(app, ["limits", str(toy_bundle), "--data", str(data), "--limit", "3"])
    assert result.exit_code == 0, result.output
    assert "| without clinic |" in result.stdout and "| without archive |" in result.stdout
    assert "| unnamed | train |" in result.stdout
    assert all(f"| {what} (n = " in result.stdout for what in SPOILT)
