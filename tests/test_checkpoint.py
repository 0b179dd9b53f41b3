"""A checkpoint reads back as it was, is refused when it is not whole, and replaces a good one as a whole."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from segdec.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from segdec.errors import ModelError, OutputError

NETWORK = {
    "a.weight": torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "b": torch.tensor([0.1]),
}


def state(**changes: object) -> TrainingState:
    values = {
        "epoch": 3,
        "step": 7,
        "uses": torch.tensor([0, 2, 5]),
        "sums": {"loss": 0.1 + 0.2, "images": 14.0},
        "best_ap": 0.9,
        "best_epoch": 2,
        "scaler": {"scale": 65536.0, "_growth_tracker": 3},
    }
    return TrainingState(**(values | changes))


def test_it_reads_back_bit_for_bit(tmp_path):
    save_checkpoint(tmp_path / "last.safetensors", NETWORK, state())
    network, found = load_checkpoint(tmp_path / "last.safetensors")
    assert network.keys() == NETWORK.keys()
    assert all(torch.equal(network[name], NETWORK[name]) for name in NETWORK)
    assert torch.equal(found.uses, torch.tensor([0, 2, 5]))
    wanted = state(uses=found.uses)
    assert found == wanted
    assert list(tmp_path.iterdir()) == [tmp_path / "last.safetensors"]


def test_an_early_state_reads_back(tmp_path):
    early = TrainingState(epoch=0, step=0, uses=torch.zeros(2, dtype=torch.int64))
    save_checkpoint(tmp_path / "last.safetensors", NETWORK, early)
    _, found = load_checkpoint(tmp_path / "last.safetensors")
    assert (found.best_ap, found.best_epoch, found.sums, found.scaler) == (None, None, {}, {})


@pytest.mark.parametrize("share", [0, 1, 7, 8, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, NETWORK, state())
    whole = path.read_bytes()
    path.write_bytes(whole[: share if isinstance(share, int) else int(share * len(whole))])
    with pytest.raises(
        ModelError, match=r"last\.safetensors is no whole checkpoint .*; delete it to start anew"
    ):
        load_checkpoint(path)


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    for name, metadata in (
        ("none", None),
        ("empty", {"state": "{}"}),
        ("odd", {"state": "[1]"}),
        ("bad", {"state": "{"}),
    ):
        save_file({"sampler.uses": torch.zeros(2)}, tmp_path / name, metadata=metadata)
        with pytest.raises(ModelError, match="is no whole checkpoint"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(ModelError, match="is no whole checkpoint"):
        load_checkpoint(tmp_path / "missing.safetensors")
    with pytest.raises(ModelError, match="is no whole checkpoint"):
        load_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, NETWORK, state())
    old = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left on the disk"):
        save_checkpoint(path, NETWORK, state(epoch=4))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
