"""From a model folder and images to predictions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from segdec.backends import choose_backend, open_backend
from segdec.certificate import Precision
from segdec.errors import ConfigError, ImageError, ModelError
from segdec.imaging import (
    PixelRows,
    Pixels,
    Rows,
    find_cell_regions,
    find_regions,
    list_pages,
    open_rows,
    resize_image,
)
from segdec.inputs import check_size, network_pixels, to_pixels
from segdec.model_io import model_folder, read_model
from segdec.tiles import choose_tiling, score_tiles
from segdec.types import ImageSize, Prediction, Region

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The row of an image that could not be used.

    Attributes
    ----------
    name
        The image's path.
    reason
        One sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Input:
    """An image as the backend takes it, and its own (height, width)."""

    name: str
    pixels: NDArray[Any]
    size: ImageSize


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of a file, and what its prediction is called; no number is the file's only page."""

    path: Path
    name: str
    number: int | None


_Answer: TypeAlias = tuple[_Input, float, NDArray[np.float32]]
"""An image, its score, and its score map as the network gives it."""


class Predictor:
    """A model, ready for images.

    Parameters
    ----------
    model
        A model folder, or a run folder that holds one.
    device
        Where it computes, in torch's words ("cpu"); None takes a GPU where there is one.
    context
        How the context convolution is computed; the result is the same. "auto" takes what is faster.
    tile
        Side of the tiles, in pixels, that images are cut into instead of being resized; None is as the model
        was trained.
    overlap
        Pixels that neighbouring tiles share at least; "auto" is what the network's receptive field needs.
    backend
        What computes: "torch", or an export in "onnx" (ONNX Runtime) or "openvino". "auto" takes the fastest
        that is installed and certified for this tiling, and PyTorch where a device is named.
    precision
        "fp32", "bf16" (torch, openvino), "int8" (exports) or "int8-bf16" (openvino); None takes the fastest
        that is certified, of "torch" fp32.
    allow_uncertified
        Use an export without a certificate, or one that failed or was changed, or was certified for other
        tiles or for whole images.
    threads
        How many compute an export; None takes all that the process may use.

    Attributes
    ----------
    card : ModelCard
        What the model says of itself.
    choice : segdec.backends.Choice
        What was chosen to compute; its ``notice`` names certified exports that were changed and left out.
    backend : Backend
        What computes.
    threshold : float
        A score at or above it is a defect; may be set.
    review_threshold : float or None
        A score at or above it, below ``threshold``, is for a person to decide; may be set.
    pixel_threshold : float
        A value of the score map at or above it belongs to a region; may be set.
    tiling : segdec.tiles.Tiling or None
        How images are cut into tiles; None predicts them as a whole.

    Raises
    ------
    ModelError
        If the folder is not a whole, unaltered model of a format that this version reads, or the export
        that is asked for is missing, uncertified, changed or certified for another tiling.
    ConfigError
        If there is no such device or precision, or no such tile or overlap for the network.
    MissingExtraError
        If the backend is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        device: str | None = None,
        context: Literal["auto", "direct", "spectral"] = "auto",
        tile: int | None = None,
        overlap: int | Literal["auto"] = "auto",
        *,
        backend: Literal["auto", "torch", "onnx", "openvino"] = "torch",
        precision: Precision | None = None,
        allow_uncertified: bool = False,
        threads: int | None = None,
    ) -> None:
        folder = model_folder(Path(model))
        self.card, weights = read_model(folder)
        side = self.card.tile if tile is None else tile
        if side is None and overlap != "auto":
            raise ConfigError(f"an overlap ({overlap}) is of tiles; say how large they are, e.g. tile 512")
        self.tiling = None if side is None else choose_tiling(self.card.network, side, overlap)
        self.threshold = self.card.threshold
        self.review_threshold = self.card.review_threshold
        self.pixel_threshold = self.card.pixel_threshold
        if backend == "auto" and device is not None:
            backend = "torch"
        self.choice = choose_backend(
            folder, self.card, backend, precision, context, allow_uncertified, self.tiling
        )
        self.backend = open_backend(self.choice, self.card, weights, device, threads)

    def predict(self, image: NDArray[Any] | str | Path, name: str = "") -> Prediction:
        """Predict one image.

        Parameters
        ----------
        image
            (H, W) or (H, W, C) uint8 or uint16, each side 64 pixels or more and no less than an eighth of
            what the network takes, C 1 (grey), 3 (red, green, blue) or 4 (the
            last is ignored), or the path of an image file.
        name
            What the prediction is called; a file is called by its path.

        Returns
        -------
        Prediction
            The score map and regions in the image's own pixels; the score map in cells where the image was
            predicted in tiles.

        Raises
        ------
        ImageError
            If the file or array is no such image.
        """
        return self.predict_batch([image], [name])[0]

    def predict_batch(
        self, images: Sequence[NDArray[Any] | str | Path], names: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Predict several images in one pass through the network.

        Parameters
        ----------
        images
            As of `predict`; they may differ in size and channels.
        names
            As of `predict`, one for each image.

        Returns
        -------
        list of Prediction
            In the order of the images; the same as one by one.

        Raises
        ------
        ImageError
            If one of the images cannot be used.
        """
        called = names if names is not None else [""] * len(images)
        if self.tiling is not None:
            return [self._predict_tiles(image, name) for image, name in zip(images, called, strict=True)]
        return self._infer([self._prepare(image, name) for image, name in zip(images, called, strict=True)])

    def _prepare(self, image: NDArray[Any] | str | Path, name: str = "") -> _Input:
        name = name or (str(image) if isinstance(image, str | Path) else "")
        pixels, size = network_pixels(image, self.card, name)
        return _Input(name, self.backend.prepare(pixels), size)

    def predict_rows(self, rows: Rows, name: str = "", batch_size: int = 1) -> Prediction:
        """Predict an image that is read some rows at a time, in tiles.

        Parameters
        ----------
        rows
            From `segdec.imaging.open_rows`, of as many channels as the model's ``card`` says.
        name
            What the prediction is called.
        batch_size
            Tiles in one pass through the network, at least 1.

        Returns
        -------
        Prediction
            The score is the highest of the tiles' scores; the score map is in cells.

        Raises
        ------
        ImageError
            If the image is damaged, or a side has fewer than 64 pixels.
        ConfigError
            If the predictor has no tiling.
        """
        if self.tiling is None:
            raise ConfigError("this predictor takes whole images; open the model with a tile, e.g. tile=512")
        check_size(rows.size, name, None)
        score, cells = score_tiles(rows, self.tiling, self._score_tiles, batch_size)
        regions = find_cell_regions(cells, self.pixel_threshold, rows.size)
        return replace(self._decide(name, score, cells, regions), size=rows.size)

    def _predict_tiles(self, image: NDArray[Any] | str | Path, name: str) -> Prediction:
        if isinstance(image, str | Path):
            with open_rows(image, self.card.channels) as rows:
                return self.predict_rows(rows, name or str(image))
        return self.predict_rows(PixelRows(to_pixels(image, self.card.channels)), name)

    def _infer(self, inputs: Sequence[_Input]) -> list[Prediction]:
        return [self._judge(*answered) for answered in self._compute(inputs)]

    def _compute(self, inputs: Sequence[_Input]) -> list[_Answer]:
        if not inputs:
            return []
        scores, maps = self.backend([each.pixels for each in inputs])  # (N,), (N, h/8, w/8)
        return [
            (each, float(score), score_map)
            for each, score, score_map in zip(inputs, scores, maps, strict=True)
        ]

    def _score_tiles(self, tiles: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        return self.backend([self.backend.prepare(tile) for tile in tiles])

    def _judge(self, image: _Input, score: float, small_map: NDArray[np.float32]) -> Prediction:
        score_map = resize_image(small_map, image.size)  # (h/8, w/8) -> (H, W)
        return self._decide(image.name, score, score_map, find_regions(score_map, self.pixel_threshold))

    def _decide(
        self, name: str, score: float, score_map: NDArray[np.float32], regions: tuple[Region, ...]
    ) -> Prediction:
        if not (np.isfinite(score) and np.isfinite(score_map).all()):
            # no comparison with NaN is true: it would pass as good
            raise ModelError(
                f"the network's score of {name or 'the image'} is no number (overflow); train it anew"
            )
        return Prediction(
            name=name,
            score=score,
            decision=score >= self.threshold,
            threshold=self.threshold,
            regions=regions,
            score_map=score_map,
            review_threshold=self.review_threshold,
        )


def predict_files(
    predictor: Predictor,
    paths: Iterable[Path],
    batch_size: int = 1,
    workers: int = 2,
    *,
    pages: bool = False,
) -> Iterator[Prediction | Unreadable]:
    """Predict image files; the next ones are decoded, and the last ones judged, while the network works.

    Parameters
    ----------
    predictor
        The model.
    paths
        Image files.
    batch_size
        Images, or tiles of one image, in one pass through the network, at least 1.
    workers
        Threads that decode images, at least 1. Of images that are cut into tiles, one is read ahead.
    pages
        True predicts each page of a TIFF, if images are cut into tiles; otherwise a file of several pages
        cannot be used.

    Yields
    ------
    Prediction or Unreadable
        One for each path, in their order; with ``pages`` one for each page, and where there are several
        they are called FILE#1, FILE#2 and so on.
    """
    if predictor.tiling is not None:
        yield from _predict_tiled(predictor, paths, batch_size, pages)
        return

    def decode(path: Path) -> _Input | Unreadable:
        try:
            return predictor._prepare(path)
        except ImageError as error:
            return Unreadable(str(path), str(error))

    def compute(chunk: Sequence[_Input | Unreadable]) -> list[_Answer | Unreadable]:
        answers = iter(predictor._compute([each for each in chunk if isinstance(each, _Input)]))
        return [next(answers) if isinstance(each, _Input) else each for each in chunk]

    with closing(_ahead(decode, iter(paths), workers, batch_size + workers)) as decoded:
        chunks = iter(lambda: list(islice(decoded, batch_size)), [])
        with closing(_ahead(compute, chunks, workers=1, count=1)) as computed:  # one waits for the network
            for answered in computed:
                for each in answered:
                    yield each if isinstance(each, Unreadable) else predictor._judge(*each)


def _predict_tiled(
    predictor: Predictor, paths: Iterable[Path], batch_size: int, pages: bool
) -> Iterator[Prediction | Unreadable]:
    network = Lock()  # one image at a time has the network; the next one is decoded and waits for it

    def predict(page: _Page | Unreadable) -> Prediction | Unreadable:
        if isinstance(page, Unreadable):
            return page
        try:
            with open_rows(page.path, predictor.card.channels, page.number) as rows, network:
                return predictor.predict_rows(rows, page.name, batch_size)
        except ImageError as error:
            return Unreadable(page.name, str(error))

    every = (page for path in paths for page in _list_pages(path, pages))
    with closing(_ahead(predict, every, workers=2, count=1)) as predicted:
        yield from predicted


def _list_pages(path: Path, pages: bool) -> Sequence[_Page | Unreadable]:
    """List the pages of a file that are predicted, or the one row that says why none is."""
    try:
        numbers: list[int | None] = [*list_pages(path)] if pages else [None]
    except ImageError as error:
        return [Unreadable(str(path), str(error))]
    several = len(numbers) > 1
    return [
        _Page(path, f"{path}#{place}" if several else str(path), number)
        for place, number in enumerate(numbers, start=1)
    ]


def _ahead(
    function: Callable[[_T], _R], items: Iterator[_T], workers: int, count: int
) -> Generator[_R, None, None]:
    """Apply a function in threads, and have ``count`` more under way whenever a result is taken."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[_R]] = deque()
        try:
            pending.extend(pool.submit(function, item) for item in islice(items, count))
            while pending:
                ready = pending.popleft()
                pending.extend(pool.submit(function, item) for item in islice(items, 1))
                yield ready.result()
        finally:
            for future in pending:
                future.cancel()
