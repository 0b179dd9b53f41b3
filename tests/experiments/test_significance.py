"""The paired sign-flip test, against brute force and against what it must not claim."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.experiments.significance import FEWEST_PAIRS, sign_flip_p

NUMBERS = st.floats(-5, 5).map(lambda value: round(value, 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(NUMBERS, min_size=6, max_size=9))
def test_it_counts_every_choice_of_signs(values):
    observed = abs(sum(values))
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = sum(each >= observed - 1e-9 * max(1, observed) for each in sums) / len(sums)
    assert sign_flip_p(values) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(NUMBERS, min_size=6, max_size=12))
def test_the_direction_does_not_matter(values):
    assert sign_flip_p(values) == pytest.approx(sign_flip_p([-value for value in values]))


def test_too_few_pairs_have_no_p():
    assert all(sign_flip_p([1.0] * count) is None for count in range(FEWEST_PAIRS))
    assert sign_flip_p([1.0] * FEWEST_PAIRS) == 2 / 2**FEWEST_PAIRS < 0.05


def test_no_difference_is_no_evidence():
    assert sign_flip_p([0.0] * 20) == sign_flip_p([0.0] * 8) == 1


def test_many_pairs_are_drawn_and_agree_with_the_normal_approximation():
    values = np.random.default_rng(3).normal(0.3, 1, 40)
    z = abs(values.sum()) / np.sqrt((values**2).sum())
    assert sign_flip_p(values) == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)
    assert 0 < sign_flip_p([1.0] * 40) < 1e-4
