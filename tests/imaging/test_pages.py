"""Image files read in parts hold what they hold when read as a whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segdec.errors import ImageError
from segdec.imaging import list_pages, open_rows, read_image, write_image

FORMS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 7},
    "one strip": {},
    "deflated": {"rowsperstrip": 7, "compression": "zlib"},
    "deflated with predictor": {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
    "tiled": {"tile": (16, 32)},
    "tiled and deflated": {"tile": (16, 32), "compression": "zlib"},
    "big-endian": {"byteorder": ">", "rowsperstrip": 7},
    "BigTIFF": {"bigtiff": True},
}


def make_image(shape: tuple[int, ...], dtype: type = np.uint16) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def read_in_parts(path: Path, channels: Any = None, step: int = 9, page: int | None = None) -> NDArray[Any]:
    with open_rows(path, channels, page) as rows:
        height = rows.size[0]
        parts = [rows.read(top, min(top + step, height)) for top in range(0, height, step)]
        assert all(part.shape[1] == rows.size[1] for part in parts)
    return np.concatenate(parts)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(50, 70), (50, 70, 3), (50, 70, 4)])
@pytest.mark.parametrize("form", FORMS)
def test_strips_equal_the_whole_read(tmp_path: Path, form: str, shape: tuple[int, ...], dtype: type) -> None:
    tifffile = pytest.importorskip("tifffile")
    path, pixels = tmp_path / "a.tif", make_image(shape, dtype)
    tifffile.imwrite(path, pixels, photometric="rgb" if len(shape) == 3 else "minisblack", **FORMS[form])
    expected = (pixels if pixels.ndim == 3 else pixels[..., None])[..., :3]
    for step in (1, 9, 64):
        np.testing.assert_array_equal(read_in_parts(path, step=step), expected)
    for channels in (1, 3):
        in_parts = read_in_parts(path, channels)
        assert in_parts.dtype == dtype
        if form != "BigTIFF" or dtype == np.uint8:  # Pillow and OpenCV do not read all of BigTIFF
            np.testing.assert_array_equal(in_parts, read_image(path, channels))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "packbits", "jpeg", "group4", "palette", "turned"]
)
def test_what_is_not_read_in_parts_is_read_as_a_whole(tmp_path: Path, compression: str) -> None:
    path, image = tmp_path / "a.tif", Image.fromarray(make_image((40, 50), np.uint8))
    if compression == "group4":
        image.convert("1").save(path, compression="group4")
    elif compression == "palette":
        image.convert("P").save(path)
    elif compression == "turned":
        image.save(path, tiffinfo={274: 6})
    else:
        image.save(path, compression=compression)
    np.testing.assert_array_equal(read_in_parts(path), read_image(path))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_other_formats_are_images_of_one_page(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    write_image(path, make_image((40, 50, 3), np.uint8))
    assert list_pages(path) == [0]
    np.testing.assert_array_equal(read_in_parts(path), read_image(path))


@pytest.mark.parametrize("streamed", [True, False])
def test_pages_are_told_apart_and_previews_left_out(
    tmp_path: Path, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    first, second = make_image((50, 70)), make_image((30, 20), np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(first)
        file.write(first[::2, ::2], subfiletype=1)  # a preview
        file.write(second)
    if not streamed:
        monkeypatch.setattr("segdec.imaging.pages.find_spec", lambda name: None)
    assert list_pages(path) == [0, 2]
    np.testing.assert_array_equal(read_in_parts(path, page=0)[..., 0], first)
    np.testing.assert_array_equal(read_in_parts(path, page=2)[..., 0], second)
    for read in (read_image, read_in_parts):
        with pytest.raises(ImageError, match="holds 2 pages"):
            read(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_a_truncated_tiff_is_an_error(tmp_path: Path, form: str, kept: float) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_image((500, 70)), **FORMS[form])
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ImageError, match=r"a\.tif"):
        read_in_parts(path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.float16, "floating-point"),
        (np.float32, "floating-point"),
        (np.float64, "floating-point"),
        (np.complex64, "complex"),
        (np.int8, "signed 8-bit"),
        (np.int16, "signed 16-bit"),
        (np.int32, "signed 32-bit"),
        (np.uint32, "32-bit"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_values_that_are_no_pixels_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, dtype: type, kind: str, streamed: bool
) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.ones((40, 50, 3)[: 2 if channels == 1 else 3], dtype)
    if "floating" in kind:
        values[3, 4] = np.nan
    for name, big in (("a.tif", False), ("big.tif", True)):
        photometric = "minisblack" if channels == 1 else "rgb"
        tifffile.imwrite(tmp_path / name, values, photometric=photometric, bigtiff=big)
    if not streamed:
        monkeypatch.setattr("segdec.imaging.pages.find_spec", lambda name: None)
    for name in ("a.tif", "big.tif"):
        for read in (read_image, read_in_parts):
            with pytest.raises(
                ImageError, match=f"{name} holds {kind} values; images of unsigned 8 or 16 bit"
            ):
                read(tmp_path / name)


def test_a_tiff_without_a_page_is_damaged(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 9999) + bytes(100))  # the page would lie behind the end
    for read in (list_pages, read_in_parts):
        with pytest.raises(ImageError, match=r"a\.tif cannot be read: it holds no page; copy it again"):
            read(path)


@pytest.mark.parametrize("name", ["missing.tif", "empty.tif", "text.tif"])
def test_what_is_no_image_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_bytes(b"II*\0 no image at all")
    for read in (list_pages, read_in_parts):
        with pytest.raises(ImageError, match=name):
            read(tmp_path / name)


def test_a_huge_png_is_refused_with_the_way_out(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(data + struct.pack(">I", 100) + b"IDAT" + bytes(100))
    with pytest.raises(ImageError, match="save it as TIFF"):
        read_in_parts(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("compression", "there", "way_out"),
    [
        ("raw", (), r"run: pip install 'segdec\[large\]'"),
        (
            "tiff_lzw",
            ("tifffile",),
            "its LZW compression needs: pip install imagecodecs; or save it uncompre",
        ),
        ("packbits", ("tifffile",), "its PackBits compression needs: pip install imagecodecs"),
        (
            "jpeg",
            ("tifffile",),
            "in parts if it is uncompressed or deflated, upright, and grey or colour; save",
        ),
        ("jpeg", ("tifffile", "imagecodecs"), "in parts if it is uncompressed or deflated, upright"),
    ],
)
def test_a_huge_tiff_is_refused_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, there: tuple[str, ...], way_out: str
) -> None:
    pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    Image.fromarray(make_image((40, 50), np.uint8)).save(path, compression=compression)
    for module in ("pages", "tiff"):
        monkeypatch.setattr(f"segdec.imaging.{module}.find_spec", lambda name: name in there or None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)  # twice as many are refused, and these are 2000
    for read in (read_image, read_in_parts):
        with pytest.raises(ImageError, match=way_out) as caught:
            read(path)
        assert "save it as TIFF" not in str(caught.value)
