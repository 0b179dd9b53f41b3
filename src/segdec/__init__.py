"""Find surface defects with few labelled parts.

A two-stage segmentation + decision network, trained end to end (Bozic, Tabernik, Skocaj, ICPR 2020,
arXiv:2007.07676).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from segdec.predict import Predictor

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(model: str | Path) -> Predictor:
    """Open a model folder for prediction.

    Parameters
    ----------
    model
        A model folder, or a run folder that holds one.

    Returns
    -------
    Predictor

    Raises
    ------
    segdec.errors.ModelError
        If the folder is not a whole, unaltered model of a format that this version reads.
    """
    from segdec.predict import Predictor

    return Predictor(model)
