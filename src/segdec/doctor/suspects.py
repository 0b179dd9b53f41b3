"""Labels that a trained network contradicts."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from segdec.doctor.findings import Finding
from segdec.errors import DataError
from segdec.score_axis import score_text
from segdec.types import Sample


def suspect_findings(run: Path, samples: Sequence[Sample]) -> list[Finding]:
    """Tell which labels the scores of an evaluated run contradict.

    A label is suspect where the score of the other class reaches what images of that class have on
    average: the thresholds of confident learning (Northcutt, Jiang, Chuang, "Confident learning:
    estimating uncertainty in dataset labels", 2021, Sec. 3.1). The images must not have been trained on.

    Parameters
    ----------
    run
        A folder that holds scores.csv.
    samples
        What is examined; scores of other images are passed over, and the samples' labels count.

    Returns
    -------
    list of Finding
        None where no label is suspect.

    Raises
    ------
    DataError
        If there are no scores, or none of these images.
    """
    label_of = {sample.name: sample.label for sample in samples}
    score_of = _read_scores(run, label_of)
    labels = np.array([label_of[name] for name in score_of], bool)
    scores = np.array(list(score_of.values()))
    if labels.all() or not labels.any():
        return []
    high, low = scores[labels].mean(), scores[~labels].mean()
    if high <= low:
        return [Finding("no-use-of-scores", "fact", f"The scores of {run} do not tell defects from good.")]
    suspect = [
        (
            abs(score - (low if label else high)),
            f"{name}: labelled {'defect' if label else 'good'}, {score_text(score, 3)}",
        )
        for name, label, score in zip(score_of, labels, scores, strict=True)
        if (score <= low if label else score >= high)
    ]
    if not suspect:
        return []
    text = (
        f"{len(suspect)} of {len(score_of)} labels contradict the scores of {run}."
        " Look at these images again."
    )
    return [Finding("suspect-labels", "doubtful", text, tuple(words for _, words in sorted(suspect)[::-1]))]


def _read_scores(run: Path, wanted: Collection[str]) -> dict[str, float]:
    """Return the run's score of each image that is wanted, by name; at least one."""
    path = run / "scores.csv"
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        score_of = {row["name"]: float(row["score"]) for row in rows if row["name"] in wanted}
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; run segdec evaluate {run} first"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is no table of scores ({error!r}); run segdec evaluate {run} anew"
        ) from error
    if not score_of:
        raise DataError(
            f"{path} holds scores of {len(rows)} images, none of which is examined; name a run that has been"
            " evaluated on this data"
        )
    return score_of
