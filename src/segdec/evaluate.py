"""Predictions -> Evaluation: what a model is worth on data that it has not seen.

Thresholds come with the model, chosen on validation data; nothing here chooses one, save
``best_f1_on_test``, which is the reference's figure and carries its flaw in its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdec.contact_sheet import Tile, draw_contact_sheet
from segdec.errors import DataError, ImageError, ModelError
from segdec.evaluation import Evaluation, Row, columns, to_csv, to_json
from segdec.figures import image_metrics, item_shares, mean_intervals, pixel_metrics
from segdec.files import atomic_write
from segdec.imaging import (
    DEFECT,
    GOOD,
    UNKNOWN,
    full_score_map,
    read_image,
    read_marks,
    resize_image,
    resize_mask,
)
from segdec.judged import Judged, look_at_judged, samples_to_judge
from segdec.mistakes import Mistake, Mistakes, picture
from segdec.pixel_metrics import PixelTally
from segdec.plots import draw_curves
from segdec.predict import Predictor, predict_files
from segdec.score_axis import above
from segdec.types import Prediction, Sample, Shapes

TILES = 6
"""So many defective and so many good images stand in the contact sheet."""

_TILE_SIDE = 448
"""Longest side of an image in the contact sheet, in pixels."""


def evaluate_predictions(
    pairs: Iterable[tuple[Sample, Prediction | ImageError]],
    threshold: float,
    pixel_threshold: float,
    part: str = "test",
    review_threshold: float | None = None,
) -> Evaluation:
    """Compare predictions with the truth, one image at a time.

    A score map may be forgotten as soon as the next pair is asked for.

    Parameters
    ----------
    pairs
        Each sample with its prediction, or with the reason why there is none.
    threshold
        decision = score >= threshold; chosen on validation data.
    pixel_threshold
        The same for pixels.
    part
        What is judged: "test", or the name of a fold.
    review_threshold
        From here on, below ``threshold``, a person decides; None leaves all decisions to the model.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If no image is left to judge.
    ModelError
        If a score is not a number in [0, 1].
    """
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    tally = PixelTally(pixel_threshold)
    tiles: list[Tile] = []
    mistakes = Mistakes()
    without_mask = 0
    for sample, prediction in pairs:
        if isinstance(prediction, ImageError):
            skipped[sample.name] = str(prediction)
            continue
        _check_scores(sample, prediction)
        decision = prediction.score >= threshold
        review = review_threshold is not None and review_threshold <= prediction.score < threshold
        group = sample.group or sample.name
        row = Row(sample.name, sample.label, prediction.score, threshold, decision, part, group, review)
        rows.append(row._replace(types=sample.types))
        marks = None
        try:
            marks = _marks(sample, prediction)
        except ImageError as error:
            skipped[sample.name] = f"judged without its mask: {error}"
        mask = None if marks is None else marks >= DEFECT
        if marks is None or mask is None:
            without_mask += 1
        else:
            tally.add(prediction.score_map, mask, caught=decision, known=marks != UNKNOWN)
        tiles = _with_tile(tiles, rows[-1], sample, prediction, mask)
        if decision != sample.label and not review:
            mistakes = mistakes.added(_mistake(rows[-1], sample, prediction, mask, pixel_threshold))
    if not rows:
        first = next(iter(skipped.values()), "there are no images")
        raise DataError(f"nothing to evaluate: {len(skipped)} images skipped, none left ({first})")
    thresholds, pixel_thresholds = {part: threshold}, {part: pixel_threshold}
    evaluation = _summarise(rows, tally, tiles, thresholds, pixel_thresholds, without_mask, skipped)
    reviewed = {} if review_threshold is None else {part: review_threshold}
    return replace(evaluation, mistakes=mistakes, review_thresholds=reviewed)


def evaluate_run(
    folder: Path,
    data: Path | None = None,
    part: str | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict and judge the test part of a run, or a whole data set.

    Parameters
    ----------
    folder
        A run folder, or a model folder.
    data
        None judges the test part of the run's own split. A data set judges its published test part, or
        all of it where none is published.
    part
        Name of what is judged, for the rows; "test", or the name of data that are not the run's own, if left
        out.
    watch
        Called with (images read or judged, of twice their number).

    Returns
    -------
    Evaluation
        Its ``judged`` says whether the model was calibrated or trained on what judges it; its ``skipped``
        names what the data set's reader left out, too.

    Raises
    ------
    DataError
        If there is nothing to judge.
    ModelError
        If the folder holds no model.
    """
    predictor = Predictor(folder)
    samples, excluded, own = samples_to_judge(folder, data)
    if part is None:
        part = "test" if own or data is None else _name_of(data.resolve())
    tell = watch or (lambda _done, _of: None)
    judged = look_at_judged(folder, samples, part, lambda n, of: tell(n, 2 * of))

    def pairs() -> Iterator[tuple[Sample, Prediction | ImageError]]:
        found = predict_files(predictor, [sample.image for sample in samples])
        for done, (sample, prediction) in enumerate(zip(samples, found, strict=True), start=1):
            if isinstance(prediction, Prediction):
                # what is judged are the image's own pixels
                yield sample, replace(prediction, score_map=full_score_map(prediction), size=None)
            else:
                yield sample, ImageError(prediction.reason)
            tell(len(samples) + done, 2 * len(samples))

    evaluation = evaluate_predictions(
        pairs(), predictor.threshold, predictor.pixel_threshold, part, predictor.review_threshold
    )
    return replace(evaluation, judged=judged, skipped=excluded | evaluation.skipped)


def _name_of(data: Path) -> str:
    """Name data that are not a run's own, whose test part alone is called "test"."""
    return data.stem if data.stem != "test" else f"{data.parent.name}-test"


def join_folds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Join the folds of a cross-validation, each judged by its own model and threshold.

    The metrics are those of all images pooled: ``image.ap`` ranks the scores of different models
    together. `Evaluation.ap_mean` is the mean over the folds, with an interval, and ``folds`` holds each
    fold's own.

    Parameters
    ----------
    evaluations
        One per fold, each under a part name of its own.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If there are no folds, two have the same name, or an image stands in two of them.
    """
    if not evaluations:
        raise DataError("there are no folds to join; give at least one evaluation")
    seen: dict[str, str] = {}
    for evaluation in evaluations:
        if twice := next((row for row in evaluation.rows if row.name in seen), None):
            raise DataError(
                f"{twice.name} is judged in {seen[twice.name]} and in {twice.part}, but folds share no image;"
                " give the runs of one cross-validation"
            )
        seen |= {row.name: row.part for row in evaluation.rows}
    folds = {next(iter(evaluation.thresholds)): evaluation.image for evaluation in evaluations}
    if len(folds) < len(evaluations):
        raise DataError(f"{len(evaluations)} folds have only {len(folds)} names ({', '.join(folds)}); rename")
    tally = reduce(PixelTally.merged, (evaluation.tally for evaluation in evaluations))
    rows = [row for evaluation in evaluations for row in evaluation.rows]
    joined = _summarise(
        rows,
        tally,
        _closest([tile for evaluation in evaluations for tile in evaluation.tiles]),
        {fold: value for evaluation in evaluations for fold, value in evaluation.thresholds.items()},
        {fold: value for evaluation in evaluations for fold, value in evaluation.pixel_thresholds.items()},
        sum(evaluation.without_mask for evaluation in evaluations),
        {name: reason for evaluation in evaluations for name, reason in evaluation.skipped.items()},
    )
    mistakes = reduce(Mistakes.merged, (evaluation.mistakes for evaluation in evaluations))
    review = {fold: value for each in evaluations for fold, value in each.review_thresholds.items()}
    judged = reduce(Judged.merged, (evaluation.judged for evaluation in evaluations))
    ap, auroc = mean_intervals({fold: each.rows for fold, each in zip(folds, evaluations, strict=True)})
    return replace(
        joined,
        folds=folds,
        mistakes=mistakes,
        review_thresholds=review,
        judged=judged,
        ap_mean_interval=ap,
        auroc_mean_interval=auroc,
    )


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write metrics.json, scores.csv, curves.png and contact_sheet.png.

    Parameters
    ----------
    evaluation
        What to write.
    folder
        Where to; it is made if missing, and files of these names are replaced.

    Raises
    ------
    OutputError
        If a file cannot be written.
    MissingExtraError
        If matplotlib is not installed; the two text files are written then.
    """
    atomic_write(folder / "scores.csv", (to_csv(evaluation.rows)).encode())
    atomic_write(
        folder / "metrics.json",
        (json.dumps(to_json(evaluation), indent=2, ensure_ascii=False) + "\n").encode(),
    )
    labels, scores, decisions = columns(evaluation.rows)
    thresholds = list(evaluation.thresholds.values())
    atomic_write(folder / "curves.png", draw_curves(labels, scores, decisions, thresholds))
    atomic_write(folder / "contact_sheet.png", draw_contact_sheet(evaluation.tiles))


def _summarise(
    rows: Sequence[Row],
    tally: PixelTally,
    tiles: Sequence[Tile],
    thresholds: dict[str, float],
    pixel_thresholds: dict[str, float],
    without_mask: int,
    skipped: dict[str, str],
) -> Evaluation:
    return Evaluation(
        rows=tuple(rows),
        image=image_metrics(rows),
        items=item_shares(rows),
        pixel=pixel_metrics(tally, without_mask),
        thresholds=thresholds,
        pixel_thresholds=pixel_thresholds,
        without_mask=without_mask,
        skipped=skipped,
        tally=tally,
        tiles=tuple(tiles),
    )


def _check_scores(sample: Sample, prediction: Prediction) -> None:
    low, high = float(prediction.score_map.min()), float(prediction.score_map.max())
    if not all(0 <= value <= 1 for value in (prediction.score, low, high)):  # NaN fails too
        raise ModelError(
            f"the model gives {sample.name} the score {prediction.score} and pixel scores from {low} to"
            f" {high}, where all must lie in [0, 1]; its weights are damaged, so train or copy it again"
        )


def _marks(sample: Sample, prediction: Prediction) -> NDArray[np.uint8] | None:
    height, width = prediction.score_map.shape
    if not sample.label and not isinstance(sample.mask, Shapes):
        return np.full((height, width), GOOD, np.uint8)
    return None if sample.mask is None else read_marks(sample.mask, (height, width))


def _closest(tiles: list[Tile]) -> list[Tile]:
    """Keep the defective and the good images that are closest to, or deepest in, a wrong decision."""
    ranked = sorted(tiles, key=lambda tile: tile.margin)
    return [tile for label in (True, False) for tile in [t for t in ranked if t.label is label][:TILES]]


def _with_tile(
    tiles: list[Tile], row: Row, sample: Sample, prediction: Prediction, mask: NDArray[np.bool_] | None
) -> list[Tile]:
    margin = above(row.score, row.threshold) * (1 if row.label else -1)
    rivals = [tile.margin for tile in tiles if tile.label is row.label]
    if len(rivals) == TILES and margin >= max(rivals):
        return tiles  # the image need not be read again
    height, width = prediction.score_map.shape
    scale = min(1.0, _TILE_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    tile = Tile(
        name=row.name,
        label=row.label,
        score=row.score,
        decision=row.decision,
        margin=margin,
        image=_to_display(resize_image(read_image(sample.image, 3), size)),
        mask=None if mask is None else resize_mask(mask, size),
        score_map=resize_image(prediction.score_map, size),
    )
    return _closest([*tiles, tile])


def _mistake(
    row: Row,
    sample: Sample,
    prediction: Prediction,
    mask: NDArray[np.bool_] | None,
    pixel_threshold: float,
) -> Mistake:
    pictures = picture(read_image(sample.image, 3), mask, prediction.score_map, pixel_threshold)
    kind: Literal["miss", "false alarm"] = "miss" if row.label else "false alarm"
    return Mistake(row.name, row.part, row.group, row.score, row.threshold, kind, *pictures)


def _to_display(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image
    # cameras rarely fill 16 bits: the brightest pixel becomes white
    return (image * (255.0 / max(1, int(image.max())))).astype(np.uint8)
