"""Labels are doubted by scores that tell something of them: of images not trained on, each fold by itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from segdec.doctor.suspects import suspect_findings
from segdec.errors import DataError
from segdec.evaluate import evaluate_predictions, join_folds, write_evaluation
from segdec.imaging import write_image
from segdec.judged import Judged
from segdec.types import Prediction, Sample

SIZE = (16, 16)


@pytest.fixture
def judge(tmp_path):
    """Return what makes an evaluation of (label, score) pairs; images are named by part and place."""

    def make(part, pairs, trained_on=()):
        found = []
        for number, (label, score) in enumerate(pairs):
            name = f"{part}-{number}.png"
            write_image(tmp_path / name, np.full(SIZE, 90, np.uint8))
            score_map = np.full(SIZE, score, np.float32)
            sample = Sample(name, tmp_path / name, bool(label))
            found.append((sample, Prediction(name, score, score >= 0.5, 0.5, (), score_map)))
        evaluation = evaluate_predictions(found, 0.5, 0.5, part=part)
        names = None if trained_on is None else tuple(f"{part}-{number}.png" for number in trained_on)
        return replace(evaluation, judged=Judged({part: "0"}, (), names)), [sample for sample, _ in found]

    return make


@pytest.fixture
def examine(tmp_path):
    """Return what writes an evaluation and gives the findings of its scores, by kind."""

    def find(evaluation, samples):
        write_evaluation(evaluation, tmp_path / "run")
        return {finding.kind: finding for finding in suspect_findings(tmp_path / "run", samples)}

    return find


def names(finding):
    return [item.partition(":")[0] for item in finding.items]


SOUND = [(1, 0.9), (1, 0.8), (0, 0.1), (0, 0.2), (1, 0.9), (0, 0.1)]


def test_scores_of_images_that_were_trained_on_are_left_out(judge, examine):
    # 6 was learnt as it is labelled, and draws the mean of its class; 7 is doubted
    pairs = [*SOUND, (1, 0.01), (1, 0.05)]
    found = examine(*judge("test", pairs, trained_on=[6]))

    assert names(found["suspect-labels"]) == ["test-7.png"]
    assert found["suspect-labels"].text.startswith("1 of 7 labels")
    left_out = found["trained-on"]
    assert left_out.text.startswith("1 of 8 scores of ")
    assert "took part in its training" in left_out.text
    assert left_out.items == ("test-6.png",)


def test_where_all_were_trained_on_nothing_is_doubted(judge, examine):
    found = examine(*judge("test", [*SOUND, (1, 0.01)], trained_on=range(7)))

    assert list(found) == ["trained-on"]
    assert found["trained-on"].text.startswith("7 of 7 scores of ")


def test_a_run_that_does_not_say_what_it_was_trained_on(judge, examine):
    found = examine(*judge("test", [*SOUND, (1, 0.01)], trained_on=None))

    assert names(found["suspect-labels"]) == ["test-6.png"]
    assert "does not name all the images" in found["training-unknown"].text
    assert list(examine(*judge("test", SOUND, trained_on=()))) == []


def test_a_damaged_evaluation_is_an_error(judge, tmp_path):
    evaluation, samples = judge("test", SOUND)
    write_evaluation(evaluation, tmp_path / "run")
    for text in ("{", "[]", '{"judged": 3}', '{"judged": {"trained_on": 3}}'):
        (tmp_path / "run" / "metrics.json").write_text(text)
        with pytest.raises(DataError, match=r"metrics\.json is no evaluation .* segdec evaluate"):
            suspect_findings(tmp_path / "run", samples)


def test_the_scores_of_a_cross_validation_are_judged_fold_by_fold(judge, examine, tmp_path):
    """One fold's network is sure, the other's is mild: their scores have no common means."""
    sure = [(1, 0.99), (1, 0.98), (0, 0.6), (0, 0.7), (0, 0.99)]
    mild = [(1, 0.3), (1, 0.4), (0, 0.01), (0, 0.02), (1, 0.01)]
    (first, some), (second, others) = judge("fold0", sure), judge("fold1", mild, trained_on=[0])
    found = examine(join_folds([first, second]), some + others)

    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["judged"]["trained_on"] == [
        "fold1-0.png"
    ]
    # pooled, the good images of the first would be as bad as the defects of the second
    assert sorted(names(found["suspect-labels"])) == ["fold0-4.png", "fold1-4.png"]
    assert found["suspect-labels"].text.startswith("2 of 9 labels")
    assert found["trained-on"].items == ("fold1-0.png",)


def test_a_fold_whose_scores_are_of_no_use_is_named(judge, examine):
    (first, some), (second, others) = (
        judge("fold0", [*SOUND, (1, 0.01)]),
        judge("fold1", [(1, 0.1), (0, 0.9)]),
    )
    third, good = judge("fold2", [(0, 0.1), (0, 0.9)])
    found = examine(join_folds([first, second, third]), some + others + good)

    assert names(found["suspect-labels"]) == ["fold0-6.png"]
    assert found["suspect-labels"].text.startswith("1 of 7 labels")
    assert "2 of 3 folds" in found["no-use-of-scores"].text
    assert names(found["no-use-of-scores"]) == ["fold1", "fold2"]
