"""Divide a data set into training, validation and test part; no group stands in two of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segdec.config import DataConfig
from segdec.data.splits_file import ListedFold, read_splits_file
from segdec.data.supervision import limit_supervision
from segdec.errors import ConfigError, DataError
from segdec.files import atomic_write
from segdec.types import PARTS, Dataset, Part, Sample, Split

_ATTEMPTS = 100
"""Seeded shuffles tried until every part holds both classes; the first is nearly always good."""


def make_split(dataset: Dataset, config: DataConfig, seed: int) -> Split:
    """Divide a data set.

    The first that applies: a splits file (``config.splits``); the parts that the data set's authors
    published; folds of a cross-validation (``config.folds``); seeded shares. Shares are counted in
    groups, with and without defects apart, and every part gets both classes. Groups that
    ``config.together`` names count as one; a splits file that divides them is followed for the first of
    them, and the others stand where it does (training, test or neither).

    Parameters
    ----------
    dataset
        What to divide. Samples that a published split does not name are left out.
    config
        ``splits``, ``setting``, ``fold``, ``folds``, ``val_fraction``, ``test_fraction``,
        ``test_images``, ``together``, ``positives`` and ``masked_positives``.
    seed
        Decides the shuffles; the same seed gives the same split.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        If there are too few groups of a class, or a published split does not fit the data set.
    ConfigError
        If the fold or setting does not exist.
    """
    if config.splits is None:
        dataset = replace(dataset, samples=tuple(_as_one(dataset.samples, config.together)))
    train, val, test, origin = _take_test(dataset, config, seed)
    if not val and config.val_fraction:
        # a stream of its own: val does not depend on how many numbers the test part took
        train, val = _carve(train, config.val_fraction, np.random.default_rng([seed, 1]), "val")
        origin += f", val a share of {config.val_fraction:g} of train"
    train, limits = limit_supervision(train, config, seed)
    split = Split(tuple(train), tuple(val), tuple(test), origin + limits)
    _check(split, dataset)
    return split


def _take_test(
    dataset: Dataset, config: DataConfig, seed: int
) -> tuple[list[Sample], list[Sample], list[Sample], str]:
    """Divide the data set as far as the test part goes; return train, val (if published), test, origin."""
    generator = np.random.default_rng([seed, 0])
    to_fill = 2 if config.val_fraction else 1  # parts that the test part leaves groups for
    val: list[Sample] = []
    if config.splits is not None:
        listed = published_fold(config)
        train, test = (_as_one(part, config.together) for part in _take_listed(dataset, listed))
        origin = listed.origin
    elif any(sample.part for sample in dataset):
        if config.folds:
            raise ConfigError(
                f"data.folds is {config.folds}, but {dataset.root} has published parts; set it to 0"
            )
        train, val, test = ([s for s in dataset if s.part == part] for part in PARTS)
        origin = "published parts"
        if not test:
            train, test = _carve_test(train, config, generator, 1 if val else to_fill)
            origin += f", test seeded with {seed}"
    elif config.folds:
        train, test = _take_fold(dataset, config, generator)
        origin = f"seeded with {seed}, fold {config.fold} of {config.folds}"
    else:
        train, test = _carve_test(dataset.samples, config, generator, to_fill)
        origin = f"seeded with {seed}"
    return train, val, test, origin


def published_fold(config: DataConfig) -> ListedFold:
    """Return one fold of a splits file, as far as it goes without the data.

    Parameters
    ----------
    config
        ``splits``, which must name a file, ``setting``, ``fold`` and ``together``.

    Returns
    -------
    ListedFold
        With the groups of one thing where the first of them stands.

    Raises
    ------
    DataError
        If there is no such file, or it holds no splits.
    ConfigError
        If the fold or setting does not exist.
    """
    if config.splits is None:
        raise DataError("data.splits names no file; set it to one")
    return _reunite(read_splits_file(config.splits, config.setting, config.fold), config.together)


def save_split(split: Split, path: str | Path) -> None:
    """Write a split as JSON, in whole or not at all.

    Parameters
    ----------
    split
        What `make_split` made.
    path
        Where to; an existing file is replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    content: dict[str, object] = {"origin": split.origin}
    content |= {part: [sample.name for sample in split.part(part)] for part in PARTS}
    content["weak"] = [sample.name for part in PARTS for sample in split.part(part) if sample.weak]
    atomic_write(Path(path), (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def load_split(path: str | Path, dataset: Dataset, together: Sequence[Sequence[str]] = ()) -> Split:
    """Read a split that `save_split` wrote.

    Parameters
    ----------
    path
        The JSON file.
    dataset
        The data set that it divides.
    together
        Groups that count as one, as in the configuration that the split was made with.

    Returns
    -------
    Split
        Of the data set's samples; those named under "weak" come without their mask.

    Raises
    ------
    DataError
        If the file cannot be read or names samples that the data set lacks.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        origin = str(content["origin"])
        names = {part: [str(name) for name in content[part]] for part in PARTS}
        weak = {str(name) for name in content["weak"]}
    except OSError as error:
        raise DataError(f"cannot read the split {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no split of this program ({error!r}); train anew to write one") from error
    by_name = {sample.name: sample for sample in _as_one(dataset.samples, together)}
    wanted = [name for part in PARTS for name in names[part]]
    _refuse_missing([name for name in wanted if name not in by_name], str(path), dataset)

    def pick(part: Part) -> tuple[Sample, ...]:
        chosen = (by_name[name] for name in names[part])
        return tuple(sample.without_mask() if sample.name in weak else sample for sample in chosen)

    return Split(pick("train"), pick("val"), pick("test"), origin)


def _take_listed(dataset: Dataset, listed: ListedFold) -> tuple[list[Sample], list[Sample]]:
    by_item: dict[str, list[Sample]] = defaultdict(list)
    stems = Counter(Path(sample.name).stem for sample in dataset)
    for sample in dataset:
        # an item is a physical part where the data set has such, otherwise one image
        items = {sample.group, sample.name} - {""}
        stem = Path(sample.name).stem
        for item in items | {stem} if stems[stem] == 1 else items:
            by_item[item].append(sample)
    named = [*listed.train, *listed.test]
    _refuse_missing([item for item in named if item not in by_item], listed.origin, dataset)
    train = [
        sample if has_masks or not sample.label else sample.without_mask()
        for item, has_masks in listed.train.items()
        for sample in by_item[item]
    ]
    return train, [sample for item in listed.test for sample in by_item[item]]


def _reunite(listed: ListedFold, together: Sequence[Sequence[str]]) -> ListedFold:
    """Let the groups of one thing stand where the first of them stands, in every fold alike.

    So a cross-validation still judges each of them once.
    """
    train, test = dict(listed.train), list(listed.test)
    for first, *others in together:
        for other in others:
            train.pop(other, None)
            test = [item for item in test if item != other]
            if first in train:
                train[other] = train[first]
            elif first in test:
                test.append(other)
    return replace(listed, train=train, test=tuple(test))


def _as_one(samples: Sequence[Sample], together: Sequence[Sequence[str]]) -> list[Sample]:
    first_of = {other: first for first, *others in together for other in others}
    return [replace(sample, group=first_of.get(sample.group, sample.group)) for sample in samples]


def _refuse_missing(missing: list[str], where: str, dataset: Dataset) -> None:
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"the split ({where}) names {', '.join(missing[:5])}{more}, which {dataset.root}"
            f" ({dataset.layout}, {len(dataset)} images) does not hold; use the data set that the split"
            " was made for"
        )


def _carve_test(
    samples: Sequence[Sample], config: DataConfig, generator: np.random.Generator, to_fill: int
) -> tuple[list[Sample], list[Sample]]:
    """Take the test part out: a share, or a fixed number of groups of each class."""
    if config.test_images is None:
        return _carve(samples, config.test_fraction, generator, "test", to_fill)
    strata = _strata(samples)
    if any(len(groups) - count < to_fill for count, groups in zip(config.test_images, strata, strict=True)):
        raise DataError(
            f"data.test_images is {list(config.test_images)}, [defective, good], but there are"
            f" {_describe_strata(samples)}, of which {to_fill} each must be left; choose fewer"
        )
    taken: set[str] = set()
    for count, groups in zip(config.test_images, strata, strict=True):
        taken |= set(generator.permutation(groups)[:count].tolist())
    return _by_groups(samples, taken)


def _carve(
    samples: Sequence[Sample], fraction: float, generator: np.random.Generator, part: Part, to_fill: int = 1
) -> tuple[list[Sample], list[Sample]]:
    """Take a share of the groups out, leaving enough for the parts to fill; return (rest, taken)."""
    if not fraction:
        return list(samples), []
    strata = _strata(samples)
    for _ in range(_ATTEMPTS):
        taken: set[str] = set()
        for groups in strata:
            count = min(max(1, round(fraction * len(groups))), len(groups) - to_fill)
            if count > 0:
                taken |= set(generator.permutation(groups)[:count].tolist())
        rest, share = _by_groups(samples, taken)
        if _has_both(rest) and _has_both(share):
            return rest, share
    parts = f"train and {part}" if to_fill == 1 else f"train, val and {part}"
    raise DataError(
        f"{parts} cannot all get images of both classes: there are {_describe_strata(samples)} to divide; add"
        f" images or set data.{'val' if to_fill == 2 else part}_fraction to 0"
    )


def _take_fold(
    dataset: Dataset, config: DataConfig, generator: np.random.Generator
) -> tuple[list[Sample], list[Sample]]:
    """Deal the groups of each class out to the folds in turn; return (train, test) of one fold."""
    if config.fold is None or config.fold >= config.folds:
        raise ConfigError(
            f"data.fold is {config.fold}, but data.folds is {config.folds}; choose 0 to {config.folds - 1}"
        )
    strata = _strata(dataset.samples)
    for _ in range(_ATTEMPTS if config.folds > 1 else 0):
        dealt = [group for groups in strata for group in generator.permutation(groups).tolist()]
        folds = [set(dealt[first :: config.folds]) for first in range(config.folds)]
        divided = [_by_groups(dataset.samples, fold) for fold in folds]
        # every fold is judged, whichever is asked for, so that the folds stay those of one division
        if all(_has_both(train) and _has_both(test) for train, test in divided):
            return divided[config.fold]
    raise DataError(
        f"{config.folds} folds cannot all get images of both classes: {dataset.root} holds"
        f" {_describe_strata(dataset.samples)}; choose from 2 to as many folds as the rarer class has groups"
    )


def _group(sample: Sample) -> str:
    return sample.group or sample.name


def _strata(samples: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Return the groups with a defect and those without, each in a fixed order."""
    defective = {_group(sample) for sample in samples if sample.label}
    return sorted(defective), sorted({_group(sample) for sample in samples} - defective)


def _describe_strata(samples: Sequence[Sample]) -> str:
    defective, good = _strata(samples)
    return f"{len(defective)} groups with a defect and {len(good)} without"


def _by_groups(samples: Sequence[Sample], taken: set[str]) -> tuple[list[Sample], list[Sample]]:
    rest = [sample for sample in samples if _group(sample) not in taken]
    return rest, [sample for sample in samples if _group(sample) in taken]


def _has_both(samples: Sequence[Sample]) -> bool:
    return len({sample.label for sample in samples}) == 2


def _check(split: Split, dataset: Dataset) -> None:
    if not _has_both(split.train):
        defective = sum(sample.label for sample in split.train)
        raise DataError(
            f"the train part of {dataset.root} ({split.origin}) needs images with and without a defect, got"
            f" {defective} with and {len(split.train) - defective} without; choose another split"
        )
    home: dict[str, Part] = {}
    for part in PARTS:
        for sample in split.part(part):
            first = home.setdefault(_group(sample), part)
            if first != part:
                raise DataError(
                    f"the group {_group(sample)} stands in the {first} and the {part} part of {dataset.root};"
                    " a physical item belongs to one part, so correct the split"
                )
