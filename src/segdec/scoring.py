"""Score samples with a network that is being trained, and turn the result into a model folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segdec.backends.pytorch import open_network, probabilities, to_batch
from segdec.checkpoint import load_checkpoint
from segdec.config import STRIDE, Config
from segdec.data.pixels import load_marks, load_pixels
from segdec.imaging import DEFECT, UNKNOWN, Pixels, open_rows
from segdec.metrics import average_precision
from segdec.model_card import ModelCard, Trained
from segdec.model_io import IMAGES, dump_hashes, read_model, write_model
from segdec.network import SegDecNet
from segdec.runs import Run
from segdec.runtime import commit, versions
from segdec.thresholds import best_f1_threshold
from segdec.tiles import Infer, choose_tiling, score_tiles
from segdec.types import Sample
from segdec.weighting import reduce_to_cells

_DEFAULT = 0.5
_NO_REGIONS = 1.0
"""Value of a score map that none reaches."""
_FLAT = 0.05
"""Scale of the segmentation head below which its logits are next to 0 everywhere; it begins with 1."""


def validation_ap(network: SegDecNet, run: Run, watch: Callable[[int, int], None]) -> float | None:
    """Return the image-level AP on the validation part, None where it is undefined.

    Parameters
    ----------
    network
        As it is being trained.
    run
        Its validation part is scored, in fp32.
    watch
        Called with (images scored, images in all).
    """
    scores, _, _ = _score(_open(network.state_dict(), run.config), run.split.val, run.config, watch)
    return average_precision(_labels(run.split.val), scores).value


def write_trained_model(run: Run, checkpoint: Path, epoch: int, watch: Callable[[int, int], None]) -> None:
    """Choose the thresholds and write the model folder.

    The thresholds come from the validation part; where the protocol leaves none (the paper's), from the
    training part, and the model says so. Never from test data.

    Parameters
    ----------
    run
        The finished run.
    checkpoint
        Whose weights to take.
    epoch
        The epoch of the checkpoint, from 0.
    watch
        Called with (images scored, images in all).

    Raises
    ------
    OutputError
        If the model folder cannot be written.
    """
    weights, _ = load_checkpoint(checkpoint)
    network = _open(weights, run.config)
    source, samples = ("validation", run.split.val) if run.split.val else ("train", run.split.train)
    scores, cells, targets = _score(network, samples, run.config, watch)
    threshold = _best_threshold(_labels(samples), scores)
    pixel_threshold = _best_threshold(targets, cells)
    if pixel_threshold is None:
        # where no mask teaches, a defect may as well be the lowest place of its map (see docs/results.md)
        pixel_threshold = _NO_REGIONS if run.config.loss.balance == "decision" else _DEFAULT
    size, channels = run.config.data.image_size, run.config.data.channels
    if size is None or channels is None:
        raise ValueError("data.image_size and data.channels must be set before a model is written")
    card = ModelCard(
        network=run.config.network,
        image_size=size,
        tile=run.config.data.tile,
        channels=channels,
        threshold=_DEFAULT if threshold is None else threshold,
        threshold_from="default" if threshold is None else source,
        pixel_threshold=pixel_threshold,
        trained=Trained(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            data_hash=run.meta["data_hash"],
            dataset=run.meta["layout"],
            run=run.folder.name,
            epoch=epoch + 1,
            seed=run.config.train.seed,
            commit=commit(),
        ),
        versions=versions(),
    )
    images = {IMAGES: dump_hashes(run.image_hashes | run.inherited)} if run.image_hashes else {}
    write_model(run.model, card, {name: tensor.numpy() for name, tensor in weights.items()}, images)


def has_flat_maps(model: Path) -> bool:
    """Tell whether a model's score maps are 0.5 everywhere: its segmentation stage has learnt nothing.

    One scale ends that stage. While the features are still random, a small scale is the best that the loss
    can do; with few defects and a high learning rate it may reach 0 before the features say anything, and
    there no gradient reaches them any more (docs/results.md shows such a run).

    Parameters
    ----------
    model
        A model folder.

    Raises
    ------
    ModelError
        If it is no whole model.
    """
    _, weights = read_model(model)
    return bool(abs(weights["seg_head.1.scale"][0]) < _FLAT)


def _open(weights: dict[str, Tensor], config: Config) -> SegDecNet:
    """Return a network for scoring, without what training wraps around one."""
    return open_network(config.network, weights)


def _best_threshold(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Return the threshold of best F1, None where only one class is there to choose it."""
    return best_f1_threshold(labels, scores) if 0 < labels.sum() < len(labels) else None


@torch.inference_mode()
def _score(
    network: SegDecNet, samples: Sequence[Sample], config: Config, watch: Callable[[int, int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]:
    """Return image scores (n,), and of every annotated cell its score and whether it is defect."""

    def infer(images: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        seg_logits, dec_logits = network(to_batch(images))
        return probabilities(dec_logits)[:, 0], probabilities(seg_logits)[:, 0].astype(np.float32)

    scores, cells, targets = [], [], []
    for done, sample in enumerate(samples, start=1):
        score, score_map, marks = _score_one(sample, config, infer)
        scores.append(score)
        if not sample.weak:
            known = reduce_to_cells((marks != UNKNOWN).astype(np.float32)) >= 0.5  # (H/8, W/8)
            defect = reduce_to_cells((marks >= DEFECT).astype(np.float32)) >= 0.5
            cells.append(score_map[known])
            targets.append(defect[known])
        watch(done, len(samples))
    if not cells:
        return np.array(scores), np.zeros(0, np.float32), np.zeros(0, bool)
    return np.array(scores), np.concatenate(cells), np.concatenate(targets)


def _score_one(
    sample: Sample, config: Config, infer: Infer
) -> tuple[float, NDArray[np.float32], NDArray[np.uint8]]:
    """Return an image's score, score map (H/8, W/8) and marks (H, W), as a whole or from its tiles."""
    if config.data.tile is None:
        image, marks = load_pixels(sample, config)
        found, maps = infer([image])
        return float(found[0]), maps[0], marks
    with open_rows(sample.image, config.data.channels) as rows:
        score, cells = score_tiles(rows, choose_tiling(config.network, config.data.tile), infer)
        size = rows.size
    marks = load_marks(sample, size, size, config.data)
    beyond = [(0, STRIDE * cells.shape[axis] - size[axis]) for axis in (0, 1)]  # the last cells hang over
    return score, cells, np.pad(marks, beyond, mode="symmetric")


def _labels(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    return np.array([sample.label for sample in samples], bool)
