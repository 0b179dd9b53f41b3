"""The quickstart leaves what it promises, says so, and touches nothing of anybody else's."""

import io
import json
import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from segdec import quickstart
from segdec.cli import app
from segdec.config import AugmentConfig, Config, LossConfig, NetworkConfig
from segdec.errors import OutputError
from segdec.quickstart import draw_report, settings
from segdec.runs import open_run


def tiny(seed):
    tree = settings(seed).model_dump()
    tree["data"] |= {"image_size": (64, 64), "val_fraction": 0.25}
    tree["network"] |= {"block_channels": (2, 2, 4), "context_channels": 4, "context_kernel": 3}
    tree["train"]["epochs"] = 2
    return Config.model_validate(tree)


def make(folder, watch=lambda now: None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, "IMAGE_SIZE", (64, 64))
        patch.setattr(quickstart, "TRAINING", (8, 8))
        patch.setattr(quickstart, "TEST", (6, 6))
        patch.setattr(quickstart, "settings", tiny)
        return quickstart.quickstart(folder, 3, watch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run a quickstart of a few seconds: its folder, its lines, and the stages it went through."""
    folder, stages = tmp_path_factory.mktemp("a place") / "quick start", []
    lines = make(folder, lambda now: stages.append(now.stage))
    return folder, lines, list(dict.fromkeys(stages))


def test_everything_is_there(made):
    folder, _, stages = made
    assert {path.name for path in folder.iterdir()} == {"data", "run", "overlays", "quickstart.png"}
    assert len(list((folder / "overlays").iterdir())) == 6
    with Image.open(folder / "quickstart.png") as picture:
        assert picture.format == "PNG"
    run = folder / "run"
    names = {"config.toml", "meta.json", "split.json", "log.jsonl", "checkpoints", "model", "images.sha256"}
    names |= {"metrics.json", "scores.csv", "curves.png", "contact_sheet.png"}
    assert {path.name for path in run.iterdir()} == names
    assert stages[0] == "making images"
    assert {"training", "evaluating"} <= set(stages)


def test_the_held_out_part_judges(made):
    folder, _, _ = made
    split = open_run(folder / "run").split
    assert (len(split.train), len(split.val), len(split.test)) == (12, 4, 12)
    assert all(sample.name.startswith("Test/") for sample in split.test)
    metrics = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert str(metrics["image"]["ap"])


def test_the_summary_says_what_is_smaller_and_what_was_found(made):
    folder, lines, _ = made
    text = "\n".join(lines)
    assert "2-2-4 channels, 4 features of a 3 x 3 window" in text
    assert "32-64-64 channels, 1024 features of a 15 x 15 window" in text
    for word in ("image AP", "escapes", "overkill", "of 6 defective", "of 6 good", " s."):
        assert word in text
    for name in ("data", "run", "overlays", "quickstart.png"):
        assert str(folder / name) in text


def test_the_next_commands_work_when_pasted(made):
    _, lines, _ = made
    commands = [shlex.split(line) for line in lines[lines.index("Three commands to try next:") + 1 :]]
    for command, name in zip(commands, ("predict", "evaluate", "train"), strict=True):
        result = CliRunner().invoke(app, command[command.index(name) :])
        assert result.exit_code == 0, result.output
        if name == "predict":
            assert len(result.stdout.splitlines()) == 13


def test_a_second_one_replaces_nothing(made):
    folder, _, _ = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(OutputError, match="is not empty"):
        make(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="--out"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OutputError, match="taken"):
        make(tmp_path / "taken")


def test_only_sizes_differ_from_the_papers_method():
    config = settings(4)
    assert config.train.seed == 4
    assert config.train.precision == "fp32"
    assert config.train.gradient_adjustment
    assert config.train.frequency_of_use
    assert config.augment == AugmentConfig()
    assert (config.loss.balance, config.loss.distance_weights) == ("dynamic", True)
    assert config.loss.decision_target == LossConfig().decision_target == "hard"
    assert config.network != NetworkConfig()


def test_a_row_for_each_image(made):
    folder, _, _ = made
    run = open_run(folder / "run")
    rows = quickstart._predict_some(run, folder.parent / "more")
    one, three = (Image.open(io.BytesIO(draw_report(rows[:count]))).size for count in (1, 3))
    assert one[0] == three[0]
    assert one[1] < three[1]


@pytest.mark.parametrize("active", [True, False])
def test_the_commands_start_this_segdec(active, tmp_path, monkeypatch):
    scripts = tmp_path / "env" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "segdec").write_text("")
    (scripts / "segdec").chmod(0o755)
    monkeypatch.setattr(quickstart.sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", str(scripts) if active else str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert quickstart._command() == ("segdec" if active else str(Path("env") / "bin" / "segdec"))
    (scripts / "segdec").unlink()
    assert quickstart._command() == f"{scripts / 'python'} -m segdec"
