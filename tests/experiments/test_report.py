"""Tables of runs that were made elsewhere: what is merged, what is refused, what is said of it."""

import csv
import json
from pathlib import Path

import pytest

from segdec.config import dump_toml
from segdec.experiments import find_table, write_report
from segdec.experiments.jobs import changes, configure, variant_name

KOLEKTOR = find_table("kolektor")
MACHINE = {"cpu": "CPU A", "cores": 2, "device": "cpu"}
PERFECT = ((1, 0.9), (1, 0.8), (0, 0.2), (0, 0.1))
ONE_MISSED = ((1, 0.9), (1, 0.15), (0, 0.2), (0, 0.1))


def write_run(
    out: Path,
    row,
    fold,
    seed=0,
    *,
    given=(),
    scores=PERFECT,
    items=None,
    machine=MACHINE,
    commit="c0ffee",
    precision="fp32",
    log=(),
) -> Path:
    """Lay out a run folder that is done, as `segdec.experiments.work.work` leaves it."""
    settings = changes(given)
    run = out / (row.folder + variant_name(settings)) / f"{fold}-seed{seed}"
    (run / "model").mkdir(parents=True)
    (run / "config.toml").write_text(dump_toml(configure(row, fold, seed, settings)))
    names = [
        f"{item}/Part0.jpg" for item in items or (f"kos-{fold}-{number}" for number in range(len(scores)))
    ]
    session = {"precision": precision, "commit": commit, "machine": machine}
    texts = {
        "meta.json": {"date": "2026-01-01", "counts": {"train": {"defective": 34}}},
        "split.json": {"origin": "", "train": [], "val": [], "test": names, "weak": []},
        "done.json": {"settings": settings, "command": "segdec reproduce"},
        "metrics.json": {"pixel": {"ap": None}},
        "model/model.json": {"threshold_from": "train"},
        "sessions.jsonl": session,
    }
    for name, tree in texts.items():
        (run / name).write_text(json.dumps(tree))
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    lines = [f"{name},{label},{score},0.5" for name, (label, score) in zip(names, scores, strict=True)]
    (run / "scores.csv").write_text("\n".join(["name,label,score,threshold", *lines, ""]))
    return run


def row_of(table, name):
    return next(row for row in table.rows if row.name == name)


def tabulate(table, out: Path) -> str:
    """Write a table, all of whose runs can be used, and return its Markdown."""
    _, problems = write_report(table, out)
    assert not problems
    return (out / f"{table.name}.md").read_text()


def csv_of(out: Path, name: str) -> list[dict]:
    with (out / name).open() as stream:
        return list(csv.DictReader(stream))


# --- merging ------------------------------------------------------------------------------------------------


def test_runs_of_two_machines_commits_and_precisions_share_a_line_that_says_so(tmp_path):
    row = row_of(KOLEKTOR, "33")
    for fold in row.folds:
        write_run(tmp_path, row, fold, 0)
        gpu = {"cpu": "CPU B", "cores": 16, "device": "GPU B"}
        write_run(tmp_path, row, fold, 1, machine=gpu, commit="decade", precision="bf16", scores=ONE_MISSED)
    text = tabulate(KOLEKTOR, tmp_path)
    assert "| 33 | 6 | 91.67 ± 11.79 | 100 |" in text
    assert (
        "| 33 | all | 0, 1 | 35 | 1408 x 512 | fp32; bf16 | train | c0ffee; decade | CPU A, 2 cores; GPU B |"
        in text
    )
    (line,) = (line for line in csv_of(tmp_path, "kolektor.csv") if line["row"] == "33")
    assert (line["precision"], line["commit"]) == ("fp32; bf16", "c0ffee; decade")
    assert line["machine"] == "CPU A, 2 cores; GPU B"


def test_a_run_says_the_kind_of_its_cpu_where_it_was_noted(tmp_path):
    row = row_of(KOLEKTOR, "33")
    known = MACHINE | {"cpu_kind": "avx512-bf16"}
    gpu = {"cpu": "CPU B", "cores": 16, "cpu_kind": "amx", "device": "GPU B"}
    for fold, machine in zip(row.folds, (MACHINE, known, gpu), strict=True):
        write_run(tmp_path, row, fold, machine=machine)
    tabulate(KOLEKTOR, tmp_path)
    machines = [run["machine"] for run in csv_of(tmp_path, "kolektor-runs.csv")]
    assert machines == ["CPU A, 2 cores", "CPU A (avx512-bf16), 2 cores", "GPU B"]


@pytest.mark.parametrize("fold", ["fold0", "fold1"], ids=["the same fold", "overlapping folds"])
def test_runs_of_two_divisions_into_folds_are_not_merged(tmp_path, fold):
    row = row_of(KOLEKTOR, "33")
    write_run(tmp_path, row, "fold0", 0, items=("kos01", "kos02", "kos03", "kos04"))
    write_run(tmp_path, row, fold, 1, items=("kos01", "kos02", "kos03", "kos05"))
    _, problems = write_report(KOLEKTOR, tmp_path)
    assert [f"{fold}-seed1 was made with another --splits than" in str(problem) for problem in problems] == [
        True
    ]
    text = (tmp_path / "kolektor.md").read_text()
    assert "| 33 | 1 |" in text
    assert f"- kolektor/33/{fold}-seed1 was made with another --splits" in text


def test_runs_with_twins_together_have_folds_of_their_own(tmp_path):
    write_run(tmp_path, row_of(KOLEKTOR, "33"), "fold0", items=("kos01", "kos02", "kos03", "kos04"))
    twins = row_of(KOLEKTOR, "33-twins-together")
    write_run(tmp_path, twins, "fold0", items=("kos01", "kos26", "kos03", "kos04"))
    assert "| 33-twins-together | 1 |" in tabulate(KOLEKTOR, tmp_path)


# --- beside the paper's figures -----------------------------------------------------------------------------


def test_the_papers_figure_stands_free_only_beside_all_folds(tmp_path):
    row = row_of(KOLEKTOR, "33")
    write_run(tmp_path, row, "fold0")
    write_run(tmp_path, row, "fold2")
    text = tabulate(KOLEKTOR, tmp_path)
    assert "| 33 | 2 | 100.00 | (100) |" in text
    assert (
        "- 33: no figure of fold1; `segdec reproduce kolektor --data DIR --rows 33 --folds fold1`\n"
        in text.partition("## Not in the table, or not in full")[2]
    )
    assert csv_of(tmp_path, "kolektor.csv")[0]["paper_ap"] == ""

    write_run(tmp_path, row, "fold1")
    text = tabulate(KOLEKTOR, tmp_path)
    assert "| 33 | 3 | 100.00 | 100 |" in text
    assert "no figure of" not in text
    assert csv_of(tmp_path, "kolektor.csv")[0]["paper_ap"] == "100.0"


def test_the_picture_shows_the_papers_figure_only_beside_all_folds(tmp_path, monkeypatch):
    shown = []

    def draw(intervals, *_):
        shown.append([one.published for one in intervals])
        return b""

    monkeypatch.setattr("segdec.experiments.report.draw_intervals", draw)
    for fold in ("fold0", "fold1", "fold2"):
        write_run(tmp_path, row_of(KOLEKTOR, "33"), fold)
        write_run(tmp_path, row_of(KOLEKTOR, "33"), fold, given=("train.epochs=5",))
        tabulate(KOLEKTOR, tmp_path)
    assert shown == [[None, None], [None, None], [100.0, None]]


def test_a_row_with_other_settings_says_which_folds_it_lacks(tmp_path):
    for name in ("33", "25"):
        write_run(tmp_path, row_of(KOLEKTOR, name), "fold0", given=("train.epochs=5",))
    text = tabulate(KOLEKTOR, tmp_path)
    assert (
        "- 33, 25 with train.epochs=5: no figure of fold1, fold2; `segdec reproduce kolektor --data DIR"
        " --rows 33 25 --folds fold1 fold2` and the same --set\n" in text
    )
    assert csv_of(tmp_path, "kolektor.csv")[1]["paper_ap"] == ""


def test_second_hand_figures_are_marked(tmp_path):
    table = find_table("mixed")
    write_run(tmp_path, row_of(table, "kolektor-5-masks"), "fold0")
    write_run(tmp_path, row_of(table, "kolektor2-53-masks"), "whole")
    text = tabulate(table, tmp_path)
    assert "| kolektor-5-masks | 1 | 100.00 | (99.1†) |" in text
    assert "| kolektor2-53-masks | 1 | 100.00 | 89.1 |" in text
    assert "a figure with † is second-hand" in text


# --- the way to the same AP ---------------------------------------------------------------------------------


def epochs(factors, aps):
    return [
        {"epoch": epoch, "seg_factor": factor, "val_ap": ap, "steps": 10, "seconds": 2.5}
        for epoch, (factor, ap) in enumerate(zip(factors, aps, strict=True))
    ]


def test_a_decision_stage_that_has_not_learnt_wins_no_race(tmp_path):
    table = find_table("two-stage")
    given = ("train.epochs=4",)
    for seed, late in ((0, 0.9), (1, 0.7)):
        end_to_end = epochs((1, 0.75, 0.5, 0.25), (0.95, 0.6, 0.7, 0.8))
        two_stage = epochs((1, 1, 0, 0), (0.99, 0.99, 0.5, late))
        logs = {"kolektor-end-to-end": end_to_end, "kolektor-two-stage": two_stage}
        for name, log in logs.items():
            write_run(tmp_path, row_of(table, name), "fold0", seed, given=given, log=log)
    text = tabulate(table, tmp_path)
    # the best that both reach is 0.8, then 0.7: in epoch 4 against 4, then in epoch 4 against 3
    rows = csv_of(tmp_path, "two-stage-race.csv")
    assert [list(row.values()) for row in rows] == [
        ["kolektor-two-stage+epochs=4", "kolektor-end-to-end+epochs=4", "fold0", *each]
        for each in (
            ["0", "0.8", "4", "4", "40", "40", "10.0", "10.0"],
            ["1", "0.7", "4", "3", "40", "30", "10.0", "7.5"],
        )
    ]
    assert list(rows[0])[4:] == [
        *("val_ap", "epochs", "epochs_against", "steps", "steps_against", "seconds", "seconds_against")
    ]
    assert (
        "| kolektor-two-stage+epochs=4 | kolektor-end-to-end+epochs=4 | 2 | 75.00 ± 7.07 |"
        " 4.0 ± 0.0 / 3.5 ± 0.7 | 40 ± 0 / 35 ± 7 | 10 ± 0 / 9 ± 2 |" in text
    )


def test_both_losses_in_full_teach_the_decision_stage_from_the_beginning(tmp_path):
    table = find_table("two-stage")
    for name in ("kolektor-end-to-end", "kolektor-two-stage"):
        log = epochs((1, 1), (0.9, 0.9))
        write_run(tmp_path, row_of(table, name), "fold0", given=("loss.balance=none",), log=log)
    tabulate(table, tmp_path)
    assert csv_of(tmp_path, "two-stage-race.csv")[0]["epochs"] == "1"
