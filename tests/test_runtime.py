"""What is chosen for the machine, and what is said where something is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from segdec import runtime
from segdec.backends.pytorch import TorchBackend, open_network
from segdec.benchmark import write_untrained
from segdec.config import NetworkConfig
from segdec.errors import ConfigError, MissingExtraError


@pytest.fixture
def on(monkeypatch):
    def choose(device: str, kind: str = "other", bf16: bool = False) -> None:
        monkeypatch.setattr(runtime, "device_type", lambda: device)
        monkeypatch.setattr(runtime, "cpu_kind", lambda: kind)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)

    return choose


@pytest.mark.parametrize(
    ("machine", "precision"),
    [
        (("cpu", "other"), "fp32"),
        (("cpu", "avx512-bf16"), "bf16"),
        (("cpu", "amx"), "bf16"),
        (("cuda", "other", True), "bf16"),
        (("cuda", "other", False), "fp32"),
    ],
)
def test_auto_takes_bf16_only_in_hardware(on, machine, precision):
    on(*machine)
    assert runtime.choose_precision("auto") == precision


def test_a_wish_is_granted_where_it_can_be(on):
    on("cpu")
    assert runtime.choose_precision("bf16") == "bf16"
    assert runtime.choose_precision("fp32") == "fp32"
    with pytest.raises(ConfigError, match="fp16 needs a GPU; on this CPU use fp32, bf16 or auto"):
        runtime.choose_precision("fp16")
    on("cuda")
    assert runtime.choose_precision("fp16") == "fp16"


@pytest.mark.parametrize(
    ("machine", "network", "precision", "form"),
    [
        (("cpu", "other"), {}, "fp32", "spectral"),
        (("cpu", "avx512-bf16"), {}, "bf16", "spectral"),
        (("cpu", "amx"), {}, "bf16", "direct"),
        (("cpu", "amx"), {}, "fp32", "spectral"),
        (("cuda", "other"), {}, "bf16", "direct"),
        (("cpu", "other"), {"context_kernel": 5}, "fp32", "direct"),
        (("cpu", "other"), {"context_channels": 32}, "fp32", "direct"),
        (("cpu", "other"), {"context_form": "separable"}, "fp32", "direct"),
    ],
)
def test_the_context_convolution_follows_the_machine(on, machine, network, precision, form):
    on(*machine)
    assert runtime.choose_context("auto", NetworkConfig(**network), precision) == form


@pytest.mark.parametrize("wish", ["direct", "spectral"])
def test_a_wished_form_is_taken(on, wish):
    on("cuda")
    assert runtime.choose_context(wish, NetworkConfig(), "fp32") == wish


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", "amx"),
        ("fpu avx2 avx512_bf16", "avx512-bf16"),
        ("fpu avx2", "other"),
    ],
)
def test_the_kind_of_cpu_follows_its_flags(monkeypatch, flags, kind):
    text = f"processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\n"
    monkeypatch.setattr(runtime, "_cpu_lines", runtime._cpu_lines.__wrapped__)  # reads anew
    monkeypatch.setattr(Path, "exists", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert runtime.cpu_kind() == kind


def test_a_system_that_does_not_tell_is_taken_for_a_plain_cpu(monkeypatch):
    monkeypatch.setattr(runtime, "_cpu_lines", runtime._cpu_lines.__wrapped__)  # reads anew
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert runtime.cpu_kind() == "other"


@pytest.mark.parametrize("missing", ["torch", "accelerate"])
def test_without_torch_the_command_that_installs_it_is_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'segdec\[train\]'"):
        runtime.require_torch()


def test_the_first_process_is_the_main_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert runtime.is_main_process()
    monkeypatch.setenv("RANK", "1")
    assert not runtime.is_main_process()


def test_precision_may_change_from_training_to_training():
    for precision, mixed in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        accelerator = runtime.make_accelerator(precision, 2)
        assert accelerator.mixed_precision == mixed
        assert accelerator.gradient_accumulation_steps == 2


@pytest.mark.parametrize("opened", ["learner", "network", "backend"])
def test_fp32_is_computed_in_fp32_on_a_gpu_too(monkeypatch, tmp_path, opened):
    """NVIDIA's convolutions round to 10 bits unless told not to; the flag can be read without a GPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as PyTorch begins
    small = NetworkConfig(block_channels=(2, 2, 2), block_depths=(1, 1, 1), context_channels=4)
    card, weights = write_untrained(tmp_path / "model", small, (64, 64))
    if opened == "learner":
        runtime.make_accelerator("fp32", 1)
    elif opened == "network":
        open_network(small, {name: torch.tensor(value) for name, value in weights.items()})
    else:
        TorchBackend(card, weights)
    assert torch.backends.cudnn.allow_tf32 is False


def test_versions_and_machine_are_told():
    found = runtime.versions()
    # a package's version may leave out which build it is, as in 2.13.0+cu130
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    machine = runtime.machine()
    assert machine["cpu"]
    assert int(machine["cores"]) >= 1


def test_the_commit_is_of_this_source_tree_or_none(monkeypatch, tmp_path):
    assert runtime.commit() is None or len(runtime.commit().rstrip("+")) >= 7
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "runtime.py"))
    assert runtime.commit() is None
    monkeypatch.setenv("PATH", "")
    assert runtime.commit() is None


def test_only_one_process_on_a_cpu_with_a_compiler_can_compile(on, monkeypatch, tmp_path):
    monkeypatch.setattr(runtime.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(runtime.shutil, "which", lambda name: name if name == "g++" else None)
    on("cpu")
    assert not runtime.can_compile()  # without Python's headers
    (tmp_path / "Python.h").touch()
    assert runtime.can_compile()
    on("cuda")
    assert not runtime.can_compile()
    on("cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not runtime.can_compile()
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(runtime.shutil, "which", lambda _: None)
    assert not runtime.can_compile()
