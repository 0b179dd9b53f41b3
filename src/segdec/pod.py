"""Probability of detection: how large a defect must be to be found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_IMAGES = 20
"""A curve of two parameters through fewer images would say more than they do."""

_LEAST_EACH = 3  # misses, and as many hits
_TWO_SIDED, _ONE_SIDED = 1.959964, 1.644854  # 95 % quantiles of the normal distribution


@dataclass(frozen=True, slots=True)
class Pod:
    """A logistic curve of detection: logit(POD) = intercept + slope ln(size).

    Attributes
    ----------
    intercept, slope
        By maximum likelihood.
    covariance
        (2, 2) of the two, the inverse of the Fisher information.
    """

    intercept: float
    slope: float
    covariance: NDArray[np.float64]

    def at(self, sizes: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return POD and the ends of its pointwise 95 % interval (Wald, on the logit).

        Parameters
        ----------
        sizes
            (K,) above 0.

        Returns
        -------
        tuple of ndarray
            POD, low, high; each (K,).
        """
        logit, spread = self._logit(sizes)
        ends = (logit, logit - _TWO_SIDED * spread, logit + _TWO_SIDED * spread)
        return tuple(1 / (1 + np.exp(-np.clip(end, -700, 700))) for end in ends)

    def size_at(self, probability: float) -> float | None:
        """Return the size that is found with a probability; None where POD does not rise with size."""
        if self.slope <= 0:
            return None
        return float(np.exp(np.clip((_logit(probability) - self.intercept) / self.slope, -700, 700)))

    def safe_size_at(self, probability: float) -> float | None:
        """Return the size from which POD is at least that at 95 % confidence, for a90/95 and the like.

        None where the interval never gets there.
        """
        best = self.size_at(probability)
        if best is None:
            return None
        # the lower end is looked up on a grid; a report needs no more than three digits
        sizes = best * np.geomspace(1, 1e4, 20_000)
        logit, spread = self._logit(sizes)
        reached = logit - _ONE_SIDED * spread >= _logit(probability)
        return float(sizes[int(np.argmax(reached))]) if reached.any() else None

    def _logit(self, sizes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        terms = np.stack([np.ones_like(sizes), np.log(sizes)])  # (2, K)
        variance = np.einsum("ik,ij,jk->k", terms, self.covariance, terms)
        return self.intercept + self.slope * terms[1], np.sqrt(np.maximum(variance, 0))


def fit_pod(
    sizes: NDArray[np.float64], hits: NDArray[np.int64], misses: NDArray[np.int64]
) -> tuple[Pod | None, str | None]:
    """Fit a POD curve to defects that were found or not.

    Parameters
    ----------
    sizes
        (K,) above 0, in any unit.
    hits, misses
        (K,) how many of each size were found, and not.

    Returns
    -------
    tuple
        The curve, or None and the reason why there is none.

    Notes
    -----
    Source: MIL-HDBK-1823A, "Nondestructive evaluation system reliability assessment" (2009), the
    logistic model for hit/miss data; fitted by Newton's method.

    Examples
    --------
    >>> sizes = np.array([10.0, 20, 40, 80])
    >>> pod, _ = fit_pod(sizes, np.array([2, 5, 8, 10]), np.array([8, 5, 2, 0]))
    >>> round(pod.size_at(0.5)), pod.slope > 0
    (19, True)
    >>> fit_pod(sizes, np.array([10, 10, 10, 10]), np.array([0, 0, 0, 0]))
    (None, '0 defective images are missed; a curve needs at least 3 misses and 3 finds')
    """
    found, lost = int(hits.sum()), int(misses.sum())
    if found + lost < LEAST_IMAGES:
        return None, f"{found + lost} defective images have a mask; a curve needs at least {LEAST_IMAGES}"
    if min(found, lost) < _LEAST_EACH:
        count, what = (lost, "missed") if lost < _LEAST_EACH else (found, "found")
        return None, (
            f"{count} defective images are {what}; a curve needs at least {_LEAST_EACH} misses and"
            f" {_LEAST_EACH} finds"
        )
    if sizes[hits > 0].min() >= sizes[misses > 0].max() or sizes[hits > 0].max() <= sizes[misses > 0].min():
        return None, "no size is both found and missed, so any steep curve fits (the sizes separate the two)"
    # centred and scaled, Newton's method converges in a few steps from 0
    logs = np.log(sizes.astype(np.float64))
    weights = (hits + misses).astype(np.float64)
    centre = float(np.average(logs, weights=weights))
    width = float(np.sqrt(np.average((logs - centre) ** 2, weights=weights)))
    terms = np.stack([np.ones_like(logs), (logs - centre) / width], axis=1)  # (K, 2)
    beta, information = _maximum_likelihood(terms, hits.astype(np.float64), weights)
    # back to ln(size): slope = b1 / width, intercept = b0 - b1 centre / width
    back = np.array([[1.0, -centre / width], [0.0, 1.0 / width]])
    intercept, slope = back @ beta
    return Pod(float(intercept), float(slope), back @ np.linalg.inv(information) @ back.T), None


def _maximum_likelihood(
    terms: NDArray[np.float64], hits: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the parameters (2,) and the Fisher information (2, 2) of a logistic regression."""

    def likelihood(beta: NDArray[np.float64]) -> float:
        logit = terms @ beta
        return float(hits @ logit - weights @ np.logaddexp(0, logit))

    beta = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(terms @ beta)))
        information = (terms.T * (weights * chance * (1 - chance))) @ terms
        step = np.linalg.solve(information, terms.T @ (hits - weights * chance))
        while likelihood(beta + step) < likelihood(beta) - 1e-9:  # the likelihood is concave: halving ends
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return beta, information


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))
