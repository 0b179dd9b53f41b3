"""A wish is a bound or a cost, within its range, or is refused in one sentence."""

from __future__ import annotations

import math

import pytest

from segdec.errors import ConfigError
from segdec.wish import Wish


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"max_escape": 1.5}, r"max_escape must lie between 0 and 1, both excluded, got 1\.5"),
        ({"max_escape": 0}, "max_escape must lie between 0 and 1"),
        ({"max_overkill": -0.1}, "max_overkill must lie"),
        ({"max_overkill": math.nan}, "max_overkill must lie"),
        ({"max_escape": 0.1, "confidence": 1}, "confidence must lie"),
        ({"max_escape": 0.1, "review_budget": 1.2}, r"review_budget must lie between 0 and 1, got 1\.2"),
        ({"cost_escape": 0, "cost_overkill": 1, "defect_rate": 0.1}, "cost_escape must be a number above 0"),
        ({"cost_escape": 1, "cost_overkill": math.inf, "defect_rate": 0.1}, "cost_overkill must be"),
        ({"cost_escape": 1, "cost_overkill": 1, "defect_rate": 2}, "defect_rate must lie"),
        ({"cost_escape": 1, "cost_overkill": 1}, "got cost_escape, cost_overkill"),
        ({"max_escape": 0.1, "cost_escape": 1}, "got max_escape, cost_escape"),
        ({"review_budget": 0.1}, "got review_budget"),
        ({}, "got none of them"),
    ],
)
def test_a_wish_that_cannot_be(wish: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Wish(**wish)
