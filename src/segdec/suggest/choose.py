"""Choose images that each help, and together more than one of them many times over.

Source: core-set selection by the greedy k-center method (Sener, Savarese, "Active learning for
convolutional neural networks: a core-set approach", 2018, Alg. 1, arXiv:1708.00489). There, the next is
always the image farthest from all that are labelled or chosen. Here that distance, up to what is usual
among the candidates, is multiplied with what the image itself promises: pure k-center runs after
outliers, and pure doubt after ten pictures of one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdec.errors import ConfigError
from segdec.score_axis import score_text
from segdec.suggest.measure import Measured

_CONSTANT = 1e-4
"""A feature that varies by less than this over the candidates is rounding."""
_SAMPLE = 500
"""Distances among so many candidates tell which are usual."""
_SIMILAR = 0.5
"""An image of less novelty is called similar to another."""
_LITTLE = 0.2
"""A utility below this is little."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One image to mask or label; also one line of the list.

    Attributes
    ----------
    rank
        From 1.
    name, image
        Its name, and the file.
    defective
        True where only the mask is missing; False where the label is, too.
    gain
        Utility times novelty, in [0, 1]: the order of the list.
    score, peak
        Of the decision, and the highest of the score map.
    uncertainty, disagreement
        As in `segdec.suggest.measure.Measured`; the larger is the utility.
    novelty
        In [0, 1]: distance to the nearest image that has a mask or stands higher in the list; 0 is the same
        picture, 1 as far as two candidates usually are, or farther.
    why
        In words.
    """

    rank: int
    name: str
    image: Path
    defective: bool
    gain: float
    score: float
    peak: float
    uncertainty: float
    disagreement: float
    novelty: float
    why: str


def choose(
    measured: Sequence[Measured], budget: int, known: NDArray[np.float64] | None = None
) -> list[Suggestion]:
    """Choose images, one after the other, by what each adds to those before it.

    Parameters
    ----------
    measured
        The candidates.
    budget
        How many to choose, at least 1; of fewer candidates all are chosen.
    known
        (K, D) features of images that have masks already; None is none.

    Returns
    -------
    list of Suggestion
        The best first, no image twice. The same candidates give the same list, in whatever order they
        come.

    Raises
    ------
    ConfigError
        If the budget is below 1.
    """
    check_budget(budget)
    if not measured:
        return []
    ordered = sorted(measured, key=lambda each: each.candidate.name)
    utility = np.array([each.utility for each in ordered])
    features, centres = _standardise(np.stack([each.features for each in ordered]), known)
    usual = _usual_distance(features)
    nearest = np.full(len(ordered), np.inf)  # distance to the nearest centre
    like = np.full(len(ordered), -1)  # which candidate that is; -1 has a mask already
    for centre in centres:
        nearest = np.minimum(nearest, _distances(features, centre))
    found: list[Suggestion] = []
    left = np.ones(len(ordered), bool)
    while left.any() and len(found) < budget:
        novelty = np.minimum(nearest / usual, 1.0)
        gain = utility * novelty
        # what is equal in gain goes by utility, then by name
        index = max(np.flatnonzero(left), key=lambda one: (gain[one], utility[one], -one))
        likeness = ordered[like[index]].candidate.name if like[index] >= 0 else "an image with a mask"
        found.append(_suggestion(len(found) + 1, ordered[index], float(novelty[index]), likeness))
        left[index] = False
        distances = _distances(features, features[index])
        like[distances < nearest] = index
        nearest = np.minimum(nearest, distances)
    return found


def check_budget(budget: int) -> None:
    """Refuse a budget below 1 by a ConfigError."""
    if budget < 1:
        raise ConfigError(f"a budget is at least 1 image, got {budget}; choose more")


def _suggestion(rank: int, one: Measured, novelty: float, likeness: str) -> Suggestion:
    return Suggestion(
        rank,
        one.candidate.name,
        one.candidate.image,
        one.candidate.defective,
        one.utility * novelty,
        one.score,
        one.peak,
        one.uncertainty,
        one.disagreement,
        novelty,
        _why(one) + (f"; similar to {likeness}" if novelty < _SIMILAR else ""),
    )


def _why(one: Measured) -> str:
    score, peak = f"score {score_text(one.score, 3)}", f"peak {score_text(one.peak, 3)}"
    of_score, of_peak = (f"threshold {score_text(cut, 3)}" for cut in (one.threshold, one.pixel_threshold))
    shows = one.peak >= one.pixel_threshold
    if one.utility < _LITTLE:
        return f"little to learn: {score} and the score map's {peak} agree"
    if one.candidate.defective:
        if not shows:
            return f"labelled defective, but the score map shows nothing ({peak}, {of_peak})"
        if one.score < one.threshold:
            return f"labelled defective, but called good ({score}, {of_score})"
        return f"labelled defective and only just found ({score}, {of_score}; {peak}, {of_peak})"
    if one.uncertainty >= one.disagreement:
        return f"the decision is in doubt ({score}, {of_score})"
    if shows and one.score < one.threshold:
        return f"called good ({score}), but the score map shows a defect ({peak}, {of_peak})"
    if not shows and one.score >= one.threshold:
        return f"called defective ({score}), but the score map shows nothing ({peak}, {of_peak})"
    return f"decision and score map are not equally sure ({score}, {of_score}; {peak}, {of_peak})"


def _standardise(
    features: NDArray[np.float64], known: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring all features to mean 0 and deviation 1 over the candidates."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > _CONSTANT)
    if known is None or not len(known):
        known = np.zeros((0, features.shape[1]))
    return (features - mean) * factor, (known - mean) * factor


def _usual_distance(features: NDArray[np.float64]) -> float:
    """Return the median distance between candidates that differ; 1 where none do."""
    step = -(-len(features) // _SAMPLE)
    some = features[::step]
    distances = np.concatenate([_distances(some[row + 1 :], some[row]) for row in range(len(some))])
    apart = distances[distances > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def _distances(features: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Euclidean distances, (N, D) and (D,) -> (N,)."""
    return np.asarray(np.linalg.norm(features - centre, axis=1))
