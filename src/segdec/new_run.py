"""A new run: the data choose what its configuration leaves open, and what cannot teach is left out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Container
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from segdec.config import STRIDE, Config
from segdec.data import FileCheck, check_files, make_split, open_dataset
from segdec.errors import ConfigError, DataError, ImageError, OutputError
from segdec.inputs import check_size
from segdec.model_io import CARD, OTHERS, read_hashes
from segdec.runs import Run
from segdec.runtime import commit, machine, versions
from segdec.tiles import choose_tiling
from segdec.types import Dataset, ImageSize, Split

_MOST_PIXELS = 768 * 1024
"""Largest input that is chosen unasked: about the paper's largest (1408 x 512)."""

_NO_TILES = "a defective image without mask, and nobody knows which of its tiles (data.tile) are defective"


def start_run(
    data: Path | Dataset,
    config: Config,
    folder: Path,
    watch: Callable[[int, int], None] | None = None,
) -> Run:
    """Read a data set and choose what the configuration leaves open; nothing is written yet.

    Parameters
    ----------
    data
        The data set, or where it lies.
    config
        May leave image_size and channels open.
    folder
        Must not hold a run yet.
    watch
        Called with (files read, files in all).

    Returns
    -------
    Run
        To be written by `segdec.runs.write_run`.

    Raises
    ------
    DataError
        If the data set cannot be used.
    OutputError
        If the folder holds a run or a model.
    ModelError
        If ``train.start_from`` or ``train.teacher`` names no model.
    """
    if (folder / "config.toml").exists():
        raise OutputError(
            f"{folder} holds a run already; go on with it by --resume, or choose another folder with --out"
        )
    if (folder / CARD).exists():
        raise OutputError(f"{folder} holds a model; choose another folder with --out")
    dataset = data if isinstance(data, Dataset) else open_dataset(data, config.data)
    try:
        split = make_split(dataset, config.data, config.train.seed)
    except DataError as error:
        if not dataset.excluded:
            raise
        name, reason = next(iter(dataset.excluded.items()))
        left_out = f"{len(dataset.excluded)} images were left out before, first {name}: {reason}"
        raise DataError(f"{error} ({left_out})") from error
    check = check_files((*split.train, *split.val), strict=config.data.strict, progress=watch)
    if config.data.tile is not None:
        choose_tiling(config.network, config.data.tile)  # refuses what does not fit the network
        check = check.without({sample.name: _NO_TILES for sample in split.train if sample.weak})
    config = _choose_input(config, check)
    check = check.without(_too_small(config, check))
    split = _without(split, check.unreadable)
    _refuse_unteachable(config, split)
    if check.unreadable and len({sample.label for sample in split.train}) < 2:
        raise DataError(
            "training needs images with and without defect, and without what cannot be used one kind is"
            f" missing: {next(iter(check.unreadable.values()))}"
        )
    meta = {
        "data": str(dataset.root.resolve()),
        "layout": dataset.layout,
        "data_hash": check.data_hash,
        "split": split.origin,
        "counts": {
            part: {"images": len(samples), "defective": sum(sample.label for sample in samples)}
            for part, samples in (("train", split.train), ("val", split.val), ("test", split.test))
        },
        "seed": config.train.seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "machine": machine(),
        "excluded": dataset.excluded,
        "unlabelled": [str(path) for path in dataset.unlabelled],
        "unreadable": check.unreadable,
    }
    hashes = frozenset(check.image_hashes.values())
    return Run(folder, config, split, meta, hashes, _inherited(config), excluded=dataset.excluded)


def _inherited(config: Config) -> frozenset[str]:
    """Return the hashes of what taught the models that a run begins with and learns from."""
    models = {config.train.start_from, config.train.teacher} - {None}
    lists = [read_hashes(Path(str(model))) for model in models]
    return frozenset().union(*((OTHERS,) if each is None else each for each in lists))


def _without(split: Split, lost: Container[str]) -> Split:
    return replace(
        split,
        train=tuple(sample for sample in split.train if sample.name not in lost),
        val=tuple(sample for sample in split.val if sample.name not in lost),
    )


def _refuse_unteachable(config: Config, split: Split) -> None:
    """Without any mask only the decision loss can teach; then its gradient must reach both stages."""
    if config.train.teacher is not None:
        return  # whose score maps teach
    defective = [sample for sample in split.train if sample.label]
    if not defective and config.data.tile is not None:
        raise ConfigError(
            "no defective training image has a mask, so nobody knows which of its tiles are defective; mark"
            " the defects of some images, or leave data.tile out"
        )
    if defective and all(sample.weak for sample in defective) and config.train.gradient_adjustment:
        raise ConfigError(
            f"none of the {len(defective)} defective training images has a mask, so the segmentation stage"
            " would learn nothing; set loss.balance=decision and train.gradient_adjustment=false, or mark"
            " the defects of some images"
        )


def _too_small(config: Config, check: FileCheck) -> dict[str, str]:
    """Return what predictions would refuse, name -> reason; with ``data.strict`` the first is an error."""
    wanted = config.data.image_size if config.data.tile is None else None
    lost = {}
    for sample in check.samples:
        try:
            check_size(check.sizes[sample.name], str(sample.image), wanted)
        except ImageError as error:
            if config.data.strict:
                raise
            lost[sample.name] = str(error)
    return lost


def _choose_input(config: Config, check: FileCheck) -> Config:
    """Fill in image_size and channels; return the configuration in full."""
    tree = config.model_dump()
    if config.data.tile is not None:
        tree["data"]["image_size"] = (config.data.tile, config.data.tile)
    elif config.data.image_size is None and check.sizes:
        tree["data"]["image_size"] = fitting_size(list(check.sizes.values()))
    if config.data.channels is None:
        tree["data"]["channels"] = tree["network"]["in_channels"] = 1 if check.grey else 3
    return Config.model_validate(tree)


def fitting_size(sizes: list[ImageSize], most_pixels: float = _MOST_PIXELS) -> ImageSize:
    """Choose the input size for images: their median, as far as it is not too large to train on.

    Parameters
    ----------
    sizes
        (height, width) of each image, in pixels.
    most_pixels
        What is too large.

    Returns
    -------
    tuple of int
        Multiples of 8, each at least 64, together about ``most_pixels`` at most.

    Examples
    --------
    >>> fitting_size([(500, 700), (500, 700)]), fitting_size([(3000, 4000)])
    ((504, 704), (768, 1024))
    """
    height = statistics.median(size[0] for size in sizes)
    width = statistics.median(size[1] for size in sizes)
    factor = min(1.0, (most_pixels / (height * width)) ** 0.5)
    sides = (max(64, STRIDE * round(side * factor / STRIDE + 0.2)) for side in (height, width))
    return next(sides), next(sides)
