"""Small jobs of every kind that writes: diagnose, batch, plan, publish, training."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.support.toy_bundle import write_toy_bundle
from trainer.data.drawn import draw_dataset, draw_picture


@dataclass
class Job:
    """Something that writes below a folder.

    Attributes:
        name: of it.
        root: the folder; every operation below it counts.
        start: fills the folder with what is there before.
        run: does it, in a process of its own; returns an exit code or raises.
        final: what an undisturbed run leaves, without times; compared between runs.
        whole: what is wrong with what a fault left, "" where nothing is; it gets the undisturbed result, or None.
        small: bytes of room at which the job's disk is full.
        stdout: file that its standard output goes to; None: nowhere.
    """

    name: str
    root: Path
    start: Callable[[], None]
    run: Callable[[], int]
    final: Callable[[], Any]
    whole: Callable[[Any], str]
    small: int
    stdout: Path | None = None

    def fresh(self) -> None:
        """The folder as it is before the job."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.start()

    def leftovers(self) -> list[str]:
        """Temporary files and folders."""
        found = (path for path in self.root.rglob(".*") if not path.name.startswith(".nfs"))
        return sorted(str(path.relative_to(self.root)) for path in found)


def jobs(folder: Path) -> Iterator[Job]:
    """All of them, one after the other."""
    bundle = write_toy_bundle(folder / "toy")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, kind in enumerate(("nv", "mel", "bkl")):
        picture = draw_picture(np.random.default_rng(100 + number), 96, 128, kind, hairs=0, vignette=False).image
        cv2.imwrite(str(pictures / f"{number}.png"), picture[..., ::-1])
    yield diagnose_job(folder / "diagnose", bundle, pictures)
    yield plan_job(folder / "plan", bundle, pictures)
    yield batch_job(folder / "batch", bundle, pictures)
    yield publish_job(folder / "publish", bundle)
    yield training_job(folder / "training", folder / "data")


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    """Hashes of files by their paths."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def unlike(found: dict[str, str], wanted: dict[str, str] | None) -> str:
    """Names of what is there and should be otherwise."""
    wrong = [] if wanted is None else [name for name, value in found.items() if wanted.get(name) != value]
    return f"not what it should be: {', '.join(wrong)}" if wrong else ""


def diagnose_job(root: Path, bundle: Path, pictures: Path) -> Job:
    """`edge-infer diagnose` of a folder, with saved pictures, a report, and NDJSON in a file."""
    lines = root.with_name("answers.ndjson")

    def run() -> int:
        from edge_infer.cli.app import main

        sys.argv[1:] = ["diagnose", str(pictures), "--bundle", str(bundle), "--format", "ndjson", "--threads", "1"]
        sys.argv += ["--save-overlay", str(root / "overlays"), "--save-mask", str(root / "masks")]
        sys.argv += ["--save-report", str(root / "report.html"), "--batch-size", "2"]
        main()
        return 0

    def answers() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in lines.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        return [{key: value for key, value in one.items() if key != "timings_ms"} for one in found]

    def final() -> Any:
        return hashes(root, "*.png"), answers(), (root / "report.html").read_text().rstrip().endswith("</html>")

    def whole(wanted: Any) -> str:
        if wanted is None:
            return ""
        if (root / "report.html").exists() and not (root / "report.html").read_text().rstrip().endswith("</html>"):
            return "half a report"
        if lines.exists() and answers() != wanted[1][: len(answers())]:
            return "other answers"
        for answer in answers() if lines.exists() else ():
            if missing := [path for path in answer["saved"].values() if path and not Path(path).is_file()]:
                return f"told and not there: {missing}"
        return unlike(hashes(root, "*.png"), wanted[0])

    return Job("diagnose", root, lambda: None, run, final, whole, small=6_000, stdout=lines)


def plan_job(root: Path, bundle: Path, pictures: Path) -> Job:
    """`edge-infer batch plan`; a plan that is there is kept, as planning into its folder is refused."""

    def run() -> int:
        if not (root / "run" / "plan.json").exists():
            plan(root / "run", bundle, pictures)
        return 0

    def final() -> Any:
        return hashes(root / "run", "*.*json")

    def whole(wanted: Any) -> str:
        if wanted is not None and (root / "run").exists() and final() != wanted:
            return "half a plan under the name of a whole one"
        return ""

    return Job("batch plan", root, lambda: None, run, final, whole, small=4_096)


def plan(run: Path, bundle: Path, pictures: Path) -> None:
    """Plans the pictures in partitions of one."""
    from edge_infer.batch.listing import list_entries
    from edge_infer.batch.plan import Options, write_plan
    from edge_infer.bundle.store import read_manifest

    options = Options(str(bundle), None, "balanced", None, None, 2, 10**7)
    identity = read_manifest(bundle).identity
    given = [str(pictures)]
    write_plan(run, list_entries(given), bundle=identity, options=options, inputs=given, partition_size=1)


def batch_job(root: Path, bundle: Path, pictures: Path) -> Job:
    """`edge-infer batch run`, in this process."""
    planned = root.with_name("planned")
    plan(planned, bundle, pictures)

    def engine(run: Path, indices: Iterable[int], where: str | None) -> Iterator[Any]:
        from edge_infer.batch.plan import read_plan
        from edge_infer.batch.pool import Done
        from edge_infer.batch.work import open_diagnoser, work_off
        from edge_infer.errors import EdgeInferError

        made = read_plan(run)
        with open_diagnoser(made, where) as diagnoser:
            for index in indices:
                try:
                    yield Done(index, work_off(run, made, index, diagnoser), None)
                except EdgeInferError as error:
                    yield Done(index, None, error)

    def run() -> int:
        from edge_infer.batch.running import run_batch

        for failure in run_batch(root / "run", engine).failures:
            raise failure
        return 0

    def final() -> Any:
        return hashes(root / "run", "part-*.parquet")

    return Job(
        "batch run",
        root,
        lambda: shutil.copytree(planned, root / "run") and None,
        run,
        final,
        lambda wanted: unlike(final(), wanted),
        small=12_000,
    )


def publish_job(root: Path, bundle: Path) -> Job:
    """`python -m trainer report`'s last step: a published bundle is replaced by a new one."""
    out = root / "toy"

    def run() -> int:
        from edge_infer.bundle.store import read_manifest
        from trainer.bundle.write import publish

        publish(bundle, out, dataclasses.replace(read_manifest(bundle).manifest, version="2.0.0"), "# A new card\n")
        return 0

    def version() -> str:
        from edge_infer.bundle.store import load_bundle

        return load_bundle(out).manifest.version

    def whole(wanted: Any) -> str:
        if version() not in ("1.2.3", "2.0.0"):
            return f"the bundle has version {version()}"
        return ""

    return Job(
        "publish",
        root,
        lambda: shutil.copytree(bundle, out) and None,
        run,
        lambda: hashes(out, "*"),
        whole,
        small=9_000,
    )


def training_job(root: Path, data: Path) -> Job:
    """Two epochs of a small network on a few drawn pictures."""
    # A user without rights may be unable to read the interpreter's own modules.
    importlib.import_module("trainer.training.loop")
    codecs.lookup("utf-8-sig")
    draw_dataset(data, 28, seed=3, height=48, width=64)
    cache = root.with_name("cache")

    def train() -> int:
        import torch

        from trainer.data.ham10000 import read_ham10000
        from trainer.data.splits import standard_split
        from trainer.recipe import load_recipe
        from trainer.training.loop import train

        torch.set_num_threads(1)
        recipe = load_recipe("mobile-classifier")
        changed = {"size": 32, "small_size": None}
        if recipe.data.cache_size is not None:
            changed["cache_size"] = 40
        recipe = dataclasses.replace(
            recipe,
            data=dataclasses.replace(recipe.data, **changed),  # type: ignore[arg-type]
            optim=dataclasses.replace(recipe.optim, epochs=2, batch_size=8, warmup=0.0),
            members=1,
        )
        parts = standard_split(read_ham10000(data))
        train(recipe, parts["train"][:16], parts["val"][:4], root / "run", cache=cache)
        return 0

    def final() -> Any:
        from trainer.training.checkpoint import read_file

        found: dict[str, str] = {}
        for name in ("best.pt", "last.pt"):
            content = read_file(root / "run" / name)
            for group in ("weights", "model"):
                for key, value in sorted(content.get(group, {}).items()):
                    found[f"{name} {group} {key}"] = hashlib.sha256(value.numpy().tobytes()).hexdigest()
        with (root / "run/history.csv").open(newline="") as stream:
            rows = [
                {k: v for k, v in row.items() if k not in ("seconds", "cpu_seconds")} for row in csv.DictReader(stream)
            ]
        return found, rows

    def whole(wanted: Any) -> str:
        from trainer.training.checkpoint import read_file

        for name in ("best.pt", "last.pt"):
            if (root / "run" / name).exists():
                read_file(root / "run" / name)
        return ""

    return Job("training", root, lambda: None, train, final, whole, small=300_000)
