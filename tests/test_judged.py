"""What makes the figures too good is said; nothing else is."""

from __future__ import annotations

from segdec.judged import Judged

FRESH = Judged({"one": "1"}, (), ())


def test_fresh_data_bring_no_warning():
    assert FRESH.warnings() == []
    assert Judged().warnings() == []


def test_images_of_the_calibration_are_counted():
    (one,) = Judged({"test": "1"}, ("a.png",), ()).warnings()
    (two,) = Judged({"test": "1"}, ("a.png", "b.png"), ()).warnings()

    assert one.startswith("a.png took part in the calibration of the thresholds")
    assert two.startswith("2 of these images (a.png is the first) took part in the calibration")


def test_images_of_the_training_are_counted():
    (one,) = Judged({"test": "1"}, (), ("a.png",)).warnings()
    (two,) = Judged({"test": "1"}, (), ("a.png", "b.png")).warnings()

    assert one.startswith("a.png took part in the model's training")
    assert two.startswith("2 of these images (a.png is the first) took part")


def test_folds_are_joined():
    joined = FRESH.merged(Judged({"two": "2"}, ("b.png",), ("a.png",)))

    assert joined == Judged({"one": "1", "two": "2"}, ("b.png",), ("a.png",))
    assert [line.split()[0] for line in joined.warnings()] == ["b.png", "a.png"]


def test_a_fold_that_does_not_say_leaves_it_open():
    silent = Judged({"two": "2"})

    assert FRESH.merged(silent).trained_on is None
    assert silent.merged(Judged({"one": "1"}, (), ("a.png",))).trained_on == ("a.png",)
