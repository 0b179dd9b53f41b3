"""From a trained run to one whose normalisation is frozen: the same statistics for every image.

With per-image statistics no convolution can be folded with the normalisation after it, and a tile answers
otherwise than the whole image that it was cut from. Frozen statistics mend both. It is another network than
the paper's, so its weights are trained on for some epochs, and it has to prove itself like any other.

What it learns there is what the run itself says of its images. Labels and masks would teach something else:
a score map that is normalised by itself has the mean 0, and only without that can it say "good" everywhere.
The segmentation stage runs to that at once, and leaves a decision stage behind that never saw such maps.
"""

from __future__ import annotations

from pathlib import Path

from segdec.config import load_config
from segdec.errors import ModelError
from segdec.progress import Watch
from segdec.runs import Run, open_ended_run
from segdec.train import train

_RATE = 0.005
"""Without each image's own statistics nothing damps a step: ten times this runs off to infinity."""


def freeze_norm(
    run: Path,
    out: Path,
    epochs: int = 5,
    learning_rate: float | None = None,
    settings: tuple[str, ...] = (),
    watch: Watch | None = None,
) -> Run:
    """Freeze the normalisation of a trained run and train on for some epochs, in a new run folder.

    Parameters
    ----------
    run
        The trained run; it is left as it is. Its data, split and settings are taken over.
    out
        The new run folder.
    epochs
        Of the training after freezing, at least 1.
    learning_rate
        Of that training; 0.005, or the run's own where that is lower, if left out.
    settings
        Single settings laid over all that.
    watch
        Called as training proceeds.

    Returns
    -------
    Run
        An ordinary run: ``--resume``, evaluate and export work on it.

    Raises
    ------
    ModelError
        If the run has not ended, or its normalisation is frozen already.
    OutputError
        If ``out`` holds a run.
    """
    opened = open_ended_run(run)
    if opened.config.network.norm == "frozen":
        raise ModelError(f"the normalisation of {run} is frozen already; name the run that it came from")
    rate = min(_RATE, opened.config.train.learning_rate) if learning_rate is None else learning_rate
    taught = (f'train.teacher="{run.resolve()}"', "loss.balance=none", "loss.delta=1")
    given = (
        "network.norm=frozen",
        f'train.start_from="{run.resolve()}"',
        *(taught if opened.config.data.tile is None else ()),  # a teacher answers for whole images
        f"train.epochs={epochs}",
        f"train.learning_rate={rate}",
        "train.context=auto",  # this machine may be another one
        *settings,
    )
    config = load_config(settings=given, base=opened.config.model_dump(mode="json", exclude_none=True))
    return train(Path(opened.meta["data"]), config, out, watch=watch)
