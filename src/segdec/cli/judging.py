"""Commands that judge a model and choose its thresholds: evaluate, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdec.cli.app import app
from segdec.cli.screen import bar, calibration_lines, evaluation_lines, out, show
from segdec.errors import PARTIAL


@app.command()
def evaluate(
    model: Annotated[
        Path | None, typer.Argument(help="Run folder or model folder.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Argument(help="Data set; the run's own test part if left out.", show_default=False)
    ] = None,
    folds: Annotated[
        list[Path] | None,
        typer.Option("--folds", help="Runs of one cross-validation, to be joined."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where the results go; if left out, the run folder, or on-NAME in it for other data.",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Also write report.html: all in one page.")
    ] = False,
) -> None:
    """Measure a model on data it has not seen."""
    from segdec.evaluate import evaluate_run, join_folds, write_evaluation
    from segdec.report import write_report

    runs = list(dict.fromkeys([*([model] if model is not None else []), *(folds or [])]))
    if not runs:
        raise typer.BadParameter("name a run folder or a model folder, or several with --folds")
    with bar("evaluating") as tell:
        if len(runs) == 1:
            evaluation = evaluate_run(runs[0], data, watch=tell)
        else:
            evaluation = join_folds([evaluate_run(run, data, run.name, tell) for run in runs])
    if folder is None:
        folder = _home(runs, next(iter(evaluation.thresholds)))
    write_evaluation(evaluation, folder)
    if report:
        write_report(evaluation, folder / "report.html", runs, data)
    show(evaluation_lines(evaluation))
    names = "metrics.json, scores.csv, curves.png, contact_sheet.png" + ", report.html" * report
    out.print(f"Written to {folder}: {names}", markup=False)
    if evaluation.skipped:
        raise typer.Exit(PARTIAL)


def _home(runs: list[Path], part: str) -> Path:
    """Choose where results go: those of other data do not replace a run's own."""
    if len(runs) > 1:
        return runs[0].parent / "folds"
    return runs[0] if part == "test" else runs[0] / f"on-{part}"


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Run folder or model folder.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Data set that the model has not seen; the run's own test part if left out.",
            show_default=False,
        ),
    ] = None,
    max_escape: Annotated[float | None, typer.Option(help="Share of defective parts that may pass.")] = None,
    max_overkill: Annotated[
        float | None, typer.Option(help="Share of good parts that may be rejected.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="How sure these bounds are to hold.")] = 0.95,
    cost_escape: Annotated[float | None, typer.Option(help="Cost of a defective part that passes.")] = None,
    cost_overkill: Annotated[float | None, typer.Option(help="Cost of a good part that is rejected.")] = None,
    defect_rate: Annotated[float | None, typer.Option(help="Share of defective parts in production.")] = None,
    review_budget: Annotated[
        float | None, typer.Option(help="Share of parts that a person may look at.")
    ] = None,
) -> None:
    """Choose the model's threshold by what it may let pass, throw away or cost."""
    from segdec.calibrate import calibrate as choose
    from segdec.calibrate import refused_exports
    from segdec.wish import Wish

    wish = Wish(max_escape, max_overkill, confidence, cost_escape, cost_overkill, defect_rate, review_budget)
    with bar("calibrating") as tell:
        calibration = choose(model, data, wish, tell)
    show(calibration_lines(calibration))
    out.print(f"Written to the model in {model}. Judge it on other data than these.", markup=False)
    targets = " ".join(refused_exports(model, calibration))
    if targets:
        out.print(
            "Its exports were certified at other thresholds and are refused from now on; certify them anew"
            f" with: segdec export {model} --to {targets}",
            markup=False,
        )
