"""The charts of a report: scores, the curve to choose a threshold from, PR, ROC, POD, training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.evaluation import Evaluation, columns
from segdec.intervals import clopper_pearson
from segdec.items import score_items
from segdec.metrics import auroc, average_precision, precision_recall_curve, roc_curve
from segdec.pod import Pod, fit_pod
from segdec.report.charts import Axis, Chart, thinned
from segdec.report.sections import item_word
from segdec.report.text import NO_BREAK, figure, interval_text, key, percent, plural, table, undefined
from segdec.score_axis import SCORE_EDGE, logit_edges, score_text, to_logit

_FEW = 30
_CHOICES = (0, 1, 2, 5, 10, 20)


def histogram(evaluation: Evaluation) -> str:
    """Show how the scores of good and of defective images lie.

    Parameters
    ----------
    evaluation
        Whose images are shown.

    Returns
    -------
    str
        HTML.
    """
    labels, scores, _ = columns(evaluation.rows)
    thresholds = sorted(set(evaluation.thresholds.values()))
    edges = logit_edges([*scores, *thresholds])
    scores = np.clip(scores, edges[0], edges[-1])
    good, defective = (np.histogram(scores[labels == label], edges)[0] for label in (False, True))
    most = max(10, int(good.max()), int(defective.max()))
    chart = Chart(
        "Scores", Axis("score", edges[0], edges[-1], "logit"), Axis("images", 0.7, 1.5 * most, "log")
    )
    logits = to_logit(edges)
    left, middle, right = (
        1 / (1 + np.exp(-logits[:-1] - share * np.diff(logits))) for share in (0.06, 0.5, 0.94)
    )
    chart.bars(left, middle, good, "good")
    chart.bars(middle, right, defective, "defect")
    for threshold in thresholds:
        chart.rule(threshold)
    texts = [
        f"score {score_text(low)} to {score_text(high)}\n{a} good, {b} defective"
        for low, high, a, b in zip(edges[:-1], edges[1:], good, defective, strict=True)
    ]
    chart.spots(middle, np.maximum(np.maximum(good, defective), 0.7), texts)
    caption = (
        f"{key('good', 'good')}{key('defect', 'defective')}Dashed: the threshold. Images are counted on a"
        " logarithmic axis; scores close to 0 and to 1 are stretched."
    )
    return figure("Scores of the images", chart.svg(), caption)


def choice(evaluation: Evaluation) -> str:
    """Show escape and overkill against the threshold, by item: the curve to choose from.

    Parameters
    ----------
    evaluation
        Whose images are shown.

    Returns
    -------
    str
        HTML.
    """
    title = "Escapes and overkill against the threshold"
    rows = evaluation.rows
    items = score_items([row.label for row in rows], [row.score for row in rows], [row.group for row in rows])
    if not len(items.defective) or not len(items.good):
        missing = "good" if len(items.defective) else "defective"
        return figure(title, f"<p>{undefined(f'there is no {missing} item')}</p>", "")
    every = np.unique(
        np.clip(np.concatenate([*items, [SCORE_EDGE, 1 - SCORE_EDGE]]), SCORE_EDGE, 1 - SCORE_EDGE)
    )
    grid = every[thinned(len(every), 300)]
    escapes = np.searchsorted(np.sort(items.defective), grid, side="left")
    overkill = len(items.good) - np.searchsorted(np.sort(items.good), grid, side="left")
    low, high = max(SCORE_EDGE, float(every[1]) / 2), min(1 - SCORE_EDGE, 1 - (1 - float(every[-2])) / 2)
    axis = Axis("threshold", min(low, 0.4), max(high, 0.6), "logit")
    chart = Chart(title, axis, Axis(f"share of {item_word(evaluation)}s", 0, 1, percent=True))
    for counts, of, kind in (
        (escapes, len(items.defective), "defect"),
        (overkill, len(items.good), "good"),
    ):
        chart.band(grid, *_ends(counts, of), kind, steps=True)
        chart.line(grid, counts / of, kind, steps=True)
    for threshold in sorted(set(evaluation.thresholds.values())):
        chart.rule(threshold)
    texts = [
        f"threshold {score_text(t)}"
        f"\nescapes {percent(a / len(items.defective))} ({a} of {len(items.defective)})"
        f"\noverkill {percent(b / len(items.good))} ({b} of {len(items.good)})"
        for t, a, b in zip(grid, escapes, overkill, strict=True)
    ]
    chart.spots(grid, escapes / len(items.defective), texts)
    caption = (
        f"{key('defect', 'escapes')}{key('good', 'overkill')}Shaded: 95 % intervals at each threshold by"
        " itself. Dashed: the threshold in use. The axis stretches what is close to 0 and to 1. A threshold"
        " picked here has seen these data: choose it by <code>segdec calibrate</code> on others."
    )
    if any(row.review for row in rows):
        caption += " One threshold decides here: what is left to a person below it would escape."
    return figure(title, chart.svg(), caption) + figure(
        "Thresholds to choose from", _choices(items.defective, items.good), _FOLDS if evaluation.folds else ""
    )


_FOLDS = "The folds' models differ, and so does what one threshold means to them."


def precision_recall(evaluation: Evaluation) -> str:
    """Show precision against recall, by image, with the operating point.

    Parameters
    ----------
    evaluation
        Whose images are shown.

    Returns
    -------
    str
        HTML.
    """
    labels, scores, decisions = columns(evaluation.rows)
    ap = average_precision(labels, scores)
    if ap.value is None:
        return figure("Precision and recall", f"<p>{undefined(ap.reason or '')}</p>", "")
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    kept = thinned(len(recall))
    chart = Chart("Precision and recall", Axis("recall", 0, 1), Axis("precision", 0, 1))
    # AP is the area under these steps: P_n holds from R_(n-1) to R_n
    chart.line(recall[kept], precision[kept], "ink", steps=True)
    texts = [
        f"threshold {score_text(thresholds[at])}"
        f"\nrecall {percent(recall[at])}\nprecision {percent(precision[at])}"
        for at in kept
    ]
    chart.spots(recall[kept], precision[kept], texts)
    if decisions.any():
        chart.dots([decisions[labels].mean()], [labels[decisions].mean()], "defect", 5)
    return figure(
        "Precision and recall",
        chart.svg("xy"),
        f"{key('defect', 'operating point')}By image; average precision {ap.value:.4f}.",
    )


def roc(evaluation: Evaluation) -> str:
    """Show found defects against false alarms, by image, with the operating point.

    Parameters
    ----------
    evaluation
        Whose images are shown.

    Returns
    -------
    str
        HTML.
    """
    labels, scores, decisions = columns(evaluation.rows)
    area = auroc(labels, scores)
    if area.value is None:
        return figure("ROC", f"<p>{undefined(area.reason or '')}</p>", "")
    fpr, tpr, thresholds = roc_curve(labels, scores)
    kept = thinned(len(fpr))
    chart = Chart("ROC", Axis("false positive rate", 0, 1), Axis("true positive rate", 0, 1))
    chart.line([0, 1], [0, 1], "soft")
    chart.line(fpr[kept], tpr[kept], "ink")
    texts = [
        f"threshold {score_text(thresholds[at])}\nfalse alarms {percent(fpr[at])}\nfound {percent(tpr[at])}"
        for at in kept
    ]
    chart.spots(fpr[kept], tpr[kept], texts)
    chart.dots([decisions[~labels].mean()], [decisions[labels].mean()], "defect", 5)
    caption = f"{key('defect', 'operating point')}By image; area under the curve {area.value:.4f}."
    return figure("ROC", chart.svg("xy"), caption)


def detection(evaluation: Evaluation) -> str:
    """Show the probability of detection against the size of the defect, by image.

    Intervals take images for independent, and are left out where several show one part.

    Parameters
    ----------
    evaluation
        Whose images are shown.

    Returns
    -------
    str
        HTML.
    """
    title = "Probability of detection against defect size"
    largest = evaluation.tally.largest
    if not largest:
        return figure(title, f"<p>{undefined('no defective image has a mask')}</p>", "")
    sizes = np.unique([area for area, _ in largest])
    hits, misses = (
        np.array([largest.get((int(size), found), 0) for size in sizes], np.int64) for found in (True, False)
    )
    areas = sizes.astype(np.float64)
    pod, reason = fit_pod(areas, hits, misses)
    axis = Axis("area of the image's largest defect, pixels", areas.min() / 1.3, areas.max() * 1.3, "log")
    chart = Chart(title, axis, Axis("found", 0, 1, percent=True))
    independent = item_word(evaluation) == "image"
    if pod is not None:
        _draw_curve(chart, pod, np.geomspace(axis.low, axis.high, 80), independent)
    kept = thinned(len(sizes))
    chart.dots(*_marks(areas[kept], hits[kept] > 0, 1.0), "good", 3)
    chart.dots(*_marks(areas[kept], misses[kept] > 0, 0.0), "defect", 3)
    _draw_classes(chart, areas, hits, misses, independent)
    told = (
        _sizes_found(pod, independent)
        if pod is not None
        else f"<p>The curve is {undefined(reason or '')}</p>"
    )
    if independent:
        classes = "Bars: shares of classes of size with 95 % interval."
        line = " Line: logistic fit with its pointwise 95 % interval."
    else:
        classes = (
            "Images of one part are not independent, so there are no intervals. Dark points: shares of"
            " classes of size."
        )
        line = " Line: logistic fit."
    caption = (
        f"{key('good', 'found')}{key('defect', 'missed')}Each defective image counts once, by its largest"
        f" defect; it is found if it is called defective. {classes}{line if pod is not None else ''}"
    )
    return figure(title, chart.svg() + told, caption)


def training(log: Sequence[Mapping[str, Any]], title: str) -> str:
    """Show how the losses, and the AP on the validation part, went along the epochs.

    Parameters
    ----------
    log
        An entry for every epoch, in order, as a run's log.jsonl has them.
    title
        Above the chart.

    Returns
    -------
    str
        HTML, empty for an empty log.
    """
    if not log:
        return ""
    epochs = np.array([entry["epoch"] + 1 for entry in log], np.float64)
    series = {
        name: np.array([float(entry.get(name, math.nan)) for entry in log])
        for name in ("seg_loss", "dec_loss", "val_ap")
    }
    known = [value for values in series.values() for value in values if math.isfinite(value)]
    top = max(1.0, *known) if known else 1.0
    label = "loss, AP" if np.isfinite(series["val_ap"]).any() else "loss"
    chart = Chart(title, Axis("epoch", 0, max(2.0, epochs[-1]), whole=True), Axis(label, 0, 1.05 * top))
    names = {"seg_loss": "segmentation loss", "dec_loss": "decision loss", "val_ap": "validation AP"}
    kinds = {"seg_loss": "good", "dec_loss": "defect", "val_ap": "third"}
    for name, values in series.items():
        there = np.flatnonzero(np.isfinite(values))
        if len(there):
            there = there[thinned(len(there))]
            chart.line(epochs[there], values[there], kinds[name])
            if len(there) <= _FEW:  # a single validation would not show as a line
                chart.dots(epochs[there], values[there], kinds[name], 3)
    kept = thinned(len(epochs))
    texts = [
        "\n".join(
            [f"epoch {epochs[at]:.0f}"]
            + [f"{names[name]} {v[at]:.4f}" for name, v in series.items() if math.isfinite(v[at])]
        )
        for at in kept
    ]
    heights = np.nan_to_num(series["dec_loss"])[kept]
    chart.spots(epochs[kept], heights, texts)
    caption = "".join(key(kinds[name], names[name]) for name, v in series.items() if np.isfinite(v).any())
    return figure(title, chart.svg(), caption)


def _ends(counts: NDArray[np.int64], of: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 95 % intervals of shares, each (K,); there must be something to count."""
    known = {int(count): clopper_pearson(int(count), of) for count in np.unique(counts)}
    low, high = ([getattr(known[int(count)], end) for count in counts] for end in ("low", "high"))
    return np.array(low, np.float64), np.array(high, np.float64)


def _choices(defective: NDArray[np.float64], good: NDArray[np.float64]) -> str:
    """For some numbers of escapes, the highest threshold that lets no more pass."""
    ranked = np.sort(defective)
    rows: dict[int, list[str]] = {}
    for allowed in _CHOICES:
        if allowed >= len(ranked):
            break
        threshold = float(ranked[allowed])
        escapes, overkill = int((defective < threshold).sum()), int((good >= threshold).sum())
        cells = [
            f"{percent(count / of)} ({count}{NO_BREAK}of{NO_BREAK}{of})<br>"
            f'<span class="soft">{escape(interval_text(clopper_pearson(count, of)))}</span>'
            for count, of in ((escapes, len(defective)), (overkill, len(good)))
        ]
        rows[escapes] = [score_text(threshold), *cells]
    head = [f"{rate}, 95{NO_BREAK}% interval" for rate in ("escapes", "overkill")]
    return table(["threshold", *head], rows.values())


def _marks(
    sizes: NDArray[np.float64], there: NDArray[np.bool_], height: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return sizes[there], np.full(int(there.sum()), height)


def _draw_curve(chart: Chart, pod: Pod, grid: NDArray[np.float64], independent: bool) -> None:
    """Draw a fit at sizes, each (K,); its interval only if the images are independent."""
    middle, low, high = pod.at(grid)
    texts = [f"{size:.3g} pixels\nfound {percent(p)}" for size, p in zip(grid, middle, strict=True)]
    if independent:
        chart.band(grid, low, high, "ink")
        texts = [
            f"{text}\n95 % interval {percent(a)} to {percent(b)}"
            for text, a, b in zip(texts, low, high, strict=True)
        ]
    chart.line(grid, middle, "ink")
    chart.spots(grid, middle, texts)


def _draw_classes(
    chart: Chart,
    sizes: NDArray[np.float64],
    hits: NDArray[np.int64],
    misses: NDArray[np.int64],
    independent: bool,
) -> None:
    """Draw the share found in up to six classes of about as many images each."""
    total = np.cumsum(hits + misses)
    number = min(6, max(1, int(total[-1]) // 8))
    classes = np.minimum((total - 1) * number // total[-1], number - 1)
    for each in np.unique(classes):
        inside = classes == each
        count, of = int(hits[inside].sum()), int((hits + misses)[inside].sum())
        place = float(np.exp(np.average(np.log(sizes[inside]), weights=(hits + misses)[inside])))
        if independent:
            chart.whiskers([place], *_ends(np.array([count]), of), "ink")
        chart.dots([place], [count / of], "ink", 3.5)


def _sizes_found(pod: Pod, independent: bool) -> str:
    typical, safe = pod.size_at(0.9), pod.safe_size_at(0.9)
    if typical is None:
        return "<p>Larger defects are not found more often here, so no size can be named.</p>"
    text = f"90 % of defects of {plural(round(typical), 'pixel')} are found"
    if not independent:
        return f"<p>{text}; how sure that is, images of one part cannot show.</p>"
    if safe is None:
        return f"<p>{text}; from which size on that is sure, these data do not show.</p>"
    return f"<p>{text}; at 95 % confidence, from {plural(math.ceil(safe), 'pixel')} on (a90/95).</p>"
