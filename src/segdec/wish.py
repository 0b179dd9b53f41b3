"""What the factory asks of a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segdec.errors import ConfigError

Rates = TypeVar("Rates", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Wish:
    """Bounds on what goes wrong, or the lowest cost.

    Attributes
    ----------
    max_escape
        Largest share of the defective items that may pass, in (0, 1).
    max_overkill
        Largest share of the good items that may be rejected, in (0, 1).
    confidence
        How sure a bound is to hold, in (0, 1).
    cost_escape, cost_overkill
        Cost of one escape and of one overkill, in any currency, above 0.
    defect_rate
        Share of defective items in production, in (0, 1). Without it, review shares are those of the
        calibration data, which often hold more defects.
    review_budget
        Largest share of all items that may go to a person, in [0, 1].

    Raises
    ------
    ConfigError
        If a value cannot be, or it is not clear what is wished. Errors name the parts as the command line
        does.
    """

    max_escape: float | None = None
    max_overkill: float | None = None
    confidence: float = 0.95
    cost_escape: float | None = None
    cost_overkill: float | None = None
    defect_rate: float | None = None
    review_budget: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_escape", "max_overkill", "confidence", "defect_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:  # NaN fails too
                example = "0.95 for 95 %" if name == "confidence" else "0.01 for 1 %"
                raise ConfigError(
                    f"{option(name)} must lie between 0 and 1, both excluded, got {value};"
                    f" write e.g. {example}"
                )
        if self.review_budget is not None and not 0 <= self.review_budget <= 1:
            raise ConfigError(
                f"--review-budget must lie between 0 and 1, got {self.review_budget}; write e.g. 0.05 for 5 %"
            )
        for name in ("cost_escape", "cost_overkill"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(
                    f"{option(name)} must be a number above 0, got {value}; write what one"
                    f" {name.removeprefix('cost_')} costs, in any currency"
                )
        self._check_parts()

    def _check_parts(self) -> None:
        rates = self.max_escape is not None or self.max_overkill is not None
        costs = self.cost_escape is not None or self.cost_overkill is not None
        by_cost = ("cost_escape", "cost_overkill", "defect_rate")
        missing = [option(name) for name in by_cost if getattr(self, name) is None]
        if rates and costs:
            advice = "leave the rates or the costs out"
        elif costs and missing:
            advice = f"add {' and '.join(missing)}"
        elif not rates and not costs:
            advice = "add e.g. --max-escape 0.01 for 1 %"
        else:
            return
        got = ", ".join(map(option, self.given())) or "none of them"
        raise ConfigError(
            "a wish is --max-escape, --max-overkill or both, or the three of --cost-escape, --cost-overkill"
            f" and --defect-rate, got {got}; {advice}"
        )

    def expected_cost(self, escape: Rates, overkill: Rates) -> Rates | None:
        """Return the expected cost of an item at these rates, None where costs are not given."""
        if self.cost_escape is None or self.cost_overkill is None or self.defect_rate is None:
            return None
        return (
            self.defect_rate * self.cost_escape * escape
            + (1 - self.defect_rate) * self.cost_overkill * overkill
        )

    def given(self) -> dict[str, float]:
        """Return what is wished, by name, without the confidence."""
        names = ("max_escape", "max_overkill", "cost_escape", "cost_overkill", "defect_rate", "review_budget")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def option(name: str) -> str:
    """Write a part of a wish as the command line does.

    Parameters
    ----------
    name
        Of an attribute of `Wish`.

    Examples
    --------
    >>> option("max_escape")
    '--max-escape'
    """
    return "--" + name.replace("_", "-")
