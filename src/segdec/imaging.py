"""Image and mask files to arrays and back: decode, resize, run lengths, regions, overlays.

Pillow decodes, because it refuses truncated files, keeps palette indices and knows EXIF; OpenCV decodes
16-bit colour, which Pillow would silently reduce to 8 bits.
"""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segdec.errors import ImageError, OutputError
from segdec.types import ImageSize, Region, RunLengths

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, C) with C 1 (grey) or 3 (red, green, blue)."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
"""Lower-case endings of the files that `read_image` reads."""

MAX_MASK_VALUES = 16
"""A mask with more distinct values than this is taken for a photo or a lossy copy."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
# What Pillow raises for broken files, depending on where in the file the break is.
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, zlib.error)


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
        If the file is missing, damaged, no image, or holds floating-point or 32-bit values.
    """
    path = Path(path)
    data = _read_bytes(path)
    with _open(path, data) as image:
        _load(path, image)
        pixels = _decode_deep_color(path, data) if _is_deep_color(image, data) else _to_array(path, image)
    return _convert(pixels, channels)


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
        with path.open("rb") as file, _open(path, file) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            if orientation != 1 and image.format == "TIFF":
                # some versions of Pillow give a TIFF's size turned already, others do not
                _load(path, image)
                image = ImageOps.exif_transpose(image)
                orientation = 1
            width, height = image.size
    except OSError as error:
        raise _unreadable(path, error) from error
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def read_mask(source: Path | RunLengths, size: ImageSize) -> NDArray[np.bool_]:
    """Read the pixel ground truth of an image.

    Parameters
    ----------
    source
        A mask image, where any value above 0 is defect (in a palette image the index counts, in a
        colour image any channel), or run lengths.
    size
        (height, width) of the image that the mask belongs to.

    Returns
    -------
    ndarray
        (H, W) bool, True on defect.

    Raises
    ------
    ImageError
        If the mask cannot be read, has another size than its image, or looks like a photo.
    """
    if isinstance(source, RunLengths):
        return decode_run_lengths(source, size)
    data = _read_bytes(source)
    with _open(source, data) as image:
        _load(source, image)
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "F":
            raise _wrong_mode(source, "floating-point")
        if upright.mode in ("LA", "La", "PA", "RGBA", "RGBa", "RGBX"):
            bands = len(upright.getbands()) - 1  # the last one is alpha
            values = np.asarray(upright)[..., :bands]
        else:
            values = np.asarray(upright)  # mode "P" gives indices
    values = values.reshape(values.shape[0], values.shape[1], -1)  # (H, W, C)
    _check_mask(source, values, size)
    return np.asarray((values > 0).any(axis=2))


def to_unit(image: NDArray[Any]) -> NDArray[np.float32]:
    """Scale grey levels to [0, 1].

    Parameters
    ----------
    image
        Any shape, uint8 or uint16.

    Returns
    -------
    ndarray
        The same shape, float32: values divided by 255 or 65535.

    Raises
    ------
    ImageError
        For any other kind of values.

    Examples
    --------
    >>> to_unit(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image must hold uint8 or uint16 values, got {image.dtype}; convert it first")
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def resize_image(image: NDArray[Any], size: ImageSize) -> NDArray[Any]:
    """Resize an image: means of areas where it shrinks, linear interpolation where it grows.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), uint8, uint16 or float32.
    size
        (height, width) wanted.

    Returns
    -------
    ndarray
        The same kind of array in that size.
    """
    height, width = size
    between = (min(height, image.shape[0]), min(width, image.shape[1]))
    resized = image
    if between != resized.shape[:2]:
        resized = cv2.resize(resized, between[::-1], interpolation=cv2.INTER_AREA)
    if size != resized.shape[:2]:
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, *image.shape[2:])  # OpenCV drops a last axis of 1


def resize_mask(mask: NDArray[np.bool_], size: ImageSize) -> NDArray[np.bool_]:
    """Resize a mask so that no defect vanishes.

    Where the mask shrinks, each source pixel belongs to the target pixel that its centre falls in, and
    a target pixel is defect where any of its source pixels is; where it grows, the nearest one counts.

    Parameters
    ----------
    mask
        (H, W) bool.
    size
        (height, width) wanted.

    Returns
    -------
    ndarray
        (height, width) bool.

    Examples
    --------
    >>> resize_mask(np.array([[0, 0, 0, 1], [0, 0, 0, 0]], bool), (1, 2))
    array([[False,  True]])
    """
    for axis, wanted in enumerate(size):
        present = mask.shape[axis]
        if wanted < present:
            owner = (2 * np.arange(present) + 1) * wanted // (2 * present)
            mask = np.logical_or.reduceat(mask, np.searchsorted(owner, np.arange(wanted)), axis=axis)
        elif wanted > present:
            nearest = (2 * np.arange(wanted) + 1) * present // (2 * wanted)
            mask = mask.take(nearest, axis=axis)
    return mask


def decode_run_lengths(runs: RunLengths, size: ImageSize) -> NDArray[np.bool_]:
    """Turn run lengths into a mask.

    Parameters
    ----------
    runs
        Rows of "start length start length ...", starts from 1, down the columns first.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (H, W) bool, the union of all rows.

    Raises
    ------
    ImageError
        If a row is no list of pairs of whole numbers or a run leaves the image.

    Examples
    --------
    >>> decode_run_lengths(RunLengths(("2 2",), "train.csv"), (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    height, width = size
    changes = np.zeros(height * width + 1, np.int32)
    for row in runs.rows:
        try:
            numbers = np.array(row.split(), dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise ImageError(
                f"{runs.origin}: run lengths must be whole numbers, got {_shorten(row)}; correct that row"
            ) from error
        if len(numbers) % 2:
            raise ImageError(
                f"{runs.origin}: run lengths come in pairs of start and length, got {len(numbers)} numbers"
                f" ({_shorten(row)}); correct that row"
            )
        first, length = numbers[::2] - 1, numbers[1::2]
        wrong = np.flatnonzero((first < 0) | (length < 1) | (first + length > height * width))
        if len(wrong):
            raise ImageError(
                f"{runs.origin}: the run {first[wrong[0]] + 1} {length[wrong[0]]} leaves its image of"
                f" {height} x {width} = {height * width} pixels; correct that row or replace the image"
            )
        np.add.at(changes, first, 1)
        np.add.at(changes, first + length, -1)
    covered = changes[:-1].cumsum() > 0
    return np.ascontiguousarray(covered.reshape(width, height).T)


def encode_run_lengths(mask: NDArray[np.bool_]) -> str:
    """Turn a mask into run lengths, the inverse of `decode_run_lengths`.

    Parameters
    ----------
    mask
        (H, W) bool.

    Returns
    -------
    str
        "start length start length ...", empty for an empty mask.

    Examples
    --------
    >>> encode_run_lengths(np.array([[0, 1], [1, 0]], bool))
    '2 2'
    """
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file in whole or not at all: to a temporary file beside it, which then takes its name.

    Parameters
    ----------
    path
        The file; an existing one is replaced.
    data
        Its content.

    Raises
    ------
    OutputError
        If the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; choose a folder with room that you may write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise ImageError(f"{path} is empty (zero bytes); copy it again or remove it")
    return data


def _open(path: Path, data: bytes | io.BufferedReader) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is no image that can be read; PNG, JPEG, BMP and TIFF are, so convert or remove it"
        ) from error
    except (*_DECODING_ERRORS, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _load(path: Path, image: Image.Image) -> None:
    try:
        image.load()
    except _DECODING_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ImageError:
    cause = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return ImageError(f"{path} cannot be read: {cause}; copy it again or remove it")


def _wrong_mode(path: Path, values: str) -> ImageError:
    return ImageError(f"{path} holds {values} values; 8 and 16 bit images are read, so convert it to one")


def _is_deep_color(image: Image.Image, data: bytes) -> bool:
    if image.mode.startswith("I") or image.mode == "F":
        return False
    if image.format == "PNG":
        return data[24] == 16  # bit depth in the header chunk
    bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, ()) if image.format == "TIFF" else ()  # type: ignore[attr-defined]
    return 16 in np.atleast_1d(bits)


def _decode_deep_color(path: Path, data: bytes) -> NDArray[np.uint16]:
    with _open(path, data) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        grey = image.mode in ("L", "LA")
    if orientation != 1:
        raise ImageError(
            f"{path} is 16-bit colour with an EXIF orientation, which is not read; save it upright"
        )
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError(f"{path} cannot be read as 16-bit image; save it anew as 16-bit PNG")
    if pixels.ndim == 2 or grey:
        return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1)[..., :1])
    return np.ascontiguousarray(pixels[..., 2::-1])  # blue, green, red (, alpha) -> red, green, blue


def _to_array(path: Path, image: Image.Image) -> Pixels:
    image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode == "F" or (mode == "I" and image.format != "PNG"):
        raise _wrong_mode(path, "floating-point" if mode == "F" else "32-bit")
    if mode.startswith("I"):  # 16-bit grey, of either byte order
        return np.asarray(image).astype(np.uint16)[..., None]
    if mode in ("1", "L", "LA", "La"):
        return np.array(image.convert("L"))[..., None]
    if mode in ("P", "PA"):
        colors = np.array(image.convert("RGBA"))[..., :3]
        is_grey = bool((colors == colors[..., :1]).all())
        return np.ascontiguousarray(colors[..., :1] if is_grey else colors)
    return np.ascontiguousarray(np.array(image if mode in ("RGB", "RGBA") else image.convert("RGB"))[..., :3])


def _convert(pixels: Pixels, channels: Literal[1, 3] | None) -> Pixels:
    if channels is None or pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]  # type: ignore[return-value,call-overload]


def _check_mask(path: Path, values: NDArray[Any], size: ImageSize) -> None:
    if values.shape[:2] != tuple(size):
        raise ImageError(
            f"the mask {path} is {values.shape[0]} x {values.shape[1]} pixels (height x width), its image"
            f" {size[0]} x {size[1]}; save the mask in the size of its image"
        )
    distinct = max(len(np.unique(values[..., band])) for band in range(values.shape[2]))
    if distinct > MAX_MASK_VALUES:
        raise ImageError(
            f"the mask {path} holds {distinct} different values from {values.min()} to {values.max()}, as a"
            f" photo or a JPEG does; expected 0 for good and at most {MAX_MASK_VALUES - 1} values above 0 for"
            " defect, so save it as PNG with 0 = good and 255 = defect"
        )


def _shorten(text: str) -> str:
    return f'"{text}"' if len(text) <= 40 else f'"{text[:37]}..."'
