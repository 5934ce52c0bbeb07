"""Adds variants to a finished bundle: its own networks in other forms, without training anything again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from edge_infer.bundle.golden import read_golden
from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import Bundle
from trainer.bundle.recover import recover_graph
from trainer.bundle.swapping import replacement
from trainer.bundle.variants import Request, add_variants
from trainer.bundle.write import seal
from trainer.models.serving import as_network
from trainer.scoring.networks import Networks


def extend_bundle(bundle: Bundle, out: Path, request: Request) -> Manifest:
    """Writes a copy of a bundle with further variants; they replace older ones of the same name.

    The variants are proven against the PyTorch networks that are recovered from the bundle's float32 files. Its model
    card is left as it is: `python -m trainer report` writes it again.

    Args:
        bundle: a bundle that this trainer made.
        out: folder of the copy, replaced at the end; may be the bundle's own.
        request: which variants.

    Raises:
        ExportError: a network cannot be recovered, or a variant cannot be made.
        ParityError: a variant fails a gate.
    """
    with replacement(out) as draft:
        shutil.copytree(bundle.path, draft, dirs_exist_ok=True)
        old = bundle.manifest
        segmenter, classifier = (recover_graph(bundle, stage)[0] for stage in ("segmenter", "classifier"))
        reference = Networks(as_network(segmenter), as_network(classifier))
        golden = read_golden(draft / old.golden.file)
        new = add_variants(draft, old, (segmenter, classifier), reference, golden, request)
        made = {
            stage: replace(
                getattr(new, stage), variants={**getattr(old, stage).variants, **getattr(new, stage).variants}
            )
            for stage in ("segmenter", "classifier")
        }
        left_out = {name: why for name, why in old.variants_left_out.items() if name not in request.names}
        manifest = replace(new, **made, variants_left_out={**left_out, **new.variants_left_out})
        return seal(draft, manifest)
