"""The software bill of materials of the wheel, in CycloneDX 1.6 JSON; the same inputs are the same bytes."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from importlib.metadata import Distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import edge_infer
from edge_infer.bundle.manifest import Manifest
from edge_infer.bundle.store import DEFAULT_BUNDLE, read_manifest
from tests.conftest import REPOSITORY
from tests.supply_chain.licences import licence
from tests.supply_chain.needs import WHEEL, closure, direct

_ROOT = "edge-infer"


def sbom() -> dict[str, Any]:
    """The document: the wheel, the bundle in it, and every distribution that it needs as installed here."""
    installed = closure(direct(WHEEL))
    bundle = read_manifest(REPOSITORY / "exported" / DEFAULT_BUNDLE)
    needs = sorted({_reference(name, installed[name]) for name in map(_name, direct(WHEEL)) if name in installed})
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _ROOT,
                "name": _ROOT,
                "version": edge_infer.__version__,
                "purl": f"pkg:pypi/{_ROOT}@{edge_infer.__version__}",
                "licenses": [{"expression": "Apache-2.0"}],
            }
        },
        "components": [
            _bundle(bundle.manifest, bundle.sha256),
            *(_component(name, distribution) for name, distribution in installed.items()),
        ],
        "dependencies": [
            {"ref": _ROOT, "dependsOn": [f"bundle:{bundle.manifest.name}", *needs]},
            *(
                {"ref": _reference(name, distribution), "dependsOn": _needed(distribution, installed)}
                for name, distribution in installed.items()
            ),
        ],
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return {"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", **document} | {
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"
    }


def _name(requirement: Requirement) -> str:
    return str(canonicalize_name(requirement.name))


def _reference(name: str, distribution: Distribution) -> str:
    return f"pkg:pypi/{name}@{distribution.version}"


def _needed(distribution: Distribution, installed: Mapping[str, Distribution]) -> list[str]:
    names = {_name(r) for r in map(Requirement, distribution.requires or ()) if not r.marker or r.marker.evaluate()}
    return sorted(_reference(name, installed[name]) for name in names if name in installed)


def _component(name: str, distribution: Distribution) -> dict[str, Any]:
    judged = licence(name, distribution)
    reference = _reference(name, distribution)
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": distribution.version,
        "purl": reference,
    }
    if judged.spdx:
        component["licenses"] = [{"expression": judged.spdx}]
    if judged.inside:
        component["properties"] = [{"name": "edge-infer:copyleft-in-binaries", "value": judged.inside}]
    return component


def _bundle(manifest: Manifest, sha256: str) -> dict[str, Any]:
    files = [
        {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": entry.sha256}]}
        for name, entry in sorted(manifest.files.items())
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"bundle:{manifest.name}",
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "licenses": [{"license": {"name": manifest.provenance.license}}],
        "components": files,
    }
