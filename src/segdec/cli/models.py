"""Commands about model folders: import-reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdec.cli.app import app
from segdec.cli.screen import out


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
