"""Which images a person could mask or label next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdec.config import DataConfig, load_config
from segdec.data import open_dataset
from segdec.data.folders import find_masks
from segdec.data.open import LAYOUTS
from segdec.data.scan import list_images, map_in_threads, name_below
from segdec.errors import DataError
from segdec.files import sha256
from segdec.model_io import read_hashes
from segdec.runs import open_run_on
from segdec.types import Dataset, Part, Sample, Split

_TRAINED = "it took part in the training"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that a person could mask or label next.

    Attributes
    ----------
    name
        Its path below the folder or data set.
    image
        The file.
    defective
        True where it is labelled defective and only its mask is missing; False where nobody has judged it.
    """

    name: str
    image: Path
    defective: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """What can be chosen from.

    Attributes
    ----------
    candidates
        At least one, in a fixed order.
    masked
        Images of defects that have their masks already: what looks like them teaches little.
    left_out
        Name -> reason, of the images that are no candidates although they might be taken for some.
    """

    candidates: tuple[Candidate, ...]
    masked: tuple[Path, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def find_pool(model: Path, source: Path) -> Pool:
    """List the images that could be masked or labelled next.

    Parameters
    ----------
    model
        A run folder, or a model folder. Images that took part in its training are left out, unless all that
        was known of them is that they are defective.
    source
        A data set: its defective images without a mask, and those that nobody has labelled; if it is the
        run's own, without those of its validation and test part, where a mask teaches nothing. Or any other
        folder of images, with the folders below it.

    Returns
    -------
    Pool

    Raises
    ------
    DataError
        If there is no image to choose.
    ModelError
        If the folder holds no model.
    """
    seen = read_hashes(model) or frozenset()
    if any(layout.looks_like(source) for layout in LAYOUTS):
        recipe = model / "config.toml"
        config = load_config(recipe).data if recipe.exists() else DataConfig()
        pool = _of_dataset(open_dataset(source, config, one_class=True), _own_split(model, source), seen)
    else:
        pool = _of_folder(source, seen)
    if not pool.candidates:
        raise DataError(_nothing_left(source, pool.left_out))
    return pool


def pool_of(samples: Iterable[Sample]) -> Pool:
    """Return what can be chosen among labelled samples: the defective ones without a mask.

    Parameters
    ----------
    samples
        Such as the training part of a split.

    Returns
    -------
    Pool
        Perhaps without any candidate.
    """
    defective = [sample for sample in samples if sample.label]
    return Pool(
        tuple(Candidate(sample.name, sample.image, True) for sample in defective if sample.weak),
        tuple(sample.image for sample in defective if not sample.weak),
    )


def _own_split(model: Path, source: Path) -> Split | None:
    """Return the split of a run if the data set is the one that it was trained on."""
    if not (model / "config.toml").exists():
        return None
    run = open_run_on(model, source)
    return None if run is None else run.split


def _of_dataset(dataset: Dataset, split: Split | None, seen: frozenset[str]) -> Pool:
    parts: dict[str, Part] = {}
    if split is not None:
        others: tuple[Part, ...] = ("val", "test")
        parts = {sample.name: part for part in others for sample in split.part(part)}
    labelled = pool_of(sample for sample in dataset if sample.name not in parts)
    left_out = {
        sample.name: f"it stands in the {parts[sample.name]} part of the run's split"
        for sample in dataset
        if sample.weak and sample.name in parts
    }
    base = dataset.root if dataset.root.is_dir() else dataset.root.parent
    fresh, trained = _unseen(base, dataset.unlabelled, seen)
    return Pool((*labelled.candidates, *fresh), labelled.masked, left_out | trained)


def _of_folder(folder: Path, seen: frozenset[str]) -> Pool:
    if not folder.is_dir():
        what = "is a file, but no data set" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}; name a folder of images, or a data set")
    images = list_images(folder, deep=True)
    if not images:
        raise DataError(f"the folder {folder} holds no image; name another folder")
    masks = find_masks(folder, images)  # told from images by their names, as in training
    fresh, trained = _unseen(folder, [path for path in images if path not in masks], seen)
    named = {name_below(folder, path): "it is a mask by its name" for path in sorted(masks)}
    return Pool(fresh, (), trained | named)


def _unseen(
    base: Path, images: Sequence[Path], seen: frozenset[str]
) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Tell the images that took no part in the training from those that did."""
    named = [(name_below(base, path) if base in path.parents else str(path), path) for path in images]
    trained = list(map_in_threads(lambda each: bool(seen) and _hash(each[1]) in seen, named))
    told = list(zip(named, trained, strict=True))
    fresh = tuple(Candidate(name, path) for (name, path), known in told if not known)
    return fresh, {name: _TRAINED for (name, _), known in told if known}


def _hash(path: Path) -> str:
    try:
        return sha256(path.read_bytes())
    except OSError:
        return ""  # whoever decodes it says what is wrong


def _nothing_left(source: Path, left_out: dict[str, str]) -> str:
    if not left_out:
        return (
            f"{source} holds no image to choose: each defective one has a mask, and none is unlabelled; name"
            " a folder of images that nobody has labelled yet"
        )
    if all(reason == _TRAINED for reason in left_out.values()):
        return (
            f"all {len(left_out)} images in {source} took part in the training; name the whole data set to"
            " rank its defective images without a mask, or a folder of other images"
        )
    name, reason = next(iter(left_out.items()))
    return f"{source} holds no image to choose: {len(left_out)} are left out ({name}: {reason})"
