"""The JavaScript core in Node: it builds, it is clean, and it passes the vectors of every kind of bundle.

`.ci/run` installs its packages and sets EDGE_INFER_REQUIRE_PORTS; without them these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_infer.bundle.store import DEFAULT_BUNDLE
from edge_infer.conformance.run import STEPS, compute
from edge_infer.conformance.small_steps import computed
from edge_infer.conformance.store import FORMAT, BundleEntry, Index, Vector, write_folder
from edge_infer.conformance.write import write_vectors
from edge_infer.diagnoser import Diagnoser
from tests.conftest import REPOSITORY
from tests.ports.conftest import unproven

PORT = REPOSITORY / "ports/js"


def run(*command: str, **variables: str) -> None:
    """Runs a command in the port's folder; its output is the failure's message."""
    done = subprocess.run(
        command, cwd=PORT, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=540
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def built() -> None:
    missing = next(
        (
            reason
            for absent, reason in (
                (shutil.which("node") is None, "Node 20 is not installed"),
                (not (PORT / "node_modules").is_dir(), "run `npm ci` in ports/js first"),
            )
            if absent
        ),
        None,
    )
    if missing is not None:
        unproven("js", missing)
    run("node", "node_modules/typescript/bin/tsc")


def test_it_is_clean(built: None) -> None:
    run("node", "node_modules/eslint/bin/eslint.js", ".")


def test_it_passes_the_shipped_vectors(built: None) -> None:
    run("node", "--test", "--test-reporter=dot", "test/vectors.test.mjs")


def test_bundles_and_bad_input(built: None) -> None:
    run("node", "--test", "--test-reporter=dot", "test/bundle.test.mjs")


@pytest.mark.parametrize(
    "folder", sorted((REPOSITORY / "tests/fixtures/bundles").glob("schema-*")), ids=lambda path: path.name
)
def test_it_passes_the_vectors_of_every_schema(built: None, folder: Path, tmp_path: Path) -> None:
    with Diagnoser.load(folder, providers=["cpu"], threads=1) as diagnoser:
        write_vectors(diagnoser, tmp_path)
    variables = {"EDGE_INFER_VECTORS": str(tmp_path), "EDGE_INFER_BUNDLE": str(folder)}
    run("node", "--test", "--test-reporter=dot", "test/vectors.test.mjs", **variables)


def test_random_pictures_are_resized_to_the_same_bytes(built: None, tmp_path: Path) -> None:
    rng = np.random.default_rng(2026)
    folder = REPOSITORY / "exported" / DEFAULT_BUNDLE
    vectors: list[Vector] = []
    with Diagnoser.load(folder, providers=["cpu"], threads=1) as diagnoser:
        for number in range(150):
            rows, columns, height, width = (int(size) for size in rng.integers(2, 60, 4))
            if number % 5 == 0:
                rows, columns = height * int(rng.integers(1, 5)), width * int(rng.integers(1, 5))
            image = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
            given: dict[str, Any] = {"image": image, "height": height, "width": width}
            vectors.append(computed((f"random-{number}", "resize", "", given, {}), compute("resize", given, diagnoser)))
        entry = BundleEntry(diagnoser.manifest.name, diagnoser.manifest.version, diagnoser.bundle.sha256)
    steps = {name: step[0] for name, step in STEPS.items()}
    write_folder(tmp_path, Index(FORMAT, entry, steps, tuple(vectors)), "")
    run("node", "--test", "--test-reporter=dot", "test/vectors.test.mjs", EDGE_INFER_VECTORS=str(tmp_path))
