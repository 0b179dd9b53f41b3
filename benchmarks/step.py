"""Where the time of a training step goes, by kind of work, as PyTorch's profiler counts it on a CPU.

::

    python benchmarks/step.py --size 512 512 --compile
    python benchmarks/step.py --size 512 512 --precision fp32 --context direct
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable

from segdec.config import Config, load_config
from segdec.runtime import keep_freed_memory, machine

_WARM_UP = 3
KINDS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("convolution",),
    "matrix products of the spectral form": ("bmm",),
    "compiled: normalisation, ReLU, pooling, moves": ("cpp_fused",),
    "optimiser": ("foreach",),
}
"""What the names of each kind hold, in this order; the rest is named by itself."""


def kind_of(name: str) -> str:
    """Return the kind of work that a name of the profiler's tells, or the name."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), name)


def by_kind(rows: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Add up the times of (name, milliseconds) by kind, the longest first."""
    sums: dict[str, float] = defaultdict(float)
    for name, milliseconds in rows:
        sums[kind_of(name)] += milliseconds
    return dict(sorted(sums.items(), key=lambda row: -row[1]))


def profile(config: Config, steps: int) -> tuple[list[tuple[str, float]], str]:
    """Return (name, milliseconds of its own) of all that a step computes, and how it was computed."""
    import torch
    from torch.profiler import ProfilerActivity

    from segdec.data.loader import Batch
    from segdec.step import make_learner, take_step

    height, width = config.data.image_size or (512, 512)
    generator = torch.Generator().manual_seed(0)
    cells = torch.zeros(1, 1, height // 8, width // 8)
    image = torch.rand(1, 1, height, width, generator=generator)
    batch = Batch(image, cells, torch.ones_like(cells), torch.zeros(1, 1), torch.zeros(1))
    learner = make_learner(config)
    with torch._inductor.config.patch({"cpp.enable_kernel_profile": True}):  # gives compiled code its names
        for _ in range(_WARM_UP):
            take_step(learner, batch, 1.0, 1.0)
        with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(steps):
                take_step(learner, batch, 1.0, 1.0)
    rows = [(row.key, row.self_cpu_time_total / 1000 / steps) for row in profiler.key_averages()]
    compiled = "compiled" if config.train.compile else "not compiled"
    return rows, f"{learner.precision}, {learner.context} context, {compiled}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("H", "W"))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--context", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--longest", type=int, default=10, help="kinds to list")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    keep_freed_memory()
    settings = (
        f"data.image_size=[{given.size[0]}, {given.size[1]}]",
        f"train.precision={given.precision}",
        f"train.context={given.context}",
        f"train.compile={str(given.compile).lower()}",
        *given.set,
    )
    rows, how = profile(load_config(settings=settings), given.steps)
    total = sum(milliseconds for _, milliseconds in rows)
    print(f"machine  {machine()}")
    print(f"step     {total:.1f} ms, mean of {given.steps}, {given.size[0]} x {given.size[1]}, {how}\n")
    for kind, milliseconds in list(by_kind(rows).items())[: given.longest]:
        print(f"{milliseconds:8.2f} ms {milliseconds / total:6.1%}  {kind}")


if __name__ == "__main__":
    main()
