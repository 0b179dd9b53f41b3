"""Commands that bring a model elsewhere: export."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segdec.cli.app import app
from segdec.cli.screen import bar, show
from segdec.errors import ModelError

if TYPE_CHECKING:
    from segdec.certificate import Check


class To(StrEnum):
    """What a model can be exported to."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    INT8 = "int8"
    TORCH = "torch"


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Run folder or model folder.", show_default=False)],
    to: Annotated[
        list[To],
        typer.Option("--to", help="What for; several may follow.", show_default=False),
    ],
    images: Annotated[
        Path | None, typer.Option(help="More images to compare on: a data set, or a folder.")
    ] = None,
    context: Annotated[
        Literal["auto", "direct", "spectral"],
        typer.Option(help="Form of the context layer; auto: the faster one on this machine."),
    ] = "auto",
) -> None:
    """Write a model for other runtimes, and certify that it decides like the model itself."""
    from segdec.export import export as write

    with bar("exporting") as tell:
        checks = write(
            model, [each.value for each in to], images, context, lambda what, done, of: tell(done, of, what)
        )
    show(export_lines(checks))
    failed = [check for check in checks if not check.passed]
    if failed:
        first = failed[0]
        raise ModelError(
            f"{len(failed)} of {len(checks)} exports failed: {first.backend} {first.precision}:"
            f" {first.reason}; they are kept and marked, and segdec predict refuses them"
        )


def export_lines(checks: Sequence[Check]) -> list[str]:
    """Lay out what an export came to.

    Parameters
    ----------
    checks
        From `segdec.export.export`.

    Returns
    -------
    list of str
        A table, and on what it rests.
    """
    rows = [("", "passed", "flips", "score", "score map", "AP", f"per {checks[0].timed}", "PyTorch")]
    for check in checks:
        ap = "-" if check.ap is None else f"{check.ap:.4f}"
        rows.append(
            (
                f"{check.backend} {check.precision}, {check.context}",
                "yes" if check.passed else "NO",
                str(len(check.flips)),
                f"{check.score.largest:.2g}",
                f"{check.score_map.largest:.2g}",
                ap,
                f"{check.milliseconds:.1f} ms",
                f"{check.torch_milliseconds:.1f} ms",
            )
        )
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    images = checks[0].images
    defective = "no labels" if images.defective is None else f"{images.defective} defective"
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)) for row in rows]
    cut = "" if images.tiles is None else f", in tiles of {images.tiles.tile} pixels"
    lines.append(
        f"Compared with PyTorch in fp32 on {images.count} images ({defective}{cut}): {images.origin}."
    )
    lines.append("score, score map: largest difference.")
    if images.unreadable:
        lines.append(f"{len(images.unreadable)} images could not be read, first {images.unreadable[0]}.")
    return lines
