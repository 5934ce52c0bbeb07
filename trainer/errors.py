"""Typed errors of the trainer. Each says what is wrong, and its `remedy` says what to do about it."""

from __future__ import annotations

from edge_infer.errors import EdgeInferError


class TrainerError(EdgeInferError):
    """Base of every error that the trainer raises on purpose."""

    code = "trainer-error"


class RecipeError(TrainerError):
    """The recipe cannot be found or does not fit its schema."""

    code = "recipe"


class DataError(TrainerError):
    """The data set is missing, incomplete, or contradicts itself."""

    code = "data"


class LeakError(TrainerError):
    """A network would learn from what validates it."""

    code = "leak"


class SearchError(TrainerError):
    """A search cannot go on, or has found nothing."""

    code = "search"


class ModelError(TrainerError):
    """No model of this name, or it does not take these options."""

    code = "model"


class CheckpointError(TrainerError):
    """A checkpoint or weight file is missing, unreadable, or belongs to something else."""

    code = "checkpoint"


class MissingPackageError(TrainerError):
    """An optional package that this command needs is not installed."""

    code = "missing-package"


class StaleError(TrainerError):
    """A stored result was made from something else than it is now needed for."""

    code = "stale"
