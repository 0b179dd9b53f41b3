"""Batches: targets from masks, augmentation of both alike, a bounded cache, any number of workers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from segdec.config import AugmentConfig, Config, load_config
from segdec.data.loader import Batch, TrainingSet, augment, load_pixels, make_targets, training_loader
from segdec.errors import ImageError
from segdec.imaging import DEFECT, GOOD
from segdec.sampling import Draw, EpochSampler
from segdec.types import RunLengths, Sample

SIZE = (64, 72)


def config(*sets: str) -> Config:
    return load_config(None, ("data.image_size=[64, 72]", "data.channels=1", "data.workers=0", *sets))


def marks(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, np.uint8(DEFECT), np.uint8(GOOD))


def write(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> tuple[Sample, ...]:
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    made = []
    for number in range(8):
        image = write(folder / f"{number}.png", generator.integers(0, 256, SIZE, dtype=np.uint8))
        mask = None
        if number % 2:
            pixels = np.zeros(SIZE, np.uint8)
            pixels[10 + number : 25 + number, 30:50] = 255
            mask = write(folder / f"{number}_mask.png", pixels)
        made.append(Sample(image.name, image, bool(number % 2), mask))
    return tuple(made)


def batches(samples, config: Config, epochs: int = 2) -> list[Batch]:
    sampler = EpochSampler([sample.label for sample in samples], 2, config.train.seed)
    loader = training_loader(samples, config, sampler)
    found = []
    for epoch in range(epochs):
        sampler.start_epoch(epoch)
        found += list(loader)
    return found


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for mine, theirs in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def test_a_batch_has_the_networks_shapes(samples):
    batch = batches(samples, config())[0]
    assert batch.image.shape == (2, 1, 64, 72)
    assert batch.image.dtype == torch.float32
    assert 0 <= float(batch.image.min()) <= float(batch.image.max()) <= 1
    assert batch.seg_target.shape == batch.weight_map.shape == (2, 1, 8, 9)
    assert batch.dec_target.shape == (2, 1)
    for place, label in zip(batch.place.tolist(), batch.dec_target[:, 0].tolist(), strict=True):
        assert samples[place].label == bool(label)


def test_grey_levels_are_not_changed(samples):
    item = TrainingSet(samples, config(), 0)[Draw(3, 0)]
    stored = cv2.imread(str(samples[3].image), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(item.image[0].numpy() * 255, stored.astype(np.float32))


def test_images_and_masks_are_resized_and_masks_dilated(samples):
    image, marks = load_pixels(samples[1], config("data.image_size=[128, 144]", "data.dilation=7"))
    assert image.shape == (128, 144, 1)
    # rows 11..25 and columns 30..49 at twice the size: 22..51 and 60..99, then 3 more on each side
    expected = np.zeros((128, 144), bool)
    expected[19:55, 57:103] = True
    assert ((marks == DEFECT) == expected).all()
    assert ((marks == GOOD) == ~expected).all()


def test_run_lengths_are_masks(samples):
    sample = Sample("a", samples[0].image, True, RunLengths(("1 64",), "train.csv"))  # the first column
    _, marks = load_pixels(sample, config())
    assert (marks[:, 0] == DEFECT).all()
    assert (marks[:, 1:] == GOOD).all()


@given(seed=st.integers(0, 10_000), square=st.booleans())
@settings(max_examples=30, deadline=None)
def test_flips_and_turns_commute_with_the_pixels_of_image_and_mask(seed, square):
    shape = (64, 64) if square else (64, 72)
    generator = np.random.default_rng(seed)
    mask = generator.random(shape) > 0.7
    image = mask[..., None].astype(np.float32)
    moved, moved_mask = augment(image, mask, AugmentConfig(flip=True, turn=True), np.random.default_rng(seed))
    assert moved.shape == image.shape
    assert (moved[..., 0] == moved_mask).all()
    assert moved_mask.sum() == mask.sum()


@given(seed=st.integers(0, 10_000), axes=st.sampled_from([(0,), (1,), (0, 1)]))
@settings(max_examples=20, deadline=None)
def test_targets_of_a_flipped_mask_are_those_of_the_flipped_place(seed, axes):
    """Cells are not symmetric in the image, so the mask is flipped first, and its targets are made then."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((64, 64), bool)
    y, x = generator.integers(8, 40, 2)
    mask[y : y + 12, x : x + 12] = True
    sample = Sample("a", Path("a"), True, Path("m"))
    seg, weights, _ = make_targets(marks(np.flip(mask, axes)), sample, config())
    shifted = np.zeros((64, 64), bool)
    top = 64 - 12 - y if 0 in axes else y
    left = 64 - 12 - x if 1 in axes else x
    shifted[top : top + 12, left : left + 12] = True
    expected_seg, expected_weights, _ = make_targets(marks(shifted), sample, config())
    np.testing.assert_array_equal(seg, expected_seg)
    np.testing.assert_array_equal(weights, expected_weights)


def test_augmented_items_have_the_targets_of_their_augmented_mask(samples):
    settings = config("augment.flip=true", "augment.turn=true")
    data = TrainingSet(samples, settings, 0)
    plain = TrainingSet(samples, config(), 0)[Draw(1, 0)]
    seen = set()
    for number in range(40):
        item = data[Draw(1, number)]
        ways = [axes for axes in ((), (0,), (1,), (0, 1)) if _is_flip(item.image, plain.image, axes)]
        assert len(ways) == 1
        _, mask = load_pixels(samples[1], settings)
        seg, weights, _ = make_targets(np.ascontiguousarray(np.flip(mask, ways[0])), samples[1], settings)
        np.testing.assert_array_equal(item.seg_target[0].numpy(), seg)
        np.testing.assert_array_equal(item.weight_map[0].numpy(), weights)
        seen.add(ways[0])
    assert len(seen) == 4


def _is_flip(image: torch.Tensor, plain: torch.Tensor, axes: tuple[int, ...]) -> bool:
    return torch.equal(image[0], plain[0].flip(axes))


def test_brightness_and_contrast_change_the_image_only():
    image = np.linspace(0.3, 0.7, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    mask = image[..., 0] > 0.5
    for number in range(20):
        generator = np.random.default_rng(number)
        brighter, same = augment(image, mask, AugmentConfig(brightness=0.2), generator)
        assert (same == mask).all()
        assert float(np.ptp(brighter - image)) < 1e-6
        assert abs(float((brighter - image).mean())) <= 0.2
        stretched, _ = augment(image, mask, AugmentConfig(contrast=0.3), generator)
        assert float(stretched.mean()) == pytest.approx(0.5, abs=1e-3)
        assert 0.7 <= float(np.ptp(stretched) / np.ptp(image)) <= 1.3
        both, _ = augment(image, mask, AugmentConfig(contrast=0.9, brightness=0.9), generator)
        assert 0 <= both.min() <= both.max() <= 1
        assert both.dtype == np.float32


def test_the_draws_number_decides_the_augmentation(samples):
    settings = config("augment.flip=true", "augment.brightness=0.3")
    one, other = (TrainingSet(samples, settings, cache) for cache in (0, 1 << 20))
    for number in range(10):
        assert torch.equal(one[Draw(2, number)].image, other[Draw(2, number)].image)
    assert len({one[Draw(2, number)].image.numpy().tobytes() for number in range(10)}) == 10


@pytest.mark.parametrize(
    ("sets", "entry"),
    [
        ((), 64 * 72 + 2 * 8 * 9 * 4),  # a uint8 image and its targets in float32
        (("augment.flip=true",), 2 * 64 * 72),  # a uint8 image and its marks
    ],
    ids=["targets", "marks"],
)
def test_the_cache_is_bounded_in_bytes(samples, monkeypatch, sets, entry):
    import segdec.data.loader as loader

    read = []
    real = loader.load_pixels
    monkeypatch.setattr(
        loader, "load_pixels", lambda sample, config: read.append(sample.name) or real(sample, config)
    )
    data = TrainingSet(samples, config(*sets), 3 * entry + 1)
    for number in range(3):
        for place in range(5):
            data[Draw(place, number)]
    # three are kept, two are read each time
    assert len(read) == 5 + 2 * 2
    assert sorted(set(read[5:])) == ["3.png", "4.png"]
    assert sum(array.nbytes for pair in data._cache.values() for array in pair) == 3 * entry


@pytest.mark.parametrize(
    ("sets", "made"),
    [((), 8), (("augment.contrast=0.2",), 8), (("augment.turn=true",), 3 * 8)],
    ids=["still", "contrast", "turn"],
)
def test_targets_are_made_once_where_no_image_is_flipped_or_turned(samples, monkeypatch, sets, made):
    import segdec.data.loader as loader

    places = []
    real = loader.make_targets
    monkeypatch.setattr(loader, "make_targets", lambda *given: places.append(given[1].name) or real(*given))
    data = TrainingSet(samples, config(*sets), 1 << 20)
    for number in range(3):
        for place in range(8):
            data[Draw(place, number)]
    assert len(places) == made


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with one core
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize(
    "sets",
    [(), ("augment.contrast=0.2", "loss.decision_target=soft"), ("augment.flip=true", "augment.turn=true")],
    ids=["still", "contrast", "flip"],
)
def test_the_cache_changes_no_bit_of_a_batch(samples, sets, workers):
    some = (*samples[:5], samples[5].without_mask(), *samples[6:])
    anew = batches(some, config(*sets, "data.cache_mib=0"), epochs=3)
    assert equal(anew, batches(some, config(*sets, f"data.workers={workers}"), epochs=3))


def test_what_is_done_to_a_batch_does_not_reach_the_cache(samples):
    data = TrainingSet(samples, config(), 1 << 20)
    loader = DataLoader(data, batch_sampler=[[Draw(1, 0)]])
    (first,) = loader
    kept = [value.clone() for value in first]
    for value in first:
        value.zero_()
    (again,) = loader
    assert all(torch.equal(a, b) for a, b in zip(again, kept, strict=True))


def test_augmentation_does_not_reach_the_cache(samples):
    data = TrainingSet(samples, config("augment.flip=true", "augment.brightness=0.5"), 1 << 20)
    for number in range(5):
        data[Draw(1, number)]
    image, mask = data._cache[1]
    fresh_image, fresh_mask = load_pixels(samples[1], config())
    assert (image == fresh_image).all()
    assert (mask == fresh_mask).all()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with one core
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_the_same_batches(samples, workers):
    # OpenCV's threads are at work before the workers are forked, as they are after reading a data set
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (0, 0), 5)
    sets = ("augment.flip=true", "augment.contrast=0.2", "data.dilation=3")
    assert equal(batches(samples, config(*sets)), batches(samples, config(*sets, f"data.workers={workers}")))


def test_a_file_that_became_unreadable_is_named(samples, tmp_path):
    gone = Sample("gone.png", tmp_path / "gone.png", False)
    with pytest.raises(ImageError, match=r"gone\.png"):
        load_pixels(gone, config())


def test_the_input_size_must_be_chosen(samples):
    with pytest.raises(ValueError, match="must be set"):
        load_pixels(samples[0], load_config())
