"""From a model folder and images to predictions."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.data.folders import find_masks
from segdec.errors import ConfigError, DataError, ImageError, ModelError
from segdec.imaging import (
    IMAGE_SUFFIXES,
    PixelRows,
    Pixels,
    Rows,
    find_cell_regions,
    find_regions,
    list_pages,
    open_rows,
    read_image,
    resize_image,
    to_unit,
)
from segdec.model_card import ModelCard
from segdec.model_io import read_model
from segdec.runtime import choose_context, device_type, require_torch
from segdec.tiles import choose_tiling, score_tiles
from segdec.types import ImageSize, Prediction, Region

if TYPE_CHECKING:
    import torch

    from segdec.network import SegDecNet


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
    """An image as the network takes it: (C, h, w) float32, and its own (height, width)."""

    name: str
    pixels: NDArray[np.float32]
    size: ImageSize


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

    Attributes
    ----------
    card : ModelCard
        What the model says of itself.
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
        If the folder is not a whole, unaltered model of a format that this version reads.
    ConfigError
        If there is no such device, or no such tile or overlap for the network.
    MissingExtraError
        If torch is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        device: str | None = None,
        context: Literal["auto", "direct", "spectral"] = "auto",
        tile: int | None = None,
        overlap: int | Literal["auto"] = "auto",
    ) -> None:
        self.card, weights = read_model(Path(model))
        side = self.card.tile if tile is None else tile
        if side is None and overlap != "auto":
            raise ConfigError(f"an overlap ({overlap}) is of tiles; say how large they are, e.g. tile 512")
        self.tiling = None if side is None else choose_tiling(self.card.network, side, overlap)
        self.threshold = self.card.threshold
        calibration = self.card.calibration
        self.review_threshold = None if calibration is None else calibration.review_threshold
        self.pixel_threshold = self.card.pixel_threshold
        self._network, self._device = _open_network(self.card, weights, device, context)

    def predict(self, image: NDArray[Any] | str | Path, name: str = "") -> Prediction:
        """Predict one image.

        Parameters
        ----------
        image
            (H, W) or (H, W, C) uint8 or uint16 of any size, C 1 (grey), 3 (red, green, blue) or 4 (the
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
        if isinstance(image, str | Path):
            name = name or str(image)
            pixels = read_image(image, self.card.channels)
        else:
            pixels = _to_pixels(image, self.card.channels)
        height, width = pixels.shape[:2]
        unit = to_unit(resize_image(pixels, self.card.image_size))  # (h, w, C)
        return _Input(name, np.ascontiguousarray(unit.transpose(2, 0, 1)), (height, width))

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
            If the image is damaged.
        ConfigError
            If the predictor has no tiling.
        """
        if self.tiling is None:
            raise ConfigError("this predictor takes whole images; open the model with a tile, e.g. tile=512")
        score, cells = score_tiles(rows, self.tiling, self._score_tiles, batch_size)
        regions = find_cell_regions(cells, self.pixel_threshold, rows.size)
        return replace(self._decide(name, score, cells, regions), size=rows.size)

    def _predict_tiles(self, image: NDArray[Any] | str | Path, name: str) -> Prediction:
        if isinstance(image, str | Path):
            with open_rows(image, self.card.channels) as rows:
                return self.predict_rows(rows, name or str(image))
        return self.predict_rows(PixelRows(_to_pixels(image, self.card.channels)), name)

    def _infer(self, inputs: Sequence[_Input]) -> list[Prediction]:
        if not inputs:
            return []
        scores, maps = self._run(np.stack([each.pixels for each in inputs]))
        return [
            self._judge(each, float(score), score_map)
            for each, score, score_map in zip(inputs, scores, maps, strict=True)
        ]

    def _score_tiles(self, tiles: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        return self._run(np.stack([to_unit(tile).transpose(2, 0, 1) for tile in tiles]))

    def _run(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Turn pixels (N, C, h, w) in [0, 1] into scores (N,) and score maps (N, h/8, w/8)."""
        import torch

        batch = torch.from_numpy(pixels).to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode():
            seg_logits, dec_logits = self._network(batch)  # (N, 1, h/8, w/8), (N, 1)
        return probabilities(dec_logits)[:, 0], probabilities(seg_logits)[:, 0].astype(np.float32)

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


def probabilities(logits: torch.Tensor) -> NDArray[np.float64]:
    """Turn logits into probabilities; the one place where that happens.

    Parameters
    ----------
    logits
        Any shape and device.

    Returns
    -------
    ndarray
        The same shape, in [0, 1]. In float64, where scores close to 1 stay apart: float32 rounds every
        logit above 17 to the same score.
    """
    wide: torch.Tensor = logits.detach().cpu().double().sigmoid()  # not every device has float64
    return np.asarray(wide.numpy())


def predict_files(
    predictor: Predictor,
    paths: Iterable[Path],
    batch_size: int = 1,
    workers: int = 2,
    *,
    pages: bool = False,
) -> Iterator[Prediction | Unreadable]:
    """Predict image files, decoding the next ones while the network works.

    Parameters
    ----------
    predictor
        The model.
    paths
        Image files.
    batch_size
        Images, or tiles of one image, in one pass through the network, at least 1.
    workers
        Threads that decode whole images, at least 1.
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
        for path in paths:
            yield from _predict_pages(predictor, path, batch_size, pages)
        return
    stream = _decode_ahead(predictor, iter(paths), workers, batch_size + workers)
    while chunk := list(islice(stream, batch_size)):
        predictions = iter(predictor._infer([each for each in chunk if isinstance(each, _Input)]))
        for each in chunk:
            yield next(predictions) if isinstance(each, _Input) else each


def _predict_pages(
    predictor: Predictor, path: Path, batch_size: int, pages: bool
) -> Iterator[Prediction | Unreadable]:
    try:
        numbers: list[int | None] = [*list_pages(path)] if pages else [None]
    except ImageError as error:
        yield Unreadable(str(path), str(error))
        return
    for place, number in enumerate(numbers, start=1):
        name = f"{path}#{place}" if len(numbers) > 1 else str(path)
        try:
            with open_rows(path, predictor.card.channels, number) as rows:
                result: Prediction | Unreadable = predictor.predict_rows(rows, name, batch_size)
        except ImageError as error:
            result = Unreadable(name, str(error))
        yield result


class Found(NamedTuple):
    """Image files that a command line names.

    Attributes
    ----------
    images
        To be predicted.
    masks
        Files beside them that are masks of data sets by their names, and no images.
    """

    images: list[Path]
    masks: list[Path]


def find_images(arguments: Sequence[str], stdin: TextIO) -> Found:
    """List the images that a command line names.

    Parameters
    ----------
    arguments
        Files, folders (searched with all folders below), patterns with ``*``, ``?``, ``[`` or ``**``, and
        "-" for a list on ``stdin``. A file that is named itself is taken whatever its ending, and whether
        or not it exists: predicting it says what is wrong, and the others go on. In folders and patterns
        masks are told from images, as training does.
    stdin
        One file, folder or pattern a line.

    Returns
    -------
    Found
        In the order of the arguments, sorted within folders and patterns, none twice.

    Raises
    ------
    DataError
        If a folder or pattern holds no image, or nothing that is named exists.
    """
    names: list[str] = []
    for argument in arguments:
        names += [line.rstrip("\r\n") for line in stdin] if argument == "-" else [argument]
    try:
        expanded = [_expand(name) for name in names if name.strip()]
        found = [path for each in expanded for path in each.images]
        exists = any(path.exists() for path in found)
    except OSError as error:
        raise DataError(f"cannot look for images: {error}; check the names and their rights") from error
    if not exists:
        named = f"{found[0]} does not exist" if found else "no image was named"
        raise DataError(f"{named}; name image files, folders or patterns")
    images = dict.fromkeys(found)
    masks = dict.fromkeys(path for each in expanded for path in each.masks if path not in images)
    return Found(list(images), list(masks))


def _open_network(
    card: ModelCard,
    weights: dict[str, NDArray[np.float32]],
    device: str | None,
    context: Literal["auto", "direct", "spectral"],
) -> tuple[SegDecNet, torch.device]:
    require_torch()
    import torch

    from segdec.network import SegDecNet

    place = _choose_device(device)
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        network = SegDecNet(card.network, context=choose_context(context, card.network, "fp32"))
    check_weights(weights, {name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()}, assign=True)
    network.to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False), place


def _choose_device(name: str | None) -> torch.device:
    import torch

    name = name or device_type()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ConfigError(f'no device "{name}" on this machine; try "cpu"') from error
    return device


def check_weights(weights: dict[str, NDArray[np.float32]], expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse weights that do not belong to a network.

    Parameters
    ----------
    weights
        Name -> array.
    expected
        Name -> shape, of the network.

    Raises
    ------
    ModelError
        Naming the first weight that is missing, unknown or of another shape.
    """
    for name, shape in expected.items():
        if name not in weights:
            raise ModelError(
                f"the weights miss {name}, which the network in model.json has; write the model anew"
            )
        if weights[name].shape != shape:
            raise ModelError(
                f"the weight {name} is {weights[name].shape}, the network in model.json has {shape}; write"
                " the model anew"
            )
    unknown = sorted(weights.keys() - expected.keys())
    if unknown:
        raise ModelError(
            f"the weights hold {unknown[0]}, which the network in model.json has not; write the model anew"
        )


def _to_pixels(image: NDArray[Any], channels: Literal[1, 3]) -> NDArray[Any]:
    """Give an array the form of `read_image`: (H, W, channels)."""
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ImageError(f"an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image must hold uint8 or uint16 values, got {image.dtype}; convert it first")
    pixels = np.ascontiguousarray(pixels[..., :3])
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]


def _decode_ahead(
    predictor: Predictor, paths: Iterator[Path], workers: int, ahead: int
) -> Iterator[_Input | Unreadable]:
    def decode(path: Path) -> _Input | Unreadable:
        try:
            return predictor._prepare(path)
        except ImageError as error:
            return Unreadable(str(path), str(error))

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[_Input | Unreadable]] = deque()
        try:
            pending.extend(pool.submit(decode, path) for path in islice(paths, ahead))
            while pending:
                ready = pending.popleft()
                pending.extend(pool.submit(decode, path) for path in islice(paths, 1))
                yield ready.result()
        finally:
            for future in pending:
                future.cancel()


def _expand(argument: str) -> Found:
    path = Path(argument)
    if path.is_dir():
        images = [each for each in sorted(path.rglob("*")) if _is_image(each)]
        if not images:
            raise DataError(f"the folder {path} holds no image ({_endings()}); name another folder")
        return _without_masks(path, images)
    if path.exists() or not glob.has_magic(argument):
        return Found([path], [])
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207 (Path.glob takes no absolute pattern)
    images = [each for each in matches if _is_image(each)]
    if not images:
        raise DataError(f'no image ({_endings()}) matches "{argument}"; correct the pattern')
    return _without_masks(Path(images[0].anchor), images)


def _without_masks(root: Path, paths: list[Path]) -> Found:
    masks = find_masks(root, paths)
    return Found([path for path in paths if path not in masks], [path for path in paths if path in masks])


def _is_image(path: Path) -> bool:
    # a leading dot: what macOS writes beside each file on other disks has the image's ending
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _endings() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
