"""What is said of a model when its training has ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from segdec.cli.screen import trained_lines
from segdec.model_io import read_model, write_model
from segdec.runs import open_run
from segdec.scoring import has_flat_maps


def test_a_training_that_left_the_score_maps_flat_says_so(trained_run: Path, tmp_path: Path) -> None:
    run = open_run(trained_run)
    assert not has_flat_maps(run.model)
    assert not any("learnt nothing" in line for line in trained_lines(run))

    card, weights = read_model(run.model)
    flat = replace(run, folder=tmp_path)
    write_model(flat.model, card, weights | {"seg_head.1.scale": np.array([-0.005], np.float32)})
    assert has_flat_maps(flat.model)
    (line,) = (line for line in trained_lines(flat) if "learnt nothing" in line)
    assert line.endswith("lower train.learning_rate (it was 0.3; try 0.06), more epochs or more masks.")
