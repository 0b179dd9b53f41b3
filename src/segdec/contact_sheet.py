"""The contact sheet: images, marked defects and score maps side by side, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.plots import DEFECT, FAINT, INK, drawable, new_figure, to_png
from segdec.score_axis import score_text

_OUTLINE = (244, 208, 63)  # yellow stands out on grey and on the score's red alike
_SHEET_WIDTH = 12.5  # inches, as the next two
_HEADING = 0.47
_CAPTION = 0.4


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of the contact sheet, reduced to thumbnail size.

    Attributes
    ----------
    name, label, score, decision
        As in `segdec.evaluate.Row`.
    margin
        How far the score stands on the right side of its threshold, on the scale of logits; negative is a
        wrong decision.
    image
        (h, w, 3) uint8.
    mask
        (h, w) bool; None without pixel annotation.
    score_map
        (h, w) float32 in [0, 1].
    """

    name: str
    label: bool
    score: float
    decision: bool
    margin: float
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    score_map: NDArray[np.float32]


def draw_contact_sheet(tiles: Sequence[Tile]) -> bytes:
    """Draw the images closest to a wrong decision, the worst first: misses, then false alarms.

    Each tile shows the image with the mask's outline, and the score map laid over it.

    Parameters
    ----------
    tiles
        At least one.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    groups = [
        (title, sorted((tile for tile in tiles if tile.label is label), key=lambda tile: tile.margin))
        for label, title in ((True, "Defective, lowest scores"), (False, "Good, highest scores"))
    ]
    groups = [(title, members) for title, members in groups if members]
    pairs = {id(tile): _side_by_side(tile) for tile in tiles}
    # the sheet is laid out for the typical image; others keep their shape within their cell
    aspect = float(np.median([pair.shape[1] / pair.shape[0] for pair in pairs.values()]))
    columns = 6 if aspect < 1.2 else 3
    cell_width = _SHEET_WIDTH / columns
    cell_height = min(0.94 * cell_width / aspect, 5.0) + _CAPTION + 0.15
    rows = [-(-len(members) // columns) for _, members in groups]
    height = sum(_HEADING + count * cell_height for count in rows)
    figure = new_figure(_SHEET_WIDTH, height, constrained=False)
    margin = 0.03 * cell_width  # inches, as all lengths here; `top` is measured from the upper edge
    top = 0.0
    for (title, members), count in zip(groups, rows, strict=True):
        y = 1 - (top + 0.33) / height
        figure.text(margin / _SHEET_WIDTH, y, title, fontsize=13, color=INK, weight="bold")
        if top == 0:
            legend = "yellow outline: marked defect     red: score map"
            figure.text(1 - margin / _SHEET_WIDTH, y, legend, fontsize=9, color=FAINT, ha="right")
        top += _HEADING
        for number, tile in enumerate(members):
            row, column = divmod(number, columns)
            box = (
                (column * cell_width + margin) / _SHEET_WIDTH,
                1 - (top + (row + 1) * cell_height - 0.15) / height,
                (cell_width - 2 * margin) / _SHEET_WIDTH,
                (cell_height - _CAPTION - 0.15) / height,
            )
            _draw_tile(figure.add_axes(box), tile, pairs[id(tile)], limit=int(cell_width * 14))
        top += count * cell_height
    return to_png(figure)


def _draw_tile(axes: Any, tile: Tile, pair: NDArray[np.uint8], limit: int) -> None:
    axes.imshow(pair, interpolation="antialiased")
    axes.set_anchor("NW")
    axes.set_axis_off()
    verdict = {
        (True, True): "found",
        (True, False): "missed",
        (False, True): "false alarm",
        (False, False): "passed",
    }[tile.label, tile.decision]
    wrong = tile.label is not tile.decision
    name = tile.name if len(tile.name) <= limit else "…" + tile.name[1 - limit :]
    axes.set_title(
        f"{verdict}  {score_text(tile.score, 3)}",
        loc="left",
        fontsize=9.5,
        color=DEFECT if wrong else INK,
        weight="bold" if wrong else "normal",
        pad=13,
    )
    axes.annotate(
        drawable(name),
        (0, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=7.5,
        color=FAINT,
        parse_math=False,  # a $ in a file name is a $
    )


def _side_by_side(tile: Tile) -> NDArray[np.uint8]:
    """Image with the mask's outline, and the score map over the image: (h, w', 3), stacked if wide."""
    outlined = tile.image.copy()
    if tile.mask is not None:
        contours, _ = cv2.findContours(tile.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, contours, -1, _OUTLINE, thickness=max(1, max(tile.mask.shape) // 250))
    # seg_logits have mean 0: a good surface lies around 0.5, and would only be veiled
    opacity = 1.6 * np.clip(tile.score_map - 0.5, 0, None)[..., None]  # (h, w, 1)
    red = np.array([215, 38, 30], np.float32)
    overlay = ((1 - opacity) * tile.image + opacity * red).astype(np.uint8)
    axis = 0 if tile.image.shape[1] > 1.5 * tile.image.shape[0] else 1
    gap = np.full_like(outlined.take(range(max(2, max(outlined.shape) // 100)), axis=axis), 255)
    return np.concatenate([outlined, gap, overlay], axis=axis)
