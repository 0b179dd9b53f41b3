"""Masks that the run before chose: the data of the next training of a chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segdec.config import Config
from segdec.data import open_dataset
from segdec.files import atomic_write
from segdec.predict import Predictor
from segdec.runs import open_run
from segdec.suggest import choose_from, pool_of, to_text
from segdec.types import Dataset

CHOSEN = "suggestions.csv"
"""File of a run folder: the images whose masks were added to those of the run before, and why."""


def choose_masks(data: Path, config: Config, before: Path, folder: Path) -> Dataset:
    """Return the data with the masks of the run before, and as many more as it suggests itself.

    Only the training part of that run is looked at, and of the defective images without a mask only what an
    annotator would see: their pixels and labels.

    Parameters
    ----------
    data
        The data set, with all its masks.
    config
        Its ``data.masked_positives`` says how many masks there are to be.
    before
        Folder of the run before, which is done.
    folder
        Of the new run, for the list of what was chosen.

    Returns
    -------
    Dataset
        The training part of the split keeps ``masked_positives`` masks.

    Raises
    ------
    DataError
        If the data are no longer those of the run before.
    """
    train = open_run(before, data=data).split.train
    pool = pool_of(train)
    wanted = config.data.masked_positives
    budget = len(pool.candidates) if wanted is None else wanted - len(pool.masked)
    chosen, _ = choose_from(Predictor(before), pool, budget)
    atomic_write(folder / CHOSEN, to_text(chosen, "csv").encode())
    bare = {sample.name for sample in train if sample.weak} - {one.name for one in chosen}
    dataset = open_dataset(data, config.data)
    samples = (sample.without_mask() if sample.name in bare else sample for sample in dataset)
    return replace(dataset, samples=tuple(samples))
