"""Image files page by page and some rows at a time: for images that are too large to be held as a whole.

tifffile reads strips and tiles of a TIFF as they are needed; Pillow and OpenCV cannot. What is not read so
(other formats, rare codecs, palettes, turned images; any TIFF where tifffile is not installed) is decoded as
a whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from segdec.errors import ImageError
from segdec.imaging.files import Pixels, convert_channels, decode_file, find_pages, several_pages, unreadable
from segdec.imaging.tiff import MORE_CODECS, OWN_CODECS, is_tiff
from segdec.types import ImageSize

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_GREY, _RGB = 1, 2  # photometric interpretations
# What tifffile raises for broken files
_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error, zlib.error)


class Rows(Protocol):
    """An image of which some rows are read at a time."""

    @property
    def size(self) -> ImageSize:
        """(height, width)."""

    def read(self, top: int, bottom: int) -> Pixels:
        """Return the rows from ``top`` up to, without, ``bottom``: (bottom - top, W, C)."""


class PixelRows:
    """The rows of an image in memory.

    Parameters
    ----------
    pixels
        (H, W, C) uint8 or uint16.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    @property
    def size(self) -> ImageSize:
        """(height, width)."""
        return self._pixels.shape[0], self._pixels.shape[1]

    def read(self, top: int, bottom: int) -> Pixels:
        """Return the rows from ``top`` up to, without, ``bottom``: (bottom - top, W, C)."""
        return self._pixels[top:bottom]


def list_pages(path: str | Path) -> list[int]:
    """List the pages of an image file.

    Parameters
    ----------
    path
        As of `segdec.imaging.read_image`.

    Returns
    -------
    list of int
        Numbers from 0: [0] but for a TIFF of several pages. Previews and masks of other pages do not count.

    Raises
    ------
    ImageError
        If the file is missing, damaged or no image.
    """
    path = Path(path)
    if not _is_streamed(path):
        return find_pages(path)
    with _open_tiff(path) as file:
        return [page.index for page in _pages(path, file)]


@contextmanager
def open_rows(
    path: str | Path, channels: Literal[1, 3] | None = None, page: int | None = None
) -> Iterator[Rows]:
    """Open an image file to read some of its rows at a time.

    Parameters
    ----------
    path, channels
        As of `segdec.imaging.read_image`.
    page
        Of `list_pages`; None is the only one, and an error where there are several.

    Yields
    ------
    Rows
        What `segdec.imaging.read_image` would return, in parts; reading raises ImageError where the file is
        damaged.

    Raises
    ------
    ImageError
        As of `segdec.imaging.read_image`.
    """
    path = Path(path)
    if _is_streamed(path):
        with _open_tiff(path) as file:
            found = _find_page(path, file, page)
            if _is_plain(found):
                yield _TiffRows(path, found, channels)
                return
    yield PixelRows(convert_channels(decode_file(path, page=page), channels))


class _TiffRows:
    """The rows of a TIFF's page; keeps the strips (or tiles) that the last reading decoded."""

    def __init__(self, path: Path, page: TiffPage, channels: Literal[1, 3] | None) -> None:
        self._path = path
        self._page = page
        self._channels = channels
        self._decoded: dict[int, tuple[NDArray[Any], int, int]] = {}

    @property
    def size(self) -> ImageSize:
        return self._page.imagelength, self._page.imagewidth

    def read(self, top: int, bottom: int) -> Pixels:
        try:
            rows = self._plain(top, bottom) if self._page.is_final else self._coded(top, bottom)
        except _ERRORS as error:
            raise unreadable(self._path, error) from error
        return convert_channels(rows[..., : 1 if rows.shape[2] < 3 else 3], self._channels)

    def _plain(self, top: int, bottom: int) -> NDArray[Any]:
        """Read rows that lie in the file as they are."""
        page = self._page
        kind = np.dtype(page.parent.byteorder + np.dtype(page.dtype).char)
        shape = (bottom - top, page.imagewidth, page.samplesperpixel)
        row = page.imagewidth * page.samplesperpixel * kind.itemsize  # bytes
        data = _read_bytes(page, page.dataoffsets[0] + top * row, (bottom - top) * row)
        return np.frombuffer(data, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)

    def _coded(self, top: int, bottom: int) -> NDArray[Any]:
        """Decode the strips or tiles that hold rows."""
        page = self._page
        height, width = (
            (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        )
        height = min(height, page.imagelength)  # a single strip may claim any height
        across = -(-page.imagewidth // width)
        first, last = top // height * across, -(-bottom // height) * across
        self._decoded = {
            index: self._decoded.get(index) or self._decode(index) for index in range(first, last)
        }
        kind = np.dtype(page.dtype).newbyteorder("=")
        rows = np.empty((bottom - top, page.imagewidth, page.samplesperpixel), kind)
        for pixels, y, x in self._decoded.values():
            inside = pixels[max(0, top - y) : bottom - y, : page.imagewidth - x]
            start = max(0, y - top)
            rows[start : start + inside.shape[0], x : x + inside.shape[1]] = inside
        return rows

    def _decode(self, index: int) -> tuple[NDArray[Any], int, int]:
        """Return the pixels of a strip or tile, and the y and x where it begins."""
        page = self._page
        data = _read_bytes(page, page.dataoffsets[index], page.databytecounts[index])
        pixels, (_, _, y, x, _), shape = page.decode(data, index)
        if pixels is None or pixels.shape[:3] != tuple(shape[:3]):
            raise ValueError(f"strip {index} is incomplete")
        return pixels[0], y, x


def _read_bytes(page: TiffPage, offset: int, count: int) -> bytes:
    handle = page.parent.filehandle
    handle.seek(offset)
    data = bytes(handle.read(count))
    if len(data) < count or not count:
        raise ValueError("the file is truncated")
    return data


def _is_streamed(path: Path) -> bool:
    """Tell whether a file is a TIFF, and tifffile is there to read it."""
    try:
        with path.open("rb") as file:
            found = is_tiff(file)
    except OSError as error:
        raise unreadable(path, error) from error
    return found and find_spec("tifffile") is not None


@contextmanager
def _open_tiff(path: Path) -> Iterator[TiffFile]:
    from tifffile import TiffFile

    try:
        file = TiffFile(path)
    except _ERRORS as error:
        raise unreadable(path, error) from error
    with file:
        yield file


def _pages(path: Path, file: TiffFile) -> list[TiffPage]:
    try:
        pages = [page.aspage() for page in file.pages]
    except _ERRORS as error:
        raise unreadable(path, error) from error
    if not pages:
        raise unreadable(path, ValueError("it holds no page"))
    full = [page for page in pages if not (page.is_reduced or page.is_mask)]
    if not full:
        raise ImageError(f"{path} holds previews and masks only; save the image itself")
    return full


def _find_page(path: Path, file: TiffFile, number: int | None) -> TiffPage:
    pages = _pages(path, file)
    if number is None and len(pages) > 1:
        raise several_pages(path, len(pages))
    return pages[0] if number is None else next(page for page in pages if page.index == number)


def _is_plain(page: TiffPage) -> bool:
    """Tell whether a page's values are what `segdec.imaging.read_image` returns, and can be read in parts."""
    codecs = OWN_CODECS | (MORE_CODECS.keys() if find_spec("imagecodecs") is not None else frozenset())
    orientation = page.tags.valueof("Orientation", 1)
    extra = page.samplesperpixel - (1 if page.photometric == _GREY else 3)
    return (
        page.photometric in (_GREY, _RGB)
        and extra in (0, 1)
        and page.planarconfig == 1
        and page.imagedepth == 1
        and page.bitspersample in (8, 16)
        and page.sampleformat == 1
        and page.fillorder == 1
        and page.predictor in (1, 2)
        and page.compression in codecs
        and orientation == 1
    )
