"""What a model is judged by, and whether it has seen that before: then its figures are too good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdec.data import check_files
from segdec.model_io import read_hashes, read_model
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
        The parts whose hash is that of the data which their model's thresholds were calibrated on.
    trained_on
        Names of the images that took part in the training of the model they judge, be it under another name;
        None where a model does not say which images did.
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
        if self.calibrated_on:
            some = "" if len(self.calibrated_on) == len(self.data_hashes) else " of some folds"
            lines.append(
                f"The thresholds{some} were calibrated on these very data: escapes and overkill are as low as"
                " they were chosen to be. Judge the model by other data."
            )
        if self.trained_on:
            first, count = self.trained_on[0], len(self.trained_on)
            which = f"{first} took" if count == 1 else f"{count} of these images ({first} is the first) took"
            lines.append(f"{which} part in the model's training: the figures are too good. Leave them out.")
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
    known = card.calibration is not None and card.calibration.data_hash == check.data_hash
    names = [name for name, value in check.image_hashes.items() if value in (seen or ())]
    return Judged({part: check.data_hash}, (part,) if known else (), None if seen is None else tuple(names))
