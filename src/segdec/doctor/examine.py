"""Examine a data set: look at every image once, then ask what would go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segdec.doctor.duplicates import find_duplicates
from segdec.doctor.findings import Finding, Findings, sort_findings
from segdec.doctor.leaks import can_be_divided, duplicate_findings, leak_findings, twin_groups
from segdec.doctor.masks import mask_findings, vanishing_findings
from segdec.doctor.measure import Seen, measure
from segdec.doctor.numbers import balance_findings, check_wish, grey_findings, size_findings, wish_findings
from segdec.doctor.reading import look_at_all
from segdec.doctor.suspects import suspect_findings
from segdec.errors import DataError
from segdec.new_run import fitting_size
from segdec.types import Dataset, ImageSize

_TOO_FEW = Finding(
    "too-few-groups",
    "wrong",
    "Kept together, the groups that show the same would leave too few for train, val and test: each takes one"
    " with a defect and one with a good image. The plan leaves them apart, so a result is partly memory;"
    " collect more.",
)


def examine(
    dataset: Dataset,
    *,
    splits: Path | None = None,
    setting: str | None = None,
    run: Path | None = None,
    image_size: ImageSize | None = None,
    max_escape: float = 0.01,
    confidence: float = 0.95,
    watch: Callable[[int, int], None] | None = None,
) -> Findings:
    """Examine a data set.

    Parameters
    ----------
    dataset
        What to examine.
    splits
        A file of published splits; all of its folds are looked at.
    setting
        Only this setting of it; None looks at all.
    run
        A run that has been evaluated, or the joined folds of several: its scores tell suspect labels.
    image_size
        (height, width) that the network will see; None takes what training would choose.
    max_escape, confidence
        The share of defective parts that may escape, and how sure that is to hold, both in (0, 1).
    watch
        Called with (done, total) after each image.

    Returns
    -------
    Findings

    Raises
    ------
    DataError
        If no image can be read, the splits do not fit, or the run has no scores.
    ConfigError
        If a wish is no share in (0, 1).
    """
    check_wish(max_escape, confidence)  # what cannot be is refused now: reading takes long
    suspects = [] if run is None else suspect_findings(run, dataset.samples)
    looks, unreadable = look_at_all(dataset.samples, watch)
    if not looks:
        name, reason = next(iter(unreadable.items()), (str(dataset.root), "it holds no images"))
        raise DataError(f"no image of {dataset.root} can be read, such as {name}: {reason}")
    chosen = image_size or fitting_size([look.size for look in looks])
    pairs, scene = find_duplicates(looks)
    twins = twin_groups(dataset.samples, pairs)
    divided = any(sample.part for sample in dataset)
    too_few = bool(twins) and not divided and not can_be_divided(dataset.samples, twins)
    findings = [
        *_file_findings(dataset, unreadable),
        *leak_findings(dataset, pairs, splits, setting),
        *duplicate_findings(dataset.samples, pairs, scene),
        *([_TOO_FEW] if too_few else ()),
        *mask_findings(looks),
        *vanishing_findings(looks, chosen),
        *size_findings(looks, chosen),
        *grey_findings(looks),
        *balance_findings(dataset.samples),
        *wish_findings(dataset.samples, max_escape, confidence),
        *suspects,
    ]
    forms = [None if look.outline is None else look.outline.form for look in looks]
    seen = [Seen(look.sample, look.size, look.marked, form) for look, form in zip(looks, forms, strict=True)]
    measured = measure(
        seen,
        chosen,
        grey=all(look.grey for look in looks),
        divided=divided,
        together=() if too_few else twins,
    )
    return Findings(sort_findings(findings), measured)


def _file_findings(dataset: Dataset, unreadable: dict[str, str]) -> list[Finding]:
    lost = dataset.excluded | unreadable
    if not lost:
        return []
    total = len(dataset) + len(dataset.excluded)
    text = f"{len(lost)} of {total} images: unusable, training would leave them out."
    return [Finding("unreadable", "wrong", text, tuple(f"{name}: {why}" for name, why in lost.items()))]
