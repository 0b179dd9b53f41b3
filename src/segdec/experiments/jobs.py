"""From a table to its single trainings: what is trained on, with which settings, in which folder."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segdec.config import Config, load_config
from segdec.data.open import LAYOUTS
from segdec.errors import ConfigError, DataError
from segdec.experiments.tables import DATA_SETS, Row, Table

MACHINE_SETTINGS = (
    "data.workers",
    "data.cache_mib",
    "train.accumulate",
    "train.compile",
    "train.context",
    "train.tensorboard",
)
"""Settings that say how a run is computed, not what: they make no row of its own."""

_OPTIONS = {"train.seed": "--seeds", "data.fold": "--folds", "data.splits": "--splits"}
"""Settings that a training gets from an option of its own: by --set every training would get the same."""

_LONGEST_NAME = 120
_PLAIN = re.compile(r"""(["']?)[\w.-]*\1|\[[\d.,\s-]*\]""")
"""A value that a file name can hold in full: a word, a number, a list of numbers."""

DONE, FAILED = "done.json", "failed.json"
"""Files of a run folder that say that nothing is left to be done."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: a row, a fold and a seed.

    Attributes
    ----------
    row
        Of the table.
    settings
        What ``--set`` changes in every row, as `changes` gives it; none for the row as it is.
    fold
        One of the row's folds.
    seed
        Of the training.
    data
        The data set, or its class.
    folder
        The run folder.
    config
        In full, but for what the data decide.
    command
        What measures it again, but for where the data lie.
    after
        Folder of the run that chooses the masks of this one; None where nobody has to.
    """

    row: Row
    settings: tuple[str, ...]
    fold: str
    seed: int
    data: Path
    folder: Path
    config: Config
    command: str
    after: Path | None = None

    @property
    def variant(self) -> str:
        """The settings, as part of a file name."""
        return variant_name(self.settings)

    @property
    def settled(self) -> bool:
        """True once it is done, or has failed for good."""
        return _is_settled(self.folder)

    @property
    def ready(self) -> bool:
        """False while the run that chooses its masks is not settled."""
        return self.after is None or _is_settled(self.after)


def plan(
    table: Table,
    data: Sequence[str],
    out: Path,
    seeds: Sequence[int] = (0,),
    rows: Sequence[str] = (),
    folds: Sequence[str] = (),
    settings: Sequence[str] = (),
    splits: Path | None = None,
) -> list[Job]:
    """List the trainings of a table, one seed after the other, so that every row soon has a figure.

    Parameters
    ----------
    table
        One of `segdec.experiments.tables.TABLES`.
    data
        Folders of data sets, each DIR or NAME=DIR. Rows of a data set that is not given are left out.
    out
        Folder of all results.
    seeds
        Of the trainings.
    rows
        Names of rows; empty takes all.
    folds
        "0" or "fold0", "8" or "class8"; empty takes all.
    settings
        Laid over the settings of every row.
    splits
        The published folds of KolektorSDD; None looks for splits.json in the data set and beside it.

    Returns
    -------
    list of Job

    Raises
    ------
    ConfigError
        If a row, fold or setting does not exist.
    DataError
        If a folder is no data set of this table, or the splits are missing.
    """
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key in _OPTIONS:
            raise ConfigError(f"--set {key} would be the same in every training; use {_OPTIONS[key]} instead")
    folders = find_data(table, data)
    wanted = choose_rows(table, rows, folds)
    chosen = [row for row in wanted if row.data in folders]
    if not chosen:
        needed = ", ".join(dict.fromkeys(row.data for row in wanted))
        raise DataError(f"these rows need other data; name a folder of {needed} by --data")
    changed = changes(settings)
    jobs: dict[Path, Job] = {}
    for seed in seeds:
        for row in chosen:
            root = folders[row.data]
            own = (f"data.splits={_toml(_splits(root, splits))}",) if row.data == "kolektor" else ()
            previous = next((one for one in chosen if one.name == row.after), None)
            for fold in row.folds:
                job = Job(
                    row,
                    changed,
                    fold,
                    seed,
                    _place(root, fold),
                    _folder(out, row, changed, fold, seed),
                    configure(row, fold, seed, (*own, *settings)),
                    _command(table, row, fold, seed, settings, splits),
                    None if previous is None else _folder(out, previous, changed, fold, seed),
                )
                # rows that are the same experiment share their runs: the first stands for all
                jobs.setdefault(job.folder, job)
    return list(jobs.values())


def configure(row: Row, fold: str, seed: int, settings: Sequence[str]) -> Config:
    """Return the configuration of one training of a row.

    Parameters
    ----------
    row
        Of a table.
    fold
        One of its folds.
    seed
        Of the training.
    settings
        Laid over the row's own.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        If a setting does not exist or cannot be.
    """
    folds = (f"data.fold={fold.removeprefix('fold')}",) if fold.startswith("fold") else ()
    return load_config(row.data, (*row.settings, *folds, f"train.seed={seed}", *settings))


def _folder(out: Path, row: Row, settings: Sequence[str], fold: str, seed: int) -> Path:
    return out / (row.folder + variant_name(settings)) / f"{fold}-seed{seed}"


def _command(
    table: Table, row: Row, fold: str, seed: int, settings: Sequence[str], splits: Path | None
) -> str:
    """Return what measures a run again; of the splits file only the name, as it lies elsewhere there."""
    words = ["segdec", "reproduce", table.name, "--data", "DIR", "--rows", row.name]
    words += ["--folds", fold, "--seeds", str(seed)]
    words += ["--splits", splits.name] if splits is not None and row.data == "kolektor" else []
    return shlex.join([*words, *(word for setting in settings for word in ("--set", setting))])


def _is_settled(folder: Path) -> bool:
    return (folder / DONE).exists() or (folder / FAILED).exists()


def find_data(table: Table, given: Sequence[str]) -> dict[str, Path]:
    """Tell which folder holds which data set.

    Parameters
    ----------
    table
        Which data sets are needed.
    given
        Each DIR, whose layout is recognised, or NAME=DIR.

    Returns
    -------
    dict
        Data set -> folder.

    Raises
    ------
    DataError
        If a folder is none of these data sets.
    """
    needed = "; ".join(f"{name} ({DATA_SETS[name]})" for name in table.data)
    found: dict[str, Path] = {}
    for words in given:
        name, equals, path = words.rpartition("=")
        root = Path(path)
        if not root.exists():
            raise DataError(f"{root} does not exist; --data names the folder of a data set")
        layout = next((layout.name for layout in LAYOUTS if layout.looks_like(root)), "no data set")
        if layout not in table.data or (equals and name != layout):
            raise DataError(f"{root} was taken for {layout}; the table {table.name} needs: {needed}")
        found[layout] = root.resolve()
    if not found:
        raise DataError(f"no data given; the table {table.name} needs --data with: {needed}")
    return found


def choose_rows(table: Table, names: Sequence[str], folds: Sequence[str] = ()) -> tuple[Row, ...]:
    """Choose rows of a table, and with them those that they come after; and of each row the folds.

    Parameters
    ----------
    table
        Whose rows.
    names
        Of the rows; empty takes all.
    folds
        "0" or "fold0", "8" or "class8"; empty takes all.

    Returns
    -------
    tuple of Row
        In the table's order, without rows that have none of the folds.

    Raises
    ------
    ConfigError
        If there is no row of a name, or no row has any of the folds.
    """
    known = [row.name for row in table.rows]
    for name in names:
        if name not in known:
            raise ConfigError(f'the table {table.name} has no row "{name}"; there are {", ".join(known)}')
    wanted = set(names or known)
    for row in reversed(table.rows):  # a row stands below the one that it comes after
        if row.name in wanted and row.after is not None:
            wanted.add(row.after)
    rows = [row for row in table.rows if row.name in wanted]
    chosen = [replace(row, folds=tuple(each for each in row.folds if _is_meant(each, folds))) for row in rows]
    if not any(row.folds for row in chosen):
        raise ConfigError(
            f"no fold {', '.join(folds)}; the row {rows[0].name} has {', '.join(rows[0].folds)}"
        )
    return tuple(row for row in chosen if row.folds)


def _is_meant(fold: str, folds: Sequence[str]) -> bool:
    return not folds or fold in folds or re.sub(r"^\D+", "", fold) in folds


def changes(settings: Sequence[str]) -> tuple[str, ...]:
    """Return the settings that change what is computed.

    Parameters
    ----------
    settings
        As given, each ``section.key=value``.

    Returns
    -------
    tuple of str
        Sorted; of a key that was given twice the last value, which is the one that counts.

    Examples
    --------
    >>> changes(["train.epochs=5", "data.workers=0", "train.epochs=6"])
    ('train.epochs=6',)
    """
    values = {key.strip(): value.strip() for key, _, value in (each.partition("=") for each in settings)}
    return tuple(sorted(f"{key}={value}" for key, value in values.items() if key not in MACHINE_SETTINGS))


def variant_name(settings: Sequence[str]) -> str:
    """Return what settings add to the name of a row.

    Parameters
    ----------
    settings
        From `changes`.

    Returns
    -------
    str
        Fit for a file name, and another one for other settings: a value that a file name cannot hold gets a
        hash, and of very many settings there are only their number and a hash.

    Examples
    --------
    >>> variant_name(["data.image_size=[704, 256]", "train.epochs=5"])
    '+image_size=704x256+epochs=5'
    """
    words = []
    for setting in settings:
        key, _, value = setting.partition("=")
        plain = re.sub(r"[\[\]\s\"']", "", value).replace(",", "x")
        word = "+" + key.rpartition(".")[2] + "=" + re.sub(r"[^\w.=-]", "-", plain)
        words.append(word if _PLAIN.fullmatch(value) else f"{word}-{_hash(value)[:8]}")
    name = "".join(words)
    return name if len(name) <= _LONGEST_NAME else f"+{len(settings)}-settings-{_hash(name)[:12]}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _place(root: Path, fold: str) -> Path:
    """Return what one fold is trained on: a class has a folder of its own."""
    if not fold.startswith("class"):
        return root
    for path in (root, *sorted(root.glob("*"))):
        if path.name.lower() == fold:
            return path
    raise DataError(f"{root} holds no {fold.capitalize()}; choose those it holds by --folds")


def _splits(root: Path, given: Path | None) -> Path:
    """Return the file of KolektorSDD's published folds."""
    places = [given] if given is not None else [root / "splits.json", root.parent / "splits.json"]
    for path in places:
        if path.is_file():
            return path.resolve()
    raise DataError(
        f"KolektorSDD's published folds are not at {' or '.join(map(str, places))};"
        " name the file (.json or .pyb) by --splits"
    )


def _toml(path: Path) -> str:
    return "'" + str(path) + "'" if "'" not in str(path) else f'"{path}"'
