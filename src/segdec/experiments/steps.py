"""How much work a table is: optimiser steps, counted from the data or from the row, and their time here."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdec.config import STRIDE, Config, load_config
from segdec.data import make_split, open_dataset
from segdec.experiments.jobs import Job
from segdec.experiments.tables import Row
from segdec.runtime import require_torch, wait_for_device
from segdec.types import Dataset

Times = dict[tuple[object, ...], float]
"""Seconds of a step, by the size, batch and way of computing."""

_WARM_UP, _TIMED = 1, 3


@dataclass(frozen=True, slots=True)
class Effort:
    """What the trainings of one row take.

    Attributes
    ----------
    row
        Its name.
    trainings
        Folds times seeds.
    steps
        Of all of them together; None where only the data could tell.
    seconds
        Of all of them on this machine, one after the other; None where not measured.
    """

    row: str
    trainings: int
    steps: int | None
    seconds: float | None = None


def known_steps(row: Row, settings: tuple[str, ...] = ()) -> int | None:
    """Return the optimiser steps of a row with one seed, as far as they are known without the data.

    Parameters
    ----------
    row
        Of a table.
    settings
        Laid over its own.

    Returns
    -------
    int or None
        Of all folds together, each positive counted as one image, which the data may know better
        (`Row.positives`). None where the number of positives is not known.

    Examples
    --------
    >>> from segdec.experiments.tables import find_table
    >>> known_steps(find_table("kolektor").rows[0])
    6930
    """
    if row.positives is None:
        return None
    train = load_config(row.data, (*row.settings, *settings)).train
    return len(row.folds) * train.epochs * (2 * row.positives // train.batch_size)


def efforts(
    rows: Iterable[Row],
    seeds: int,
    settings: tuple[str, ...] = (),
    measured: dict[str, float] | None = None,
    jobs: Sequence[Job] = (),
) -> list[Effort]:
    """Say how much work rows are.

    Parameters
    ----------
    rows
        Of a table.
    seeds
        How many.
    settings
        Laid over those of every row.
    measured
        Row -> seconds of a step on this machine, from `measure`.
    jobs
        The trainings of one seed, to count their steps from the data; what they do not hold is taken from
        the rows.

    Returns
    -------
    list of Effort
    """
    opened: dict[Path, Dataset] = {}
    by_folder: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_folder[job.row.folder].append(job)
    found = []
    for row in rows:
        own = [job for job in by_folder[row.folder] if job.fold in row.folds]
        steps = sum(_count_steps(job, opened) for job in own) if own else known_steps(row, settings)
        total = None if steps is None else steps * seeds
        each = (measured or {}).get(row.name)
        seconds = None if total is None or each is None else total * each
        found.append(Effort(row.name, (len(own) or len(row.folds)) * seeds, total, seconds))
    return found


def _count_steps(job: Job, opened: dict[Path, Dataset]) -> int:
    """Count the optimiser steps of one training; ``opened`` keeps data sets from being read twice."""
    require_torch()
    from segdec.sampling import images_of_epoch

    data = job.config.data
    if job.data not in opened:
        opened[job.data] = open_dataset(job.data, data)
    train = make_split(opened[job.data], data, job.seed).train
    positives = sum(sample.label for sample in train)
    images = images_of_epoch(positives, len(train) - positives)
    return job.config.train.epochs * (images // job.config.train.batch_size)


def measure(
    rows: Iterable[Row], settings: tuple[str, ...] = (), times: Times | None = None
) -> dict[str, float]:
    """Time optimiser steps on this machine, once for each size, batch and way of computing.

    Reading images, validation and evaluation are not in it.

    Parameters
    ----------
    rows
        Of a table.
    settings
        Laid over those of every row.
    times
        What was timed before, with the same settings; what is timed now is added.

    Returns
    -------
    dict
        Row -> seconds of a step, the median of a few.

    Raises
    ------
    MissingExtraError
        Without the training part of the installation.
    """
    require_torch()
    times = {} if times is None else times
    found = {}
    for row in rows:
        config = load_config(row.data, (*row.settings, *settings))
        train = config.train
        key = (config.data.image_size, train.batch_size, train.gradient_adjustment, train.precision)
        if key not in times:
            times[key] = _time_step(config)
        found[row.name] = times[key]
    return found


def _time_step(config: Config) -> float:
    """Return the seconds of a step on made-up values, the median of a few."""
    import torch

    from segdec.data.loader import Batch
    from segdec.step import make_learner, take_step

    size, count = config.data.image_size, config.train.batch_size
    if size is None:
        raise ValueError("data.image_size must be set before a step is timed")
    # whole batches, and no weight that grows beyond all bounds on noise
    train = config.train.model_copy(update={"accumulate": 1, "learning_rate": 1e-6})
    learner = make_learner(config.model_copy(update={"train": train}))
    cells = torch.zeros(count, 1, size[0] // STRIDE, size[1] // STRIDE)
    image = torch.rand(count, config.network.in_channels, *size)
    batch = Batch(image, cells, torch.ones_like(cells), torch.zeros(count, 1), torch.arange(count))
    times = []
    for _ in range(_WARM_UP + _TIMED):
        began = time.perf_counter()
        take_step(learner, batch, 1.0, 1.0)
        wait_for_device()
        times.append(time.perf_counter() - began)
    return statistics.median(times[_WARM_UP:])
