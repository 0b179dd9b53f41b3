"""Decoding every file once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segdec.data import check_files
from segdec.errors import ImageError
from segdec.imaging import write_image
from segdec.types import RunLengths, Sample


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    mask = np.zeros((8, 10), np.uint8)
    mask[1, 1] = 255
    write_image(tmp_path / "mask.png", mask)
    made = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        write_image(path, np.full((8, 10), number, np.uint8))
        made.append(Sample(path.name, path, number % 2 == 1, tmp_path / "mask.png" if number % 2 else None))
    return tuple(made)


def test_usable_files(samples: tuple[Sample, ...]) -> None:
    steps: list[tuple[int, int]] = []
    check = check_files(samples, progress=lambda done, total: steps.append((done, total)))
    assert check.samples == samples
    assert check.sizes == dict.fromkeys(["0.png", "1.png", "2.png", "3.png"], (8, 10))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_unreadable_files_are_listed_or_fatal(samples: tuple[Sample, ...]) -> None:
    samples[2].image.write_bytes(b"")
    samples[0].image.unlink()
    check = check_files(samples)
    assert check.samples == (samples[1], samples[3])
    assert list(check.unreadable) == ["0.png", "2.png"]
    assert "is empty" in check.unreadable["2.png"]
    with pytest.raises(ImageError, match=r"0\.png"):
        check_files(samples, strict=True)


def test_what_is_left_out_later_is_left_out_of_everything(samples: tuple[Sample, ...]) -> None:
    left = check_files(samples).without({"1.png": "too small"})
    rest = check_files([samples[0], *samples[2:]])
    assert left == replace(rest, unreadable={"1.png": "too small"})
    assert left.data_hash == rest.data_hash


def test_a_mask_must_agree_with_the_label(samples: tuple[Sample, ...]) -> None:
    wrong = replace(samples[1], label=False)
    empty = replace(samples[3], mask=RunLengths(("",), "t.csv"))
    reasons = check_files([wrong, empty]).unreadable
    assert "is labelled good, but its mask marks a defect" in reasons["1.png"]
    assert "is labelled defect, but its mask marks none" in reasons["3.png"]


def test_the_hash_covers_names_labels_groups_images_and_masks(samples: tuple[Sample, ...]) -> None:
    def changed(sample: Sample) -> str:
        return check_files([sample, *samples[1:]]).data_hash

    hashes = [
        check_files(samples).data_hash,
        changed(replace(samples[0], name="z.png")),
        changed(replace(samples[0], group="g")),
        changed(replace(samples[0], image=samples[1].image)),
        check_files([samples[0], samples[1].without_mask(), *samples[2:]]).data_hash,
        check_files(
            [replace(samples[1], mask=RunLengths(("1 1",), "t")), samples[0], *samples[2:]]
        ).data_hash,
        check_files(
            [replace(samples[1], mask=RunLengths(("2 1",), "t")), samples[0], *samples[2:]]
        ).data_hash,
        check_files([samples[0], samples[1], samples[2], replace(samples[3], mask=None)]).data_hash,
    ]
    assert len(set(hashes)) == len(hashes)
    assert check_files(samples[::-1]).data_hash == hashes[0]  # the order does not count


def test_colour_files_without_colour_are_grey(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    grey = np.repeat(np.arange(80, dtype=np.uint8).reshape(8, 10, 1), 3, axis=2)
    write_image(samples[0].image, grey)
    assert check_files(samples).grey
    grey[0, 0, 0] += 9
    write_image(samples[0].image, grey)
    assert not check_files(samples).grey
