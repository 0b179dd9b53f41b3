"""A training's state on disk: one safetensors file, replaced as a whole. No pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from segdec.errors import ModelError
from segdec.files import atomic_write

_USES = "sampler.uses"
_NETWORK = "network."


@dataclass
class TrainingState:
    """Where a training stands, besides the network's weights.

    SGD without momentum and a sampler that draws each epoch from (seed, epoch, use counts) leave
    nothing else to remember.

    Attributes
    ----------
    epoch
        The epoch to go on with, from 0.
    step
        Optimiser steps already taken in it.
    uses
        (K,) int64: how often each negative was used before this epoch.
    sums
        Running sums of this epoch's log line.
    best_ap
        Best validation AP so far, None before the first.
    best_epoch
        The epoch that reached it.
    scaler
        State of the fp16 loss scaler, empty otherwise.
    """

    epoch: int
    step: int
    uses: Tensor
    sums: dict[str, float] = field(default_factory=dict)
    best_ap: float | None = None
    best_epoch: int | None = None
    scaler: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, network: dict[str, Tensor], state: TrainingState) -> None:
    """Write a checkpoint; the old one stays whole until the new one is.

    Parameters
    ----------
    path
        Of the file.
    network
        The network's state dict.
    state
        The rest.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    tensors = {_NETWORK + name: tensor.detach().cpu().contiguous() for name, tensor in network.items()}
    tensors[_USES] = state.uses
    values = {name: value for name, value in asdict(state).items() if name != "uses"}
    atomic_write(path, save(tensors, metadata={"state": json.dumps(values)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], TrainingState]:
    """Read a checkpoint back.

    Parameters
    ----------
    path
        Of the file.

    Returns
    -------
    network
        The network's state dict, on the CPU.
    state
        The rest.

    Raises
    ------
    ModelError
        If the file is no whole checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        uses = tensors.pop(_USES)
        network = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items()}
        return network, TrainingState(uses=uses.to(torch.int64), **values)
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{path} is no whole checkpoint ({error}); delete it to start anew, or restore it from a copy"
        ) from error
