"""What masks tell: defects with nothing under them, beside them, or too small to be seen."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from segdec.config import STRIDE
from segdec.doctor.findings import Finding
from segdec.doctor.outline import Form
from segdec.doctor.reading import Look
from segdec.types import ImageSize

_ORDINARY = 0.8
"""A mask on a place less unusual than every fifth other place of its image is doubted."""
_SHIFTED = 1.75
"""A mask that would cover something so many times more unusual nearby is doubted."""
_COMMON = 0.3
"""From this share of masks that want to the same side on, the whole set is taken for shifted."""
FEW_CELLS = 5
"""Fewer cells than this of the network's output are a defect that vanishes."""


def mask_findings(looks: Sequence[Look]) -> list[Finding]:
    """Tell which masks lie on nothing unusual, or beside what is.

    Parameters
    ----------
    looks
        From `segdec.doctor.reading.look_at_all`.

    Returns
    -------
    list of Finding
    """
    outlined = [(look.sample.name, look.outline) for look in looks if look.outline is not None]
    ordinary = [
        f"{name}: more unusual than {100 * outline.rank:.0f} % of other places"
        for name, outline in outlined
        if outline.rank < _ORDINARY
    ]
    beside = {
        name: outline.shift
        for name, outline in outlined
        if outline.gain >= _SHIFTED and max(abs(side) for side in outline.shift) >= 3
    }
    findings = []
    if ordinary:
        text = f"{len(ordinary)} of {len(outlined)} masks lie where nothing unusual is seen. Look at them."
        findings.append(Finding("mask-on-nothing", "doubtful", text, tuple(ordinary)))
    if beside:
        text = f"{len(beside)} of {len(outlined)} masks seem to lie beside their defect. Look at them."
        items = tuple(f"{name}: better {_direction(shift)}" for name, shift in beside.items())
        findings.append(Finding("mask-beside", "doubtful", text, items))
        findings += _common_shift(list(beside.values()), len(outlined))
    return findings


def vanishing_findings(looks: Sequence[Look], image_size: ImageSize) -> list[Finding]:
    """Tell which defects are too small for the network's output, 1/8 of the input.

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
    cells = {
        look.sample.name: count_cells(look.outline.form, look.size, image_size)
        for look in looks
        if look.outline is not None
    }
    small = sorted((count, name) for name, count in cells.items() if count < FEW_CELLS)
    if not small:
        return []
    factor = (FEW_CELLS / max(statistics.median(count for count, _ in small), 0.1)) ** 0.5
    outlined = [(look.outline.form, look.size) for look in looks if look.outline is not None]
    unscaled = sum(count_cells(form, size, size) < FEW_CELLS for form, size in outlined)
    text = (
        f"The defects of {len(small)} of {len(cells)} masked images cover fewer than {FEW_CELLS} cells of the"
        f" network's output at {image_size[0]} x {image_size[1]}; those of {unscaled} also in the images as"
        f" they are, which is what tiles show. Sides {factor:.1f} times as large would show half of them; of"
        " the smallest, look at the masks."
    )
    items = tuple(f"{name}: {count:.2g} cells" for count, name in small)
    return [Finding("vanishing", "doubtful", text, items)]


def count_cells(form: Form, size: ImageSize, image_size: ImageSize) -> float:
    """Return how many cells of the network's output an image's defects cover together, in area.

    Parameters
    ----------
    form
        Of its mask.
    size
        (height, width) of the image.
    image_size
        (height, width) that the network sees.

    Examples
    --------
    >>> count_cells(Form((640,), 20.0, True), (256, 256), (128, 128))
    2.5
    """
    return sum(form.areas) * image_size[0] * image_size[1] / (size[0] * size[1]) / STRIDE**2


def _common_shift(shifts: list[tuple[int, int]], masks: int) -> list[Finding]:
    down = statistics.median(shift[0] for shift in shifts)
    right = statistics.median(shift[1] for shift in shifts)
    agreeing = [shift for shift in shifts if abs(shift[0] - down) <= 4 and abs(shift[1] - right) <= 4]
    if len(agreeing) < max(3, _COMMON * masks):
        return []
    text = (
        f"{len(agreeing)} of {masks} masks want to the same side, about"
        f" {_direction((round(down), round(right)))}. All masks may have been saved with an offset."
    )
    return [Finding("masks-shifted", "wrong", text)]


def _direction(shift: tuple[int, int]) -> str:
    down, right = shift
    words = [
        f"{abs(side)} px {positive if side > 0 else negative}"
        for side, positive, negative in ((down, "down", "up"), (right, "right", "left"))
        if side
    ]
    return " and ".join(words)
