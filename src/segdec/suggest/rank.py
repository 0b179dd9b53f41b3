"""From a model and images to a list of those to mask or label next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from segdec.errors import DataError
from segdec.predict import Predictor
from segdec.suggest.choose import Suggestion, check_budget, choose
from segdec.suggest.measure import embed, measure
from segdec.suggest.pool import Pool, find_pool

_LISTED = 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """The list, and what it was chosen from.

    Attributes
    ----------
    model, source
        What was asked: the model, and the folder or data set.
    suggestions
        The best first.
    candidates
        How many images could be used.
    left_out
        Name -> reason, of images that are no candidates.
    unreadable
        Name -> reason, of candidates that could not be used.
    """

    model: Path
    source: Path
    suggestions: tuple[Suggestion, ...]
    candidates: int
    left_out: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Say it for people."""
        lines = [f"{len(self.suggestions)} of {self.candidates} images, the most useful first:"]
        lines += [f"{one.rank:>4}  {one.gain:.2f}  {one.name}: {one.why}" for one in self.suggestions]
        for what, names in (("left out", self.left_out), ("could not be used", self.unreadable)):
            if names:
                lines.append(f"{what}: {len(names)}")
                lines += [f"  {name}: {reason}" for name, reason in list(names.items())[:_LISTED]]
                lines += [f"  and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
        return lines


def suggest(
    model: Path, source: Path, budget: int = 16, watch: Callable[[int, int], None] | None = None
) -> Ranking:
    """Rank images by how much their mask or label would help.

    Parameters
    ----------
    model
        A run folder, or a model folder.
    source
        A folder of images that nobody has labelled, or a data set: its defective images without a mask,
        and those without a label; see `segdec.suggest.pool.find_pool`.
    budget
        How many images to choose, at least 1.
    watch
        Called with (images done, images in all).

    Returns
    -------
    Ranking

    Raises
    ------
    DataError
        If there is no image to choose, or none of them can be read.
    ModelError
        If the folder holds no model.
    ConfigError
        If the budget is below 1.
    """
    check_budget(budget)
    pool = find_pool(model, source)
    chosen, unreadable = choose_from(Predictor(model), pool, budget, watch)
    if not chosen:
        name, reason = next(iter(unreadable.items()))
        raise DataError(f"none of the {len(unreadable)} images in {source} can be used ({name}: {reason})")
    usable = len(pool.candidates) - len(unreadable)
    return Ranking(model, source, tuple(chosen), usable, dict(pool.left_out), unreadable)


def choose_from(
    predictor: Predictor, pool: Pool, budget: int, watch: Callable[[int, int], None] | None = None
) -> tuple[list[Suggestion], dict[str, str]]:
    """Measure the candidates of a pool, and choose among them.

    Parameters
    ----------
    predictor
        The model.
    pool
        What can be chosen from.
    budget, watch
        As of `suggest`.

    Returns
    -------
    suggestions : list of Suggestion
        The best first.
    unreadable : dict
        Name -> reason, of candidates that could not be used.
    """
    measured, unreadable = measure(predictor, pool.candidates, watch)
    return choose(measured, budget, embed(predictor, pool.masked)), unreadable
