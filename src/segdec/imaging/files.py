"""Image files to arrays and back.

Pillow decodes, because it refuses truncated files, keeps palette indices and knows EXIF; OpenCV decodes
16-bit colour, which Pillow would silently reduce to 8 bits.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segdec.errors import ImageError, OutputError
from segdec.files import atomic_write
from segdec.imaging.tiff import odd_values, read_tags, reading_in_parts
from segdec.types import ImageSize

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, C) with C 1 (grey) or 3 (red, green, blue)."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
"""Lower-case endings of the files that `read_image` reads."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_SUBFILE_TYPE, _PREVIEW_OR_MASK = 254, 0b101  # a TIFF tag, and two bits of it
# What Pillow raises for broken files, depending on where in the file the break is.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: str | Path, channels: Literal[1, 3] | None = None) -> Pixels:
    """Read an image file.

    Parameters
    ----------
    path
        A PNG, JPEG, BMP or TIFF file of 8 or 16 bits, grey, colour or with a palette. An alpha channel
        is dropped; an EXIF orientation is applied.
    channels
        1 converts to grey, 3 to colour; None keeps what the file holds.

    Returns
    -------
    ndarray
        (H, W, C) uint8 or uint16, in the order red, green, blue.

    Raises
    ------
    ImageError
        If the file is missing, damaged, no image, or holds other values than unsigned ones of 8 or 16 bits.
    """
    return convert_channels(decode_file(Path(path)), channels)


def read_image_size(path: str | Path) -> ImageSize:
    """Read an image's size from its header.

    Parameters
    ----------
    path
        An image file as for `read_image`.

    Returns
    -------
    tuple
        (height, width) in pixels, as `read_image` would return it (EXIF orientation applied).

    Raises
    ------
    ImageError
        If the file is missing or no image.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise _empty(path)
        with path.open("rb") as file, _open(path, file) as image:
            orientation = _orientation(path, image)
            if orientation != 1 and image.format == "TIFF":
                # some versions of Pillow give a TIFF's size turned already, others do not
                _load(path, image)
                height, width = _turn_upright(path, image).size[::-1]
                return height, width
            width, height = image.size
    except OSError as error:
        raise unreadable(path, error) from error
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def write_image(path: str | Path, image: NDArray[Any]) -> None:
    """Write an image file in whole or not at all.

    Parameters
    ----------
    path
        Its ending decides the format: PNG, JPEG, BMP or TIFF.
    image
        (H, W), (H, W, 1) or (H, W, 3) in red, green, blue; uint8, or uint16 for PNG and TIFF.

    Raises
    ------
    OutputError
        If the ending is unknown, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise OutputError(f"cannot write {path}: its ending says no format; choose one of {endings}")
    if image.dtype != np.uint8 and (image.dtype != np.uint16 or suffix not in (".png", ".tif", ".tiff")):
        raise OutputError(f"cannot write {image.dtype} values to {path}; convert them to uint8")
    is_color = image.ndim == 3 and image.shape[2] == 3
    _, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]) if is_color else image)
    atomic_write(path, data.tobytes())


def find_pages(path: Path) -> list[int]:
    """List the pages of an image file, without previews and masks of other pages.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    list of int
        Numbers from 0; only a TIFF can have several.

    Raises
    ------
    ImageError
        If the file is missing, damaged or no image.
    """
    with _open(path, io.BytesIO(_read_bytes(path))) as image:
        return _full_pages(path, image)


def several_pages(path: Path, count: int) -> ImageError:
    """Say that a file holds more than one image: to look at the first only would pass the others unseen.

    Parameters
    ----------
    path
        The file.
    count
        Of its pages.
    """
    return ImageError(
        f"{path} holds {count} pages, where one image is expected; predict it with --tile, or save each"
        " page as a file"
    )


def decode_file(path: Path, *, indices: bool = False, page: int | None = None) -> NDArray[Any]:
    """Decode an image file in full, upright and without alpha channel.

    Parameters
    ----------
    path
        The file.
    indices
        True keeps the indices of a palette image instead of looking its colours up.
    page
        Of `find_pages`; None is the only one.

    Returns
    -------
    ndarray
        (H, W, C), C 1 or 3; uint8 or uint16, and int32 with ``indices`` for signed or 32-bit values.

    Raises
    ------
    ImageError
        If the file is missing, damaged, no image, holds several pages, or values that are no pixels (with
        ``indices``: floating-point values).
    """
    data = _read_bytes(path)
    with _open(path, io.BytesIO(data)) as image:
        pages = _full_pages(path, image)
        if page is None and len(pages) > 1:
            raise several_pages(path, len(pages))
        number = pages[0] if page is None else page
        _seek(path, image, number)
        odd = None if indices else odd_values(getattr(image, "tag_v2", {}))
        if odd is not None:
            raise _wrong_values(path, odd)
        _load(path, image)
        if image.mode == "F":
            raise _wrong_values(path, "floating-point")
        if _is_deep_color(image, data):
            if number > 0:
                raise ImageError(
                    f"{path} has 16-bit colour on several pages, which is not read; save each page as a file"
                )
            return _decode_deep_color(path, data, image)
        if _is_misread_bmp(image, data):
            return _decode_by_opencv(path, data, cv2.IMREAD_GRAYSCALE)[..., None]
        is_png = image.format == "PNG"
        upright = _turn_upright(path, image)
    mode = upright.mode
    if mode.startswith("I"):  # older versions of Pillow give 16-bit PNGs in 32 bits
        return np.asarray(upright).astype(np.uint16 if mode != "I" or is_png else np.int32)[..., None]
    if mode in ("1", "L"):
        return np.array(upright.convert("L"))[..., None]  # one bit becomes 0 and 255
    if mode == "P" and indices:
        return np.array(upright)[..., None]
    if mode in ("LA", "La"):
        return np.array(upright)[..., :1]
    if mode in ("P", "PA"):
        colors = np.array(upright.convert("RGBA"))[..., :3]
        return colors[..., :1] if (colors == colors[..., :1]).all() else colors
    return np.array(upright if mode in ("RGB", "RGBA") else upright.convert("RGB"))[..., :3]


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if not data:
        raise _empty(path)
    return data


def _open(path: Path, file: IO[bytes]) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        odd = odd_values(read_tags(file))
        if odd is not None:
            raise _wrong_values(path, odd) from error
        raise ImageError(
            f"{path} is no image that can be read; PNG, JPEG, BMP and TIFF are, so convert or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has more pixels than are decoded at once ({error}); {reading_in_parts(file)}"
        ) from error
    except _DECODING_ERRORS as error:
        raise unreadable(path, error) from error


def _load(path: Path, image: Image.Image) -> None:
    try:
        image.load()
    except _DECODING_ERRORS as error:
        raise unreadable(path, error) from error


def _full_pages(path: Path, image: Image.Image) -> list[int]:
    try:
        count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    except _DECODING_ERRORS as error:
        raise unreadable(path, error) from error
    if count == 1:
        return [0]
    full = []
    for number in range(count):
        _seek(path, image, number)
        if not image.tag_v2.get(_SUBFILE_TYPE, 0) & _PREVIEW_OR_MASK:  # type: ignore[attr-defined]
            full.append(number)
    return full or [0]


def _seek(path: Path, image: Image.Image, page: int) -> None:
    try:
        image.seek(page)
    except _DECODING_ERRORS as error:
        raise unreadable(path, error) from error


def _orientation(path: Path, image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODING_ERRORS as error:
        raise unreadable(path, error) from error


def _turn_upright(path: Path, image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODING_ERRORS as error:
        raise unreadable(path, error) from error


def _empty(path: Path) -> ImageError:
    return ImageError(f"{path} is empty (zero bytes); copy it again or remove it")


def unreadable(path: Path, error: Exception) -> ImageError:
    """Say that a file is damaged or missing.

    Parameters
    ----------
    path
        The file.
    error
        What was raised.
    """
    cause = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return ImageError(f"{path} cannot be read: {cause}; copy it again or remove it")


def _wrong_values(path: Path, values: str) -> ImageError:
    return ImageError(
        f"{path} holds {values} values; images of unsigned 8 or 16 bit are read, so convert it to one"
    )


def _is_deep_color(image: Image.Image, data: bytes) -> bool:
    if image.mode.startswith("I"):
        return False
    if image.format == "PNG":
        return data[24] == 16  # bit depth in the header chunk
    bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, ()) if image.format == "TIFF" else ()  # type: ignore[attr-defined]
    return 16 in np.atleast_1d(bits)


def _decode_deep_color(path: Path, data: bytes, image: Image.Image) -> NDArray[Any]:
    if _orientation(path, image) != 1:
        raise ImageError(
            f"{path} is 16-bit colour with an EXIF orientation, which is not read; save it upright"
        )
    pixels = _decode_by_opencv(path, data, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2 or image.mode in ("L", "LA"):
        return pixels.reshape(*pixels.shape[:2], -1)[..., :1]
    return pixels[..., 2::-1]  # blue, green, red (, alpha) -> red, green, blue


def _is_misread_bmp(image: Image.Image, data: bytes) -> bool:
    """Tell whether Pillow takes a BMP with a byte per pixel and a palette of black and white for 1-bit."""
    if image.format != "BMP" or image.mode != "1":
        return False
    bits = data[24] if data[14] == 12 else data[28]  # 12 is the size of the older header
    return bits != 1


def _decode_by_opencv(path: Path, data: bytes, flag: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise unreadable(path, error) from error
    if pixels is None:
        raise ImageError(f"{path} cannot be read: its pixels cannot be decoded; save it anew as PNG")
    return np.asarray(pixels)


def convert_channels(pixels: NDArray[Any], channels: Literal[1, 3] | None) -> Pixels:
    """Turn grey into colour or colour into grey.

    Parameters
    ----------
    pixels
        (H, W, 1) or (H, W, 3).
    channels
        1, 3, or None to keep what there is.

    Returns
    -------
    ndarray
        (H, W, channels).
    """
    if channels == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    elif channels == 1 and pixels.shape[2] == 3:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[..., None]
    return np.ascontiguousarray(pixels)
