"""What certifies an export: images that can be used, and limits with what is just inside and just outside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from segdec.certificate import Difference, Flip, Limits, Precision
from segdec.config import NetworkConfig
from segdec.export.compare import LIMITS, sort_out, why_failed
from segdec.export.evidence import Proof
from segdec.imaging import write_image
from segdec.model_card import ModelCard, Trained
from segdec.tiles import Tiling

FLIP = Flip(image="a.png", torch_score=0.4, score=0.6, torch_decision="good", decision="defect")


def test_the_limits_are_those_of_the_documentation() -> None:
    rounded = Limits(flips=0, score_difference=None, ap_loss=0.002)
    assert {
        "fp32": Limits(flips=0, score_difference=1e-4, ap_loss=None),
        "bf16": rounded,
        "int8": rounded,
        "int8-bf16": rounded,
    } == LIMITS
    assert set(LIMITS) == set(get_args(Precision))


@pytest.mark.parametrize(
    ("precision", "off", "flips", "ap", "reason"),
    [
        ("fp32", 0.99e-4, (), 0.5, None),  # the AP of fp32 is reported only
        ("fp32", 1e-4, (), 0.9, "a score is off by 0.0001, and less than 0.0001 is allowed"),
        (
            "fp32",
            0.0,
            (FLIP,),
            0.9,
            "it decides 1 of the images otherwise, first a.png (good by PyTorch with",
        ),
        *[
            case
            for precision in ("bf16", "int8", "int8-bf16")
            for case in (
                (precision, 0.9, (), 0.89801, None),  # a score may be off by anything, if nothing comes of it
                (precision, 0.0, (), 0.89799, "AP falls from 0.9000 to 0.8980, by more than 0.002"),
                (precision, 0.0, (), None, "AP falls from 0.9000 to undefined"),
                (precision, 0.0, (FLIP,), 0.95, "it decides 1 of the images otherwise"),
            )
        ],
        *[
            (precision, off, flips, 0.9, "it gives scores that are no numbers")
            for precision in LIMITS
            for off, flips in ((math.nan, ()), (math.inf, (FLIP,)))
        ],
    ],
)
def test_just_inside_and_just_outside(
    precision: Precision, off: float, flips: tuple[Flip, ...], ap: float | None, reason: str | None
) -> None:
    found = why_failed(LIMITS[precision], Difference(largest=off, mean=off), flips, ap, 0.9)
    assert found is None if reason is None else (found or "").startswith(reason), found


def test_without_labels_there_is_no_ap_to_lose() -> None:
    assert why_failed(LIMITS["int8"], Difference(largest=0.1, mean=0.1), (), None, None) is None


@pytest.mark.parametrize("tiling", [None, Tiling(tile=128, overlap=64, margin=32)])
def test_images_that_are_too_small_certify_nothing(tmp_path: Path, tiling: Tiling | None) -> None:
    card = ModelCard(
        network=NetworkConfig(),
        image_size=(128, 128),
        channels=1,
        threshold=0.5,
        threshold_from="default",
        pixel_threshold=0.5,
        trained=Trained(
            date="2030-01-01", run="r", dataset=None, data_hash=None, epoch=None, seed=None, commit=None
        ),
        versions={},
    )
    proofs = []
    for height, width in ((64, 64), (63, 300), (300, 63)):
        path = tmp_path / f"{height}x{width}.png"
        write_image(path, np.zeros((height, width), np.uint8))
        proofs.append(Proof(path.name, path, None))
    found = sort_out(proofs, card, tiling)
    assert [proof.name for proof in found.proofs] == ["64x64.png"]
    assert found.unreadable == ("63x300.png", "300x63.png")
