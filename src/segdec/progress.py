"""What a training tells while it runs: where it stands, its losses, how long it waited for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segdec.errors import TrainingError
from segdec.types import Sample

if TYPE_CHECKING:
    from torch import Tensor

    from segdec.data.loader import Batch
    from segdec.step import Losses


@dataclass(frozen=True)
class Progress:
    """Where a training stands, for whoever watches.

    Attributes
    ----------
    stage
        "reading", "asking the teacher", "measuring", "training", "validating" or "choosing the threshold".
    done, total
        Files, optimiser steps or images of this stage.
    epoch, epochs
        The epoch, from 0, and how many there are.
    losses
        Means of this epoch so far: "loss", "seg_loss", "dec_loss".
    """

    stage: str
    done: int
    total: int
    epoch: int = 0
    epochs: int = 0
    losses: dict[str, float] | None = None


Watch = Callable[[Progress], None]


class Meter:
    """Collects losses on the device and reads them now and then: a read waits for the device.

    Parameters
    ----------
    every
        Optimiser steps between two reads.
    samples, learning_rate
        What is learnt from and how fast, for an error that names them.
    """

    def __init__(self, every: int, samples: Sequence[Sample], learning_rate: float) -> None:
        self.every = every
        self.samples = samples
        self.learning_rate = learning_rate
        self._rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def add(self, losses: Losses, place: Tensor) -> None:
        """Keep the losses of a batch, and the places (N,) of its images among the samples."""
        loss, seg_loss, dec_loss = (each.detach() for each in losses)
        self._rows.append((loss, seg_loss, dec_loss, place))

    def read(self, epoch: int, sums: dict[str, float]) -> None:
        """Add what was collected to ``sums``; a loss that is not finite ends the training."""
        for loss, seg_loss, dec_loss, place in self._rows:
            if not bool(loss.isfinite().all()):
                names = ", ".join(self.samples[one].name for one in place.tolist())
                raise TrainingError(
                    f"the loss is {loss.tolist()} in epoch {epoch + 1} on {names}: training cannot go on;"
                    f" try a lower train.learning_rate (it is {self.learning_rate}),"
                    " train.precision=fp32, or look at these images and their masks"
                )
            for key, values in (("loss", loss), ("seg_loss", seg_loss), ("dec_loss", dec_loss)):
                sums[key] = sums.get(key, 0.0) + float(values.sum())
            sums["images"] = sums.get("images", 0.0) + len(place)
        self._rows.clear()


class Clock:
    """Counts the seconds that a loop waits for its next item."""

    def __init__(self) -> None:
        self.waited = 0.0

    def waiting(self, items: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the items, and count how long each is waited for."""
        iterator = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - began
            yield item
