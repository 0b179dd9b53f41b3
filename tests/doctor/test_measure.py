"""The cheap measurements of the training part are those of the whole examination."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.data.synthetic import write_dagm_like
from segdec.doctor import examine, make_plan, measure_training_part
from segdec.errors import DataError


@pytest.fixture
def dataset(tmp_path):
    write_dagm_like(tmp_path, seed=0, image_size=(96, 64), train=(5, 4), test=(3, 2))
    return open_dataset(tmp_path, DataConfig())


def test_it_measures_what_the_doctor_measures(dataset):
    thorough = examine(dataset).measured

    assert measure_training_part(dataset.samples) == replace(thorough, grey=None, divided=True)


def test_the_size_that_is_given_counts(dataset):
    small, large = (measure_training_part(dataset.samples, size).thickness for size in ((64, 64), (192, 128)))

    assert large > 1.9 * small


def test_what_cannot_be_read_is_passed_over(dataset):
    defective = [sample for sample in dataset if sample.label]
    defective[0].mask.write_bytes(b"")
    defective[1].image.write_bytes(b"")

    assert measure_training_part(dataset.samples).images == len(dataset) - 2


def test_nothing_readable_is_an_error(dataset):
    for sample in dataset:
        sample.image.write_bytes(b"")

    with pytest.raises(DataError, match="no image of the training part can be read"):
        measure_training_part(dataset.samples)


def test_without_masks_the_decision_teaches_both_stages(dataset):
    samples = [sample.without_mask() for sample in dataset]

    plan = make_plan(measure_training_part(samples))

    settings = plan.settings()
    assert settings["loss"]["balance"] == "decision"
    assert settings["train"]["gradient_adjustment"] is False
    assert any("mark the defects" in line for line in plan.lines())
