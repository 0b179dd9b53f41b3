"""How much a mask or a label of an image would help: doubt, contradiction, and what the image looks like."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.backends.pytorch import TorchBackend
from segdec.errors import ConfigError
from segdec.predict import Predictor, Unreadable, predict_files
from segdec.score_axis import above
from segdec.suggest.pool import Candidate
from segdec.types import Prediction


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the network says of a candidate.

    Attributes
    ----------
    candidate
        Which.
    score, threshold
        Of the decision.
    peak, pixel_threshold
        Highest value of the score map, and the value from which a pixel belongs to a region.
    features
        (D,) float64: what the decision is made from, the pooled maps of both stages.
    """

    candidate: Candidate
    score: float
    threshold: float
    peak: float
    pixel_threshold: float
    features: NDArray[np.float64]

    @property
    def uncertainty(self) -> float:
        """How much the decision is in doubt, in [0, 1]; see `uncertainty`."""
        return uncertainty(self.score, self.threshold, self.candidate.defective)

    @property
    def disagreement(self) -> float:
        """How much the score map contradicts the decision or the label, in [0, 1]; see `disagreement`."""
        score = 1.0 if self.candidate.defective else self.score  # the truth, where it is known
        return disagreement(score, self.threshold, self.peak, self.pixel_threshold)

    @property
    def utility(self) -> float:
        """The larger of the two."""
        return max(self.uncertainty, self.disagreement)


def uncertainty(score: float, threshold: float, defective: bool = False) -> float:
    """Return how much a decision is in doubt.

    Parameters
    ----------
    score, threshold
        Of the image and of the model, in [0, 1].
    defective
        True where the image is known to be defective: then a score below the threshold is no doubt but a
        mistake, and counts in full.

    Returns
    -------
    float
        1 at the threshold, towards 0 where the score is far from it on the scale of logits.

    Notes
    -----
    Source: least confidence of a binary decision (Settles, "Active learning literature survey", 2009,
    Sec. 3.1), with the threshold in the place of 1/2.

    Examples
    --------
    >>> uncertainty(0.9, 0.9), round(uncertainty(0.99, 0.5), 2), uncertainty(0.01, 0.5, defective=True)
    (1.0, 0.02, 1.0)
    """
    certainty = 2 * centred(score, threshold) - 1  # -1 good, 1 defect
    return min(1.0, 1 - certainty) if defective else 1 - abs(certainty)


def disagreement(score: float, threshold: float, peak: float, pixel_threshold: float) -> float:
    """Return how much the two stages contradict each other.

    Parameters
    ----------
    score, threshold
        Of the decision, in [0, 1].
    peak, pixel_threshold
        Highest value of the score map, and the value from which a pixel is taken for a defect, in [0, 1].

    Returns
    -------
    float
        Near 1 where one stage is sure of a defect and the other sure that there is none; 0 where both are
        equally far beyond their thresholds.

    Examples
    --------
    >>> round(disagreement(0.001, 0.5, 0.999, 0.5), 2), disagreement(0.9, 0.5, 0.9, 0.5)
    (1.0, 0.0)
    """
    return abs(centred(score, threshold) - centred(peak, pixel_threshold))


def centred(value: float, threshold: float) -> float:
    """Move a probability, on the scale of logits, so that its threshold comes to lie at 1/2.

    Parameters
    ----------
    value, threshold
        In [0, 1].

    Returns
    -------
    float
        In [0, 1]; 1/2 where the value is the threshold.

    Examples
    --------
    >>> centred(0.8, 0.8), centred(0.5, 0.5), round(centred(0.9, 0.5), 2)
    (0.5, 0.5, 0.9)
    """
    return 1 / (1 + math.exp(-above(value, threshold)))


def measure(
    predictor: Predictor,
    candidates: Sequence[Candidate],
    watch: Callable[[int, int], None] | None = None,
) -> tuple[list[Measured], dict[str, str]]:
    """Look at candidates with a network.

    Parameters
    ----------
    predictor
        The model.
    candidates
        In any order.
    watch
        Called with (images done, images in all).

    Returns
    -------
    measured : list of Measured
        In the order given.
    unreadable : dict
        Name -> reason, of the others.
    """
    measured: list[Measured] = []
    unreadable: dict[str, str] = {}
    looks = _look(predictor, [candidate.image for candidate in candidates])
    for done, (candidate, look) in enumerate(zip(candidates, looks, strict=True), start=1):
        if isinstance(look, Unreadable):
            unreadable[candidate.name] = look.reason
        else:
            prediction, features = look
            measured.append(
                Measured(
                    candidate,
                    prediction.score,
                    prediction.threshold,
                    float(prediction.score_map.max()),
                    predictor.pixel_threshold,
                    features,
                )
            )
        if watch is not None:
            watch(done, len(candidates))
    return measured, unreadable


def embed(predictor: Predictor, images: Sequence[Path]) -> NDArray[np.float64]:
    """Return what images look like to a network.

    Parameters
    ----------
    predictor
        The model.
    images
        Files; one that cannot be read is passed over.

    Returns
    -------
    ndarray
        (N, D), as `Measured.features`; (0, 0) without any image.
    """
    rows = [look[1] for look in _look(predictor, images) if not isinstance(look, Unreadable)]
    return np.stack(rows) if rows else np.zeros((0, 0))


def _look(
    predictor: Predictor, images: Sequence[Path]
) -> Iterator[tuple[Prediction, NDArray[np.float64]] | Unreadable]:
    with _seen_by_decision(predictor) as rows:
        for result in predict_files(predictor, images):
            yield result if isinstance(result, Unreadable) else (result, rows.popleft())


@contextmanager
def _seen_by_decision(predictor: Predictor) -> Iterator[deque[NDArray[np.float64]]]:
    """Collect what the last layer of the decision stage is given: a row of each image, (D,)."""
    rows: deque[NDArray[np.float64]] = deque()

    def keep(_module: Any, inputs: tuple[Any, ...]) -> None:
        rows.extend(inputs[0].detach().cpu().double().numpy())  # (N, D)

    if not isinstance(predictor.backend, TorchBackend):
        raise ConfigError(
            "suggestions look inside the network, which an export does not allow, got the backend"
            f" {predictor.backend.name}; open the model with the backend torch"
        )
    handle = predictor.backend.network.fc.register_forward_pre_hook(keep)
    try:
        yield rows
    finally:
        handle.remove()
