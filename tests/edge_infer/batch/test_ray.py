"""On Ray: a local cluster of two nodes of which a worker and a node are killed; without Ray: what the command says."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.ray_cluster import ray_kill_test
from edge_infer.batch.on_ray import Worker
from edge_infer.cli.app import app


@pytest.mark.skipif(find_spec("ray") is None, reason="no Ray (pip install 'ray>=2.40')")
def test_with_a_worker_and_a_node_killed_nothing_is_lost_and_nothing_is_there_twice(
    archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    found = ray_kill_test(
        [archive], tmp_path, count=600, partition_size=50, bundle=str(toy_bundle), progress=lambda text: None
    )
    assert found.whole and (found.killed_workers, found.killed_nodes) == (1, 1)
    assert found.pictures == 600 and found.partitions == 12


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_command_says_what_to_install(archive: Path, toy_bundle: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    planned = CliRunner().invoke(app, ["batch", "plan", str(archive), "-o", run, "--bundle", str(toy_bundle)])
    assert planned.exit_code == 0, planned.output
    done = CliRunner().invoke(app, ["batch", "run", run, "--on", "ray"])
    assert done.exit_code == 3 and "extra-not-installed" in done.output and "edge-infer[ray]" in done.output


def test_an_address_without_ray_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["batch", "run", str(tmp_path), "--address", "127.0.0.1:6379"])
    assert done.exit_code == 2 and "only with --on ray" in done.output


def test_a_node_with_another_version_or_without_the_folder_is_named(tmp_path: Path) -> None:
    other = Worker().open(tmp_path, None, "0.0.0")
    assert other is not None and other.code == "cluster" and "same version" in other.remedy
