"""A calibration goes into the model, from there into every decision, and never comes from seen images."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdec.calibrate import calibrate
from segdec.cli import main
from segdec.config import NetworkConfig, load_config
from segdec.data.check import check_files
from segdec.data.synthetic import write_dagm_like
from segdec.errors import PARTIAL, DataError, ImageError, OutputError, UnsupportedError
from segdec.evaluate import evaluate_run
from segdec.imaging import write_image
from segdec.judged import samples_to_judge
from segdec.model_card import ModelCard, Trained
from segdec.model_io import CARD, IMAGES, dump_hashes, read_hashes, read_model, write_model
from segdec.network import build_network
from segdec.predict import Predictor
from segdec.report import write_report
from segdec.results import to_json
from segdec.types import Sample
from segdec.wish import Wish

ITEMS, VIEWS = 40, 2
SIZE = (64, 64)
TINY = NetworkConfig(
    block_channels=(4, 4, 6),
    block_depths=(1, 1, 1),
    context_channels=8,
    context_kernel=5,
    decision_channels=(2, 3, 4),
)
WISH = Wish(max_escape=0.25, max_overkill=0.25, confidence=0.9)


def make_card(**changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "network": TINY,
        "image_size": SIZE,
        "channels": 1,
        "threshold": 0.5,
        "threshold_from": "default",
        "pixel_threshold": 0.5,
        "trained": Trained(
            date="2030-01-01", run="r", dataset=None, data_hash=None, epoch=None, seed=None, commit=None
        ),
        "versions": {},
    }
    return ModelCard(**(fields | changes))


def make_weights() -> dict[str, Any]:
    weights = {name: value.numpy() for name, value in build_network(TINY, seed=1).state_dict().items()}
    weights["fc.weight"] = weights["fc.weight"] * 40  # so that images differ in score
    return weights


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model, and a table of items with two images each: the higher half of scores is defective."""
    folder = tmp_path_factory.mktemp("calibration")
    write_model(folder / "model", make_card(), make_weights(), {IMAGES: dump_hashes(["00"])})
    predictor, random, rows = Predictor(folder / "model", "cpu"), np.random.default_rng(0), []
    for item in range(ITEMS):
        level = random.uniform(0.2, 1)
        for view in range(VIEWS):
            noise = random.integers(0, 250, (16, 16), dtype=np.uint8) * level
            name = f"{item}_{view}.png"
            write_image(folder / name, np.kron(noise.astype(np.uint8), np.ones((4, 4), np.uint8)))
            rows.append([name, predictor.predict(folder / name).score, str(item)])
    scores = np.array([row[1] for row in rows]).reshape(ITEMS, VIEWS).max(1)
    order = np.argsort(scores)
    defective = set(order[ITEMS // 2 :]) ^ {order[3], order[-4]}  # not quite apart
    write_table(folder / "parts.csv", [(name, int(int(item) in defective), item) for name, _, item in rows])
    return folder


def write_table(path: Path, rows: list[tuple[str, int, str]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "group"), *rows])


@pytest.fixture
def place(parts: Path, tmp_path: Path) -> Path:
    """Copy the model and the parts, so that a test may change them."""
    return Path(shutil.copytree(parts, tmp_path / "parts"))


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["segdec", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_what_is_calibrated_is_written_and_used(place: Path) -> None:
    before, weights = read_model(place / "model")
    calibration = calibrate(place / "model", place / "parts.csv", WISH)
    card, same = read_model(place / "model")  # whole, with right hashes
    assert card.calibration == calibration
    assert (card.threshold, card.threshold_from) == (calibration.threshold, "calibration")
    unchanged = {"threshold", "threshold_from", "calibration", "calibration_images", "files"}
    assert card.model_dump(exclude=unchanged) == before.model_dump(exclude=unchanged)
    assert {name: card.files[name] for name in card.files if name != CARD} == {
        name: before.files[name] for name in before.files if name != CARD
    }
    assert all((weights[name] == same[name]).all() for name in weights)
    assert (calibration.items, calibration.images, calibration.disjoint) == ("groups", ITEMS * VIEWS, True)
    assert (calibration.defective, calibration.good) == (ITEMS // 2, ITEMS // 2)
    assert calibration.wish == {"max_escape": 0.25, "max_overkill": 0.25}
    assert max(calibration.escape_bound, calibration.overkill_bound) <= 0.25
    assert len(calibration.data_hash) == 64

    items = evaluate_run(place / "model", place / "parts.csv").items
    assert (items.escape.count, items.escape.of) == (calibration.escapes, calibration.defective)
    assert (items.overkill.count, items.overkill.of) == (calibration.overkill, calibration.good)


def test_three_decisions(place: Path) -> None:
    # so sure that nothing may go wrong, where two items stand on the wrong side
    calibration = calibrate(
        place / "model", place / "parts.csv", Wish(max_escape=0.12, max_overkill=0.12, confidence=0.9)
    )
    assert calibration.review_threshold is not None
    assert calibration.review_share > 0
    predictor = Predictor(place / "model", "cpu")
    seen = set()
    for path in sorted(place.glob("*.png")):
        prediction = predictor.predict(path)
        seen.add(said := to_json(prediction)["decision"])
        place_in_line = (
            int(prediction.score >= calibration.review_threshold),
            int(prediction.score >= calibration.threshold),
        )
        assert said == {(0, 0): "good", (1, 0): "review", (1, 1): "defect"}[place_in_line]
        assert (prediction.decision, prediction.review) == (said == "defect", said == "review")
        assert to_json(prediction)["review_threshold"] == calibration.review_threshold
    assert seen == {"good", "review", "defect"}

    evaluation = evaluate_run(place / "model", place / "parts.csv")
    assert (evaluation.items.escape.count, evaluation.items.overkill.count) == (0, 0)
    assert evaluation.items.review.rate.value == pytest.approx(calibration.review_share)
    assert any(row.review for row in evaluation.rows)


def test_calibrating_again_replaces_the_calibration(place: Path) -> None:
    first = calibrate(place / "model", place / "parts.csv", WISH)
    second = calibrate(place / "model", place / "parts.csv", Wish(max_escape=0.3, confidence=0.8))
    card, _ = read_model(place / "model")
    assert card.calibration == second
    assert first.data_hash == second.data_hash
    costs = Wish(cost_escape=100, cost_overkill=1, defect_rate=0.01)
    third = calibrate(place / "model", place / "parts.csv", costs)
    assert third.cost is not None
    assert third.cost_bound is not None
    assert third.cost < third.cost_bound


def test_images_of_the_training_are_refused(place: Path) -> None:
    sample = Sample("7_1.png", place / "7_1.png", label=False)
    seen = check_files([sample]).image_hashes["7_1.png"]
    shutil.rmtree(place / "model")
    write_model(place / "model", make_card(), make_weights(), {IMAGES: dump_hashes([seen, "00"])})
    before = (place / "model" / CARD).read_bytes()
    with pytest.raises(DataError, match=r"1 of 80 calibration images took part .* \(7_1\.png is the first\)"):
        calibrate(place / "model", place / "parts.csv", WISH)
    assert (place / "model" / CARD).read_bytes() == before


def test_a_model_that_does_not_say_what_it_was_trained_on(place: Path) -> None:
    shutil.rmtree(place / "model")
    write_model(place / "model", make_card(), make_weights())
    assert read_hashes(place / "model") is None
    assert not calibrate(place / "model", place / "parts.csv", WISH).disjoint


def test_one_image_does_not_stand_for_two_parts(place: Path) -> None:
    shutil.copy(place / "0_0.png", place / "9_0.png")
    with pytest.raises(DataError, match=r"0_0\.png and 9_0\.png are the same image, but stand for two parts"):
        calibrate(place / "model", place / "parts.csv", WISH)


def test_every_image_must_be_readable(place: Path) -> None:
    (place / "3_0.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"3_0\.png"):
        calibrate(place / "model", place / "parts.csv", WISH)


@pytest.fixture
def masked(place: Path) -> Path:
    """Lay the parts out as images/ and masks/, three of which cannot be used."""
    for row in csv.DictReader((place / "parts.csv").read_text().splitlines()):
        mask = np.full(SIZE, 255 * int(row["label"]), np.uint8)
        for folder, image in (("images", None), ("masks", mask)):
            (place / "masked" / folder).mkdir(parents=True, exist_ok=True)
            path = place / "masked" / folder / row["image"]
            shutil.copy(place / row["image"], path) if image is None else write_image(path, image)
    (place / "masked" / "images" / "0_0.png").write_bytes(b"no image")
    write_image(place / "masked" / "masks" / "1_0.png", np.zeros((8, 8), np.uint8))
    (place / "masked" / "masks" / "2_0.png").unlink()
    return place / "masked"


def test_what_the_reader_leaves_out_ends_the_calibration(place: Path, masked: Path) -> None:
    before = (place / "model" / CARD).read_bytes()
    with pytest.raises(
        DataError, match=r"3 files of the calibration data cannot be used \(images/0_0\.png: "
    ):
        calibrate(place / "model", masked, WISH)
    assert (place / "model" / CARD).read_bytes() == before


def test_what_the_reader_leaves_out_is_listed_by_the_evaluation(
    place: Path, masked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = place / "results"
    code, said = run(capsys, monkeypatch, "evaluate", place / "model", masked, "--out", out, "--report")
    assert code == PARTIAL, said
    assert "images/2_0.png: it has no mask of the same name" in said
    names = {"images/0_0.png", "images/1_0.png", "images/2_0.png"}
    assert json.loads((out / "metrics.json").read_text())["skipped"].keys() == names
    page = (out / "report.html").read_text()
    assert all(name in page for name in names)


def test_what_stands_in_another_part_is_nothing_to_this_one(place: Path, masked: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(masked, place / "parted" / part)
    _, excluded, _ = samples_to_judge(place / "model", place / "parted")
    assert list(excluded) == ["test/images/0_0.png", "test/images/1_0.png", "test/images/2_0.png"]


@pytest.mark.parametrize("failure", ["unsupported", "disk"])
def test_a_failure_leaves_the_model_as_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    before = (place / "model" / CARD).read_bytes()
    if failure == "unsupported":
        with pytest.raises(UnsupportedError, match="you need 299 defective parts without a miss"):
            calibrate(place / "model", place / "parts.csv", Wish(max_escape=0.01))
    else:

        def fail(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OutputError, match=r"model\.json: no space left"):
            calibrate(place / "model", place / "parts.csv", WISH)
    assert (place / "model" / CARD).read_bytes() == before
    assert sorted(path.name for path in (place / "model").iterdir()) == sorted(
        read_model(place / "model")[0].files
    )


def test_the_command(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def do(*arguments: object) -> tuple[int, str]:
        return run(capsys, monkeypatch, *arguments)

    model, data = place / "model", place / "parts.csv"
    code, said = do(
        "calibrate", model, data, "--max-escape", 0.25, "--max-overkill", 0.12, "--confidence", 0.9
    )
    assert code == 0, said
    assert "20 defective and 20 good parts, by group, in 80 images" in said
    assert "at 90 % confidence" in said
    code, said = do("evaluate", model, data, "--out", place / "results")
    assert code == 0, said
    assert "of 20 defective parts" in said
    assert "95 % interval" in said
    tree = json.loads((place / "results" / "metrics.json").read_text())
    assert tree["items"]["escape"]["of"] == 20
    assert len(tree["image"]["auroc_interval"]) == 2
    assert "80 of these images (0_0.png is the first) took part in the calibration" in said
    card, _ = read_model(model)
    assert card.calibration is not None
    assert tree["judged"] == {
        "data_hashes": {"parts": card.calibration.data_hash},
        "calibrated_on": sorted(row["image"] for row in csv.DictReader(data.read_text().splitlines())),
        "trained_on": [],
    }
    assert tree["review_thresholds"] == {"parts": card.calibration.review_threshold}
    half = place / "half.csv"
    half.write_text("".join(data.read_text().splitlines(keepends=True)[: ITEMS + 1]))
    code, said = do("evaluate", model, half, "--out", place / "results", "--report")
    assert code == 0, said
    assert "40 of these images (0_0.png is the first) took part in the calibration" in said
    page = (place / "results" / "report.html").read_text()
    assert "40 of these images" in page
    assert "left to a person from " in page
    assert (
        json.loads((place / "results" / "metrics.json").read_text())["judged"]["data_hashes"]["half"] in page
    )
    code, said = do("predict", model, place, "--format", "csv")
    assert code == 0, said
    decisions = {row["decision"] for row in csv.DictReader(said.splitlines())}
    assert decisions <= {"good", "review", "defect"}
    code, said = do("calibrate", model, data, "--max-escape", 0.01)
    assert (code, said.strip().count("\n")) == (4, 0)
    assert "0 misses on 20 defective parts support an escape rate of at most 14 %" in said
    assert "; what can be had now is --max-escape 0.14, with the threshold 0." in said
    code, said = do(
        "calibrate", model, data, "--max-escape", 0.01, "--max-overkill", 0.3, "--review-budget", 0.9
    )
    assert (code, said.strip().count("\n")) == (4, 0)
    assert "what can be had now is --max-escape 0.14 --max-overkill 0.3 --review-budget 0.9, with the" in said
    code, said = do("calibrate", model, data, "--max-escape", 1.5)
    assert (code, said.strip()) == (
        3,
        "Error: --max-escape must lie between 0 and 1, both excluded, got 1.5; write e.g. 0.01 for 1 %",
    )
    assert do("calibrate", model, data)[0] == 3


def test_a_given_threshold_ends_the_review(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(place / "model", place / "parts.csv", Wish(max_escape=0.12, max_overkill=0.12, confidence=0.9))
    code, said = run(capsys, monkeypatch, "predict", place / "model", place, "--threshold", "0.999")
    assert code == 0, said
    assert "review" not in said


def test_a_superset_of_the_calibration_data_is_recognised_under_other_names(place: Path) -> None:
    half = "".join((place / "parts.csv").read_text().splitlines(keepends=True)[: ITEMS + 1])
    (place / "half.csv").write_text(half)
    calibrate(place / "model", place / "half.csv", Wish(max_escape=0.6, confidence=0.5))
    for path in place.glob("*.png"):
        path.rename(path.with_name(f"new_{path.name}"))
    rows = [
        (f"new_{row['image']}", int(row["label"]), row["group"])
        for row in csv.DictReader((place / "parts.csv").read_text().splitlines())
    ]
    write_table(place / "parts.csv", rows)
    judged = evaluate_run(place / "model", place / "parts.csv").judged
    assert judged.calibrated_on == tuple(sorted(name for name, _, _ in rows[:ITEMS]))


def test_a_model_calibrated_before_images_were_listed_knows_the_whole_only(place: Path) -> None:
    calibrate(place / "model", place / "parts.csv", WISH)
    card, weights = read_model(place / "model")
    hashes = (place / "model" / IMAGES).read_bytes()
    write_model(
        place / "model", card.model_copy(update={"calibration_images": None}), weights, {IMAGES: hashes}
    )
    assert "calibration_images" not in json.loads((place / "model" / CARD).read_text())
    assert len(evaluate_run(place / "model", place / "parts.csv").judged.calibrated_on) == ITEMS * VIEWS
    (place / "half.csv").write_text(
        "".join((place / "parts.csv").read_text().splitlines(keepends=True)[: ITEMS + 1])
    )
    assert evaluate_run(place / "model", place / "half.csv").judged.calibrated_on == ()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], tuple[Path, Path]]:
    """Train for an epoch on a made-up data set; return a copier of data and run."""
    from segdec.train import train

    folder = tmp_path_factory.mktemp("trained")
    write_dagm_like(folder / "data", 0, SIZE, train=(12, 6), test=(8, 4))
    settings = [f"network.{name}={json.dumps(value)}" for name, value in TINY.model_dump(mode="json").items()]
    settings = [each for each in settings if "bias" not in each]
    config = load_config(settings=(*settings, "train.epochs=1", "data.workers=0", "data.image_size=[64,64]"))
    train(folder / "data", config, folder / "run")

    def copy(place: Path) -> tuple[Path, Path]:
        shutil.copytree(folder, place / "copy")
        return place / "copy" / "run", folder / "data"

    return copy


def test_a_run_names_its_images_and_refuses_them(
    trained: Callable[[Path], tuple[Path, Path]], tmp_path: Path
) -> None:
    folder, data = trained(tmp_path)
    hashes = read_hashes(folder)
    assert hashes is not None
    assert len(hashes) == 18
    wish = Wish(max_escape=0.6, confidence=0.5)
    own = calibrate(folder, None, wish)  # the test part of its split
    assert (own.images, own.disjoint) == (12, True)
    assert calibrate(folder, data, wish).data_hash == own.data_hash
    with (tmp_path / "seen.csv").open("w") as stream:
        stream.write("image,label\n")
        for path in sorted((data / "Train").glob("*.PNG")):
            stream.write(f"{path},{int((data / 'Train' / 'Label' / f'{path.stem}_label.PNG').exists())}\n")
    with pytest.raises(DataError, match="18 of 18 calibration images took part in the model's training"):
        calibrate(folder, tmp_path / "seen.csv", wish)


def test_an_evaluation_says_what_the_model_has_seen(
    trained: Callable[[Path], tuple[Path, Path]], tmp_path: Path
) -> None:
    folder, data = trained(tmp_path)
    own = evaluate_run(folder).judged
    assert (own.calibrated_on, own.trained_on, own.warnings()) == ((), (), [])
    rows = ["image,label"]
    for name in ("Train", "Test"):
        for path in sorted((data / name).glob("*.PNG"))[:6]:
            rows.append(f"{path},{int((data / name / 'Label' / f'{path.stem}_label.PNG').exists())}")
    (tmp_path / "mixed.csv").write_text("\n".join(rows))
    mixed = evaluate_run(folder, tmp_path / "mixed.csv")
    seen = mixed.judged.trained_on
    assert seen is not None
    assert len(seen) == 6
    assert all("Train" in name for name in seen)
    write_report(mixed, tmp_path / "report.html", [folder])
    assert "6 of these images" in (tmp_path / "report.html").read_text()


def test_a_missing_class_is_refused_before_any_image_is_scored(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several images to an item, one of them defective in each: no good item is left."""

    def score(*_: Any) -> Any:
        raise RuntimeError("an image was scored")

    monkeypatch.setattr("segdec.calibrate.predict_files", score)
    names = [f"{item}_{view}.png" for item in range(8) for view in range(VIEWS)]
    table = parts / "no-good-item.csv"
    write_table(table, [(name, int(name.endswith("_0.png")), name.split("_")[0]) for name in names])
    with pytest.raises(
        DataError, match=r"got 8 defective and 0 good; add the other kind, or.*leave the groups out"
    ):
        calibrate(parts / "model", table, WISH)
