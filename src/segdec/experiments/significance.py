"""Whether two rows of a table differ by more than chance: a paired sign-flip test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST_PAIRS = 6
"""With fewer, no outcome at all could reach p < 0.05: the smallest p is 2 / 2^n."""

_EXACT_UP_TO = 16
_DRAWS = 100_000


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p value of paired differences under "either sign was as likely".

    If a change had no effect, each difference might as well have come out with the other sign. p is the
    share of all 2^n choices of signs whose mean is at least as far from 0 as the one observed: counted in
    full up to n = 16, beyond that from 100,000 seeded draws.

    Parameters
    ----------
    differences
        One per pair: the same fold and seed, with and without a change.

    Returns
    -------
    float or None
        In (0, 1]; None for fewer than `FEWEST_PAIRS` pairs.

    Notes
    -----
    Source: R. A. Fisher, The Design of Experiments (1935), Sec. 21. Folds share training images, so the
    pairs are not wholly independent, and p is a little too small. It is not corrected for the number of
    rows of a table.

    Examples
    --------
    >>> sign_flip_p([1, 2, 3, 4, 5, 6]), sign_flip_p([1, 2]) is None
    (0.03125, True)
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < FEWEST_PAIRS:
        return None
    observed = abs(values.sum())
    if len(values) <= _EXACT_UP_TO:
        codes = np.arange(2 ** len(values))[:, None]  # one bit for each sign
        signs = 1.0 - 2.0 * (codes >> np.arange(len(values)) & 1)  # (2^n, n)
        counted, added = signs @ values, 0
    else:
        generator = np.random.default_rng(0)
        signs = generator.choice([-1.0, 1.0], size=(_DRAWS, len(values)))
        counted, added = signs @ values, 1  # the observed signs are one of the choices
    # sums of the same numbers in other orders differ by rounding
    extreme = np.abs(counted) >= observed - 1e-9 * max(1.0, observed)
    return float((extreme.sum() + added) / (len(counted) + added))
