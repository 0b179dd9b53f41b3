"""What counting tells: classes, sizes, grey levels, and the certainty that so many parts can give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segdec.doctor.findings import Finding
from segdec.doctor.reading import Look
from segdec.errors import ConfigError
from segdec.intervals import cases_needed, percent, round_up
from segdec.types import PARTS, ImageSize, Sample

_FAR = 6.0
"""Deviations from the median beyond which an image is an outlier, in robust standard deviations."""
_FEW = 10
"""Fewer defective items than this show too little of what defects look like."""


def balance_findings(samples: Sequence[Sample]) -> list[Finding]:
    """Tell how many images and items there are of each class.

    Parameters
    ----------
    samples
        Of the data set.

    Returns
    -------
    list of Finding
    """
    defective = [sample for sample in samples if sample.label]
    masked = sum(sample.mask is not None for sample in defective)
    items = {sample.group or sample.name for sample in samples}
    bad_items = {sample.group or sample.name for sample in defective}
    text = (
        f"{len(samples)} images of {len(items)} items: {len(defective)} images of {len(bad_items)} items with"
        f" a defect, {masked} of them with a mask."
    )
    findings = [Finding("classes", "fact", text)]
    if len(bad_items) < _FEW:
        text = (
            f"Only {len(bad_items)} items have a defect. Results will vary widely from split to split;"
            f" collect at least {_FEW}, better 30."
        )
        findings.append(Finding("few-defects", "doubtful", text))
    if defective and not masked:
        text = "No defect has a mask. Masks of even five defective images help much."
        findings.append(Finding("no-masks", "doubtful", text))
    return findings


def size_findings(looks: Sequence[Look], image_size: ImageSize) -> list[Finding]:
    """Tell the sizes of the images, and whether they fit the input.

    Parameters
    ----------
    looks
        From `segdec.doctor.reading.look_at_all`.
    image_size
        (height, width) that the network sees.

    Returns
    -------
    list of Finding
    """
    heights, widths = zip(*(look.size for look in looks), strict=True)
    text = (
        f"Images are {_span(heights)} high and {_span(widths)} wide, {_kind(looks)}; the network sees them at"
        f" {image_size[0]} x {image_size[1]} (height x width)."
    )
    findings = [Finding("sizes", "fact", text)]
    ratios = np.array(heights) / np.array(widths)
    odd = np.abs(np.log(ratios / np.median(ratios))) > np.log(1.25)
    if odd.any():
        names = tuple(look.sample.name for look, is_odd in zip(looks, odd, strict=True) if is_odd)
        text = (
            f"{len(names)} of {len(looks)} images: another shape than most, stretched by a quarter or more."
        )
        findings.append(Finding("odd-shapes", "doubtful", text, names))
    return findings


def grey_findings(looks: Sequence[Look]) -> list[Finding]:
    """Tell the grey levels of the images, and which images are far from the others.

    Parameters
    ----------
    looks
        From `segdec.doctor.reading.look_at_all`.

    Returns
    -------
    list of Finding
    """
    means = np.array([look.mean for look in looks])
    deviations = np.array([look.deviation for look in looks])
    low, middle, high = np.percentile(means, [5, 50, 95])
    text = (
        f"Mean grey level {middle:.2f} of 1 (nine of ten images from {low:.2f} to {high:.2f}), contrast"
        f" {np.median(deviations):.2f}."
    )
    findings = [Finding("grey-levels", "fact", text)]
    empty = tuple(look.sample.name for look in looks if look.deviation < 1 / 255)
    if empty:
        text = f"{len(empty)} of {len(looks)} images: nothing is seen, all pixels are of one grey level."
        findings.append(Finding("empty", "wrong", text, empty))
    far = np.maximum(_distance(means), _distance(deviations)) > _FAR
    odd = tuple(
        f"{look.sample.name}: mean {look.mean:.2f}, contrast {look.deviation:.2f}"
        for look, is_far in zip(looks, far, strict=True)
        if is_far and look.sample.name not in empty
    )
    if odd:
        text = (
            f"{len(odd)} of {len(looks)} images: much brighter, darker, flatter or harsher than the others."
        )
        findings.append(Finding("grey-outliers", "doubtful", text, odd))
    return findings


def check_wish(max_escape: float, confidence: float) -> None:
    """Refuse a wish that cannot be.

    Parameters
    ----------
    max_escape, confidence
        What `wish_findings` takes.

    Raises
    ------
    ConfigError
        If one is no share in (0, 1).
    """
    for name, share, such in (
        ("--max-escape", max_escape, "0.05 for 5 %"),
        ("--confidence", confidence, "0.95 for 95 %"),
    ):
        if not 0 < share < 1:
            raise ConfigError(f"{name} must lie between 0 and 1, got {share}; write e.g. {such}")


def wish_findings(samples: Sequence[Sample], max_escape: float, confidence: float) -> list[Finding]:
    """Tell whether there are enough defective items to promise an escape rate.

    Parameters
    ----------
    samples
        Of the data set.
    max_escape, confidence
        Both in (0, 1), as `check_wish` has it.

    Returns
    -------
    list of Finding
        One.
    """
    needed = cases_needed(max_escape, confidence)
    parts = Counter(part for part, _ in {(s.part, s.group or s.name) for s in samples if s.label})
    published = next((part for part in reversed(PARTS) if parts[part]), None)
    count = parts[published] if published else sum(parts.values())
    sure = f"at {percent(confidence, exact=True)} confidence"
    wish = f"escapes of at most {percent(max_escape, exact=True)} {sure}"
    held = f"The {published} part has" if published else "The whole data set has"
    kept = "" if published else " and none of them trained on"
    if count >= needed:
        room = "" if published else f", if {needed} of them are kept out of training"
        text = f"{held} {count} defective items; {wish} take {needed} without a miss{room}."
        return [Finding("wish", "fact", text)]
    best = round_up(1 - (1 - confidence) ** (1 / count)) if count else 1.0
    text = (
        f"{held} {count} defective items; they support at most {percent(best)} escapes, even without a"
        f" miss{kept}. {wish[0].upper()}{wish[1:]} take {needed}."
    )
    return [Finding("wish", "doubtful", text)]


def _distance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = np.median(values)
    # a hundredth of the range at least: where all images are alike, none is odd for a trifle
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 0.01)
    return np.asarray(np.abs(values - middle) / spread)


def _span(values: Sequence[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _kind(looks: Sequence[Look]) -> str:
    return "grey" if all(look.grey for look in looks) else "in colour"
