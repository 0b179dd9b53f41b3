"""The images that were decided wrongly, as small pictures: a report shows them, the worst first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.imaging import draw_overlay, find_regions, resize_image, resize_mask
from segdec.score_axis import above

MOST_BYTES = 6 * 2**20
"""So much may the pictures of all misses take together, and as much those of all false alarms."""

_PIXELS = 90_000
"""Area of a picture; by area, as the surfaces of sheet and web are long strips."""
_QUALITY = 80
_OUTLINE = (244, 208, 63)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One image that was decided wrongly.

    Attributes
    ----------
    name, part, group, score, threshold
        As in `segdec.evaluation.Row`.
    kind
        "miss" is a defect called good, "false alarm" the opposite.
    size
        (height, width) of the pictures, in pixels.
    image
        JPEG; marked defects are outlined.
    overlay
        JPEG; the score map lies over the image as heat, regions above the pixel threshold are outlined.
    """

    name: str
    part: str
    group: str
    score: float
    threshold: float
    kind: Literal["miss", "false alarm"]
    size: tuple[int, int]
    image: bytes = field(repr=False)
    overlay: bytes = field(repr=False)

    @property
    def margin(self) -> float:
        """How far the score stands from the threshold, on the wrong side and on the scale of logits."""
        return abs(above(self.score, self.threshold))


@dataclass(frozen=True, slots=True)
class Mistakes:
    """All mistakes, counted, and the pictures of the worst: as many as the memory bound allows.

    Attributes
    ----------
    shown
        The worst first, misses before false alarms.
    misses, false_alarms
        How many there are, with those that are not shown.
    """

    shown: tuple[Mistake, ...] = ()
    misses: int = 0
    false_alarms: int = 0

    def of(self, kind: str) -> tuple[Mistake, ...]:
        """Return those of one kind that are shown, the worst first."""
        return tuple(mistake for mistake in self.shown if mistake.kind == kind)

    def added(self, mistake: Mistake) -> Mistakes:
        """Return them with one more; the mildest go where there is no room."""
        miss = mistake.kind == "miss"
        return Mistakes(_worst([*self.shown, mistake]), self.misses + miss, self.false_alarms + (not miss))

    def merged(self, other: Mistakes) -> Mistakes:
        """Return those of both; the mildest go where there is no room."""
        return Mistakes(
            _worst([*self.shown, *other.shown]),
            self.misses + other.misses,
            self.false_alarms + other.false_alarms,
        )


def picture(
    image: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    score_map: NDArray[np.float32],
    pixel_threshold: float,
) -> tuple[tuple[int, int], bytes, bytes]:
    """Draw the two small pictures of a mistake.

    Parameters
    ----------
    image
        (H, W, 3) uint8 or uint16.
    mask
        (H, W), True is defect; None where it is not marked.
    score_map
        (H, W) in [0, 1].
    pixel_threshold
        Where it is reached, the overlay is outlined.

    Returns
    -------
    tuple
        (height, width) of both, the image with the outline of the mask, the overlay; as JPEG.
    """
    height, width = score_map.shape
    scale = min(1.0, (_PIXELS / (height * width)) ** 0.5)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = resize_image(image, size)
    nothing = np.zeros(size, np.float32)
    outlined = draw_overlay(small, nothing)
    if mask is not None:
        marked = resize_mask(mask, size).astype(np.uint8)
        contours, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, contours, -1, _OUTLINE, 1)
    scores = resize_image(score_map, size)
    overlay = draw_overlay(small, scores, find_regions(scores, pixel_threshold))
    return size, _jpeg(outlined), _jpeg(overlay)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    full_colour = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444  # or thin coloured outlines would wash out
    flags = [
        *(cv2.IMWRITE_JPEG_QUALITY, _QUALITY),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full_colour),
    ]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def _worst(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    ranked = sorted(mistakes, key=lambda mistake: (mistake.kind != "miss", -mistake.margin, mistake.name))
    left = {"miss": MOST_BYTES, "false alarm": MOST_BYTES}
    shown = []
    for mistake in ranked:
        left[mistake.kind] -= len(mistake.image) + len(mistake.overlay)
        if left[mistake.kind] >= 0:  # once below, it stays there: none of the milder is shown
            shown.append(mistake)
    return tuple(shown)
