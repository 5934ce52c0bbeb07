"""Networks of both stages; importing this package fills the registry."""

from trainer.models import classification, clnet, segmentation
from trainer.models.registry import ModelEntry, create, entries, entry, register

__all__ = ["ModelEntry", "classification", "clnet", "create", "entries", "entry", "register", "segmentation"]
