"""What a model says of itself: the content of ``model.json``, which `segdec.model_io` reads and writes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from segdec.config import STRIDE, NetworkConfig, check_image_size

FORMAT_VERSION = 1
"""Rises when a folder can no longer be read by the segdec of before."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trained(_Frozen):
    """Where a model comes from; None is not known."""

    date: str
    """When it was written, ISO 8601 in UTC."""
    run: str
    """Name of the run, or what it was imported from."""
    dataset: str | None
    """Layout of the data set."""
    data_hash: str | None
    """Hash of the data that it was trained on."""
    epoch: int | None
    """How many epochs the weights were trained for."""
    seed: int | None
    commit: str | None
    """Commit of the code, where it ran from a checkout."""


class Calibration(_Frozen):
    """What chose a model's thresholds, and what they promise. Counts are of items, not images."""

    date: str
    """When it was made, ISO 8601 in UTC."""
    data_hash: str
    """Hash of the calibration data: names, labels, groups, images and masks."""
    images: int
    items: Literal["groups", "images"]
    """Whether several images make an item, or each is one."""
    disjoint: bool
    """True where no image took part in the training, as checked; False where the model does not say, or a
    model that it comes from."""
    wish: dict[str, float]
    """What was asked for."""
    confidence: float
    """How sure each bound is."""
    method: str
    """What makes the bounds."""
    threshold: float = Field(ge=0, le=1)
    review_threshold: float | None = Field(ge=0, le=1)
    """From here on, below the threshold, a person decides; None where nobody needs to."""
    defective: int
    good: int
    escapes: int
    """Defective items below both thresholds."""
    escape_bound: float
    """Upper bound of the escape rate."""
    overkill: int
    """Good items at or above the threshold."""
    overkill_bound: float
    """Upper bound of the overkill rate."""
    review_share: float
    """Share of items between the thresholds, as counted."""
    cost: float | None
    """Expected cost of an item, as counted."""
    cost_bound: float | None

    @property
    def parts(self) -> str:
        """What was counted, in words: how many parts, and what one is."""
        each = f"by group, in {self.images} images" if self.items == "groups" else "one image each"
        return f"{self.defective} defective and {self.good} good parts, {each}"


class ModelCard(_Frozen):
    """Everything about a model but its weights: the content of ``model.json``."""

    format_version: int = FORMAT_VERSION
    network: NetworkConfig
    image_size: tuple[int, int]
    """(height, width) that images are resized to."""
    channels: Literal[1, 3]
    """1 grey, 3 colour; grey levels are scaled to [0, 1], nothing else."""
    tile: int | None = Field(default=None, ge=64, multiple_of=STRIDE)
    """Side of the tiles, in pixels, that images are cut into instead of being resized; None takes whole
    images, and the file then has no such entry."""
    threshold: float = Field(ge=0, le=1)
    """A score at or above it is a defect."""
    threshold_from: Literal["validation", "train", "default", "calibration"]
    """The data that chose the threshold; "default" is none."""
    pixel_threshold: float = Field(ge=0, le=1)
    """A value of the score map at or above it belongs to a region."""
    calibration: Calibration | None = None
    """None where the threshold comes from elsewhere; the file then has no such entry."""
    calibration_images: tuple[str, ...] | None = None
    """SHA-256 of the image files that calibrated it, hexadecimal; None where that is not known, and the file
    then has no such entry."""
    trained: Trained
    versions: dict[str, str]
    """Library -> version that wrote the model."""
    files: dict[str, str] = Field(default_factory=dict)
    """File name -> SHA-256; `write_model` fills it in."""

    @field_validator("image_size")
    @classmethod
    def _multiples(cls, size: tuple[int, int]) -> tuple[int, int]:
        check_image_size(size)
        return size

    @property
    def review_threshold(self) -> float | None:
        """The score from which a person decides; None where nobody is asked."""
        return None if self.calibration is None else self.calibration.review_threshold

    @property
    def thresholds(self) -> tuple[float, float | None]:
        """The threshold and the review threshold: what a certificate is bound to."""
        return self.threshold, self.review_threshold

    @model_validator(mode="after")
    def _agree(self) -> ModelCard:
        if self.tile is not None and self.image_size != (self.tile, self.tile):
            raise ValueError(f"image_size is {self.image_size}, but tile is {self.tile}")
        if self.channels != self.network.in_channels:
            raise ValueError(
                f"channels is {self.channels}, but network.in_channels is {self.network.in_channels}"
            )
        if self.calibration is not None and self.calibration.threshold != self.threshold:
            raise ValueError(
                f"threshold is {self.threshold}, but calibration.threshold is {self.calibration.threshold}"
            )
        return self
