"""Draws the three pictures of `architecture.md` as SVG: `python docs/drawings.py` writes them into `docs/assets`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
INK, PALE, ACCENT, WARN = "#263238", "#eceff1", "#cfd8dc", "#ffe0b2"
Row = tuple[str, str]

RUNTIME: Sequence[Row] = (
    ("cli", "one file a command"),
    ("serve, kiosk, batch, watch", "services around it, archives"),
    ("benchmark, evaluate, conformance, compare", "speed; figures; vectors for ports; two pictures"),
    ("diagnoser", "the order of the steps, and nothing else"),
    ("dicom", "hospitals' pictures in, answers back to their archive"),
    ("output", "a diagnosis for people and programs"),
    ("engines", "ONNX Runtime, Core ML, OpenVINO"),
    ("bundle", "manifest, parsing, hashes, golden examples"),
    ("diagnosis", "the answer"),
    ("measurements", "ABCD numbers of a lesion"),
    ("steps", "decode, resize, quality, mask, crop"),
    ("rules", "what a bundle fixes and the steps obey"),
    ("reasons, geometry, schema, files, extras", ""),
    ("errors", ""),
)
TRAINER: Sequence[Row] = (
    ("cli", "one file a command"),
    ("pipeline", "the story of a bundle"),
    ("papers, search, figures", "systems side by side; ablations"),
    ("report", "tables and cards from stored predictions"),
    ("bundle", "export, variants, gates, manifest"),
    ("choices", "thresholds and limits: pure functions"),
    ("scoring", "networks + pictures: predictions on disk"),
    ("training", "loop, losses, folds, distillation"),
    ("models", "networks and their registry"),
    ("data", "readers, splits, cache, augmentation"),
    ("recipe", "one TOML file decides a run"),
    ("errors", ""),
)
PICTURE: Sequence[Row] = (
    ("decode", "header checked first; upright RGB"),
    ("resize", "to the segmenter's input, one rule"),
    ("quality", "too small? too dark? blurred?"),
    ("segment", "network 1: pixels; is it dermoscopy?"),
    ("mask", "threshold, largest region, holes closed"),
    ("crop", "a square around the lesion"),
    ("classify", "network 2: calibrated probabilities"),
    ("decide", "operating point, abstention"),
)
BUNDLE: Sequence[Row] = (
    ("train", "both stages, by recipe; resumable"),
    ("answer", "unseen pictures: predictions on disk"),
    ("choose", "calibration, limits, thresholds; pure"),
    ("write", "ONNX, variants, gates, golden, hashes"),
    ("report", "the one look at test; model card"),
    ("find, verify", "by the runtime: hashes, schema, engine"),
    ("replay", "golden examples on the device"),
)


def text(x: float, y: float, words: str, size: int = 14, weight: str = "normal", anchor: str = "start") -> str:
    """One line of text."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{INK}">'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A rounded rectangle."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{INK}"/>'


def arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    """A straight arrow."""
    return f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{INK}" stroke-width="1.5" marker-end="url(#tip)"/>'


def svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """The file."""
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" role="img"><title>{escape(title)}</title>'
    )
    return "\n".join([head, tip, *parts, "</svg>", ""])


def layers() -> str:
    """Both packages, from the top; imports run downwards."""
    parts = []
    for x, name, rows in ((10, "edge_infer", RUNTIME), (460, "trainer", TRAINER)):
        parts.append(text(x, 24, name, 18, "bold"))
        for number, (room, words) in enumerate(rows):
            y = 40 + 42 * number
            width = 340 if x < 400 else 330
            parts.append(box(x, y, width, 34, ACCENT if room in ("diagnoser", "pipeline") else PALE))
            parts.append(text(x + 10, y + 15 if words else y + 22, room, 13, "bold"))
            if words:
                parts.append(text(x + 10, y + 29, words, 11))
    parts.append(arrow(366, 60, 366, 570))
    parts.append(text(405, 275, "imports", 12, anchor="middle"))
    parts.append(text(405, 290, "run", 12, anchor="middle"))
    parts.append(text(405, 305, "downwards", 12, anchor="middle"))
    parts.append(text(405, 400, "trainer uses", 11, anchor="middle"))
    parts.append(text(405, 414, "edge_infer,", 11, anchor="middle"))
    parts.append(text(405, 428, "never back", 11, anchor="middle"))
    parts.append(arrow(456, 440, 376, 440))
    return svg(800, 600, "Layers of both packages", parts)


def way(rows: Sequence[Row], title: str, first: str, last: str, stops: dict[str, str]) -> str:
    """A chain of steps from top to bottom, with what may end it beside each."""
    parts = [text(170, 24, first, 14, "bold", "middle"), arrow(170, 30, 170, 46)]
    for number, (step, words) in enumerate(rows):
        y = 48 + 58 * number
        parts += [box(20, y, 300, 42, PALE), text(32, y + 18, step, 14, "bold"), text(32, y + 34, words, 12)]
        parts.append(arrow(170, y + 42, 170, y + 56))
        if step in stops:
            parts += [arrow(320, y + 21, 368, y + 21), box(370, y, 330, 42, WARN), text(382, y + 26, stops[step], 12)]
    y = 48 + 58 * len(rows)
    parts.append(text(170, y + 16, last, 14, "bold", "middle"))
    return svg(720, y + 30, title, parts)


def drawings() -> dict[str, str]:
    """Every drawing by file name."""
    return {
        "layers.svg": layers(),
        "way-of-a-picture.svg": way(
            PICTURE,
            "The way of a picture",
            "path, bytes or array",
            "Diagnosis: ok",
            {
                "decode": "ImageError: unreadable, damaged, too large",
                "quality, appearance": "indeterminate: blurred, not_dermoscopy, ...",
                "mask": "indeterminate: no_lesion, lesion_uncertain, ...",
                "decide": "indeterminate: uncertain (only with abstain)",
            },
        ),
        "way-of-a-bundle.svg": way(
            BUNDLE,
            "The way of a bundle",
            "labelled pictures, bundle recipe",
            "Diagnoser",
            {
                "write": "ExportError: a gate failed; nothing is written",
                "find, verify": "BundleError: missing, tampered, unknown schema",
                "replay": "deviation outside the bundle's own bounds",
            },
        ),
    }


if __name__ == "__main__":
    for file, content in drawings().items():
        (ASSETS / file).write_text(content, encoding="utf-8")
