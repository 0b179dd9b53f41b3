"""The report is one whole HTML page that says what the evaluation says, whatever names are in it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from segdec.errors import ModelError, OutputError
from segdec.evaluate import join_folds
from segdec.mistakes import Mistake, Mistakes, picture
from segdec.model_card import Calibration
from segdec.report import to_html, write_report
from segdec.report.origin import read_origin

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = "<script>alert(1)</script>\"'&amp; ü好\udcff.png"


class Page(HTMLParser):
    """Collects the elements, and refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def test_the_report_is_one_whole_page_without_any_address(judge, images):
    html = to_html(judge(images))
    page = Page(html)

    links = [value for _, attrs in page.found for key, value in attrs.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert re.findall(r"https?://[^\"'\s]+", html) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert "@import" not in html
    assert "url(" not in html
    assert page.all("meta")[-1]["content"].startswith("default-src 'none'")
    assert len(page.all("svg")) == 5
    assert all(image["loading"] == "lazy" for image in page.all("img"))


def test_the_summary_and_the_pictures_agree_with_the_evaluation(judge, images):
    evaluation = judge(images)
    page = Page(to_html(evaluation))

    missed, false = evaluation.items.escape.count, evaluation.items.overkill.count
    assert missed > 2
    assert false > 2
    assert f"{missed} of 40 defective images pass as good" in page.text
    assert f"{false} of 60 good images are thrown away" in page.text
    assert len(page.all("img")) == 2 * (missed + false)
    assert "90 % of defects of" in page.text


def test_charts_carry_what_the_pointer_reads(judge, images):
    charts = [attrs for attrs in Page(to_html(judge(images))).all("svg") if "data-spots" in attrs]

    assert len(charts) == 5
    for chart in charts:
        spots = json.loads(chart["data-spots"])
        assert spots
        assert all(0 <= x <= 440 and 0 <= y <= 290 and text for x, y, text in spots)
    threshold = next(chart for chart in charts if "overkill" in chart["aria-label"])
    assert re.match(
        r"threshold [\d.e-]+\nescapes .* of 40\)\noverkill .* of 60\)",
        json.loads(threshold["data-spots"])[3][2],
    )


def test_a_count_is_not_divided_between_two_lines(judge, images):
    assert re.search(
        "0\N{NO-BREAK SPACE}% \\(0\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}40\\)", to_html(judge(images))
    )


def test_hostile_names_stay_text(judge, tmp_path):
    evaluation = judge(
        {HOSTILE: (True, 0.1, 30), "good": (False, 0.9, 0), "x": (True, 0.9, 5)},
        groups=[HOSTILE, "a", "b"],
        types=(HOSTILE,),
    )
    evaluation = replace(evaluation, skipped={HOSTILE: HOSTILE})

    write_report(evaluation, tmp_path / "new" / "report.html", data=tmp_path / HOSTILE)

    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "alert(1)" in page.text
    assert not [attrs for _, attrs in page.found if any(key.startswith("on") for key in attrs)]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ({"a": (False, 0.1, 0), "b": (False, 0.2, 0)}, "there is no defective item"),
        ({"a": (True, 0.1, 9), "b": (True, 0.8, 9)}, "there is no good item"),
        ({"a": (True, 1.0, 9), "b": (False, 0.0, 0)}, "1 defective images have a mask"),
    ],
)
def test_what_is_undefined_gives_the_reason(judge, images, reason):
    page = Page(to_html(judge(images)))

    assert f"not defined: {reason}" in page.text


def test_without_masks_there_is_no_curve_of_detection(judge, images):
    page = Page(to_html(judge(images, masked=False)))

    assert "not defined: no defective image has a mask" in page.text
    assert "40 defective images without a mask count by image only" in page.text


def test_parts_of_several_images_are_counted_as_parts(judge):
    images = {"1": (True, 0.1, 30), "2": (True, 0.9, 30), "3": (False, 0.2, 0), "4": (False, 0.3, 0)}
    page = Page(to_html(judge(images, groups=["p", "p", "q", "q"])))

    assert "4 images of 2 parts: 1 defective and 1 good parts" in page.text
    assert "0 of 1 defective parts pass as good" in page.text
    assert "the part is caught by another image" in page.text


def test_the_report_says_what_counts_as_a_part(judge, images):
    told = "Each image counts as a part of its own: no groups say which images show the same part."

    assert told in Page(to_html(judge(images))).text
    parts = judge(images, groups=[str(number // 2) for number in range(len(images))])
    assert told not in Page(to_html(parts)).text


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ("images", "8 defective and 55 good parts, one image each: escapes at most"),
        ("groups", "8 defective and 55 good parts, by group, in 126 images: escapes at most"),
    ],
)
def test_the_calibration_says_what_counted_as_a_part(judge, images, run, items, told):
    made = Calibration(
        date="2030-01-02",
        data_hash="def456",
        images=63 if items == "images" else 126,
        items=items,
        disjoint=True,
        wish={"max_escape": 0.35},
        confidence=0.95,
        method="a bound",
        threshold=0.5,
        review_threshold=None,
        defective=8,
        good=55,
        escapes=0,
        escape_bound=0.3123,
        overkill=2,
        overkill_bound=0.1,
        review_share=0.0,
        cost=None,
        cost_bound=None,
    )
    origin = read_origin(run)
    origin = replace(origin, card=origin.card.model_copy(update={"calibration": made}))

    assert told in Page(to_html(judge(images), [origin])).text


def test_several_images_of_a_part_have_no_intervals_by_image(judge, images):
    alone = to_html(judge(images))
    parts = to_html(judge(images, groups=[str(number // 2) for number in range(len(images))]))

    for html, independent in ((alone, True), (parts, False)):
        (figure,) = re.findall(r"<figure><h3>Probability of detection.*?</figure>", html, re.DOTALL)
        assert ('class="whisker' in figure) is independent
        assert ('class="band' in figure) is independent
        assert ("95 %" in figure) is independent
        assert ("not independent, so there are no intervals" in figure) is not independent
        assert "90 % of defects of" in figure


def test_review_is_neither_a_miss_nor_a_catch(judge):
    images = {"a": (True, 0.4, 30), "b": (True, 0.1, 30), "c": (False, 0.4, 0), "d": (False, 0.9, 0)}
    evaluation = judge(images, review_threshold=0.3)
    page = Page(to_html(evaluation))

    assert (evaluation.mistakes.misses, evaluation.mistakes.false_alarms) == (1, 1)
    assert "2 of 4 images are left to a person" in page.text


def test_folds_are_joined_with_their_mistakes(judge, images):
    half = dict(list(images.items())[::2])
    rest = {name: images[name] for name in images if name not in half}
    joined = join_folds([judge(half, part="one"), judge(rest, part="two")])

    assert joined.mistakes.misses == judge(images).mistakes.misses
    assert joined.tally.largest == judge(images).tally.largest
    page = Page(to_html(joined))
    assert "each fold's own threshold (one: 0.5, two: 0.5)" in page.text
    for name, mean, interval in (
        ("average precision, mean of the folds", joined.ap_mean, joined.ap_mean_interval),
        ("area under the ROC curve, mean of the folds", joined.auroc_mean, joined.auroc_mean_interval),
    ):
        assert f"{name}{mean.value:.4f} ({interval.low:.4f} to {interval.high:.4f})" in page.text
    assert "mean of the folds" not in Page(to_html(judge(half))).text


def test_figures_without_interval_are_not_said_to_have_one(judge, images):
    page = Page(to_html(judge(images)))

    assert "In figures, with 95 % intervals" not in page.text
    assert "In brackets, 95 % intervals from a bootstrap of whole images" in page.text
    assert "Figures of pixels have none." in page.text
    parts = judge(images, groups=[str(number // 2) for number in range(len(images))])
    assert "a bootstrap of whole parts" in Page(to_html(parts)).text


def test_a_thousand_mistakes_of_pure_noise_stay_below_20_mb(judge, images, tmp_path):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (400, 400, 3)).astype(np.uint8)
    pictures = picture(noise, None, random.random((400, 400)).astype(np.float32), 0.9)
    found = Mistakes()
    for number in range(1000):
        kind = ("miss", "false alarm")[number % 2]
        found = found.added(Mistake(str(number), "test", str(number), number / 1000, 0.5, kind, *pictures))
    evaluation = replace(judge(images), mistakes=found)

    write_report(evaluation, tmp_path / "report.html")

    assert (tmp_path / "report.html").stat().st_size < 20e6
    shown = len(found.of("miss"))
    assert 20 < shown < 500
    assert (
        f"The {shown} worst are shown; {500 - shown} milder ones are left out"
        in Page(to_html(evaluation)).text
    )


def test_many_images_do_not_make_the_charts_large(judge, images):
    evaluation = judge(images)
    row, random = evaluation.rows[0], np.random.default_rng(0)
    rows = tuple(
        row._replace(name=str(n), group=str(n), label=n % 2 == 0, score=float(random.random()))
        for n in range(20_000)
    )

    html = to_html(replace(evaluation, rows=rows, mistakes=Mistakes()))

    assert len(html) < 1e6


def test_run_data_configuration_versions_and_hashes_are_told(judge, images, run, tmp_path):
    write_report(judge(images), tmp_path / "report.html", [run])

    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for told in (
        "line <7>",
        "/data/<i>parts</i>",
        "# <b>train</b>",
        "torch <2.0>",
        "abc123",
        "c0ffee",
        "seed 7",
    ):
        assert told in page.text
    assert "2 epochs" in page.text
    assert re.search(r"SHA-256\)[0-9a-f]{64}", page.text)
    assert "loss, AP" not in page.text  # there was no validation
    training = next(chart for chart in page.all("svg") if chart["aria-label"].startswith("Training"))
    spots = json.loads(training["data-spots"])
    assert [text for _, _, text in spots] == [
        "epoch 1\nsegmentation loss 0.6000\ndecision loss 0.7000",
        "epoch 2\nsegmentation loss 0.6000\ndecision loss 0.4000",
    ]


def test_a_damaged_log_is_told_in_one_sentence(judge, images, run, tmp_path):
    (run / "log.jsonl").write_text('{"epoch": 0', encoding="utf-8")
    with pytest.raises(ModelError, match=r"log\.jsonl in .* is damaged"):
        write_report(judge(images), tmp_path / "report.html", [run])


def test_a_folder_without_a_model_is_refused_and_nothing_written(judge, images, tmp_path):
    with pytest.raises(ModelError):
        write_report(judge(images), tmp_path / "report.html", [tmp_path])

    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_told(judge, images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(judge(images), tmp_path / "file" / "report.html")
