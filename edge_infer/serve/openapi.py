"""The service in OpenAPI 3.1, and a page that shows it without loading anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from edge_infer import __version__
from edge_infer.bundle.manifest import Manifest
from edge_infer.output.html import STYLE
from edge_infer.output.wording import DISCLAIMER
from edge_infer.reasons import Reason
from edge_infer.serve.settings import Settings

_NUMBER, _TEXT = {"type": ["number", "null"]}, {"type": ["string", "null"]}
_BOX = {
    "type": ["array", "null"],
    "items": {"type": "integer"},
    "minItems": 4,
    "maxItems": 4,
    "description": "x0, y0, x1, y1 in pixels of the upright picture; x1 and y1 are outside.",
}
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}


def diagnosis_schema(manifest: Manifest) -> dict[str, Any]:
    """JSON Schema of an answer; what each value means is said at `edge_infer.Diagnosis`."""
    properties: dict[str, Any] = {
        "status": {"enum": ["ok", "indeterminate"]},
        "reason": {"enum": [*(reason.value for reason in Reason), None]},
        "message": _TEXT,
        "melanoma_probability": {**_NUMBER, "minimum": 0, "maximum": 1},
        "label": {"enum": ["melanoma", "not melanoma", None]},
        "threshold": _NUMBER,
        "operating_point": {"enum": [point.name for point in manifest.operating_points]},
        "band": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        "probabilities": _NUMBERS,
        "image_size": {"type": "array", "items": {"type": "integer"}, "description": "height, width"},
        "prior": _NUMBER,
        "lesion_box": _BOX,
        "roi_box": _BOX,
        "lesion_area_fraction": _NUMBER,
        "lesion_confidence": _NUMBER,
        "quality": _NUMBERS,
        "timings_ms": _NUMBERS,
        "provider": {"type": "string"},
        "variant": {"type": "string"},
        "bundle": {"type": "string"},
        "bundle_version": {"type": "string"},
        "bundle_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "site_sha256": _TEXT,
        "warnings": {"type": "array", "items": {"type": "string"}},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def document(settings: Settings, manifest: Manifest) -> dict[str, Any]:
    """The OpenAPI document."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}

    def failure(text: str) -> dict[str, Any]:
        return {"description": text, "content": error}

    responses: dict[str, Any] = {
        "200": {
            "description": "The diagnosis. `indeterminate` is an answer, with its reason.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Diagnosis"}}},
        },
        "401": failure("No valid token."),
        "408": failure(f"The picture did not arrive within {settings.body_seconds:g} seconds."),
        "413": failure(f"More than {settings.max_bytes} bytes, or more pixels than the service decodes."),
        "415": failure("The body is a form or JSON, not a picture."),
        "422": failure("The body is no picture of a known format, or is damaged."),
        "429": failure(f"{settings.held} requests are held already; try again after `Retry-After`."),
        "503": failure(f"No worker was free within {settings.wait_seconds:g} seconds, or the service is stopping."),
    }
    pictures = ("jpeg", "png", "webp", "bmp", "tiff")
    media = (*(f"image/{kind}" for kind in pictures), "application/dicom", "application/octet-stream")
    operation = {
        "operationId": "diagnose",
        "summary": "Diagnose one dermoscopic picture. It is not kept.",
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in media},
        },
        "responses": responses,
        "security": [] if settings.token is None else [{"bearer": []}],
    }
    secured: dict[str, Any] = {"security": operation["security"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edge-infer",
            "version": __version__,
            "description": f"{DISCLAIMER} Bundle: {manifest.name} {manifest.version}. {manifest.intended_use}",
        },
        "paths": {
            "/v1/diagnose": {"post": operation},
            "/health": {"get": {"summary": "Whether the service is up, and with which bundle.", **_ok()}},
            "/metrics": {"get": {"summary": "Counters in Prometheus' format.", **secured, **_ok()}},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Diagnosis": diagnosis_schema(manifest),
                "Error": {
                    "type": "object",
                    "properties": {
                        "error": {
                            "type": "object",
                            "properties": {name: {"type": "string"} for name in ("code", "message", "remedy")},
                            "required": ["code", "message", "remedy"],
                        }
                    },
                    "required": ["error"],
                },
            },
        },
    }


def _ok() -> dict[str, Any]:
    return {"responses": {"200": {"description": "OK"}}}


def page(described: dict[str, Any]) -> str:
    """The document for people."""
    lines = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            rows = "".join(
                f"<li><b>{code}</b> {escape(answer['description'])}</li>"
                for code, answer in operation["responses"].items()
            )
            summary = escape(operation["summary"])
            lines.append(
                f"<article><div><h2>{method.upper()} {path}</h2><p>{summary}</p><ul>{rows}</ul></div></article>"
            )
    example = "curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' http://HOST:PORT/v1/diagnose"
    schema = escape(json.dumps(described["components"]["schemas"]["Diagnosis"], indent=1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edge-infer</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
        f"<h1>edge-infer {escape(described['info']['version'])}</h1>"
        f"<p class='notice'>{escape(described['info']['description'])}</p>"
        f"<pre>{escape(example)}</pre><p><a href='openapi.json'>openapi.json</a></p>\n"
        + "\n".join(lines)
        + f"<h2>Answer</h2><pre>{schema}</pre></body></html>\n"
    )
