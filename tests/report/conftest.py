"""Evaluations and a run to report of."""

import json

import cv2
import numpy as np
import pytest

from segdec.config import NetworkConfig
from segdec.evaluate import evaluate_predictions
from segdec.model_card import ModelCard, Trained
from segdec.model_io import write_model
from segdec.types import Prediction, Sample


@pytest.fixture
def judge(tmp_path):
    """Evaluate images given as name -> (label, score, area of the defect); one image file serves all."""
    path = tmp_path / "image.png"
    path.write_bytes(cv2.imencode(".png", np.full((40, 40), 120, np.uint8))[1].tobytes())

    def make(images, *, masked=True, groups=None, types=(), **rest):
        pairs = []
        for number, (name, (label, score, area)) in enumerate(images.items()):
            mask = np.zeros((40, 40), np.uint8)
            mask.flat[:area] = 255
            mask_path = tmp_path / f"mask{number}.png"
            mask_path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
            group = None if groups is None else groups[number]
            kinds = types if label else ()
            sample = Sample(
                name, path, label, mask_path if label and masked else None, group=group, types=kinds
            )
            score_map = np.full((40, 40), score, np.float32)
            pairs.append((sample, Prediction(name, score, score >= 0.5, 0.5, (), score_map)))
        return evaluate_predictions(pairs, 0.5, 0.5, **rest)

    return make


@pytest.fixture
def images():
    """Forty defects, found the more surely the larger they are, and sixty good images."""
    random = np.random.default_rng(0)
    defects = {
        f"bad {n}.png": (True, float(random.uniform(0.1, 0.5) + n / 80), 5 + 20 * n) for n in range(40)
    }
    return defects | {f"good {n}.png": (False, float(random.uniform(0, 0.55)), 0) for n in range(60)}


@pytest.fixture
def run(tmp_path):
    """Lay out a run folder as a training leaves it; the weights do not matter."""
    config = NetworkConfig(in_channels=1)
    card = ModelCard(
        network=config,
        image_size=(64, 64),
        channels=1,
        threshold=0.5,
        threshold_from="validation",
        pixel_threshold=0.5,
        trained=Trained(
            date="2030-01-01", run="r", dataset="dagm", data_hash="abc123", epoch=2, seed=7, commit="c0ffee"
        ),
        versions={"torch": "<2.0>"},
    )
    folder = tmp_path / "line <7>"
    write_model(folder / "model", card, {"fc.weight": np.zeros((1, 2), np.float32)})
    (folder / "config.toml").write_text("# <b>train</b>\nepochs = 2\n", encoding="utf-8")
    (folder / "meta.json").write_text('{"data": "/data/<i>parts</i>"}', encoding="utf-8")
    losses = [(0, 0.9), (0, 0.7), (1, 0.4)]  # the first epoch was begun twice
    lines = [json.dumps({"epoch": epoch, "seg_loss": 0.6, "dec_loss": loss}) for epoch, loss in losses]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
