"""Mistakes are counted all, and shown the worst first within a bound."""

import cv2
import numpy as np

from segdec import mistakes as module
from segdec.mistakes import Mistake, Mistakes, picture


def mistake(kind, score, size=1000, threshold=0.5):
    data = bytes(size)
    return Mistake(f"{kind} {score}", "test", "group", score, threshold, kind, (10, 10), data, data)


def collected(*all_of_them):
    found = Mistakes()
    for each in all_of_them:
        found = found.added(each)
    return found


def test_the_worst_come_first_and_misses_before_false_alarms():
    found = collected(
        mistake("false alarm", 0.6), mistake("miss", 0.4), mistake("false alarm", 0.9), mistake("miss", 0.1)
    )

    assert [each.score for each in found.shown] == [0.1, 0.4, 0.9, 0.6]
    assert [each.score for each in found.of("miss")] == [0.1, 0.4]


def test_mistakes_of_folds_rank_by_odds_whatever_their_thresholds():
    sure, unsure = 0.99996, 0.4
    one = collected(  # odds of 1 : 25,000 at the threshold: 40 times as high, a ninth, 0 and without end
        mistake("false alarm", 0.999999, threshold=sure),
        mistake("miss", 0.99964, threshold=sure),
        mistake("miss", 0.0, threshold=sure),
        mistake("false alarm", 1.0, threshold=sure),
    )
    two = collected(  # odds of 2 : 3 at the threshold: 6 times as high, a sixth, and a fifteenth
        mistake("false alarm", 0.8, threshold=unsure),
        mistake("miss", 0.1, threshold=unsure),
        mistake("miss", 2 / 47, threshold=unsure),
    )

    both = one.merged(two)

    assert [each.score for each in both.of("false alarm")] == [1.0, 0.999999, 0.8]
    assert [each.score for each in both.of("miss")] == [0.0, 2 / 47, 0.99964, 0.1]


def test_what_does_not_fit_is_counted_and_the_mildest_goes(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 5000)
    half = [mistake("miss", score / 100) for score in (40, 10, 30, 20)]
    found = collected(*half, mistake("false alarm", 0.6))

    assert [each.score for each in found.shown] == [0.1, 0.2, 0.6]
    assert (found.misses, found.false_alarms) == (4, 1)
    both = collected(*half[:2]).merged(collected(*half[2:]))
    assert both.of("miss") == found.of("miss")
    assert both.misses == 4


def test_pictures_are_small_and_outline_the_defect():
    image = np.full((1024, 2048, 3), 90, np.uint16)
    image[:, :10] = 200
    mask = np.zeros((1024, 2048), np.bool_)
    mask[300:600, 400:900] = True

    size, outlined, overlay = picture(image, mask, mask.astype(np.float32), 0.5)

    drawn, heat = (cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in (outlined, overlay))
    assert drawn.shape == heat.shape == (*size, 3)
    assert size[0] * size[1] <= 91_000
    assert size[1] == 2 * size[0]
    edge = drawn[round(300 * size[0] / 1024), round(650 * size[1] / 2048)].astype(int)
    assert edge[2] - edge[0] > 50, "the outline is yellow"
    assert len(outlined) + len(overlay) < 40_000
