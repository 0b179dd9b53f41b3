"""Everything once, in minutes: make a data set, train on it, evaluate, predict, and show the result.

The data are made up (`segdec.data.synthetic`), so the figures say that the software works here, not
what it would reach on parts of yours.
"""

from __future__ import annotations

import glob
import io
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segdec.config import Config, DataConfig, LossConfig, NetworkConfig, TrainConfig
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ImageError, OutputError
from segdec.evaluate import evaluate_run, write_evaluation
from segdec.evaluation import Evaluation
from segdec.files import atomic_write, output_error
from segdec.imaging import read_image, read_mask
from segdec.plots import DEFECT, FAINT, GOOD, INK
from segdec.predict import Predictor, Unreadable, predict_files
from segdec.progress import Progress, Watch
from segdec.results import overlay_paths, write_overlay
from segdec.runs import Run
from segdec.runtime import require_torch
from segdec.score_axis import score_text
from segdec.train import train
from segdec.types import ImageSize, Prediction, Sample

T = TypeVar("T")

IMAGE_SIZE: ImageSize = (256, 256)
NETWORK_SIZE: ImageSize = (160, 160)
"""What the images are resized to: a pass takes a third of the time, and the finest defects are still seen."""
TRAINING, TEST = (400, 400), (100, 50)
"""(good, defective) images of each part."""

_SHOWN = (4, 2)
"""(defective, good) images of the held-out part that are predicted with overlays."""
_ROWS = (2, 1)
"""So many of them stand in the picture."""
_MASK = "#f4d03f"
_WIDTH, _ROW_HEIGHT, _TITLE_HEIGHT, _DPI = 9.0, 2.48, 0.36, 100
"""Inches, and pixels per inch."""


def quickstart(folder: Path, seed: int, watch: Watch) -> list[str]:
    """Make a data set, train a small network on it, evaluate, predict, and draw a picture of the result.

    Writes ``data`` (in DAGM 2007's layout), ``run`` (an ordinary run folder), ``overlays`` and
    ``quickstart.png`` into the folder.

    Parameters
    ----------
    folder
        New or empty: nothing that stands there already is replaced or removed.
    seed
        Decides the data and the training.
    watch
        Called as training proceeds.

    Returns
    -------
    list of str
        What was done and found, and what to try next, for people.

    Raises
    ------
    OutputError
        If the folder holds something or cannot be written.
    MissingExtraError
        Without the training part of the installation.
    """
    require_torch()
    _refuse_used(folder)
    began = time.perf_counter()
    data = folder / "data"
    watch(Progress("making images", 0, sum(TRAINING) + sum(TEST)))
    write_dagm_like(data, seed, IMAGE_SIZE, TRAINING, TEST)
    run = train(data, settings(seed), folder / "run", watch=watch)
    evaluation = evaluate_run(
        run.folder, watch=lambda done, total: watch(Progress("evaluating", done, total))
    )
    write_evaluation(evaluation, run.folder)
    shown = _predict_some(run, folder / "overlays")
    in_picture = _last(shown, [sample.label for sample, _ in shown], _ROWS)
    atomic_write(folder / "quickstart.png", draw_report(in_picture))
    return [
        *_what_was_done(folder, run, len(shown)),
        "",
        *_what_was_found(evaluation),
        f"It took {time.perf_counter() - began:.0f} s.",
        "",
        *_what_next(folder, run),
    ]


def settings(seed: int) -> Config:
    """Return the settings of the quickstart: the paper's method with a smaller network and images.

    Parameters
    ----------
    seed
        Decides the initial weights, the division of the data and the order of the images.

    Returns
    -------
    Config
    """
    return Config(
        # small images are read in no time: a process of their own would cost more than it saves
        data=DataConfig(image_size=NETWORK_SIZE, channels=1, workers=0, val_fraction=0.1),
        network=NetworkConfig(block_channels=(8, 16, 32), context_channels=64, context_kernel=11),
        loss=LossConfig(delta=0.1),
        # fp32 wherever it runs, so that the figures are the same everywhere
        train=TrainConfig(epochs=8, batch_size=4, learning_rate=0.05, seed=seed, precision="fp32"),
    )


def draw_report(rows: Sequence[tuple[Sample, Prediction]]) -> bytes:
    """Draw some images with their marked defect, score map and decision.

    Parameters
    ----------
    rows
        At least one; square images look best.

    Returns
    -------
    bytes
        A PNG file: a row for each image.

    Raises
    ------
    ImageError
        If an image or mask can no longer be read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure((_WIDTH, _ROW_HEIGHT * len(rows) + _TITLE_HEIGHT), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 4, squeeze=False, width_ratios=(1, 1, 1, 0.62))
    top = 1 - _TITLE_HEIGHT / figure.get_figheight()
    figure.subplots_adjust(left=0, right=1, bottom=0, top=top, wspace=0.03, hspace=0.03)
    titles = ("Image", "Marked defect", "Score map", "Decision")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=12, color=INK, weight="bold", pad=8)
    for line, (sample, prediction) in zip(grid, rows, strict=True):
        _draw_row(line, sample, prediction)
    drawn, stream = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    picture = Image.open(drawn).convert("RGB")
    # grey surfaces and a few colours: a palette shows them as well at a third of the bytes
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        stream, format="png", optimize=True
    )
    return stream.getvalue()


def _draw_row(line: Sequence[Any], sample: Sample, prediction: Prediction) -> None:
    surface = read_image(sample.image, 1)[..., 0]  # (H, W)
    for axes in line:
        axes.set_axis_off()
    for axes in line[:3]:
        axes.imshow(surface, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    if isinstance(sample.mask, Path):
        mask = read_mask(sample.mask, (surface.shape[0], surface.shape[1]))
        line[1].contour(mask, levels=[0.5], colors=[_MASK], linewidths=2)
    else:
        _say(line[1], 0.05, "none", 11, _MASK)
    # The segmentation's last normalisation leaves the logits a mean of 0: good surface lies around a score
    # of 0.5, so the colours begin there
    strength = np.clip(2 * prediction.score_map - 1, 0, 1)  # (H, W)
    line[2].imshow(
        strength, cmap="inferno", vmin=0, vmax=1, alpha=0.35 + 0.65 * strength, interpolation="bilinear"
    )
    word, colour = ("defect", DEFECT) if prediction.decision else ("good", GOOD)
    right = prediction.decision == sample.label
    _say(line[3], 0.58, word, 23, colour)
    _say(line[3], 0.43, f"score {score_text(prediction.score, 3)}", 13, INK)
    _say(
        line[3],
        0.33,
        f"threshold {score_text(prediction.threshold, 3)}" + ("" if right else ": wrong"),
        11,
        FAINT,
    )


def _say(axes: Any, y: float, text: str, size: float, colour: str) -> None:
    axes.text(0.5, y, text, transform=axes.transAxes, ha="center", va="center", color=colour, fontsize=size)


def _refuse_used(folder: Path) -> None:
    try:
        used = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise output_error(folder, error) from error
    if used:
        raise OutputError(
            f"{folder} is not empty, and the quickstart replaces nothing; remove that folder, or choose"
            " another one: segdec quickstart --out FOLDER"
        )


def _predict_some(run: Run, overlays: Path) -> list[tuple[Sample, Prediction]]:
    """Predict the last defective and good images of the test part, and write their overlays."""
    samples = _last(run.split.test, [sample.label for sample in run.split.test], _SHOWN)
    paths = [sample.image for sample in samples]
    overlays.mkdir()
    shown = []
    found = predict_files(Predictor(run.folder), paths)
    for sample, target, prediction in zip(samples, overlay_paths(paths, overlays), found, strict=True):
        if isinstance(prediction, Unreadable):
            raise ImageError(prediction.reason)
        write_overlay(prediction, target)
        shown.append((sample, prediction))
    return shown


def _last(things: Sequence[T], labels: Sequence[bool], counts: tuple[int, int]) -> list[T]:
    """Return the last so many with and without defect."""
    pairs = list(zip(things, labels, strict=True))
    return [
        *[thing for thing, label in pairs if label][-counts[0] :],
        *[thing for thing, label in pairs if not label][-counts[1] :],
    ]


def _what_was_done(folder: Path, run: Run, shown: int) -> list[str]:
    height, width = NETWORK_SIZE
    return [
        f"Made {sum(TRAINING)} images to train with and {sum(TEST)} to test with: {folder / 'data'}",
        f"Trained for {run.config.train.epochs} epochs, on images of {height} x {width} pixels: {run.folder}",
        f"  network     {_sizes(run.config.network)}",
        f"  the paper's {_sizes(NetworkConfig())}; a smaller one is done in minutes without a GPU",
        f"Predicted {shown} of the test images: {folder / 'overlays'}",
        f"All of it in one picture: {folder / 'quickstart.png'}",
    ]


def _sizes(network: NetworkConfig) -> str:
    blocks = "-".join(str(channels) for channels in network.block_channels)
    window = f"{network.context_kernel} x {network.context_kernel}"
    return f"{blocks} channels, {network.context_channels} features of a {window} window"


def _what_was_found(evaluation: Evaluation) -> list[str]:
    counts, ap = evaluation.image.at_threshold, evaluation.image.ap.value
    return [
        f"On the {len(evaluation.rows)} test images, which took no part in the training:",
        f"  image AP  {ap:.3f} (1 is perfect)",
        f"  escapes   {counts.fn} of {counts.tp + counts.fn} defective images passed as good",
        f"  overkill  {counts.fp} of {counts.fp + counts.tn} good images were rejected",
    ]


def _what_next(folder: Path, run: Run) -> list[str]:
    segdec = _command()
    ran, data, again = (shlex.quote(str(path)) for path in (run.folder, folder / "data", folder / "longer"))
    settings_file = shlex.quote(str(run.folder / "config.toml"))
    images = shlex.quote(f"{glob.escape(str(folder / 'data' / 'Test'))}/*.PNG")
    longer = f"train.epochs={2 * run.config.train.epochs}"
    return [
        "Three commands to try next:",
        f"  {segdec} predict {ran} {images} --format csv",
        f"  {segdec} evaluate {ran}",
        f"  {segdec} train {data} --recipe {settings_file} --set {longer} --out {again}",
    ]


def _command() -> str:
    """Return what starts this segdec in the user's shell, whether or not its environment is active."""
    here = Path(sys.executable).parent / "segdec"
    found = shutil.which("segdec")
    if found is not None and Path(found).parent == here.parent:
        return "segdec"
    if not here.exists():
        return f"{shlex.quote(sys.executable)} -m segdec"
    try:
        return shlex.quote(str(here.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(here))
