"""Section 3 of docs/method.md: which images an epoch shows."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from segdec.sampling import EpochSampler, usage_log_probabilities


def shown(sampler: EpochSampler) -> list[int]:
    return [draw.image for batch in sampler for draw in batch]


def labels(positives: int, negatives: int) -> list[bool]:
    return [True] * positives + [False] * negatives


def test_probabilities_by_hand():
    # u = 0, 1, 2, 4; max 4: q = 1, 0.75, 0.5, 0; median (0.75 + 0.5) / 2 = 0.625;
    # q - median + 1 = 1.375, 1.125, 0.875, 0.375; K = 4: exponent 4 ln 4 = 5.545177
    # 1.375^5.545177 = 5.846730, 1.125^... = 1.921542, 0.875^... = 0.476897, 0.375^... = 0.004344
    # sum 8.249513: 0.708737, 0.232928, 0.057809, 0.000527
    weights = np.exp(usage_log_probabilities(np.array([0, 1, 2, 4])))
    assert weights.tolist() == pytest.approx([5.846730, 1.921542, 0.476897, 0.004344], rel=2e-4)
    assert (weights / weights.sum()).tolist() == pytest.approx(
        [0.708737, 0.232928, 0.057809, 0.000527], rel=1e-3
    )
    assert 4 * math.log(4) == pytest.approx(5.545177)


def test_all_used_alike_are_drawn_alike():
    # u = 3, 3, 3: q = 0, 0, 0; median 0; q = 1, 1, 1
    for uses in ([3, 3, 3], [0, 0, 0]):
        assert usage_log_probabilities(np.array(uses)).tolist() == [0, 0, 0]


def test_what_most_others_were_never_can_be_impossible():
    # u = 0, 0, 0, 1: q = 1, 1, 1, 0; median 1; q = 1, 1, 1, 0: the used one has probability 0
    assert usage_log_probabilities(np.array([0, 0, 0, 1])).tolist() == [0, 0, 0, -math.inf]


def test_an_epoch_is_every_positive_once_and_as_many_negatives():
    sampler = EpochSampler(labels(7, 20), batch_size=2, seed=0)
    for epoch in range(5):
        sampler.start_epoch(epoch)
        images = shown(sampler)
        assert len(images) == 14
        assert sorted(image for image in images if image < 7) == list(range(7))
        negatives = [image for image in images if image >= 7]
        assert len(set(negatives)) == 7  # without replacement


def test_a_last_incomplete_batch_is_dropped():
    # 5 positives and 5 negatives in batches of 4: two batches, two images are left out
    sampler = EpochSampler(labels(5, 9), batch_size=4, seed=0)
    sampler.start_epoch(0)
    assert [len(batch) for batch in sampler] == [4, 4]
    assert max(Counter(shown(sampler)).values()) == 1


def test_the_order_is_shuffled_over_both_kinds():
    sampler = EpochSampler(labels(30, 30), batch_size=6, seed=0)
    sampler.start_epoch(0)
    batches = [[draw.image < 30 for draw in batch] for batch in sampler]
    assert sum(0 < sum(batch) < 6 for batch in batches) >= 8  # most batches mix positives and negatives
    orders = []
    for epoch in range(3):
        sampler.start_epoch(epoch)
        orders.append(shown(sampler))
    assert len({tuple(order) for order in orders}) == 3


def test_the_first_epochs_negatives_are_a_random_permutation():
    # 4 of 8 negatives, drawn from 2000 seeds: each is in with probability 1/2
    counts = np.zeros(8)
    for seed in range(2000):
        sampler = EpochSampler(labels(4, 8), batch_size=1, seed=seed)
        sampler.start_epoch(0)
        counts += sampler.uses
    # deviation of each count: sqrt(2000 / 4) = 22.4
    assert np.abs(counts - 1000).max() < 4 * 22.4


def test_frequency_of_use_evens_out():
    """16 negatives, 4 an epoch: after 8 epochs each was used about twice; uniformly that varies more."""
    spread = {}
    for frequency_of_use in (True, False):
        total = []
        for seed in range(30):
            sampler = EpochSampler(labels(4, 16), 1, seed, frequency_of_use)
            for epoch in range(8):
                sampler.start_epoch(epoch)
            assert sampler.uses.sum() == 32
            total.append(sampler.uses.std())
        spread[frequency_of_use] = np.mean(total)
    assert spread[True] < 0.7 * spread[False]


def test_without_frequency_of_use_the_counts_do_not_matter():
    one, other = (EpochSampler(labels(4, 16), 1, 0, False) for _ in range(2))
    other.uses[:] = np.arange(16) * 100
    one.start_epoch(3)
    other.start_epoch(3)
    assert shown(one) == shown(other)
