"""What a model is judged by, and whether it has seen that before: then its figures are too good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from segdec.config import DataConfig, load_config
from segdec.data import FileCheck, check_files, open_dataset
from segdec.data.published import KOLEKTOR_EXCLUDED
from segdec.data.tables import PART_NAMES
from segdec.errors import DataError
from segdec.model_io import OTHERS, read_hashes, read_model
from segdec.runs import open_run, open_run_on
from segdec.types import Sample


@dataclass(frozen=True, slots=True)
class Judged:
    """The data that one or several models are judged by.

    Attributes
    ----------
    data_hashes
        Part or fold -> SHA-256 (hexadecimal) of its usable samples, as `segdec.data.FileCheck` has it; empty
        where that was not looked at.
    calibrated_on
        Names of the images that took part in the calibration of the model they judge, be it under another
        name. A model that does not say which did knows its calibration data as a whole.
    trained_on
        The same for the training; None where a model does not say which images did, or not of all, and none
        of those that it names is here.
    """

    data_hashes: dict[str, str] = field(default_factory=dict)
    calibrated_on: tuple[str, ...] = ()
    trained_on: tuple[str, ...] | None = None

    def warnings(self) -> list[str]:
        """Say what makes the figures too good; nothing where the model has seen none of the data.

        Examples
        --------
        >>> Judged({"test": "3f"}).warnings()
        []
        """
        lines = []
        chosen = "escapes and overkill are as low as they were chosen to be"
        for names, what in (
            (self.calibrated_on, f"calibration of the thresholds: {chosen}"),
            (self.trained_on or (), "model's training: the figures are too good"),
        ):
            if names:
                first, count = names[0], len(names)
                which = first if count == 1 else f"{count} of these images ({first} is the first)"
                lines.append(f"{which} took part in the {what}. Leave them out.")
        return lines

    def merged(self, other: Judged) -> Judged:
        """Return what both are judged by."""
        known = [each.trained_on for each in (self, other) if each.trained_on is not None]
        names = tuple(name for each in known for name in each)
        return Judged(
            self.data_hashes | other.data_hashes,
            self.calibrated_on + other.calibrated_on,
            # what one model does not say may be more
            names if names or len(known) == 2 else None,
        )


class ToJudge(NamedTuple):
    """What a model can be judged by or calibrated on.

    Attributes
    ----------
    samples
        Of the run's own data set, wherever it lies now, the test part of its split. Of another, its published
        test part, or all of it where none is published.
    excluded
        Name -> reason, for the files that the data set's reader left out, and of which nobody can tell that
        they are not among these.
    own
        Whether it is the run's own data set.
    """

    samples: Sequence[Sample]
    excluded: dict[str, str]
    own: bool


def samples_to_judge(folder: Path, data: Path | None) -> ToJudge:
    """List what a model can be judged by or calibrated on, and what would be, if it could be used.

    Parameters
    ----------
    folder
        A run folder, or a model folder.
    data
        None is the data set of the run itself.

    Returns
    -------
    ToJudge

    Raises
    ------
    DataError
        If there is nothing of this kind.
    """
    config = DataConfig()
    if (folder / "config.toml").exists():
        run = open_run(folder) if data is None else open_run_on(folder, data)
        if run is not None:
            if not run.split.test:
                raise DataError(f"the split of {folder} has no test part; name another data set")
            return ToJudge(run.split.test, _perhaps_among(run.split.test, run.excluded), own=True)
        config = load_config(folder / "config.toml").data
    if data is None:
        raise DataError(f"{folder} is a model without data of its own; name a data set after it")
    dataset = open_dataset(data, config, one_class=True)
    samples = [sample for sample in dataset if sample.part == "test"] or dataset.samples
    return ToJudge(samples, _perhaps_among(samples, dataset.excluded), own=False)


def _perhaps_among(samples: Sequence[Sample], excluded: dict[str, str]) -> dict[str, str]:
    """Drop what stands in the folder of another part, and what every user of a data set leaves out."""
    others = {"train", "val"} if any(sample.part == "test" for sample in samples) else set()
    return {
        name: reason
        for name, reason in excluded.items()
        if name not in KOLEKTOR_EXCLUDED
        and not any(PART_NAMES.get(folder.lower()) in others for folder in name.split("/")[:-1])
    }


def look_at_judged(
    model: Path, samples: Sequence[Sample], part: str, watch: Callable[[int, int], None] | None = None
) -> Judged:
    """Find out whether a model has seen the samples that are to judge it.

    Parameters
    ----------
    model
        A run folder, or a model folder.
    samples
        What is to be judged. Those that cannot be read do not count.
    part
        Its name.
    watch
        Called with (files read, files in all).

    Returns
    -------
    Judged

    Raises
    ------
    ModelError
        If the folder holds no model.
    """
    card, _ = read_model(model)
    check = check_files(samples, progress=watch)
    seen = read_hashes(model)
    if card.calibration_images is not None:
        calibrated = _known(check, frozenset(card.calibration_images))
    else:  # calibrated before such a list was kept, or not at all
        whole = card.calibration is not None and card.calibration.data_hash == check.data_hash
        calibrated = tuple(check.image_hashes) if whole else ()
    trained = _known(check, seen or frozenset())
    says_all = seen is not None and OTHERS not in seen
    return Judged({part: check.data_hash}, calibrated, trained if trained or says_all else None)


def _known(check: FileCheck, hashes: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name, value in check.image_hashes.items() if value in hashes)
