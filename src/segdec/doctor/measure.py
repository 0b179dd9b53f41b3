"""What a plan is made from: of a whole data set that was looked at, or, cheaply, of the training part."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from segdec.data.scan import map_in_threads
from segdec.doctor.findings import Measured
from segdec.doctor.masks import FEW_CELLS, count_cells
from segdec.doctor.outline import Form, measure_form
from segdec.errors import DataError, ImageError
from segdec.imaging import DEFECT, read_image_size, read_marks
from segdec.inputs import check_size
from segdec.new_run import fitting_size
from segdec.types import ImageSize, Sample


class Seen(NamedTuple):
    """What a plan needs to know of one image.

    Attributes
    ----------
    sample
        Which one.
    size
        (height, width) in pixels.
    marked
        True where its mask marks a defect, be it by a scribble.
    form
        Of its mask; None without a defect's outline.
    """

    sample: Sample
    size: ImageSize
    marked: bool
    form: Form | None


def measure(
    seen: Sequence[Seen],
    image_size: ImageSize,
    *,
    grey: bool | None,
    divided: bool,
    together: tuple[tuple[str, ...], ...] = (),
) -> Measured:
    """Sum up what was seen of single images.

    Parameters
    ----------
    seen
        At least one image.
    image_size, grey, divided, together
        As in `Measured`.

    Returns
    -------
    Measured
    """
    outlined = [(each, each.form) for each in seen if each.form is not None]
    scaled = [
        form.thickness * min(image_size[0] / each.size[0], image_size[1] / each.size[1])
        for each, form in outlined
    ]
    samples = [each.sample for each in seen]
    count = len(outlined)
    told = [form.simple for _, form in outlined if form.simple is not None]
    cells = sorted(count_cells(form, each.size, image_size) for each, form in outlined)
    unscaled = [count_cells(form, each.size, each.size) for each, form in outlined]
    return Measured(
        images=len(seen),
        defective=sum(sample.label for sample in samples),
        masked=sum(each.marked for each in seen),
        items=len({sample.group or sample.name for sample in samples}),
        defective_items=len({sample.group or sample.name for sample in samples if sample.label}),
        size=(
            round(statistics.median(each.size[0] for each in seen)),
            round(statistics.median(each.size[1] for each in seen)),
        ),
        grey=grey,
        image_size=image_size,
        thickness=statistics.median(scaled) if count else None,
        told=len(told),
        simple=sum(told) / len(told) if told else None,
        vanishing=_share_vanishing(cells),
        unscaled_thickness=statistics.median(form.thickness for _, form in outlined) if count else None,
        unscaled_vanishing=_share_vanishing(unscaled),
        least_cells=cells[(count - 1) // 10] if count else None,
        divided=divided,
        together=together,
    )


def _share_vanishing(cells: Sequence[float]) -> float | None:
    return sum(count < FEW_CELLS for count in cells) / len(cells) if cells else None


def measure_training_part(
    samples: Sequence[Sample], image_size: ImageSize | None = None, *, tiles: bool = False
) -> Measured:
    """Measure what the plan of a training needs, from headers and masks alone: no image is decoded.

    Parameters
    ----------
    samples
        The training part. What cannot be read is passed over: training says so itself.
    image_size
        (height, width) that the network will see; None chooses it.
    tiles
        True for a training on tiles, which resizes nothing.

    Returns
    -------
    Measured
        ``grey`` is None, ``divided`` true.

    Raises
    ------
    DataError
        If no image can be read.
    """
    looks = list(map_in_threads(_try_to_see, samples))
    seen = [look for look in looks if isinstance(look, Seen)]
    if not seen:
        reason = next((str(look) for look in looks), "there are none")
        raise DataError(f"no image of the training part can be read: {reason}")
    sizes = [each.size for each in seen]
    chosen = fitting_size(sizes, math.inf) if tiles else image_size or fitting_size(sizes)
    return measure(seen, chosen, grey=None, divided=True)


def _try_to_see(sample: Sample) -> Seen | ImageError:
    try:
        size = read_image_size(sample.image)
        check_size(size, str(sample.image), None)
        if sample.mask is None or not sample.label:
            return Seen(sample, size, False, None)
        marks = read_marks(sample.mask, size)
    except ImageError as error:
        return error
    mask = marks >= DEFECT
    # a scribble says where a defect is, not what form it has
    return Seen(sample, size, bool(mask.any()), measure_form(mask) if (marks == DEFECT).any() else None)
