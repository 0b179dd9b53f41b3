"""From a trained run to a compact one: a small network that learns what the large one says.

The paper's network spends its multiply-adds on width: 72 % of them on the context convolution. A student is
narrower, and sees the same window by a smaller block: one convolution for each channel and a mixture of the
channels, or three dilated ones. Every student here needs at most an eighth of the paper's multiply-adds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdec.arithmetic import multiply_adds
from segdec.config import Config, NetworkConfig, load_config
from segdec.errors import ConfigError
from segdec.progress import Watch
from segdec.runs import Run, open_ended_run
from segdec.runtime import choose_context, device_type, require_torch, wait_for_device
from segdec.train import train
from segdec.types import ImageSize

_MORE_EPOCHS = 4
"""A student's step costs a small part of its teacher's, so it takes more of them."""

_RUNS = 3


@dataclass(frozen=True)
class Candidate:
    """A student's network, as far as it differs from its teacher's.

    Attributes
    ----------
    name
        On the command line.
    network
        Settings of the section ``network``.
    """

    name: str
    network: dict[str, Any]


_NARROW: dict[str, Any] = {
    "block_channels": (8, 16, 32),
    "block_depths": (1, 3, 4),
    "context_channels": 256,
    "context_kernel": 15,
    "context_form": "separable",
}
_WIDE: dict[str, Any] = _NARROW | {"block_channels": (16, 32, 32)}

CANDIDATES = (
    Candidate("narrow", _NARROW),
    Candidate("dilated", _NARROW | {"context_form": "dilated"}),
    Candidate("shallow", _WIDE | {"block_depths": (1, 1, 2), "context_kernel": 21}),
    Candidate("wide", _WIDE),
)
"""A cell of each looks as far as one of the paper's, 212 pixels: fewer 5 x 5 convolutions see less, which a
larger window of the context makes good for."""


@dataclass(frozen=True)
class Cost:
    """What a network costs for one image.

    Attributes
    ----------
    name
        The candidate's, or "teacher".
    multiply_adds
        Of all convolutions and the last linear layer.
    ratio
        How many times fewer they are than the teacher's.
    seconds
        Median time of a forward pass on this machine in fp32, None where it was not measured.
    """

    name: str
    multiply_adds: int
    ratio: float
    seconds: float | None


def compress(
    run: Path,
    out: Path,
    candidate: str | None = None,
    images: Path | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    settings: tuple[str, ...] = (),
    watch: Watch | None = None,
) -> Run:
    """Train a student on the scores and score maps of a trained run, in a new run folder.

    Parameters
    ----------
    run
        The teacher; it is left as it is. Its data, split and settings are taken over.
    out
        The new run folder.
    candidate
        The name of one of `CANDIDATES`; None takes the fastest on this machine.
    images
        A folder of images without labels, which teach too.
    epochs
        Of the student, at least 1; four times the teacher's if left out.
    learning_rate
        The teacher's if left out.
    settings
        Single settings laid over all that; they may change the student's network as well.
    watch
        Called as training proceeds.

    Returns
    -------
    Run
        An ordinary run: ``--resume``, evaluate, freeze-norm and export work on it.

    Raises
    ------
    ModelError
        If the teacher has not ended.
    ConfigError
        If there is no such candidate, or the teacher was trained on tiles.
    OutputError
        If ``out`` holds a run.
    """
    teacher = open_ended_run(run)
    if teacher.config.data.tile is not None:
        raise ConfigError(
            f"{run} was trained on tiles (data.tile is {teacher.config.data.tile}), and a teacher answers for"
            " whole images; train a compact network on the tiles' labels: segdec train, with --set data.tile"
            " and the network.context_form, context_channels and block_channels that you want"
        )
    config = student_config(teacher, _find(candidate or fastest(weigh(run)).name), images, epochs)
    given = (*(() if learning_rate is None else (f"train.learning_rate={learning_rate}",)), *settings)
    tree = config.model_dump(mode="json", exclude_none=True)
    return train(Path(teacher.meta["data"]), load_config(settings=given, base=tree), out, watch=watch)


def student_config(
    teacher: Run, candidate: Candidate, images: Path | None = None, epochs: int | None = None
) -> Config:
    """Compose a student's configuration from its teacher's.

    Parameters
    ----------
    teacher
        An ended run.
    candidate
        The student's network.
    images, epochs
        As of `compress`.

    Returns
    -------
    Config
        Each image is normalised by its own statistics, whatever the teacher does: `segdec.freezing` freezes
        them afterwards.
    """
    tree = teacher.config.model_dump(mode="json", exclude_none=True)
    tree["network"] |= candidate.network | {"norm": "image"}
    for key in ("start_from", "context"):  # the form was measured for the teacher's network
        tree["train"].pop(key, None)
    tree["train"]["teacher"] = str(teacher.folder.resolve())
    tree["train"]["epochs"] = epochs or _MORE_EPOCHS * teacher.config.train.epochs
    tree["data"].pop("unlabelled", None)
    if images is not None:
        tree["data"]["unlabelled"] = str(images.resolve())
    return load_config(base=tree)


def weigh(run: Path, timed: bool = True, tell: Callable[[int, int], None] | None = None) -> list[Cost]:
    """Count the multiply-adds of a teacher and its possible students, and time them on this machine.

    Parameters
    ----------
    run
        The teacher.
    timed
        False only counts.
    tell
        Called with (networks timed, networks in all).

    Returns
    -------
    list of Cost
        The teacher's first, then those of `CANDIDATES` in their order.

    Raises
    ------
    ModelError
        If the teacher has not ended.
    """
    teacher = open_ended_run(run)
    size, network = teacher.config.data.image_size, teacher.config.network
    if size is None:
        raise ValueError("data.image_size must be set in a run")
    networks = {"teacher": network}
    networks |= {each.name: student_config(teacher, each).network for each in CANDIDATES}
    costs = []
    for done, (name, each) in enumerate(networks.items(), start=1):
        count = multiply_adds(each, size)
        seconds = _time_forward(each, size) if timed else None
        costs.append(Cost(name, count, multiply_adds(network, size) / count, seconds))
        if tell is not None:
            tell(done, len(networks))
    return costs


def fastest(costs: Sequence[Cost]) -> Cost:
    """Return the student that took the least time.

    Parameters
    ----------
    costs
        From `weigh`, timed.

    Examples
    --------
    >>> costs = [Cost("teacher", 900, 1, 0.9), Cost("a", 90, 10, 0.2), Cost("b", 100, 9, 0.1)]
    >>> fastest(costs).name
    'b'
    """
    return min(costs[1:], key=lambda cost: (cost.seconds or 0.0, cost.multiply_adds))


def _time_forward(network: NetworkConfig, size: ImageSize) -> float:
    """Return the median seconds of a forward pass, after one that is not counted."""
    require_torch()
    import torch

    from segdec.network import build_network, to_channels_last

    built = build_network(network, 0, context=choose_context("auto", network, "fp32"))
    to_channels_last(built)
    built.to(device_type()).eval()
    image = torch.rand(1, network.in_channels, *size, generator=torch.Generator().manual_seed(0))
    image = image.to(device_type(), memory_format=torch.channels_last)  # (1, C, H, W)
    times = []
    with torch.inference_mode():
        for _ in range(_RUNS + 1):
            began = time.perf_counter()
            built(image)
            wait_for_device()
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _find(name: str) -> Candidate:
    for candidate in CANDIDATES:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in CANDIDATES)
    raise ConfigError(f'no student "{name}"; there are {names}')
