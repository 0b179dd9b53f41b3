"""Charts as SVG text: drawn once here, coloured by the page's style, read out by its script."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segdec.intervals import percent
from segdec.score_axis import logit_ticks, to_logit

WIDTH, HEIGHT = 440, 290
"""Of a chart, in its own units; the page stretches it."""

MOST_POINTS = 500
"""More points than this in a line cannot be told apart, but would make the file large."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 22, 10, 42

Scale = Literal["linear", "log", "logit"]
Spot = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes
    ----------
    label
        Its title.
    low, high
        Its ends, in data units; values beyond are drawn at the ends.
    scale
        Logit stretches what is close to 0 and to 1.
    percent
        Whether its ticks are written as percentages.
    whole
        Whether it has ticks at whole numbers only.
    """

    label: str
    low: float
    high: float
    scale: Scale = "linear"
    percent: bool = False
    whole: bool = False

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return where values lie between the ends, 0 to 1."""
        inside = np.clip(np.asarray(values, np.float64), self.low, self.high)
        low, high = self._stretched(np.array([self.low, self.high]))
        places: NDArray[np.float64] = (self._stretched(inside) - low) / (high - low)
        return places

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and texts of the ticks."""
        if self.scale == "linear":
            step = _nice_step(self.high - self.low)
            step = max(1.0, round(step)) if self.whole else step
            first = math.ceil(self.low / step - 1e-9)
            values = [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        elif self.scale == "log":
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            factors = (1, 2, 5) if self.high / self.low < 200 else (1,)
            values = [factor * 10.0**power for power in powers for factor in factors]
        else:
            return [(float(self.place(value)), text) for value, text in logit_ticks(self.low, self.high)]
        values = [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
        return [(float(self.place(value)), self._text(value)) for value in values]

    def _stretched(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.scale == "log":
            return np.log(values)
        return to_logit(values) if self.scale == "logit" else values

    def _text(self, value: float) -> str:
        if self.percent:
            return percent(value, exact=True)
        return f"{value:.7g}" if abs(value) < 1e5 else f"{value:.0e}".replace("e+0", "e")


class Chart:
    """A chart, filled from back to front.

    Parameters
    ----------
    title
        Read out to those who cannot see it.
    x, y
        The axes.
    """

    def __init__(self, title: str, x: Axis, y: Axis) -> None:
        self.title, self.x, self.y = title, x, y
        self._marks: list[str] = []
        self._spots: list[tuple[float, float, str]] = []

    def line(self, xs: ArrayLike, ys: ArrayLike, kind: str, *, steps: bool = False) -> None:
        """Draw a line through points, each (K,); with steps a value holds from the point before it."""
        across, down = self._points(xs, ys)
        if steps:
            across, down = np.repeat(across, 2)[:-1], np.repeat(down, 2)[1:]
        self._marks.append(f'<path class="line {kind}" d="M{_path(across, down)}"/>')

    def band(self, xs: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str, *, steps: bool = False) -> None:
        """Fill what lies between two lines."""
        across, lower = self._points(xs, low)
        _, upper = self._points(xs, high)
        if steps:
            across = np.repeat(across, 2)[:-1]
            lower, upper = np.repeat(lower, 2)[1:], np.repeat(upper, 2)[1:]
        outline = f"{_path(across, lower)}L{_path(across[::-1], upper[::-1])}"
        self._marks.append(f'<path class="band {kind}" d="M{outline}Z"/>')

    def bars(self, lefts: ArrayLike, rights: ArrayLike, heights: ArrayLike, kind: str) -> None:
        """Draw bars from the lower edge up; each (K,); those of height 0 are left out."""
        tops = np.asarray(heights, np.float64)
        left, top = self._points(lefts, tops)
        right, _ = self._points(rights, tops)
        bottom = HEIGHT - _BOTTOM
        self._marks += [
            f'<rect class="bar {kind}" x="{a:.1f}" y="{y:.1f}" width="{b - a:.1f}"'
            f' height="{bottom - y:.1f}"/>'
            for a, b, y, height in zip(left, right, top, tops, strict=True)
            if height > 0
        ]

    def dots(self, xs: ArrayLike, ys: ArrayLike, kind: str, radius: float = 4) -> None:
        """Draw points, each (K,)."""
        self._marks += [
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'
            for x, y in zip(*self._points(xs, ys), strict=True)
        ]

    def whiskers(self, xs: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str) -> None:
        """Draw vertical lines, each (K,)."""
        across, lower = self._points(xs, low)
        _, upper = self._points(xs, high)
        self._marks += [
            f'<path class="whisker {kind}" d="M{x:.1f} {a:.1f}V{b:.1f}"/>'
            for x, a, b in zip(across, lower, upper, strict=True)
        ]

    def rule(self, x: float) -> None:
        """Draw a vertical dashed line from edge to edge."""
        across, _ = self._points([x], [self.y.low])
        self._marks.append(f'<path class="rule" d="M{across[0]:.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>')

    def spots(self, xs: ArrayLike, ys: ArrayLike, texts: Sequence[str]) -> None:
        """Let the pointer read texts at points, each (K,)."""
        across, down = self._points(xs, ys)
        self._spots += [
            (round(float(x), 1), round(float(y), 1), text)
            for x, y, text in zip(across, down, texts, strict=True)
        ]

    def svg(self, by: Literal["x", "xy"] = "x") -> str:
        """Return the chart as SVG; ``by`` says how the spot nearest to the pointer is found."""
        hover = ""
        if self._spots:
            spots = escape(json.dumps(self._spots, ensure_ascii=False, separators=(",", ":")))
            hover = f' tabindex="0" data-by="{by}" data-spots="{spots}"'
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}"'
            f"{hover}>{self._frame()}{''.join(self._marks)}</svg>"
        )

    def _points(self, xs: ArrayLike, ys: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        across = _LEFT + self.x.place(xs) * (WIDTH - _LEFT - _RIGHT)
        down = HEIGHT - _BOTTOM - self.y.place(ys) * (HEIGHT - _TOP - _BOTTOM)
        return across, down

    def _frame(self) -> str:
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
        for place, text in self.y.ticks():
            y = bottom - place * (bottom - _TOP)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(
                f'<text class="tick" x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
            )
        for place, text in self.x.ticks():
            x = _LEFT + place * (right - _LEFT)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>'
            )
        middle = (_LEFT + right) / 2
        parts.append(
            f'<text x="{middle}" y="{HEIGHT - 7}" text-anchor="middle">{escape(self.x.label)}</text>'
            f'<text transform="translate(11 {(bottom + _TOP) / 2}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join(parts)


def thinned(count: int, most: int = MOST_POINTS) -> NDArray[np.intp]:
    """Return which of so many points are drawn: all, or a number spread evenly, both ends among them.

    Examples
    --------
    >>> thinned(3).tolist(), thinned(9, 3).tolist()
    ([0, 1, 2], [0, 4, 8])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def _path(across: NDArray[np.float64], down: NDArray[np.float64]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, down, strict=True))


def _nice_step(span: float) -> float:
    """Return a round step that gives about five ticks."""
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
