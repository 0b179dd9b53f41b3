"""Commands that train: quickstart, train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segdec.cli.app import Sets, app
from segdec.cli.screen import err, show, trained_lines, training_bars

if TYPE_CHECKING:
    from segdec.config import Config
    from segdec.doctor import Plan
    from segdec.types import Dataset


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
        typer.Option(
            help="Settings of the paper (dagm, kolektor, kolektor2, severstal) or a TOML file; planned from"
            " the data if left out."
        ),
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
    """Train a network on a data set, by settings that are planned from it or given."""
    from segdec.config import load_config
    from segdec.data import describe, open_dataset
    from segdec.doctor import read_plan
    from segdec.runtime import is_main_process
    from segdec.train import train as run_training

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
    made = None
    if data is not None and not resume:
        source = open_dataset(data, config.data)
        lines = describe(source)
        if recipe is None and plan is None:
            made = _plan(source, config, given)
            config = load_config(None, tuple(given), made.settings())
            lines += ["Planned from the training part (--set changes single settings):"]
            lines += [f"  {line}" for line in made.lines()]
        if is_main_process():
            show(lines)
    with resumable(folder), training_bars() as watch:
        run = run_training(
            source,
            config,
            folder,
            resume=resume,
            settings=tuple(given) if resume else (),
            plan=None if made is None else made.as_tree(),
            watch=watch,
        )
    if is_main_process():
        show(trained_lines(run))


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say after Ctrl-C how the training in a run folder goes on."""
    try:
        yield
    except KeyboardInterrupt:
        begun = (folder / "config.toml").exists()
        hint = f"go on with: segdec train --resume --out {folder}" if begun else "nothing was written"
        err.print(f"Stopped; {hint}", markup=False)
        raise typer.Exit(130) from None


def _plan(dataset: Dataset, config: Config, given: list[str]) -> Plan:
    """Plan what is not given, from the training part alone: nothing of what judges shall tell."""
    from segdec.data import make_split
    from segdec.doctor import make_plan, measure_training_part
    from segdec.runtime import can_compile, computes_in_bf16, require_torch

    require_torch()
    split = make_split(dataset, config.data, config.train.seed)
    tiles = config.data.tile is not None
    measured = measure_training_part(split.train, config.data.image_size, tiles=tiles)
    # a teacher answers for whole images, and who gives a size means it
    whole = config.data.image_size is not None or config.train.teacher is not None
    can_tile = not (tiles or whole)
    plan = make_plan(measured, can_compile=can_compile(), can_tile=can_tile, has_bf16=computes_in_bf16())
    chosen = {setting.partition("=")[0].strip() for setting in given}
    return plan.without(chosen | {"data.image_size"} if tiles else chosen)


def _run_name(data: Path | None) -> str:
    """Return what a run on this data is called unless told otherwise: like the folder or table."""
    if data is None:
        return "run"
    return data.stem if data.is_file() else data.resolve().name
