"""A small archive of drawn pictures: good ones, refused ones, damaged ones, and one that is listed and absent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.data.drawn import draw_picture


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: 12 pictures in two folders, `list.csv` that names them and an absent one."""
    folder = tmp_path_factory.mktemp("archive") / "pictures"
    for name in ("a", "b/deep"):
        (folder / name).mkdir(parents=True)
    for number in range(9):
        kind = "mel" if number % 3 == 0 else "nv"
        picture = draw_picture(np.random.default_rng(number), 120, 160, kind).image
        place = "a" if number % 2 else "b/deep"
        assert cv2.imwrite(str(folder / place / f"{number}.png"), picture[..., ::-1])
    assert cv2.imwrite(str(folder / "a/blank.png"), np.full((120, 160, 3), 128, np.uint8))
    (folder / "a/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "a/notes.txt").write_text("no picture")
    (folder / "ümlaut,comma.png").write_bytes((folder / "a/1.png").read_bytes())
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    assert len(names) == 12
    lines = ["path,lesion", *(f'"{name}",1' for name in [*names, names[0], "gone.png"])]
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
