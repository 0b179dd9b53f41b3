"""Commands about data sets: doctor, suggest, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdec.cli.app import app
from segdec.cli.screen import bar, out, show
from segdec.errors import PARTIAL


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
        Path | None,
        typer.Option(help="An evaluated run, or folds that evaluate joined; scores tell suspect labels."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for doctor.json and plan.json.")
    ] = None,
) -> None:
    """Examine a data set before it costs a day, and plan the training."""
    from segdec.config import parse_config
    from segdec.data import describe, open_dataset
    from segdec.doctor import examine, make_plan, write_findings, write_plan
    from segdec.runtime import computes_in_bf16

    config = parse_config({"data": {"image_size": image_size}}, "--image-size")
    dataset = open_dataset(data, config.data, one_class=True)
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
    plan = make_plan(findings.measured, can_tile=image_size is None, has_bf16=computes_in_bf16())
    if folder is not None:
        write_findings(findings, folder / "doctor.json")
        write_plan(plan, folder / "plan.json")
    show([describe(dataset)[0], *findings.lines(), "", "The plan:", *plan.lines()])
    if folder is not None:
        out.print(f"Written to {folder}: doctor.json, plan.json", markup=False)
        out.print(f"Follow it: segdec train {data} --plan {folder / 'plan.json'}", markup=False)


@app.command()
def suggest(
    model: Annotated[Path, typer.Argument(help="Run folder or model folder.", show_default=False)],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="UNLABELLED",
            help="Folder of images without labels, or a data set with defective images without masks.",
            show_default=False,
        ),
    ],
    budget: Annotated[int, typer.Option(help="So many images can be masked or labelled.")] = 16,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the list and the pre-annotations; new or empty.")
    ] = Path("suggested"),
    form: Annotated[str, typer.Option("--format", help="Of the list: csv or jsonl.")] = "csv",
    to: Annotated[
        str | None,
        typer.Option("--to", help="Also write what the model would draw, for correction: labelme or coco."),
    ] = None,
) -> None:
    """Rank images by how much their mask or label would help the model."""
    from segdec.data.convert import refuse_existing
    from segdec.suggest import check_forms, write_suggestions
    from segdec.suggest import suggest as rank

    check_forms(form, to)
    refuse_existing(folder)  # before the work, not after it
    with bar("looking") as tell:
        ranking = rank(model, source, budget, tell)
    written = write_suggestions(ranking, folder, form, to)
    show(ranking.lines())
    out.print(f"Written: {', '.join(map(str, written))}", markup=False)
    if ranking.unreadable:
        raise typer.Exit(PARTIAL)


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
