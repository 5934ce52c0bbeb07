"""The script of `docs/spark.md`, on Spark in local mode: the answers are those of `batch run`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pyarrow import parquet

from edge_infer import Diagnoser
from tests.conftest import REPOSITORY
from tests.docs.conftest import blocks

pytestmark = [
    pytest.mark.skipif(find_spec("pyspark") is None or find_spec("pandas") is None, reason="no pyspark[sql]"),
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java"),
]


def test_the_script_gives_every_picture_one_row_with_its_answer(
    archive: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    script = tmp_path / "spark_archive.py"
    script.write_text(blocks(REPOSITORY / "docs/spark.md", "py")[0].text, encoding="utf-8")
    submit = Path(str(find_spec("pyspark").submodule_search_locations[0])) / "bin/spark-submit"  # type: ignore[union-attr, index]
    settings = ("spark.ui.enabled=false", "spark.driver.host=127.0.0.1", "spark.log.level=ERROR")
    options = ["--master", "local[2]", *(word for setting in settings for word in ("--conf", setting))]
    command = [str(submit), *options, str(script), str(archive), str(tmp_path / "answers"), str(toy_bundle)]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)}
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(tmp_path / "spark")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    rows = {Path(row["source"]).name: row for row in parquet.read_table(tmp_path / "answers").to_pylist()}
    names = {path.name for path in archive.rglob("*") if path.suffix in (".png", ".jpg")}
    assert len(names) == 12
    assert parquet.read_table(tmp_path / "answers").num_rows == 12
    assert {name.replace("%C3%BC", "ü") for name in rows} == names
    assert rows["broken.jpg"]["error"] == "image-decode"
    assert rows["blank.png"]["reason"] == "blank"
    with Diagnoser.load(toy_bundle, threads=1) as diagnoser:
        answer = diagnoser.diagnose(archive / "a/1.png")
    assert rows["1.png"]["melanoma_probability"] == pytest.approx(answer.melanoma_probability, abs=1e-6)
    assert rows["1.png"]["bundle_sha256"] == diagnoser.bundle.sha256
