"""A network that has learnt something, for what random weights would prove too easily."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from segdec.config import load_config
from segdec.data.synthetic import write_dagm_like
from segdec.imaging import read_image, write_image
from segdec.metrics import average_precision
from segdec.model_io import IMAGES, read_model, write_model
from segdec.predict import Predictor
from segdec.runs import open_run
from segdec.train import train
from segdec.types import ImageSize

LEARNING = (
    "data.image_size=[64, 96]",
    "data.val_fraction=0.1",
    "data.workers=0",
    "network.block_channels=[8, 8, 16]",
    "network.block_depths=[1, 2, 2]",
    "network.context_channels=32",
    "network.context_kernel=5",
    "train.epochs=15",
    "train.learning_rate=0.3",
    "train.batch_size=4",
    "train.precision=fp32",
    "augment.flip=true",
)


def write_plain_defects(
    folder: Path, image_size: ImageSize, train: tuple[int, int], test: tuple[int, int]
) -> None:
    """Write made-up images whose defects are darker than the rest, so that they are learnt on any machine."""
    write_dagm_like(folder, 0, image_size, train, test, texture="brushed")
    for path in folder.rglob("*_label.PNG"):
        mask = read_image(path)
        image = path.parents[1] / path.name.replace("_label", "")
        write_image(image, cv2.subtract(read_image(image), np.where(mask > 0, 20, 0).astype(np.uint8)))


@pytest.fixture(scope="session")
def load_script() -> Callable[[Path], ModuleType]:
    """Return what opens a script that is in no package, as a module."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def train_apart() -> Callable[[Path, Path, Sequence[str]], Path]:
    """Return what trains on a data set and puts the threshold where rounding changes no decision."""

    def train_one(data: Path, folder: Path, settings: Sequence[str]) -> Path:
        run = train(data, load_config(settings=tuple(settings)), folder)
        predictor = Predictor(run.folder, "cpu")
        judged = (*run.split.val, *run.split.test)
        scores = np.sort([predictor.predict(sample.image).score for sample in judged])
        widest = np.diff(scores)[3:-3].argmax() + 3
        card, weights = read_model(run.folder)
        card = card.model_copy(update={"threshold": float(scores[widest : widest + 2].mean())})
        write_model(run.model, card, weights, {IMAGES: (run.model / IMAGES).read_bytes()})
        return run.folder

    return train_one


@pytest.fixture(scope="session")
def trained_run(
    tmp_path_factory: pytest.TempPathFactory, train_apart: Callable[[Path, Path, Sequence[str]], Path]
) -> Path:
    """Return a run folder of a small network, trained on made-up images; copy it before changing it."""
    folder = tmp_path_factory.mktemp("trained")
    write_plain_defects(folder / "data", (64, 96), train=(40, 40), test=(6, 6))
    run = open_run(train_apart(folder / "data", folder / "run", LEARNING))
    predictor, judged = Predictor(run.folder, "cpu"), (*run.split.val, *run.split.test)
    scores = [predictor.predict(sample.image).score for sample in judged]
    ap = average_precision([sample.label for sample in judged], scores).value
    assert ap == 1  # what has learnt little proves little, and rounding must not change the order
    return run.folder
