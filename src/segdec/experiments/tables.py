"""The paper's experiments as data: tables of rows, each a recipe with changes.

Sources: arXiv:2007.07676 (the paper) and, for the table "mixed", arXiv:2104.06064. Only figures of theirs
that are known stand here: from the paper itself, or, marked as quoted, from tables of later papers.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace

from segdec.errors import ConfigError

DATA_SETS = {
    "dagm": "DAGM 2007: a folder of Class1 to Class10, or of some of them",
    "kolektor": "KolektorSDD: kos01 to kos50, and the published folds as splits.json beside them",
    "kolektor2": "KolektorSDD2: train/ and test/",
    "severstal": "Severstal: train_images/ and train.csv",
}
"""What --data must name, by the layout that segdec takes it for."""

FOLDS = {
    "dagm": tuple(f"class{number}" for number in range(1, 11)),
    "kolektor": ("fold0", "fold1", "fold2"),
    "kolektor2": ("whole",),
    "severstal": ("whole",),
}
"""The trainings of one row and seed: classes, folds of a cross-validation, or a single one."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a paper reports of a row; None is not known.

    Attributes
    ----------
    ap
        In per cent: of all folds or classes, their mean.
    fp, fn
        Over all folds or classes, at the threshold of best F1 on the test images.
    quoted
        True of figures that are known from later papers' tables only.
    """

    ap: float | None = None
    fp: int | None = None
    fn: int | None = None
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: one configuration, to be trained on each fold with each seed.

    Attributes
    ----------
    name
        Unique in its table.
    data
        One of `DATA_SETS`; the recipe has the same name.
    settings
        Laid over the recipe, as for ``--set``.
    folder
        Of its runs, below the folder of all results. Rows that are the same experiment share it.
    paper
        The figures to stand beside ours.
    against
        Name of the row that it is compared with, None for none.
    positives
        Defective images that teach, as far as known without the data; of KolektorSDD items, some of which
        have more than one.
    folds
        Of `FOLDS`.
    after
        Name of the row whose run chooses the masks of this one; None where nobody has to.
    masks
        How many of the positives have masks, where that is what rows differ in; None is all.
    curves
        The curves of AP over the number of masks that it is a point of.
    """

    name: str
    data: str
    settings: tuple[str, ...]
    folder: str
    paper: Figures = Figures()
    against: str | None = None
    positives: int | None = None
    folds: tuple[str, ...] = ()
    after: str | None = None
    masks: int | None = None
    curves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One of the experiments.

    Attributes
    ----------
    name
        As in ``segdec reproduce NAME``.
    title
        In words.
    rows
        In the order of the table.
    to_same_ap
        True also compares how long each row takes to the same validation AP as the one it stands against.
    """

    name: str
    title: str
    rows: tuple[Row, ...] = field(repr=False)
    to_same_ap: bool = False

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets of its rows."""
        return tuple(dict.fromkeys(row.data for row in self.rows))


PERFECT = Figures(ap=100.0, fp=0, fn=0)
"""Every defect found, no false alarm."""

TWINS = 'data.together=[["kos01", "kos26"], ["kos27", "kos34"], ["kos38", "kos39"]]'
"""Items of KolektorSDD that are one: the images of two pairs are equal byte for byte, the third is one item
recorded twice."""

_PARTS = {
    "balance": "loss.balance=none",
    "adjustment": "train.gradient_adjustment=false",
    "weights": "loss.distance_weights=false",
    "sampling": "train.frequency_of_use=false",
}
"""The parts of the method, in the order of the cumulative ablation, and what leaves each out."""

_WEAK = ("loss.balance=decision", "train.gradient_adjustment=false")
"""Without any mask the decision loss alone teaches both stages, so its gradient must flow."""


def _row(name: str, data: str, folder: str, *settings: str, **more: object) -> Row:
    row = Row(name, data, settings, folder, folds=FOLDS[data])
    return replace(row, **more)  # type: ignore[arg-type]


def _dagm() -> tuple[Row, ...]:
    whole = _row("all-classes", "dagm", "dagm/full", paper=PERFECT)
    positives = {"class8": 150}  # the only class whose published numbers are known here
    each = (replace(whole, name=name, folds=(name,), positives=positives.get(name)) for name in FOLDS["dagm"])
    return (*each, whole)


def _kolektor() -> tuple[Row, ...]:
    epochs = {33: 35, 25: 40, 20: 50, 15: 70, 10: 90, 5: 150}
    rows = [
        _row(
            str(n),
            "kolektor",
            f"kolektor/{n}",
            f"data.setting={n}_{n}",
            f"train.epochs={epochs[n]}",
            positives=n,
            against=None if n == 33 else "33",
            paper=PERFECT if n == 33 else Figures(),
        )
        for n in epochs
    ]
    variants = {
        "33-twins-together": (TWINS,),
        "33-boxes": ("data.masks=boxes",),
        "33-boxes-twins-together": ("data.masks=boxes", TWINS),
    }
    first = replace(rows[0], against="33")
    for name, settings in variants.items():
        paper = PERFECT if name == "33-boxes" else Figures()  # the paper's folds and kind of masks
        row = replace(first, name=name, folder=f"kolektor/{name}", paper=paper)
        rows.append(replace(row, settings=(*first.settings, *settings)))
    return tuple(rows)


def _severstal_row(positives: int) -> Row:
    epochs = {300: 90, 750: 70, 1000: 50, 1500: 50, 3000: 40}[positives]
    return _row(
        str(positives),
        "severstal",
        f"severstal/{positives}",
        "data.test_images=[1200, 1200]",
        f"data.positives={positives}",
        f"train.epochs={epochs}",
        positives=positives,
    )


def _ablation() -> tuple[Row, ...]:
    rows: list[Row] = []
    # which number of Severstal's positives the paper ablates with is not known; its settings list 1000
    bases = (_dagm()[-1], _kolektor()[0], _severstal_row(1000))
    for base in bases:
        full = replace(base, name=f"{base.data}-all")
        rows.append(full)
        one_less = {
            part: replace(
                full,
                name=f"{base.data}-no-{part}",
                folder=f"ablation/{base.data}-no-{part}",
                settings=(*base.settings, setting),
                paper=Figures(),
                against=full.name,
            )
            for part, setting in _PARTS.items()
        }
        rows += one_less.values()
        names = list(_PARTS)
        for count in range(len(names) - 1):
            name = f"{base.data}-only-" + ("-".join(names[:count]) or "nothing")
            left_out = tuple(_PARTS[part] for part in names[count:])
            settings = (*base.settings, *left_out)
            rows.append(replace(one_less["balance"], name=name, folder=f"ablation/{name}", settings=settings))
        # all but the last part is the last row of both ablations: its runs serve both
        last = one_less[names[-1]]
        rows.append(replace(last, name=f"{base.data}-only-" + "-".join(names[:-1])))
    return tuple(rows)


def _two_stage() -> tuple[Row, ...]:
    rows = []
    for data, epochs, positives in (("kolektor", 35, 26), ("dagm", 60, None)):
        schemes = {
            "end-to-end": ("dynamic", epochs),
            "two-stage": ("two-stage", epochs),
            "two-stage-twice-as-long": ("two-stage", 2 * epochs),
        }
        for name, (balance, count) in schemes.items():
            rows.append(
                _row(
                    f"{data}-{name}",
                    data,
                    f"two-stage/{data}-{name}",
                    f"loss.balance={balance}",
                    f"train.epochs={count}",
                    "data.val_fraction=0.2",
                    "train.validate_every=1",
                    positives=positives,
                    against=None if name == "end-to-end" else f"{data}-end-to-end",
                )
            )
    return tuple(rows)


_MIXED: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[int | None, float | None]]] = {
    "dagm": (
        (
            "train.learning_rate=0.05",
            "train.batch_size=1",
            "train.epochs=70",
            "loss.w_pos=10",
            "data.dilation=7",
        ),
        ("train.learning_rate=0.05", "loss.delta=1"),
        {None: 100.0, 15: 100.0, 5: 91.5, 0: 74.0},
    ),
    "kolektor": (
        ("train.learning_rate=1", "train.epochs=50", "data.dilation=7"),
        ("train.learning_rate=0.01", "loss.delta=1"),
        {33: 100.0, 20: None, 15: None, 10: None, 5: 99.1, 0: 93.4},
    ),
    "kolektor2": (
        (),
        ("train.learning_rate=0.01", "loss.delta=1"),
        {None: 95.4, 126: 92.4, 53: 89.1, 16: 83.2, 0: 73.3},
    ),
    "severstal": (
        _severstal_row(3000).settings,
        ("train.learning_rate=0.1", "loss.delta=0.1"),
        {None: None, 1500: None, 750: None, 300: None, 0: None},
    ),
}
"""Data set -> settings, settings without any mask, and masks (None: all) -> that paper's AP; of these figures
only KolektorSDD2's were confirmed."""


def _mixed() -> tuple[Row, ...]:
    positives = {"kolektor": 33, "kolektor2": 246, "severstal": 3000}
    rows: list[Row] = []
    for data, (settings, weak, figures) in _MIXED.items():
        first = ""
        for masks, ap in figures.items():
            name = f"{data}-{'all' if masks is None else masks}-masks"
            kept = f"data.setting=33_{masks}" if data == "kolektor" else f"data.masked_positives={masks}"
            rows.append(
                _row(
                    name,
                    data,
                    "severstal/3000" if name == "severstal-all-masks" else f"mixed/{name}",
                    *settings,
                    *((kept,) if masks is not None else ()),
                    *((*weak, *_WEAK) if masks == 0 else ()),
                    paper=Figures(ap=ap, quoted=ap is not None and data != "kolektor2"),
                    positives=positives.get(data),
                    against=first or None,
                )
            )
            first = first or name
    return tuple(rows)


def _suggest() -> tuple[Row, ...]:
    settings = _MIXED["kolektor"][0]

    def row(masks: int, how: str, *curves: str) -> Row:
        return _row(
            f"{how}-{masks}".removeprefix("-"),
            "kolektor",
            f"suggest/{how}-{masks}".replace("/-", "/"),
            *settings,
            f"data.masked_positives={masks}",
            positives=33,
            masks=masks,
            curves=curves or (how,),
        )

    rows = [row(5, "", "random", "suggest")]
    for masks in (10, 15, 20, 25, 30):
        # of one seed, the fewer random masks are always among the more
        random = row(masks, "random")
        before = "5" if masks == 10 else f"suggest-{masks - 5}"
        rows += [random, replace(row(masks, "suggest"), after=before, against=random.name)]
    whole = _row("all", "kolektor", "mixed/kolektor-33-masks", *settings, positives=33)
    return (*rows, replace(whole, curves=("random", "suggest")))


def _departures() -> tuple[Row, ...]:
    base = replace(_kolektor()[0], name="as-here", paper=PERFECT)
    val = ("data.val_fraction=0.2",)
    changes: dict[str, tuple[tuple[str, ...], str]] = {
        "soft-decision-target": (("loss.decision_target=soft",), "as-here"),
        "box-masks": (("data.masks=boxes",), "as-here"),
        "d-max-per-component": (("loss.d_max=component",), "as-here"),
        "area-reduction": (("loss.reduction=area",), "as-here"),
        "validated-last-epoch": (val, "as-here"),
        "validated-best-epoch": ((*val, "train.select=best"), "validated-last-epoch"),
        "fp32": (("train.precision=fp32",), "as-here"),
        "bf16": (("train.precision=bf16",), "fp32"),
    }
    rows = [base]
    for name, (settings, against) in changes.items():
        folder = "kolektor/33-boxes" if name == "box-masks" else f"departures/{name}"
        row = replace(base, name=name, folder=folder, paper=Figures(), against=against)
        positives = 26 if val[0] in settings else base.positives
        rows.append(replace(row, settings=(*base.settings, *settings), positives=positives))
    return tuple(rows)


TABLES = {
    table.name: table
    for table in (
        Table("dagm", "DAGM 2007, ten classes", _dagm()),
        Table("kolektor", "KolektorSDD, three folds, 33 to 5 positive items", _kolektor()),
        Table(
            "severstal",
            "Severstal, 300 to 3000 positive images",
            tuple(_severstal_row(n) for n in (300, 750, 1500, 3000)),
        ),
        Table("ablation", "Parts of the method left out, one by one and together", _ablation()),
        Table("two-stage", "One training end to end, or one stage after the other", _two_stage(), True),
        Table("mixed", "Masks for some of the positives, labels for all", _mixed()),
        Table("suggest", "Masks chosen by segdec suggest, or at random; labels for all", _suggest()),
        Table("departures", "Where segdec departs from the reference, on KolektorSDD", _departures()),
    )
}
"""Every experiment by its name."""


def find_table(name: str) -> Table:
    """Return a table by its name.

    Parameters
    ----------
    name
        One of `TABLES`.

    Returns
    -------
    Table

    Raises
    ------
    ConfigError
        If there is none of that name.

    Examples
    --------
    >>> [row.name for row in find_table("severstal").rows]
    ['300', '750', '1500', '3000']
    """
    if name not in TABLES:
        close = difflib.get_close_matches(name, TABLES, n=1, cutoff=0.5)
        hint = f' (did you mean "{close[0]}"?)' if close else ""
        raise ConfigError(f'no table "{name}"{hint}; there are {", ".join(TABLES)}')
    return TABLES[name]
