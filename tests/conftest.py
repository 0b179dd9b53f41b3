"""A network that has learnt something, for what random weights would prove too easily."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segdec.config import load_config
from segdec.data.synthetic import write_dagm_like
from segdec.model_io import IMAGES, read_model, write_model
from segdec.predict import Predictor
from segdec.train import train

LEARNING = (
    "data.image_size=[64, 96]",
    "data.workers=0",
    "network.block_channels=[8, 8, 16]",
    "network.block_depths=[1, 2, 2]",
    "network.context_channels=32",
    "network.context_kernel=5",
    "train.epochs=30",
    "train.learning_rate=0.3",
    "train.batch_size=2",
    "train.precision=fp32",
)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder of a small network, trained on made-up images; copy it before changing it."""
    folder = tmp_path_factory.mktemp("trained")
    write_dagm_like(folder / "data", 0, (64, 96), train=(12, 12), test=(6, 6))
    run = train(folder / "data", load_config(settings=LEARNING), folder / "run")
    predictor = Predictor(run.folder, "cpu")
    scores = np.sort([predictor.predict(sample.image).score for sample in (*run.split.val, *run.split.test)])
    widest = np.diff(scores)[3:-3].argmax() + 3  # rounding changes no decision
    card, weights = read_model(run.folder)
    card = card.model_copy(update={"threshold": float(scores[widest : widest + 2].mean())})
    images = (run.model / IMAGES).read_bytes()
    write_model(run.model, card, weights, {IMAGES: images})
    return run.folder
