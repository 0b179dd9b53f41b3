"""From a model and images to a list, and to pre-annotations that say no more than is known."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdec.cli import main
from segdec.config import Config, DataConfig, NetworkConfig, dump_toml
from segdec.data import open_dataset
from segdec.errors import ConfigError, DataError, ModelError, OutputError
from segdec.imaging import find_regions, read_mask, write_image
from segdec.model_card import ModelCard, Trained
from segdec.model_io import IMAGES, dump_hashes, write_model
from segdec.network import build_network
from segdec.predict import Predictor
from segdec.suggest import find_pool, suggest, write_suggestions
from segdec.suggest.annotate import outline

SMALL = NetworkConfig(block_channels=(4, 4, 6), context_channels=8, context_kernel=3)


def make_model(folder: Path, seen: tuple[Path, ...] = (), pixel_threshold: float = 0.6) -> Path:
    card = ModelCard(
        network=SMALL,
        image_size=(64, 64),
        channels=1,
        threshold=0.5,
        threshold_from="default",
        pixel_threshold=pixel_threshold,
        trained=Trained(
            date="2030-01-01", run="r", dataset=None, data_hash=None, epoch=None, seed=None, commit=None
        ),
        versions={},
    )
    weights = {name: value.numpy() for name, value in build_network(SMALL, 1).state_dict().items()}
    hashes = [sha256(path.read_bytes()).hexdigest() for path in seen]
    write_model(folder, card, weights, {IMAGES: dump_hashes(hashes)} if seen else {})
    return folder


def make_image(path: Path, seed: int, size: tuple[int, int] = (96, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    low = np.random.default_rng(seed).integers(0, 255, (size[0] // 8, size[1] // 8), np.uint8)
    write_image(path, np.kron(low, np.ones((8, 8), np.uint8)))
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for place in range(6):
        make_image(tmp_path / "new" / ("deep" if place % 2 else "") / f"{place}.png", place)
    return tmp_path / "new"


@pytest.fixture
def parts(tmp_path) -> Path:
    """Two good images, three defective ones of which one has a mask, and one that nobody has judged."""
    root = tmp_path / "parts"
    for place, name in enumerate(("good/0", "good/1", "defect/2", "defect/3", "defect/4", "unlabelled/5")):
        make_image(root / f"{name}.png", 100 + place)
    mask = np.zeros((96, 80), np.uint8)
    mask[10:20, 10:20] = 255
    write_image(root / "defect" / "2_mask.png", mask)
    return root


# --- what can be chosen ---------------------------------------------------------------------------------


def test_a_folder_is_ranked_with_those_below_it(tmp_path, folder):
    model = make_model(tmp_path / "model")
    ranking = suggest(model, folder, 99)
    assert sorted(one.name for one in ranking.suggestions) == [
        "0.png", "2.png", "4.png", "deep/1.png", "deep/3.png", "deep/5.png",
    ]  # fmt: skip
    assert not any(one.defective for one in ranking.suggestions)
    assert suggest(model, folder, 2).suggestions == ranking.suggestions[:2]
    assert suggest(model, folder, 99) == ranking


def test_of_a_data_set_those_without_a_mask_or_a_label_are_candidates(tmp_path, parts):
    pool = find_pool(make_model(tmp_path / "model"), parts)
    assert [(one.name, one.defective) for one in pool.candidates] == [
        ("defect/3.png", True), ("defect/4.png", True), ("unlabelled/5.png", False),
    ]  # fmt: skip
    assert [path.name for path in pool.masked] == ["2.png"]


def test_images_of_the_training_are_left_out_unless_only_their_label_was_known(tmp_path, folder, parts):
    model = make_model(tmp_path / "model", (folder / "0.png", parts / "defect" / "3.png"))
    ranking = suggest(model, folder, 99)
    assert "0.png" not in [one.name for one in ranking.suggestions]
    assert ranking.left_out == {"0.png": "it took part in the training"}
    assert "defect/3.png" in [one.name for one in suggest(model, parts, 99).suggestions]
    with pytest.raises(DataError, match=r"all 6 images in .* took part in the training; name the whole data"):
        suggest(make_model(tmp_path / "other", tuple(folder.rglob("*.png"))), folder)


def test_masks_beside_the_images_are_no_candidates(tmp_path, folder):
    make_image(folder / "0_mask.png", 7)
    ranking = suggest(make_model(tmp_path / "model"), folder, 99)
    assert ranking.candidates == 6
    assert ranking.left_out == {"0_mask.png": "it is a mask by its name"}


def make_run(folder: Path, data: Path, train: list[str], test: list[str]) -> Path:
    """Make what is left of a run: its settings, split and model."""
    make_model(folder / "model")
    weak = [name for name in train + test if name.startswith("defect/") and "2" not in name]
    split = {"origin": "by hand", "train": train, "val": [], "test": test, "weak": weak}
    meta = {"data": str(data.resolve()), "data_hash": "", "layout": "good-defect"}
    (folder / "config.toml").write_text(dump_toml(Config()))
    (folder / "split.json").write_text(json.dumps(split))
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_of_the_runs_own_data_only_the_training_part_is_chosen_from(tmp_path, parts, folder):
    train, test = ["good/0.png", "defect/2.png", "defect/3.png"], ["good/1.png", "defect/4.png"]
    run = make_run(tmp_path / "run", parts, train, test)
    ranking = suggest(run, parts, 99)
    assert sorted(one.name for one in ranking.suggestions) == ["defect/3.png", "unlabelled/5.png"]
    assert ranking.left_out == {"defect/4.png": "it stands in the test part of the run's split"}
    # a copy is other data: nobody knows that its parts are the same
    shutil.copytree(parts, tmp_path / "copy")
    assert len(suggest(run, tmp_path / "copy", 99).suggestions) == 3
    shutil.rmtree(parts)
    assert suggest(run, folder, 1).candidates == 6, "the run's own data are not needed for a folder"
    assert suggest(run, tmp_path / "copy", 1).candidates == 3


def test_what_cannot_be_read_is_listed_and_the_others_are_ranked(tmp_path, folder):
    (folder / "1.png").write_bytes(b"no image")
    (folder / "empty.png").touch()
    ranking = suggest(make_model(tmp_path / "model"), folder, 99)
    assert sorted(ranking.unreadable) == ["1.png", "empty.png"]
    assert ranking.candidates == len(ranking.suggestions) == 6
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 8 images"):
        suggest(tmp_path / "model", folder)


def test_what_cannot_be_ranked_is_refused(tmp_path, folder, parts):
    model = make_model(tmp_path / "model")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no image; name another folder"):
        suggest(model, tmp_path / "nothing")
    with pytest.raises(DataError, match="does not exist"):
        suggest(model, tmp_path / "missing")
    with pytest.raises(ModelError, match="holds no model"):
        suggest(folder, folder)
    with pytest.raises(ConfigError, match="at least 1 image"):
        suggest(model, folder, 0)
    for name in ("defect/3.png", "defect/4.png", "unlabelled/5.png"):
        (parts / name).unlink()
    with pytest.raises(DataError, match="each defective one has a mask, and none is unlabelled"):
        suggest(model, parts)


# --- what is written ------------------------------------------------------------------------------------


def regions_of(mask: np.ndarray):
    return find_regions(mask.astype(np.float32), 0.5)


def test_an_outline_keeps_its_region():
    canvas = np.zeros((120, 160), np.uint8)
    cv2.ellipse(canvas, (80, 60), (50, 30), 20, 0, 360, 1, -1)
    (region,) = regions_of(canvas)
    points = outline(region)
    again = np.zeros_like(canvas)
    cv2.fillPoly(again, [np.round(np.array(points) - 0.5).astype(np.int32)], 1)
    union, both = (canvas | again).sum(), (canvas & again).sum()
    assert both / union > 0.95
    assert len(points) < 60


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_the_smallest_region_is_still_a_polygon(shape):
    canvas = np.zeros((20, 20), np.uint8)
    canvas[0 : shape[0], 13 : 13 + shape[1]] = 1
    (region,) = regions_of(canvas)
    points = np.array(outline(region))
    assert len(points) >= 3
    assert (points >= 0).all()
    assert (points <= 20).all()


@pytest.mark.parametrize("to", ["labelme", "coco"])
def test_pre_annotations_are_read_back_as_what_the_score_map_shows(tmp_path, parts, to):
    shutil.copy(parts / "defect" / "3.png", parts / "unlabelled" / "3.PNG")  # one name in two folders
    ranking = suggest(make_model(tmp_path / "model", pixel_threshold=0.55), parts, 99)
    paths = write_suggestions(ranking, tmp_path / "out", "jsonl", to)
    assert [path.name for path in paths] == ["suggestions.jsonl", to]
    dataset = open_dataset(paths[1], DataConfig(), one_class=True)
    assert dataset.layout == to
    assert len(dataset) + len(dataset.unlabelled) == len(ranking.suggestions) == 4
    predictor = Predictor(tmp_path / "model")
    drawn = 0
    for sample in dataset:
        assert sample.label
        prediction = predictor.predict(sample.image)
        found = prediction.score_map >= 0.55
        if sample.mask is None:
            assert not found.any()
            continue
        drawn += 1
        mask = read_mask(sample.mask, found.shape)
        assert (mask & found).sum() / (mask | found).sum() > 0.8, "holes are filled, corners rounded"
    assert drawn


@pytest.mark.parametrize("to", ["labelme", "coco"])
def test_an_image_on_which_nothing_was_found_is_not_called_good(tmp_path, parts, to):
    ranking = suggest(make_model(tmp_path / "model", pixel_threshold=1.0), parts, 99)
    write_suggestions(ranking, tmp_path / "out", to=to)
    dataset = open_dataset(tmp_path / "out" / to, DataConfig(), one_class=True)
    assert [(sample.label, sample.mask) for sample in dataset] == [(True, None), (True, None)]
    assert len(dataset.unlabelled) == 1


@pytest.mark.parametrize("to", ["labelme", "coco"])
def test_who_deletes_all_that_was_drawn_does_not_leave_a_defective_image(tmp_path, parts, to):
    ranking = suggest(make_model(tmp_path / "model", pixel_threshold=0.5), parts, 99)
    write_suggestions(ranking, tmp_path / "out", to=to)
    drawn = open_dataset(tmp_path / "out" / to, DataConfig(), one_class=True)
    assert [sample.mask is not None for sample in drawn] == [True] * 3, "something is drawn on each"
    for path in (tmp_path / "out" / to).glob("*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"shapes" if to == "labelme" else "annotations": []}))
    corrected = open_dataset(tmp_path / "out" / to, DataConfig(), one_class=True)
    labels = {Path(sample.name).stem: sample.label for sample in corrected}
    # two were labelled defective before; of the third nothing was known
    assert labels == {"3": True, "4": True, "5": False}


def test_the_list_is_a_table_or_json_lines(tmp_path, folder):
    ranking = suggest(make_model(tmp_path / "model"), folder, 3)
    (path,) = write_suggestions(ranking, tmp_path / "one")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert [row["name"] for row in rows] == [one.name for one in ranking.suggestions]
    (path,) = write_suggestions(ranking, tmp_path / "two", "jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["why"] for line in lines] == [one.why for one in ranking.suggestions]
    assert Path(lines[0]["image"]).is_file()


def test_nothing_is_replaced_and_nothing_is_half_written(tmp_path, folder):
    ranking = suggest(make_model(tmp_path / "model"), folder, 3)
    write_suggestions(ranking, tmp_path / "out")
    with pytest.raises(OutputError, match="exists already"):
        write_suggestions(ranking, tmp_path / "out")
    with pytest.raises(ConfigError, match='--to is labelme or coco, got "yolo"'):
        write_suggestions(ranking, tmp_path / "other", to="yolo")
    with pytest.raises(ConfigError, match='--format is csv or jsonl, got "xml"'):
        write_suggestions(ranking, tmp_path / "other", "xml")
    gone = replace(ranking.suggestions[0], image=folder / "gone.png")
    with pytest.raises(DataError, match=r"gone\.png"):
        write_suggestions(replace(ranking, suggestions=(gone,)), tmp_path / "other", to="labelme")
    assert not (tmp_path / "other").exists()


def call(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["segdec", "suggest", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out + said.err


def test_the_command_says_what_comes_first_and_why(tmp_path, folder, monkeypatch, capsys):
    model = make_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    code, said = call(monkeypatch, capsys, model, folder, "--budget", 2, "--to", "labelme")
    assert code == 0
    assert "2 of 6 images, the most useful first:" in said
    assert (tmp_path / "suggested" / "suggestions.csv").exists()
    assert len(list((tmp_path / "suggested" / "labelme").glob("*.json"))) == 2
    code, said = call(monkeypatch, capsys, model, folder)
    assert (code, "exists already" in said) == (7, True)
    (folder / "0.png").write_bytes(b"")
    code, said = call(monkeypatch, capsys, model, folder, "--out", "other")
    assert (code, "could not be used: 1" in said) == (9, True)
    code, said = call(monkeypatch, capsys, folder, folder, "--out", "third")
    assert (code, "holds no model" in said) == (5, True)
