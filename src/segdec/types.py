"""The nouns that every layer shares: `Sample`, `Shapes`, `Dataset`, `Split`, `Region` and `Prediction`.

A fourth noun, the network, lives in `segdec.network`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

ImageSize: TypeAlias = tuple[int, int]
"""Always (height, width), in pixels."""

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

Meaning: TypeAlias = Literal["defect", "good", "unknown"]
"""What a mark says of its pixels; of unknown pixels nothing is taught and nothing judged."""

Point: TypeAlias = tuple[float, float]
"""(x, y) in pixels from the upper left corner of the image: the first pixel's centre is (0.5, 0.5)."""


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask as run lengths in Severstal's form.

    Attributes
    ----------
    rows
        Each a string "start length start length ...": starts count from 1, pixels run down the
        columns, then from left to right. The mask is the union of all rows.
    origin
        Where the rows stand, for error messages, e.g. "train.csv".
    """

    rows: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Polygon:
    """An area; a box is a polygon of four corners.

    Attributes
    ----------
    points
        At least three corners, in order; the last is joined to the first.
    cut
        True for a turned box or an ellipse: it may leave the image, which cuts it off, as long as its middle
        lies inside. All corners of another polygon lie inside.
    """

    points: tuple[Point, ...]
    cut: bool = field(default=False, repr=False, compare=False)  # says nothing of which pixels are marked


@dataclass(frozen=True, slots=True)
class Scribble:
    """A stroke over pixels that are surely what it says; it claims nothing about those beside it.

    Attributes
    ----------
    points
        At least one; a single point is a dot.
    width
        Of the stroke, in pixels.
    """

    points: tuple[Point, ...]
    width: float = 3.0


@dataclass(frozen=True, slots=True)
class Shape:
    """One mark on an image.

    Attributes
    ----------
    form
        Which pixels: an area (polygon, run lengths, or a mask image whose values above 0 count), or a
        scribble.
    meaning
        What they are.
    type
        The type of defect, "" where none is named.
    origin
        File and place, for error messages, e.g. "coco.json, annotation 17".
    """

    form: Polygon | Scribble | RunLengths | Path
    meaning: Meaning = "defect"
    type: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Shapes:
    """All marks on one image, in the order they are drawn: a later one covers those before it.

    Pixels without a mark are good, unless a scribble says "defect" or "good" anywhere in the image: then
    only what is marked is known.

    Attributes
    ----------
    items
        At least one.
    size
        (height, width) of the image as its annotation states it, None where it does not.
    """

    items: tuple[Shape, ...]
    size: ImageSize | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes
    ----------
    name
        Unique in its data set: the path below the data set's root, with "/" between the parts.
    image
        The image file.
    label
        True where the image holds a defect.
    mask
        Pixel ground truth: a mask image (any value above 0 is defect), run lengths, or shapes. None is
        no pixel annotation; for an image without defect that is complete all the same, as every one of
        its pixels is good.
    group
        The physical item; images of one group are never divided between splits.
    part
        The part ("train", "val" or "test") that the data set's authors put it in, None where they
        did not say.
    types
        The types of its defects, each once; empty where none is named. They are reported, not learnt:
        the network tells defect from good.
    origin
        (y, x) of the upper left pixel, where the sample is a tile cut from its image; None is the whole
        image. Mask and types are those of the image.
    """

    name: str
    image: Path
    label: bool
    mask: Path | RunLengths | Shapes | None = None
    group: str = ""
    part: Part | None = None
    types: tuple[str, ...] = ()
    origin: tuple[int, int] | None = None

    @property
    def weak(self) -> bool:
        """True for a defective image without pixel annotation: it teaches the decision only."""
        return self.label and self.mask is None

    def without_mask(self) -> Sample:
        """Return the same sample with its image label only."""
        return replace(self, mask=None)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The samples of one data set on disk.

    Attributes
    ----------
    root
        The folder (or table file) that was opened.
    layout
        What it was taken for, a name from `segdec.data.open.LAYOUTS`.
    samples
        In a fixed order (by name), free of duplicates.
    excluded
        File name -> reason, for every image that was found and left out.
    unlabelled
        Images that nobody has judged yet: counted, and no samples.
    """

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    excluded: dict[str, str] = field(default_factory=dict)
    unlabelled: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)


@dataclass(frozen=True, slots=True)
class Split:
    """Which samples teach, which choose, which judge.

    Attributes
    ----------
    train, val, test
        Disjoint; no group stands in two of them. ``val`` may be empty (the paper's protocol).
    origin
        How it was made, in words, e.g. "published, 33_33, fold 0".
    """

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    origin: str

    def part(self, name: Part) -> tuple[Sample, ...]:
        """Return the samples of one part by its name."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


@dataclass(frozen=True, slots=True)
class Region:
    """One connected defect region of a score map, in pixels of the original image.

    Attributes
    ----------
    box
        (x, y, width, height).
    area_px
        Number of pixels.
    contour
        The outline as (x, y) points.
    peak_score
        Highest value of the score map inside, in [0, 1].
    """

    box: tuple[int, int, int, int]
    area_px: int
    contour: tuple[tuple[int, int], ...]
    peak_score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of one image.

    Attributes
    ----------
    name
        The image's path or name.
    score
        Image-level probability of a defect, in [0, 1].
    decision
        True (defect) where score >= threshold.
    threshold
        The threshold that the decision was made with.
    regions
        Connected regions of the score map above the pixel threshold, largest peak first.
    score_map
        (H, W) float32 in [0, 1], in the original image's size. Of an image predicted in tiles (ceil(H/8),
        ceil(W/8)), one value for each cell of 8 x 8 pixels; `segdec.imaging.full_score_map` enlarges it.
    review_threshold
        From here on, below ``threshold``, a person decides; None where the model has no such threshold.
    size
        (height, width) of an image predicted in tiles; None where the score map has the image's size.
    """

    name: str
    score: float
    decision: bool
    threshold: float
    regions: tuple[Region, ...]
    score_map: NDArray[np.float32]
    review_threshold: float | None = None
    size: ImageSize | None = None

    @property
    def review(self) -> bool:
        """True where a person decides: good is only what is neither a defect nor to review."""
        return not self.decision and self.review_threshold is not None and self.score >= self.review_threshold
