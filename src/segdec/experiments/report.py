"""A table for people (Markdown), for programs (CSV), as a picture, and run by run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from segdec.errors import SegdecError
from segdec.experiments.curve import draw, find_curves, to_curve_csv
from segdec.experiments.lines import Line, Race, Spread, race, shared_changes, spread, summarise
from segdec.experiments.outcomes import find_outcomes, to_csv
from segdec.experiments.significance import FEWEST_PAIRS
from segdec.experiments.tables import Figures, Table
from segdec.files import atomic_write
from segdec.plots import Interval, draw_intervals

SIGNIFICANT = 0.05
"""p below this earns a mark."""

_LEGEND = f"""\
- **AP** in per cent, summed in steps: of each seed the mean over its folds or classes, then mean ± standard
  deviation over seeds. **AP pooled** ranks the test images of all folds together; **AP trapezoid** is the
  reference's. **Paper** is what the paper reports, where that is known; a figure with † is second-hand,
  from later papers' tables.
- **FP / FN, best on test** are the reference's figures: at the threshold of best F1 on the test images
  themselves, summed over folds, mean over seeds. **FP / FN** are those at the model's own threshold, which
  was never chosen on test images; the second table says on which.
- **Difference** of AP to the row named, over pairs of the same fold and seed. **p** is that of a two-sided
  paired sign-flip test; \\* marks p < {SIGNIFICANT}, "too few" fewer than {FEWEST_PAIRS} pairs. p is not
  corrected for the number of rows, and folds share training images, so take one mark among many with care.
- Rows with other settings than the recipe's stand below a heading of their own. They, and rows with some of
  their folds or classes only, are another experiment than the paper's, whose figure then stands in brackets.
"""


_FIGURES = (
    *("row", "runs", "AP", "paper", "AP pooled", "AP trapezoid", "FP / FN, best on test", "paper"),
    *("FP / FN", "difference", "p"),
)
_CIRCUMSTANCES = (
    *("row", "folds", "seeds", "epochs", "height x width", "precision", "threshold from", "commit"),
    "machine",
)
_RACES = ("row", "against", "runs", "validation AP", "epochs", "steps", "seconds of training")


def write_report(table: Table, out: Path) -> tuple[list[Path], list[SegdecError]]:
    """Write a table from the runs that are settled and can be used, whoever made them.

    Parameters
    ----------
    table
        Which.
    out
        Folder of all results; the files of the table lie in it.

    Returns
    -------
    list of Path
        NAME.md, NAME.csv, NAME-runs.csv and NAME.png; NAME-curve.csv and NAME-curve.png of a table whose
        rows are points of curves; NAME-race.csv of one that compares the ways to the same AP.
    list of SegdecError
        What is wrong with runs that cannot be used; the table lists them.

    Raises
    ------
    OutputError
        If a file cannot be written.
    DataError
        If there is no such folder.
    MissingExtraError
        If matplotlib is not installed.
    """
    outcomes, problems = find_outcomes(table, out)
    lines = summarise(table, outcomes, out)
    races = race(table, outcomes, out) if table.to_same_ap else []
    shared = shared_changes(line for line in lines if line.runs)
    intervals = [
        Interval(
            line.named(line.row.name, shared),
            line.ap.mean,
            line.ap.deviation or 0.0,
            line.row.paper.ap if line.is_papers else None,
        )
        for line in lines
        if line.ap.mean is not None
    ]
    unusable = [str(problem).replace(f"{out}{os.sep}", "") for problem in problems]
    contents = {
        f"{table.name}-runs.csv": to_csv(outcomes).encode(),
        f"{table.name}.csv": to_table_csv(lines).encode(),
        f"{table.name}.md": to_markdown(table, lines, races, unusable).encode(),
    }
    if table.to_same_ap:
        contents[f"{table.name}-race.csv"] = to_race_csv(races).encode()
    if intervals:
        contents[f"{table.name}.png"] = draw_intervals(intervals, table.title, shared, "AP in per cent")
    if curves := find_curves(lines, out):
        contents[f"{table.name}-curve.csv"] = to_curve_csv(curves).encode()
        contents[f"{table.name}-curve.png"] = draw(curves, table.title)
    for name, content in contents.items():
        atomic_write(out / name, content)
    return [out / name for name in contents], problems


def to_markdown(
    table: Table, lines: Sequence[Line], races: Sequence[Race] = (), unusable: Sequence[str] = ()
) -> str:
    """Write a table as Markdown.

    Parameters
    ----------
    table
        Its name and title.
    lines
        From `segdec.experiments.lines.summarise`.
    races
        From `segdec.experiments.lines.race`.
    unusable
        What is wrong with runs that cannot be used.

    Returns
    -------
    str
    """
    measured: dict[str, list[Line]] = {}  # by variant, the recipe's own settings first
    for line in sorted(lines, key=lambda line: line.variant != ""):
        if line.runs:
            measured.setdefault(line.variant, []).append(line)
    parts = [f"# {table.title}\n", f"Made by `segdec reproduce {table.name}`.\n"]
    if not measured:
        parts.append("No run is finished yet.\n")
    for variant, group in measured.items():
        parts.append(f"## {f'With {group[0].changes}' if variant else 'As the recipe says'}\n")
        parts.append(_markdown(_FIGURES, [_figures(line) for line in group]))
        parts.append("How each row was run:\n")
        alike: dict[tuple[str, ...], list[str]] = {}
        for line in group:
            alike.setdefault(_circumstances(line), []).append(line.row.name)
        parts.append(_markdown(_CIRCUMSTANCES, [(", ".join(rows), *each) for each, rows in alike.items()]))
    if races:
        parts.append(
            "To the same validation AP, the best that both trainings of a pair reach once their decision"
            " stage learns: this row / the other; mean ± standard deviation over runs, each of which stands"
            f" in {table.name}-race.csv.\n"
        )
        names = dict.fromkeys((each.line, each.against) for each in races)
        same = ([each for each in races if (each.line, each.against) == pair] for pair in names)
        parts.append(_markdown(_RACES, [_mean_race(each) for each in same]))
    if unfinished := [*(f"- {each}" for each in unusable), *_what_is_missing(table, lines)]:
        parts.append("## Not in the table, or not in full\n")
        parts.append("\n".join(unfinished) + "\n")
    return "\n".join([*parts, _LEGEND])


def to_table_csv(lines: Iterable[Line]) -> str:
    """Write the lines of a table as CSV; what is unknown is empty, and the paper's figure beside others.

    Parameters
    ----------
    lines
        From `segdec.experiments.lines.summarise`.

    Returns
    -------
    str
    """
    spreads = ("ap", "ap_trapezoid", "ap_pooled", "fp", "fn", "best_f1_on_test_fp", "best_f1_on_test_fn")
    stream = io.StringIO()
    head = ["row", "runs", "failed", "seeds", "folds"]
    head += [f"{name}_{part}" for name in spreads for part in ("mean", "sd")]
    head += ["paper_ap", "paper_fp", "paper_fn", "against", "pairs", "difference", "p"]
    head += ["epochs", "height", "width", "precision", "threshold_from", "commit", "machine"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for line in lines:
        values: list[object] = [line.name, len(line.runs), line.failed]
        values += [_all(line.seeds, " "), _all(line.folds, " ")]
        for name in spreads:
            found: Spread = getattr(line, name)
            values += [_round(found.mean), _round(found.deviation)]
        paper = line.row.paper if line.is_papers else Figures()
        values += [paper.ap, paper.fp, paper.fn, line.row.against, line.pairs]
        values += [_round(line.difference), _round(line.p, 6)]
        names = ("epochs", "height", "width", "precision", "threshold_from", "commit", "machine")
        writer.writerow(values + [_all(getattr(run, name) for run in line.runs) for name in names])
    return stream.getvalue()


def to_race_csv(races: Iterable[Race]) -> str:
    """Write the ways to the same validation AP as CSV, a line for each pair of runs.

    Parameters
    ----------
    races
        From `segdec.experiments.lines.race`.

    Returns
    -------
    str
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    counted = ("epochs", "steps", "seconds")
    writer.writerow(
        [
            "row",
            "against",
            "fold",
            "seed",
            "val_ap",
            *(f"{name}{of}" for name in counted for of in ("", "_against")),
        ]
    )
    for each in races:
        pairs = (round(value, 3) for name in counted for value in getattr(each, name))
        writer.writerow([each.line, each.against, each.fold, each.seed, _round(each.ap, 6), *pairs])
    return stream.getvalue()


def _figures(line: Line) -> tuple[str, ...]:
    paper = line.row.paper
    mark = "*" if line.p is not None and line.p < SIGNIFICANT else ""
    p = f"{line.p:.3g}{mark}" if line.p is not None else "too few" if line.pairs else ""
    difference = (
        f"{line.difference:+.2f} to {line.row.against} ({line.pairs})" if line.difference is not None else ""
    )
    both = paper.fp is not None and paper.fn is not None
    theirs = ("{}" if line.is_papers else "({})").format("{}†" if paper.quoted else "{}")
    return (
        line.row.name,
        str(len(line.runs)),
        _plus_minus(line.ap),
        "" if paper.ap is None else theirs.format(f"{paper.ap:g}"),
        _plus_minus(line.ap_pooled) if len(line.folds) > 1 else "",
        _plus_minus(line.ap_trapezoid),
        f"{_count(line.best_f1_on_test_fp)} / {_count(line.best_f1_on_test_fn)}",
        theirs.format(f"{paper.fp} / {paper.fn}") if both else "",
        f"{_count(line.fp)} / {_count(line.fn)}",
        difference,
        p.replace("*", "\\*"),
    )


def _circumstances(line: Line) -> tuple[str, ...]:
    runs = line.runs
    return (
        "all" if set(line.folds) == set(line.row.folds) else f"{', '.join(line.folds)} only",
        _all(line.seeds, ", "),
        _all(run.epochs for run in runs),
        _all(f"{run.height} x {run.width}" for run in runs),
        _all(run.precision for run in runs),
        _all(run.threshold_from for run in runs),
        _all(run.commit for run in runs),
        _all(run.machine for run in runs),
    )


def _mean_race(races: Sequence[Race]) -> tuple[str, ...]:
    def both(name: str, digits: int) -> str:
        pairs = [getattr(each, name) for each in races]
        return " / ".join(_plus_minus(spread(values), digits) for values in zip(*pairs, strict=True))

    return (
        races[0].line,
        races[0].against,
        str(len(races)),
        _plus_minus(spread([100 * each.ap for each in races])),
        both("epochs", 1),
        both("steps", 0),
        both("seconds", 0),
    )


def _what_is_missing(table: Table, lines: Sequence[Line]) -> list[str]:
    notes = []
    for line in lines:
        if line.failed:
            whose = "their loss" if line.row.after is None else "their loss, or that of the run before,"
            notes.append(f"- {line.name}: {line.failed} trainings failed, as {whose} was no longer finite")
        if line.unused:
            notes.append(f"- {line.name}: {line.unused} runs of seeds that do not have all the folds yet")
    command = f"segdec reproduce {table.name} --data DIR"
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for line in lines:
        if line.runs and set(line.folds) != set(line.row.folds):
            folds = tuple(fold for fold in line.row.folds if fold not in line.folds)
            lacking.setdefault((line.changes, folds), []).append(line.row.name)
    for (changes, folds), rows in lacking.items():
        what = f"{', '.join(rows)} with {changes}" if changes else ", ".join(rows)
        how = f"`{command} --rows {' '.join(rows)} --folds {' '.join(folds)}`"
        notes.append(
            f"- {what}: no figure of {', '.join(folds)}; {how}{' and the same --set' if changes else ''}"
        )
    missing = [line.row.name for line in lines if not (line.runs or line.failed or line.unused)]
    if missing:
        some = "" if len(missing) == len(table.rows) else f" --rows {' '.join(missing)}"
        notes.append(f"- as the recipe says, not run: `{command}{some}`")
    return notes


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table, without the columns that are empty in all rows."""
    if not rows:
        return ""
    filled = [at for at in range(len(head)) if any(row[at] for row in rows)]
    lines = [[head[at] for at in filled], ["---" for _ in filled]]
    lines += [[row[at] for at in filled] for row in rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _all(values: Iterable[object], between: str = "; ") -> str:
    return between.join(dict.fromkeys(str(value) for value in values))


def _plus_minus(found: Spread, digits: int = 2) -> str:
    if found.mean is None:
        return "undefined"
    return f"{found.mean:.{digits}f}" + (
        f" ± {found.deviation:.{digits}f}" if found.deviation is not None else ""
    )


def _count(found: Spread) -> str:
    return "–" if found.mean is None else f"{found.mean:g}" if found.mean % 1 == 0 else f"{found.mean:.1f}"


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
