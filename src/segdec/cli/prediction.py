"""Commands that use a model: predict."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from segdec.cli.app import app
from segdec.cli.screen import bar, err, renderer
from segdec.errors import PARTIAL, OutputError


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
    batch: Annotated[int, typer.Option(min=1, help="Images (or tiles) in one pass through the network.")] = 1,
    tile: Annotated[
        int | None, typer.Option(help="Cut images into tiles of this side, in pixels, and resize nothing.")
    ] = None,
    overlap: Annotated[str, typer.Option(help="Pixels that tiles share at least, or auto.")] = "auto",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Decide at this score instead of the model's.")
    ] = None,
    backend: Annotated[
        Literal["auto", "torch", "onnx", "openvino"],
        typer.Option(help="What computes; auto: the fastest that is installed and certified."),
    ] = "auto",
    precision: Annotated[
        Literal["fp32", "bf16", "int8", "int8-bf16"] | None,
        typer.Option(help="Of an export, or fp32 and bf16 of torch; the fastest certified if left out."),
    ] = None,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Use an export that is not certified, or changed.")
    ] = False,
) -> None:
    """Score images, decide, and say where the defects are."""
    from PIL import Image

    from segdec.data.find import find_images
    from segdec.files import atomic_write
    from segdec.predict import Predictor, Unreadable, predict_files
    from segdec.results import find_overlay, overlay_paths, write_overlay

    render = renderer(form)
    predictor = Predictor(
        model,
        tile=tile,
        overlap=_overlap(overlap),
        backend=backend,
        precision=precision,
        allow_uncertified=allow_uncertified,
    )
    if predictor.choice.notice is not None:
        err.print(predictor.choice.notice, markup=False)
    if predictor.tiling is not None:
        # Pillow takes an image of 90 megapixels for an attack; whoever cuts tiles has such images
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    if threshold is not None:
        predictor.threshold, predictor.review_threshold = threshold, None
    paths, masks = find_images(images, sys.stdin)
    if masks:
        err.print(f"{len(masks)} files are masks by their names and left out, e.g. {masks[0]}", markup=False)
    if target is not None and target.resolve() in {path.resolve() for path in paths}:
        raise OutputError(f"{target} is one of the images; choose another file with --out")
    targets = {}
    if overlays is not None:
        targets = dict(zip(paths, overlay_paths(paths, overlays), strict=True))
    lines: list[str] = [render.head] if render.head else []
    unreadable = 0
    if target is None:
        sys.stdout.write("".join(lines))
    with bar("predicting") as tell:
        for done, result in enumerate(predict_files(predictor, paths, batch, pages=True), start=1):
            if isinstance(result, Unreadable):
                unreadable += 1
            elif targets:
                write_overlay(result, find_overlay(result, targets))
            if target is None:
                sys.stdout.write(render.row(result))
                sys.stdout.flush()  # whoever reads along decides on each part as it comes
            else:
                lines.append(render.row(result))
            tell(min(done, len(paths)), len(paths))  # a file can have several pages
    if target is not None:
        atomic_write(target, "".join(lines).encode())
    if unreadable:
        err.print(f"{unreadable} of {done} images could not be used; their rows say why.")
        raise typer.Exit(PARTIAL)


def _overlap(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if text.isdecimal():
        return int(text)
    raise typer.BadParameter(f'"{text}" is no overlap; give pixels, or auto')
