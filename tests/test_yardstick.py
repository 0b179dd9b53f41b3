"""The yardstick answers like the network that it stands for, and every way is timed beside it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from segdec import yardstick
from segdec.backends.pytorch import TorchBackend
from segdec.cli import main
from segdec.config import NetworkConfig
from segdec.errors import ConfigError
from segdec.inputs import network_pixels
from segdec.model_io import read_model
from segdec.runs import open_run
from segdec.yardstick import AuthorsForm, Way, compare, list_ways

SMALL = NetworkConfig(
    block_channels=(8, 8, 16), block_depths=(1, 1, 1), context_channels=32, context_kernel=5
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time networks that take no time."""
    frozen = SMALL.model_copy(update={"norm": "frozen"})
    monkeypatch.setattr(yardstick, "networks", lambda: {"network": SMALL, "frozen": frozen})


def test_the_yardstick_answers_like_the_network(trained_run: Path) -> None:
    card, weights = read_model(trained_run)
    ours, theirs = TorchBackend(card, weights, "cpu", "direct"), AuthorsForm(card.network, weights)
    for sample in open_run(trained_run).split.test:
        pixels, _ = network_pixels(sample.image, card)
        score, score_map = ours([ours.prepare(pixels)])
        other, other_map = theirs([theirs.prepare(pixels)])
        np.testing.assert_allclose(other, score, atol=1e-5)
        np.testing.assert_allclose(other_map, score_map, atol=1e-4)


def test_every_way_is_timed_beside_the_yardstick(small: None) -> None:
    told = []
    lines = compare([(64, 64), (72, 64)], 1, lambda done, of: told.append((done, of)))

    ways = len(list_ways())
    assert ways >= 2 * 5  # two networks; PyTorch, and two runtimes in fp32 and in int8
    assert told[-1][0] == told[-1][1] == 2 * (ways + 1)
    rows = [line for line in lines if line.count(" ms") == 3]
    assert len(rows) == 2 * (ways + 1)
    assert [line.split("  ")[0] for line in lines if " times faster " in line] == ["64 x 64", "72 x 64"]
    ratios = [float(re.search(r" ms +([\d.]+)  ", row)[1]) for row in rows]
    assert ratios[0] == ratios[ways + 1] == 1.0
    assert sum("authors' form" in row for row in rows) == 2
    assert any(row.startswith("frozen, OpenVINO int8") for row in rows)
    assert not any("nan" in line for line in lines)


def test_chosen_ways_alone(small: None) -> None:
    lines = compare([(64, 64)], 1, ways=[Way("network", "onnx", "fp32")])
    assert sum(" ms" in line and "ONNX Runtime fp32" in line for line in lines) == 1


def test_a_size_that_cannot_be(small: None) -> None:
    with pytest.raises(ConfigError, match="multiples of 8"):
        compare([(500, 512)], 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["predict", "--all", "--image-size", "64", "64", "--runs", "3"], 0, "times faster"),
        (["train", "--all"], 2, "are for predict"),
        (["predict", "--all", "--model", "somewhere"], 2, "leave --model and --batch out"),
        (["predict", "--all", "--batch", "8"], 2, "leave --model and --batch out"),
        (["train", "--batch", "8"], 2, "are for predict"),
    ],
)
def test_the_command(small: None, monkeypatch: pytest.MonkeyPatch, capsys, arguments, code, said) -> None:
    monkeypatch.setattr(yardstick, "list_ways", lambda: (Way("network", "onnx", "fp32"),))
    monkeypatch.setattr(sys, "argv", ["segdec", "benchmark", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
