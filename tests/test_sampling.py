"""The sampler: seeded, resumable, divided between processes, indifferent to workers."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from segdec.errors import ConfigError, DataError
from segdec.sampling import Draw, EpochSampler, draw_without_replacement, usage_log_probabilities


def labels(positives: int, negatives: int) -> list[bool]:
    return ([True, False] * max(positives, negatives))[: 2 * min(positives, negatives)] + (
        [True] * (positives - negatives) + [False] * (negatives - positives)
    )


def epoch_of(sampler: EpochSampler, epoch: int, skip: int = 0) -> list[list[Draw]]:
    sampler.start_epoch(epoch, skip)
    return list(sampler)


sizes = st.tuples(st.integers(1, 12), st.integers(1, 25))


@given(size=sizes, seed=st.integers(0, 99), batch=st.integers(1, 2), uniform=st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_epoch_has_its_composition(size, seed, batch, uniform):
    positives, negatives = size
    truth = labels(positives, negatives)
    sampler = EpochSampler(truth, batch, seed, not uniform)
    for epoch in range(4):
        before = sampler.uses.copy()
        batches = epoch_of(sampler, epoch)
        assert len(batches) == sampler.steps == len(sampler) == sampler.images // batch
        assert all(len(each) == batch for each in batches)
        images = [draw.image for each in batches for draw in each]
        assert max(Counter(images).values()) == 1
        # the dropped rest is drawn and counted, too, as it was taken from the epoch
        assert (sampler.uses - before).sum() == min(positives, negatives)
        if batch == 1:
            assert sum(truth[image] for image in images) == positives


@given(size=sizes, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_seed_and_the_counts_decide_an_epoch(size, seed):
    one, other = (EpochSampler(labels(*size), 1, seed) for _ in range(2))
    for epoch in range(3):
        assert epoch_of(one, epoch) == epoch_of(other, epoch)
    fresh = EpochSampler(labels(*size), 1, seed)
    fresh.uses = one.uses.copy()  # as from a checkpoint
    assert epoch_of(fresh, 3) == epoch_of(one, 3)


@given(size=sizes, seed=st.integers(0, 99), batch=st.integers(1, 2), data=st.data())
@settings(max_examples=30, deadline=None)
def test_steps_already_taken_are_left_out(size, seed, batch, data):
    whole, resumed = (EpochSampler(labels(*size), batch, seed) for _ in range(2))
    batches = epoch_of(whole, 2)
    skip = data.draw(st.integers(0, whole.steps))
    assert epoch_of(resumed, 2, skip) == batches[skip:]
    assert (whole.uses == resumed.uses).all()


@given(
    size=st.tuples(st.integers(8, 15), st.integers(8, 30)),
    seed=st.integers(0, 99),
    processes=st.integers(1, 3),
    accumulate=st.integers(1, 2),
    extra=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_processes_and_parts_divide_each_batch(size, seed, processes, accumulate, extra):
    batch_size = processes * accumulate + extra
    whole = EpochSampler(labels(*size), batch_size, seed)
    shares = [
        EpochSampler(labels(*size), batch_size, seed, True, rank, processes, accumulate)
        for rank in range(processes)
    ]
    for epoch in range(3):
        batches = epoch_of(whole, epoch)
        parts = [epoch_of(share, epoch) for share in shares]
        assert all(
            len(part) == len(batches) * accumulate == len(share)
            for part, share in zip(parts, shares, strict=True)
        )
        for step, batch in enumerate(batches):
            taken = [
                draw
                for part in parts
                for piece in part[step * accumulate : (step + 1) * accumulate]
                for draw in piece
            ]
            assert sorted(taken) == sorted(batch)
        assert all(piece for part in parts for piece in part)  # nobody is left without work
        assert all((share.uses == whole.uses).all() for share in shares)  # the counts are global


@given(size=sizes, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_every_draw_of_a_training_has_its_own_number(size, seed):
    sampler = EpochSampler(labels(*size), 1, seed)
    numbers = [draw.number for epoch in range(4) for batch in epoch_of(sampler, epoch) for draw in batch]
    assert len(set(numbers)) == len(numbers)


def test_one_negative_is_always_drawn():
    sampler = EpochSampler(labels(3, 1), 1, 0)
    for epoch in range(3):
        assert sorted(draw.image for batch in epoch_of(sampler, epoch) for draw in batch) == [0, 1, 2, 3]
    assert sampler.uses.tolist() == [3]


def test_fewer_negatives_than_positives_are_all_shown():
    sampler = EpochSampler(labels(9, 4), 1, 0)
    epoch_of(sampler, 0)
    epoch_of(sampler, 1)
    assert sampler.uses.tolist() == [2, 2, 2, 2]
    assert sampler.steps == 13


class _Places(Dataset[tuple[int, int]]):
    def __getitem__(self, draw: Draw) -> tuple[int, int]:
        return draw.image, draw.number


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_that_fetch_ahead_change_nothing():
    seen = {}
    for workers in (0, 2):
        sampler = EpochSampler(labels(6, 20), 3, seed=5)
        loader = DataLoader(
            _Places(), batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0
        )
        epochs = []
        for epoch in range(3):
            sampler.start_epoch(epoch)
            epochs.append([torch.stack(batch).tolist() for batch in loader])
        seen[workers] = (epochs, sampler.uses.tolist())
    assert seen[0] == seen[2]


def test_draws_follow_numpys_choice_without_replacement():
    # 4 things, 2 drawn, in order: the probability of (i, j) is p_i * p_j / (1 - p_i)
    uses = np.array([0, 1, 2, 2])
    logs = usage_log_probabilities(uses)
    p = np.exp(logs) / np.exp(logs).sum()
    expected = {(i, j): p[i] * p[j] / (1 - p[i]) for i, j in permutations(range(4), 2)}
    assert sum(expected.values()) == pytest.approx(1)
    generator, count = np.random.default_rng(0), 20_000
    ours = Counter(tuple(draw_without_replacement(4, 2, generator, logs).tolist()) for _ in range(count))
    numpys = Counter(tuple(generator.choice(4, 2, replace=False, p=p).tolist()) for _ in range(count))
    for pair, probability in expected.items():
        deviation = (probability * (1 - probability) / count) ** 0.5
        assert abs(ours[pair] / count - probability) < 4 * deviation + 1e-9, pair
        assert abs(ours[pair] - numpys[pair]) / count < 6 * deviation + 1e-3, pair


def test_the_impossible_come_last_instead_of_failing():
    """numpy's choice fails where fewer have a probability than are wanted; an epoch must not."""
    logs = np.array([-np.inf, 0.0, -np.inf, 0.0])
    for seed in range(50):
        drawn = draw_without_replacement(4, 3, np.random.default_rng(seed), logs)
        assert set(drawn[:2].tolist()) == {1, 3}


def test_tiny_probabilities_stay_apart_from_none():
    # q^(4 ln K) underflows for many negatives: its logarithm does not
    uses = np.zeros(3000, np.int64)
    uses[:1400] = np.arange(1400)
    uses[1400:] = 1399
    logs = usage_log_probabilities(uses)
    assert np.isfinite(logs).all()
    assert (np.diff(logs[:1400]) < 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((labels(0, 3), 1, 0), DataError, "got 0 with and 3 without; add the missing kind"),
        ((labels(3, 0), 1, 0), DataError, "got 3 with and 0 without"),
        ((labels(2, 9), 5, 0), DataError, "an epoch of 4 images does not fill one batch of 5"),
        (
            (labels(5, 9), 3, 0, True, 0, 2, 2),
            ConfigError,
            "batch of 3 cannot be shared by 2 processes in 2 parts",
        ),
    ],
)
def test_what_cannot_be_sampled(arguments, error, message):
    with pytest.raises(error, match=message):
        EpochSampler(*arguments)
