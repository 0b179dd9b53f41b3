"""What a teacher said of the images that a student learns from: one file, written once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from segdec.errors import ModelError
from segdec.files import atomic_write
from segdec.types import Sample

_FILE = "answers.safetensors"


@dataclass(frozen=True)
class Answers:
    """A teacher's answers to the training part, and after it to images that nobody had judged.

    Attributes
    ----------
    maps
        (n, H/8, W/8) float32 score maps, in cells, softened (`segdec.teaching.soften`).
    scores
        (n,) float64, softened; 0.5 is the teacher's threshold.
    unlabelled
        The last of the n images, each labelled with the teacher's decision.
    hashes
        SHA-256 (hexadecimal) of each of these image files.
    """

    maps: NDArray[np.float32]
    scores: NDArray[np.float64]
    unlabelled: tuple[Sample, ...] = ()
    hashes: tuple[str, ...] = ()


def save_answers(answers: Answers, folder: Path) -> None:
    """Write answers, whole or not at all.

    Parameters
    ----------
    answers
        Of one teacher.
    folder
        The student's run folder.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    unlabelled = [
        [str(sample.image), sample.label, found]
        for sample, found in zip(answers.unlabelled, answers.hashes, strict=True)
    ]
    arrays: dict[str, NDArray[Any]] = {"maps": np.ascontiguousarray(answers.maps), "scores": answers.scores}
    atomic_write(folder / _FILE, save(arrays, metadata={"unlabelled": json.dumps(unlabelled)}))


def load_answers(folder: Path, labelled: int) -> Answers:
    """Read what `save_answers` wrote.

    Parameters
    ----------
    folder
        The student's run folder.
    labelled
        Images of the training part, which the first answers belong to.

    Returns
    -------
    Answers

    Raises
    ------
    ModelError
        If the file is missing or damaged, or belongs to other images.
    """
    path = folder / _FILE
    try:
        with safe_open(path, framework="np") as file:
            listed = json.loads(file.metadata()["unlabelled"])
            maps, scores = file.get_tensor("maps"), file.get_tensor("scores")
        unlabelled = tuple(unjudged(Path(image), bool(label)) for image, label, _ in listed)
        hashes = tuple(str(found) for _, _, found in listed)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} holds no answers of a teacher ({error}); restore it from a copy, or compress anew"
        ) from error
    if len(maps) != len(scores) or len(scores) != labelled + len(unlabelled):
        raise ModelError(
            f"{path} answers for {len(scores)} images, but the run learns from {labelled} of its data set and"
            f" {len(unlabelled)} others; restore it from a copy, or compress anew"
        )
    return Answers(maps, scores, unlabelled, hashes)


def unjudged(image: Path, decision: bool = False) -> Sample:
    """Return the sample that an image without label becomes.

    Parameters
    ----------
    image
        The file.
    decision
        The teacher's.

    Examples
    --------
    >>> unjudged(Path("/line/1.png"), True).label
    True
    """
    return Sample(name=str(image), image=image, label=decision)
