"""Labels that a trained network contradicts."""

from __future__ import annotations

import csv
import json
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
    estimating uncertainty in dataset labels", 2021, Sec. 3.1). Scores of images that took part in the
    training are left out: they repeat the labels that were learnt.

    Parameters
    ----------
    run
        A folder that holds scores.csv, and metrics.json, which names the images that were trained on.
    samples
        What is examined; scores of other images are passed over, and the samples' labels count.

    Returns
    -------
    list of Finding
        None where no label is suspect and all scores count.

    Raises
    ------
    DataError
        If there are no scores, or none of these images, or metrics.json is damaged.
    """
    label_of = {sample.name: sample.label for sample in samples}
    score_of = _read_scores(run, label_of)
    trained_on = _read_trained_on(run)
    findings = _training_findings(run, list(score_of), trained_on)
    score_of = {name: score for name, score in score_of.items() if name not in (trained_on or ())}
    labels = np.array([label_of[name] for name in score_of], bool)
    scores = np.array(list(score_of.values()))
    if labels.all() or not labels.any():
        return findings
    high, low = scores[labels].mean(), scores[~labels].mean()
    if high <= low:
        text = f"The scores of {run} do not tell defects from good."
        return [*findings, Finding("no-use-of-scores", "fact", text)]
    suspect = [
        (
            abs(score - (low if label else high)),
            f"{name}: labelled {'defect' if label else 'good'}, {score_text(score, 3)}",
        )
        for name, label, score in zip(score_of, labels, scores, strict=True)
        if (score <= low if label else score >= high)
    ]
    if not suspect:
        return findings
    text = (
        f"{len(suspect)} of {len(score_of)} labels contradict the scores of {run}."
        " Look at these images again."
    )
    items = tuple(words for _, words in sorted(suspect)[::-1])
    return [Finding("suspect-labels", "doubtful", text, items), *findings]


def _training_findings(run: Path, names: list[str], trained_on: frozenset[str] | None) -> list[Finding]:
    """Tell which scores are left out, or that this is not known."""
    if trained_on is None:
        text = (
            f"{run} does not name all the images that it was trained on. Where these are among them, its"
            " scores repeat their labels, right or wrong."
        )
        return [Finding("training-unknown", "fact", text)]
    left_out = tuple(name for name in names if name in trained_on)
    if not left_out:
        return []
    text = (
        f"{len(left_out)} of {len(names)} scores of {run}: left out, as their images took part in its"
        " training; they repeat the labels that were learnt, right or wrong. A cross-validation judges all."
    )
    return [Finding("trained-on", "fact", text, left_out)]


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


def _read_trained_on(run: Path) -> frozenset[str] | None:
    """Return the names of the judged images that took part in the training; None where nobody knows."""
    path = run / "metrics.json"
    if not path.exists():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("judged", {}).get("trained_on")
        return None if names is None else frozenset(names)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no evaluation ({error!r}); run segdec evaluate {run} anew") from error
