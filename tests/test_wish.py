"""A wish is a bound or a cost, within its range, or is refused in one sentence."""

from __future__ import annotations

import math
import re

import pytest

from segdec.errors import ConfigError
from segdec.wish import Wish


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (
            {"max_escape": 1.5},
            "--max-escape must lie between 0 and 1, both excluded, got 1.5; write e.g. 0.01 for 1 %",
        ),
        ({"max_escape": 0}, "--max-escape must lie between 0 and 1, both excluded, got 0; write e.g. 0.01"),
        ({"max_overkill": -0.1}, "--max-overkill must lie between 0 and 1, both excluded, got -0.1; write"),
        (
            {"max_overkill": math.nan},
            "--max-overkill must lie between 0 and 1, both excluded, got nan; write",
        ),
        (
            {"max_escape": 0.1, "confidence": 1},
            "--confidence must lie between 0 and 1, both excluded, got 1; write e.g. 0.95 for 95 %",
        ),
        (
            {"max_escape": 0.1, "review_budget": 1.2},
            "--review-budget must lie between 0 and 1, got 1.2; write e.g. 0.05 for 5 %",
        ),
        (
            {"cost_escape": 0, "cost_overkill": 1, "defect_rate": 0.1},
            "--cost-escape must be a number above 0, got 0; write what one escape costs, in any currency",
        ),
        (
            {"cost_escape": 1, "cost_overkill": math.inf, "defect_rate": 0.1},
            "--cost-overkill must be a number above 0, got inf; write what one overkill costs",
        ),
        (
            {"cost_escape": 1, "cost_overkill": 1, "defect_rate": 2},
            "--defect-rate must lie between 0 and 1, both excluded, got 2; write e.g. 0.01 for 1 %",
        ),
        ({"cost_escape": 1, "cost_overkill": 1}, "got --cost-escape, --cost-overkill; add --defect-rate"),
        ({"cost_overkill": 1}, "got --cost-overkill; add --cost-escape and --defect-rate"),
        (
            {"max_escape": 0.1, "cost_escape": 1},
            "a wish is --max-escape, --max-overkill or both, or the three of --cost-escape, --cost-overkill"
            " and --defect-rate, got --max-escape, --cost-escape; leave the rates or the costs out",
        ),
        ({"review_budget": 0.1}, "got --review-budget; add e.g. --max-escape 0.01 for 1 %"),
        ({}, "got none of them; add e.g. --max-escape 0.01 for 1 %"),
    ],
)
def test_a_wish_that_cannot_be(wish: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Wish(**wish)
