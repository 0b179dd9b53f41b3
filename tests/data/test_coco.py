"""COCO: against pycocotools, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as cocotools

from segdec.config import DataConfig
from segdec.data import check_files, open_dataset
from segdec.data.coco import decode_counts
from segdec.errors import DataError
from segdec.imaging import decode_run_lengths, read_marks, read_mask
from segdec.imaging.marks import fill_polygon
from segdec.types import Polygon, Scribble, Shapes

SIZE = (8, 10)


def write(folder: Path, annotations: list[Any], categories: Any = None, images: Any = None) -> Path:
    """Write two images and a COCO file; annotations are of the first."""
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full(SIZE, 50, np.uint8)).save(folder / name)
    listed = [{"id": n, "file_name": f"{n}.png", "height": 8, "width": 10} for n in ("a", "b")]
    content = {
        "images": listed if images is None else images,
        "annotations": [{"id": 17, "image_id": "a", "category_id": 1, **each} for each in annotations],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "ignore"}, {"id": 3, "name": "good"}]
        if categories is None
        else categories,
    }
    (folder / "c.json").write_text(json.dumps(content))
    return folder / "c.json"


def read(folder: Path, annotations: list[Any], **more: Any) -> Any:
    return open_dataset(write(folder, annotations, **more), DataConfig(), one_class=True)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_both_forms_of_run_lengths(data: st.DataObject, height: int, width: int) -> None:
    seed, share = data.draw(st.integers(0, 99)), data.draw(st.floats(0, 1))
    mask = np.random.default_rng(seed).random((height, width)) < share
    packed = cocotools.encode(np.asfortranarray(mask.astype(np.uint8)))
    for counts in (packed["counts"], packed["counts"].decode()):
        runs = decode_counts(counts, (height, width), "x")
        assert (decode_run_lengths(runs, (height, width)) == mask).all()
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [2]])
    edges = np.flatnonzero(np.diff(flat))
    plain = np.diff(np.concatenate([[0], edges])).tolist()
    assert (decode_run_lengths(decode_counts(plain, (height, width), "x"), (height, width)) == mask).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_a_polygon_is_nearly_what_pycocotools_draws() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        angles, radii = np.sort(rng.uniform(0, 6.28, 8)), rng.uniform(20, 45, 8)
        points = np.stack([50 + radii * np.cos(angles), 50 + radii * np.sin(angles)], axis=1)
        theirs = cocotools.decode(cocotools.frPyObjects([points.ravel().tolist()], 100, 100))[..., 0] > 0
        ours = fill_polygon(tuple(map(tuple, points)), (100, 100))
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


def test_polygons_boxes_and_run_lengths_of_one_image(tmp_path: Path) -> None:
    counts = [0, 2, 78]
    dataset = read(
        tmp_path,
        [
            {"segmentation": [[4, 4, 6, 4, 6, 6, 4, 6], [8, 0, 10, 0, 10, 2, 8, 2]]},
            {"bbox": [0, 6, 2, 2]},
            {"segmentation": {"size": [8, 10], "counts": counts}, "iscrowd": 1},
            {"bbox": [4, 0, 3, 1], "category_id": 2},
        ],
    )
    defective, good = dataset.samples
    expected = np.zeros(SIZE, int)
    expected[4:6, 4:6] = expected[0:2, 8:10] = expected[6:8, 0:2] = expected[:2, 0] = 1
    marks = read_marks(defective.mask, SIZE)
    assert (read_mask(defective.mask, SIZE) == expected).all()
    assert np.argwhere(marks == 0).tolist() == [[0, 4], [0, 5], [0, 6]]
    assert (defective.types, good.label, good.mask) == (("dent",), False, None)


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = write(tmp_path, [])
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert open_dataset(path, DataConfig(), one_class=True).layout == "coco"
    assert open_dataset(tmp_path, DataConfig(), one_class=True).layout == "coco"


def test_image_labels(tmp_path: Path) -> None:
    size = {"height": 8, "width": 10}
    images = [
        {"id": "a", "file_name": "a.png", "label": "defect", "types": ["dent"], "split": "test", **size},
        {"id": "b", "file_name": "b.png", "label": "good", "group": "part 1", **size},
    ]
    weak, good = read(tmp_path, [], images=images).samples
    assert (weak.weak, weak.types, weak.part) == (True, ("dent",), "test")
    assert (good.label, good.group) == (False, "part 1")


def test_an_annotation_without_an_area_is_an_image_label(tmp_path: Path) -> None:
    weak = read(tmp_path, [{}]).samples[0]
    assert (weak.weak, weak.types) == (True, ("dent",))


def test_a_scribble(tmp_path: Path) -> None:
    stroke = {"attributes": {"scribble": [[1, 1], [5, 1]], "width": 2}}
    mask = read(tmp_path, [stroke]).samples[0].mask
    assert isinstance(mask, Shapes)
    assert mask.items[0].form == Scribble(((1, 1), (5, 1)), 2)


def test_a_folder_with_parts(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        write(tmp_path / part, [{"bbox": [1, 1, 2, 2]}])
    dataset = open_dataset(tmp_path, DataConfig())
    assert [(s.name, s.part) for s in dataset][1:3] == [("train/b.png", "train"), ("valid/a.png", "val")]


def test_the_common_layout_of_downloads(tmp_path: Path) -> None:
    for folder in ("annotations", "train2017"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "train2017", [{"bbox": [1, 1, 2, 2]}]).rename(
        tmp_path / "annotations" / "instances_train2017.json"
    )
    for opened in (tmp_path, tmp_path / "annotations" / "instances_train2017.json"):
        dataset = open_dataset(opened, DataConfig())
        assert [sample.name for sample in dataset] == ["train2017/a.png", "train2017/b.png"]
    assert open_dataset(tmp_path, DataConfig()).samples[0].part == "train"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"segmentation": [[1, 1, 5, 5]]}, "a polygon has at least three points, got 2"),
        ({"segmentation": [[1, 1, 5, 5, 1]]}, r"must be a list \[x, y, x, y, \.\.\.\]"),
        ({"segmentation": [[1, 1, 50, 5, 5, 5]]}, r"the point \(50, 5\) lies outside its image of 10 x 8"),
        ({"segmentation": [[1, 1, float("nan"), 5, 5, 5]]}, "a coordinate must be a number, got nan"),
        ({"segmentation": "abc"}, "segmentation must be a list of polygons"),
        ({"segmentation": {"size": [8, 10], "counts": [1, 2]}}, "sum up to the 8 x 10 = 80 pixels.* got .*3"),
        ({"segmentation": {"size": [8, 10], "counts": [90, -10]}}, "0 or more"),
        ({"segmentation": {"size": [10, 8], "counts": [80]}}, r"image of the size \[10, 8\]"),
        ({"segmentation": {"size": [8, 10], "counts": "é"}}, "is no character of run lengths"),
        ({"segmentation": {"size": [8, 10], "counts": "`"}}, "end in the middle of a number"),
        ({"segmentation": {"size": [8, 10], "counts": ["x"]}}, "a run length must be a number, got 'x'"),
        ({"segmentation": {"counts": [80]}}, '"size" is missing'),
        ({"bbox": [1, 1, 0, 2]}, "a box needs a width and a height above 0"),
        ({"bbox": [1, 1, 2]}, r"bbox must be \[x, y, width, height\]"),
        ({"category_id": 99}, "there is no category 99; the file lists 1, 2, 3"),
        ({"image_id": "z"}, "there is no image 'z'"),
        ({"image_id": []}, "must be a number or a string"),
    ],
)
def test_an_impossible_annotation_is_named(tmp_path: Path, annotation: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"c\.json, annotation 17: .*{words}") as error:
        read(tmp_path, [annotation])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sides", [{}, {"height": 8}, {"height": None, "width": None}])
@pytest.mark.parametrize(
    "annotation",
    [
        {"segmentation": [[1, 1, 50, 5, 5, 5]]},
        {"bbox": [45, 5, 5, 1]},
        {"attributes": {"scribble": [[1, 1], [50, 5]]}},
        {"bbox": [45, 5, 5, 1], "category_id": 3},
    ],
)
def test_a_size_that_is_not_stated_is_the_images(tmp_path: Path, sides: Any, annotation: Any) -> None:
    images = [{"id": each, "file_name": f"{each}.png", **sides} for each in ("a", "b")]
    inside = {"bbox": [1, 1, 2, 2]}
    assert [each.label for each in read(tmp_path, [inside], images=images)] == [True, False]
    with pytest.raises(DataError, match=r"c\.json, annotation 17: the point .* outside its image of 10 x 8"):
        read(tmp_path, [inside, annotation], images=images)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_an_image_without_a_size_is_listed_when_it_is_checked(tmp_path: Path, content: bytes) -> None:
    images = [{"id": each, "file_name": f"{each}.png"} for each in ("a", "b")]
    path = write(tmp_path, [{"bbox": [45, 5, 5, 1]}], images=images)
    (tmp_path / "a.png").write_bytes(content)
    check = check_files(open_dataset(path, DataConfig(), one_class=True).samples)
    assert list(check.unreadable) == ["a.png"]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (["lost.png", "b.png"], r"c\.json names files that do not exist: lost\.png; correct"),
        (["a.png", "x.png", "lost.png"], r"lost\.png, x\.png; correct .* \(the first: .*c\.json, image 2\)"),
        (["a.png", "a.png"], r"c\.json, image 1 is for the image a\.png, and so is .*image 0; keep one"),
        ([None, "a.png"], r'c\.json, image 0: "file_name" is missing; it has id; add "file_name" or export'),
    ],
)
def test_impossible_images_are_named(tmp_path: Path, images: list[str | None], words: str) -> None:
    listed = [{"id": place} | ({"file_name": name} if name else {}) for place, name in enumerate(images)]
    with pytest.raises(DataError, match=words):
        read(tmp_path, [], images=listed)


def test_a_name_that_two_images_have(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, [])
    path = write(tmp_path, [], images=[{"id": 1, "file_name": "elsewhere/a.png"}])
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r'"elsewhere/a\.png" may be x/a\.png and y/a\.png'):
        open_dataset(path, DataConfig(), one_class=True)


@pytest.mark.parametrize("number", [1, "1"])
@pytest.mark.parametrize("name", ["good", "dent"])
def test_two_categories_of_one_id_are_refused(tmp_path: Path, number: int | str, name: str) -> None:
    pairs = [(number, "dent"), (5, "crack"), (number, name)]
    words = rf"c\.json: categories 0 \(dent\) and 2 \({name}\) of .* the id {number!r}; give each an id"
    with pytest.raises(DataError, match=words):
        read(
            tmp_path,
            [{"bbox": [1, 1, 2, 2], "category_id": number}],
            categories=[{"id": each, "name": kind} for each, kind in pairs],
        )


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_what_an_annotation_lacks_is_named(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, [{}])
    path.write_text(path.read_text().replace(key, "other"))
    words = rf'annotation 17: "{key}" is missing; it has .*other.*; add "{key}" or export the file again'
    with pytest.raises(DataError, match=words):
        open_dataset(path, DataConfig(), one_class=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no valid JSON"),
        ("{}", 'has no list "images"; .* export it again'),
        ('{"images": [3], "annotations": [], "categories": []}', 'has no list "images"'),
        (
            '{"images": [{"id": 1}, {"id": 2}, {"id": 1}], "annotations": [], "categories": []}',
            r'images 0 and 2 of the list "images" \(counted from 0\) both have the id 1; give each .* own',
        ),
    ],
)
def test_what_is_no_coco(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(DataError, match=words):
        open_dataset(tmp_path / "c.json", DataConfig())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 99) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts"]), inner),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["segmentation", "bbox", "image_id", "category_id", "attributes", "id"]), JSON
    )
)
def test_any_annotation_is_read_or_refused(tmp_path_factory: Any, annotation: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        dataset = read(folder, [annotation])
    except DataError:
        return
    assert len(dataset) + len(dataset.unlabelled) == 2


def test_a_mask_of_another_image_size_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path, [{"bbox": [1, 1, 2, 2]}])
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    sample = open_dataset(path, DataConfig()).samples[0]
    assert isinstance(sample.mask, Shapes)
    assert isinstance(sample.mask.items[0].form, Polygon)
    with pytest.raises(DataError, match=r"annotation 17 is for an image of 8 x 10 .* but the image is 4 x 4"):
        read_mask(sample.mask, (4, 4))
