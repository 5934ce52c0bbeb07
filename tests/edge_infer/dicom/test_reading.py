"""DICOM photographs become the RGB pictures that they show, whatever their coding; everything else is a typed error."""

from __future__ import annotations

import io
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from edge_infer.dicom.pixels import read_frame
from edge_infer.dicom.quiet import quietly
from edge_infer.dicom.reading import DicomPicture
from edge_infer.dicom.recognise import belongs_to_search, looks_like_dicom
from edge_infer.errors import DicomNotInstalledError, ImageError
from edge_infer.steps.image import open_picture
from tests.support.dicom_files import CAPTURE, PHOTOGRAPHY, encoded, photograph, write

Pixels = NDArray[np.uint8]
LIMIT = 10_000_000


@pytest.fixture(scope="module")
def noise() -> Pixels:
    """Neighbours differ, rows and columns too, so that a swap of anything shows."""
    return np.random.default_rng(7).integers(0, 256, (24, 36, 3), np.uint8)


def opened(dataset: Dataset, frame: int | None = None) -> Pixels:
    return DicomPicture(encoded(dataset), frame).open_picture(LIMIT).pixels


def coded(dataset: Dataset, syntax: str, **options: Any) -> Dataset:
    dataset.compress(syntax, generate_instance_uid=False, **options)
    return dataset


@pytest.mark.parametrize("sop_class", [None, PHOTOGRAPHY, CAPTURE])
def test_rgb_is_taken_as_it_is(noise: Pixels, sop_class: str | None) -> None:
    dataset = photograph(noise) if sop_class is None else photograph(noise, sop_class)
    assert np.array_equal(opened(dataset), noise)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless]
)
def test_lossless_codings_give_the_very_pixels(noise: Pixels, syntax: str) -> None:
    noise = np.tile(noise, (3, 2, 1))  # JPEG 2000 as it is written here needs 32 pixels
    dataset = photograph(noise)
    if syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        dataset = coded(dataset, syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(opened(dataset), noise)


@pytest.mark.parametrize("depth", [8, 16])
def test_big_endian_gives_the_very_pixels(noise: Pixels, depth: int) -> None:
    wide = noise if depth == 8 else (noise.astype(np.uint16) << 8).astype(">u2")
    dataset = photograph(wide)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset["PixelData"].VR = "OW" if depth == 16 else "OB"
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=False, little_endian=False, enforce_file_format=True)
    assert np.array_equal(DicomPicture(stream.getvalue()).open_picture(LIMIT).pixels, noise)


def test_a_cameras_jpeg_gives_the_same_pixels_with_and_without_dicom(nevus: Pixels) -> None:
    jpeg = cv2.imencode(".jpg", nevus[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    assert open_picture(turned).pixels.shape[:2] == nevus.shape[1::-1], "the EXIF data turns it elsewhere"
    dataset = photograph(nevus, PhotometricInterpretation="YBR_FULL_422")
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([turned])
    assert np.array_equal(opened(dataset), open_picture(jpeg).pixels)


def test_ybr_is_turned_to_rgb(nevus: Pixels) -> None:
    full = cv2.cvtColor(nevus, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    assert np.abs(opened(photograph(full, PhotometricInterpretation="YBR_FULL")).astype(int) - nevus).max() <= 2
    halves = full.reshape(-1, 2, 3)
    packed = np.stack([halves[:, 0, 0], halves[:, 1, 0], halves[:, 0, 1], halves[:, 0, 2]], 1)
    shown = opened(photograph(full, PhotometricInterpretation="YBR_FULL_422", PixelData=packed.tobytes()))
    assert np.abs(shown.astype(int) - nevus)[:, ::2].max() <= 2


def test_planes_are_put_together(noise: Pixels) -> None:
    planes = noise.transpose(2, 0, 1).tobytes()
    assert np.array_equal(opened(photograph(noise, PlanarConfiguration=1, PixelData=planes)), noise)


def test_a_palette_is_looked_up() -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tables = {
        f"{colour}PaletteColorLookupTable{part}": value
        for shift, colour in enumerate(("Red", "Green", "Blue"))
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", (np.roll(np.arange(256), shift) * 257).astype("<u2")),
        )
    }
    data = {name: value if isinstance(value, list) else value.tobytes() for name, value in tables.items()}
    dataset = photograph(indices, CAPTURE, Modality="OT", PhotometricInterpretation="PALETTE COLOR", **data)
    picture = DicomPicture(encoded(dataset)).open_picture(LIMIT)
    assert picture.pixels[0, :3].tolist() == [[0, 255, 254], [1, 0, 255], [2, 1, 0]]
    assert "256 colours" in picture.warnings[0]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [0, 64, 128, 255]),
        ({"PhotometricInterpretation": "MONOCHROME1"}, [255, 191, 127, 0]),
        ({"WindowCenter": 64.5, "WindowWidth": 129}, [0, 128, 255, 255]),
        ({"WindowCenter": 64, "WindowWidth": 128, "VOILUTFunction": "LINEAR_EXACT"}, [0, 128, 255, 255]),
        ({"RescaleSlope": -1, "RescaleIntercept": 255}, [255, 191, 127, 0]),
    ],
)
def test_grey_values_are_shown_as_the_attributes_say(attributes: dict[str, Any], expected: list[int]) -> None:
    grey = np.array([[0, 64, 128, 255]], np.uint8)
    shown = opened(photograph(grey, **attributes))
    assert shown.shape == (1, 4, 3) and np.ptp(shown, axis=2).max() == 0
    assert shown[0, :, 0].tolist() == expected


def test_deep_samples_keep_their_upper_bits(noise: Pixels) -> None:
    deep = noise.astype(np.uint16) << 4 | 9
    picture = DicomPicture(encoded(photograph(deep, BitsStored=12, HighBit=11))).open_picture(LIMIT)
    assert np.array_equal(picture.pixels, noise)
    assert picture.warnings == ("Samples of 12 bits were reduced to 8 bits.",)


def test_a_frame_is_chosen(noise: Pixels) -> None:
    several = photograph(np.stack([noise, 255 - noise]), f"{CAPTURE}.4", Modality="OT")
    assert np.array_equal(opened(several, 2), 255 - noise)
    assert np.array_equal(opened(coded(several, RLELossless), 1), noise)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"PatientOrientation": ["L", "F"]}, lambda p: p),
        ({"PatientOrientation": ["R", "H"]}, lambda p: p[::-1, ::-1]),
        ({"PatientOrientation": ["F", "R"]}, lambda p: np.rot90(p, -1)),
        ({"PatientOrientation": ["HL", "R"]}, lambda p: np.rot90(p)),
        ({"PatientOrientation": ["A", "L"]}, lambda p: p),
        ({"ImageRotation": 90}, lambda p: np.rot90(p, -1)),
        ({"ImageRotation": 90, "ImageHorizontalFlip": "Y"}, lambda p: np.rot90(p, -1)[:, ::-1]),
        ({"ImageRotation": 0, "PatientOrientation": ["R", "H"]}, lambda p: p),
    ],
)
def test_orientation_is_obeyed(noise: Pixels, attributes: dict[str, Any], expected: Callable[[Any], Any]) -> None:
    assert np.array_equal(opened(photograph(noise, **attributes)), expected(noise))


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({"PixelSpacing": [0.02, 0.01]}, (48, 36)),
        ({"PixelAspectRatio": [1, 2]}, (24, 72)),
        ({"PixelSpacing": [0.5, 0.5], "PixelAspectRatio": [1, 2]}, (24, 36)),
        ({"PixelSpacing": [0.02, 0.01], "ImageRotation": 90}, (36, 48)),
    ],
)
def test_pixels_become_square(noise: Pixels, attributes: dict[str, Any], shape: tuple[int, int]) -> None:
    picture = DicomPicture(encoded(photograph(noise, **attributes)))
    assert picture.open_picture(LIMIT).pixels.shape[:2] == shape
    geometry = picture.read_header(LIMIT).geometry
    mask = np.zeros((24, 36), np.uint8)
    mask[3:9, 20:30] = 1
    upright = geometry.upright(np.repeat(mask[..., None], 3, 2), LIMIT)[..., 0]
    assert np.array_equal(geometry.stored((upright > 0.5).astype(np.uint8)), mask)


def without_meta(data: bytes) -> bytes:
    return data[132:]


def bomb() -> bytes:
    dataset = photograph(np.zeros((4, 4, 3), np.uint8))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    start = encoded(dataset)
    deflater = zlib.compressobj(9, wbits=-15)
    from edge_infer.dicom.recognise import read_meta

    zeros = b"".join(deflater.compress(bytes(2**20)) for _ in range(160)) + deflater.flush()
    return start[: read_meta(start).end] + zeros


PLAIN = np.full((8, 8, 3), 90, np.uint8)
ENVELOPE = bytes.fromhex("308006092a864886f70d010703a080") + bytes(200)
FAILURES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "dicom-broken", "empty (0 bytes)"),
    "no DICOM": (lambda: b"x" * 400, "dicom-broken", "no 'DICM'"),
    "without meta": (lambda: without_meta(encoded(photograph(PLAIN))), "dicom-broken", "no 'DICM'"),
    "in an envelope": (lambda: ENVELOPE, "dicom-encrypted", "encrypted envelope"),
    "attributes encrypted": (
        lambda: encoded(photograph(PLAIN, PixelData=None, EncryptedAttributesSequence=[Dataset()])),
        "dicom-encrypted",
        "no pixels",
    ),
    "without pixels": (lambda: encoded(photograph(PLAIN, PixelData=None)), "dicom-no-pixels", "no pixels"),
    "pixels empty": (lambda: encoded(photograph(PLAIN, PixelData=b"")), "dicom-no-pixels", "no pixels"),
    "cut short": (lambda: encoded(photograph(PLAIN))[:-40], "dicom-broken", "damaged"),
    "a CT": (lambda: encoded(photograph(PLAIN, "1.2.840.10008.5.1.4.1.1.2")), "dicom-not-a-photograph", "CT Image"),
    "a captured CT": (
        lambda: encoded(photograph(PLAIN, CAPTURE, Modality="CT")),
        "dicom-not-a-photograph",
        "another modality (CT)",
    ),
    "our own result": (
        lambda: encoded(photograph(PLAIN, CAPTURE, ManufacturerModelName="edge-infer")),
        "dicom-not-a-photograph",
        "result of edge-infer",
    ),
    "no class": (lambda: without_class(), "dicom-broken", "does not say what it holds"),
    "several frames": (
        lambda: encoded(photograph(np.stack([PLAIN] * 3), f"{CAPTURE}.4", Modality="OT")),
        "dicom-frame",
        "--frame 1 to --frame 3",
    ),
    "rows missing": (lambda: encoded(photograph(PLAIN, Rows=None)), "dicom-broken", "Rows"),
    "more rows": (lambda: encoded(photograph(PLAIN, Rows=9)), "dicom-broken", "cannot be decoded"),
    "too large": (lambda: encoded(photograph(PLAIN, Rows=60000, Columns=60000)), "image-too-large", "million pixels"),
    "stretched too far": (lambda: encoded(photograph(PLAIN, PixelSpacing=[1, 100])), "dicom-broken", "PixelSpacing"),
    "no colours known": (
        lambda: encoded(photograph(PLAIN, PhotometricInterpretation="HSV")),
        "dicom-unsupported",
        "HSV",
    ),
    "video": (lambda: video(), "dicom-unsupported", "MPEG"),
    "another JPEG inside": (lambda: other_jpeg(), "dicom-broken", "holds 16x16"),
    "half a JPEG": (lambda: half_jpeg(), "dicom-broken", "JPEG"),
    "a deflate bomb": (bomb, "image-too-large", "deflated"),
}


def without_class() -> bytes:
    dataset = photograph(PLAIN)
    data = encoded(dataset)
    read = pydicom.dcmread(io.BytesIO(data))
    del read.SOPClassUID
    stream = io.BytesIO()
    read.save_as(stream)
    return stream.getvalue()


def jpeg_inside(jpeg: bytes, syntax: str = JPEGBaseline8Bit) -> bytes:
    dataset = photograph(PLAIN, PhotometricInterpretation="YBR_FULL_422")
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([jpeg])
    return encoded(dataset)


def video() -> bytes:
    return jpeg_inside(b"\0" * 32, "1.2.840.10008.1.2.4.102")


def other_jpeg() -> bytes:
    return jpeg_inside(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())


def half_jpeg() -> bytes:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8))[1].tobytes()
    return jpeg_inside(jpeg[: len(jpeg) * 9 // 10])


@pytest.mark.parametrize("case", FAILURES)
def test_what_cannot_be_used_is_a_typed_error(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, code, words = FAILURES[case]
    with pytest.raises(ImageError) as caught:
        DicomPicture(make()).open_picture(1_000_000)
    assert (caught.value.code, words in str(caught.value)) == (code, True), caught.value
    assert caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photograph(PLAIN))
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(DicomNotInstalledError, match=r"pip install 'edge-infer\[dicom\]'"):
        DicomPicture(data).open_picture(LIMIT)


CORPUS = [
    *sorted((Path(pydicom.__file__).parent / "data/test_files").glob("*.dcm")),
    *sorted((Path.home() / ".pydicom/data").glob("*.dcm")),  # the larger ones, where pydicom has fetched them
]
NOT_DECODED = {
    "JPEG2000-embedded-sequence-delimiter.dcm",  # its stream's size was overwritten on purpose
    "GDCMJ2K_TextGBR.dcm",  # a file with boxes, not a stream
    "MR_truncated.dcm",
}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_pydicoms_own_files_are_pictures_or_typed_errors(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        picture = DicomPicture(path).open_picture(LIMIT)
    except ImageError as error:
        assert error.code.startswith("dicom-") and error.remedy
    else:
        assert picture.pixels.dtype == np.uint8 and picture.pixels.shape == (picture.height, picture.width, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_pydicoms_own_pixels_are_decoded_whatever_they_are_of(path: Path) -> None:
    with quietly():
        dataset = pydicom.dcmread(path, force=True)
        bits = dataset.get("BitsAllocated")
        if bits not in (8, 16) or "PixelData" not in dataset or not dataset.file_meta.get("TransferSyntaxUID"):
            pytest.skip("no pixels of 8 or 16 bits")
        if path.name in NOT_DECODED:
            with pytest.raises(ImageError):
                read_frame(dataset, 1, LIMIT)
            return
        shown, _ = read_frame(dataset, 1, LIMIT)
        assert shown.shape == (dataset.Rows, dataset.Columns, 3)
        if dataset.SamplesPerPixel == 3 and bits == 8:
            expected = pixel_array(dataset, index=0)
            assert np.abs(shown.astype(int) - expected).max() <= 2


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="no dcmdjpeg (dcmtk)")
def test_extended_jpeg_of_12_bits_equals_dcmtk(tmp_path: Path) -> None:
    path = next(path for path in CORPUS if path.name == "JPGExtended.dcm")
    subprocess.run(["dcmdjpeg", str(path), str(tmp_path / "plain.dcm")], check=True)
    ours, _ = read_frame(pydicom.dcmread(path), 1, LIMIT)
    theirs, _ = read_frame(pydicom.dcmread(tmp_path / "plain.dcm"), 1, LIMIT)
    assert ours.max() > 0 and np.array_equal(ours, theirs)


def test_a_search_takes_pictures_and_leaves_reports_and_results_out(tmp_path: Path) -> None:
    found = {
        "IM0001": photograph(PLAIN),
        "1.2.3.44": photograph(PLAIN),
        "x.dcm": photograph(PLAIN),
        "ct.dcm": photograph(PLAIN, "1.2.840.10008.5.1.4.1.1.2"),
        "sr.dcm": photograph(PLAIN, "1.2.840.10008.5.1.4.1.1.88.22"),
        "seg": photograph(PLAIN, "1.2.840.10008.5.1.4.1.1.66.4"),
        "DICOMDIR": photograph(PLAIN, "1.2.840.10008.1.3.10"),
        "ours.dcm": photograph(PLAIN, CAPTURE, ManufacturerModelName="edge-infer"),
    }
    for name, dataset in found.items():
        write(dataset, tmp_path / name)
    (tmp_path / "README").write_text("no picture")
    (tmp_path / "notes.txt").write_bytes((tmp_path / "x.dcm").read_bytes())
    (tmp_path / "broken.dcm").write_bytes(b"")
    taken = sorted(path.name for path in tmp_path.iterdir() if belongs_to_search(path))
    assert taken == ["1.2.3.44", "IM0001", "broken.dcm", "ct.dcm", "x.dcm"]
    assert looks_like_dicom(tmp_path / "notes.txt") and not looks_like_dicom(tmp_path / "README")
