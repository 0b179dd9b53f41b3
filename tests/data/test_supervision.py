"""Teaching with less: fewer positives, fewer masks, a fixed test part, and twins on one side."""

import json
from pathlib import Path

import pytest

from segdec.config import DataConfig
from segdec.data import make_split
from segdec.errors import DataError
from segdec.types import Dataset, Sample, Split


def sample(name: str, label: bool, group: str = "") -> Sample:
    return Sample(name, Path(name), label, Path(f"{name}_mask.png") if label else None, group or name)


def images(defective: int = 20, good: int = 30) -> Dataset:
    samples = [sample(f"{k:03}", k < defective) for k in range(defective + good)]
    return Dataset(Path("data"), "table", tuple(samples))


def positives(split: Split) -> list[str]:
    return [each.name for each in split.train if each.label]


def with_masks(split: Split) -> list[str]:
    return [each.name for each in split.train if each.label and not each.weak]


@pytest.mark.parametrize("seed", range(3))
def test_the_fewer_positives_are_among_the_more(seed: int) -> None:
    split_of = {n: make_split(images(), DataConfig(positives=n), seed) for n in (2, 5, 9)}
    assert {n: len(positives(split)) for n, split in split_of.items()} == {2: 2, 5: 5, 9: 9}
    assert set(positives(split_of[2])) < set(positives(split_of[5])) < set(positives(split_of[9]))


def test_positives_change_the_training_part_only() -> None:
    whole, few = (make_split(images(), DataConfig(positives=n), 0) for n in (None, 3))
    assert (whole.val, whole.test) == (few.val, few.test)
    assert [s for s in whole.train if not s.label] == [s for s in few.train if not s.label]
    assert few.origin.endswith("3 positives")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_only_so_many_masks_are_kept(count: int) -> None:
    whole, split = (make_split(images(), DataConfig(masked_positives=n), 7) for n in (None, count))
    assert len(with_masks(split)) == count
    assert positives(split) == positives(whole)
    assert not any(each.weak for each in (*split.val, *split.test))


@pytest.mark.parametrize("setting", ["positives", "masked_positives"])
def test_more_than_there_are_is_an_error(setting: str) -> None:
    with pytest.raises(DataError, match=rf"data\.{setting} is 99, but the training part has"):
        make_split(images(), DataConfig.model_validate({setting: 99}), 0)


def test_the_test_part_can_have_a_fixed_number_of_each_class() -> None:
    split = make_split(images(), DataConfig(test_images=(4, 7)), 1)
    assert (sum(s.label for s in split.test), sum(not s.label for s in split.test)) == (4, 7)
    with pytest.raises(DataError, match="there are 20 groups with a defect and 30 without"):
        make_split(images(), DataConfig(test_images=(19, 7)), 1)


# --- groups that show the same thing ----------------------------------------------------------------

TWINS = (("a", "z"),)


def folds(path: Path, *parts: dict[str, list[str]]) -> Path:
    content = [{"train": [[item, True] for item in p["train"]], "test": p["test"]} for p in parts]
    path.write_text(json.dumps({"33_33": content}))
    return path


def groups_of_items() -> Dataset:
    return Dataset(
        Path("data"), "table", tuple(sample(f"{g}/{k}", k == 0, g) for g in "abcdz" for k in range(2))
    )


def test_twins_follow_the_first_and_each_is_judged_once(tmp_path: Path) -> None:
    path = folds(
        tmp_path / "splits.json",
        {"train": ["b", "c", "z"], "test": ["a", "d"]},
        {"train": ["a", "d", "c"], "test": ["b", "z"]},
        {"train": ["b", "d"], "test": ["c"]},
    )
    splits = [
        make_split(
            groups_of_items(),
            DataConfig(splits=str(path), fold=fold, val_fraction=0, together=TWINS),
            0,
        )
        for fold in range(3)
    ]
    tested = [{each.name[0] for each in split.test} for split in splits]
    taught = [{each.name[0] for each in split.train} for split in splits]
    assert tested == [{"a", "z", "d"}, {"b"}, {"c"}]
    assert taught == [{"b", "c"}, {"a", "z", "c", "d"}, {"b", "d"}]


@pytest.mark.parametrize("seed", range(5))
def test_seeded_splits_keep_twins_together_too(seed: int) -> None:
    split = make_split(groups_of_items(), DataConfig(val_fraction=0, test_fraction=0.4, together=TWINS), seed)
    sides = [{each.name[0] for each in part} for part in (split.train, split.test)]
    assert any({"a", "z"} <= side for side in sides)
