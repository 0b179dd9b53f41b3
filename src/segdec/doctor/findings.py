"""What a finding is, and how findings are told and written."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from segdec.files import atomic_write
from segdec.types import ImageSize

Weight: TypeAlias = Literal["wrong", "doubtful", "fact"]
WEIGHTS: tuple[Weight, ...] = ("wrong", "doubtful", "fact")
"""From worst to mildest: makes results wrong; is worth a look; is good to know."""

_LISTED = 5
"""Names told in full; all of them are written."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    kind
        A short name, e.g. "leak", the same in every language of the text.
    weight
        How bad it is.
    text
        One or two sentences for people: what, how much, what to do.
    items
        Names of the images or groups, or sentences, that it is about.
    """

    kind: str
    weight: Weight
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What a plan is made from.

    Attributes
    ----------
    images, defective, masked
        How many images, how many of them with a defect, how many of those with a mask, be it a scribble.
    items, defective_items
        Physical parts (groups), and those with a defect.
    size
        (height, width), the median of the images, in pixels.
    grey
        True where every image is grey; None where that was not looked at.
    image_size
        (height, width) that the network would see unless told otherwise.
    thickness
        Median of the masks' thickness at ``image_size``, in pixels; None without outlines.
    told
        How many outlines are large enough to tell whether they are boxes or ellipses.
    simple
        Share of these that are; None where there are none.
    vanishing
        Share of the masks with fewer than five cells at 1/8 of ``image_size``; None without outlines.
    unscaled_thickness, unscaled_vanishing
        The same of both where no image is resized, as in tiles.
    least_cells
        So many cells at ``image_size`` are covered by nine of ten masks; None without outlines.
    divided
        True where the division into parts is settled, by the data set's authors or beforehand.
    together
        Groups that show the same thing.
    """

    images: int
    defective: int
    masked: int
    items: int
    defective_items: int
    size: ImageSize
    grey: bool | None
    image_size: ImageSize
    thickness: float | None
    told: int
    simple: float | None
    vanishing: float | None
    unscaled_thickness: float | None
    unscaled_vanishing: float | None
    least_cells: float | None
    divided: bool
    together: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What an examination found.

    Attributes
    ----------
    findings
        Worst first.
    measured
        What a plan is made from.
    """

    findings: tuple[Finding, ...]
    measured: Measured

    def lines(self) -> list[str]:
        """Return the findings in words, worst first."""
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.weight}: {finding.text}")
            lines += [f"  {item}" for item in finding.items[:_LISTED]]
            more = len(finding.items) - _LISTED
            lines += [f"  and {more} more"] if more > 0 else []
        return lines

    def as_tree(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "measured": asdict(self.measured),
        }


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings with the worst first, else in the order given.

    Examples
    --------
    >>> both = [Finding("sizes", "fact", ""), Finding("leak", "wrong", "")]
    >>> [finding.kind for finding in sort_findings(both)]
    ['leak', 'sizes']
    """
    return tuple(sorted(findings, key=lambda finding: WEIGHTS.index(finding.weight)))


def write_findings(findings: Findings, path: Path) -> None:
    """Write an examination as JSON, in whole or not at all.

    Parameters
    ----------
    findings
        Of `segdec.doctor.examine`.
    path
        Where to; an existing file is replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = json.dumps(findings.as_tree(), indent=1, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode())
