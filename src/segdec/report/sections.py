"""The parts of a report that an evaluation alone fills: words first, then tables, then the mistakes."""

from __future__ import annotations

import base64
from html import escape

from segdec.evaluation import Evaluation, Share
from segdec.intervals import Interval, clopper_pearson
from segdec.items import score_items
from segdec.mistakes import Mistake
from segdec.report.text import figure, interval_text, metric_text, percent, plural, table, undefined
from segdec.score_axis import score_text

_MOST_SKIPPED = 100
_SHARE = {"image": "share, 95 % interval", "part": "share"}
_WIDE = 1.4  # pictures of this shape and wider stand below each other


def summary(evaluation: Evaluation) -> str:
    """Say in words what matters: what escapes, what is thrown away, and how sure that is.

    Parameters
    ----------
    evaluation
        What is told.

    Returns
    -------
    str
        HTML.
    """
    items, word = evaluation.items, item_word(evaluation)
    tiles = [
        _tile("defect", "Escapes", items.escape, f"defective {word}s pass as good"),
        _tile("good", "Overkill", items.overkill, f"good {word}s are thrown away"),
    ]
    if items.review.count:
        tiles.append(_tile("third", "Review", items.review, f"{word}s are left to a person"))
    judged = plural(len(evaluation.rows), "image")
    if word == "part":
        judged += f" of {plural(items.review.of, 'part')}"
    lines = [
        f"{judged}: {items.escape.of} defective and {items.overkill.of} good {word}s,"
        f" decided at {_thresholds(evaluation)}.",
        *_doubts(evaluation, word),
    ]
    warnings = [f'<p class="warning">{escape(line)}</p>' for line in evaluation.judged.warnings()]
    text = "".join([*warnings, *(f"<p>{escape(line)}</p>" for line in lines)])
    return f'{text}<div class="tiles">{"".join(tiles)}</div>{_figures(evaluation)}'


def confusion(evaluation: Evaluation) -> str:
    """Show what became of defective and of good items, with exact intervals.

    Parameters
    ----------
    evaluation
        What is told.

    Returns
    -------
    str
        HTML.
    """
    word = item_word(evaluation)
    ranks = [2 * row.decision + row.review for row in evaluation.rows]
    labels, groups = [row.label for row in evaluation.rows], [row.group for row in evaluation.rows]
    items = score_items(labels, ranks, groups)
    fates = [("called good", 0), ("called defective", 2)]
    if any(row.review for row in evaluation.rows):
        fates.insert(1, ("left to a person", 1))
    rows = []
    for name, found in (("defective", items.defective), ("good", items.good)):
        cells = []
        for _, rank in fates:
            count, of = int((found == rank).sum()), len(found)
            share = f"({percent(count / of)})" if of else ""
            cells.append(f"<b>{count}</b> {share}<br>{_soft(clopper_pearson(count, of))}")
        rows.append([f"{len(found)} {name} {word}s", *cells])
    parts = [
        table(["", *(name for name, _ in fates)], rows),
        '<p class="soft">Below each count, the exact 95 % interval of its share.</p>',
    ]
    if word == "part":
        counts = evaluation.image.at_threshold
        parts.append(
            f'<p class="soft">By image: {counts.tp} defective found, {counts.fn} not, {counts.fp} good called'
            f" defective, {counts.tn} not. Images of one part are not independent, so these have no"
            " interval.</p>"
        )
    if evaluation.type_recall:
        found_types = [
            [
                escape(each.type),
                f"{each.caught} of {each.images}",
                f"{percent(each.caught / each.images)} "
                + (_soft(clopper_pearson(each.caught, each.images)) if word == "image" else ""),
            ]
            for each in evaluation.type_recall
        ]
        parts += ["<h3>By type of defect</h3>", table(["type", "images caught", _SHARE[word]], found_types)]
    return "".join(parts)


def sizes(evaluation: Evaluation) -> str:
    """Count the single defects that were found, by their area.

    Parameters
    ----------
    evaluation
        What is told.

    Returns
    -------
    str
        HTML, empty where none is marked.
    """
    rows = [
        [
            f"{each.min_area} to {each.max_area - 1}" if each.max_area else f"from {each.min_area}",
            str(each.defects),
            f"{each.localised} ({percent(each.localised / each.defects)})",
            f"{each.caught} ({percent(each.caught / each.defects)})",
        ]
        for each in evaluation.pixel.size_recall
        if each.defects
    ]
    if not rows:
        return ""
    caption = (
        "Every marked defect counts here. Localised: some of its pixels reach the pixel threshold. In an"
        " image called defective: something in the image made it so, perhaps another defect."
    )
    head = ["area, pixels", "defects", "localised", "in an image called defective"]
    return figure("Defects by area", table(head, rows), caption)


def mistakes(evaluation: Evaluation) -> str:
    """Show every miss and every false alarm, the worst first, as far as the file may grow.

    Parameters
    ----------
    evaluation
        What is told.

    Returns
    -------
    str
        HTML.
    """
    found = evaluation.mistakes
    caught = {(row.part, row.group) for row in evaluation.rows if row.label and row.decision}
    parts = []
    for kind, title, count in (
        ("miss", "Misses", found.misses),
        ("false alarm", "False alarms", found.false_alarms),
    ):
        shown = found.of(kind)
        parts.append(f"<h3>{title}: {count}</h3>")
        if len(shown) < count:
            parts.append(
                f'<p class="soft">The {len(shown)} worst are shown; {count - len(shown)} milder ones are left'
                " out to keep this file small. scores.csv lists all.</p>"
            )
        cards = "".join(_card(mistake, (mistake.part, mistake.group) in caught) for mistake in shown)
        parts.append(f'<div class="mistakes">{cards}</div>' if cards else '<p class="soft">None.</p>')
    legend = (
        '<p class="soft">First the image, with marked defects outlined in yellow; then what the model sees,'
        " from red to yellow, and in cyan what it would mark. The farther a score is on the wrong side of its"
        " threshold, on the scale of logits, the earlier its image is shown.</p>"
    )
    return legend + "".join(parts)


def skipped(evaluation: Evaluation) -> str:
    """List what could not be judged.

    Parameters
    ----------
    evaluation
        What is told.

    Returns
    -------
    str
        HTML, empty where all could.
    """
    if not evaluation.skipped:
        return ""
    listed = list(evaluation.skipped.items())[:_MOST_SKIPPED]
    rows = [[escape(name), escape(reason)] for name, reason in listed]
    left = len(evaluation.skipped) - len(listed)
    more = f'<p class="soft">and {left} more; metrics.json lists all.</p>' if left else ""
    return f"<h2>Not judged</h2>{table(['image', 'why'], rows)}{more}"


def hashes(evaluation: Evaluation) -> str:
    """Name the data that were judged by their hashes.

    Parameters
    ----------
    evaluation
        What is told.

    Returns
    -------
    str
        HTML, empty where these are not known.
    """
    rows = [[escape(part), value] for part, value in evaluation.judged.data_hashes.items()]
    return f"<h3>Hash of the judged data</h3>{table([], rows, 'pairs')}" if rows else ""


def item_word(evaluation: Evaluation) -> str:
    """Return what an item is here.

    Parameters
    ----------
    evaluation
        With or without groups.

    Returns
    -------
    str
        "part" if some part has several images, "image" otherwise.
    """
    return "image" if all(row.group == row.name for row in evaluation.rows) else "part"


def _tile(kind: str, title: str, share: Share, what: str) -> str:
    if share.rate.value is None:
        return f'<div class="tile {kind}">{title}<b>–</b>{undefined(share.rate.reason or "")}</div>'
    text = f"{share.count} of {share.of} {what}"
    return (
        f'<div class="tile {kind}">{title}<b>{percent(share.rate.value)}</b>{escape(text)}<br>'
        f'<span class="soft">95 % interval {escape(interval_text(share.interval))}</span></div>'
    )


def _soft(interval: Interval) -> str:
    return f'<span class="soft">{escape(interval_text(interval))}</span>'


def _doubts(evaluation: Evaluation, word: str) -> list[str]:
    """Say what the figures do not show, where it is easily overlooked."""
    lines = []
    if word == "image":
        lines.append(
            "Each image counts as a part of its own: no groups say which images show the same part. If some"
            " do, the intervals are too narrow."
        )
    for share, name, what, fate in (
        (evaluation.items.escape, "escape", "defective", "escape"),
        (evaluation.items.overkill, "overkill", "good", "are thrown away"),
    ):
        if share.of and not share.count and share.interval.high is not None:
            lines.append(
                f"No {name} was seen, but {share.of} {what} {word}s can only show that fewer than"
                f" {percent(share.interval.high)} of those to come {fate}."
            )
    if evaluation.without_mask:
        lines.append(
            f"{plural(evaluation.without_mask, 'defective image')} without a mask"
            f" {'counts' if evaluation.without_mask == 1 else 'count'} by image only."
        )
    if evaluation.skipped:
        lines.append(f"{plural(len(evaluation.skipped), 'image')} could not be judged in full; see below.")
    return lines


def _thresholds(evaluation: Evaluation) -> str:
    values, review = evaluation.thresholds, evaluation.review_thresholds
    if len(values) == 1:
        ((part, value),) = values.items()
        person = f", and left to a person from {score_text(review[part])}" if part in review else ""
        return f"the model's threshold, {score_text(value)}{person}"
    each = (
        f"{fold}: {score_text(value)}"
        + (f" (review from {score_text(review[fold])})" if fold in review else "")
        for fold, value in values.items()
    )
    return f"each fold's own threshold ({', '.join(each)})"


def _figures(evaluation: Evaluation) -> str:
    image, pixel = evaluation.image, evaluation.pixel
    rows = [
        ["average precision", metric_text(image.ap, image.ap_interval)],
        ["area under the ROC curve", metric_text(image.auroc, image.auroc_interval)],
    ]
    within = ""
    if evaluation.folds:
        within = ", of the means within each fold"
        for name, mean, interval in (
            ("average precision", evaluation.ap_mean, evaluation.ap_mean_interval),
            ("area under the ROC curve", evaluation.auroc_mean, evaluation.auroc_mean_interval),
        ):
            rows.append([f"{name}, mean of the folds", metric_text(mean, interval)])
    rows += [
        ["pixels: average precision", metric_text(pixel.ap)],
        ["pixels: AUPRO", metric_text(pixel.aupro)],
        ["pixels: IoU at the pixel threshold", metric_text(pixel.iou)],
    ]
    note = (
        f'<p class="soft">In brackets, 95 % intervals from a bootstrap of whole {item_word(evaluation)}s'
        f"{within}. Figures of pixels have none.</p>"
    )
    return f"<h3>In figures</h3>{table([], rows, 'pairs')}{note}"


def _card(mistake: Mistake, caught: bool) -> str:
    height, width = mistake.size
    stacked = " stacked" if width > _WIDE * height else ""
    pictures = "".join(
        f'<img loading="lazy" decoding="async" width="{width}" height="{height}" alt="{escape(alt)}"'
        f' src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
        for alt, data in (
            (mistake.name, mistake.image),
            (f"score map of {mistake.name}", mistake.overlay),
        )
    )
    notes = []
    if mistake.group != mistake.name:
        notes.append(f"part {mistake.group}")
    if mistake.kind == "miss" and caught:
        notes.append("the part is caught by another image")
    note = f'<br><span class="soft">{escape("; ".join(notes))}</span>' if notes else ""
    return (
        f'<article class="mistake"><b>{score_text(mistake.score)}</b> {escape(mistake.name)}{note}'
        f'<div class="pictures{stacked}">{pictures}</div></article>'
    )
