"""From the runs of a table to its lines: means over seeds, and what each is compared with."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdec.config import load_config
from segdec.experiments.outcomes import Outcome, pooled_ap, read_log
from segdec.experiments.significance import sign_flip_p
from segdec.experiments.tables import Row, Table


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation over seeds.

    Attributes
    ----------
    mean
        None where nothing is known.
    deviation
        None for fewer than two seeds.
    """

    mean: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a row, or a row with other settings.

    Attributes
    ----------
    row, variant
        The row, and what ``--set`` added to its name.
    settings
        The same as it was given; empty for runs of an older version, which did not write it down.
    runs
        The runs that the figures come from: every seed of ``seeds`` on every fold of ``folds``.
    seeds, folds
        The folds are as many as any seed has; a seed that lacks one of them is left out.
    unused
        Runs of seeds that are not yet complete.
    failed
        Runs whose loss was no longer finite; their seeds have no figure.
    ap, ap_trapezoid
        In per cent, of each seed the mean over its folds.
    ap_pooled
        In per cent, the folds' test images ranked together.
    fp, fn, best_f1_on_test_fp, best_f1_on_test_fn
        Of each seed the sum over its folds.
    pairs, difference, p
        Compared with the row that this one stands against: pairs of the same fold and seed, the mean
        difference of their AP in per cent, and its p value (None: too few pairs).
    """

    row: Row
    variant: str
    settings: str = ""
    runs: tuple[Outcome, ...] = ()
    seeds: tuple[int, ...] = ()
    folds: tuple[str, ...] = ()
    unused: int = 0
    failed: int = 0
    ap: Spread = Spread()
    ap_trapezoid: Spread = Spread()
    ap_pooled: Spread = Spread()
    fp: Spread = Spread()
    fn: Spread = Spread()
    best_f1_on_test_fp: Spread = Spread()
    best_f1_on_test_fn: Spread = Spread()
    pairs: int = 0
    difference: float | None = None
    p: float | None = None

    @property
    def name(self) -> str:
        """Name of the row and of what was changed."""
        return self.row.name + self.variant

    @property
    def is_papers(self) -> bool:
        """True of what the paper's figure is for: the row as it is, on all its folds."""
        return not self.variant and set(self.folds) == set(self.row.folds)

    @property
    def changes(self) -> str:
        """What ``--set`` changed, as people read it.

        Examples
        --------
        >>> from segdec.experiments.tables import find_table
        >>> Line(find_table("kolektor").rows[0], "+image_size=704x256+epochs=5").changes
        'image_size=704x256, epochs=5'
        """
        return self.settings or self.variant.removeprefix("+").replace("+", ", ")

    def named(self, name: str, shared: str) -> str:
        """Return a name in a picture, with the changes, unless all that it shows share them."""
        return name if self.changes == shared else f"{name}: {self.changes}"


def shared_changes(lines: Iterable[Line]) -> str:
    """Return the changes of lines that all have the same, "" of others.

    Parameters
    ----------
    lines
        Any number.
    """
    changes = {line.changes for line in lines}
    return changes.pop() if len(changes) == 1 else ""


@dataclass(frozen=True, slots=True)
class Race:
    """How long two trainings, of one fold and seed, take to the same validation AP.

    Attributes
    ----------
    line, against
        Names of the two lines.
    fold, seed
        Of the two.
    ap
        In [0, 1]: the best that both reach once their decision stage learns.
    epochs, steps, seconds
        Until the validation AP is that for the first time; of this line and of the one it stands against.
    """

    line: str
    against: str
    fold: str
    seed: int
    ap: float
    epochs: tuple[int, int]
    steps: tuple[int, int]
    seconds: tuple[float, float]


def summarise(table: Table, outcomes: Sequence[Outcome], out: Path) -> list[Line]:
    """Make the lines of a table; a row that was never run has a line without figures.

    Parameters
    ----------
    table
        Whose rows.
    outcomes
        From `segdec.experiments.outcomes.find_outcomes`.
    out
        Folder of all results.

    Returns
    -------
    list of Line
    """
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    settings: dict[str, str] = defaultdict(str)
    for outcome in outcomes:
        groups[outcome.row, outcome.variant].append(outcome)
        settings[outcome.variant] = settings[outcome.variant] or outcome.settings  # runs of old have none
    lines = []
    for row in table.rows:
        variants = sorted({variant for name, variant in groups if name == row.name} | {""})
        for variant in variants:
            rivals = groups[row.against, variant] if row.against else []
            lines.append(_line(row, variant, settings[variant], groups[row.name, variant], rivals, out))
    return lines


def race(table: Table, outcomes: Sequence[Outcome], out: Path) -> list[Race]:
    """Compare how long rows take to the validation AP that both they and the row they stand against reach.

    Parameters
    ----------
    table
        Whose rows.
    outcomes
        From `segdec.experiments.outcomes.find_outcomes`.
    out
        Folder of all results.

    Returns
    -------
    list of Race
        None of pairs whose validation AP is not known.
    """
    by_place = {(o.row, o.variant, o.fold, o.seed): o for o in outcomes if not o.failed}
    races = []
    for (name, variant, fold, seed), outcome in by_place.items():
        against = next(row.against for row in table.rows if row.name == name)
        rival = by_place.get((against or "", variant, fold, seed))
        if rival is None:
            continue
        curves = [_validation_curve(out / each.folder) for each in (outcome, rival)]
        if all(curves):
            goal = min(max(point[0] for point in curve) for curve in curves)
            one, other = (next(point for point in curve if point[0] >= goal) for curve in curves)
            races.append(
                Race(
                    name + variant,
                    rival.row + variant,
                    fold,
                    seed,
                    goal,
                    (one[1], other[1]),
                    (one[2], other[2]),
                    (one[3], other[3]),
                )
            )
    return races


def _validation_curve(run: Path) -> list[tuple[float, int, int, float]]:
    """Return validation AP, epochs, steps and seconds of training so far, at each look.

    Looks at a decision stage that has not learnt anything yet are left out: its AP is that of random weights.
    """
    points, epochs, steps, seconds = [], 0, 0, 0.0
    # a factor of 1 is segmentation alone, unless both losses count in full
    learns = load_config(run / "config.toml").loss.balance == "none"
    for line in read_log(run):
        epochs, steps, seconds = epochs + 1, steps + line["steps"], seconds + line["seconds"]
        learns = learns or line["seg_factor"] < 1
        if learns and line.get("val_ap") is not None:
            points.append((line["val_ap"], epochs, steps, seconds))
    return points


def _line(
    row: Row, variant: str, settings: str, outcomes: list[Outcome], rivals: list[Outcome], out: Path
) -> Line:
    done = [outcome for outcome in outcomes if not outcome.failed]
    failed = len(outcomes) - len(done)
    by_seed: dict[int, dict[str, Outcome]] = defaultdict(dict)
    for outcome in done:
        by_seed[outcome.seed][outcome.fold] = outcome
    if not by_seed:
        return Line(row, variant, settings, failed=failed)
    folds = max((tuple(found) for found in by_seed.values()), key=len)
    whole = {seed: found for seed, found in by_seed.items() if set(folds) <= set(found)}
    per_seed = [[found[fold] for fold in folds] for found in whole.values()]
    pooled = [pooled_ap(out / run.folder for run in runs) for runs in per_seed]
    pairs = _differences(done, rivals)
    return Line(
        row,
        variant,
        settings,
        runs=tuple(run for runs in per_seed for run in runs),
        seeds=tuple(whole),
        folds=folds,
        unused=len(done) - len(per_seed) * len(folds),
        failed=failed,
        ap=_per_cent([_mean([run.ap for run in runs]) for runs in per_seed]),
        ap_trapezoid=_per_cent([_mean([run.ap_trapezoid for run in runs]) for runs in per_seed]),
        ap_pooled=_per_cent(pooled),
        fp=spread([_sum([run.fp for run in runs]) for runs in per_seed]),
        fn=spread([_sum([run.fn for run in runs]) for runs in per_seed]),
        best_f1_on_test_fp=spread([_sum([run.best_f1_on_test_fp for run in runs]) for runs in per_seed]),
        best_f1_on_test_fn=spread([_sum([run.best_f1_on_test_fn for run in runs]) for runs in per_seed]),
        pairs=len(pairs),
        difference=100 * statistics.fmean(pairs) if pairs else None,
        p=sign_flip_p(pairs),
    )


def _differences(ours: Sequence[Outcome], rivals: Sequence[Outcome]) -> list[float]:
    theirs = {(o.fold, o.seed): o.ap for o in rivals if not o.failed}
    pairs = [(o.ap, theirs.get((o.fold, o.seed))) for o in ours]
    return [one - other for one, other in pairs if one is not None and other is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _sum(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if len(known) == len(values) else None


def _per_cent(values: Sequence[float | None]) -> Spread:
    return spread([None if value is None else 100 * value for value in values])


def spread(values: Sequence[float | None]) -> Spread:
    """Return mean and deviation.

    Parameters
    ----------
    values
        One for each seed, or for each run; with a None among them nothing is known.

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0]), spread([4.0]), spread([4.0, None])
    (Spread(mean=2.0, deviation=1.0), Spread(mean=4.0, deviation=None), Spread(mean=None, deviation=None))
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Spread()  # a mean over only the seeds that went well would flatter
    return Spread(math.fsum(known) / len(known), statistics.stdev(known) if len(known) > 1 else None)
