"""Each finding on a small set that has the fault, and no finding on one that has not."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.data.synthetic import make_surface
from segdec.doctor import examine, make_plan, measure_training_part, write_findings
from segdec.doctor.leaks import connect
from segdec.errors import ConfigError, DataError
from segdec.imaging import write_image

SIZE = (160, 160)


def spot(image, mask_at, spot_at, radius=12):
    """Draw a dark spot and a mask, each at (x, y)."""
    image = image.copy()
    cv2.circle(image, spot_at, radius, 10, -1)
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, mask_at, radius, 255, -1)
    return image, mask


class Set:
    """A table of images that grows."""

    def __init__(self, folder):
        self.folder, self.rows = folder, ["image,label,mask,group,split"]
        self.rng = np.random.default_rng(0)

    def surface(self):
        return make_surface("cast", SIZE, self.rng)

    def add(self, name, image, mask=None, group="", split="", label=None):
        write_image(self.folder / f"{name}.png", image)
        if mask is not None:
            write_image(self.folder / f"{name}_mask.png", mask)
        label = int(mask is not None) if label is None else label
        drawn = "" if mask is None else f"{name}_mask.png"
        self.rows.append(f"{name}.png,{label},{drawn},{group},{split}")

    def open(self):
        (self.folder / "table.csv").write_text("\n".join(self.rows) + "\n")
        return open_dataset(self.folder / "table.csv", DataConfig(), one_class=True)


@pytest.fixture
def data(tmp_path):
    return Set(tmp_path)


@pytest.fixture
def sound(data):
    """A set without any fault but its smallness."""
    for number in range(12):
        data.add(f"good{number}", data.surface())
        centre = (40 + 5 * number, 50 + 4 * number)
        data.add(f"bad{number}", *spot(data.surface(), centre, centre, 16))
    return data


def kinds(findings):
    return [finding.kind for finding in findings.findings]


def find(findings, kind):
    (found,) = (finding for finding in findings.findings if finding.kind == kind)
    return found


def test_a_sound_set_has_only_facts_and_too_few_parts_for_the_wish(sound):
    findings = examine(sound.open())

    assert kinds(findings) == ["wish", "sizes", "grey-levels", "classes"]
    assert "take 299" in find(findings, "wish").text
    assert "24 images of 24 items: 12 images of 12 items" in find(findings, "classes").text


def test_a_modest_wish_is_carried(sound):
    wish = find(examine(sound.open(), max_escape=0.3, confidence=0.95), "wish")

    assert wish.weight == "fact"


@pytest.mark.parametrize("wish", [{"max_escape": 0.0}, {"confidence": 1.0}])
def test_an_impossible_wish_is_refused(sound, wish):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        examine(sound.open(), **wish)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"max_escape": 1}, "--max-escape must lie between 0 and 1, got 1; write e.g. 0.05 for 5 %"),
        ({"confidence": 0}, "--confidence must lie between 0 and 1, got 0; write e.g. 0.95 for 95 %"),
        ({"run": "nowhere"}, "scores.csv cannot be read"),
    ],
)
def test_what_cannot_be_is_said_before_any_image_is_read(sound, wish, said):
    read = []
    wish = {key: sound.folder / value if key == "run" else value for key, value in wish.items()}

    with pytest.raises((ConfigError, DataError)) as error:
        examine(sound.open(), watch=lambda *done: read.append(done), **wish)

    assert said in str(error.value)
    assert read == []


def test_unreadable_files_are_listed_first(sound):
    dataset = sound.open()
    (sound.folder / "good3.png").write_bytes(b"no image")

    first = examine(dataset).findings[0]

    assert (first.kind, first.weight) == ("unreadable", "wrong")
    assert first.items[0].startswith("good3.png: ")


def test_images_that_predictions_would_refuse_are_unusable(sound):
    sound.add("small", np.full((48, 160), 90, np.uint8))
    first = examine(sound.open()).findings[0]
    assert first.kind == "unreadable"
    assert "small.png is too small: 48 x 160 pixels" in first.items[0]


def test_nothing_readable_is_an_error(sound):
    dataset = sound.open()
    for path in sound.folder.glob("*.png"):
        path.write_bytes(b"")

    with pytest.raises(DataError, match=r"no image of .* can be read"):
        examine(dataset)


def test_twins_in_two_published_parts_are_a_leak(data):
    for number in range(6):
        data.add(f"a{number}", data.surface(), group=f"item{number}", split="train")
    image, mask = spot(data.surface(), (60, 60), (60, 60))
    data.add("one", image, mask, "x", "train")
    data.add("two", image, mask, "y", "test")

    findings = examine(data.open())

    assert kinds(findings)[:2] == ["leak", "twins"]
    assert find(findings, "leak").items == ("published parts: x in train, y in test",)
    assert findings.measured.together == (("x", "y"),)


def test_groups_are_left_apart_where_together_they_are_too_few_to_divide(data):
    for number in range(6):
        surface = data.surface()
        for half in "ab":
            # good and bad show the same, two by two
            data.add(f"good{number}{half}", surface, group=f"{number // 3}{half}")
            data.add(f"bad{number}{half}", *spot(surface, (60, 60), (60, 60)), f"{number}{half}")

    findings = examine(data.open())

    assert find(findings, "too-few-groups").weight == "wrong"
    assert findings.measured.together == ()
    assert find(findings, "twins")


def test_all_folds_of_a_splits_file_are_examined(data):
    image = data.surface()
    data.add("p0", image, group="p")
    data.add("q0", image, group="q")
    for name in "rstu":
        data.add(f"{name}0", *spot(data.surface(), (60, 60), (60, 60)), name)
    folds = [
        {"train": [["p", True], ["q", True], ["r", True]], "test": ["s", "t"]},
        {"train": [["p", True], ["r", True]], "test": ["q", "s"]},
    ]
    path = data.folder / "splits.json"
    path.write_text(json.dumps({"all": folds, "few": folds[:1]}))

    leak = find(examine(data.open(), splits=path), "leak")

    assert leak.items == ("all fold 1: p in train, q in test",)
    assert "leak" not in kinds(examine(data.open(), splits=path, setting="few"))
    with pytest.raises(ConfigError, match="other"):
        examine(data.open(), splits=path, setting="other")


def test_one_picture_with_two_labels_is_disputed(sound):
    image, mask = spot(sound.surface(), (80, 80), (80, 80))
    sound.add("called_bad", image, mask)
    sound.add("called_good", image)

    assert find(examine(sound.open()), "disputed-labels").items == ("called_bad.png = called_good.png",)


def test_masks_with_an_offset_are_told_with_its_direction(data):
    for number in range(6):
        x = 50 + 6 * number
        data.add(f"bad{number}", *spot(data.surface(), (x, 70), (x + 14, 70), 8))
        data.add(f"good{number}", data.surface())

    findings = examine(data.open())

    assert find(findings, "masks-shifted").weight == "wrong"
    assert "px right" in find(findings, "masks-shifted").text
    assert len(find(findings, "mask-beside").items) == 6


def test_a_mask_on_nothing_is_doubted(sound):
    image, mask = spot(sound.surface(), (40, 40), (130, 130), 16)
    sound.add("wrong", image, mask)
    sound.add("right", *spot(sound.surface(), (40, 40), (40, 40), 16))

    findings = examine(sound.open())

    doubted = find(findings, "mask-on-nothing").items
    assert [item.partition(":")[0] for item in doubted] == ["wrong.png"]


def test_defects_that_vanish_depend_on_the_image_size(sound):
    assert "vanishing" not in kinds(examine(sound.open()))

    findings = examine(sound.open(), image_size=(64, 64))

    assert len(find(findings, "vanishing").items) == 12
    assert findings.measured.vanishing == 1


def test_scribbles_are_marks_and_have_no_form(tmp_path):
    rng = np.random.default_rng(0)
    images, strokes = [], []
    for number in range(12):
        image = make_surface("cast", SIZE, rng)
        if number % 2:
            image, _ = spot(image, (80, 80), (80, 80), 25)
            stroke = {"scribble": [[70, 75], [90, 85]], "width": 3}
            strokes.append({"id": number, "image_id": number, "category_id": 1, "attributes": stroke})
        write_image(tmp_path / f"{number}.png", image)
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
    coco = {"images": images, "annotations": strokes, "categories": [{"id": 1, "name": "dent"}]}
    (tmp_path / "labels.json").write_text(json.dumps(coco))
    dataset = open_dataset(tmp_path / "labels.json", DataConfig(), one_class=True)

    findings = examine(dataset)
    measured = findings.measured
    settings = make_plan(measured).settings()

    assert not {"vanishing", "mask-on-nothing", "mask-beside"} & set(kinds(findings))
    assert (measured.masked, measured.thickness, measured.vanishing) == (6, None, None)
    assert measure_training_part(dataset.samples) == replace(measured, grey=None, divided=True)
    assert "dilation" not in settings["data"]
    assert "balance" not in settings["loss"]


def test_odd_shapes_outliers_and_empty_images(sound):
    sound.add("wide", make_surface("cast", (80, 160), sound.rng))
    sound.add("dark", sound.surface() // 6)
    sound.add("empty", np.full(SIZE, 118, np.uint8))

    findings = examine(sound.open())

    assert find(findings, "odd-shapes").items == ("wide.png",)
    assert [item.partition(":")[0] for item in find(findings, "grey-outliers").items] == ["dark.png"]
    assert find(findings, "empty").items == ("empty.png",)


def test_few_defects_and_no_masks(data):
    for number in range(4):
        data.add(f"good{number}", data.surface())
        data.add(f"bad{number}", data.surface(), label=1)

    assert {"few-defects", "no-masks"} <= set(kinds(examine(data.open())))


def test_labels_that_scores_contradict(sound):
    # today's labels count: in the run bad9 was called good, and good9 has been corrected since
    rows = [f"bad{k}.png,1,0.9" for k in range(8)] + [f"good{k}.png,0,0.1" for k in range(8)]
    rows += [
        "good8.png,0,0.95",
        "bad8.png,1,0.02",
        "bad9.png,0,0.9",
        "good9.png,1,0.1",
        "elsewhere.png,0,0.99",
    ]
    (sound.folder / "scores.csv").write_text("\n".join(["name,label,score", *rows]))

    suspect = find(examine(sound.open(), run=sound.folder), "suspect-labels")

    assert {item.partition(",")[0] for item in suspect.items} == {
        "good8.png: labelled good",
        "bad8.png: labelled defect",
    }
    assert suspect.text.startswith("2 of 20 labels")


@pytest.mark.parametrize(
    "text",
    [None, "name,label\nbad1.png,1\n", "name,label,score\nbad1.png,1,high\n", "name,label,score\na,1,0.3\n"],
)
def test_a_run_without_scores_is_an_error(sound, text):
    if text is not None:
        (sound.folder / "scores.csv").write_text(text)

    with pytest.raises(DataError, match=r"segdec evaluate|none of which is examined"):
        examine(sound.open(), run=sound.folder)


def test_what_is_written_is_what_was_found(sound):
    findings = examine(sound.open())

    write_findings(findings, sound.folder / "doctor.json")

    tree = json.loads((sound.folder / "doctor.json").read_text())
    assert [each["kind"] for each in tree["findings"]] == kinds(findings)
    assert tree["measured"]["images"] == 24


def test_pairs_are_joined_through_common_members():
    assert connect([("d", "c"), ("a", "b"), ("c", "b"), ("e", "e")]) == [("a", "b", "c", "d")]
