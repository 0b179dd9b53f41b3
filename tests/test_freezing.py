"""Frozen normalisation: the same statistics for every image, measured on the training images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from segdec.backends.pytorch import open_network
from segdec.config import NetworkConfig, load_config
from segdec.data import open_dataset
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError, ModelError
from segdec.freezing import freeze_norm
from segdec.model_io import read_model
from segdec.network import FeatureNorm, SegDecNet, build_network
from segdec.predict import Predictor
from segdec.runs import Run
from segdec.starting import frozen_statistics
from segdec.train import train

SMALL = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "data.val_fraction=0.0",
    "network.block_channels=[4, 4, 8]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=16",
    "network.context_kernel=5",
    "train.epochs=2",
    "train.learning_rate=0.1",
    "train.precision=fp32",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen") / "data"
    write_dagm_like(folder, 0, (64, 64), train=(6, 4), test=(2, 2))
    return folder


@pytest.fixture(scope="module")
def trained(data: Path) -> Run:
    return train(data, load_config(settings=SMALL), data.parent / "run")


def test_frozen_statistics_are_means_over_the_images() -> None:
    torch.manual_seed(0)
    norm, frozen = FeatureNorm(3), FeatureNorm(3, frozen=True)
    images = torch.randn(4, 3, 5, 6) * 2 + 1
    frozen.mean.copy_(images.mean((2, 3)).mean(0))
    frozen.std.copy_(images.std((2, 3)).mean(0))
    frozen.load_state_dict(norm.state_dict(), strict=False)

    one = images[:1]
    expected = (one - frozen.mean.view(1, 3, 1, 1)) / torch.sqrt(frozen.std.view(1, 3, 1, 1) + 0.001)
    torch.testing.assert_close(frozen(one), expected)


def test_measuring_a_single_image_and_freezing_changes_nothing_for_it(trained: Run) -> None:
    """With one image its own statistics are the means, so both networks are the same function of it."""
    config = trained.config
    weights = {name: torch.tensor(value) for name, value in read_model(trained.model)[1].items()}
    network = open_network(config.network, weights)
    sample = trained.split.train[0]
    statistics = frozen_statistics(network, [sample], config, lambda *_: None)
    frozen = SegDecNet(config.network.model_copy(update={"norm": "frozen"}))
    frozen.load_state_dict(weights | statistics)
    image = torch.from_numpy(Predictor(trained.model)._prepare(sample.image).pixels)[None]
    with torch.inference_mode():
        for mine, theirs in zip(frozen.eval()(image), network(image), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_freeze_norm_makes_an_ordinary_run(trained: Run, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    stages = []
    run = freeze_norm(
        trained.folder, tmp_path / "frozen", epochs=1, watch=lambda now: stages.append(now.stage)
    )

    card, weights = read_model(run.model)
    assert card.network.norm == "frozen"
    assert {"segmentation.0.1.mean", "segmentation.0.1.std", "seg_head.1.mean"} <= set(weights)
    assert "measuring" in stages
    assert run.config.train.learning_rate == pytest.approx(0.005)
    assert [sample.name for sample in run.split.train] == [sample.name for sample in trained.split.train]
    assert 0 <= Predictor(run.model).predict(run.split.test[0].image).score <= 1
    assert before == {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}


def test_the_form_of_the_context_convolution_is_measured_anew_unless_it_is_given(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trained.config.train.context == "direct"
    monkeypatch.setattr("segdec.freezing.train", lambda data, config, *_, **__: config.train.context)
    assert freeze_norm(trained.folder, tmp_path) == "auto"
    assert freeze_norm(trained.folder, tmp_path, settings=("train.context=spectral",)) == "spectral"


def test_a_frozen_network_answers_a_part_as_it_answers_the_whole() -> None:
    """Far from the border of a cut, what is seen there decides alone."""
    config = NetworkConfig(
        block_channels=(2, 2, 2), block_depths=(1, 1, 1), context_channels=4, context_kernel=3, norm="frozen"
    )
    network = build_network(config, 0).eval()
    image = torch.rand(1, 1, 192, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, part = network(image)[0], network(image[:, :, :, :192])[0]
        paper = SegDecNet(config.model_copy(update={"norm": "image"})).eval()
        paper_whole, paper_part = paper(image)[0], paper(image[:, :, :, :192])[0]
    inner = slice(6, 12)  # cells; far from all borders
    torch.testing.assert_close(part[..., inner, inner], whole[..., inner, inner], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(paper_part[..., inner, inner], paper_whole[..., inner, inner], rtol=1e-4)


def test_an_interrupted_freezing_goes_on_to_the_same_weights(trained: Run, tmp_path: Path) -> None:
    whole = freeze_norm(trained.folder, tmp_path / "whole", epochs=2)

    def stop(now: object) -> None:
        if getattr(now, "epoch", 0) == 1:
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        freeze_norm(trained.folder, tmp_path / "cut", epochs=2, watch=stop)
    resumed = train(None, whole.config, tmp_path / "cut", resume=True)
    for name, value in read_model(whole.model)[1].items():
        np.testing.assert_array_equal(read_model(resumed.model)[1][name], value)


def test_what_cannot_be_frozen_is_refused(trained: Run, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names no model to measure the statistics with"):
        load_config(settings=("network.norm=frozen",))
    other = load_config(
        settings=(*SMALL, f'train.start_from="{trained.folder}"', "network.context_channels=8")
    )
    with pytest.raises(ConfigError, match=r"network.context_channels is 8, but 16 in .*set both to the same"):
        train(data, other, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    unfinished = train(data, load_config(settings=SMALL), tmp_path / "unfinished")
    shutil.rmtree(unfinished.model)
    with pytest.raises(ModelError, match="has not ended"):
        freeze_norm(unfinished.folder, tmp_path / "nothing")
    frozen = freeze_norm(trained.folder, tmp_path / "frozen", epochs=1)
    with pytest.raises(ModelError, match="frozen already"):
        freeze_norm(frozen.folder, tmp_path / "twice")
    back = load_config(settings=(*SMALL, f'train.start_from="{frozen.folder}"'))
    with pytest.raises(ConfigError, match="cannot go back"):
        train(data, back, tmp_path / "back")


def test_a_run_can_start_from_another_without_freezing(trained: Run, data: Path, tmp_path: Path) -> None:
    """With a learning rate next to nothing, the weights stay those that it started from."""
    config = load_config(
        settings=(*SMALL, f'train.start_from="{trained.folder}"', "train.learning_rate=1e-12")
    )
    run = train(open_dataset(data, config.data), config, tmp_path / "again")
    for name, value in read_model(run.model)[1].items():
        np.testing.assert_allclose(value, read_model(trained.model)[1][name], rtol=1e-5, atol=1e-7)


def test_what_the_run_says_is_what_teaches(trained: Run, tmp_path: Path) -> None:
    """Labels would teach other maps, and leave the decision stage behind."""
    run = freeze_norm(trained.folder, tmp_path / "frozen", epochs=1)
    assert (run.config.loss.balance, run.config.loss.delta) == ("none", 1)
    answers = load_file(run.folder / "answers.safetensors")
    predictor = Predictor(trained.model, "cpu")
    for place, sample in enumerate(run.split.train):
        image = predictor._prepare(sample.image).pixels
        score, score_map = predictor.backend([image])
        np.testing.assert_allclose(answers["scores"][place], score[0], atol=1e-5)  # as they are, not softened
        np.testing.assert_allclose(answers["maps"][place], score_map[0], atol=1e-5)


def test_a_run_on_tiles_learns_from_labels(data: Path, tmp_path: Path) -> None:
    tiled = train(data, load_config(settings=(*SMALL[1:], "data.tile=88")), tmp_path / "run")
    run = freeze_norm(tiled.folder, tmp_path / "frozen", epochs=1)
    assert run.config.train.teacher is None
    assert read_model(run.model)[0].network.norm == "frozen"
