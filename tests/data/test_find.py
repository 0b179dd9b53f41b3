"""What a command line names: files, folders, patterns, a list."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from segdec.data.find import find_images
from segdec.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/10.JPG", "b/deep/1.tiff", "a.bmp", "notes.txt", "b/._2.png", "[x].png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["b"], "", ["b/10.JPG", "b/2.png", "b/deep/1.tiff"]),
        (["a.bmp", "b/2.png", "./a.bmp"], "", ["a.bmp", "b/2.png"]),
        (["notes.txt"], "", ["notes.txt"]),  # named itself: prediction says what is wrong with it
        (["*"], "", ["[x].png", "a.bmp"]),
        (["b/**/*.tiff", "b/*.png"], "", ["b/deep/1.tiff", "b/2.png"]),
        (["[x].png"], "", ["[x].png"]),
        (["none.png", "a.bmp"], "", ["none.png", "a.bmp"]),
        (["-"], "b/2.png\r\n\nb/deep\na.bmp", ["b/2.png", "b/deep/1.tiff", "a.bmp"]),
        (["a.bmp", "-"], "b/2.png\n", ["a.bmp", "b/2.png"]),
    ],
)
def test_what_a_command_line_names(
    tree: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], stdin: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tree)
    assert find_images(arguments, io.StringIO(stdin)) == ([Path(name) for name in expected], [])


def test_absolute_patterns(tree: Path) -> None:
    assert find_images([f"{tree}/b/*"], io.StringIO()).images == [tree / "b/10.JPG", tree / "b/2.png"]


def test_masks_beside_the_images_are_no_images(tmp_path):
    """KolektorSDD's, KolektorSDD2's, DAGM's and one's own masks; a file that is named itself is taken."""
    images = ["Test/0001.PNG", "defect/c.png", "kos01/Part0.jpg", "lonely_mask.png", "train/20000.png"]
    masks = [
        "Test/Label/0001_label.PNG",
        "kos01/Part0_label.bmp",
        "masks/c.png",
        "train/20000_GT.png",
    ]
    for name in images + masks:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([str(tmp_path)], io.StringIO())
    assert found == ([tmp_path / name for name in images], [tmp_path / name for name in masks])
    pattern, mask = f"{tmp_path}/kos01/*", str(tmp_path / masks[1])
    assert find_images([pattern], io.StringIO()).images == [tmp_path / "kos01/Part0.jpg"]
    assert find_images([pattern, mask], io.StringIO()) == ([tmp_path / "kos01/Part0.jpg", Path(mask)], [])
    assert find_images([str(tmp_path / "masks")], io.StringIO()).images == [tmp_path / "masks/c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty"], "the folder empty holds no image"),
        (["a.bmp", "empty"], "the folder empty holds no image"),
        (["*.gif"], r'no image \(.*\.png.*\) matches "\*\.gif"'),
        (["none.png"], r"none\.png does not exist"),
        (["-"], "no image was named"),
        ([], "no image was named"),
    ],
)
def test_nothing_found_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tree)
    with pytest.raises(DataError, match=message):
        find_images(arguments, io.StringIO("\n"))
