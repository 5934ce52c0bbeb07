"""Distillation: the loss is Hinton's, every network sees the crop at its own size, and a leaking teacher is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from trainer.data.ham10000 import Record
from trainer.data.splits import cross_fit, standard_split
from trainer.data.transforms import denormalize, normalize, resize_batch
from trainer.errors import CheckpointError, LeakError, RecipeError
from trainer.recipe import AugmentConfig, DistillConfig, ModelConfig, Normalization, Recipe, load_recipe
from trainer.recipe import recipe_from_dict as from_dict
from trainer.training.checkpoint import Checkpoint, build_model, load_checkpoint, read_file
from trainer.training.distill import Hints, Teachers, check_no_leak, load_teachers, soft_loss
from trainer.training.folds import fold_folder
from trainer.training.loop import train
from trainer.training.tasks import Batch


def small(name: str = "simple-cnn", size: int = 32, **optim: object) -> Recipe:
    recipe = load_recipe(name)
    data = dataclasses.replace(recipe.data, size=size, small_size=None, cache_size=None, cache_margin=None)
    model = ModelConfig("simple_cnn", {"width": 4, "hidden": 8})
    if recipe.task == "segmentation":
        model = ModelConfig("unet", {"width_divisor": 16})
    settings = {"epochs": 2, "batch_size": 8, "warmup": 0.0, "precision": "float32", "learning_rate": 5e-3} | optim
    changed = dataclasses.replace(recipe.optim, **settings)  # type: ignore[arg-type]
    return dataclasses.replace(recipe, model=model, data=data, optim=changed, augment=AugmentConfig())


def taught(recipe: Recipe, *teachers: Path, share: float = 0.5, temperature: float = 2.0) -> Recipe:
    return dataclasses.replace(recipe, distill=DistillConfig(tuple(map(str, teachers)), share, temperature))


def store(path: Path, recipe: Recipe, learnt: list[Record] | None) -> Path:
    """A checkpoint with random weights that says that it has learnt from these, or, for None, says nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": 1, "recipe": recipe.to_dict(), "epoch": 1, "metrics": {}, "held_out": []}
    if learnt is not None:
        content["learnt_lesions"] = sorted({record.lesion_id for record in learnt})
    torch.save(content | {"weights": dict(build_model(recipe).state_dict())}, path)
    return path


def test_class_loss_is_hintons(rng: np.random.Generator) -> None:
    student, temperature = rng.normal(size=(5, 7)), 3.0
    answers = [rng.normal(size=(5, 7)) for _ in range(2)]
    target = np.mean([softmax(logits / temperature, axis=1) for logits in answers], axis=0)
    divergence = (target * (np.log(target) - log_softmax(student / temperature, axis=1))).sum(1).mean()
    found = soft_loss("classification", torch.tensor(student), Hints(None, torch.tensor(target).float()), temperature)
    assert float(found) == pytest.approx(temperature**2 * divergence, rel=1e-5)


def test_mask_loss_is_cross_entropy_with_the_probability_map(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(2, 1, 8, 8)), rng.uniform(size=(2, 1, 8, 8))
    probability = 1 / (1 + np.exp(-logits))
    expected = -(target * np.log(probability) + (1 - target) * np.log(1 - probability)).mean()
    hints = Hints(torch.tensor(target).float(), None)
    assert float(soft_loss("segmentation", torch.tensor(logits), hints, 9.0)) == pytest.approx(expected, rel=1e-5)
    large = Hints(torch.tensor(target).float().repeat_interleave(2, 2).repeat_interleave(2, 3), None)
    assert float(soft_loss("segmentation", torch.tensor(logits), large, 1.0)) == pytest.approx(expected, rel=0.1)


class Spy(nn.Module):
    """Answers the mean colour of what it saw, and keeps it."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.mean((2, 3))


def test_each_teacher_sees_the_crop_at_its_own_size_and_normalisation() -> None:
    student = taught(small(size=16), Path("a"), Path("b"), temperature=2.0)
    grey = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    recipes = [small(size=16), dataclasses.replace(small(size=24), normalization=grey)]
    spies = [Spy(), Spy()]
    teachers = Teachers([Checkpoint(spy, recipe, 1, {}) for spy, recipe in zip(spies, recipes, strict=True)], student)
    assert teachers.size == 24
    pictures = torch.rand(4, 3, 24, 24)
    hints = teachers(Batch(normalize(pictures, student.normalization), None, None, None))
    reduced = resize_batch(pictures, 16)
    torch.testing.assert_close(spies[0].seen[0], normalize(reduced, student.normalization))
    torch.testing.assert_close(spies[1].seen[0], (pictures - 0.5) / 0.25)
    expected = torch.stack([torch.softmax(spy.seen[0].mean((2, 3)) / 2.0, 1) for spy in spies]).mean(0)
    assert hints.classes is not None and hints.masks is None
    torch.testing.assert_close(hints.classes, expected)


class Precisions(nn.Module):
    """Keeps the type in which it multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.seen: list[torch.dtype] = []

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.linear(images.mean((2, 3)))
        self.seen.append(answers.dtype)
        return answers


@pytest.mark.parametrize(("able", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_teacher_answers_in_the_precision_that_it_was_trained_in(
    able: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.distill.computes_bf16", lambda device: able)
    student = taught(small(), Path("a"), Path("b"))
    spies = [Precisions(), Precisions()]
    recipes = [small(), small(precision="bf16")]
    teachers = Teachers([Checkpoint(spy, recipe, 1, {}) for spy, recipe in zip(spies, recipes, strict=True)], student)
    for student_in_bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=student_in_bf16):
            hints = teachers(Batch(torch.rand(4, 3, 32, 32), None, None, None))
        assert hints.classes is not None and hints.classes.dtype == torch.float32
    assert spies[0].seen == [torch.float32] * 2 and spies[1].seen == [expected] * 2


def test_shrinking_averages_instead_of_skipping() -> None:
    lines = torch.zeros(1, 1, 32, 32)
    lines[..., ::4] = 1.0
    assert float(resize_batch(lines, 8)[..., 2:-2].std()) < 0.01
    assert resize_batch(lines, 32) is lines
    normalization = Normalization()
    images = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(denormalize(normalize(images, normalization), normalization), images)


def test_a_teacher_that_knows_what_measures_the_student_is_refused(
    drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    parts = standard_split(drawn_records)
    recipe = small()

    def train_with(path: Path) -> None:
        student = taught(recipe, path)
        options: dict[str, Any] = {"cache": toy_cache, "stop_after": 1, "measured": parts["test"]}
        train(student, parts["train"], parts["val"], path.with_suffix(""), **options)

    train_with(store(tmp_path / "clean.pt", recipe, parts["train"]))
    for part in ("val", "test"):
        known = parts[part][0]
        sibling = dataclasses.replace(known, image_id="ISIC_9999999")
        with pytest.raises(LeakError, match=rf"learnt from 1 of the lesions.*first {known.lesion_id}"):
            train_with(store(tmp_path / "leaking.pt", recipe, [*parts["train"], sibling]))
    with pytest.raises(LeakError, match="does not say which lesions"):
        train_with(store(tmp_path / "silent.pt", recipe, None))
    with pytest.raises(CheckpointError, match="no file"):
        train_with(tmp_path / "none.pt")
    check_no_leak(tmp_path, Checkpoint(nn.Identity(), recipe, 1, {}), [])  # a student that is measured on nothing


def test_a_checkpoint_says_what_it_has_learnt_from(
    drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    parts = standard_split(drawn_records)
    train(small(epochs=1), parts["train"], parts["val"], tmp_path, cache=toy_cache)
    found = load_checkpoint(tmp_path / "best.pt").learnt_lesions
    assert found == {record.lesion_id for record in parts["train"]}


def test_a_fold_learns_from_the_teacher_that_left_the_same_lesions_out(
    drawn_records: list[Record], tmp_path: Path
) -> None:
    recipe = dataclasses.replace(small(patience=0), folds=2)
    known = cross_fit(drawn_records, 2, None)["train"]
    halves = [cross_fit(drawn_records, 2, fold) for fold in (1, 2)]
    shipped = store(tmp_path / "best.pt", recipe, known)
    student = taught(recipe, shipped)
    with pytest.raises(LeakError):
        load_teachers(student, halves[0]["val"])
    store(fold_folder(tmp_path, 1) / "best.pt", recipe, halves[0]["train"])
    found = load_teachers(student, halves[0]["val"], halves[0]["train"])
    assert found is not None and [len(group) for group in found.groups] == [1]
    with pytest.raises(LeakError):
        load_teachers(student, halves[1]["val"], halves[1]["train"])
    store(fold_folder(tmp_path, 2) / "best.pt", recipe, halves[1]["train"])
    shipped.unlink()
    found = load_teachers(student, standard_split(drawn_records)["test"], known)
    assert found is not None and [len(group) for group in found.groups] == [2]
    left_out = [{record.lesion_id for record in half["val"]} for half in halves]
    for record, shares in zip(known, found.shares[0], strict=True):
        assert shares.tolist() == [float(record.lesion_id in lesions) for lesions in left_out]


def test_each_picture_is_answered_by_the_network_that_left_it_out(drawn_records: list[Record]) -> None:
    class Constant(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.full((len(images),), self.number), 7).float() * 50

    records = drawn_records[:6]
    lesions = [record.lesion_id for record in records]
    learnt = [frozenset(lesions[:3]), frozenset(lesions[3:5])]
    networks = [Checkpoint(Constant(i), small(), 1, {}, (), own) for i, own in enumerate(learnt)]
    teachers = Teachers([networks], taught(small(), Path("a"), temperature=1.0), records=records)
    rows = np.array([5, 0, 4, 1])
    hints = teachers(Batch(torch.zeros(4, 3, 32, 32), None, None, None), rows)
    assert hints.classes is not None
    expected = torch.zeros(4, 7)
    for place, row in enumerate(rows.tolist()):
        own = [i for i in (0, 1) if lesions[row] not in learnt[i]]
        expected[place, own] = 1 / len(own)
    torch.testing.assert_close(hints.classes, expected, atol=1e-6, rtol=0)
    assert expected.max(1).values.tolist() == [0.5, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"task": "segmentation", "data": dataclasses.replace(small("unet").data)}, "has task segmentation"),
        ({"data": dataclasses.replace(small().data, target="melanoma")}, "has data.target melanoma"),
        ({"data": dataclasses.replace(small().data, roi=None)}, "has data.roi None"),
        ({"data": dataclasses.replace(small().data, metadata=True)}, "takes metadata"),
    ],
)
def test_a_teacher_of_something_else_is_refused(change: dict[str, object], hint: str) -> None:
    teacher = Checkpoint(Spy(), dataclasses.replace(small(), **change), 1, {})  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=hint):
        Teachers([teacher], taught(small(), Path("a")))


@pytest.mark.parametrize("change", [{"teachers": []}, {"share": 1.5}, {"share": 0.0}, {"temperature": 0.0}])
def test_impossible_distillation_is_refused(change: dict[str, object]) -> None:
    values = small().to_dict() | {"distill": {"teachers": ["a.pt"]} | change}
    with pytest.raises(RecipeError, match="distill"):
        from_dict(values)


@pytest.mark.parametrize("name", ["simple-cnn", "unet"])
def test_a_student_nears_its_teacher_and_resumes_exactly(
    name: str, drawn_records: list[Record], toy_cache: Path, tmp_path: Path
) -> None:
    parts = standard_split(drawn_records)
    torch.manual_seed(4)
    teacher = store(tmp_path / "teacher.pt", small(name, size=48), parts["train"])
    recipe = taught(small(name, epochs=3, learning_rate=1e-2), teacher, share=1.0)
    for run, stops in (("straight", (None,)), ("broken", (1, None))):
        for stop_after in stops:
            train(recipe, parts["train"], parts["val"], tmp_path / run, cache=toy_cache, stop_after=stop_after)
    straight, broken = (read_file(tmp_path / run / "last.pt") for run in ("straight", "broken"))
    assert all(torch.equal(straight["model"][key], broken["model"][key]) for key in straight["model"])
    losses = [row["train_loss"] for row in straight["history"]]
    assert losses[-1] < losses[0] - 0.01  # cross-entropy with a soft map stays above the map's own entropy
    assert load_checkpoint(tmp_path / "straight/best.pt").recipe == recipe


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
