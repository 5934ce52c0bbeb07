"""What was shipped must load for ever: one bundle of each schema version, written when that version was new."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_infer import Diagnoser
from edge_infer.bundle.golden import Scoring, read_golden, replay
from edge_infer.bundle.manifest import MANIFEST, SCHEMA_VERSION, SINCE, UNVERSIONED
from edge_infer.bundle.parse import parse_manifest
from edge_infer.bundle.store import load_bundle
from edge_infer.errors import BundleSchemaError
from tests.conftest import REPOSITORY
from tests.support.toy_bundle import plain_picture, write_manifest

FIXTURES = REPOSITORY / "tests/fixtures/bundles"


@pytest.mark.parametrize("schema", range(1, SCHEMA_VERSION + 1))
@pytest.mark.parametrize("variant", [None, "int8"])
def test_a_bundle_of_every_schema_version_loads_and_diagnoses(schema: int, variant: str | None) -> None:
    folder = FIXTURES / f"schema-{schema}"
    assert json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["schema_version"] == schema
    load_bundle(folder)
    with Diagnoser.load(folder, providers=["cpu"], threads=1, variant=variant, abstain=0.1) as diagnoser:
        manifest = diagnoser.manifest
        traces = read_golden(folder / manifest.golden.file)
        deviations = list(replay(traces, manifest, Scoring(diagnoser.segment_and_score), diagnoser.classify))
        assert len(deviations) == (5 if schema < 3 else 7) and all(deviation.passed for deviation in deviations)
        diagnosis = diagnoser.diagnose(plain_picture())
    assert (diagnosis.status, diagnosis.label) == ("ok", "melanoma")
    assert diagnosis.melanoma_probability == pytest.approx(0.8422, abs=1e-3)
    if schema < 3:
        assert diagnosis.quality["dermoscopy"] == pytest.approx(1.2645, abs=1e-3)
    else:
        assert diagnosis.quality["familiarity"] == pytest.approx(5.6825, abs=1e-3) and diagnosis.prior == 0.125
    assert diagnosis.bundle_version == diagnosis.to_dict()["bundle_version"] == manifest.version


def test_what_an_old_schema_does_not_say_has_a_default_and_is_said_when_it_is_written_again(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FIXTURES / "schema-1", tmp_path / "copy"))
    manifest = load_bundle(copy).manifest
    assert (manifest.version, manifest.min_onnxruntime) == (UNVERSIONED, None)
    write_manifest(copy, manifest)
    stored = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    assert stored["schema_version"] == SCHEMA_VERSION and set(SINCE) <= set(stored)
    assert load_bundle(copy).manifest == manifest == parse_manifest(manifest.to_json())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("familiarity",), None),
        (("calibration", "prior"), 0.1),
        (("operating_points", 0, "basis"), "ranking"),
        (("golden", "max_familiarity"), None),
        (("segmenter", "variants", "int8", "tolerance", "max_familiarity"), 1.0),
    ],
)
def test_a_key_of_a_newer_schema_is_refused_in_an_older_one(path: tuple[Any, ...], value: object) -> None:
    content = json.loads((FIXTURES / "schema-2" / MANIFEST).read_text(encoding="utf-8"))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    name = ".".join(map(str, path)).replace(".", r"\.")
    with pytest.raises(BundleSchemaError, match=f"{name}: unknown key in schema version 2"):
        parse_manifest(json.dumps(content))


def test_the_fixtures_use_every_part_of_the_schema() -> None:
    """A part that no fixture holds could stop to load and nobody would see it."""
    for schema in range(1, SCHEMA_VERSION + 1):
        manifest = load_bundle(FIXTURES / f"schema-{schema}").manifest
        assert manifest.variants_left_out and manifest.segmenter.variants and manifest.operating_points[0].bands
        if schema < 3:
            assert manifest.dermoscopy is not None
        else:
            assert manifest.familiarity is not None and manifest.calibration.prior is not None
            assert manifest.operating_points[1].basis == "probability"
        size = sum(path.stat().st_size for path in (FIXTURES / f"schema-{schema}").iterdir())
        assert size < 20_000, "a fixture stays in the history for ever"
