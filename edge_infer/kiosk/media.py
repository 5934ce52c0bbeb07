"""Media types of the kiosk's files."""

from __future__ import annotations

from types import MappingProxyType

_TYPES = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "mjs": "text/javascript; charset=utf-8",
        "json": "application/json; charset=utf-8",
        "webmanifest": "application/manifest+json; charset=utf-8",
        "wasm": "application/wasm",
        "svg": "image/svg+xml",
        "png": "image/png",
        "txt": "text/plain; charset=utf-8",
    }
)


def content_type(path: str) -> str:
    """The media type of a file by its ending; the machine's own table of types has no say."""
    return _TYPES.get(path.rpartition(".")[2], "application/octet-stream")
