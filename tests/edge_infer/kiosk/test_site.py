"""What the kiosk serves: everything named by one hash, or a typed error that says how to build it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from edge_infer.bundle.store import load_bundle
from edge_infer.errors import BundleError
from edge_infer.kiosk import app
from edge_infer.kiosk.app import BUILD_APP, BUILD_WHEEL, KioskNotBuiltError, find_app
from edge_infer.kiosk.site import Settings, make_site


def test_the_release_names_every_file_but_the_worker(fake_app: Path, toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    site = make_site(fake_app, bundle, Settings("balanced", 30, False, "de"))
    release = json.loads(site.files["release.json"])
    assert set(release["files"]) == set(site.files) - {"release.json", "sw.js"}
    assert {"bundle/bundle.json", "bundle/segmenter.onnx", "bundle/classifier.onnx"} < set(release["files"])
    for path, entry in release["files"].items():
        data = site.files[path]
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert release["bundle"] == {"name": "toy", "version": "1.2.3", "sha256": bundle.sha256}
    assert release["settings"] == {
        "operating_point": "balanced",
        "idle_seconds": 30,
        "save": False,
        "language": "de",
        "prevalence": None,
    }
    assert site.release == hashlib.sha256(site.files["release.json"]).hexdigest()


def test_whatever_changes_makes_another_release(fake_app: Path, toy_bundle: Path) -> None:
    bundle = load_bundle(toy_bundle)
    first = make_site(fake_app, bundle, Settings()).release
    assert make_site(fake_app, bundle, Settings()).release == first
    assert make_site(fake_app, bundle, Settings(idle_seconds=31)).release != first
    (fake_app / "assets/main.js").write_text("changed")
    assert make_site(fake_app, bundle, Settings()).release != first


def test_an_operating_point_that_the_bundle_lacks_is_refused(fake_app: Path, toy_bundle: Path) -> None:
    with pytest.raises(BundleError, match="operating point 'other'"):
        make_site(fake_app, load_bundle(toy_bundle), Settings("other"))


def test_without_a_built_kiosk_the_error_names_the_command(
    fake_app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    monkeypatch.setattr(app, "_PACKAGED", tmp_path / "gone")
    monkeypatch.setattr(app, "_CHECKOUT", checkout / "dist")
    with pytest.raises(KioskNotBuiltError) as elsewhere:
        find_app()
    assert BUILD_WHEEL in elsewhere.value.remedy
    checkout.mkdir()
    (checkout / "package.json").write_text("{}")
    with pytest.raises(KioskNotBuiltError) as here:
        find_app()
    assert BUILD_APP in here.value.remedy
    fake_app.rename(checkout / "dist")
    assert find_app() == checkout / "dist"
