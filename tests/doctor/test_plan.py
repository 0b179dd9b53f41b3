"""A plan follows from what was measured, says why, and can be followed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.config import load_config
from segdec.doctor import Measured, make_plan, read_plan, write_plan
from segdec.doctor.measure import Seen, measure
from segdec.doctor.outline import measure_form
from segdec.errors import ConfigError
from segdec.types import Sample
from segdec.weighting import dilate, reduce_to_cells

MEASURED = Measured(
    400, 50, 50, 50, 50, (1250, 500), True, (1256, 504), 17.0, 50, 0.0, 0.0, 17.0, 0.0, 9.0, False
)


def tree(measured):
    return make_plan(measured).settings()


@settings(max_examples=40, deadline=None)
@given(
    defective=st.integers(0, 3000),
    thickness=st.none() | st.floats(0, 500),
    simple=st.floats(0, 1),
    size=st.tuples(st.integers(8, 300), st.integers(8, 300)),
    divided=st.booleans(),
    grey=st.booleans(),
)
def test_every_plan_is_a_valid_configuration_with_reasons(defective, thickness, simple, size, divided, grey):
    measured = Measured(
        4000,
        defective,
        defective,
        4000,
        defective,
        (size[0] * 8, size[1] * 8),
        grey,
        (size[0] * 8, size[1] * 8),
        thickness,
        defective if thickness is not None else 0,
        *([None] * 5 if thickness is None else [simple, simple, 2 * thickness, simple**2, 10 - 9 * simple]),
        divided,
        (("a", "b"),),
    )

    plan = make_plan(measured)

    config = load_config(base=plan.settings())
    tile = config.data.tile
    assert config.data.image_size == (measured.image_size if tile is None else (tile, tile))
    assert config.data.dilation % 2 == 1
    assert all(choice.reason and choice.measured for choice in plan.choices)


def test_thin_masks_are_grown_until_their_cells_are_taught_defect():
    assert tree(replace(MEASURED, thickness=19.6))["data"]["dilation"] == 1
    for thickness in (3, 5, 9, 13):
        side = tree(replace(MEASURED, thickness=float(thickness)))["data"]["dilation"]
        line = np.zeros((96, 96), bool)
        line[:, 48 - thickness // 2 : 49 + thickness // 2] = True
        before, after = (reduce_to_cells(mask.astype(np.float32)) for mask in (line, dilate(line, side)))
        assert before.max() < 0.8
        assert after.max() > 0.99


def test_rough_outlines_weigh_their_middle():
    rough, fine = tree(replace(MEASURED, simple=0.9))["loss"], tree(MEASURED)["loss"]

    assert (rough["w_pos"], fine["w_pos"]) == (20.0, 1.0)


def test_masks_too_small_to_tell_are_left_out_and_counted():
    def form(draw, side):
        mask = np.zeros((64, 64), np.uint8)
        draw(mask, 20, side)
        return measure_form(mask > 0)

    def box(mask, at, side):
        mask[at : at + side, at : at + side] = 1

    def flash(mask, at, side):
        cv2.line(mask, (at, at), (at + side, at + side), 1, 3)
        cv2.line(mask, (at + side, at), (at, at + side // 2), 1, 5)

    forms = [form(box, 10)] * 6 + [form(box, 30)] * 3 + [form(flash, 40)]
    sample = Sample("a.png", Path("a.png"), True)
    seen = [Seen(sample, (64, 64), True, each) for each in forms]
    few = measure(seen, (64, 64), grey=True, divided=True)
    none = measure(seen[:6], (64, 64), grey=True, divided=True)

    assert (few.masked, few.told, few.simple) == (10, 4, 0.75)
    assert "75 % of the 4 masks that are large enough to tell" in "\n".join(make_plan(few).lines())
    assert none.simple is None
    assert tree(none)["loss"]["w_pos"] == 1.0
    assert "outlines follow the defects" not in "\n".join(make_plan(none).lines())


def test_few_defects_take_folds_and_more_epochs():
    assert tree(MEASURED)["data"]["folds"] == 3
    assert "folds" not in tree(replace(MEASURED, divided=True))["data"]
    assert tree(replace(MEASURED, defective=10))["train"]["epochs"] == 100


@pytest.mark.parametrize(
    ("has_bf16", "words"),
    [
        (True, "this machine computes bf16 in hardware"),
        (False, "this machine has no hardware for bf16"),
        (None, "no machine was looked at"),
    ],
)
def test_precision_rests_on_the_machine(has_bf16, words):
    plan = make_plan(MEASURED, has_bf16=has_bf16)

    (choice,) = (choice for choice in plan.choices if choice.key == "train.precision")
    assert (choice.value, choice.measured) == ("auto", words)
    assert choice.reason == "bf16 where the machine that trains computes it in hardware, else fp32"


def test_only_a_long_training_is_compiled_and_only_where_that_can_be():
    def compiles(measured, *, can):
        return make_plan(measured, can_compile=can).settings()["train"].get("compile", False)

    assert compiles(MEASURED, can=True)
    assert not compiles(MEASURED, can=False)
    assert not compiles(replace(MEASURED, image_size=(96, 96)), can=True)


def test_a_plan_is_read_back(tmp_path):
    plan = make_plan(replace(MEASURED, together=(("a", "b"),)))
    write_plan(plan, tmp_path / "plan.json")

    assert load_config(base=read_plan(tmp_path / "plan.json")) == load_config(base=plan.settings())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"settings": 3}', '{"settings": {"train": {"epoch": 3}}}'],
)
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match=r"plan\.json"):
        read_plan(path)


def test_a_plan_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the plan"):
        read_plan(tmp_path / "plan.json")


LARGE = replace(
    MEASURED,
    size=(3000, 4000),
    image_size=(768, 1024),
    thickness=5.0,
    vanishing=0.4,
    unscaled_thickness=19.6,
    unscaled_vanishing=0.02,
    least_cells=1.0,
)


def test_tiles_are_planned_where_they_show_what_vanishes():
    plan = make_plan(LARGE)
    data = plan.settings()["data"]

    assert (data["tile"], data["image_size"], data["dilation"]) == (512, [512, 512], 1)
    assert "shrunk to 768 x 1024, 40 % of the defects vanish, as they are 2 %" in "\n".join(plan.lines())
    assert plan.advice == ()


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        # native size already: nothing is to be gained
        ({"unscaled_vanishing": 0.4}, "tiles show no more: take pictures of more pixels"),
        (
            {"vanishing": 0.15, "unscaled_vanishing": 0.15, "least_cells": 4.0},
            "enlarged, by data.image_size=",
        ),
        # on tiles, nine of ten defects would teach nothing
        ({"masked": 5}, "only defects with a mask teach"),
        ({"vanishing": 0.05}, None),
    ],
)
def test_without_that_no_tiles_are_planned(change, advice):
    plan = make_plan(replace(LARGE, **change))

    assert "tile" not in plan.settings()["data"]
    assert plan.settings()["data"]["image_size"] == [768, 1024]
    assert (advice is None and plan.advice == ()) or advice in plan.advice[0]


def test_a_size_that_is_given_is_not_cut():
    assert "tile" not in make_plan(LARGE, can_tile=False).settings()["data"]


def test_defects_too_small_for_tiles_bring_advice():
    (advice,) = make_plan(replace(LARGE, vanishing=0.9, unscaled_vanishing=0.5)).advice

    assert "50 % of the defects vanish in the images as they are" in advice
    assert json.dumps(make_plan(MEASURED).lines())
