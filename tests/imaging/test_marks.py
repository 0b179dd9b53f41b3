"""What is known of each pixel, drawn from shapes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from segdec.errors import ImageError
from segdec.imaging import DEFECT, GOOD, SCRIBBLED, UNKNOWN, read_marks, read_mask, resize_mask, write_image
from segdec.imaging.marks import fill_polygon
from segdec.types import Polygon, RunLengths, Scribble, Shape, Shapes

SQUARE = Polygon(((1, 1), (4, 1), (4, 4), (1, 4)))
SIZE = (6, 8)


def draw(*items: Shape) -> np.ndarray:
    return read_marks(Shapes(items, SIZE), SIZE)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 23), st.floats(-3, 19)), min_size=3, max_size=7))
def test_a_polygon_holds_the_pixels_whose_centre_is_inside(points: list[tuple[float, float]]) -> None:
    filled = fill_polygon(tuple(points), (16, 20))
    y, x = np.mgrid[:16, :20] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    # even-odd, counted edge by edge in plain arithmetic
    inside = np.zeros(len(centres), bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        for place, (cx, cy) in enumerate(centres):
            if (y0 <= cy) != (y1 <= cy) and cx >= x0 + (cy - y0) / (y1 - y0) * (x1 - x0):
                inside[place] ^= True
    x, y = np.mean(points, axis=0)
    near = -1 <= x <= 21 and -1 <= y <= 17
    assert (filled.ravel() == inside).all() if inside.any() else filled.sum() == near


def test_a_convex_polygon_is_what_matplotlib_says() -> None:
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    points = np.stack([10.3 + 7 * np.cos(angles), 8.1 + 6 * np.sin(angles)], axis=1)
    y, x = np.mgrid[:16, :20] + 0.5
    expected = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(16, 20)
    assert (fill_polygon(tuple(map(tuple, points)), (16, 20)) == expected).all()


def test_a_tiny_polygon_does_not_vanish() -> None:
    assert np.argwhere(fill_polygon(((2.6, 3.6), (2.9, 3.6), (2.7, 3.9)), SIZE)).tolist() == [[3, 2]]


@pytest.mark.parametrize("x", [-50, 500])
def test_a_polygon_outside_the_image_marks_nothing(x: float) -> None:
    assert not fill_polygon(((x, 50), (x + 9, 50), (x + 9, 59)), SIZE).any()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Polygon(((500, 500), (600, 500), (600, 600))), r"\(500, 500\) lies outside its image of 8 x 6"),
        (Polygon(((5, 3), (90, 3), (90, 4), (5, 4))), r"\(90, 3\) lies outside"),
        (Scribble(((5, 3), (5, -9))), r"\(5, -9\) lies outside"),
        (Polygon(((7, 0), (20, 0), (20, 9), (7, 9)), cut=True), r"\(13\.5, 4\.5\) lies outside"),
    ],
)
def test_without_a_stated_size_the_image_tells_what_is_outside(form: Polygon | Scribble, words: str) -> None:
    with pytest.raises(ImageError, match=r"a\.json, shape 1: the point " + words):
        read_marks(Shapes((Shape(form, origin="a.json, shape 1"),)), SIZE)


def test_what_may_be_cut_off_is() -> None:
    turned = Polygon(((5, 1), (12, 1), (12, 4), (5, 4)), cut=True)  # its middle is half a pixel outside
    assert np.argwhere(read_marks(Shapes((Shape(turned),)), SIZE) == DEFECT)[:, 1].tolist() == [5, 6, 7] * 3


def test_outlines_leave_the_rest_good() -> None:
    marks = draw(Shape(SQUARE))
    assert (marks == DEFECT).sum() == 9
    assert set(np.unique(marks)) == {GOOD, DEFECT}


def test_scribbles_leave_the_rest_unknown() -> None:
    bad = Scribble(((0.5, 0.5), (3.5, 0.5)), width=1)
    fine = Scribble(((0.5, 5.5),), width=1)
    marks = draw(Shape(bad), Shape(fine, "good"))
    assert marks[0].tolist() == [SCRIBBLED] * 4 + [UNKNOWN] * 4
    assert marks[5, 0] == GOOD
    assert (marks == UNKNOWN).sum() == marks.size - 5


def test_unknown_marks_leave_the_rest_known() -> None:
    stroke = Scribble(((5.5, 0.5), (7.5, 0.5)), width=1)
    marks = draw(Shape(SQUARE), Shape(stroke, "unknown"))
    assert (marks == UNKNOWN).sum() == 3
    assert (marks == GOOD).sum() == marks.size - 12


def test_the_later_mark_covers_the_earlier() -> None:
    inner = Polygon(((2, 2), (3, 2), (3, 3), (2, 3)))
    assert draw(Shape(SQUARE), Shape(inner, "good"))[2, 2] == GOOD
    assert draw(Shape(inner, "good"), Shape(SQUARE))[2, 2] == DEFECT


def test_masks_and_run_lengths_are_shapes_too(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[0, 0] = 255
    write_image(tmp_path / "m.png", mask)
    marks = draw(Shape(RunLengths(("1 2",), "x")), Shape(tmp_path / "m.png", "unknown"))
    assert marks[:2, 0].tolist() == [UNKNOWN, DEFECT]
    assert read_mask(tmp_path / "m.png", SIZE).sum() == 1


def test_another_size_is_refused() -> None:
    shapes = Shapes((Shape(SQUARE, origin="a.json, shape 1"),), (60, 80))
    with pytest.raises(ImageError, match=r"a\.json, shape 1 is for an image of 60 x 80 .* is 6 x 8"):
        read_marks(shapes, SIZE)


def test_shrinking_keeps_the_surest() -> None:
    marks = np.array([[UNKNOWN, GOOD, GOOD, DEFECT], [UNKNOWN] * 4], np.uint8)
    assert resize_mask(marks, (1, 2)).tolist() == [[GOOD, DEFECT]]
    assert resize_mask(marks, (2, 8))[1].tolist() == [UNKNOWN] * 8
