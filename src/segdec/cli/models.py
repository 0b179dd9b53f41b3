"""Commands that make models from models: import-reference, freeze-norm, compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdec.cli.app import Sets, app
from segdec.cli.screen import bar, cost_lines, out, show, trained_lines, training_bars
from segdec.cli.training import resumable


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


@app.command("freeze-norm")
def freeze_norm(
    run: Annotated[Path, typer.Argument(help="Trained run.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option("--out", help="New run folder; RUN-frozen if left out.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs to train on with frozen statistics.")] = 5,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of these epochs; 0.005, or the run's own if lower.", show_default=False),
    ] = None,
    settings: Sets = None,
) -> None:
    """Normalise all images by the same statistics: faster once exported, and tiles answer like the whole."""
    from segdec.freezing import freeze_norm as freeze

    folder = folder or run.with_name(f"{run.name}-frozen")
    with resumable(folder), training_bars() as watch:
        frozen = freeze(run, folder, epochs, learning_rate, tuple(settings or ()), watch)
    show(trained_lines(frozen))


@app.command()
def compress(
    run: Annotated[Path, typer.Argument(help="Trained run: the teacher.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option("--out", help="New run folder; RUN-compact if left out.")
    ] = None,
    candidate: Annotated[
        str | None, typer.Option(help="The student; the fastest on this machine if left out.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of images without labels, which teach too.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the student; four times the teacher's if left out.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The teacher's if left out.")] = None,
    settings: Sets = None,
    listing: Annotated[bool, typer.Option("--list", help="Time the students, and train none.")] = False,
) -> None:
    """Train a compact network on what a trained one says: many times faster on the line."""
    from segdec.compress import compress as train_student
    from segdec.compress import fastest, weigh

    folder = folder or run.with_name(f"{run.name}-compact")
    with bar("timing") as tell:
        costs = weigh(run, timed=listing or candidate is None, tell=tell)
    name = candidate or fastest(costs).name
    show(cost_lines(costs, None if listing else name))
    if listing:
        return
    with resumable(folder), training_bars() as watch:
        student = train_student(
            run, folder, name, images, epochs, learning_rate, tuple(settings or ()), watch
        )
    show(trained_lines(student))
    out.print(f"Compare with the teacher: segdec evaluate {run}", markup=False)
