"""An evaluation says what the predictions are worth, and its files hold it."""

import csv
import gc
import json
import math
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest

from segdec.cli.screen import evaluation_lines
from segdec.errors import DataError, ImageError, MissingExtraError, ModelError, OutputError
from segdec.evaluate import TILES, evaluate_predictions, join_folds, write_evaluation
from segdec.evaluation import Row, TypeRecall, to_csv, to_json
from segdec.metrics import Confusion, Metric
from segdec.types import Polygon, Prediction, Sample, Shape, Shapes

SIZE = (48, 32)
FILES = ["contact_sheet.png", "curves.png", "metrics.json", "scores.csv"]


@pytest.fixture
def make_pair(tmp_path):
    """Write an image (and its mask) and pair it with a prediction whose map is the given one or good."""

    def make(name, label, score, *, seen=True, masked=True, mask_size=SIZE):
        (tmp_path / "in").mkdir(exist_ok=True)
        image, mask_file = tmp_path / "in" / name, tmp_path / "in" / f"mask {name}"
        mask = np.zeros(mask_size, np.uint8)
        if label:
            mask[10:20, 5:15] = 255
        for path, array in ((image, np.full(SIZE, 120, np.uint8)), (mask_file, mask)):
            path.write_bytes(cv2.imencode(".png", array)[1].tobytes())
        score_map = np.full(SIZE, 0.1, np.float32)
        if label and seen:
            score_map[10:20, 5:15] = 0.9
        sample = Sample(name, image, label, mask_file if masked and label else None)
        return sample, Prediction(name, score, score >= 0.5, 0.5, (), score_map)

    return make


@pytest.fixture
def pairs(make_pair):
    """Two defects, one missed; three good images, one false alarm."""
    return [
        make_pair("a.png", True, 0.9),
        make_pair("b.png", True, 0.3, seen=False),
        make_pair("c.png", False, 0.6),
        make_pair("d.png", False, 0.2),
        make_pair("ü $e$ 好.png", False, 0.1),
    ]


def test_image_metrics_worked_out_by_hand(pairs):
    evaluation = evaluate_predictions(pairs, threshold=0.5, pixel_threshold=0.5)
    image = evaluation.image
    assert evaluation.rows[1] == Row("b.png", True, 0.3, 0.5, False, "test", "b.png", False)
    # from the top: defect, good, defect, good, good
    assert image.ap.value == pytest.approx((1 + 2 / 3) / 2)
    assert image.ap_trapezoid.value == pytest.approx(0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2)
    assert image.auroc.value == pytest.approx(5 / 6)
    assert image.at_threshold == Confusion(tp=1, fp=1, fn=1, tn=2)
    assert image.at_threshold.accuracy.value == 0.6
    # 3 called, 2 of them rightly: 4 / (3 + 2); the threshold stands between odds of 3 : 7 and of 1 : 4
    assert image.best_f1_on_test.f1.value == pytest.approx(0.8)
    assert image.best_f1_on_test.threshold == pytest.approx(1 / (1 + math.sqrt(7 / 3 * 4)))
    assert image.best_f1_on_test[2:] == (1, 0)


def test_recall_by_type_worked_out_by_hand(pairs):
    types = [("dent", "crack"), ("dent",), (), (), ()]
    named = [
        (replace(sample, types=kinds), found) for (sample, found), kinds in zip(pairs, types, strict=True)
    ]
    evaluation = evaluate_predictions(named, threshold=0.5, pixel_threshold=0.5)
    assert evaluation.type_recall == (TypeRecall("crack", 1, 1), TypeRecall("dent", 2, 1))
    assert to_json(evaluation)["type_recall"][1] == {"type": "dent", "images": 2, "caught": 1}
    assert to_csv(evaluation.rows).splitlines()[1] == "a.png,1,0.9,0.5,1,test,a.png,0,dent;crack"
    assert evaluate_predictions(pairs, 0.5, 0.5).type_recall == ()


def test_unknown_pixels_are_not_judged(pairs):
    box = Polygon(((0, 0), (10, 0), (10, 20), (0, 20)))  # half of the defect, and good pixels beside it
    (sample, found), *_, (good, found_good) = pairs
    cut = Shapes((Shape(sample.mask), Shape(box, "unknown")))
    whole = Shapes((Shape(Polygon(((0, 0), (32, 0), (32, 48), (0, 48))), "unknown"),))
    evaluation = evaluate_predictions(
        [(replace(sample, mask=cut), found), (replace(good, mask=whole), found_good)], 0.5, 0.5
    )
    counts = evaluation.tally.confusion
    assert counts == Confusion(tp=50, fp=0, fn=0, tn=48 * 32 - 200 - 50)
    assert evaluation.without_mask == 0
    assert evaluation.pixel.size_recall[0].defects == 1
    assert evaluation.pixel.auroc.value == 1


def test_items_are_counted_with_exact_intervals(make_pair):
    def of(item, *pair, **more):
        sample, prediction = make_pair(*pair, **more)
        return replace(sample, group=item), prediction

    given = [
        of("caught", "a.png", True, 0.2),
        of("caught", "b.png", True, 0.9),
        of("by luck", "c.png", True, 0.1),  # what is called defective is its good image
        of("by luck", "d.png", False, 0.9),
        of("reviewed", "e.png", True, 0.4),
        of("fine", "f.png", False, 0.1),
        of("fine", "g.png", False, 0.2),
        of("thrown away", "h.png", False, 0.1),
        of("thrown away", "i.png", False, 0.7),
        of("looked at", "j.png", False, 0.3),
    ]
    evaluation = evaluate_predictions(given, 0.5, 0.5, review_threshold=0.3)
    escape, overkill, review = evaluation.items
    assert [(share.count, share.of) for share in (escape, overkill, review)] == [(1, 3), (1, 3), (2, 6)]
    assert (escape.interval.low, escape.interval.high) == pytest.approx((0.0084, 0.9057), abs=1e-4)
    assert [row.name for row in evaluation.rows if row.review] == ["e.png", "j.png"]
    tree = to_json(evaluation)
    assert tree["items"]["review"]["rate"] == pytest.approx(1 / 3)
    assert tree["items"]["escape"]["interval"] == [escape.interval.low, escape.interval.high]
    low, high = tree["image"]["auroc_interval"]
    assert low <= tree["image"]["auroc"] <= high
    only = evaluate_predictions([pair for pair in given if not pair[0].label], 0.5, 0.5)
    assert to_json(only)["undefined"]["items.escape.rate"] == "there is no defective item"
    assert to_json(only)["items"]["escape"]["interval"] is None


def test_pixel_metrics_worked_out_by_hand(pairs):
    pixel = evaluate_predictions(pairs, 0.5, 0.5).pixel
    # one of two defects of 100 pixels is covered exactly
    assert pixel.iou.value == 0.5
    assert pixel.dice.value == pytest.approx(2 / 3)
    found = [(row.min_area, *row[2:]) for row in pixel.size_recall if row.defects]
    assert found == [(64, 2, 1, 1)]


def test_the_threshold_given_decides_and_a_tie_is_a_defect(pairs):
    rows = evaluate_predictions(pairs, 0.6, 0.5).rows
    assert [row.decision for row in rows] == [True, False, True, False, False]


def test_images_without_mask_count_at_image_level_only(pairs, make_pair):
    whole = evaluate_predictions(pairs, 0.5, 0.5)
    weak = evaluate_predictions([*pairs, make_pair("f.png", True, 0.8, masked=False)], 0.5, 0.5)
    assert (weak.without_mask, weak.tally.maps, len(weak.rows)) == (1, 5, 6)
    assert weak.pixel.iou == whole.pixel.iou
    only = [pair for pair in pairs if not pair[0].label] + [make_pair("f.png", True, 0.8, masked=False)]
    pixel = evaluate_predictions(only, 0.5, 0.5).pixel
    for metric in (pixel.ap, pixel.auroc, pixel.aupro, pixel.iou, pixel.dice):
        assert metric == Metric(None, "no defective image has a mask")


def test_skipped_images_and_masks_are_listed(pairs, make_pair):
    unreadable = (pairs[0][0], ImageError("a.png is empty"))
    wrong_mask = make_pair("g.png", True, 0.7, mask_size=(8, 8))
    evaluation = evaluate_predictions([unreadable, *pairs[1:], wrong_mask], 0.5, 0.5)
    assert [row.name for row in evaluation.rows][-1] == "g.png"
    assert len(evaluation.rows) == 5
    assert evaluation.skipped["a.png"] == "a.png is empty"
    assert evaluation.skipped["g.png"].startswith("judged without its mask: ")
    assert evaluation.without_mask == 1


def test_nothing_left_to_judge():
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate_predictions([], 0.5, 0.5)


@pytest.mark.parametrize("label", [True, False])
def test_one_class_only(make_pair, label, tmp_path):
    evaluation = evaluate_predictions(
        [make_pair("a.png", label, 0.7), make_pair("b.png", label, 0.2)], 0.5, 0.5
    )
    tree = to_json(evaluation)
    reason = "there is nothing without defect" if label else "there is no defect"
    for name in ("ap", "ap_trapezoid", "auroc"):
        assert tree["image"][name] is None
        assert tree["undefined"][f"image.{name}"] == reason
    assert tree["image"]["best_f1_on_test"] == {"f1": None, "threshold": None, "fp": None, "fn": None}
    assert tree["image"]["at_threshold"]["accuracy"] == 0.5
    write_evaluation(evaluation, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.parametrize("place", ["score", "map"])
def test_scores_that_are_no_numbers_name_the_image(make_pair, place):
    sample, prediction = make_pair("a.png", True, math.nan if place == "score" else 0.5)
    if place == "map":
        prediction.score_map[3, 3] = math.nan
    with pytest.raises(ModelError, match=r"gives a\.png the score"):
        evaluate_predictions([(sample, prediction)], 0.5, 0.5)


def test_score_maps_are_not_kept(make_pair):
    alive = []

    def stream():
        for number in range(40):
            sample, prediction = make_pair("a.png", number % 2 == 0, number / 40)
            alive.append(weakref.ref(prediction.score_map))
            yield sample, prediction

    evaluate_predictions(stream(), 0.5, 0.5)
    gc.collect()
    # maps of the contact sheet only, which are this small here that they need not be reduced
    assert sum(reference() is not None for reference in alive) <= 2 * TILES


def test_the_contact_sheet_holds_the_worst_of_each_class(make_pair):
    scores = np.linspace(0.05, 0.95, 2 * TILES)
    given = [
        make_pair(f"{label}{i}.png", label, float(s)) for label in (True, False) for i, s in enumerate(scores)
    ]
    tiles = evaluate_predictions(given, 0.5, 0.5).tiles
    assert [tile.score for tile in tiles[:TILES]] == pytest.approx(scores[:TILES])
    assert [tile.score for tile in tiles[TILES:]] == pytest.approx(scores[::-1][:TILES])
    assert [tile.label for tile in tiles] == [True] * TILES + [False] * TILES


def test_the_contact_sheet_of_folds_ranks_by_odds(make_pair):
    sure = [make_pair(f"sure{n}.png", False, 1 - 10.0 ** -(n + 5)) for n in range(TILES)]
    unsure = [make_pair(f"unsure{n}.png", False, 0.4 + n / 100) for n in range(TILES)]
    folds = [evaluate_predictions(sure, 0.9999, 0.5, "one"), evaluate_predictions(unsure, 0.4, 0.5, "two")]
    tiles = join_folds(folds).tiles
    assert [tile.name for tile in tiles] == [f"sure{n}.png" for n in reversed(range(TILES))]


def test_deep_images_are_shown_bright(make_pair):
    sample, prediction = make_pair("a.png", False, 0.1)
    dark = np.full(SIZE, 3000, np.uint16)
    dark[0, 0] = 4000
    sample.image.write_bytes(cv2.imencode(".png", dark)[1].tobytes())
    (tile,) = evaluate_predictions([(sample, prediction)], 0.5, 0.5).tiles
    assert tile.image.dtype == np.uint8
    assert tile.image.max() == 255


def test_files(pairs, tmp_path):
    write_evaluation(evaluate_predictions(pairs, 0.5, 0.4), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[4]["name"] == "ü $e$ 好.png"
    assert rows[0] == {
        "name": "a.png", "label": "1", "score": "0.9", "threshold": "0.5", "decision": "1", "part": "test",
        "group": "a.png", "review": "0", "types": "",
    }  # fmt: skip
    tree = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert tree["images"] == {
        "judged": 5, "defective": 2, "good": 3, "defective_without_mask": 0, "skipped": 0,
    }  # fmt: skip
    assert tree["thresholds"] == {"test": 0.5}
    assert tree["pixel_thresholds"] == {"test": 0.4}
    assert tree["image"]["ap"] == pytest.approx(5 / 6)
    assert tree["pixel"]["iou"] == 0.5
    assert tree["undefined"] == {}
    for name in ("curves.png", "contact_sheet.png"):
        picture = cv2.imread(str(tmp_path / "out" / name))
        assert picture.shape[1] == 1875
        assert picture.std() > 1


def test_a_place_that_cannot_be_written(pairs, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        write_evaluation(evaluate_predictions(pairs, 0.5, 0.5), tmp_path / "out")


def test_without_matplotlib_the_text_files_are_written(pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'segdec\[train\]'"):
        write_evaluation(evaluate_predictions(pairs, 0.5, 0.5), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "scores.csv"]


def test_folds_are_pooled_and_averaged_under_their_own_names(pairs, make_pair, tmp_path):
    first = evaluate_predictions(pairs, 0.5, 0.5, part="fold 0")
    more = [make_pair("x.png", True, 0.15), make_pair("y.png", False, 0.12), make_pair("z.png", False, 0.05)]
    second = evaluate_predictions(more, 0.13, 0.95, part="fold 1")
    joined = join_folds([first, second])
    # pooled from the top: defect, good, defect, good, defect, good ...
    assert joined.image.ap.value == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert joined.ap_mean.value == pytest.approx((5 / 6 + 1) / 2)
    # each fold's own threshold: 1, 1, 1, 2 and 1, 0, 0, 2
    assert joined.image.at_threshold == Confusion(tp=2, fp=1, fn=1, tn=4)
    assert joined.tally.confusion == first.tally.confusion + second.tally.confusion
    assert joined.thresholds == {"fold 0": 0.5, "fold 1": 0.13}
    assert [row.part for row in joined.rows] == ["fold 0"] * 5 + ["fold 1"] * 3
    tree = to_json(joined)
    assert tree["folds"]["ap_pooled"] == tree["image"]["ap"]
    assert tree["folds"]["ap_mean"] == joined.ap_mean.value
    assert list(tree["folds"]["each"]) == ["fold 0", "fold 1"]
    # 5 of 6 and 2 of 2 pairs in order; the one defect of the second fold shows no spread
    assert tree["folds"]["auroc_mean"] == joined.auroc_mean.value == pytest.approx((5 / 6 + 1) / 2)
    assert tree["folds"]["ap_mean_interval"] is None
    assert tree["undefined"]["folds.ap_mean_interval"] == "fold 1: a single item shows no spread"
    write_evaluation(joined, tmp_path / "out")


def test_means_of_folds_have_intervals(make_pair):
    random = np.random.default_rng(0)
    labels = [True] * 10 + [False] * 20
    folds = [
        evaluate_predictions(
            [
                make_pair(f"{fold} {place}.png", label, float(random.uniform(0, 0.7) + 0.3 * label))
                for place, label in enumerate(labels)
            ],
            0.5,
            0.5,
            part=fold,
        )
        for fold in ("one", "two")
    ]
    joined = join_folds(folds)
    tree = to_json(joined)["folds"]
    lines = "\n".join(evaluation_lines(joined))
    for name, title in (("ap", "AP"), ("auroc", "AUROC")):
        mean, (low, high) = tree[f"{name}_mean"], tree[f"{name}_mean_interval"]
        assert low < mean < high
        widths = [np.diff(fold[f"{name}_interval"]).item() for fold in tree["each"].values()]
        assert high - low < min(widths)
        assert f"{title} {mean:.4f} (95 % interval {low:.4f} to {high:.4f})" in lines
    assert "mean of the folds: AP " in lines
    assert "mean of the folds" not in "\n".join(evaluation_lines(folds[0]))


def test_the_mean_is_undefined_where_a_fold_is(pairs, make_pair):
    good = evaluate_predictions([make_pair("x.png", False, 0.1)], 0.5, 0.5, part="fold 1")
    joined = join_folds([evaluate_predictions(pairs, 0.5, 0.5, part="fold 0"), good])
    assert joined.ap_mean == Metric(None, "fold 1: there is no defect")
    assert joined.image.ap.value is not None
    assert to_json(joined)["undefined"]["folds.each.fold 1.ap"] == "there is no defect"


def test_folds_share_no_image_and_no_name(pairs):
    with pytest.raises(DataError, match=r"a\.png is judged in fold 0 and in fold 1"):
        join_folds([evaluate_predictions(pairs, 0.5, 0.5, part=f"fold {k}") for k in range(2)])
    with pytest.raises(DataError, match="2 folds have only 1 name"):
        join_folds([evaluate_predictions(half, 0.5, 0.5) for half in (pairs[:2], pairs[2:])])
    with pytest.raises(DataError, match="no folds"):
        join_folds([])
