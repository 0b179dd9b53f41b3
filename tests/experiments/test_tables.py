"""The tables: every row is a valid configuration, and rows share runs exactly when they are the same."""

from collections import defaultdict

import pytest

from segdec.config import load_config
from segdec.errors import ConfigError
from segdec.experiments import TABLES, efforts, find_table
from segdec.experiments.tables import FOLDS, PERFECT, Figures

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


@pytest.mark.parametrize(
    ("positives", "epochs"), [(33, 35), (25, 40), (20, 50), (15, 70), (10, 90), (5, 150)]
)
def test_fewer_positives_of_kolektor_take_the_papers_epochs(positives, epochs):
    row = next(row for row in find_table("kolektor").rows if row.name == str(positives))
    config = load_config("kolektor", row.settings)
    assert (config.data.setting, config.train.epochs) == (f"{positives}_{positives}", epochs)


def test_the_ablations_switch_off_what_they_say():
    rows = {row.name: load_config(row.data, row.settings) for row in find_table("ablation").rows}

    def parts(name):
        config = rows[name]
        return (
            config.loss.balance == "dynamic",
            config.train.gradient_adjustment,
            config.loss.distance_weights,
            config.train.frequency_of_use,
        )

    for data in ("dagm", "kolektor", "severstal"):
        assert parts(f"{data}-all") == (True, True, True, True)
        assert parts(f"{data}-no-balance") == (False, True, True, True)
        assert parts(f"{data}-no-adjustment") == (True, False, True, True)
        assert parts(f"{data}-no-weights") == (True, True, False, True)
        assert parts(f"{data}-no-sampling") == (True, True, True, False)
        assert parts(f"{data}-only-nothing") == (False, False, False, False)
        assert parts(f"{data}-only-balance") == (True, False, False, False)
        assert parts(f"{data}-only-balance-adjustment") == (True, True, False, False)
        assert parts(f"{data}-only-balance-adjustment-weights") == (True, True, True, False)


def test_without_masks_the_gradient_flows():
    for row in find_table("mixed").rows:
        config = load_config(row.data, row.settings)
        weak = row.name.endswith("-0-masks")
        assert (config.loss.balance == "decision") == weak
        assert config.train.gradient_adjustment == (not weak)


def test_only_known_figures_of_the_papers_are_stated():
    stated = {(t.name, r.name): r.paper for t, r in ROWS if r.paper != Figures()}
    assert stated["kolektor", "33"] == PERFECT
    assert stated["mixed", "kolektor-5-masks"].ap == 99.1
    assert not any(name.startswith("severstal") for _, name in stated)
    assert ("kolektor", "15") not in stated


def test_three_folds_of_kolektor_are_6930_steps():
    row = find_table("kolektor").rows[0]
    assert [(e.steps, e.trainings) for e in efforts([row], seeds=2)] == [(2 * 6930, 6)]


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(ConfigError, match=r'no table "kolector" .did you mean "kolektor"'):
        find_table("kolector")
