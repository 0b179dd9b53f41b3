"""A teacher's answers: kept in one file, and taught in place of labels and masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.config import AugmentConfig, Config, load_config
from segdec.data.answers import Answers, load_answers, save_answers, unjudged
from segdec.data.loader import TrainingSet, augment, flip_cells
from segdec.errors import ModelError
from segdec.sampling import Draw
from segdec.types import Sample
from segdec.weighting import reduce_to_cells

SIZE = (64, 72)


def config(*sets: str) -> Config:
    return load_config(None, ("data.image_size=[64, 72]", "data.channels=1", *sets))


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    generator = np.random.default_rng(0)
    others = (unjudged(tmp_path / "ü.png", True), unjudged(tmp_path / "good.png"))
    maps = generator.random((5, 8, 9), dtype=np.float32)
    return Answers(maps, generator.random(5), others, ("ab", "cd"))


def test_answers_come_back_bit_for_bit(answers: Answers, tmp_path: Path) -> None:
    save_answers(answers, tmp_path)
    back = load_answers(tmp_path, labelled=3)
    assert back.maps.tobytes() == answers.maps.tobytes()
    assert back.scores.tobytes() == answers.scores.tobytes()
    assert (back.unlabelled, back.hashes) == (answers.unlabelled, answers.hashes)


def test_answers_to_other_images_are_refused(answers: Answers, tmp_path: Path) -> None:
    save_answers(answers, tmp_path)
    with pytest.raises(ModelError, match=r"answers for 5 images, but .* 4 of its data set and 2 others"):
        load_answers(tmp_path, labelled=4)
    (tmp_path / "answers.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match="holds no answers"):
        load_answers(tmp_path, labelled=3)


def test_a_student_is_taught_the_answers(tmp_path: Path) -> None:
    """Also of an image whose label and missing mask would teach otherwise."""
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros(SIZE, np.uint8))
    answers = Answers(np.random.default_rng(0).random((1, 8, 9), dtype=np.float32), np.array([0.25]))
    batch = TrainingSet([Sample("a.png", image, True)], config(), 0, answers)[Draw(0, 0)]
    np.testing.assert_array_equal(batch.seg_target[0], answers.maps[0])
    assert (batch.weight_map == 1).all()
    assert batch.dec_target.tolist() == [0.25]


def test_the_cache_changes_no_answer(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.arange(64 * 72, dtype=np.uint16).reshape(SIZE))
    answers = Answers(np.random.default_rng(0).random((1, 8, 9), dtype=np.float32), np.array([0.25]))
    moving = config("augment.flip=true", "augment.turn=true")
    anew, kept = (TrainingSet([Sample("a.png", image, True)], moving, size, answers) for size in (0, 1 << 20))
    for number in range(10):
        for one, other in zip(anew[Draw(0, number)], kept[Draw(0, number)], strict=True):
            np.testing.assert_array_equal(one, other)


@given(seed=st.integers(0, 10_000), square=st.booleans(), reduction=st.sampled_from(["mean17", "area"]))
@settings(max_examples=20, deadline=None)
def test_score_maps_flip_and_turn_like_masks(seed: int, square: bool, reduction: str) -> None:
    """As the moved mask says, up to what interpolation rounds off; a plain flip is 7 pixels off."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((96, 96) if square else (96, 120), np.uint8)
    top, left = generator.integers(24, 48, 2)
    mask[top : top + 24, left : left + 24] = 1
    cells = reduce_to_cells(mask.astype(np.float32), reduction)  # type: ignore[arg-type]
    image, both = np.zeros((*mask.shape, 1), np.float32), AugmentConfig(flip=True, turn=True)

    def flip(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return flip_cells(values, axes, reduction)  # type: ignore[arg-type]

    _, moved_mask = augment(image, mask, both, np.random.default_rng(seed))
    _, moved = augment(image, cells, both, np.random.default_rng(seed), flip)
    expected = reduce_to_cells(moved_mask.astype(np.float32), reduction)  # type: ignore[arg-type]
    assert moved.shape == expected.shape
    assert np.abs(moved - expected).max() < (0.12 if reduction == "mean17" else 1e-6)
