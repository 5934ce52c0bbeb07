"""A bundle is found, checked and refused for the right reason."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_infer import errors
from edge_infer.bundle.manifest import MANIFEST, ParityGate, Variant
from edge_infer.bundle.parse import parse_manifest
from edge_infer.bundle.store import available_bundles, find_bundle, load_bundle, read_manifest
from edge_infer.rules import Tolerance
from tests.support.toy_bundle import file_entry, write_manifest


@pytest.fixture
def copy(toy_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_manifest_survives_the_round_trip(toy_bundle: Path) -> None:
    manifest = read_manifest(toy_bundle).manifest
    assert parse_manifest(manifest.to_json()) == manifest


def test_an_older_manifest_without_bands_and_dermoscopy_loads(copy: Path) -> None:
    def age(manifest: dict[str, Any]) -> None:
        del manifest["dermoscopy"]
        for point in manifest["operating_points"]:
            del point["bands"]

    edit(copy, age)
    manifest = load_bundle(copy).manifest
    assert manifest.dermoscopy is None and manifest.operating_point().bands == ()


def test_the_hash_covers_every_file(copy: Path) -> None:
    before = load_bundle(copy).sha256
    with (copy / "golden.npz").open("ab") as stream:
        stream.write(b"x")
    manifest = read_manifest(copy).manifest
    files = {**manifest.files, "golden.npz": file_entry(copy / "golden.npz")}
    write_manifest(copy, replace(manifest, files=files))
    assert load_bundle(copy).sha256 != before


@pytest.mark.parametrize("name", ["segmenter.onnx", "classifier.onnx", "golden.npz"])
def test_every_changed_or_missing_file_is_refused(name: str, copy: Path) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(errors.BundleTamperedError, match=name):
        load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(errors.BundleFileMissingError, match=name):
        load_bundle(copy)


GATE = ParityGate("classifier.int8.onnx", "max |Δp|", "<=", 0.05, 0.02)
LOOSE = Tolerance(0.01, 0.98, 0.05, 0.1)


def add_package(folder: Path, **changes: Any) -> None:
    """Gives both stages a Core ML variant whose package has two files."""
    manifest = read_manifest(folder).manifest
    files = dict(manifest.files)
    stages = {}
    for name in ("segmenter", "classifier"):
        for part in ("Manifest.json", "Data/model.mlmodel"):
            path = folder / f"{name}.mlpackage" / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {part}")
            files[f"{name}.mlpackage/{part}"] = file_entry(path)
        variant = Variant("coreml", f"{name}.mlpackage", "float16", "apple", "float16", (GATE,), LOOSE)
        stages[name] = replace(getattr(manifest, name), variants={"coreml-float16": replace(variant, **changes)})
    write_manifest(folder, replace(manifest, files=files, variants_left_out={"int8": "flips 2 %"}, **stages))


def test_variants_are_found_by_name_and_every_file_of_a_package_is_checked(copy: Path) -> None:
    add_package(copy)
    bundle = load_bundle(copy)
    assert parse_manifest(bundle.manifest.to_json()) == bundle.manifest
    assert list(bundle.manifest.variants("classifier")) == ["float32", "coreml-float16"]
    assert bundle.manifest.variant("segmenter").file == "segmenter.onnx"
    assert bundle.manifest.variant("segmenter").tolerance.max_map == bundle.manifest.golden.max_map
    assert bundle.variant_file("classifier", "coreml-float16") == copy / "classifier.mlpackage"
    assert GATE in bundle.manifest.gates
    with pytest.raises(errors.BundleError, match=r"no variant 'int8' of its segmenter: flips 2 %"):
        bundle.variant_file("segmenter", "int8")
    with pytest.raises(errors.BundleError, match="coreml-float16"):
        bundle.manifest.variant("segmenter", "float64")
    (copy / "classifier.mlpackage/Data/model.mlmodel").write_text("changed")
    with pytest.raises(errors.BundleTamperedError, match=r"model\.mlmodel"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "other.mlpackage"}, "not listed"),
        ({"parity": (replace(GATE, value=0.06),)}, "parity gate failed"),
        ({"parity": ()}, "no parity gate"),
    ],
)
def test_a_variant_without_files_or_proof_is_refused(changes: dict[str, Any], message: str, copy: Path) -> None:
    add_package(copy, **changes)
    with pytest.raises(errors.BundleSchemaError, match=message):
        load_bundle(copy)


def test_two_tolerances_together_are_the_wider_of_each() -> None:
    tight = Tolerance(0.02, 0.99, 0.01, 0.01)
    assert tight.wider(LOOSE) == LOOSE.wider(tight) == Tolerance(0.02, 0.98, 0.05, 0.1)


BROKEN_MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "future version": (lambda m: m.update(schema_version=4), "schema version 4"),
    "no version": (lambda m: m.pop("schema_version"), "schema version None"),
    "version as text": (lambda m: m.update(schema_version="2"), "schema version '2'"),
    "version of no bundle": (lambda m: m.update(version="1.0"), "version '1.0'"),
    "no version of its own": (lambda m: m.pop("version"), "version: missing"),
    "no version of an engine": (lambda m: m.update(min_onnxruntime="new"), "min_onnxruntime 'new'"),
    "a newer schema's key": (lambda m: m.update(schema_version=1), "version: unknown key in schema version 1"),
    "unknown key": (lambda m: m.update(thresh=1), "thresh: unknown key"),
    "missing key": (lambda m: m.pop("roi"), "roi: missing"),
    "wrong type": (lambda m: m["mask"].update(threshold="0.5"), "mask.threshold: expected float"),
    "unknown ROI rule": (lambda m: m["roi"].update(background="grey"), "roi.background"),
    "melanoma is no label": (lambda m: m.update(melanoma_label="melanoma"), "melanoma_label"),
    "a label twice": (lambda m: m.update(labels=[*m["labels"][:-1], "mel"]), "labels"),
    "labels and names differ": (lambda m: m["labels"].append("extra"), "label_names"),
    "threshold out of range": (lambda m: m["operating_points"][0].update(threshold=1.5), "threshold 1.5"),
    "no such default": (lambda m: m.update(default_operating_point="x"), "default_operating_point"),
    "operating point twice": (
        lambda m: m["operating_points"].append(m["operating_points"][0]),
        "share a name",
    ),
    "area fractions crossed": (lambda m: m["mask"].update(min_area_fraction=0.9), "area fractions"),
    "model not listed": (lambda m: m["files"].pop("segmenter.onnx"), "not listed"),
    "golden not listed": (lambda m: m["files"].pop("golden.npz"), "not listed"),
    "path leaves the folder": (lambda m: m["files"].update({"../x": m["files"]["golden.npz"]}), "leaves the bundle"),
    "absolute path": (lambda m: m["files"].update({"/etc/passwd": m["files"]["golden.npz"]}), "leaves the bundle"),
    "classifier not square": (lambda m: m["classifier"]["input"].update(height=65), "square"),
    "band not around the threshold": (
        lambda m: m["operating_points"][0].update(bands=[{"referred": 0.1, "low": 0.5, "high": 0.6}]),
        "not around the threshold",
    ),
    "band of everything": (
        lambda m: m["operating_points"][0].update(bands=[{"referred": 1.0, "low": 0.1, "high": 0.6}]),
        "not a share",
    ),
    "unknown measure": (
        lambda m: m.update(
            dermoscopy={
                "terms": {"smell": {"centre": 0, "scale": 1, "weight": 1, "curve": 0}},
                "clip": 4,
                "intercept": 0,
                "min_score": 0,
            }
        ),
        "dermoscopy.terms.smell: unknown",
    ),
    "failed parity": (lambda m: m["parity"][0].update(value=1.0), "parity gate failed"),
    "huge input": (lambda m: m["segmenter"]["input"].update(height=10**6), "not within"),
}


@pytest.mark.parametrize("name", BROKEN_MANIFESTS)
def test_a_broken_manifest_says_what_is_wrong(name: str, copy: Path) -> None:
    change, message = BROKEN_MANIFESTS[name]
    edit(copy, change)
    with pytest.raises(errors.BundleSchemaError) as caught:
        load_bundle(copy)
    assert message in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"schema_version": NaN}'])
def test_rubbish_manifests(content: bytes, copy: Path) -> None:
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(errors.BundleSchemaError):
        load_bundle(copy)


def test_bundles_are_found_by_name_and_path(toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(toy_bundle, first / "alpha")
    shutil.copytree(toy_bundle, second / "alpha")
    shutil.copytree(toy_bundle, second / "beta")
    (first / "not-a-bundle").mkdir()
    monkeypatch.setenv("EDGE_INFER_BUNDLES", os.pathsep.join([str(first), str(second), str(tmp_path / "absent")]))
    assert find_bundle("alpha") == first / "alpha"
    assert find_bundle("beta") == second / "beta"
    assert find_bundle(second / "alpha") == second / "alpha"
    found = list(available_bundles())
    assert found[:2] == [first / "alpha", second / "beta"]

    monkeypatch.chdir(second)
    monkeypatch.delenv("EDGE_INFER_BUNDLES")
    assert find_bundle("beta") == Path("beta")


@pytest.mark.parametrize("wanted", ["no-such-bundle", "/no/such/folder", ".", "..", ""])
def test_an_absent_bundle_lists_the_known_ones(wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.BundleNotFoundError) as caught:
        find_bundle(wanted)
    assert "EDGE_INFER_BUNDLES" in caught.value.remedy


def test_an_unknown_operating_point_lists_the_known_ones(toy_bundle: Path) -> None:
    manifest = read_manifest(toy_bundle).manifest
    assert manifest.operating_point().name == manifest.default_operating_point
    with pytest.raises(errors.BundleError, match="sensitive"):
        manifest.operating_point("fastest")
