"""The tables: every row is a valid configuration, and rows share runs exactly when they are the same."""

from collections import defaultdict

import pytest

from segdec.config import Config, load_config
from segdec.errors import ConfigError
from segdec.experiments import TABLES, efforts, find_table
from segdec.experiments.tables import FOLDS, Figures

ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{t.name}-{r.name}" for t, r in ROWS])
def test_every_row_is_a_configuration(table, row):
    load_config(row.data, row.settings)
    names = [other.name for other in table.rows]
    assert names.count(row.name) == 1
    assert row.against is None or row.against in names
    assert row.after is None or names.index(row.after) < names.index(row.name)
    assert set(row.folds) <= set(FOLDS[row.data])
    assert "+" not in row.folder, "it separates a row from what --set changes"


def test_rows_share_a_folder_exactly_when_they_are_the_same_experiment():
    folders, configs = defaultdict(set), defaultdict(set)
    for _, row in ROWS:
        # which masks there are may be chosen by the row before
        config = load_config(row.data, row.settings).model_dump_json() + (row.after or "")
        folders[config].add(row.folder)
        configs[row.folder].add(config)
    assert all(len(names) == 1 for names in folders.values())
    assert all(len(each) == 1 for each in configs.values())


# What the papers trained with, written out once more: a figure that is mistyped in the tables must not agree
# with itself. By data set, what differs from segdec's defaults; then by row, what differs from its data set.

PAPER = {
    "dagm": {
        "data.image_size": [512, 512],
        "data.channels": 1,
        "data.val_fraction": 0.0,
        "train.epochs": 60,
        "train.learning_rate": 0.01,
        "train.batch_size": 5,
        "loss.delta": 1.0,
        "loss.p": 1.0,
        "loss.w_pos": 20.0,
    },
    "kolektor": {
        "data.image_size": [1408, 512],
        "data.channels": 1,
        "data.val_fraction": 0.0,
        "train.epochs": 35,
        "train.learning_rate": 0.5,
        "train.batch_size": 1,
        "loss.delta": 0.01,
        "loss.p": 2.0,
        "loss.w_pos": 1.0,
    },
    "severstal": {
        "data.image_size": [256, 1600],
        "data.channels": 1,
        "data.test_images": [1200, 1200],
        "train.learning_rate": 0.1,
        "train.batch_size": 10,
        "loss.delta": 0.1,
        "loss.p": 2.0,
        "loss.w_pos": 1.0,
    },
}
MIXED = {
    "dagm": PAPER["dagm"]
    | {
        "train.epochs": 70,
        "train.learning_rate": 0.05,
        "train.batch_size": 1,
        "loss.w_pos": 10.0,
        "data.dilation": 7,
    },
    "kolektor": PAPER["kolektor"] | {"train.epochs": 50, "train.learning_rate": 1.0, "data.dilation": 7},
    "kolektor2": {
        "data.image_size": [640, 232],
        "data.channels": 3,
        "network.in_channels": 3,
        "data.val_fraction": 0.0,
        "data.dilation": 15,
        "train.epochs": 50,
        "train.learning_rate": 0.01,
        "train.batch_size": 1,
        "loss.delta": 1.0,
        "loss.p": 2.0,
        "loss.w_pos": 3.0,
    },
    "severstal": PAPER["severstal"] | {"data.positives": 3000, "train.epochs": 40},
}
WEAK = {"loss.balance": "decision", "train.gradient_adjustment": False}
TWINS = {"data.together": [["kos01", "kos26"], ["kos27", "kos34"], ["kos38", "kos39"]]}
LEFT_OUT = {
    "no-balance": {"loss.balance": "none"},
    "no-adjustment": {"train.gradient_adjustment": False},
    "no-weights": {"loss.distance_weights": False},
    "no-sampling": {"train.frequency_of_use": False},
}
ONLY = {
    "only-nothing": tuple(LEFT_OUT),
    "only-balance": ("no-adjustment", "no-weights", "no-sampling"),
    "only-balance-adjustment": ("no-weights", "no-sampling"),
    "only-balance-adjustment-weights": ("no-sampling",),
}
ABLATION = {
    "all": {},
    **LEFT_OUT,
    **{
        name: {key: value for part in parts for key, value in LEFT_OUT[part].items()}
        for name, parts in ONLY.items()
    },
}
BOTH = {
    "data.val_fraction": 0.2,
    "train.validate_every": 1,
}  # the two schemes are compared on validation data


def two_stage(data, epochs):
    return {
        f"{data}-end-to-end": BOTH | {"train.epochs": epochs},
        f"{data}-two-stage": BOTH | {"train.epochs": epochs, "loss.balance": "two-stage"},
        f"{data}-two-stage-twice-as-long": BOTH | {"train.epochs": 2 * epochs, "loss.balance": "two-stage"},
    }


WRITTEN_OUT = {
    "dagm": (PAPER, {**{f"class{number}": {} for number in range(1, 11)}, "all-classes": {}}),
    "kolektor": (
        PAPER,
        {
            "33": {"data.setting": "33_33", "train.epochs": 35},
            "25": {"data.setting": "25_25", "train.epochs": 40},
            "20": {"data.setting": "20_20", "train.epochs": 50},
            "15": {"data.setting": "15_15", "train.epochs": 70},
            "10": {"data.setting": "10_10", "train.epochs": 90},
            "5": {"data.setting": "5_5", "train.epochs": 150},
            "33-twins-together": TWINS,
            "33-boxes": {"data.masks": "boxes"},
            "33-boxes-twins-together": {"data.masks": "boxes"} | TWINS,
        },
    ),
    "severstal": (
        PAPER,
        {
            "300": {"data.positives": 300, "train.epochs": 90},
            "750": {"data.positives": 750, "train.epochs": 70},
            "1500": {"data.positives": 1500, "train.epochs": 50},
            "3000": {"data.positives": 3000, "train.epochs": 40},
        },
    ),
    "ablation": (
        PAPER | {"severstal": PAPER["severstal"] | {"data.positives": 1000, "train.epochs": 50}},
        {f"{data}-{name}": change for data in PAPER for name, change in ABLATION.items()},
    ),
    "two-stage": (PAPER, two_stage("kolektor", 35) | two_stage("dagm", 60)),
    "mixed": (
        MIXED,
        {
            "dagm-all-masks": {},
            "dagm-15-masks": {"data.masked_positives": 15},
            "dagm-5-masks": {"data.masked_positives": 5},
            "dagm-0-masks": WEAK | {"data.masked_positives": 0},
            "kolektor-33-masks": {"data.setting": "33_33"},
            "kolektor-20-masks": {"data.setting": "33_20"},
            "kolektor-15-masks": {"data.setting": "33_15"},
            "kolektor-10-masks": {"data.setting": "33_10"},
            "kolektor-5-masks": {"data.setting": "33_5"},
            "kolektor-0-masks": WEAK
            | {"data.setting": "33_0", "train.learning_rate": 0.01, "loss.delta": 1.0},
            "kolektor2-all-masks": {},
            "kolektor2-126-masks": {"data.masked_positives": 126},
            "kolektor2-53-masks": {"data.masked_positives": 53},
            "kolektor2-16-masks": {"data.masked_positives": 16},
            "kolektor2-0-masks": WEAK | {"data.masked_positives": 0},
            "severstal-all-masks": {},
            "severstal-1500-masks": {"data.masked_positives": 1500},
            "severstal-750-masks": {"data.masked_positives": 750},
            "severstal-300-masks": {"data.masked_positives": 300},
            "severstal-0-masks": WEAK | {"data.masked_positives": 0},
        },
    ),
    "suggest": (
        MIXED,
        {
            **{"5": {"data.masked_positives": 5}, "all": {}},
            **{
                f"{how}-{masks}": {"data.masked_positives": masks}
                for how in ("random", "suggest")
                for masks in (10, 15, 20, 25, 30)
            },
        },
    ),
    "departures": (
        PAPER,
        {
            "as-here": {},
            "soft-decision-target": {"loss.decision_target": "soft"},
            "box-masks": {"data.masks": "boxes"},
            "d-max-per-component": {"loss.d_max": "component"},
            "area-reduction": {"loss.reduction": "area"},
            "validated-last-epoch": {"data.val_fraction": 0.2},
            "validated-best-epoch": {"data.val_fraction": 0.2, "train.select": "best"},
            "fp32": {"train.precision": "fp32"},
            "bf16": {"train.precision": "bf16"},
        },
    ),
}


def flat(config):
    tree = config.model_dump(mode="json")
    return {f"{section}.{key}": value for section, keys in tree.items() for key, value in keys.items()}


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{t.name}-{r.name}" for t, r in ROWS])
def test_every_row_is_what_the_papers_trained_with_and_one_change(table, row):
    data_sets, rows = WRITTEN_OUT[table.name]
    assert flat(load_config(row.data, row.settings)) == flat(Config()) | data_sets[row.data] | rows[row.name]


def test_no_row_is_written_out_that_there_is_not():
    named = {(table, row) for table, (_, rows) in WRITTEN_OUT.items() for row in rows}
    assert named == {(table.name, row.name) for table, row in ROWS}


def test_without_masks_the_gradient_flows():
    for row in find_table("mixed").rows:
        config = load_config(row.data, row.settings)
        weak = row.name.endswith("-0-masks")
        assert (config.loss.balance == "decision") == weak
        assert config.train.gradient_adjustment == (not weak)


def test_the_figures_of_the_papers_are_those_written_out_here():
    stated = {f"{t.name} {r.name}": r.paper for t, r in ROWS if r.paper != Figures()}
    every_defect = Figures(ap=100.0, fp=0, fn=0)
    perfect = [f"dagm {name}" for name in (*(f"class{number}" for number in range(1, 11)), "all-classes")]
    perfect += ["kolektor 33", "kolektor 33-boxes", "ablation dagm-all", "ablation kolektor-all"]
    perfect += ["departures as-here"]
    second_hand = {
        **{"dagm-all": 100.0, "dagm-15": 100.0, "dagm-5": 91.5, "dagm-0": 74.0},
        **{"kolektor-33": 100.0, "kolektor-5": 99.1, "kolektor-0": 93.4},
    }
    confirmed = {"all": 95.4, "126": 92.4, "53": 89.1, "16": 83.2, "0": 73.3}
    assert stated == {
        **dict.fromkeys(perfect, every_defect),
        **{f"mixed {name}-masks": Figures(ap=ap, quoted=True) for name, ap in second_hand.items()},
        **{f"mixed kolektor2-{masks}-masks": Figures(ap=ap) for masks, ap in confirmed.items()},
    }


def test_three_folds_of_kolektor_are_6930_steps():
    row = find_table("kolektor").rows[0]
    assert [(e.steps, e.trainings) for e in efforts([row], seeds=2)] == [(2 * 6930, 6)]


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(ConfigError, match=r'no table "kolector" .did you mean "kolektor"'):
        find_table("kolector")
