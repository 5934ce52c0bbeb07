"""What the project is built and tested with: locked, licences known, listed, audited honestly, built reproducibly."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.supply_chain import audit as auditing
from tests.supply_chain.licences import IN_BINARIES, licence, permissive
from tests.supply_chain.lock import locked, unmet
from tests.supply_chain.needs import WHEEL, NotInstalledError, closure, direct
from tests.supply_chain.sbom import sbom


def test_every_direct_requirement_of_the_tests_is_locked_to_a_version_that_it_allows() -> None:
    assert unmet() == []


def test_ci_installs_the_locked_versions() -> None:
    script = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    assert 'export PIP_CONSTRAINT="$PWD/tests/constraints.txt"' in script


def test_everything_that_the_wheel_needs_has_a_known_licence_without_copyleft() -> None:
    try:
        installed = closure(direct(WHEEL))
    except NotInstalledError as error:
        pytest.skip(f"another engine's build is installed: {error}")
    assert {"numpy", "opencv-python-headless", "typer", "onnxruntime"} <= installed.keys()
    judged = [licence(name, distribution) for name, distribution in installed.items()]
    assert [f"{one.name}: {one.complaint}" for one in judged if one.complaint] == []
    assert installed.keys() >= IN_BINARIES.keys()


@pytest.mark.parametrize(
    ("metadata", "notice", "says"),
    [
        ("License-Expression: MIT", "", ""),
        ("License: MIT License", "", ""),
        ("License-Expression: Apache-2.0 OR GPL-2.0-only", "", ""),
        ("Classifier: License :: OSI Approved :: BSD License", "", ""),
        ("", "", "unknown"),
        ("License: as the readme says", "", "unknown"),
        ("License-Expression: MIT AND LGPL-3.0-only", "", "not known as permissive"),
        ("License-Expression: (MIT OR GPL-2.0-only) AND GPL-3.0-only", "", "not known as permissive"),
        ("License: GPLv3", "", "unknown"),
        ("License-Expression: MIT", "Parts are under the GNU General Public License, version 2.", "speak of copyleft"),
    ],
)
def test_unknown_licences_and_copyleft_are_refused(tmp_path: Path, metadata: str, notice: str, says: str) -> None:
    folder = tmp_path / "some-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: some\nVersion: 1.0\n{metadata}\n")
    (folder / "LICENSE.txt").write_text(notice)
    (folder / "RECORD").write_text("some-1.0.dist-info/LICENSE.txt,,\n")
    complaint = licence("some", Distribution.at(folder)).complaint
    assert says in complaint and bool(says) == bool(complaint)


def test_alternatives_need_one_that_is_permissive() -> None:
    assert permissive("MIT") and permissive("GPL-3.0-only OR MIT AND Zlib")
    assert not permissive("GPL-3.0-only OR LGPL-2.1-only") and not permissive("MIT AND GPL-3.0-only")


def test_the_bill_of_materials_names_what_it_lists_and_is_the_same_twice() -> None:
    bill = sbom()
    assert json.dumps(bill) == json.dumps(sbom())
    references = {component["bom-ref"] for component in bill["components"]} | {"edge-infer"}
    assert len(references) == len(bill["components"]) + 1
    assert {entry["ref"] for entry in bill["dependencies"]} <= references
    assert {name for entry in bill["dependencies"] for name in entry["dependsOn"]} <= references
    (root,) = (entry for entry in bill["dependencies"] if entry["ref"] == "edge-infer")
    assert {name.split("@")[0] for name in root["dependsOn"]} >= {"pkg:pypi/numpy", "pkg:pypi/typer", "bundle:mobile"}
    (bundle,) = (one for one in bill["components"] if one["type"] == "machine-learning-model")
    manifest = (REPOSITORY / "exported/mobile/bundle.json").read_bytes()
    assert bundle["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(manifest).hexdigest()}]


def test_the_bill_of_materials_follows_the_schema_of_cyclonedx() -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    pytest.importorskip("jsonschema")
    from cyclonedx.schema import SchemaVersion

    try:
        complaint = validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom()))
    except Exception as error:  # its extra [json-validation] is absent
        pytest.skip(f"cyclonedx cannot validate: {error}")
    assert complaint is None


def test_an_audit_that_did_not_happen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(stdout: str, stderr: str = "") -> auditing.Audit:
        monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(stdout=stdout, stderr=stderr))
        return auditing.audit(python="another")

    def dependencies(*entries: dict[str, Any]) -> str:
        return json.dumps({"dependencies": entries})

    offline = answers("", "requests.exceptions.ConnectionError: no route")
    assert not offline.done and offline.says.startswith("NOT AUDITED") and "no route" in offline.says
    skipped = answers(dependencies({"name": "numpy", "skip_reason": "not found"}))
    assert not skipped.done and skipped.says.startswith("NOT AUDITED: 1 versions") and "numpy" in skipped.says
    clean = answers(dependencies({"name": "numpy", "version": "2.4.6", "vulns": []}))
    assert clean.done and clean.found == () and clean.says.startswith(f"1 of {len(locked())}")
    flaw = {"id": "CVE-1", "fix_versions": ["2.5"]}
    hit = answers(dependencies({"name": "numpy", "version": "2.4.6", "vulns": [flaw]}))
    assert hit.found == ("numpy 2.4.6: CVE-1, fixed in 2.5",)


def test_two_builds_in_two_places_at_two_times_are_the_same_bytes(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no checkout of git")
    files = [name for name in os.fsdecode(listed.stdout).split("\0") if name and (REPOSITORY / name).is_file()]
    built: list[dict[str, str]] = []
    for number, (mode, stamp, zone, language) in enumerate(
        [(0o644, 1_700_000_000, "UTC", "C"), (0o664, 1_750_000_000, "Asia/Tokyo", "C.UTF-8")]
    ):
        copy = tmp_path / ("x" * number + "copy")
        for name in files if number else reversed(files):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, target)
            target.chmod(mode | (0o111 if os.access(REPOSITORY / name, os.X_OK) else 0))
            os.utime(target, (stamp, stamp))
        settings = {**os.environ, "TZ": zone, "LC_ALL": language, "PYTHONHASHSEED": str(number + 1)}
        settings.pop("SOURCE_DATE_EPOCH", None)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", "dist"]
        subprocess.run(command, cwd=copy, env=settings, check=True, capture_output=True)
        made = sorted((copy / "dist").iterdir())
        built.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made})
        shutil.rmtree(copy)
    assert len(built[0]) == 2 and built[0] == built[1]
