"""On the real KolektorSDD the doctor finds, unaided, which parts stand there twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.doctor import examine, make_plan

FOLDER = "SEGDEC_KOLEKTORSDD"


@pytest.mark.dataset
@pytest.mark.skipif(FOLDER not in os.environ, reason=f"{FOLDER} names no folder")
def test_parts_that_stand_there_twice_are_found():
    dataset = open_dataset(Path(os.environ[FOLDER]), DataConfig(), one_class=True)

    findings = examine(dataset)

    (twins,) = (finding for finding in findings.findings if finding.kind == "twins")
    assert twins.items == ("kos01 = kos26: 8 images", "kos27 = kos34: 8 images", "kos38 = kos39: 8 images")
    assert "one-scene" not in {finding.kind for finding in findings.findings}
    assert make_plan(findings.measured).settings()["data"]["together"] == [
        ["kos01", "kos26"],
        ["kos27", "kos34"],
        ["kos38", "kos39"],
    ]
