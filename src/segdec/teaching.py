"""A student learns from a teacher: its scores and score maps in place of labels and masks.

The teacher is asked once, in fp32 and without augmentation; its answers are kept in the run folder, so that
the training can go on without it. Images that nobody has judged teach as well: the teacher's decision on them
stands for their label when an epoch is drawn.

A trained network's logits reach 30 for an image and 100 for a cell, where every sigmoid is 1: a student would
learn neither which of two sure answers is surer, nor where a threshold of 0.9999 lies. So the answers are
softened: logits are divided by a temperature, and those of scores are counted from the teacher's threshold,
which becomes 0.5. Neither changes an order, and a student can say the same with other factors in its last
layers. Softened by their largest, though, maps would say next to nothing: the typical sure cell decides.
A network that begins with its teacher's own weights (`segdec.freezing`) learns the answers as they are.
Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network" (arXiv:1503.02531), Sec. 2.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segdec.backends.pytorch import open_network, probabilities, to_batch
from segdec.config import Config
from segdec.data import check_files
from segdec.data.answers import Answers, unjudged
from segdec.data.find import find_images
from segdec.data.pixels import load_pixels
from segdec.errors import ConfigError, DataError, ModelError
from segdec.files import sha256
from segdec.model_card import ModelCard
from segdec.model_io import WEIGHTS, read_hashes, read_model
from segdec.network import SegDecNet
from segdec.runs import Run
from segdec.score_axis import to_logit
from segdec.types import Sample

_SURE = 4.0
"""The logit that a teacher's sure answers are softened to, in the median: a sigmoid of 0.98."""


def ask_teacher(run: Run, watch: Callable[[int, int], None]) -> Run:
    """Let the teacher of a new run answer, and add the images of ``data.unlabelled`` to those that teach.

    Parameters
    ----------
    run
        From `segdec.new_run.start_run`; its ``train.teacher`` names a run or a model.
    watch
        Called with (images read or answered, images in all).

    Returns
    -------
    Run
        With answers. Of the other images, those that cannot be read or belong to the run's own data are left
        out, and listed in ``meta["unreadable"]``.

    Raises
    ------
    ConfigError
        If the teacher takes other images than the run.
    ModelError
        If it is no whole model, or a score is no number.
    DataError
        If the folder holds no image, or the teacher was trained on images of the test part.
    ImageError
        With ``data.strict``, if one of its images cannot be used.
    """
    if run.config.train.teacher is None:
        raise ValueError("train.teacher must be set")
    card, arrays = read_model(Path(run.config.train.teacher))
    _refuse_other_input(card, run.config)
    weights = {name: torch.tensor(array) for name, array in arrays.items()}
    network = open_network(card.network, weights)
    judging = _hash_test_part(run, Path(run.config.train.teacher))
    others, hashes, left_out = _other_images(run, judging, watch)
    maps, logits = _answer(network, (*run.split.train, *others), run.config, watch)
    decisions = _sigmoid(logits[len(run.split.train) :]) >= card.threshold
    judged = tuple(replace(each, label=bool(d)) for each, d in zip(others, decisions, strict=True))
    itself = run.config.train.start_from == run.config.train.teacher
    answers, told = (_repeat if itself else _soften)(maps, logits, card)
    told |= {"unlabelled": {"images": len(judged), "defective": int(decisions.sum())}}
    return replace(
        run,
        meta=run.meta | {"teacher": told, "unreadable": run.meta["unreadable"] | left_out},
        image_hashes=run.image_hashes | set(hashes),
        answers=replace(answers, unlabelled=judged, hashes=hashes),
    )


def _soften(
    maps: NDArray[np.float32], logits: NDArray[np.float64], card: ModelCard
) -> tuple[Answers, dict[str, Any]]:
    """Return what is learnt of a teacher's logits, and how it was made of them."""
    centred = logits - to_logit(card.threshold)
    score_temperature = choose_temperature(centred)
    map_temperature = choose_temperature(maps, float(to_logit(card.pixel_threshold)))
    answers = Answers(
        maps=_sigmoid(maps / map_temperature).astype(np.float32), scores=_sigmoid(centred / score_temperature)
    )
    return answers, _origin(card) | {
        "score_temperature": score_temperature,
        "map_temperature": map_temperature,
    }


def _repeat(
    maps: NDArray[np.float32], logits: NDArray[np.float64], card: ModelCard
) -> tuple[Answers, dict[str, Any]]:
    """Return a teacher's answers as they are: what begins with its weights says nearly the same already."""
    return Answers(maps=_sigmoid(maps).astype(np.float32), scores=_sigmoid(logits)), _origin(card)


def _origin(card: ModelCard) -> dict[str, Any]:
    return {"run": card.trained.run, "weights": card.files[WEIGHTS], "threshold": card.threshold}


def choose_temperature(logits: NDArray[np.floating], threshold: float = 0.0) -> float:
    """Choose by what a teacher's logits are divided.

    Parameters
    ----------
    logits
        Any shape, finite.
    threshold
        The logit from which an answer means defect.

    Returns
    -------
    float
        At least 1: mild answers stay as they are. It brings the answers that mean defect to 4, in the median.

    Examples
    --------
    >>> choose_temperature(np.array([-20.0, 10.0, 20.0, 100.0])), choose_temperature(np.array([-20.0, 1.0]))
    (5.0, 1.0)
    """
    defect = logits[logits >= threshold]
    return max(1.0, float(np.median(defect)) / _SURE) if defect.size else 1.0


def _sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    return probabilities(torch.from_numpy(logits))


@torch.inference_mode()
def _answer(
    network: SegDecNet, samples: Sequence[Sample], config: Config, watch: Callable[[int, int], None]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the logits of every image: (n, H/8, W/8) of its cells, and (n,) of its score."""
    maps, logits = [], []
    for done, sample in enumerate(samples, start=1):
        image, _ = load_pixels(sample, config)  # (H, W, C)
        seg_logits, dec_logits = network(to_batch([image]))
        maps.append(seg_logits[0, 0].float().cpu().numpy())  # (H/8, W/8)
        logits.append(float(dec_logits[0, 0]))
        if not (np.isfinite(logits[-1]) and np.isfinite(maps[-1]).all()):
            raise ModelError(f"the teacher's score of {sample.name} is no number (overflow); train it anew")
        watch(done, len(samples))
    return np.stack(maps), np.array(logits)


def _hash_test_part(run: Run, teacher: Path) -> set[str]:
    """Return the SHA-256 of the images that judge the student; none of them may have taught its teacher."""
    names = {sha256(each.image.read_bytes()): each.name for each in run.split.test}
    # an image that stands in two parts of the data set under two names is not the split's fault
    learnt = (read_hashes(teacher) or frozenset()) - run.image_hashes
    known = [name for value, name in names.items() if value in learnt]
    if known:
        raise DataError(
            f"the test part holds {len(known)} images that the teacher {teacher} was trained on ({known[0]}"
            " first), so it could not judge the student; use the teacher's own split"
        )
    return set(names)


def _other_images(
    run: Run, judging: set[str], watch: Callable[[int, int], None]
) -> tuple[tuple[Sample, ...], tuple[str, ...], dict[str, str]]:
    """Return the images of ``data.unlabelled`` that may teach, their hashes, and why others may not."""
    if run.config.data.unlabelled is None:
        return (), (), {}
    folder = Path(run.config.data.unlabelled).resolve()
    found = [unjudged(path) for path in find_images([str(folder)], io.StringIO()).images]
    check = check_files(found, strict=run.config.data.strict, progress=watch)
    taken: dict[str, Sample] = {}  # by hash
    left_out = dict(check.unreadable)
    for sample in check.samples:
        value = check.image_hashes[sample.name]
        if value in judging:
            left_out[sample.name] = "stands in the test part, which judges the student"
        elif value in run.image_hashes or value in taken:
            left_out[sample.name] = "teaches or chooses already"
        else:
            taken[value] = sample
    return tuple(taken.values()), tuple(taken), left_out


def _refuse_other_input(card: ModelCard, config: Config) -> None:
    for key, taught, wanted in (
        ("image_size", card.image_size, config.data.image_size),
        ("channels", card.channels, config.data.channels),
    ):
        if taught != wanted:
            raise ConfigError(
                f"data.{key} is {wanted}, but the teacher {config.train.teacher} takes {taught}; a student"
                " sees what its teacher sees, so set both to the same"
            )
