"""Two answers to the same images: how far they lie apart, and whether that may be."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdec.backends import Backend
from segdec.certificate import Difference, Flip, Limits, Precision
from segdec.errors import ImageError
from segdec.export.evidence import Proof
from segdec.imaging import Pixels, open_rows
from segdec.inputs import check_size, network_pixels
from segdec.metrics import average_precision
from segdec.model_card import ModelCard
from segdec.tiles import Infer, Origin, Tiling, read_tile, score_tiles

LIMITS: dict[Precision, Limits] = {
    "fp32": Limits(flips=0, score_difference=1e-4),
    "bf16": Limits(flips=0, ap_loss=0.002),
    "int8": Limits(flips=0, ap_loss=0.002),
    "int8-bf16": Limits(flips=0, ap_loss=0.002),
}


@dataclass(frozen=True)
class Answers:
    """What a backend says of images.

    Attributes
    ----------
    scores
        (N,).
    maps
        N arrays (h/8, w/8); joined, of images in tiles.
    milliseconds
        Median time of the network for an image, or for a tile.
    """

    scores: NDArray[np.float64]
    maps: Sequence[NDArray[np.float32]]
    milliseconds: float


@dataclass(frozen=True)
class Readable:
    """The images that can be used.

    Attributes
    ----------
    proofs
        Those.
    unreadable
        Names of the others.
    deep
        Whether one of them holds 16-bit values.
    """

    proofs: tuple[Proof, ...]
    unreadable: tuple[str, ...]
    deep: bool


def sort_out(proofs: Iterable[Proof], card: ModelCard, tiling: Tiling | None = None) -> Readable:
    """Find the images that can be read, and what kind of values they hold.

    Parameters
    ----------
    proofs
        All.
    card
        What the network takes.
    tiling
        How images are cut; None takes whole ones.
    """
    good, bad, deep = [], [], False
    for proof in proofs:
        try:
            deep = _is_deep(proof.path, card, tiling) or deep
        except ImageError:
            bad.append(proof.name)
            continue
        good.append(proof)
    return Readable(tuple(good), tuple(bad), deep)


def read_input(path: Path, card: ModelCard, origin: Origin | None) -> Pixels:
    """Read what the network sees of an image at once.

    Parameters
    ----------
    path
        The file.
    card
        What the network takes.
    origin
        Where the tile begins; None is the whole image.

    Returns
    -------
    ndarray
        (h, w, C) uint8 or uint16.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    if origin is None:
        return network_pixels(path, card)[0]
    with open_rows(path, card.channels) as rows:
        return read_tile(rows, origin, card.image_size[0])


def answer(
    backend: Backend,
    proofs: Sequence[Proof],
    card: ModelCard,
    tiling: Tiling | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Answers:
    """Ask a backend, one image or one tile at a time.

    Parameters
    ----------
    backend
        Which.
    proofs
        At least one image that can be read.
    card
        What the network takes.
    tiling
        How images are cut; None takes whole ones.
    watch
        Called after each image.
    """
    scores, maps, timed = [], [], _Timed(backend)
    for proof in proofs:
        score, cells = _score_image(proof.path, card, tiling, timed)
        scores.append(score)
        maps.append(cells)
        watch()
    return Answers(np.array(scores), maps, timed.milliseconds)


def network_time(backend: Backend, pixels: Pixels) -> float:
    """Return the milliseconds that a backend takes for an image or a tile, as the median of three.

    Parameters
    ----------
    backend
        Which.
    pixels
        From `read_input`.
    """
    timed = _Timed(backend)
    for _ in range(3):
        timed([pixels])
    return timed.milliseconds


class _Timed:
    """A backend as a `segdec.tiles.Infer` that keeps the time of each call."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seconds: list[float] = []

    @property
    def milliseconds(self) -> float:
        return 1000 * statistics.median(self._seconds)

    def __call__(self, images: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        prepared = [self._backend.prepare(image) for image in images]
        if not self._seconds:
            self._backend(prepared)  # compilation and first allocations are no part of the time
        began = time.perf_counter()
        answers = self._backend(prepared)
        self._seconds.append(time.perf_counter() - began)
        return answers


def _score_image(
    path: Path, card: ModelCard, tiling: Tiling | None, infer: Infer
) -> tuple[float, NDArray[np.float32]]:
    """Return an image's score and its score map (h/8, w/8), as a whole or from its tiles."""
    if tiling is None:
        scores, maps = infer([network_pixels(path, card)[0]])
        return float(scores[0]), maps[0]
    with open_rows(path, card.channels) as rows:
        return score_tiles(rows, tiling, infer)


def _is_deep(path: Path, card: ModelCard, tiling: Tiling | None) -> bool:
    """Read an image to its end, and tell whether it holds 16-bit values."""
    if tiling is None:
        return network_pixels(path, card)[0].dtype == np.uint16
    with open_rows(path, card.channels) as rows:
        check_size(rows.size, str(path), None)
        height = rows.size[0]
        bands = (rows.read(y, min(y + tiling.tile, height)) for y in tiling.starts(height))
        return np.uint16 in {band.dtype.type for band in bands}


def map_difference(one: Answers, other: Answers) -> Difference:
    """Compare the values of all score maps.

    Parameters
    ----------
    one, other
        Of the same images.
    """
    gaps = [np.abs(a - b) for a, b in zip(one.maps, other.maps, strict=True)]
    return Difference(
        largest=float(np.max([gap.max() for gap in gaps])),
        mean=float(np.sum([gap.sum(dtype=np.float64) for gap in gaps]) / sum(gap.size for gap in gaps)),
    )


def score_difference(one: Answers, other: Answers) -> Difference:
    """Compare the scores.

    Parameters
    ----------
    one, other
        Of the same images.
    """
    gaps = np.abs(one.scores - other.scores)
    return Difference(largest=float(gaps.max()), mean=float(gaps.mean()))


def decision(score: float, threshold: float, review_threshold: float | None) -> str:
    """Return what a score means.

    Examples
    --------
    >>> decision(0.4, 0.5, 0.3), decision(0.5, 0.5, None), decision(float("nan"), 0.5, None)
    ('review', 'defect', 'no number')
    """
    if not np.isfinite(score):
        return "no number"
    if score >= threshold:
        return "defect"
    return "review" if review_threshold is not None and score >= review_threshold else "good"


def find_flips(
    proofs: Sequence[Proof], torch: Answers, other: Answers, thresholds: tuple[float, float | None]
) -> tuple[Flip, ...]:
    """Name the images that are decided otherwise.

    Parameters
    ----------
    proofs
        The images.
    torch, other
        What PyTorch says, and what the export says.
    thresholds
        Threshold and review threshold.
    """
    flips = []
    for proof, score, exported in zip(proofs, torch.scores, other.scores, strict=True):
        before, after = (decision(float(each), *thresholds) for each in (score, exported))
        if before != after:
            flips.append(
                Flip(
                    image=proof.name,
                    torch_score=float(score),
                    score=float(exported),
                    torch_decision=before,
                    decision=after,
                )
            )
    return tuple(flips)


def labelled_ap(proofs: Sequence[Proof], answers: Answers) -> float | None:
    """Return the average precision over the labelled images, None where it is undefined.

    Parameters
    ----------
    proofs
        The images.
    answers
        What is judged.
    """
    known = np.array([proof.label is not None for proof in proofs])
    labels = [proof.label for proof in proofs if proof.label is not None]
    if not labels or not np.isfinite(answers.scores[known]).all():
        return None
    return average_precision(labels, answers.scores[known]).value


def why_failed(
    limits: Limits,
    score: Difference,
    flips: Sequence[Flip],
    ap: float | None,
    torch_ap: float | None,
) -> str | None:
    """Say which limit is exceeded, None where none is.

    Parameters
    ----------
    limits
        What may be.
    score
        Difference of the scores.
    flips
        Decisions that changed.
    ap, torch_ap
        Average precision of the export and of PyTorch.

    Examples
    --------
    >>> why_failed(LIMITS["int8"], Difference(largest=0.1, mean=0.01), (), 0.90, 0.95)
    'AP falls from 0.9500 to 0.9000, by more than 0.002'
    """
    if not np.isfinite(score.largest):
        return "it gives scores that are no numbers"
    if len(flips) > limits.flips:
        first = flips[0]
        return (
            f"it decides {len(flips)} of the images otherwise, first {first.image} ({first.torch_decision} by"
            f" PyTorch with {first.torch_score:.6f}, {first.decision} with {first.score:.6f})"
        )
    if limits.score_difference is not None and not score.largest < limits.score_difference:
        return f"a score is off by {score.largest:.2g}, and less than {limits.score_difference:g} is allowed"
    if limits.ap_loss is not None and torch_ap is not None and (ap is None or torch_ap - ap > limits.ap_loss):
        found = "undefined" if ap is None else f"{ap:.4f}"
        return f"AP falls from {torch_ap:.4f} to {found}, by more than {limits.ap_loss:g}"
    return None
