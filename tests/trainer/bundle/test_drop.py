"""A variant that is taken out leaves no trace, and the bundle is whole without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_infer.bundle.manifest import MANIFEST
from edge_infer.bundle.store import load_bundle
from edge_infer.cli.app import app
from tests.conftest import REPOSITORY
from trainer.bundle.drop import drop_variants
from trainer.bundle.errors import ExportError

NAME = "coreml-float16"


def test_a_dropped_variant_leaves_no_trace_and_the_bundle_whole(tmp_path: Path) -> None:
    before = load_bundle(REPOSITORY / "exported/mobile")
    assert NAME in before.manifest.segmenter.variants and list(before.path.glob("*.mlpackage"))
    drop_variants(before, [NAME], tmp_path / "mobile")
    after = load_bundle(tmp_path / "mobile")
    old, new = before.manifest, after.manifest
    for stage, plain in ((new.segmenter, old.segmenter), (new.classifier, old.classifier)):
        assert NAME not in stage.variants and "coreml" not in stage.files
        assert replace(stage, variants=plain.variants, files=plain.files) == plain
    assert replace(new, files=old.files, segmenter=old.segmenter, classifier=old.classifier) == old
    listed = {path.relative_to(after.path).as_posix() for path in after.path.rglob("*") if path.is_file()}
    assert listed - {MANIFEST} == set(new.files) and not any("mlpackage" in name for name in listed)
    assert new.files == {name: entry for name, entry in old.files.items() if name in new.files}
    result = CliRunner().invoke(app, ["verify", str(after.path)])
    assert result.exit_code == 0, result.output
    with pytest.raises(ExportError, match=f"no variant {NAME}"):
        drop_variants(after, [NAME], tmp_path / "mobile")


def test_a_bundle_may_replace_itself(tmp_path: Path) -> None:
    home = tmp_path / "mobile"
    drop_variants(load_bundle(REPOSITORY / "exported/mobile"), [], home)
    drop_variants(load_bundle(home), [NAME], home)
    assert NAME not in load_bundle(home).manifest.segmenter.variants
    assert [path.name for path in tmp_path.iterdir()] == ["mobile"], "nothing is left beside it"
