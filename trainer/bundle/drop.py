"""Takes variants out of a finished bundle: their files, and everything that the manifest says of them."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from edge_infer.bundle.manifest import Manifest, Stage
from edge_infer.bundle.store import Bundle, load_bundle
from trainer.bundle.errors import ExportError
from trainer.bundle.swapping import replacement
from trainer.bundle.write import seal


def drop_variants(bundle: Bundle, names: Collection[str], out: Path) -> Manifest:
    """Writes a copy of a bundle without some of its variants.

    Networks, thresholds and figures stay as they are. So does the model card: `python -m trainer report` writes it
    again.

    Args:
        bundle: a bundle that this trainer made.
        names: of the variants, such as "coreml-int8".
        out: folder of the copy, replaced at the end; may be the bundle's own.

    Raises:
        ExportError: the bundle has no variant of such a name.
    """
    old = bundle.manifest
    known = {*old.segmenter.variants, *old.classifier.variants}
    missing = sorted(set(names) - known)
    if missing:
        has = f"It has {', '.join(sorted(known))}." if known else "It has none."
        raise ExportError(f"'{old.name}' has no variant {', '.join(missing)}.", has)
    manifest = replace(old, segmenter=_without(old.segmenter, names), classifier=_without(old.classifier, names))
    with replacement(out) as draft:
        shutil.copytree(bundle.path, draft, dirs_exist_ok=True)
        for file in _files(old) - _files(manifest):
            path = draft / file
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        manifest = seal(draft, manifest)
        load_bundle(draft)
    return manifest


def _without(stage: Stage, names: Collection[str]) -> Stage:
    kept = {name: variant for name, variant in stage.variants.items() if name not in names}
    gone = {variant.file for name, variant in stage.variants.items() if name in names}
    gone -= {variant.file for variant in kept.values()}
    return replace(stage, variants=kept, files={form: file for form, file in stage.files.items() if file not in gone})


def _files(manifest: Manifest) -> set[str]:
    stages = (manifest.segmenter, manifest.classifier)
    found = {file for stage in stages for file in stage.files.values()}
    return found | {variant.file for stage in stages for variant in stage.variants.values()}
