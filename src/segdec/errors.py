"""Every error that segdec raises on purpose, and the exit code of each.

::

    SegdecError (1)
    ├── ConfigError (3)          a setting that does not exist or cannot be
    ├── DataError (4)            a data set, split or table that cannot be used
    │   ├── ImageError           one image or mask file that cannot be used
    │   └── UnsupportedError     too few data for the certainty that is wished
    ├── ModelError (5)           a model folder or checkpoint that cannot be used
    ├── TrainingError (6)        training cannot go on
    ├── OutputError (7)          a result cannot be written
    └── MissingExtraError (8)    a part of segdec that is not installed

Exit code 2 is the command line's own (wrong usage); 9 says that a command went through, but left
some of its inputs out (``PARTIAL``); 130 is an interruption with Ctrl-C.

The message is one sentence for the person at the keyboard: what is wrong, the value got, what is
allowed, what to do.
"""

from __future__ import annotations

PARTIAL = 9
"""Exit code of a command that finished, but could not use some of its inputs."""


class SegdecError(Exception):
    """Base of all errors that segdec raises on purpose."""

    exit_code = 1


class ConfigError(SegdecError):
    """A setting that does not exist or cannot be."""

    exit_code = 3


class DataError(SegdecError):
    """A data set, split or table that cannot be used."""

    exit_code = 4


class ImageError(DataError):
    """One image or mask file that cannot be used."""


class UnsupportedError(DataError):
    """Too few data for the certainty that is wished.

    Attributes
    ----------
    supported : float or None
        The best rate (or review share) that the data do support; None where there is none. If several are
        lacking, it is that of the first, and so is ``needed``.
    threshold : float or None
        Where it would be reached, with all of the offer.
    needed : int or None
        How many items without a single wrong decision would support the wish.
    offer : dict of str to float, or None
        What can be had of the wish, as the arguments of `segdec.wish.Wish`; None where nothing can.
    """

    def __init__(
        self,
        message: str,
        *,
        supported: float | None = None,
        threshold: float | None = None,
        needed: int | None = None,
        offer: dict[str, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.supported, self.threshold, self.needed, self.offer = supported, threshold, needed, offer


class ModelError(SegdecError):
    """A model folder or checkpoint that cannot be used."""

    exit_code = 5


class TrainingError(SegdecError):
    """Training cannot go on."""

    exit_code = 6


class OutputError(SegdecError):
    """A result cannot be written."""

    exit_code = 7


class MissingExtraError(SegdecError):
    """A part of segdec that is not installed; the message holds the command that installs it."""

    exit_code = 8
