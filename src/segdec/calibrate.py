"""Choose a model's thresholds in the words of the factory, and write them into the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from segdec.certificate import export_targets, read_certificate
from segdec.data import FileCheck, check_files
from segdec.errors import DataError, ImageError, ModelError
from segdec.items import Items, score_items
from segdec.judged import samples_to_judge
from segdec.model_card import Calibration
from segdec.model_io import OTHERS, model_folder, read_hashes, write_calibration
from segdec.operating_point import OperatingPoint, choose_thresholds, refuse_one_class
from segdec.predict import Predictor, Unreadable, predict_files
from segdec.types import Sample
from segdec.wish import Wish

_BOUND = "exact binomial bound on order statistics"
_COST = "lowest expected cost; exact binomial bounds at all thresholds at once"


def calibrate(
    model: Path, data: Path | None, wish: Wish, watch: Callable[[int, int], None] | None = None
) -> Calibration:
    """Choose a model's thresholds on data that it has not seen, and write them into its model.json.

    Every image counts: one that cannot be read, or whose label cannot be told, ends the calibration, as a
    bound that leaves parts out says nothing about them.

    Parameters
    ----------
    model
        A run folder, or a model folder.
    data
        The data set, as in `segdec.evaluate.evaluate_run`: of the run's own data (also where it is None)
        the test part of its split, else the published test part, or all.
    wish
        What the factory asks for.
    watch
        Called with (images read or scored, of twice their number).

    Returns
    -------
    Calibration
        As written.

    Raises
    ------
    UnsupportedError
        If the data are too few for the wish.
    DataError
        If an image took part in the training, be it of a model that this one comes from, stands for two
        items or cannot be used, or a class is missing.
    ModelError
        If the folder holds no model.
    OutputError
        If model.json cannot be written; it is then as before.
    """
    predictor = Predictor(model)
    samples, excluded, _ = samples_to_judge(model, data)
    _refuse_left_out(excluded)
    tell = watch or (lambda _done, _of: None)
    check = check_files(samples, strict=True, progress=lambda n, of: tell(n, 2 * of))
    seen = read_hashes(model)
    says_all = seen is not None and OTHERS not in seen
    _refuse_seen(check, seen or frozenset())
    _refuse_copies(samples, check)
    labels = [sample.label for sample in samples]
    refuse_one_class(score_items(labels, labels, [_item(sample) for sample in samples]))  # scoring takes long
    items = _score(predictor, samples, lambda n, of: tell(of + n, 2 * of))
    point = choose_thresholds(items, wish)
    calibration = _record(point, wish, samples, check, disjoint=says_all)
    write_calibration(model, calibration, check.image_hashes.values())
    return calibration


def refused_exports(model: Path, calibration: Calibration) -> tuple[str, ...]:
    """Name what a model has to be exported to anew, as its exports were certified at other thresholds.

    Parameters
    ----------
    model
        A run folder, or a model folder.
    calibration
        Its own.

    Returns
    -------
    tuple of str
        Targets of `segdec export --to`; empty where every certified export may still be used.

    Raises
    ------
    ModelError
        If there is no model.
    """
    folder = model_folder(model)
    try:
        found = read_certificate(folder)
    except ModelError:
        return ()  # damaged: it has certified nothing
    if found is None or found.thresholds == (calibration.threshold, calibration.review_threshold):
        return ()
    return export_targets([check for check in found.checks if check.passed])


def _refuse_left_out(excluded: dict[str, str]) -> None:
    if excluded:
        name, reason = next(iter(excluded.items()))
        raise DataError(
            f"{len(excluded)} files of the calibration data cannot be used ({name}: {reason}); a bound that"
            " leaves parts out says nothing about them: correct or remove them"
        )


def _refuse_seen(check: FileCheck, seen: frozenset[str]) -> None:
    overlap = [name for name, value in check.image_hashes.items() if value in seen]
    if overlap:
        raise DataError(
            f"{len(overlap)} of {len(check.image_hashes)} calibration images took part in the model's"
            f" training, or in that of a model that it comes from ({overlap[0]} is the first); no bound can"
            " be had from them: calibrate on other images"
        )


def _refuse_copies(samples: Sequence[Sample], check: FileCheck) -> None:
    """Refuse an image that stands for two items: copies are not independent."""
    owners: dict[str, Sample] = {}
    for sample in samples:
        first = owners.setdefault(check.image_hashes[sample.name], sample)
        if _item(first) != _item(sample):
            raise DataError(
                f"{first.name} and {sample.name} are the same image, but stand for two parts, which would"
                " make the bound look better than it is; remove one, or give both the same group"
            )


def _score(predictor: Predictor, samples: Sequence[Sample], watch: Callable[[int, int], None]) -> Items:
    scores = []
    for result in predict_files(predictor, [sample.image for sample in samples]):
        if isinstance(result, Unreadable):
            raise ImageError(result.reason)
        scores.append(result.score)
        watch(len(scores), len(samples))
    return score_items([sample.label for sample in samples], scores, [_item(sample) for sample in samples])


def _item(sample: Sample) -> str:
    return sample.group or sample.name


def _record(
    point: OperatingPoint, wish: Wish, samples: Sequence[Sample], check: FileCheck, *, disjoint: bool
) -> Calibration:
    return Calibration(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        data_hash=check.data_hash,
        images=len(samples),
        items="groups" if len({_item(sample) for sample in samples}) < len(samples) else "images",
        disjoint=disjoint,
        wish=wish.given(),
        confidence=wish.confidence,
        method=_BOUND if wish.cost_escape is None else _COST,
        threshold=point.threshold,
        review_threshold=point.review_threshold,
        defective=point.escapes.of,
        good=point.overkill.of,
        escapes=point.escapes.count,
        escape_bound=point.escapes.bound,
        overkill=point.overkill.count,
        overkill_bound=point.overkill.bound,
        review_share=point.review_share,
        cost=point.cost,
        cost_bound=point.cost_bound,
    )
