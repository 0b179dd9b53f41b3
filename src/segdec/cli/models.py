"""Commands that make models from models: import-reference, freeze-norm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdec.cli.app import Sets, app
from segdec.cli.screen import out, show, trained_lines, training_bars
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
        float | None, typer.Option(help="Of these epochs; a tenth of the run's own if left out.")
    ] = None,
    settings: Sets = None,
) -> None:
    """Normalise all images by the same statistics: faster once exported, and tiles answer like the whole."""
    from segdec.freezing import freeze_norm as freeze

    folder = folder or run.with_name(f"{run.name}-frozen")
    with resumable(folder), training_bars() as watch:
        frozen = freeze(run, folder, epochs, learning_rate, tuple(settings or ()), watch)
    show(trained_lines(frozen))
