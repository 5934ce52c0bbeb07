"""The worst picture files and the oddest places for them: a picture, or a typed error, within bounds and in silence."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_infer import errors
from edge_infer.conformance import encode
from edge_infer.steps import native
from edge_infer.steps.header import read_header
from edge_infer.steps.image import open_picture
from tests.conftest import REPOSITORY
from tests.support.hostile_files import CASES, animated, before_idat, chunk, encoded, pixels, png_header, rgba


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    native.keep_off_stderr()


@pytest.mark.parametrize("name", CASES)
def test_each_worst_case_is_a_picture_or_a_typed_error(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    data = case.make()
    if case.error is None:
        picture = open_picture(data)
        assert picture.pixels.shape == (picture.height, picture.width, 3)
        assert case.warning is None or any(case.warning in warning for warning in picture.warnings)
    else:
        with pytest.raises(errors.ImageError) as caught:
            open_picture(data)
        assert type(caught.value) is case.error and caught.value.remedy
    assert capfd.readouterr().err == ""


LIMITED = """
    import resource, sys, time
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    from edge_infer.errors import EdgeInferError
    from edge_infer.steps.image import open_picture
    from edge_infer.steps.native import keep_off_stderr
    from tests.support.hostile_files import CASES

    if "quiet" in sys.argv:
        keep_off_stderr()
    made = {name: case.make() for name, case in CASES.items() if "bomb" not in name}
    open_picture(made["palette png"])
    # From here on no decoder may take more than half a gigabyte more, even to be refused it.
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
    slowest = (0.0, "")
    for name, data in made.items():
        start = time.process_time()
        try:
            open_picture(data)
        except EdgeInferError:
            pass
        slowest = max(slowest, (time.process_time() - start, name))
    print(*slowest)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of address space")
def test_the_worst_cases_stay_within_memory_and_time_and_print_nothing() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(LIMITED), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = run("quiet")
    assert done.returncode == 0 and done.stderr == ""
    seconds, name = done.stdout.split(maxsplit=1)
    assert float(seconds) < 10, name
    # Without being asked to, nothing is caught: the test would see it.
    assert "Corrupt JPEG data" in run().stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_picture_takes_at_most_twelve_bytes_a_pixel() -> None:
    code = """
        from edge_infer.steps.image import open_picture
        from tests.support.hostile_files import png_of_zeros

        def peak():
            lines = open("/proc/self/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

        data = png_of_zeros(4000, 1000, 16, 2)
        open_picture(png_of_zeros(8, 8, 16, 2))
        before = peak()
        open_picture(data)
        print((peak() - before) / 4000 / 1000)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert 3 < float(done.stdout) <= 12


def test_an_animation_gives_its_still_picture() -> None:
    for format in ("PNG", "WEBP"):
        np.testing.assert_array_equal(open_picture(animated(format)).pixels, pixels())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
def test_of_files_behind_each_other_the_first_is_the_picture(format: str) -> None:
    alone = open_picture(encoded(format))
    for behind in {"PNG", "JPEG", format}:
        both = open_picture(encoded(format) + encoded(behind, Image.fromarray(255 - pixels(40, 50))))
        np.testing.assert_array_equal(both.pixels, alone.pixels)
        assert both.warnings == alone.warnings


def test_a_png_is_the_same_picture_whatever_stands_beside_its_pixels() -> None:
    extra = (
        chunk(b"gAMA", b"\0\0\0\1") + chunk(b"tEXt", b"a\0b", 3) + chunk(b"fcTL", bytes(26)) + chunk(b"acTL", bytes(8))
    )
    np.testing.assert_array_equal(open_picture(before_idat(extra)).pixels, pixels())


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_the_orientation_of_a_webp_is_obeyed_with_and_without_the_prefix(prefix: bytes) -> None:
    exif = Image.Exif()
    exif[0x112] = 3
    body = prefix + exif.tobytes().removeprefix(b"Exif\0\0")
    whole = encoded("WEBP", Image.fromarray(pixels()), lossless=True, exif=exif.tobytes())
    # Pillow leaves the prefix out; cameras and other writers do not.
    whole = whole[: whole.index(b"EXIF")] + b"EXIF" + len(body).to_bytes(4, "little") + body
    data = b"RIFF" + (len(whole) - 8).to_bytes(4, "little") + whole[8:]
    assert (b"Exif\0\0" in data) == bool(prefix)
    np.testing.assert_array_equal(open_picture(data).pixels, pixels()[::-1, ::-1])


def test_hidden_colours_are_refused_and_opaque_alpha_is_nothing() -> None:
    alpha = np.full((64, 80), 255, np.uint8)
    assert open_picture(rgba(alpha)).warnings == ()
    alpha[3, 4] = 254
    assert open_picture(rgba(alpha)).warnings == ("Transparency was ignored.",)
    alpha[3, 4] = 0
    with pytest.raises(errors.ImageDecodeError, match=r"transparent in 0\.02%"):
        open_picture(rgba(alpha))


LEVELS = np.random.default_rng(5).integers(0, 15, (24, 32, 3), dtype=np.uint8)
ROWS_OF_4_BITS = b"".join(b"\0" + bytes(row[::2] << 4 | row[1::2]) for row in LEVELS[..., 0])
KEYED: dict[str, tuple[bytes, tuple[int, ...], tuple[int, ...]]] = {
    "grey": (encode.png(LEVELS[..., 0]), (int(LEVELS[3, 4, 0]),), (200,)),
    "grey of 4 bits": (
        png_header(32, 24, 4, 0) + chunk(b"IDAT", zlib.compress(ROWS_OF_4_BITS)) + chunk(b"IEND", b""),
        (int(LEVELS[3, 4, 0]),),
        (15,),
    ),
    "grey of 16 bits": (encode.png(LEVELS[..., 0] * np.uint16(300)), (300 * int(LEVELS[3, 4, 0]),), (299,)),
    "colour": (encode.png(LEVELS), tuple(map(int, LEVELS[3, 4])), (200, 200, 200)),
}


@pytest.mark.parametrize("kind", KEYED)
def test_a_colour_that_stands_for_transparency_hides_what_has_it(kind: str) -> None:
    data, occurs, never = KEYED[kind]
    with pytest.raises(errors.ImageDecodeError, match="transparent"):
        open_picture(encode.with_key(data, *occurs))
    opaque = open_picture(encode.with_key(data, *never))
    np.testing.assert_array_equal(opaque.pixels, open_picture(data).pixels)
    assert "Transparency was ignored." not in opaque.warnings


def test_scans_are_counted_in_the_picture_alone() -> None:
    data = encoded("JPEG", progressive=True)
    comment = b"\xff\xda" * 500
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    np.testing.assert_array_equal(open_picture(data[:2] + segment + data[2:]).pixels, open_picture(data).pixels)


def test_scans_are_counted_in_large_files_too() -> None:
    body = bytes(2**18)
    read_header(encoded("JPEG") + body)
    with pytest.raises(errors.ImageDecodeError, match="has 1001 scans"):
        read_header(encoded("JPEG") + body + b"\xff\xda" * 1000)


def test_what_others_print_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    def decode() -> int:
        os.write(2, b"Corrupt JPEG data: 7 extraneous bytes before marker 0xd9\nanother thread's words\n")
        return 5

    assert native.decoding(decode) == (5, "Corrupt JPEG data: 7 extraneous bytes before marker 0xd9")
    assert capfd.readouterr().err == "another thread's words\n"
    with pytest.raises(ZeroDivisionError):
        native.decoding(lambda: 1 // 0)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


_SEEDS = [encoded("JPEG"), encoded("JPEG", progressive=True), encoded("PNG"), encoded("BMP"), encoded("TIFF")]
_SEEDS += [
    encoded("WEBP"),
    animated("PNG"),
    rgba(np.full((64, 80), 9, np.uint8), "WEBP"),
    encoded("TIFF", compression="tiff_lzw"),
]


@given(seed=st.sampled_from(_SEEDS), changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_change_of_any_format_is_a_picture_or_a_typed_error(
    seed: bytes, changes: list[tuple[float, bytes]]
) -> None:
    data = bytearray(seed)
    for share, replacement in changes:
        at = int(share**2 * len(data))  # headers more often than pixels
        data[at : at + len(replacement)] = replacement
    try:
        header, picture = read_header(bytes(data)), open_picture(bytes(data), max_pixels=2**22)
    except errors.ImageError as error:
        assert error.remedy
    else:
        assert {picture.height, picture.width} == {header.height, header.width}
        assert picture.pixels.shape == (picture.height, picture.width, 3) and picture.pixels.dtype == np.uint8


@given(
    data=st.binary(max_size=200),
    magic=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II+\0", b"MM\0*"]),
)
@settings(max_examples=500, deadline=None)
def test_any_bytes_have_a_header_or_a_typed_error(data: bytes, magic: bytes) -> None:
    try:
        header = read_header(magic + data)
    except errors.ImageDecodeError:
        return
    assert header.width > 0 and header.height > 0


NAMES = [
    "a\nb.png",
    "a'b\"c.png",
    "=1+1.png",
    "-rf.png",
    "$(touch x).png",
    "a\\b.png",
    "ä漢🙂.png",
    " .png",
    "a\x1b[31m.png",
]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", [*map(os.fsencode, NAMES), b"\xff\xfe.png"])
def test_odd_names_are_names(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(encoded("PNG"))
    np.testing.assert_array_equal(open_picture(path).pixels, pixels())
    path.write_bytes(b"rubbish")
    with pytest.raises(errors.ImageDecodeError):
        open_picture(path)


@pytest.mark.skipif(os.name == "nt", reason="needs FIFOs, sockets and device files")
@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "link to fifo").symlink_to(tmp_path / "fifo")
    for path in ("fifo", "link to fifo", "socket", "/dev/zero", "/dev/null", "/dev/stdin"):
        with pytest.raises(errors.ImageError) as caught:
            open_picture(tmp_path / path)
        assert path == "/dev/stdin" or "not a regular file" in str(caught.value)
    with pytest.raises(errors.ImageNotFoundError, match="no file"):
        open_picture(tmp_path / "gone")
    with pytest.raises(errors.ImageAccessError, match="symbolic links"):
        open_picture(tmp_path / "loop")
    with pytest.raises(errors.ImageError):
        open_picture("/proc/self/maps")
    with pytest.raises(errors.ImageError):
        open_picture(tmp_path / ("n" * 300))
    listener.close()


@pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/fd")
def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    (tmp_path / "picture").write_bytes(encoded("PNG"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        for path in (tmp_path, tmp_path / "fifo", tmp_path / "rubbish", tmp_path / "gone"):
            with pytest.raises(errors.ImageError):
                open_picture(path)
        open_picture(tmp_path / "picture")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
def test_what_was_looked_at_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "a.png", tmp_path / "other"
    path.write_bytes(encoded("PNG"))
    os.mkfifo(other)
    real = os.fstat

    def swapped(descriptor: int) -> os.stat_result:
        other.replace(path) if other.exists() else None
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", swapped)
    np.testing.assert_array_equal(open_picture(path).pixels, pixels())


def test_a_file_that_grows_is_read_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "read", lambda descriptor, size: b"x" * 2**25)
    with pytest.raises(errors.ImageTooLargeError):
        open_picture(path, max_pixels=1000)


def test_an_image_of_pillow_equals_ours() -> None:
    for format, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_deflate"})):
        data = encoded(format, **options)
        np.testing.assert_array_equal(
            open_picture(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        )
