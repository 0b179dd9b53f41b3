"""The command line: parse, call one function, print. The only place that prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from segdec import __version__
from segdec.cli.screen import (
    bar,
    calibration_lines,
    err,
    evaluation_lines,
    experiment_bars,
    out,
    renderer,
    show,
    table_lines,
    trained_lines,
    training_bars,
)
from segdec.errors import PARTIAL, SegdecError

app = typer.Typer(
    help="Find surface defects with few labelled parts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. train.epochs=5; may be repeated."),
]


_LISTS = ("--folds", "--rows", "--seeds")
"""Options that take several values."""


def main() -> NoReturn:
    """Run the command line; errors that segdec raises on purpose become one line and an exit code."""
    debug = "--debug" in sys.argv
    arguments = _repeat(_LISTS, [argument for argument in sys.argv[1:] if argument != "--debug"])
    try:
        app(arguments, prog_name="segdec", standalone_mode=True)
    except SegdecError as error:
        if debug:
            raise
        err.print(f"Error: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        err.print("Stopped.")
        sys.exit(130)
    sys.exit(0)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"segdec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


@app.command()
def quickstart(
    folder: Annotated[Path, typer.Option("--out", help="Where everything is written.")] = Path("quickstart"),
    seed: Annotated[int, typer.Option(min=0, help="Decides the data and the training.")] = 0,
) -> None:
    """Make a data set, train on it, evaluate, predict: everything once, in minutes."""
    from segdec.quickstart import quickstart as make

    with training_bars() as watch:
        summary = make(folder, seed, watch)
    show(summary)


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Argument(help="Data set; not needed with --resume.", show_default=False)
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Settings of the paper (dagm, kolektor, kolektor2, severstal) or a TOML file."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="plan.json of segdec doctor, in place of a recipe.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/NAME of the data set if left out.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    splits: Annotated[Path | None, typer.Option(help="File of published splits (.json, .pyb).")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Fold of the split.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An unreadable image is an error.")] = False,
    settings: Sets = None,
) -> None:
    """Train a network on a data set."""
    from segdec.config import load_config
    from segdec.data import describe, open_dataset
    from segdec.doctor import read_plan
    from segdec.runtime import is_main_process
    from segdec.train import train as run_training
    from segdec.types import Dataset

    given = [*(settings or [])]
    named = {"data.splits": splits, "data.fold": fold, "train.precision": precision}
    given += [f"{key}={value}" for key, value in named.items() if value is not None]
    if strict:
        given.append("data.strict=true")
    if resume and (recipe is not None or plan is not None):
        raise typer.BadParameter(
            "a run that is resumed has its settings already; leave --recipe and --plan out"
        )
    if recipe is not None and plan is not None:
        raise typer.BadParameter("a recipe and a plan are two answers to one question; leave one out")
    folder = folder or Path("runs") / _run_name(data)
    config = load_config(recipe, tuple(given), read_plan(plan) if plan is not None else None)
    source: Path | Dataset | None = data
    if data is not None and not resume:
        source = open_dataset(data, config.data)
        if is_main_process():
            out.print("\n".join(describe(source)), markup=False)
    try:
        with training_bars() as watch:
            run = run_training(
                source, config, folder, resume=resume, settings=tuple(given) if resume else (), watch=watch
            )
    except KeyboardInterrupt:
        begun = (folder / "config.toml").exists()
        hint = f"go on with: segdec train --resume --out {folder}" if begun else "nothing was written"
        err.print(f"Stopped; {hint}", markup=False)
        raise typer.Exit(130) from None
    if is_main_process():
        show(trained_lines(run))


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
        Path | None, typer.Option("--out", help="Where the results go; the run folder if left out.")
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
    folder = folder or (runs[0] if len(runs) == 1 else runs[0].parent / "folds")
    with bar("evaluating") as tell:
        if len(runs) == 1:
            evaluation = evaluate_run(runs[0], data, watch=tell)
        else:
            evaluation = join_folds([evaluate_run(run, data, run.name, tell) for run in runs])
    write_evaluation(evaluation, folder)
    if report:
        write_report(evaluation, folder / "report.html", runs, data)
    show(evaluation_lines(evaluation))
    names = "metrics.json, scores.csv, curves.png, contact_sheet.png" + ", report.html" * report
    out.print(f"Written to {folder}: {names}", markup=False)
    if evaluation.skipped:
        raise typer.Exit(PARTIAL)


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
    from segdec.operating_point import Wish

    wish = Wish(max_escape, max_overkill, confidence, cost_escape, cost_overkill, defect_rate, review_budget)
    with bar("calibrating") as tell:
        calibration = choose(model, data, wish, tell)
    show(calibration_lines(calibration))
    out.print(f"Written to the model in {model}. Judge it on other data than these.", markup=False)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Model folder or run folder.", show_default=False)],
    images: Annotated[
        list[str], typer.Argument(help='Files, folders, patterns, or "-" for a list on standard input.')
    ],
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    target: Annotated[
        Path | None, typer.Option("--out", help="File for the results; standard output if left out.")
    ] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for images with the found defects drawn in.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in one pass through the network.")] = 1,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Decide at this score instead of the model's.")
    ] = None,
) -> None:
    """Score images, decide, and say where the defects are."""
    from segdec.files import atomic_write
    from segdec.predict import Predictor, Unreadable, find_images, predict_files
    from segdec.results import overlay_paths, write_overlay

    render = renderer(form)
    predictor = Predictor(model)
    if threshold is not None:
        predictor.threshold, predictor.review_threshold = threshold, None
    paths = find_images(images, sys.stdin)
    targets = overlay_paths(paths, overlays) if overlays is not None else []
    lines: list[str] = [render.head] if render.head else []
    unreadable = 0
    if target is None:
        sys.stdout.write("".join(lines))
    with bar("predicting") as tell:
        for done, result in enumerate(predict_files(predictor, paths, batch), start=1):
            if isinstance(result, Unreadable):
                unreadable += 1
            elif targets:
                write_overlay(result, targets[done - 1])
            if target is None:
                sys.stdout.write(render.row(result))
            else:
                lines.append(render.row(result))
            tell(done, len(paths))
    if target is not None:
        atomic_write(target, "".join(lines).encode())
    if unreadable:
        err.print(f"{unreadable} of {len(paths)} images could not be used; their rows say why.")
        raise typer.Exit(PARTIAL)


@app.command()
def doctor(
    data: Annotated[Path, typer.Argument(help="Data set, in any layout that train takes.")],
    splits: Annotated[Path | None, typer.Option(help="File of published splits (.json, .pyb).")] = None,
    setting: Annotated[
        str | None, typer.Option(help="Look only at this setting of the splits, e.g. 33_33.")
    ] = None,
    max_escape: Annotated[float, typer.Option(help="Share of defective parts that may pass.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="How sure that is to hold.")] = 0.95,
    image_size: Annotated[
        tuple[int, int] | None, typer.Option(help="Height and width that the network will see.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="An evaluated run, whose scores tell suspect labels.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for doctor.json and plan.json.")
    ] = None,
) -> None:
    """Examine a data set before it costs a day, and plan the training."""
    from segdec.config import DataConfig
    from segdec.data import describe, open_dataset
    from segdec.doctor import examine, make_plan, write_findings, write_plan

    dataset = open_dataset(data, DataConfig(image_size=image_size), one_class=True)
    with bar("examining") as tell:
        findings = examine(
            dataset,
            splits=splits,
            setting=setting,
            run=run,
            image_size=image_size,
            max_escape=max_escape,
            confidence=confidence,
            watch=tell,
        )
    plan = make_plan(findings.measured)
    if folder is not None:
        write_findings(findings, folder / "doctor.json")
        write_plan(plan, folder / "plan.json")
    show([describe(dataset)[0], *findings.lines(), "", "The plan:", *plan.lines()])
    if folder is not None:
        out.print(f"Written to {folder}: doctor.json, plan.json", markup=False)
        out.print(f"Follow it: segdec train {data} --plan {folder / 'plan.json'}", markup=False)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Data set, in any layout that train takes.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    to: Annotated[str, typer.Option("--to", help="folder (good/, defect/, masks/) or coco.")],
    strict: Annotated[bool, typer.Option("--strict", help="An unreadable image is an error.")] = False,
) -> None:
    """Write a data set in another layout; images are copied."""
    from segdec.data.convert import convert as write

    with bar("reading") as tell:
        converted = write(source, target, to, strict=strict, watch=tell)
    show(converted.lines())
    if converted.unreadable:
        raise typer.Exit(PARTIAL)


@app.command("import-reference")
def import_reference(
    weights: Annotated[Path, typer.Argument(help="Checkpoint of the reference implementation (.pth).")],
    folder: Annotated[Path, typer.Option("--to", help="Model folder to write.")],
    image_size: Annotated[tuple[int, int], typer.Option(help="Height and width that it was trained at.")],
) -> None:
    """Turn a checkpoint of the reference implementation into a model folder."""
    from segdec.reference import import_reference as bring

    bring(weights, image_size, folder)
    out.print(
        f"Model written to {folder}. Its threshold is a mere 0.5: choose one on data of yours.", markup=False
    )


@app.command()
def reproduce(
    table: Annotated[
        str | None,
        typer.Argument(
            help="dagm, kolektor, severstal, ablation, two-stage, mixed or departures.", show_default=False
        ),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Folder of a data set, or NAME=FOLDER; may be repeated.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder of all runs and tables.")] = Path("results"),
    seeds: Annotated[list[int] | None, typer.Option(help="Seeds of the trainings; 0 if left out.")] = None,
    rows: Annotated[list[str] | None, typer.Option(help="Rows of the table; all if left out.")] = None,
    folds: Annotated[
        list[str] | None, typer.Option("--folds", help="Folds or classes; all if left out.")
    ] = None,
    splits: Annotated[Path | None, typer.Option(help="KolektorSDD's published folds (.json, .pyb).")] = None,
    settings: Sets = None,
    jobs: Annotated[int, typer.Option(min=1, help="So many trainings at once.")] = 1,
    listing: Annotated[bool, typer.Option("--list", help="Show the tables, and train nothing.")] = False,
    measured: Annotated[
        bool, typer.Option("--measure", help="With --list: time a step here and estimate the whole.")
    ] = False,
    tabulate: Annotated[
        bool, typer.Option("--tabulate", help="Only write the table of the runs that are in --out.")
    ] = False,
) -> None:
    """Run the experiments of the papers and put their figures beside one's own."""
    from segdec.experiments import TABLES, find_table, plan, write_report
    from segdec.experiments import reproduce as run_table

    seeds = list(dict.fromkeys(seeds or [0]))
    if listing:
        for each in TABLES.values() if table is None else [find_table(table)]:
            planned = (
                plan(each, data, folder, (0,), rows or (), folds or (), settings or (), splits)
                if data
                else ()
            )
            show(table_lines(each, rows or (), len(seeds), tuple(settings or ()), measured, planned))
        return
    if table is None:
        raise typer.BadParameter("name a table; segdec reproduce --list shows them")
    found = find_table(table)
    if tabulate:
        paths = write_report(found, folder)
    else:
        planned = plan(found, data or (), folder, seeds, rows or (), folds or (), settings or (), splits)
        try:
            with experiment_bars() as (settled, watch):
                paths = run_table(found, planned, folder, jobs, settled, watch)
        except KeyboardInterrupt:
            err.print("Stopped; everything done is kept, and the same command goes on.")
            raise typer.Exit(130) from None
    out.print(f"Written: {', '.join(str(path) for path in paths)}", markup=False)


@app.command()
def benchmark(
    what: Annotated[Literal["train", "predict"], typer.Argument(help="train or predict.")],
    image_size: Annotated[tuple[int, int], typer.Option(help="Height and width.")] = (512, 512),
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16 (training only).")] = "auto",
    context: Annotated[str, typer.Option(help="auto, direct or spectral.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network.")] = False,
    runs: Annotated[int, typer.Option(min=3, help="Timed runs; the median is shown.")] = 7,
) -> None:
    """Time the paper's network on this machine: step or image, waiting for data, peak memory."""
    from segdec.benchmark import benchmark_predict, benchmark_train

    with bar("timing") as tell:
        measure = benchmark_train if what == "train" else benchmark_predict
        lines = measure(image_size, precision, context, compiled, runs, tell)
    show(lines)


def _run_name(data: Path | None) -> str:
    """Return what a run on this data is called unless told otherwise: like the folder or table."""
    if data is None:
        return "run"
    return data.stem if data.is_file() else data.resolve().name


def _repeat(options: tuple[str, ...], arguments: list[str]) -> list[str]:
    """Let options take several values: ``--folds a b`` becomes ``--folds a --folds b``."""
    repeated: list[str] = []
    taking = ""
    for argument in arguments:
        if argument.startswith("-"):
            taking = argument if argument in options else ""
            if taking:
                continue
        repeated += [taking, argument] if taking else [argument]
    return repeated
