"""The settings that the experiments switch: two-stage training, D_max, reduction, boxes."""

import json

import numpy as np
import pytest
import torch

from segdec.checkpoint import load_checkpoint
from segdec.config import Config, load_config
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError
from segdec.imaging import DEFECT, fill_boxes
from segdec.losses import balance
from segdec.train import train
from segdec.weighting import reduce_to_cells, weight_map

TINY = (
    "data.image_size=[64, 64]",
    "data.channels=1",
    "data.workers=0",
    "data.val_fraction=0",
    "network.block_channels=[2, 2, 2]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "train.batch_size=4",
    "train.precision=fp32",
)


def tiny(*settings: str) -> Config:
    return load_config(settings=(*TINY, *settings))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Class1"
    write_dagm_like(folder, 0, (64, 64), (6, 4), (4, 2))
    return folder


# --- two stages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "first"), [(2, 1), (5, 3), (70, 35)])
def test_two_stage_is_segmentation_first_then_decision_alone(epochs, first):
    factors = [balance("two-stage", epoch, epochs) for epoch in range(epochs)]
    assert factors == [(1.0, 0.0)] * first + [(0.0, 1.0)] * (epochs - first)


def test_two_stage_needs_two_epochs():
    with pytest.raises(ConfigError, match="it needs 2 or more"):
        tiny("loss.balance=two-stage", "train.epochs=1")


def weights_after(data, folder, *settings):
    """Return a finished training's weights."""
    return load_checkpoint(train(data, tiny(*settings), folder).checkpoints / "last.safetensors")[0]


def test_the_second_stage_leaves_the_segmentation_frozen_bit_for_bit(data, tmp_path):
    # two-stage over 4 epochs is: 2 epochs of segmentation alone, then 2 of decision alone
    short = weights_after(data, tmp_path / "seg", "loss.balance=two-stage", "train.epochs=3")
    whole = weights_after(data, tmp_path / "both", "loss.balance=two-stage", "train.epochs=4")
    segmentation = [name for name in whole if name.startswith(("segmentation.", "seg_head."))]
    decision = [name for name in whole if name.startswith(("decision.", "fc."))]
    assert segmentation
    assert len(segmentation) + len(decision) == len(whole)
    # three epochs have their second stage in the third only: both trained the segmentation for two
    assert all(torch.equal(short[name], whole[name]) for name in segmentation)
    assert any(not torch.equal(short[name], whole[name]) for name in decision)


def test_the_first_stage_leaves_the_decision_as_it_was(data, tmp_path):
    from segdec.network import build_network

    class _StopError(Exception):
        pass

    def stop(now):
        if now.stage == "training" and now.epoch == 1:
            raise _StopError

    config = tiny("loss.balance=two-stage", "train.epochs=2")
    with pytest.raises(_StopError):
        train(data, config, tmp_path / "run", watch=stop)
    trained, _ = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors")
    initial = build_network(config.network, config.train.seed).state_dict()
    assert all(torch.equal(trained[name], initial[name]) for name in initial if name.startswith("fc."))
    assert any(not torch.equal(trained[name], initial[name]) for name in initial)


def test_without_gradient_adjustment_the_second_stage_changes_the_segmentation(data, tmp_path):
    settings = ("loss.balance=two-stage", "train.gradient_adjustment=false")
    short = weights_after(data, tmp_path / "3", *settings, "train.epochs=3")
    whole = weights_after(data, tmp_path / "4", *settings, "train.epochs=4")
    name = "segmentation.0.0.weight"
    assert not torch.equal(short[name], whole[name])


def test_labels_alone_teach_the_segmentation_too(data, tmp_path):
    from segdec.network import build_network

    settings = (
        "data.masked_positives=0",
        "loss.balance=decision",
        "train.gradient_adjustment=false",
        "train.epochs=1",
    )
    trained = weights_after(data, tmp_path / "run", *settings)
    initial = build_network(tiny().network, 0).state_dict()
    assert not torch.equal(trained["segmentation.0.0.weight"], initial["segmentation.0.0.weight"])
    assert json.loads((tmp_path / "run" / "split.json").read_text())["weak"]


# --- weights and targets --------------------------------------------------------------------------------


def test_every_component_reaches_the_full_weight():
    mask = np.zeros((20, 20), bool)
    mask[2:13, 2:13] = True  # D_max 6
    mask[16:19, 16:19] = True  # D_max 2
    image, component = (weight_map(mask, 4, 1, kind) for kind in ("image", "component"))
    assert image[17, 17] == pytest.approx(4 * 2 / 6)
    assert component[17, 17] == component[7, 7] == image[7, 7] == 4
    assert (component[~mask] == 1).all()


def test_area_reduction_is_the_share_of_each_cell():
    pixels = np.zeros((16, 24), np.float32)
    pixels[:4, 8:16] = 1  # half of the middle cell of the upper row
    assert reduce_to_cells(pixels, "area").tolist() == [[0, 0.5, 0], [0, 0, 0]]
    assert reduce_to_cells(pixels, "mean17")[0, 1] < 0.5


def test_boxes_hold_their_component_and_nothing_else():
    mask = np.zeros((9, 9), bool)
    mask[1, 1] = mask[2, 2] = mask[3, 1] = True  # touching at corners: one component
    mask[7, 6:8] = True
    boxes = fill_boxes(mask)
    expected = np.zeros((9, 9), bool)
    expected[1:4, 1:3] = True
    expected[7, 6:8] = True
    assert (boxes == expected).all()


def test_boxes_teach_when_asked(data):
    from segdec.data import make_split, open_dataset
    from segdec.data.loader import load_pixels

    given, boxes = (tiny(f"data.masks={kind}") for kind in ("as-given", "boxes"))
    sample = next(s for s in make_split(open_dataset(data, given.data), given.data, 0).train if s.label)
    mask, box = (load_pixels(sample, config)[1] == DEFECT for config in (given, boxes))
    assert (mask <= box).all()
    assert box.sum() > mask.sum()


def test_the_name_of_a_published_setting_is_no_number():
    assert load_config(settings=("data.setting=25_25",)).data.setting == "25_25"
    assert load_config(settings=("train.epochs=1_0",)).train.epochs == 10, "elsewhere TOML's numbers hold"
