"""What the command line shows: progress bars, summaries, result rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segdec.errors import ConfigError

if TYPE_CHECKING:
    from segdec.compress import Cost
    from segdec.evaluation import Evaluation, ItemShares, Share
    from segdec.experiments import Job, Table
    from segdec.experiments.steps import Times
    from segdec.intervals import Interval
    from segdec.metrics import Metric
    from segdec.model_card import Calibration
    from segdec.predict import Unreadable
    from segdec.progress import Progress as Training
    from segdec.runs import Run
    from segdec.types import Prediction


class Tell(Protocol):
    """Moves a bar."""

    def __call__(self, done: int, total: int, title: str = ...) -> None:
        """Say how much is done, and perhaps what."""


out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def show(lines: Iterable[str]) -> None:
    """Print lines as they are, without taking brackets for markup.

    Parameters
    ----------
    lines
        Without line ends.
    """
    for line in lines:
        out.print(line, markup=False)


@contextmanager
def bar(what: str) -> Generator[Tell, None, None]:
    """Show a bar while something counts up; gone when it has ended.

    Parameters
    ----------
    what
        Its title.

    Yields
    ------
    callable
        To be called with (done, total), and with another title where that has changed.
    """
    with _bars() as progress:
        task = progress.add_task(what, total=None)

        def tell(done: int, total: int, title: str = what) -> None:
            progress.update(task, description=title, completed=done, total=total)

        yield tell


@contextmanager
def training_bars() -> Generator[Callable[[Training], None], None, None]:
    """Show where a training stands: epoch, step, losses, rate and the time that is left.

    Yields
    ------
    callable
        To be called with each `segdec.progress.Progress`.
    """
    with _bars() as progress:
        whole = progress.add_task("all epochs", total=None, visible=False)
        stage = progress.add_task("reading", total=None)

        def show(now: Training) -> None:
            if now.stage == "training":
                steps = now.epoch * now.total + now.done
                progress.update(whole, completed=steps, total=now.epochs * now.total, visible=True)
            progress.update(stage, description=_title(now), completed=now.done, total=now.total)

        yield show


@contextmanager
def experiment_bars() -> Generator[
    tuple[Callable[[int, int], None], Callable[[Job, Training], None]], None, None
]:
    """Show how many trainings of a table are settled, and where the present one stands.

    Yields
    ------
    tuple of callable
        To be called with (settled, in all), and with a job and its `segdec.progress.Progress`.
    """
    with _bars() as progress:
        whole = progress.add_task("trainings", total=None)
        stage = progress.add_task("waiting", total=None)

        def settled(done: int, total: int) -> None:
            progress.update(whole, completed=done, total=total)

        def show(job: Job, now: Training) -> None:
            title = f"{job.row.name}{job.variant} {job.fold} seed {job.seed}: {_title(now)}"
            progress.update(stage, description=title, completed=now.done, total=now.total)

        yield settled, show


def table_lines(
    table: Table,
    rows: Sequence[str],
    folds: Sequence[str],
    seeds: int,
    settings: tuple[str, ...],
    times: Times | None,
    jobs: Sequence[Job],
) -> list[str]:
    """List an experiment: what it needs, its rows, and how much work each is.

    Parameters
    ----------
    table
        Which.
    rows, folds
        Names of rows and of folds; empty takes all.
    seeds
        How many.
    settings
        Laid over those of every row.
    times
        As of `segdec.experiments.measure`, to time steps on this machine and add estimates; None does not.
    jobs
        The trainings of one seed, where the data are at hand.

    Returns
    -------
    list of str
    """
    from segdec.experiments import DATA_SETS, choose_rows, efforts, measure

    lines = [f"{table.name}: {table.title}", *(f"  needs {DATA_SETS[name]}" for name in table.data)]
    chosen = choose_rows(table, rows, folds)
    measured = None if times is None else measure(chosen, settings, times)
    for effort in efforts(chosen, seeds, settings, measured, jobs):
        steps = "steps depend on the data" if effort.steps is None else f"{effort.steps} steps"
        time = "" if effort.seconds is None else f", {_duration(effort.seconds)}"
        lines.append(f"    {effort.row:<46} {effort.trainings:>3} trainings, {steps}{time}")
    return [*lines, ""]


def _duration(seconds: float) -> str:
    """Say how long something takes, in the unit that suits.

    Examples
    --------
    >>> _duration(40), _duration(600), _duration(90000)
    ('40 s', '10 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=err,
        transient=True,
        disable=not err.is_interactive,  # in a file or a pipe a bar leaves nothing but an empty line
        redirect_stdout=sys.stdout.isatty(),  # otherwise what is meant for a file would land on the screen
    )


def _title(now: Training) -> str:
    if now.stage != "training" or now.losses is None:
        return now.stage
    seg, dec = now.losses["seg_loss"], now.losses["dec_loss"]
    return f"epoch {now.epoch + 1}/{now.epochs}  segmentation {seg:.4f}  decision {dec:.4f}"


def trained_lines(run: Run) -> list[str]:
    """Say what a training left behind, and what to do next.

    Parameters
    ----------
    run
        A finished run.

    Returns
    -------
    list of str
    """
    from segdec.score_axis import score_text
    from segdec.scoring import has_flat_maps

    card = json.loads((run.model / "model.json").read_text(encoding="utf-8"))
    where = {
        "validation": "chosen on the validation part",
        "train": "chosen on the training part, as the split leaves no validation part",
        "default": "not chosen: no part holds both good and defective images",
        "calibration": "chosen by segdec calibrate",
    }[card["threshold_from"]]
    lines = [f"Model in {run.model}; threshold {score_text(card['threshold'])}, {where}."]
    unreadable = run.meta["unreadable"]
    if unreadable:
        lines.append(f"{len(unreadable)} files could not be used and were left out:")
        lines += [f"  {name}: {reason}" for name, reason in unreadable.items()]
    if run.config.loss.balance == "decision":
        lines.append(
            "No mask has taught it where defects are: its scores and decisions count, its score maps do not,"
            " and it marks no regions. To have them, mask some defects; segdec suggest tells which."
        )
    elif has_flat_maps(run.model):
        rate = run.config.train.learning_rate
        lines.append(
            "The segmentation stage has learnt nothing, its score maps are the same everywhere: train anew"
            f" with a lower train.learning_rate (it was {rate:g}; try {rate / 5:g}), more epochs or more"
            " masks."
        )
    lines.append(f"Next: segdec evaluate {run.folder}")
    return lines


def cost_lines(costs: Sequence[Cost], chosen: str | None) -> list[str]:
    """List a teacher and its possible students.

    Parameters
    ----------
    costs
        From `segdec.compress.weigh`.
    chosen
        The student that is going to be trained, if any.

    Returns
    -------
    list of str
    """
    lines = [f"{'':<10}{'multiply-adds':>15}{'fewer':>8}{'time here':>12}"]
    for cost in costs:
        time = "" if cost.seconds is None else f"{1000 * cost.seconds:.0f} ms"
        mark = "  chosen" if cost.name == chosen else ""
        lines.append(f"{cost.name:<10}{cost.multiply_adds / 1e9:>13.2f} G{cost.ratio:>7.1f}x{time:>12}{mark}")
    return [*lines, "Times are of one image in fp32, before any export.", ""]


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """Say what an evaluation found, in the words of the factory first.

    Parameters
    ----------
    evaluation
        Of a run, a model, or joined folds.

    Returns
    -------
    list of str
    """
    counts, best = evaluation.image.at_threshold, evaluation.image.best_f1_on_test
    lines = [
        f"{len(evaluation.rows)} images: {counts.tp + counts.fn} defective, {counts.fp + counts.tn} good",
        *evaluation.judged.warnings(),
        *_share_lines(evaluation.items),
        f"image AP {_value(evaluation.image.ap, evaluation.image.ap_interval)},"
        f" AUROC {_value(evaluation.image.auroc, evaluation.image.auroc_interval)},"
        f" AP (trapezoid) {_value(evaluation.image.ap_trapezoid)}",
        f"pixel AP {_value(evaluation.pixel.ap)}, AUPRO {_value(evaluation.pixel.aupro)},"
        f" Dice {_value(evaluation.pixel.dice)}",
    ]
    if evaluation.folds:
        lines.insert(
            -1,
            f"mean of the folds: AP {_value(evaluation.ap_mean, evaluation.ap_mean_interval)},"
            f" AUROC {_value(evaluation.auroc_mean, evaluation.auroc_mean_interval)}",
        )
    if best.fp is not None:
        lines.append(f"for comparison with the paper, best F1 on test: FP {best.fp}, FN {best.fn}")
    if evaluation.type_recall:
        caught = ", ".join(f"{each.type} {each.caught} of {each.images}" for each in evaluation.type_recall)
        lines.append(f"caught by type of defect: {caught}")
    if evaluation.skipped:
        lines.append(f"{len(evaluation.skipped)} files could not be used:")
        lines += [f"  {name}: {reason}" for name, reason in evaluation.skipped.items()]
    return lines


def _share_lines(items: ItemShares) -> list[str]:
    defective, good = items.escape.of, items.overkill.of
    lines = [
        f"escapes {items.escape.count} of {defective} defective parts{_rate(items.escape)}",
        f"overkill {items.overkill.count} of {good} good parts{_rate(items.overkill)}",
    ]
    if items.review.count:
        lines.append(f"to review {items.review.count} of {items.review.of} parts{_rate(items.review)}")
    return lines


def _rate(share: Share) -> str:
    from segdec.intervals import percent

    if share.rate.value is None or share.interval.low is None or share.interval.high is None:
        return ""
    return (
        f": {percent(share.rate.value)} (95 % interval {percent(share.interval.low)} to"
        f" {percent(share.interval.high)})"
    )


def _value(metric: Metric, interval: Interval | None = None) -> str:
    if metric.value is None:
        return f"undefined ({metric.reason})"
    if interval is None or interval.low is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} (95 % interval {interval.low:.4f} to {interval.high:.4f})"


def calibration_lines(calibration: Calibration) -> list[str]:
    """Say where a calibration puts the thresholds, and what it promises.

    Parameters
    ----------
    calibration
        Of `segdec.calibrate.calibrate`.

    Returns
    -------
    list of str
    """
    from segdec.intervals import percent, round_up
    from segdec.score_axis import score_text

    sure = f"at {percent(calibration.confidence, exact=True)} confidence"
    lines = [
        calibration.parts,
        f"defect from a score of {score_text(calibration.threshold)}",
        f"escapes: at most {percent(round_up(calibration.escape_bound))} of defective parts {sure}"
        f" ({calibration.escapes} of {calibration.defective} here)",
        f"overkill: at most {percent(round_up(calibration.overkill_bound))} of good parts {sure}"
        f" ({calibration.overkill} of {calibration.good} here)",
    ]
    if calibration.review_threshold is not None:
        lines[1] += f", review from {score_text(calibration.review_threshold)}"
        lines.append(f"to review: {percent(calibration.review_share)} of the parts here")
    if calibration.cost is not None and calibration.cost_bound is not None:
        lines.append(
            f"cost of a part: {calibration.cost:.4g} here, at most {calibration.cost_bound:.4g} {sure}"
        )
    if not calibration.disjoint:
        lines.append(
            "The model does not name all the images that it was trained on: the bounds hold only if none of"
            " these took part in its training."
        )
    return lines


@dataclass(frozen=True)
class Renderer:
    """How results become text: a head line (or none), and a line for each result."""

    head: str
    row: Callable[[Prediction | Unreadable], str]


def renderer(form: str) -> Renderer:
    """Return how results are written.

    Parameters
    ----------
    form
        "jsonl" or "csv".

    Returns
    -------
    Renderer

    Raises
    ------
    ConfigError
        For another form.
    """
    from segdec.results import CSV_FIELDS, to_csv_row, to_json

    if form == "jsonl":
        return Renderer("", lambda result: json.dumps(to_json(result), ensure_ascii=False) + "\n")
    if form != "csv":
        raise ConfigError(f'--format is jsonl or csv, got "{form}"')

    def line(values: list[object]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        return text.getvalue()

    return Renderer(line(list(CSV_FIELDS)), lambda result: line(list(to_csv_row(result).values())))
