"""Scores close to 0 and to 1 are told apart, in digits and along an axis."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segdec.score_axis import logit_edges, logit_ticks, score_text, to_logit

scores = st.floats(0, 1)


@given(scores)
def test_what_is_written_is_close_and_never_a_false_certainty(score: float) -> None:
    text = score_text(score)
    assert (float(text) in (0, 1)) == (score in (0, 1))
    assert len(text) <= 20
    assert abs(float(text) - score) <= 5.0001e-5


def test_two_sure_scores_are_written_apart() -> None:
    good, threshold, defective = 1 - 4.8e-5, 1 - 4.05e-5, 1 - 2.3e-10
    texts = [score_text(score) for score in (good, threshold, defective)]
    assert texts == ["0.999952", "0.99996", "0.99999999977"]


@given(st.lists(scores, min_size=1, max_size=20))
def test_the_bins_hold_every_score(values: list[float]) -> None:
    edges = logit_edges(values)
    assert (np.diff(to_logit(edges)) > 0).all()
    counts, _ = np.histogram(to_logit(values), to_logit(edges))
    assert counts.sum() == len(values)


@given(st.floats(1e-15, 0.4), st.floats(0.6, 1 - 1e-15))
def test_ticks_are_few_rising_and_inside(low: float, high: float) -> None:
    ticks = logit_ticks(low, high)
    values = [value for value, _ in ticks]
    assert values == sorted(set(values))
    assert all(low <= value <= high for value in values)
    assert 1 <= len(ticks) <= 9
    assert len({text for _, text in ticks}) == len(ticks)
