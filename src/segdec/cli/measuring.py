"""Commands that measure: reproduce, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from segdec.cli.app import Sets, app
from segdec.cli.screen import bar, err, experiment_bars, out, show, table_lines

if TYPE_CHECKING:
    from segdec.certificate import Precision
    from segdec.experiments.steps import Times


@app.command()
def reproduce(
    table: Annotated[
        str | None,
        typer.Argument(
            help="dagm, kolektor, severstal, ablation, two-stage, mixed, suggest or departures.",
            show_default=False,
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
    chosen = (rows or (), folds or ())
    if listing:
        times: Times | None = {} if measured else None
        for each in TABLES.values() if table is None else [find_table(table)]:
            planned = plan(each, data, folder, (0,), *chosen, settings or (), splits) if data else ()
            show(table_lines(each, *chosen, len(seeds), tuple(settings or ()), times, planned))
        show(_about_efforts(measured, bool(data)))
        return
    if table is None:
        raise typer.BadParameter("name a table; segdec reproduce --list shows them")
    found = find_table(table)
    if tabulate:
        paths, problems = write_report(found, folder)
    else:
        planned = plan(found, data or (), folder, seeds, *chosen, settings or (), splits)
        try:
            with experiment_bars() as (settled, watch):
                paths, problems = run_table(found, planned, folder, jobs, settled, watch)
        except KeyboardInterrupt:
            err.print("Stopped; everything done is kept, and the same command goes on.")
            raise typer.Exit(130) from None
    out.print(f"Written: {', '.join(str(path) for path in paths)}", markup=False)
    if problems:
        raise problems[0]


def _about_efforts(measured: bool, counted: bool) -> list[str]:
    by_items = "Steps are counted by positive items, which may have several images; --data counts these."
    times = "Times are those of the steps alone, one training after the other, on this machine."
    return [
        "Steps are counted in the data." if counted else by_items,
        times if measured else "Add --measure for an estimate of time here.",
    ]


@app.command()
def benchmark(
    what: Annotated[Literal["train", "predict"], typer.Argument(help="train or predict.")],
    image_size: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Height and width; 512 512 if left out.", show_default=False),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="auto, fp32, bf16 or fp16 (in training); of a model auto, fp32, bf16, int8 or int8-bf16."
        ),
    ] = "auto",
    context: Annotated[str, typer.Option(help="auto, direct or spectral.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network.")] = False,
    runs: Annotated[int, typer.Option(min=3, help="Timed runs; the median is shown.")] = 7,
    batch: Annotated[int, typer.Option(min=1, help="Images in one pass through the network.")] = 1,
    model: Annotated[
        Path | None, typer.Option(help="Time the predictions of this model instead, at its own size.")
    ] = None,
    backend: Annotated[
        Literal["auto", "torch", "onnx", "openvino"], typer.Option(help="What computes that model.")
    ] = "auto",
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Every backend and precision beside the authors' form, at four sizes or --image-size.",
        ),
    ] = False,
) -> None:
    """Time the paper's network on this machine: step or image, waiting for data, peak memory."""
    from segdec.benchmark import benchmark_model, benchmark_predict, benchmark_train

    if what == "train" and (everything or model is not None or batch != 1):
        raise typer.BadParameter("--all, --model and --batch are for predict")
    if everything and (model is not None or batch != 1):
        raise typer.BadParameter("--all times networks and batches of its own; leave --model and --batch out")
    with bar("timing") as tell:
        if everything:
            from segdec.yardstick import SIZES, compare

            lines = compare(SIZES if image_size is None else (image_size,), runs, tell)
        elif model is not None:
            lines = benchmark_model(model, backend, _export_precision(precision), runs, tell, batch)
        else:
            asked = (image_size or (512, 512), precision, context, compiled, runs, tell)
            lines = benchmark_train(*asked) if what == "train" else benchmark_predict(*asked, batch)
    show(lines)


def _export_precision(name: str) -> Precision | None:
    from segdec.certificate import Precision

    known: tuple[Precision, ...] = get_args(Precision)
    found = next((each for each in known if each == name), None)
    if found is None and name != "auto":
        raise typer.BadParameter(f"--precision of a model is auto, {', '.join(known)}; got {name}")
    return found
