"""The queue of all rows: fits a time, shares rows between processes, and goes on after what stopped it."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_infer.schema import dump
from tests.support.many_sources import draw_extra
from trainer.cli.app import app
from trainer.errors import DataError, ModelError, TrainerError
from trainer.papers import pace as paces
from trainer.papers import queue
from trainer.papers.again import AGAIN, again_table
from trainer.papers.hours import Spent, hours_page, spent
from trainer.papers.job import Job
from trainer.papers.measures import accuracy_of
from trainer.papers.pace import PACES, Pace, Schedule, schedule_for, schedule_of
from trainer.papers.plan import Budget, Plan
from trainer.papers.plans import plans
from trainer.papers.queue import Entry, describe, entries, standing, work_off
from trainer.papers.render import external_tables
from trainer.papers.results import pages
from trainer.papers.rows import external_file, judged_elsewhere, ledger_of, read_rows, stem_of
from trainer.papers.run import compare
from trainer.papers.sources.teachers import to_markdown
from trainer.papers.words import budget_words, how_chosen, split_words
from trainer.recipe import DataConfig, ModelConfig, Recipe
from trainer.scoring.ledger import LEDGER
from trainer.scoring.predictions import read_predictions

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def recipe(toy_recipe: MakeRecipe) -> Recipe:
    small = toy_recipe("mobile-classifier", size=32, epochs=4)
    return replace(
        small,
        name="toy",
        folds=0,
        model=ModelConfig("simple_cnn", {"width": 4, "hidden": 8}),
        data=DataConfig(size=32, target="dx"),
    )


def test_every_row_of_the_papers_is_queued_cheapest_first() -> None:
    found = entries()
    names = {entry.plan.name for entry in found}
    assert len(found) >= 45
    wanted = {"resnet50-seven", "resnet101-seven", "efficientnet-lite0-seven", "unet-half", "unet-quarter", "unet-grey"}
    assert wanted <= names
    assert {"resnet50-binary", "resnet50-binary-scratch", "unet-resnet50-scratch"} <= names
    branches = {entry.plan.name for entry in found if entry.table == "branches"}
    tasks = ("clnet-melanoma", "clnet-keratosis")
    assert branches == {"clnet-segmenter", *tasks, *(f"{task}-classifier" for task in tasks)}
    costs = [entry.gflops for entry in found]
    assert costs == sorted(costs) and costs[0] > 0


def test_a_schedule_fits_the_time(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "seconds_per_picture", lambda r, enough: (1e-6 * r.data.size**2, "float32"))
    plan = Plan("row", "S7", replace(recipe, data=DataConfig(size=256, target="dx")), "")
    plan = replace(plan, recipe=replace(plan.recipe, optim=replace(plan.recipe.optim, epochs=100)))

    def fit(minutes: float, pictures: int, name: str) -> Schedule:
        return schedule_for(plan, Pace("p", minutes), pictures, tmp_path / name)

    whole = fit(60, 1000, "a")
    assert whole.size == 256 and whole.epochs == round(3600 / (1000 * 256**2 * 1e-6 * 1.08)) and not whole.cut
    assert fit(60, 9000, "b").size < 256 and fit(60, 9000, "b").epochs >= 8
    tight = fit(1, 1_000_000, "c")
    assert (tight.size, tight.epochs) == (128, 1) and "minutes" in tight.cut
    epoch = 1000 * 128**2 * 1e-6 * 1.08 / 60
    for fitting, epochs in ((2.96, 3), (2.6, 2), (2.2, 2), (1.9, 2), (0.95, 1), (0.8, 1)):
        found = fit(fitting * epoch, 1000, f"{fitting}")
        assert (found.size, found.epochs, bool(found.cut)) == (128, epochs, fitting == 0.8)
    monkeypatch.setattr(paces, "seconds_per_picture", lambda r, enough: (1.0, "bf16"))
    assert fit(60, 1000, "a") == whole, "a resumed run keeps its schedule"
    (tmp_path / "a").write_text("{}")
    with pytest.raises(DataError, match="is no schedule"):
        fit(60, 1000, "a")


def test_throughput_is_measured(recipe: Recipe) -> None:
    seconds, precision = paces.seconds_per_picture(recipe)
    assert 0 < seconds < 1 and precision in ("bf16", "float32")


def test_what_surely_takes_too_long_is_timed_by_two_steps(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []

    def clock() -> float:
        ticks.append(float(len(ticks)))
        return ticks[-1]

    monkeypatch.setattr(paces.time, "process_time", clock)
    plain = replace(recipe, optim=replace(recipe.optim, precision="float32"))
    whole, _ = paces.seconds_per_picture(plain)
    steps = len(ticks) // 2
    short, _ = paces.seconds_per_picture(plain, whole / 10)
    assert whole == short and steps > 2 and len(ticks) // 2 == steps + 2
    paces.seconds_per_picture(plain, whole)
    assert len(ticks) // 2 == 2 * steps + 2


@pytest.fixture
def job(drawn_folder: Path, tmp_path: Path) -> Job:
    return Job("classifiers", drawn_folder, tmp_path / "out", tmp_path / "runs", cache=tmp_path / "cache")


@pytest.fixture
def two(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    rows = [Plan(name, "S7", replace(recipe, name=name), "a toy") for name in ("first", "second")]
    monkeypatch.setattr(queue, "_QUEUED", ("classifiers",))
    for module in ("trainer.papers.queue", "trainer.papers.run"):
        monkeypatch.setattr(
            f"{module}.plans", lambda table, base=None, only=(): [r for r in rows if not only or r.name in only]
        )
    return rows


def test_rows_are_worked_off_and_never_twice(
    job: Job, two: list[Plan], tmp_path_factory: pytest.TempPathFactory
) -> None:
    extra = draw_extra(tmp_path_factory.mktemp("extra"))
    job = replace(job, external=extra)
    pace = PACES["medium"]
    spoken: list[str] = []
    found = work_off(job, pace, say=spoken.append)
    assert [item.state for item in found] == ["done", "done"], spoken
    folder = job.out / "classifiers"
    rows = [row for row in read_rows(folder) if row.compute]
    assert {row.name for row in rows} == {"first", "second"}
    for row in rows:
        assert row.compute and row.pace == "medium" and row.compute.best_epoch == row.compute.epochs == len(row.curve)
        assert set(row.external) == {"clinic", "unnamed"}
        for source, figures in row.external.items():
            stored = read_predictions(folder / external_file(stem_of(row.name, row.view), source))
            assert figures.images == len(stored) > 0
    assert "What survives a change of clinic" in "\n".join(external_tables(rows))
    assert "every row keeps its last epoch" in (folder / "README.md").read_text(encoding="utf-8")
    assert "but for rows" in how_chosen([*rows, replace(rows[0], pace="")])
    assert how_chosen([replace(rows[0], pace="")]).startswith("Epochs and")
    other = replace(rows[0], figures=replace(rows[0].figures, images=1), test_limit=1)
    assert f"1 to {rows[0].figures.images} test pictures" in split_words([rows[0], other])
    written = pages(job.out, job.out / "RESULTS.md")
    page = job.out.parent / "HOURS.md"
    assert set(written) == {job.out / "RESULTS.md", job.out / "LESSONS.md", folder / "README.md", page}
    hours = sum(row.compute.core_minutes or 0.0 for row in rows if row.compute) / 60
    assert f"| Classifiers side by side | 2 | {hours:.1f} |" in written[page]
    assert written[folder / "README.md"] == (folder / "README.md").read_text(encoding="utf-8")
    spoken.clear()
    work_off(job, pace, say=spoken.append)
    assert not [line for line in spoken if "epochs at" in line]
    assert "2 of 2 rows" in describe(found, pace)


def test_a_row_made_again_is_held_against_the_first(job: Job, two: list[Plan]) -> None:
    pace = PACES["medium"]
    work_off(job, pace, say=lambda text: None)
    assert again_table(job.out) == ""
    second = replace(job, out=job.out / AGAIN, runs=job.runs / AGAIN, budget=Budget(seed=1))
    work_off(second, pace, ["first"], say=lambda text: None)
    text = again_table(job.out)
    rows = [line for line in text.splitlines() if line.startswith("| first |")]
    assert len(rows) >= 2, "AUC and accuracy"
    assert text.count("\n| ") == len(rows) + 1, "neither the second row nor the random answer, which learns nothing"
    assert "seed 0" in text and "again seed 1" in text
    assert "## Rows made again" in pages(job.out, job.out / "RESULTS.md")[job.out / "RESULTS.md"]
    [file] = (second.out / "classifiers").glob("first*.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    [first] = [row for row in read_rows(job.out / "classifiers") if row.name == "first"]
    same = accuracy_of(first.figures)
    assert same is not None
    for value, verdict in ((same.value, "| inside |"), (2.0, "| **outside** |")):
        content["figures"]["classification"]["classes"]["class_accuracy"]["value"] = value
        file.write_text(json.dumps(content), encoding="utf-8")
        [line] = [
            line
            for line in again_table(job.out).splitlines()
            if f"| accuracy over seven diagnoses, {first.data} |" in line
        ]
        assert verdict in line and line.endswith(") |"), "and the paired difference with its interval"
    with pytest.raises(DataError, match="No row of the queue is called 'third'"):
        entries(["third"])
    for path in (job.out / "classifiers").glob("first*.json"):
        path.unlink()
    assert "`first`: the row itself was made anew since then, or is gone" in again_table(job.out)


def test_a_row_is_done_when_all_its_files_are_there(job: Job, two: list[Plan]) -> None:
    pace, entry = PACES["medium"], Entry("classifiers", two[0], 0.0)
    work_off(job, pace, ["first"], say=lambda text: None)
    folder = job.out / "classifiers"
    assert standing(job, pace, entry).state == "done" and (folder / "random-dx.json").is_file()
    assert standing(job, PACES["hour"], entry).state == "left", "twenty minutes are no hour"
    seen = replace(job, segmenter="mobile")
    cropped = Entry("classifiers", replace(two[0], recipe=plans("classifiers")[0].recipe), 0.0)
    assert standing(seen, pace, cropped).state == "left", "another recipe"
    assert standing(replace(job, external=job.data), pace, entry).state == "left", "no figures of another source"
    changed = replace(entry, plan=replace(two[0], recipe=replace(two[0].recipe, data=DataConfig(size=64, target="dx"))))
    assert standing(job, pace, changed).state == "done", "the size is the budget's"
    sampled = replace(two[0].recipe, data=replace(two[0].recipe.data, sampling="balanced"))
    assert standing(job, pace, replace(entry, plan=replace(two[0], recipe=sampled))).state == "left"
    file = folder / "first.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(content["compute"]["core_minutes"], float)
    file.write_text(json.dumps(content | {"pace": "hour"}), encoding="utf-8")
    [row] = [row for row in read_rows(folder) if row.compute]
    assert row.compute is not None
    assert budget_words(row).startswith("fits `hour`: ") and " core-minutes in " in budget_words(row)
    short = replace(row, cut="too slow", compute=replace(row.compute, recipe_epochs=9, core_minutes=None))
    assert budget_words(short).startswith("cut to fit `hour`: ") and "core" not in budget_words(short)
    assert budget_words(short).endswith("longer than `hour`: too slow")
    longer = standing(job, pace, entry)
    assert (longer.state, longer.pace) == ("done", "hour"), "an hour is not thrown away for twenty minutes"
    assert "min, hour" in describe([longer], pace)
    (folder / "random-dx.json").unlink()
    work_off(job, pace, ["first"], say=lambda text: None)
    assert (folder / "random-dx.json").is_file()
    (folder / content["predictions"]).unlink()
    assert standing(job, pace, entry).state == "left"


def test_a_row_with_half_of_its_views_is_not_done(
    job: Job, two: list[Plan], recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace, entry = PACES["medium"], Entry("classifiers", two[0], 0.0)
    work_off(job, pace, ["first"], say=lambda text: None)
    monkeypatch.setattr(queue, "views_of", lambda job, plan: ["whole", "truth"])
    assert standing(job, pace, entry).state == "left"
    folder = job.out / "classifiers"
    content = json.loads((folder / "first.json").read_text(encoding="utf-8"))
    (folder / "first-truth-roi.json").write_text(json.dumps(content), encoding="utf-8")
    assert standing(job, pace, entry).state == "done"
    content["curve"][0]["seconds"] += 1
    (folder / "first-truth-roi.json").write_text(json.dumps(content), encoding="utf-8")
    assert standing(job, pace, entry).state == "left", "of two trainings"


def test_rows_that_are_compared_as_equals_share_a_schedule() -> None:
    paced = {plan.name: plan.paced_as for table in ("classifiers", "roi", "metadata") for plan in plans(table)}
    assert paced["densenet121-scratch"] == "densenet121" and paced["densenet121"] == ""
    assert paced["resnet50-binary-keep"] == paced["resnet50-binary-whole"] == "resnet50-binary"
    assert paced["metadata-fusion-image-alone"] == "metadata-fusion"


def test_a_finished_row_s_schedule_holds_for_its_equals_on_any_machine(
    job: Job, two: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = PACES["medium"]
    two[1] = replace(two[1], paced_as="first")
    monkeypatch.setattr(paces, "seconds_per_picture", lambda recipe, enough: (1e-4, "bf16"))
    monkeypatch.setattr(queue, "computes_bf16", lambda device: False)
    first, second = Entry("classifiers", two[0], 0.0), Entry("classifiers", two[1], 0.0)
    assert queue._known_schedule(job, pace, second) is None
    work_off(job, pace, ["first"], say=lambda text: None)
    known = queue._known_schedule(job, pace, second)
    [row] = [row for row in read_rows(job.out / "classifiers") if row.compute]
    assert known == replace(schedule_of(row), precision="float32")
    assert queue._known_schedule(job, PACES["hour"], second) is None, "of another time"
    monkeypatch.setattr(queue, "computes_bf16", lambda device: True)
    assert queue._known_schedule(job, pace, second) == schedule_of(row) == queue._known_schedule(job, pace, first)
    begun = replace(schedule_of(row), epochs=1)
    begun_file = job.runs / "queue" / "first.medium.json"
    begun_file.write_text(json.dumps(dump(begun)), encoding="utf-8")
    assert schedule_for(two[1], pace, 9, begun_file, schedule_of(row)) == begun, (
        "a run that has begun goes on as it was"
    )
    shutil.rmtree(job.runs)
    monkeypatch.setattr(paces, "seconds_per_picture", lambda recipe, enough: (1e3, "float32"))
    work_off(job, pace, ["second"], say=lambda text: None)
    rows = [row.compute for row in read_rows(job.out / "classifiers") if row.compute]
    assert len({cost.epochs for cost in rows}) == 1 and len(rows) == 2


def test_nothing_is_said_of_another_clinic_on_crops_of_a_segmenter_that_may_know_it() -> None:
    assert not judged_elsewhere("predicted") and judged_elsewhere("truth") and judged_elsewhere("picture")


def test_a_row_made_again_enters_the_ledger_of_the_first(tmp_path: Path) -> None:
    assert ledger_of(tmp_path / "compare") == tmp_path / LEDGER
    (tmp_path / LEDGER).touch()
    assert ledger_of(tmp_path / "compare") == ledger_of(tmp_path / "compare" / AGAIN) == tmp_path / LEDGER


def test_the_queue_refuses_what_it_would_not_do(drawn_folder: Path, tmp_path: Path) -> None:
    told = ["--data", str(drawn_folder), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, ["compare", "all", *told, "--status", "--epochs", "1", "--fresh"])
    assert isinstance(result.exception, TrainerError)
    assert "takes no --epochs and no --fresh" in str(result.exception)


def test_a_row_of_two_tables_is_trained_once(job: Job, two: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_QUEUED", ("classifiers", "roi"))
    found = work_off(job, PACES["medium"], ["first"], say=lambda text: None)
    assert [(item.entry.table, item.state) for item in found] == [("classifiers", "done"), ("roi", "done")]
    [first], [second] = ([row for row in read_rows(job.out / table) if row.compute] for table in ("classifiers", "roi"))
    assert first.curve == second.curve, "the seconds of each epoch too"
    assert first.figures == second.figures and first.table != second.table
    assert [item.trainings for item in spent(job.out)] == [1]


def test_hours_of_teachers_are_read_from_their_page(tmp_path: Path) -> None:
    rows = [["teacher, fold 1", "10", "20", "160", "24", "90"], ["teacher, fold 2", "10", "20", "160", "24", "30"]]
    (tmp_path / "teachers").mkdir()
    (tmp_path / "teachers/README.md").write_text(to_markdown({}, rows), encoding="utf-8")
    assert list(spent(tmp_path / "compare")) == [Spent("teachers", 2, 2.0)]
    assert "| **all of these** | 2 | 2.0 |" in hours_page(tmp_path / "compare")


def test_the_base_of_the_regions_is_the_classifier_itself() -> None:
    rows = {plan.name: plan.recipe for plan in plans("roi")}
    assert set(rows) == {"resnet50-binary", "resnet50-binary-keep", "resnet50-binary-whole"}
    assert rows["resnet50-binary"] == plans("classifiers", only=["resnet50-binary"])[0].recipe


def test_a_row_that_another_process_trains_is_left_to_it(job: Job, two: list[Plan]) -> None:
    pace = PACES["medium"]
    first = Entry("classifiers", two[0], 0.0)
    lock = job.runs / "queue" / "first.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert standing(job, pace, first).state == "running"
        states = {item.entry.plan.name: item.state for item in work_off(job, pace, say=lambda text: None)}
    assert states == {"first": "running", "second": "done"}
    assert standing(job, pace, first).state == "left", "a lock goes with its process"


@pytest.mark.parametrize("error", [ModelError("Out of luck.", "Try again."), MemoryError("Out of luck")])
def test_a_row_that_fails_is_told_and_stops_no_other(
    error: Exception, job: Job, two: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compare

    def broken(asked: Job, say: Callable[[str], None]) -> Path:
        if asked.only == ("first",):
            raise error
        return real(asked, say)

    monkeypatch.setattr(queue, "compare", broken)
    found = {item.entry.plan.name: item for item in work_off(job, PACES["medium"], say=lambda text: None)}
    assert (found["first"].state, found["second"].state) == ("failed", "done")
    assert "Out of luck" in found["first"].why
    monkeypatch.setattr(queue, "compare", real)
    assert {item.state for item in work_off(job, PACES["medium"], say=lambda text: None)} == {"done"}


def test_external_pictures_must_be_of_other_sources(job: Job, two: list[Plan], drawn_folder: Path) -> None:
    found = work_off(replace(job, external=drawn_folder), PACES["medium"], say=lambda text: None)
    assert all(item.state == "failed" and "no other source" in item.why for item in found)


def test_rows_from_random_weights_are_the_same_but_for_that() -> None:
    plain, scratch = plans("classifiers", only=["resnet50-binary", "resnet50-binary-scratch"])
    assert scratch.from_scratch and not plain.from_scratch
    assert replace(scratch.recipe, name=plain.name) == plain.recipe
