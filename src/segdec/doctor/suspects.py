"""Labels that a trained network contradicts."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from segdec.doctor.findings import Finding
from segdec.errors import DataError
from segdec.score_axis import score_text
from segdec.types import Sample


class _Scored(NamedTuple):
    """An image that was judged."""

    name: str
    score: float
    part: str
    label: bool


def suspect_findings(run: Path, samples: Sequence[Sample]) -> list[Finding]:
    """Tell which labels the scores of an evaluated run, or of the folds of a cross-validation, contradict.

    A label is suspect where the score of the other class reaches what images of that class have on
    average: the thresholds of confident learning (Northcutt, Jiang, Chuang, "Confident learning:
    estimating uncertainty in dataset labels", 2021, Sec. 3.1). Scores of images that took part in the
    training are left out: they repeat the labels that were learnt. Each fold has averages of its own, as
    networks that were trained apart are not equally sure.

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
    rows = _read_scores(run, {sample.name: sample.label for sample in samples})
    trained_on = _read_trained_on(run)
    findings = _training_findings(run, [row.name for row in rows], trained_on)
    parts: dict[str, list[_Scored]] = {}
    for row in rows:
        if row.name not in (trained_on or ()):
            parts.setdefault(row.part, []).append(row)
    useless = {part: why for part, of_part in parts.items() if (why := _useless(of_part))}
    if useless:
        where = "" if len(parts) == 1 else f" in {len(useless)} of {len(parts)} folds"
        text = f"The scores of {run} do not tell defects from good{where}."
        items = tuple(f"{part}: {why}" for part, why in useless.items())
        findings.append(Finding("no-use-of-scores", "fact", text, items))
    useful = [of_part for part, of_part in parts.items() if part not in useless]
    suspect = [each for of_part in useful for each in _suspects(of_part)]
    if not suspect:
        return findings
    text = (
        f"{len(suspect)} of {sum(map(len, useful))} labels contradict the scores of {run}."
        " Look at these images again."
    )
    items = tuple(words for _, words in sorted(suspect)[::-1])
    return [Finding("suspect-labels", "doubtful", text, items), *findings]


def _useless(rows: Sequence[_Scored]) -> str:
    """Return why the scores of one network tell nothing of labels; nothing where they do."""
    if len({row.label for row in rows}) < 2:
        return f"only {'defects' if rows[0].label else 'good images'} are judged"
    high, low = _class_means(rows)
    return "" if high > low else "good images score as high as defective ones"


def _class_means(rows: Sequence[_Scored]) -> tuple[float, float]:
    """Return the mean score of the defective and of the good images."""
    high, low = (fmean(row.score for row in rows if row.label is label) for label in (True, False))
    return high, low


def _suspects(rows: Sequence[_Scored]) -> list[tuple[float, str]]:
    """Return which labels the scores of one network contradict, and how much: 0 is at the other's mean."""
    high, low = _class_means(rows)
    return [
        (
            abs(row.score - (low if row.label else high)) / (high - low),
            f"{row.name}: labelled {'defect' if row.label else 'good'}, {score_text(row.score, 3)}",
        )
        for row in rows
        if (row.score <= low if row.label else row.score >= high)
    ]


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


def _read_scores(run: Path, label_of: Mapping[str, bool]) -> list[_Scored]:
    """Return the run's score of each image that has a label here; at least one."""
    path = run / "scores.csv"
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        scored = [
            _Scored(row["name"], float(row["score"]), row.get("part") or "test", label_of[row["name"]])
            for row in rows
            if row["name"] in label_of
        ]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; run segdec evaluate {run} first"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is no table of scores ({error!r}); run segdec evaluate {run} anew"
        ) from error
    if not scored:
        raise DataError(
            f"{path} holds scores of {len(rows)} images, none of which is examined; name a run that has been"
            " evaluated on this data"
        )
    return scored


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
