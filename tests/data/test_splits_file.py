"""Splits files: any of the shapes people publish, and nothing that could run code."""

import collections
import datetime
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from segdec.data.splits_file import list_folds, read_splits_file
from segdec.errors import ConfigError, DataError

TRAIN = [("kos01", True), ("kos02", False)]
TEST = ["kos03"]


@pytest.mark.parametrize(
    "content",
    [
        {"5_5": [{"train": TRAIN, "test": TEST}]},
        {"5_5": [(TRAIN, TEST)]},
        {"5_5": ((TRAIN, [("kos03", True)]),)},
        {"5_5": (TRAIN, TEST)},
        [(TRAIN, TEST)],
        [{"train": TRAIN, "test": TEST}],
        (TRAIN, TEST),
        {"train": TRAIN, "test": TEST},
        {"train": [["kos01", 1], ["kos02", 0]], "test": {"kos03"}},
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_shape_says_the_same(tmp_path: Path, content: object, protocol: int) -> None:
    if protocol == 2 and "{'kos03'}" in repr(content):
        pytest.skip("older pickles name the class of sets, and no name is admitted")
    path = tmp_path / "split.pyb"
    path.write_bytes(pickle.dumps(content, protocol))
    listed = read_splits_file(path, "5_5", 0)
    assert listed.train == {"kos01": True, "kos02": False}
    assert listed.test == ("kos03",)


def test_two_values_dumped_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "split.pyb"
    path.write_bytes(pickle.dumps(TRAIN) + pickle.dumps(TEST))
    assert read_splits_file(path, "", None).test == ("kos03",)


def test_two_items_and_two_folds_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps([[["a", "b"], ["c", "d"]], [["c", "d"], ["a", "b"]]]))
    assert read_splits_file(path, "", 1).train == {"c": True, "d": True}
    path.write_text(json.dumps([["a", "b"], ["c", "d"]]))
    assert read_splits_file(path, "", 0).train == {"a": True, "b": True}


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path, ("harm",))


@pytest.mark.parametrize(
    "content",
    [
        Harmful(),
        collections.OrderedDict(),
        datetime.date(2020, 1, 1),
        np.arange(3),
        [np.float64(1)],
        Path,
        print,
    ],
)
def test_a_pickle_that_names_anything_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "split.pyb"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"5_5": content}, protocol))
        with pytest.raises(DataError, match=r"split\.pyb is not admitted: it asks for .*use JSON instead"):
            read_splits_file(path, "5_5", 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        pickle.dumps(TRAIN)[:-3],
        b"cos\nsystem\n(S'echo harm'\ntR.",
        b"(ios\nsystem\n(S'echo harm'\n.",
        b"\x80\x02\x82\x01.",  # an entry of the extension registry
        b"P1\n.",  # an object outside the file
        b"}(K\x01b.",  # state for a dict
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # eight exabytes
        b"h\x05.",
        b"0.",
    ],
)
def test_damaged_and_harmful_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "split.pyb"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"split\.pyb"):
        read_splits_file(path, "5_5", 0)


@pytest.mark.parametrize(
    "content",
    [
        1,
        [],
        {"5_5": []},
        {"5_5": [{"train": TRAIN}]},
        {"5_5": [{"train": [["a", "b", "c"]], "test": []}]},
        {"5_5": [{"train": [["a", 0.5]], "test": []}]},
        {"5_5": [{"train": [None], "test": []}]},
        {"5_5": [{"train": "kos01", "test": []}]},
    ],
)
def test_other_shapes_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"split\.json holds no splits: expected"):
        read_splits_file(path, "5_5", 0)


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"5_5": [(TRAIN, TEST)] * 3}))
    with pytest.raises(ConfigError, match=r'data\.setting "6_6" is not in .*; it holds 5_5'):
        read_splits_file(path, "6_6", 0)
    for fold in (None, 3):
        with pytest.raises(ConfigError, match=rf"data\.fold is {fold}, but .* has the folds 0 to 2"):
            read_splits_file(path, "5_5", fold)
    path.write_text(json.dumps({"5_5": [(TRAIN, ["kos02"])]}))
    with pytest.raises(DataError, match="lists kos02 for training and for testing"):
        read_splits_file(path, "5_5", 0)
    path.write_text("{")
    with pytest.raises(DataError, match="no valid JSON"):
        read_splits_file(path, "5_5", 0)
    with pytest.raises(DataError, match=r"cannot read the splits file .*gone\.json: No such file"):
        read_splits_file(tmp_path / "gone.json", "5_5", 0)


FOLD = {"train": [["a", True]], "test": ["b"]}


@pytest.mark.parametrize(
    ("content", "folds"),
    [
        ({"5_5": [FOLD, FOLD], "33_33": [FOLD]}, [("5_5", 0), ("5_5", 1), ("33_33", 0)]),
        ([FOLD, FOLD], [("", 0), ("", 1)]),
        (FOLD, [("", 0)]),
    ],
)
def test_all_folds_are_listed(tmp_path: Path, content: object, folds: list[tuple[str, int]]) -> None:
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(content))

    assert list_folds(path) == folds
    for setting, fold in folds:
        assert read_splits_file(path, setting, fold).test == ("b",)
