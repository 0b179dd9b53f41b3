"""Predictions as JSON, as CSV rows and as pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from segdec.imaging import read_image, write_image
from segdec.predict import Unreadable
from segdec.results import CSV_FIELDS, overlay_paths, to_csv_row, to_json, write_overlay
from segdec.types import Prediction, Region

REGION = Region((2, 3, 4, 5), 14, ((2, 3), (5, 3), (5, 7)), 0.75)


def make_prediction(name: str) -> Prediction:
    score_map = np.zeros((20, 30), np.float32)
    score_map[3:8, 2:6] = 0.75
    return Prediction(name, 0.875, True, 0.5, (REGION,), score_map)


def test_json_holds_everything_but_the_map() -> None:
    described = json.loads(json.dumps(to_json(make_prediction("ü.png"))))
    assert described == {
        "image": "ü.png",
        "score": 0.875,
        "decision": "defect",
        "threshold": 0.5,
        "regions": [
            {"box": [2, 3, 4, 5], "area_px": 14, "contour": [[2, 3], [5, 3], [5, 7]], "peak_score": 0.75}
        ],
    }


@pytest.mark.parametrize(
    ("score", "said"), [(0.2, "good"), (0.3, "review"), (0.49, "review"), (0.5, "defect")]
)
def test_between_two_thresholds_a_person_decides(score: float, said: str) -> None:
    score_map = np.zeros((2, 2), np.float32)
    described = to_json(Prediction("a.png", score, score >= 0.5, 0.5, (), score_map, review_threshold=0.3))
    assert (described["decision"], described["review_threshold"]) == (said, 0.3)
    assert to_csv_row(Prediction("a.png", 0.4, False, 0.5, (), score_map))["review_threshold"] == ""


def test_csv_rows_can_be_read_back() -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS)
    writer.writeheader()
    writer.writerow(to_csv_row(make_prediction("a, b.png")))
    writer.writerow(to_csv_row(Unreadable("c.png", "c.png is empty")))
    good, bad = csv.DictReader(io.StringIO(text.getvalue()))
    assert good["image"] == "a, b.png"
    assert (good["decision"], float(good["score"]), good["error"]) == ("defect", 0.875, "")
    assert json.loads(good["regions"])[0]["area_px"] == 14
    assert {name for name, value in bad.items() if value} == {"image", "error"}
    assert (bad["image"], bad["error"]) == ("c.png", "c.png is empty")


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["in/1.png"], ["1.png"]),
        (["in/a/1.png", "in/b/1.bmp"], ["a/1.png", "b/1.png"]),
        (["in/a/1.png", "in/2.png"], ["a/1.png", "2.png"]),
        (["1.jpg", "1.png", "1.JPG"], ["1.png", "1.png.png", "1.JPG.png"]),
        (["1.jpg", "1.png", "1.png.png", "1.png.bmp"], None),
        (["../x/1.png", "y/1.png"], None),
        ([], []),
    ],
)
def test_overlays_keep_the_images_names(images: list[str], expected: list[str] | None) -> None:
    targets = overlay_paths([Path(image) for image in images], Path("out"))
    assert len({str(target).lower() for target in targets}) == len(images)
    assert all(target.is_relative_to("out") and ".." not in target.parts for target in targets)
    if expected is not None:
        assert targets == [Path("out") / name for name in expected]


def test_an_overlay_never_replaces_an_image() -> None:
    images = [Path("parts/1.png"), Path("parts/1.bmp")]
    targets = overlay_paths(images, Path("parts"))
    assert targets == [Path("parts/1.png.png"), Path("parts/1.bmp.png")]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_overlay_shows_image_and_map(tmp_path: Path, dtype: type) -> None:
    image = tmp_path / "part.png"
    write_image(image, np.full((20, 30), 100, dtype))
    write_overlay(make_prediction(str(image)), tmp_path / "out" / "part.png")
    overlay = read_image(tmp_path / "out" / "part.png")
    assert overlay.shape == (20, 30, 3)
    assert (overlay[15, 20] == overlay[15, 20, 0]).all()  # grey where nothing was found
    assert len(np.unique(overlay[5, 4])) > 1  # coloured where something was
