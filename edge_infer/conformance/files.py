"""Vectors of encoded files: decoding as a step of its own, so that a port with another decoder can prove the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from edge_infer.conformance import encode
from edge_infer.conformance.pictures import pattern, skin
from edge_infer.conformance.small_steps import Case
from edge_infer.conformance.store import FileBytes
from edge_infer.rules import InputSpec

_FULL_COLOUR = {"image": {"mean_abs": 1.0, "max_abs": 6.0}}
_HALVED_COLOUR = {"image": {"mean_abs": 1.5, "max_abs": 40.0}}
_SEEN_THROUGH = {"image": {"max_abs": 2.0, "mean_abs": 1.0}}
"""A canvas multiplies colours by alpha and divides them again."""
PHONE = (3024, 4032)


def decode_cases(spec: InputSpec) -> Iterator[Case]:
    """Every kind of file. Lossless ones must be equal; JPEG and lossy WebP depend on the decoder's arithmetic."""
    small, picture = pattern(28, 40), pattern(48, 64)
    grey = picture[..., 1].copy()
    alpha = np.dstack([picture, np.tile(np.arange(64, 256, 3, dtype=np.uint8), (48, 1))])
    deep = picture.astype(np.uint16) * np.uint16(256) + np.uint16(77)
    files: tuple[tuple[str, str, bytes, str, dict[str, dict[str, float]]], ...] = (
        ("jpeg-444", "baseline JPEG, full colour", encode.jpeg(picture), ".jpg", _FULL_COLOUR),
        ("jpeg-420", "baseline JPEG, colour at half size", encode.jpeg(picture, halved=True), ".jpg", _HALVED_COLOUR),
        (
            "jpeg-progressive",
            "progressive JPEG, colour at half size",
            encode.jpeg(picture, halved=True, progressive=True),
            ".jpg",
            _HALVED_COLOUR,
        ),
        ("jpeg-progressive-444", "progressive JPEG", encode.jpeg(picture, progressive=True), ".jpg", _FULL_COLOUR),
        ("jpeg-grey", "grey JPEG: repeated in three channels", encode.jpeg(grey), ".jpg", _FULL_COLOUR),
        (
            "jpeg-display-p3",
            "a colour profile: not applied",
            encode.with_display_p3(encode.jpeg(picture)),
            ".jpg",
            _FULL_COLOUR,
        ),
        ("png", "PNG", encode.png(picture), ".png", {}),
        ("png-grey", "grey PNG", encode.png(grey), ".png", {}),
        (
            "png-alpha",
            "PNG with transparency, nowhere complete: dropped, colours as stored",
            encode.png(alpha),
            ".png",
            _SEEN_THROUGH,
        ),
        ("png-16", "PNG of 16 bits: the upper 8 stay", encode.png(deep), ".png", {"image": {"max_abs": 1.0}}),
        ("webp-lossless", "lossless WebP", encode.webp(picture, 101), ".webp", {}),
        ("webp-lossy", "lossy WebP", encode.webp(picture, 90), ".webp", _HALVED_COLOUR),
    )
    for name, about, data, suffix, tolerance in files:
        yield name, "decode", about, {"file": FileBytes(data, suffix)}, tolerance
    for orientation in range(1, 9):
        data = encode.with_orientation(encode.jpeg(small, 95), orientation)
        about = f"EXIF orientation {orientation}: the picture becomes upright"
        yield f"orientation-{orientation}", "decode", about, {"file": FileBytes(data, ".jpg")}, _FULL_COLOUR
    given: dict[str, Any] = {"file": FileBytes(phone_file(), ".jpg"), "resized_to": [spec.height, spec.width]}
    about = "a phone's size, decoded in full and resized to the segmenter's input"
    yield "phone", "decode", about, given, {"resized": {"mean_abs": 0.5, "max_abs": 4.0}}


def transparent_cases() -> Iterator[Case]:
    """Transparency: dropped where every pixel is seen, refused where one is not."""
    picture = pattern(48, 64)
    opaque = np.full(picture.shape[:2], 255, np.uint8)
    hole = opaque.copy()
    hole[20, 30] = 0
    colours = pattern(16, 16)[3]
    grey = (picture[..., 1] | 1).astype(np.uint8)
    key = tuple(int(sample) for sample in picture[20, 30])
    unseen = next(level for level in range(256) if not (picture == level).all(axis=2).any())
    indices = ((np.arange(48)[:, None] * 3 + np.arange(64)) % len(colours)).astype(np.uint8)
    files: tuple[tuple[str, str, bytes, str, dict[str, dict[str, float]]], ...] = (
        ("png-opaque", "an alpha channel, opaque everywhere", encode.png(np.dstack([picture, opaque])), ".png", {}),
        ("png-hole", "one pixel is wholly transparent", encode.png(np.dstack([picture, hole])), ".png", {}),
        ("png-palette", "colours of a palette", encode.palette_png(indices, colours), ".png", {}),
        (
            "png-palette-seen",
            "a palette with a colour that is half transparent",
            encode.palette_png(indices, colours, b"\x80"),
            ".png",
            _SEEN_THROUGH,
        ),
        (
            "png-palette-hole",
            "a palette with a transparent colour that occurs",
            encode.palette_png(indices, colours, b"\xff\0"),
            ".png",
            {},
        ),
        ("png-key", "a transparent colour that occurs", encode.with_key(encode.png(picture), *key), ".png", {}),
        (
            "png-key-unseen",
            "a transparent colour that does not occur",
            encode.with_key(encode.png(picture), unseen, unseen, unseen),
            ".png",
            {},
        ),
        (
            "png-grey-key",
            "a transparent grey that occurs",
            encode.with_key(encode.png(grey), int(grey[20, 30])),
            ".png",
            {},
        ),
        (
            "png-grey-key-unseen",
            "a transparent grey that does not occur",
            encode.with_key(encode.png(grey), 128),
            ".png",
            {},
        ),
        ("webp-hole", "WebP with one transparent pixel", encode.webp(np.dstack([picture, hole]), 101), ".webp", {}),
    )
    for name, about, data, suffix, tolerance in files:
        yield name, "decode", about, {"file": FileBytes(data, suffix)}, tolerance


def damaged_cases() -> Iterator[Case]:
    """Files that must be refused, and why."""
    picture = pattern(48, 64)
    whole_jpeg, whole_png = encode.jpeg(picture), encode.png(picture)
    files = (
        ("empty", "no bytes", b"", ".jpg"),
        ("text", "no picture", b"These are words, not a picture.\n" * 8, ".jpg"),
        ("cut-jpeg", "a JPEG that ends too early", whole_jpeg[: len(whole_jpeg) * 2 // 3], ".jpg"),
        ("cut-png", "a PNG that ends too early", whole_png[: len(whole_png) * 2 // 3], ".png"),
        ("cut-header", "a JPEG that ends before its size", whole_jpeg[:40], ".jpg"),
        ("gif", "GIF has too few colours", b"GIF89a\x40\0\x30\0" + bytes(60), ".gif"),
    )
    for name, about, data, suffix in files:
        yield name, "decode", about, {"file": FileBytes(data, suffix)}, {}
    given: dict[str, Any] = {"file": FileBytes(whole_png, ".png"), "max_pixels": 64 * 48 - 1}
    yield "too-large", "decode", "one pixel above the limit: refused before it is decoded", given, {}
    yield "as-large", "decode", "exactly at the limit", given | {"max_pixels": 64 * 48}, {}


def header_cases() -> Iterator[Case]:
    """Formats and stored sizes, without decoding."""
    picture = pattern(48, 64)
    turned = encode.with_orientation(encode.jpeg(picture), 6)
    files = (
        ("jpeg", "JPEG", encode.jpeg(picture), ".jpg"),
        ("jpeg-turned", "the stored size, before EXIF turns it", turned, ".jpg"),
        ("jpeg-progressive", "progressive JPEG", encode.jpeg(picture, progressive=True), ".jpg"),
        ("png", "PNG", encode.png(picture), ".png"),
        ("webp-lossless", "lossless WebP", encode.webp(picture, 101), ".webp"),
        ("webp-lossy", "lossy WebP", encode.webp(picture, 90), ".webp"),
        ("text", "no picture", b"These are words, not a picture.\n" * 8, ".jpg"),
    )
    for name, about, data, suffix in files:
        yield name, "header", about, {"file": FileBytes(data, suffix)}, {}


def phone_file() -> bytes:
    """A lesion at a phone's size, 12 million pixels, as a JPEG."""
    small = skin(PHONE[0] // 8, PHONE[1] // 8)
    return encode.jpeg(cv2.resize(small, PHONE[::-1], interpolation=cv2.INTER_LINEAR), 40, halved=True)
