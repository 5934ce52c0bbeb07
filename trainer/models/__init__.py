"""Networks of both stages; importing this package fills the registry."""

from trainer.models import classification, segmentation
from trainer.models.registry import ModelEntry, create, entries, entry, register

__all__ = ["ModelEntry", "classification", "create", "entries", "entry", "register", "segmentation"]
