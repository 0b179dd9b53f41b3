"""Find surface defects with few labelled parts.

A two-stage segmentation + decision network, trained end to end (Bozic, Tabernik, Skocaj, ICPR 2020,
arXiv:2007.07676).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from segdec.predict import Predictor

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(
    model: str | Path,
    *,
    tile: int | None = None,
    overlap: int | Literal["auto"] = "auto",
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto",
) -> Predictor:
    """Open a model folder for prediction.

    Parameters
    ----------
    model
        A model folder, or a run folder that holds one.
    tile
        Side of the tiles, in pixels, that images are cut into instead of being resized; None is as the model
        was trained.
    overlap
        Pixels that neighbouring tiles share at least; "auto" is what the network's receptive field needs.
    backend
        What computes; "auto" takes the fastest that is installed and certified. More can be said to
        `segdec.predict.Predictor`.

    Returns
    -------
    Predictor

    Raises
    ------
    segdec.errors.ModelError
        If the folder is not a whole, unaltered model of a format that this version reads, or the export
        that is asked for is missing or not certified.
    segdec.errors.ConfigError
        If there is no such tile or overlap for the network.
    """
    from segdec.predict import Predictor

    return Predictor(model, tile=tile, overlap=overlap, backend=backend)
