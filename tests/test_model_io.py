"""A model folder is whole or not there, and no damage goes unseen."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segdec.config import NetworkConfig
from segdec.errors import ModelError, OutputError
from segdec.model_card import Calibration, ModelCard, Trained
from segdec.model_io import (
    CARD,
    IMAGES,
    WEIGHTS,
    dump_hashes,
    read_hashes,
    read_model,
    write_calibration,
    write_model,
)

WEIGHTS_BY_NAME = {"conv": np.arange(6, dtype=np.float32).reshape(2, 3), "größe": np.ones(1, np.float32)}


def make_card(**changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "network": NetworkConfig(),
        "image_size": (64, 72),
        "channels": 1,
        "threshold": 0.1 + 0.2,
        "threshold_from": "validation",
        "pixel_threshold": 0.5,
        "trained": Trained(
            date="2030-01-02T03:04:05+00:00",
            data_hash="ab12",
            dataset="kolektor",
            run="straße",
            epoch=35,
            seed=0,
            commit=None,
        ),
        "versions": {"segdec": "0.1.0"},
    }
    return ModelCard(**(fields | changes))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", make_card(), WEIGHTS_BY_NAME)
    return tmp_path / "model"


def edit(model: Path, change: Callable[[dict[str, Any]], object], seal: bool = False) -> None:
    """Change model.json; with its own hash made right again where asked."""
    tree = json.loads((model / CARD).read_text(encoding="utf-8"))
    change(tree)
    if seal:
        others = tree | {"files": {name: value for name, value in tree["files"].items() if name != CARD}}
        text = json.dumps(others, sort_keys=True, separators=(",", ":"))
        tree["files"][CARD] = hashlib.sha256(text.encode()).hexdigest()
    (model / CARD).write_text(json.dumps(tree), encoding="utf-8")


def test_what_is_written_is_read_back(model: Path) -> None:
    card, weights = read_model(model)
    assert card.model_copy(update={"files": {}}) == make_card()
    assert set(card.files) == {WEIGHTS, CARD}
    assert weights.keys() == WEIGHTS_BY_NAME.keys()
    for name, array in WEIGHTS_BY_NAME.items():
        np.testing.assert_array_equal(weights[name], array)
    assert sorted(entry.name for entry in model.iterdir()) == [CARD, WEIGHTS]
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize(
    ("network", "fields"),
    [({}, set()), ({"norm": "frozen", "context_form": "dilated"}, {"norm", "context_form"})],
)
def test_what_came_later_is_written_only_where_it_is_used(
    tmp_path: Path, network: dict[str, Any], fields: set[str]
) -> None:
    """So a segdec of before reads every network that it knows."""
    config = NetworkConfig(**network)
    write_model(tmp_path / "model", make_card(network=config), WEIGHTS_BY_NAME)
    tree = json.loads((tmp_path / "model" / CARD).read_text(encoding="utf-8"))
    assert tree["network"].keys() & {"norm", "context_form"} == fields
    assert read_model(tmp_path / "model")[0].network == config


def test_the_recorded_hash_is_that_of_the_file(model: Path) -> None:
    card, _ = read_model(model)
    assert card.files[WEIGHTS] == hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,  # not contiguous, float64
        np.arange(12, dtype=">f4")[::2],
        np.float32(3).reshape(()),
        np.zeros((0, 3), np.float32),
    ],
)
def test_any_layout_in_memory_is_stored_right(tmp_path: Path, array: NDArray[Any]) -> None:
    write_model(tmp_path / "model", make_card(), {"weight": array})
    stored = read_model(tmp_path / "model")[1]["weight"]
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, array)


def test_a_run_folder_stands_for_its_model(model: Path) -> None:
    assert read_model(model.parent)[0] == read_model(model)[0]


def test_reading_needs_no_torch(model: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom segdec.model_io import read_model\n"
        "print(read_model(Path(sys.argv[1]))[0].threshold)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.strip() == "0.30000000000000004", done.stderr


# --- damage ---------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_goes_unseen(model: Path, data: st.DataObject) -> None:
    path = model / data.draw(st.sampled_from([CARD, WEIGHTS]))
    good, card = path.read_bytes(), read_model(model)[0]
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bad)
    try:
        seen = read_model(model)[0]
    except ModelError:
        return
    finally:
        path.write_bytes(good)
    assert path.name == CARD
    assert seen == card  # one blank for another, or a digit beyond a float's precision


def test_a_changed_weight_names_the_file_and_both_hashes(model: Path) -> None:
    expected = read_model(model)[0].files[WEIGHTS]
    content = bytearray((model / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (model / WEIGHTS).write_bytes(content)
    actual = hashlib.sha256(content).hexdigest()
    with pytest.raises(ModelError, match="was changed after it was written") as caught:
        read_model(model)
    assert str(model / WEIGHTS) in str(caught.value)
    assert actual[:12] in str(caught.value)
    assert expected[:12] in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(threshold=0.9), r"model\.json was changed after it was written"),
        (lambda t: t["trained"].update(seed=1), r"model\.json was changed after it was written"),
        (lambda t: t.pop("threshold"), 'misses the field "threshold"'),
        (lambda t: t.pop("format_version"), 'misses the field "format_version"'),
        (lambda t: t.pop("files"), 'misses the field "files"'),
        (lambda t: t["files"].pop(CARD), r'misses the field "files\.model\.json"'),
        (lambda t: t["files"].pop(WEIGHTS), r'misses the field "files\.weights\.safetensors"'),
        (lambda t: t["network"].pop("context_kernel"), r'misses the field "network\.context_kernel"'),
        (lambda t: t["trained"].pop("commit"), r'misses the field "trained\.commit"'),
        (lambda t: t.update(colour="red"), 'has the unknown field "colour"'),
        (lambda t: t["network"].update(depth=3), r'has the unknown field "network\.depth"'),
        (
            lambda t: t.update(format_version=2, colour="red"),
            r"newer segdec \(format 2; this one reads 1\): upgrade",
        ),
        (lambda t: t.update(format_version=0), "has format 0, this segdec reads 1"),
        (lambda t: t.update(format_version="one"), 'the field "format_version"'),
        (lambda t: t.update(threshold=1.5), 'the field "threshold".*got 1.5'),
        (lambda t: t.update(threshold=float("nan")), 'the field "threshold".*got nan'),
        (lambda t: t.update(image_size=[500, 500]), r'the field "image_size".*multiples of 8.*\(504, 504\)'),
        (lambda t: t.update(channels=3), "channels is 3, but network.in_channels is 1"),
        (lambda t: t.update(files=[]), 'the field "files"'),
        (lambda t: t.update(network=None), 'the field "network"'),
    ],
)
def test_a_changed_model_json(model: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(model, change)
    with pytest.raises(ModelError, match=message):
        read_model(model)


@pytest.mark.parametrize("text", ["", "{", "\xff", "weights"])
def test_a_model_json_that_is_no_json(model: Path, text: str) -> None:
    (model / CARD).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"model\.json is no valid JSON"):
        read_model(model)


def test_a_model_json_that_holds_a_list(model: Path) -> None:
    (model / CARD).write_text("[1]")
    with pytest.raises(ModelError, match="holds a list instead of fields"):
        read_model(model)


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ModelError, match=f"misses {name}; copy the whole folder again"):
        read_model(model)


def test_a_recorded_file_beside_the_weights_is_checked_too(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"graph")
    read_model(model)  # a stranger is no business of the model's
    edit(model, lambda tree: tree["files"].update({"model.onnx": hashlib.sha256(b"graph").hexdigest()}), True)
    read_model(model)
    (model / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.onnx was changed"):
        read_model(model)
    (model / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"misses model\.onnx"):
        read_model(model)


CALIBRATION = Calibration(
    date="2030-01-02",
    data_hash="ab",
    images=80,
    items="groups",
    disjoint=True,
    wish={"max_escape": 0.1},
    confidence=0.95,
    method="exact",
    threshold=0.4,
    review_threshold=0.2,
    defective=60,
    good=20,
    escapes=1,
    escape_bound=0.077,
    overkill=2,
    overkill_bound=0.4,
    review_share=0.1,
    cost=None,
    cost_bound=None,
)


def test_a_calibration_is_written_into_the_card_alone(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"graph")
    edit(model, lambda tree: tree["files"].update({"model.onnx": hashlib.sha256(b"graph").hexdigest()}), True)
    assert "calibration" not in json.loads((model / CARD).read_text())
    weights = (model / WEIGHTS).stat().st_mtime_ns
    assert "calibration_images" not in json.loads((model / CARD).read_text())
    write_calibration(model.parent, CALIBRATION, ["b2", "a1", "b2"])  # by way of the run folder
    card, _ = read_model(model)
    assert card.calibration == CALIBRATION
    assert card.calibration_images == ("a1", "b2")
    assert (card.threshold, card.threshold_from) == (0.4, "calibration")
    assert set(card.files) == {CARD, WEIGHTS, "model.onnx"}
    assert (model / WEIGHTS).stat().st_mtime_ns == weights
    assert len(list(model.iterdir())) == 3
    edit(model, lambda tree: tree["calibration"].pop("cost"), True)
    with pytest.raises(ModelError, match=r'misses the field "calibration\.cost"'):
        read_model(model)


def test_a_calibration_of_another_threshold(model: Path) -> None:
    write_calibration(model, CALIBRATION, [])
    edit(model, lambda tree: tree.update(threshold=0.3), True)
    with pytest.raises(ModelError, match=r"threshold is 0\.3, but calibration\.threshold is 0\.4"):
        read_model(model)


def test_the_images_of_a_training_come_with_the_model(model: Path) -> None:
    assert read_hashes(model) is None
    write_model(model, make_card(), WEIGHTS_BY_NAME, {IMAGES: dump_hashes(["b2", "a1", "b2"])})
    assert read_hashes(model) == {"a1", "b2"}
    (model / IMAGES).write_bytes(b"a1")
    with pytest.raises(ModelError, match=r"images\.sha256 was changed"):
        read_model(model)


def test_a_recorded_file_outside_the_folder_is_not_opened(model: Path) -> None:
    edit(model, lambda tree: tree["files"].update({"../secret": "00"}), True)
    with pytest.raises(ModelError, match="no plain file name"):
        read_model(model)


def test_weights_that_are_no_safetensors(model: Path) -> None:
    (model / WEIGHTS).write_bytes(b"pickle")
    edit(model, lambda tree: tree["files"].update({WEIGHTS: hashlib.sha256(b"pickle").hexdigest()}), True)
    with pytest.raises(ModelError, match="is no safetensors file"):
        read_model(model)


def test_a_path_that_is_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere does not exist; give a folder with"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="holds no model"):
        read_model(tmp_path)
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(ModelError, match=r"image\.png is a file; give a folder"):
        read_model(tmp_path / "image.png")


# --- writing --------------------------------------------------------------------------------------------


def test_an_older_model_is_replaced_whole(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"graph")
    edit(model, lambda tree: tree["files"].update({"model.onnx": hashlib.sha256(b"graph").hexdigest()}), True)
    write_model(model, make_card(threshold=0.75), {"other": np.zeros(2)})
    card, weights = read_model(model)
    assert card.threshold == 0.75
    assert list(weights) == ["other"]
    assert sorted(entry.name for entry in model.iterdir()) == [CARD, WEIGHTS]
    assert list(model.parent.iterdir()) == [model]


def test_a_damaged_model_can_be_replaced(model: Path) -> None:
    (model / CARD).write_text("{")
    write_model(model, make_card(), WEIGHTS_BY_NAME)
    read_model(model)


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b" / "model"):
        write_model(folder, make_card(), WEIGHTS_BY_NAME)
        read_model(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", "the folder exists and holds no model"),
        ("model/notes.txt", r"notes\.txt in it is not part of a model"),
    ],
)
def test_nothing_but_a_model_is_replaced(model: Path, name: str, message: str) -> None:
    notes = model.parent / name
    notes.write_text("mine")
    with pytest.raises(OutputError, match=message):
        write_model(notes.parent, make_card(), WEIGHTS_BY_NAME)
    assert notes.read_text() == "mine"
    read_model(model)


def test_a_file_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(OutputError, match="a file of that name exists"):
        write_model(tmp_path / "model", make_card(), WEIGHTS_BY_NAME)
    assert (tmp_path / "model").read_text() == "mine"


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="conv holds values that are not finite"):
        write_model(tmp_path / "model", make_card(), {"conv": np.array([1, np.inf])})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize("failing_sync", [1, 2])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool, failing_sync: int
) -> None:
    model = tmp_path / "model"
    if replacing:
        write_model(model, make_card(threshold=0.25), WEIGHTS_BY_NAME)
    sync, calls = os.fsync, []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing_sync:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"cannot write .*model: no space left on the disk; free some"):
        write_model(model, make_card(), WEIGHTS_BY_NAME)
    assert list(tmp_path.iterdir()) == ([model] if replacing else [])
    if replacing:
        assert read_model(model)[0].threshold == 0.25


def test_a_failed_move_puts_the_old_model_back(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="no permission"):
        write_model(model, make_card(threshold=0.75), WEIGHTS_BY_NAME)
    assert read_model(model)[0].threshold == 0.1 + 0.2
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="no permission"):
            write_model(tmp_path / "model", make_card(), WEIGHTS_BY_NAME)
    finally:
        tmp_path.chmod(0o755)


def test_a_link_stays_a_link(model: Path) -> None:
    link = model.parent / "latest"
    link.symlink_to(model, target_is_directory=True)
    write_model(link, make_card(threshold=0.75), WEIGHTS_BY_NAME)
    assert link.is_symlink()
    assert read_model(model)[0].threshold == 0.75
