"""What came of the runs of a table, read back from their folders."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from segdec.config import load_config
from segdec.errors import DataError, ModelError, OutputError, SegdecError
from segdec.experiments.jobs import DONE, FAILED, configure, variant_name
from segdec.experiments.tables import Row, Table
from segdec.experiments.work import SESSIONS, check_same, damaged, judged
from segdec.metrics import auroc, average_precision, average_precision_trapezoid, confusion
from segdec.thresholds import best_f1_threshold


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run; also one line of TABLE-runs.csv.

    Attributes
    ----------
    table, row, variant, fold, seed
        Which run; ``variant`` is what ``--set`` added to the row's name.
    ap, ap_trapezoid, auroc
        Of the test images, in [0, 1]; None where undefined or failed.
    fp, fn
        At the model's own threshold.
    best_f1_on_test_fp, best_f1_on_test_fn
        At the threshold of best F1 on the test images, as the reference counts.
    threshold, threshold_from
        The model's own threshold, and the part that it was chosen on.
    pixel_ap
        Of the test images with masks.
    defective, good
        Test images.
    epochs, height, width, precision
        Of the training; two precisions, if it was gone on with on another machine.
    steps, train_s
        Optimiser steps, and the seconds that they took.
    commit, machine, date, command
        With what, where and when; and how to measure it again. The machine is its GPU, or its CPU with its
        kind (`segdec.runtime.cpu_kind`) where the run has noted it.
    failed
        Why there is no figure; empty otherwise.
    folder
        The run folder, below the folder of all results.
    settings
        What ``--set`` changed, as it was given; empty also where an older version did not write it down.
    """

    table: str
    row: str
    variant: str
    fold: str
    seed: int
    ap: float | None = None
    ap_trapezoid: float | None = None
    auroc: float | None = None
    fp: int | None = None
    fn: int | None = None
    best_f1_on_test_fp: int | None = None
    best_f1_on_test_fn: int | None = None
    threshold: float | None = None
    threshold_from: str = ""
    pixel_ap: float | None = None
    defective: int | None = None
    good: int | None = None
    epochs: int = 0
    height: int = 0
    width: int = 0
    precision: str = ""
    steps: int = 0
    train_s: float = 0.0
    commit: str = ""
    machine: str = ""
    date: str = ""
    command: str = ""
    failed: str = ""
    folder: str = ""
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a run's test images.

    Attributes
    ----------
    labels, scores, thresholds
        (N,) each: True is defect; in [0, 1]; of the model that gave the score.
    """

    labels: np.ndarray[Any, np.dtype[np.bool_]]
    scores: np.ndarray[Any, np.dtype[np.float64]]
    thresholds: np.ndarray[Any, np.dtype[np.float64]]


def find_outcomes(table: Table, out: Path) -> tuple[list[Outcome], list[SegdecError]]:
    """Read every settled run of a table, whoever made it; one that cannot be used leaves the others alone.

    Parameters
    ----------
    table
        Its rows say where to look.
    out
        Folder of all results. Runs of other machines count once their folders are copied into it.

    Returns
    -------
    list of Outcome
        By row, variant, seed and fold. A run that two rows share stands in both.
    list of SegdecError
        Of each run that is damaged, or of another configuration or division into folds, what is wrong.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    if not out.is_dir():
        raise DataError(f"{out} does not exist; --out names the folder that holds the results")
    found = []
    problems: dict[str, SegdecError] = {}  # of a run that two rows share only one
    tests: dict[tuple[str, ...], dict[str, Path]] = defaultdict(dict)
    for row in table.rows:
        home = out / row.folder
        together = [setting for setting in row.settings if setting.startswith("data.together=")]
        for folder in sorted(home.parent.glob(f"{home.name}*")):
            variant = folder.name.removeprefix(home.name)
            if variant and not variant.startswith("+"):
                continue  # another row, whose name begins alike
            for run in sorted(folder.glob("*-seed*")):
                fold, _, seed = run.name.rpartition("-seed")
                settled = (run / DONE).exists() or (run / FAILED).exists()
                if not (fold in row.folds and seed.isdecimal() and settled):
                    continue
                try:
                    outcome = _read(table, row, variant, fold, int(seed), run, out)
                    if row.data == "kolektor" and outcome.epochs:  # the folds of a file, and it has begun
                        _check_folds(run, fold, tests[variant, *together])
                    found.append(outcome)
                except (ModelError, OutputError) as error:
                    problems.setdefault(str(error), error)
    found.sort(key=lambda each: (_place(table, each), each.variant, each.seed, _fold_order(each)))
    return found, list(problems.values())


def read_scores(run: Path) -> Scores:
    """Read the scores of a run's test images.

    Parameters
    ----------
    run
        The run folder.

    Returns
    -------
    Scores

    Raises
    ------
    ModelError
        If scores.csv cannot be read.
    """
    try:
        with (run / "scores.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return Scores(
            np.array([row["label"] == "1" for row in rows], np.bool_),
            np.array([float(row["score"]) for row in rows]),
            np.array([float(row["threshold"]) for row in rows]),
        )
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(
            f"{run}/scores.csv is missing or damaged ({error}); delete {DONE} beside it to judge anew"
        ) from error


def pooled_ap(runs: Iterable[Path]) -> float | None:
    """Return the average precision of several folds' test images, ranked together.

    Parameters
    ----------
    runs
        Run folders, one per fold.

    Returns
    -------
    float or None
        As `segdec.evaluate.join_folds` has it; None where it is undefined.
    """
    parts = [read_scores(run) for run in runs]
    labels, scores = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "scores")
    )
    return average_precision(labels, scores).value


def to_csv(outcomes: Sequence[Outcome]) -> str:
    """Write outcomes as CSV, a header and a line each; what is unknown is empty.

    Parameters
    ----------
    outcomes
        From `find_outcomes`.

    Returns
    -------
    str
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [each.name for each in fields(Outcome)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(outcome) for outcome in outcomes)
    return stream.getvalue()


def read_log(run: Path) -> list[dict[str, Any]]:
    """Read the lines of a training, one per epoch.

    Parameters
    ----------
    run
        The run folder.

    Returns
    -------
    list of dict
        As in log.jsonl.
    """
    path = run / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _read(table: Table, row: Row, variant: str, fold: str, seed: int, run: Path, out: Path) -> Outcome:
    try:
        if not (run / "config.toml").exists():
            return _never_begun(table, row, variant, fold, seed, run, out)
        config = load_config(run / "config.toml")
        meta = json.loads((run / "meta.json").read_text(encoding="utf-8"))
        record = json.loads((run / (DONE if (run / DONE).exists() else FAILED)).read_text(encoding="utf-8"))
        _check(row, variant, fold, seed, run, record)
        sessions = [json.loads(line) for line in (run / SESSIONS).read_text(encoding="utf-8").splitlines()]
        log = read_log(run)
        height, width = config.data.image_size or (0, 0)
        known = {
            "epochs": config.train.epochs,
            "height": height,
            "width": width,
            "precision": _joined(session["precision"] for session in sessions),
            "steps": sum(line["steps"] for line in log),
            "train_s": round(sum(line["seconds"] for line in log), 1),
            "commit": _joined(session["commit"] or "unknown" for session in sessions),
            "machine": _joined(_machine(session["machine"]) for session in sessions),
            "date": meta["date"],
            "command": record["command"],
            "settings": ", ".join(record.get("settings", ())),
            "folder": run.relative_to(out).as_posix(),
        }
        if "error" in record:
            known["failed"] = record["error"]
        else:
            known |= _figures(run)
        return Outcome(table.name, row.name, variant, fold, seed, **known)
    except (ModelError, OutputError):
        raise  # says itself what is wrong and what to do
    except (OSError, KeyError, ValueError, TypeError, SegdecError) as error:
        raise damaged(run, error) from error


def _check(row: Row, variant: str, fold: str, seed: int, run: Path, record: dict[str, Any]) -> None:
    """Refuse a run that is not what its place says."""
    settings = record.get("settings") if variant else ()
    if settings is None:
        return  # an older version did not write down what --set changed
    if variant_name(settings) != variant:
        raise OutputError(
            f"{run} holds a run with {', '.join(settings) or 'nothing changed'}, which its folder's name does"
            " not say; give the folder its old name, or move it away"
        )
    check_same(run, configure(row, fold, seed, settings))


def _check_folds(run: Path, fold: str, tests: dict[str, Path]) -> None:
    """Refuse a run of another division into folds than the runs before it, the first of each in ``tests``."""
    for other, first in tests.items():
        same = judged(run) == judged(first) if other == fold else judged(run).isdisjoint(judged(first))
        if not same:
            raise OutputError(
                f"{run} was made with another --splits than {first}, so the two are not judged by one"
                " cross-validation; move one of them away"
            )
    tests.setdefault(fold, run)


def _never_begun(table: Table, row: Row, variant: str, fold: str, seed: int, run: Path, out: Path) -> Outcome:
    """Return the outcome of a training that lacks the one it comes after."""
    record = json.loads((run / FAILED).read_text(encoding="utf-8"))
    place = run.relative_to(out).as_posix()
    known = {"date": record["date"], "command": record["command"], "failed": record["error"]}
    known["settings"] = ", ".join(record.get("settings", ()))
    return Outcome(table.name, row.name, variant, fold, seed, folder=place, **known)


def _figures(run: Path) -> dict[str, Any]:
    found = read_scores(run)
    labels, scores, threshold = found.labels, found.scores, float(found.thresholds[0])
    card = json.loads((run / "model" / "model.json").read_text(encoding="utf-8"))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    counts = confusion(labels, scores, threshold)
    figures = {
        "ap": average_precision(labels, scores).value,
        "ap_trapezoid": average_precision_trapezoid(labels, scores).value,
        "auroc": auroc(labels, scores).value,
        "fp": counts.fp,
        "fn": counts.fn,
        "threshold": threshold,
        "threshold_from": card["threshold_from"],
        "pixel_ap": metrics["pixel"]["ap"],
        "defective": int(labels.sum()),
        "good": int((~labels).sum()),
    }
    if 0 < labels.sum() < len(labels):
        best = confusion(labels, scores, best_f1_threshold(labels, scores))
        figures |= {"best_f1_on_test_fp": best.fp, "best_f1_on_test_fn": best.fn}
    return figures


def _machine(machine: dict[str, Any]) -> str:
    if machine["device"] != "cpu":
        return str(machine["device"])
    kind = f" ({machine['cpu_kind']})" if "cpu_kind" in machine else ""  # older versions did not note it
    return f"{machine['cpu']}{kind}, {machine['cores']} cores"


def _joined(words: Iterable[str]) -> str:
    return " then ".join(dict.fromkeys(words))


def _place(table: Table, outcome: Outcome) -> int:
    return [row.name for row in table.rows].index(outcome.row)


def _fold_order(outcome: Outcome) -> tuple[int, str]:
    return len(outcome.fold), outcome.fold  # class2 before class10
