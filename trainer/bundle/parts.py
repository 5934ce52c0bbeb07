"""What the steps of `trainer.pipeline` hand on: where files lie, how networks are trained, and the trained networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_infer.bundle.manifest import StageName
from trainer.bundle.recipe import BundleRecipe, check_crop
from trainer.bundle.system import System
from trainer.errors import RecipeError
from trainer.scoring.ledger import LEDGER
from trainer.scoring.origin import digest_files
from trainer.training.checkpoint import BEST, load_checkpoint
from trainer.training.folds import fold_folder, used_folds
from trainer.training.runs import training_hours


@dataclass(frozen=True)
class Places:
    """Where a bundle's parts lie.

    Attributes:
        work: folder of what the steps hand on: answers, the written bundle, the answers on `test`.
        out: the published bundle.
        results: its predictions, tables and figures.
    """

    work: Path
    out: Path
    results: Path

    @property
    def unseen(self) -> Path:
        """The answers that the choices rest on."""
        return self.work / "unseen.json"

    @property
    def features(self) -> Path:
        """What the segmenter's encoder makes of pictures that its score of familiarity is fitted to."""
        return self.work / "familiarity.npz"

    @property
    def written(self) -> Path:
        """The bundle without figures."""
        return self.work / "bundle"

    @property
    def probe(self) -> Path:
        """How well its classifier's features tell the source."""
        return self.work / "probe.json"

    @property
    def test(self) -> Path:
        """Its answers on `test`."""
        return self.work / "test"

    @property
    def ledger(self) -> Path:
        """Where readings of `test` are written down."""
        return self.results.parent / LEDGER


@dataclass(frozen=True)
class Training:
    """How the networks are trained beyond what recipes say: where, and for a trial how little.

    Attributes:
        runs: folder of the runs.
        weights: folder of initial weights, or the one file that is needed.
        epochs: in place of each recipe's.
        limit: use only so many pictures of each split.
        threads: CPU threads.
        cache: folder of decoded pictures.
        device: `cpu` or `cuda`.
    """

    runs: Path
    weights: Path | None = None
    epochs: int | None = None
    limit: int | None = None
    threads: int | None = None
    cache: Path = Path("cache")
    device: str = "cpu"


@dataclass(frozen=True)
class Networks:
    """The trained networks of both stages, as files: they are opened only where a step has something to ask them."""

    segmenter: Path
    classifier: Path
    folds: tuple[Path, ...] = ()

    def digest(self) -> str:
        """SHA-256 of all of them."""
        return digest_files((self.segmenter, self.classifier, *self.folds))


def networks_of(recipe: BundleRecipe, segmenter: Path, classifier: Path) -> Networks:
    """Two checkpoints, and the folds of the classifier that lie beside it."""
    folds = used_folds(recipe.stages.classifier.load(), recipe.folds)
    return Networks(segmenter, classifier, tuple(fold_folder(classifier.parent, fold) / BEST for fold in folds))


def open_system(recipe: BundleRecipe, networks: Networks) -> System:
    """Both networks as they will be served.

    Raises:
        TrainerError: a checkpoint cannot be read, or does not fit the recipe.
    """
    stages: dict[StageName, Path] = {"segmenter": networks.segmenter, "classifier": networks.classifier}
    found = {stage: load_checkpoint(path) for stage, path in stages.items()}
    for stage, source in recipe.stages:
        name, wanted = found[stage].recipe.name, source.load().name
        if name != wanted:
            raise RecipeError(
                f"{stages[stage]} was trained by '{name}'; the bundle recipe '{recipe.name}' names '{wanted}'.",
                "Write a bundle recipe that names it, and give its path.",
            )
    hours = {name: training_hours(path.parent, found[name].recipe, recipe.folds) for name, path in stages.items()}
    known: dict[str, float] = {stage: value for stage, value in hours.items() if value is not None}
    system = System(found["segmenter"], found["classifier"], recipe.views, known, recipe.store)
    check_crop(recipe, system.classifier.recipe, f"bundle recipe '{recipe.name}'")
    return system
