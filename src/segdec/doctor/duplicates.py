"""Images that show the same: to the pixel, or up to a small shift, another brightness, a flip.

Two images of one texture look alike and are no duplicates. What they do not share is where each grain
lies, that is the phase of every frequency. So a pair is called near duplicate only where the phases
agree: the phase-only correlation (Kuglin, Hines, "The phase correlation image alignment method", 1975)
has one high peak, at a small shift. A coarse comparison of all pairs chooses which are looked at.

Parts in a fixture share a scene, whose phases agree as well. So what counts is how far a pair's agreement
stands out from what its images have in common with others that look alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.doctor.reading import THUMBNAIL, Look

_COARSE = 24
_LIKELY = 0.35
"""From this correlation of the coarse pictures on, a pair is looked at; most pairs stay far below."""
_MOST = 24
"""Of each image at most so many of the likeliest pairs are looked at, for each flip."""
_COPIES = 6
"""More copies of one image than this, and a quarter of all images, are taken for a scene."""
_BAND = 24
"""Frequencies from 2 to this many periods per side are compared: beyond, files differ by compression."""
_REACH = 8
"""The largest shift, in pixels of the thumbnail: 1/16 of a side."""
SURE = 0.5
"""From this height of the peak on a pair is a near duplicate; 1 is the same picture."""
_OTHERS = 12
"""Images that look alike and are too many for copies: what a pair's agreement is compared with."""
_SHARED = 6
"""What a scene looks like from afar, a bit shifted, turned or brighter: so many pictures make it up."""
_ROWS = 512
_PERIODS = np.arange(-_BAND, _BAND + 1)  # (F,)
_IN_BAND = np.abs(np.hypot(_PERIODS[:, None], _PERIODS[None, :]) - (_BAND + 2) / 2) <= (_BAND - 2) / 2
_WAVES = np.exp(2j * np.pi / THUMBNAIL * np.outer(np.arange(-_REACH, _REACH + 1), _PERIODS))
"""(2 * _REACH + 1, F): from frequencies to the small shifts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same.

    Attributes
    ----------
    one, other
        Their names, in the data set's order.
    exact
        True where all pixels are equal.
    flip
        "" or how the other is mirrored: "left-right", "top-bottom" or "both ways".
    agreement
        Height of the phase correlation's peak, in [0, 1].
    """

    one: str
    other: str
    exact: bool
    flip: str
    agreement: float


_FLIPS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("", ()),
    ("left-right", (1,)),
    ("top-bottom", (0,)),
    ("both ways", (0, 1)),
)


def find_duplicates(looks: Sequence[Look]) -> tuple[list[Pair], tuple[str, ...]]:
    """Find all pairs of images that show the same.

    Parameters
    ----------
    looks
        From `segdec.doctor.reading.look_at_all`.

    Returns
    -------
    pairs : list of Pair
        Each pair once. Of more than two equal images, each is paired with the first.
    scene : tuple of str
        Names of the images that agree with many others as near duplicates do, in the data set's order.
    """
    by_hash: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        by_hash[look.pixel_hash].append(look)
    pairs = [
        Pair(first.sample.name, other.sample.name, True, "", 1.0)
        for first, *others in by_hash.values()
        for other in others
    ]
    # one of each suffices: its copies show what it shows
    distinct = [same[0] for same in by_hash.values() if same[0].deviation > 0]
    near, scene = _near(distinct) if len(distinct) > 1 else ([], [])
    place = {look.sample.name: index for index, look in enumerate(looks)}
    pairs = sorted([*pairs, *near], key=lambda pair: (place[pair.one], place[pair.other]))
    return pairs, tuple(distinct[member].sample.name for member in scene)


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how well the phases of two thumbnails agree, at the best small shift.

    Parameters
    ----------
    one, other
        (THUMBNAIL, THUMBNAIL) float32.

    Returns
    -------
    float
        Near 0 for different pictures, 1 for the same one.

    Examples
    --------
    >>> picture = np.random.default_rng(0).random((128, 128), np.float32)
    >>> round(agreement(picture, 0.5 * picture + 0.3), 2)
    1.0
    >>> agreement(picture, picture.T) < 0.2
    True
    """
    return _peak(_phases(one), _phases(other))


def _near(looks: Sequence[Look]) -> tuple[list[Pair], list[int]]:
    """Return the near duplicates, and the places of the images that share a scene."""
    best: dict[tuple[int, int], tuple[float, str]] = {}
    scene: set[int] = set()
    views = _views(looks)
    middle = views[len(views) // 2]
    upright = _unit(middle)  # (N, D)

    @cache
    def flipped(axes: tuple[int, ...]) -> NDArray[np.float32]:
        return _unit(_flip(middle, axes))

    @cache
    def phases(place: int) -> NDArray[np.complex64]:
        return _phases(looks[place].thumbnail)

    @cache
    def agree(one: int, other: int, axes: tuple[int, ...]) -> float:
        # turned frequencies are those of the flipped picture, up to a shift by one pixel
        return _peak(phases(one), np.flip(phases(other), axes))

    @cache
    def others(place: int, axes: tuple[int, ...]) -> list[int]:
        return _beyond_copies(flipped(axes) @ upright[place], place)

    def usual(place: int, partner: int, axes: tuple[int, ...]) -> float:
        heights = [agree(place, other, axes) for other in others(place, axes) if other != partner]
        # a copy may be among them all the same
        return float(np.quantile(heights, 0.75, method="lower")) if heights else 0.0

    def judge(one: int, other: int, flip: str, axes: tuple[int, ...]) -> None:
        height = agree(one, other, axes)
        if height < SURE:
            return
        chances = {one: usual(one, other, axes), other: usual(other, one, axes)}
        scene.update(place for place, chance in chances.items() if chance >= SURE)
        chance = max(chances.values())
        if height - chance >= SURE * (1 - chance) and height > best.get((one, other), (0.0, ""))[0]:
            best[one, other] = (height, flip)

    for flip, axes in _FLIPS:
        for one, other in _likely(views, axes):
            judge(one, other, flip, axes)
    # in a scene all are likely: once more, by what is left of them without it
    members = sorted(scene)
    own = _without_scene(views[:, members]) if members else views
    for flip, axes in _FLIPS if members else ():
        for one, other in _likely(own, axes):
            judge(members[one], members[other], flip, axes)
    pairs = [
        Pair(looks[one].sample.name, looks[other].sample.name, False, flip, round(height, 3))
        for (one, other), (height, flip) in best.items()
    ]
    return pairs, members


def _beyond_copies(likeness: NDArray[np.float32], place: int) -> list[int]:
    """Return the places of the images that look most like one, after those that may be its copies."""
    ranked = [int(other) for other in np.argsort(-likeness) if other != place]
    return ranked[min(_COPIES, len(likeness) // 4) :][:_OTHERS]


def _without_scene(views: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take out of coarse pictures, (V, N, S, S), the few that most of them are made of."""
    count = views.shape[1]
    flat = views.reshape(len(views), count, -1)  # (V, N, D)
    # a pair of copies must not be what a small set is made of
    basis = np.linalg.svd(flat[len(views) // 2], full_matrices=False)[2][: min(_SHARED, count // 8)]
    return np.asarray(flat - flat @ basis.T @ basis).reshape(views.shape)


def _flip(pictures: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    return np.flip(pictures, tuple(axis + 1 for axis in axes)) if axes else pictures


def _views(looks: Sequence[Look]) -> NDArray[np.float32]:
    """Return coarse pictures of every image, (V, N, S, S), the middle one unshifted.

    Half a cell to the side a fine pattern correlates with nothing, so the shifts go by half cells.
    """
    cell = THUMBNAIL / _COARSE
    steps = [step * cell / 2 for step in range(-2, 3)]
    moves = [np.array([[1, 0, right], [0, 1, down]], np.float32) for down in steps for right in steps]
    return np.stack([np.stack([_coarse(look.thumbnail, move) for look in looks]) for move in moves])


def _likely(views: NDArray[np.float32], axes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield the pairs (one, other), one < other, whose coarse pictures correlate at a small shift."""
    count = views.shape[1]
    middle = views[len(views) // 2]  # (N, S, S)
    still = _unit(_flip(middle, axes))  # (N, D)
    for start in range(0, count, _ROWS):
        moved = (_unit(view[start : start + _ROWS]) for view in views)
        highest = np.full((min(_ROWS, count - start), count - start), -1.0, np.float32)
        for rows in moved:
            np.maximum(highest, rows @ still[start:].T, out=highest)
        for row, line in enumerate(highest):
            line[: row + 1] = -1.0
            found = np.flatnonzero(line >= _LIKELY)
            for column in found[np.argsort(-line[found])][:_MOST]:
                yield start + row, start + int(column)


def _coarse(thumbnail: NDArray[np.float32], move: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle frequencies of a moved picture: what all images share is mostly coarser."""
    moved = cv2.warpAffine(thumbnail, move, (THUMBNAIL, THUMBNAIL), borderMode=cv2.BORDER_REFLECT_101)
    small = cv2.resize(moved, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    # the outermost cells may hold mirrored pixels
    return np.asarray((small - cv2.GaussianBlur(small, (0, 0), 2.0))[1:-1, 1:-1], np.float32)


def _unit(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = pictures.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9), np.float32)


def _phases(thumbnail: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return the phases of the band's frequencies as unit numbers, (F, F), 0 outside the band."""
    # in units of the local contrast, so that a strong spot on a faint texture is not all there is
    detail = thumbnail - cv2.GaussianBlur(thumbnail, (0, 0), 4.0)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4.0))
    even = detail / (strength + 0.25 * strength.mean() + 1e-6)
    # towards the edges, which a shift changes, the picture fades out
    fade = np.hanning(THUMBNAIL + 2)[1:-1].astype(np.float32)
    spectrum = np.fft.fft2(even * np.outer(fade, fade))[np.ix_(_PERIODS, _PERIODS)]
    spectrum *= _IN_BAND
    return np.asarray(spectrum / np.maximum(np.abs(spectrum), 1e-6), np.complex64)


def _peak(one: NDArray[np.complex64], other: NDArray[np.complex64]) -> float:
    surface = (_WAVES @ (one * other.conj()) @ _WAVES.T).real / _IN_BAND.sum()
    return float(surface.max())
