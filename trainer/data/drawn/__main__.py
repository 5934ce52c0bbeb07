"""The command line `python -m trainer.data.drawn`: examples and data sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2

from trainer.data.drawn.files import draw_dataset, draw_examples, write_image


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: `examples` and `dataset`."""
    parser = argparse.ArgumentParser(prog="python -m trainer.data.drawn", description="Draw dermoscopy-like pictures.")
    commands = parser.add_subparsers(dest="command", required=True)
    examples = commands.add_parser("examples", help="write the repository's example pictures")
    examples.add_argument("--folder", type=Path, default=Path("examples"))
    dataset = commands.add_parser("dataset", help="write a data set in HAM10000's layout")
    dataset.add_argument("folder", type=Path)
    dataset.add_argument("--lesions", type=int, default=200)
    dataset.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.command == "examples":
        chosen.folder.mkdir(parents=True, exist_ok=True)
        for name, image in draw_examples().items():
            write_image(chosen.folder / name, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    else:
        draw_dataset(chosen.folder, chosen.lesions, chosen.seed)


if __name__ == "__main__":
    main()
