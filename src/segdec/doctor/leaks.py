"""Where images that show the same stand: in which groups, with which labels, on which sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from segdec.config import DataConfig
from segdec.data.splits import make_split
from segdec.data.splits_file import list_folds, read_splits_file
from segdec.doctor.duplicates import Pair
from segdec.doctor.findings import Finding
from segdec.types import PARTS, Dataset, Part, Sample, Split


def connect(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Join pairs that share a member.

    Parameters
    ----------
    pairs
        Any names.

    Returns
    -------
    list of tuple of str
        Sorted sets of names, each with two members or more.

    Examples
    --------
    >>> connect([("a", "b"), ("c", "d"), ("b", "e")])
    [('a', 'b', 'e'), ('c', 'd')]
    """
    home: dict[str, set[str]] = {}
    for one, other in pairs:
        joined = home.get(one, {one}) | home.get(other, {other})
        home |= dict.fromkeys(joined, joined)
    return sorted({tuple(sorted(members)) for members in home.values() if len(members) > 1})


def twin_groups(samples: Sequence[Sample], pairs: Sequence[Pair]) -> tuple[tuple[str, ...], ...]:
    """Return the groups that show the same thing, each set of them once."""
    group = {sample.name: sample.group or sample.name for sample in samples}
    return tuple(connect((group[pair.one], group[pair.other]) for pair in pairs))


def can_be_divided(samples: Sequence[Sample], together: Sequence[Sequence[str]]) -> bool:
    """Tell whether enough groups are left for train, val and test where some are kept together.

    Parameters
    ----------
    samples
        Of the data set.
    together
        From `twin_groups`.

    Returns
    -------
    bool
        True where each of the three can have a group with a defect and one with a good image.
    """
    home = {other: groups[0] for groups in together for other in groups}
    left: dict[bool, set[str]] = {True: set(), False: set()}
    for sample in samples:
        group = sample.group or sample.name
        left[sample.label].add(home.get(group, group))
    return all(len(groups) >= len(PARTS) for groups in left.values())


def duplicate_findings(
    samples: Sequence[Sample], pairs: Sequence[Pair], scene: Sequence[str]
) -> list[Finding]:
    """Tell which images show the same, and whether that crosses groups or labels.

    Parameters
    ----------
    samples
        Of the data set.
    pairs, scene
        From `segdec.doctor.duplicates.find_duplicates`.

    Returns
    -------
    list of Finding
    """
    by_name = {sample.name: sample for sample in samples}
    findings = []
    for exact, words in ((True, "the same to the pixel"), (False, "nearly the same")):
        chosen = [pair for pair in pairs if pair.exact is exact]
        if chosen:
            kind = "duplicates" if exact else "near-duplicates"
            text = f"{len(chosen)} pairs of images are {words}. Each picture should be there once."
            findings.append(Finding(kind, "doubtful", text, tuple(_words(pair) for pair in chosen)))
    if scene:
        text = (
            f"{len(scene)} of {len(samples)} images agree with many others: parts in a fixture, or one part"
            " many times. Only pairs that stand out from that are called nearly the same. Give images of one"
            " part one group."
        )
        findings.append(Finding("one-scene", "doubtful", text, tuple(scene)))
    twins = _count_by_groups(by_name, pairs)
    if twins:
        text = (
            f"{len(twins)} pairs of groups show the same thing under two names. Keep them on one side of"
            f" every split: --set 'data.together={_as_setting(twin_groups(samples, pairs))}'"
        )
        items = tuple(f"{one} = {other}: {count} images" for (one, other), count in twins.items())
        findings.append(Finding("twins", "wrong", text, items))
    disputed = [pair for pair in pairs if by_name[pair.one].label != by_name[pair.other].label]
    if disputed:
        text = (
            f"{len(disputed)} pairs of images show the same, and one is labelled good, the other defective."
        )
        findings.append(Finding("disputed-labels", "wrong", text, tuple(_words(pair) for pair in disputed)))
    return findings


def leak_findings(
    dataset: Dataset, pairs: Sequence[Pair], splits: Path | None, setting: str | None
) -> list[Finding]:
    """Tell which folds have the same picture on two sides.

    Parameters
    ----------
    dataset
        What was examined.
    pairs
        From `segdec.doctor.duplicates.find_duplicates`.
    splits
        A file of published splits, all of whose folds are looked at; None looks at the data set's own parts.
    setting
        Only this setting of the file; None looks at all.

    Returns
    -------
    list of Finding
        One for each set of twins, or none.

    Raises
    ------
    DataError
        If the splits do not fit the data set.
    """
    if not pairs:
        return []
    group = {sample.name: sample.group or sample.name for sample in dataset}
    leaks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place, part_of in _divisions(dataset, splits, setting):
        seen = set()
        for pair in pairs:
            one, other = part_of.get(pair.one), part_of.get(pair.other)
            if one is not None and other is not None and one != other:
                seen.add((group[pair.one], group[pair.other], one, other))
        for first, second, one, other in sorted(seen):
            leaks[first, second].append(f"{place}: {first} in {one}, {second} in {other}")
    return [
        Finding(
            "leak",
            "wrong",
            f"{first} and {second} show the same and stand on two sides of a split ({len(places)} times)."
            " A result there is partly memory, so it is too good.",
            tuple(places),
        )
        for (first, second), places in sorted(leaks.items())
    ]


def _divisions(
    dataset: Dataset, splits: Path | None, setting: str | None
) -> Iterable[tuple[str, dict[str, Part]]]:
    if splits is None:
        if any(sample.part for sample in dataset):
            yield "published parts", {s.name: s.part for s in dataset if s.part is not None}
        return
    folds = list_folds(splits)
    if setting is not None and not any(name in (setting, "") for name, _ in folds):
        read_splits_file(splits, setting, 0)  # raises, and names the settings there are
    for name, fold in folds:
        if setting in (None, name) or not name:
            config = DataConfig(splits=str(splits), setting=name, fold=fold, val_fraction=0.0)
            split = make_split(dataset, config, seed=0)
            yield f"{name} fold {fold}".strip(), _parts(split)


def _parts(split: Split) -> dict[str, Part]:
    return {sample.name: part for part in PARTS for sample in split.part(part)}


def _count_by_groups(by_name: dict[str, Sample], pairs: Sequence[Pair]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for pair in pairs:
        one, other = (by_name[name].group for name in (pair.one, pair.other))
        # an image that is its own group is no item with several pictures: the pair itself says it all
        if one != other and {one, other}.isdisjoint({pair.one, pair.other, ""}):
            counts[one, other] += 1
    return dict(sorted(counts.items()))


def _as_setting(twins: Sequence[Sequence[str]]) -> str:
    return "[" + ", ".join("[" + ", ".join(f'"{name}"' for name in each) + "]" for each in twins) + "]"


def _words(pair: Pair) -> str:
    how = f", mirrored {pair.flip}" if pair.flip else ""
    return f"{pair.one} = {pair.other}{how}" + ("" if pair.exact else f" (agreement {pair.agreement:.2f})")
