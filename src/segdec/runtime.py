"""The machine: device, precision, processes, versions. The only place that names CUDA or ranks."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from datetime import timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segdec.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from segdec.config import NetworkConfig

Precision = Literal["fp32", "bf16", "fp16"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)

_REPORTED = (
    "segdec",
    "torch",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "accelerate",
    "safetensors",
    "onnxruntime",
    "openvino",
)


def require_torch() -> None:
    """Check that the training part is installed.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    try:
        import accelerate  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"this needs PyTorch, which is not installed ({error}); install it with:"
            " pip install 'segdec[train]'"
        ) from error


def require_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"train.tensorboard needs TensorBoard, which is not installed ({error}); install it with:"
            " pip install 'segdec[track]', or leave the setting out"
        ) from error


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the next step to take without the system's help.

    A training step asks for the same large buffers again and again; handing them back and having them
    zeroed anew cost a fifth of the step on a CPU. Large pages need this called before torch is imported.
    Does nothing where the C library is not glibc.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch's allocator
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def cpu_kind() -> Literal["amx", "avx512-bf16", "other"]:
    """Return what this CPU offers for bf16: matrix tiles, vector products, or nothing.

    "Accepts bf16" is not "computes in bf16": without these instructions it is emulated, many times slower
    than fp32. Where the system does not tell, it is taken for a CPU without.
    """
    flags = next((line.split() for line in _cpu_lines() if line.startswith("flags")), [])
    if "amx_bf16" in flags:
        return "amx"
    return "avx512-bf16" if "avx512_bf16" in flags else "other"


@cache
def _cpu_lines() -> tuple[str, ...]:
    """Return what the system says of its CPUs, read once; nothing where it does not tell."""
    info = Path("/proc/cpuinfo")
    return tuple(info.read_text(encoding="utf-8").splitlines()) if info.exists() else ()


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu() -> bool:
    """Tell whether PyTorch would find a GPU; without loading it where no driver is installed."""
    if not Path("/dev/nvidiactl").exists() and shutil.which("nvidia-smi") is None:
        return False
    return _torch_is_installed() and device_type() == "cuda"


def _torch_is_installed() -> bool:
    return importlib.util.find_spec("torch") is not None


def device_type() -> str:
    """Return "cuda" where a GPU is at hand, otherwise "cpu"."""
    if not _torch_is_installed():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def computes_in_bf16(device: str | None = None) -> bool:
    """Tell whether a device has instructions for bf16; emulated, it is far slower than fp32.

    Parameters
    ----------
    device
        Its type in torch's words, "cpu" or "cuda"; None is what would train here.
    """
    if device is None:
        device = "cuda" if has_gpu() else "cpu"
    if device == "cpu":
        return cpu_kind() != "other"
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def keep_fp32_exact() -> None:
    """Let convolutions in fp32 be computed in fp32 from now on, in this process.

    NVIDIA's library rounds their inputs to 10 bits (TF32) unless it is told not to: scores would differ in
    the third digit from those of a CPU, and from what an export is certified against. Does nothing on a CPU.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False


def choose_precision(wish: Literal["auto", "fp32", "bf16", "fp16"]) -> Precision:
    """Decide the precision of training.

    Parameters
    ----------
    wish
        "auto" takes bf16 only where the machine computes it in hardware.

    Returns
    -------
    str
        "fp32", "bf16" or "fp16".

    Raises
    ------
    ConfigError
        For fp16 on a CPU, where PyTorch cannot train in it.
    """
    if wish == "fp16" and device_type() == "cpu":
        raise ConfigError("train.precision fp16 needs a GPU; on this CPU use fp32, bf16 or auto")
    if wish != "auto":
        return wish
    return "bf16" if computes_in_bf16(device_type()) else "fp32"


def choose_context(
    wish: Literal["auto", "direct", "spectral"], network: NetworkConfig, precision: Precision
) -> Literal["direct", "spectral"]:
    """Decide by a rule how the context convolution is computed.

    That is for predictions, which measure nothing: it would take longer than the first decision may. A
    training that is left to choose measures (`segdec.context.measure_context`), unless it is divided among
    processes.

    Parameters
    ----------
    wish
        "auto" takes the spectral form on a CPU: with AVX-512 the layer alone took a sixth to a third of the
        direct form's time (one thread, 64 x 64 to 512 x 512, fp32 and bf16). It takes the direct form where
        the CPU has matrix tiles for the precision asked for, which are made for its products, and on a GPU.
    network
        Small windows gain nothing from the spectral form, and only the full context has one.
    precision
        What it is computed in.

    Returns
    -------
    str
        "direct" or "spectral".
    """
    if wish != "auto":
        return wish
    tiles = precision == "bf16" and cpu_kind() == "amx"
    gains = may_gain_from_spectral(network) and device_type() == "cpu" and not tiles
    return "spectral" if gains else "direct"


def may_gain_from_spectral(network: NetworkConfig) -> bool:
    """Tell whether the context convolution is large enough for its spectral form to be faster anywhere.

    Parameters
    ----------
    network
        Its sizes.
    """
    return network.context_form == "full" and network.context_kernel >= 11 and network.context_channels >= 256


def can_compile() -> bool:
    """Tell whether ``torch.compile`` can work for a training on this machine's CPU in one process.

    It needs a C++ compiler and Python's own headers. For GPUs and several processes nothing was measured, so
    the answer is False there.
    """
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    compiler = any(shutil.which(name) for name in names if name)
    headers = (Path(sysconfig.get_path("include")) / "Python.h").exists()
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    return compiler and headers and alone and device_type() == "cpu"


def is_main_process() -> bool:
    """Return True in the process that writes and reports: the only one, or the first of ``torchrun``'s."""
    return int(os.environ.get("RANK", "0")) == 0


def make_accelerator(precision: Precision, accumulate: int) -> Accelerator:
    """Open the device and, under ``torchrun``, the group of processes.

    Parameters
    ----------
    precision
        Of the forward and backward pass; weights stay in fp32.
    accumulate
        Backward passes per optimiser step.

    Returns
    -------
    Accelerator
    """
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    keep_fp32_exact()
    # a process may train several times; accelerate would hold on to the first one's precision
    AcceleratorState._reset_state()
    mixed = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[precision]
    # the other processes wait while the first one validates, which may take longer than they would by default
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=12))
    return Accelerator(
        mixed_precision=mixed,
        gradient_accumulation_steps=accumulate,
        cpu=device_type() == "cpu",
        kwargs_handlers=[patience],
    )


def wait_for_device() -> None:
    """Wait until a GPU has done what it was given; a CPU has done so already."""
    if device_type() == "cuda":
        import torch

        torch.cuda.synchronize()


def peak_memory() -> int:
    """Return the most bytes that this process has held so far: on a GPU of its memory, otherwise of RAM."""
    import resource

    if device_type() == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    unit = 1 if platform.system() == "Darwin" else 1024  # macOS counts in bytes, Linux in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in _REPORTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_name() -> str:
    """Return what this CPU calls itself."""
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> dict[str, str | int]:
    """Describe the machine: processor, cores, what it offers for bf16, device."""
    device = device_type()
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "cpu_kind": cpu_kind(),
        "device": gpu_name() if device == "cuda" else "cpu",
    }


def gpu_name() -> str:
    """Return what this machine's first GPU calls itself."""
    import torch

    return str(torch.cuda.get_device_name())


def commit() -> str | None:
    """Return the commit of this source tree, with "+" where it was changed; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", "runtime.py"], cwd=here, capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # an installed package inside somebody else's repository has no commit of its own
    return described.stdout.strip() if tracked.returncode == 0 else None
