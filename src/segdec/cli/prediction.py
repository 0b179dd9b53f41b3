"""Commands that use a model: predict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from segdec.cli.app import app
from segdec.cli.screen import bar, err, renderer
from segdec.errors import PARTIAL


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
    paths, masks = find_images(images, sys.stdin)
    if masks:
        err.print(f"{len(masks)} files are masks by their names and left out, e.g. {masks[0]}", markup=False)
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
