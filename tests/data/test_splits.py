"""Dividing a data set: no group in two parts, both classes in each, the same for the same seed."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.config import DataConfig
from segdec.data import load_split, make_split, save_split
from segdec.errors import ConfigError, DataError
from segdec.types import PARTS, Dataset, Part, Sample, Split


def sample(name: str, label: bool, group: str = "", part: Part | None = None) -> Sample:
    mask = Path(f"{name}_mask.png") if label else None
    return Sample(name, Path(name), label, mask, group or name, part)


def dataset(*samples: Sample) -> Dataset:
    return Dataset(Path("data"), "table", tuple(sorted(samples, key=lambda each: each.name)))


def items(count: int, size: int = 3) -> Dataset:
    """As in KolektorSDD: every item has one defective image and some good ones."""
    return dataset(
        *(sample(f"kos{i:02}/{j}", j == 0, f"kos{i:02}") for i in range(count) for j in range(size))
    )


def groups(split: Split, part: Part) -> set[str]:
    return {each.group for each in split.part(part)}


def names(split: Split, part: Part) -> list[str]:
    return [each.name for each in split.part(part)]


# --- seeded -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["defective", "good", "mixed"]), min_size=0, max_size=12),
    st.integers(0, 5),
    st.sampled_from([0.1, 0.2, 0.5]),
)
def test_a_seeded_split_keeps_its_promises(kinds: list[str], seed: int, share: float) -> None:
    kinds += ["defective", "good"] * 3
    samples = []
    for number, kind in enumerate(kinds):
        samples += [sample(f"{number}/0", kind != "good", str(number))]
        samples += [sample(f"{number}/1", kind == "defective", str(number))]
    data = dataset(*samples)
    config = DataConfig(val_fraction=share, test_fraction=share)
    split = make_split(data, config, seed)
    assert sorted(each.name for part in PARTS for each in split.part(part)) == [each.name for each in data]
    for part in PARTS:
        assert {each.label for each in split.part(part)} == {True, False}
        for other in set(PARTS) - {part}:
            assert not groups(split, part) & groups(split, other)
    assert make_split(data, config, seed) == split


def test_shares_are_of_groups() -> None:
    split = make_split(items(50), DataConfig(), 0)
    assert [len(groups(split, part)) for part in PARTS] == [32, 8, 10]
    assert split.origin == "seeded with 0, val a share of 0.2 of train"
    assert groups(make_split(items(50), DataConfig(), 1), "test") != groups(split, "test")


def test_no_share_leaves_a_part_empty() -> None:
    split = make_split(items(9), DataConfig(val_fraction=0, test_fraction=0), 0)
    assert [len(split.part(part)) for part in PARTS] == [27, 0, 0]


def test_too_few_defects_are_refused() -> None:
    data = dataset(sample("a", True), sample("b", True), *(sample(f"g{i}", False) for i in range(9)))
    with pytest.raises(
        DataError,
        match=r"train, val and test cannot all .*2 groups with a defect and 9 without.*val_fraction to 0",
    ):
        make_split(data, DataConfig(), 0)
    assert len(make_split(data, DataConfig(val_fraction=0), 0).test) == 3


def test_folds_cover_every_group_once() -> None:
    data = dataset(*items(7), *(sample(f"good{i}", False) for i in range(11)))
    config = DataConfig(folds=3)
    splits = [make_split(data, config.model_copy(update={"fold": fold}), 4) for fold in range(3)]
    tested = [name for split in splits for name in names(split, "test")]
    assert sorted(tested) == [each.name for each in data]
    for split in splits:
        for part in PARTS:
            assert {each.label for each in split.part(part)} == {True, False}
        assert len(split.test) in range(8, 14)
    assert splits[1].origin == "seeded with 4, fold 1 of 3, val a share of 0.2 of train"


def test_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.fold is None, but data\.folds is 3; choose 0 to 2"):
        make_split(items(9), DataConfig(folds=3), 0)
    with pytest.raises(ConfigError, match=r"data\.fold is 3"):
        make_split(items(9), DataConfig(folds=3, fold=3), 0)
    with pytest.raises(DataError, match=r"5 folds cannot all .* 4 groups with a defect and 0 without"):
        make_split(items(4), DataConfig(folds=5, fold=0), 0)


# --- published parts --------------------------------------------------------------------------------


def published(*parts: Part | None) -> Dataset:
    return dataset(
        *(sample(f"{i}{label}", label, part=part) for i, part in enumerate(parts) for label in (0, 1))
    )


def test_published_parts_are_kept_and_the_rest_left_out() -> None:
    split = make_split(published("train", "train", "val", "test", None), DataConfig(), 0)
    assert [names(split, part) for part in PARTS] == [["00", "01", "10", "11"], ["20", "21"], ["30", "31"]]
    assert split.origin == "published parts"


def test_missing_parts_are_taken_from_train() -> None:
    split = make_split(published(*["train"] * 10, "test"), DataConfig(), 3)
    assert [len(split.part(part)) for part in PARTS] == [16, 4, 2]
    split = make_split(published(*["train"] * 10), DataConfig(), 3)
    assert [len(split.part(part)) for part in PARTS] == [12, 4, 4]
    assert split.origin == "published parts, test seeded with 3, val a share of 0.2 of train"


def test_published_parts_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.folds is 3, but data has published parts"):
        make_split(published("train", "test"), DataConfig(folds=3, fold=0), 0)
    with pytest.raises(DataError, match=r"train part of data .* got 0 with and 0 without"):
        make_split(published("test"), DataConfig(val_fraction=0), 0)
    torn = dataset(
        sample("a", True, "one", "train"), sample("b", False, part="train"), sample("c", True, "one", "test")
    )
    with pytest.raises(DataError, match=r"the group one stands in the train and the test part"):
        make_split(torn, DataConfig(val_fraction=0), 0)


# --- splits files -----------------------------------------------------------------------------------

FOLDS = {"2_1": [{"train": [["kos00", True], ["kos01", False]], "test": ["kos02"]}], "9_9": []}


def write(path: Path, content: object) -> DataConfig:
    path.write_bytes(json.dumps(content).encode() if path.suffix == ".json" else pickle.dumps(content))
    return DataConfig(splits=str(path), setting="2_1", fold=0, val_fraction=0)


def test_a_splits_file_is_followed(tmp_path: Path) -> None:
    split = make_split(items(5), write(tmp_path / "s.json", FOLDS), 0)
    assert groups(split, "train") == {"kos00", "kos01"}
    assert groups(split, "test") == {"kos02"}
    assert split.val == ()
    assert split.origin == "published, s.json, 2_1, fold 0"
    assert [each.name for each in split.train if each.weak] == ["kos01/0"]  # good ones stay as they are


def test_validation_is_taken_from_the_listed_items(tmp_path: Path) -> None:
    config = write(tmp_path / "s.json", FOLDS).model_copy(update={"val_fraction": 0.2})
    split = make_split(items(5), config, 0)
    assert len(groups(split, "val")) == 1
    assert groups(split, "val") | groups(split, "train") == {"kos00", "kos01"}
    assert groups(split, "test") == {"kos02"}


def test_items_may_be_images(tmp_path: Path) -> None:
    data = dataset(*(sample(f"train/{i}.png", i % 2 == 1) for i in range(10000, 10004)))
    fold = {"train": [[10000, True], ["10001", 0]], "test": ["train/10002.png"]}
    split = make_split(data, write(tmp_path / "s.pyb", fold), 0)
    assert names(split, "train") == ["train/10000.png", "train/10001.png"]
    assert split.train[1].weak
    assert names(split, "test") == ["train/10002.png"]


def test_items_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s\.json, 2_1, fold 0\) names kos02, which data .table, 6 images."):
        make_split(items(2), write(tmp_path / "s.json", FOLDS), 0)


# --- saved splits -----------------------------------------------------------------------------------


def test_a_saved_split_comes_back(tmp_path: Path) -> None:
    data = items(5)
    split = make_split(data, write(tmp_path / "s.json", FOLDS), 0)
    save_split(split, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json", data) == split
    content = json.loads((tmp_path / "split.json").read_text())
    assert content["weak"] == ["kos01/0"]
    assert content["test"] == ["kos02/0", "kos02/1", "kos02/2"]


def test_a_saved_split_comes_back_with_groups_that_count_as_one(tmp_path: Path) -> None:
    data, together = items(5), (("kos01", "kos03"),)
    split = make_split(data, DataConfig(test_fraction=0.4, val_fraction=0, together=together), 0)
    save_split(split, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json", data, together) == split
    assert "kos03" not in {sample.group for part in PARTS for sample in split.part(part)}


def test_a_saved_split_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    save_split(make_split(items(9), DataConfig(), 0), path)
    with pytest.raises(DataError, match=r"split\.json\) names kos0.*does not hold"):
        load_split(path, items(2))
    for text in ("{", "[]", "{}", '{"origin": "x", "train": 1, "val": [], "test": [], "weak": []}'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"split\.json is no split of this program"):
            load_split(path, items(2))
    with pytest.raises(DataError, match=r"cannot read the split"):
        load_split(tmp_path / "gone.json", items(2))
