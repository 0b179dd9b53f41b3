"""The command line: every bad input is one line and an exit code, and leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdec.cli import main
from segdec.config import DataConfig, NetworkConfig, load_config
from segdec.data import open_dataset
from segdec.data.synthetic import write_dagm_like
from segdec.model_card import ModelCard, Trained
from segdec.model_io import write_model
from segdec.network import build_network

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SMALL = NetworkConfig(block_channels=(4, 4, 4), context_channels=8, context_kernel=3)
TINY = [
    *("--set", "data.image_size=[64, 64]"),
    *("--set", "data.workers=0"),
    *("--set", "data.test_fraction=0.0"),  # every file is one that training reads
    *("--set", "network.block_channels=[4, 4, 4]"),
    *("--set", "network.context_channels=8"),
    *("--set", "network.context_kernel=3"),
    *("--set", "train.epochs=1"),
    *("--precision", "fp32"),
]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command as `segdec` does; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")  # a message is one line however wide the screen is

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["segdec", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), said.out, said.err

    return run


def one_line(stderr: str) -> str:
    """Return the message of an error, after checking that it is one line."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in stderr
    return lines[0]


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def picture(seed: int = 0, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


@pytest.fixture
def good_and_defect(tmp_path) -> Path:
    """A sound data set: six good images, six with a defect and its mask."""
    root = tmp_path / "parts"
    for number in range(6):
        png(root / "good" / f"g{number}.png", picture(number))
        png(root / "defect" / f"d{number}.png", picture(10 + number))
        mask = np.zeros((64, 64), np.uint8)
        mask[20:30, 20:40] = 255
        png(root / "defect" / f"d{number}_mask.png", mask)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    weights = {name: tensor.numpy() for name, tensor in build_network(SMALL, 0).state_dict().items()}
    card = ModelCard(
        network=SMALL,
        image_size=(64, 64),
        channels=1,
        threshold=0.5,
        threshold_from="default",
        pixel_threshold=0.5,
        trained=Trained(
            date="2020-01-01", run="a", dataset=None, data_hash=None, epoch=None, seed=None, commit=None
        ),
        versions={},
    )
    write_model(folder, card, weights)
    return folder


# ----------------------------------------------------------------------------------------- bad data sets


def empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def missing(root: Path) -> None:
    shutil.rmtree(root)


def one_class(root: Path) -> None:
    shutil.rmtree(root / "defect")


def other_folders(root: Path) -> None:
    shutil.rmtree(root)
    png(root / "red" / "a.png", picture())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty, "parts is empty; a data set is one of"),
        (missing, "parts does not exist"),
        (one_class, "6 images, all without a defect; it must hold images with and without a defect"),
        (other_folders, "is no data set that can be read: it holds red/"),
    ],
)
def test_a_folder_that_is_no_data_set(call, good_and_defect, tmp_path, damage, message):
    damage(good_and_defect)
    code, _, stderr = call("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    said = one_line(stderr)
    assert code == 4
    assert str(good_and_defect) in said
    assert message in said
    assert not (tmp_path / "run").exists()


def mask_of_another_size(root: Path) -> Path:
    return png(root / "defect" / "d3_mask.png", np.full((32, 64), 255, np.uint8))


def mask_like_a_photo(root: Path) -> Path:
    return png(root / "defect" / "d3_mask.png", picture(99))


def empty_mask(root: Path) -> Path:
    png(root / "defect" / "d3_mask.png", np.zeros((64, 64), np.uint8))
    return root / "defect" / "d3.png"


def truncated_jpeg(root: Path) -> Path:
    path = png(root / "good" / "g9.jpg", picture(3, (200, 200)))
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def zero_bytes(root: Path) -> Path:
    (root / "good" / "g3.png").write_bytes(b"")
    return root / "good" / "g3.png"


def text_named_png(root: Path) -> Path:
    (root / "good" / "g3.png").write_text("not an image")
    return root / "good" / "g3.png"


FILES = [
    (
        mask_of_another_size,
        "is 32 x 64 pixels (height x width), its image 64 x 64; save the mask in the size",
    ),
    (mask_like_a_photo, "different values from"),
    (empty_mask, "its mask marks none; correct the one or the other"),
    (truncated_jpeg, "copy it again or remove it"),
    (zero_bytes, "is empty (zero bytes); copy it again or remove it"),
    (text_named_png, "is no image that can be read; PNG, JPEG, BMP and TIFF are"),
]


@pytest.mark.parametrize(("damage", "message"), FILES)
def test_a_bad_file_is_fatal_with_strict(call, good_and_defect, tmp_path, damage, message):
    path = damage(good_and_defect)
    code, _, stderr = call("train", good_and_defect, *TINY, "--strict", "--out", tmp_path / "run")
    said = one_line(stderr)
    assert code == 4
    assert str(path) in said
    assert message in said
    assert not (tmp_path / "run").exists()


def test_bad_files_are_listed_and_counted_without_strict(call, good_and_defect, tmp_path):
    damaged = [damage(good_and_defect) for damage in (mask_of_another_size, truncated_jpeg, zero_bytes)]
    code, stdout, _ = call("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    assert code == 0
    assert "3 files could not be used and were left out:" in stdout
    assert all(str(path) in stdout for path in damaged)
    assert len(json.loads((tmp_path / "run" / "meta.json").read_text())["unreadable"]) == 3


def test_a_run_length_beyond_the_image(call, tmp_path):
    root = tmp_path / "steel"
    rows = ["ImageId,ClassId,EncodedPixels"]
    for number in range(12):
        png(root / "train_images" / f"{number}.jpg", picture(number))
        if number % 2:
            rows.append(f"{number}.jpg,1,{4090 if number == 5 else 100} 20")
    (root / "train.csv").write_text("\n".join(rows) + "\n")
    code, _, stderr = call("train", root, *TINY, "--strict", "--out", tmp_path / "run")
    said = one_line(stderr)
    assert code == 4
    assert "train.csv" in said
    assert "the run 4090 20 leaves its image of 64 x 64 = 4096 pixels" in said
    assert not (tmp_path / "run").exists()


def test_a_table_without_the_needed_column(call, good_and_defect, tmp_path):
    table = good_and_defect / "list.csv"
    table.write_text("picture,label\ngood/g0.png,0\ndefect/d0.png,1\n")
    code, _, stderr = call("train", table, *TINY, "--out", tmp_path / "run")
    said = one_line(stderr)
    assert code == 4
    assert str(table) in said
    assert "image" in said
    assert not (tmp_path / "run").exists()


# ----------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train.epoch=5"], 'unknown setting "train.epoch" (did you mean "epochs"?)'),
        (
            ["--set", "data.image_size=[500, 500]"],
            "must be multiples of 8 and at least 64, got (500, 500); try (504, 504)",
        ),
        (["--recipe", "kolector"], 'no recipe "kolector" (did you mean "kolektor"?)'),
        (["--precision", "fp8"], "input should be 'auto', 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        (["--set", "train.epochs"], "is no setting; write section.key=value"),
        (["--splits", "none.json"], "cannot read the splits file none.json"),
    ],
)
def test_bad_settings(call, good_and_defect, tmp_path, arguments, message):
    code, _, stderr = call("train", good_and_defect, *arguments, "--out", tmp_path / "run")
    assert message in one_line(stderr)
    assert code == (4 if arguments[0] == "--splits" else 3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["tarin"], ["train", "--no-such-option"], ["predict"], ["evaluate"]])
def test_a_wrong_command_line_is_exit_code_2(call, arguments):
    code, _, stderr = call(*arguments)
    assert code == 2
    assert "Traceback" not in stderr


def test_no_data_set_named(call):
    code, _, stderr = call("train")
    assert code == 4
    assert "no data set given; write: segdec train DATA" in one_line(stderr)


def test_nothing_to_resume(call, tmp_path):
    code, _, stderr = call("train", "--resume", "--out", tmp_path / "run")
    assert code == 5
    assert "holds no run (no config.toml)" in one_line(stderr)


# -------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_model_with_one_byte_changed(call, model, good_and_defect, tmp_path, command, name):
    altered = tmp_path / "altered"
    shutil.copytree(model, altered)
    content = bytearray((altered / name).read_bytes())
    place = len(content) - 3 if name.startswith("weights") else content.index(b"0.5") + 2
    content[place] = content[place] ^ 1
    (altered / name).write_bytes(content)
    target = good_and_defect if command == "evaluate" else good_and_defect / "good"
    code, stdout, stderr = call(command, altered, target)
    assert code == 5
    assert f"{altered / name} was changed after it was written" in one_line(stderr)
    assert stdout == ""


def test_results_do_not_replace_an_image(call, model, good_and_defect):
    image = next((good_and_defect / "good").iterdir())
    before = image.read_bytes()
    code, _, stderr = call("predict", model, good_and_defect / "good", "--out", image)
    assert code == 7
    assert f"{image} is one of the images; choose another file with --out" in one_line(stderr)
    assert image.read_bytes() == before


def test_no_model_there(call, good_and_defect, tmp_path):
    code, _, stderr = call("predict", tmp_path / "nothing", good_and_defect)
    assert code == 5
    assert f"{tmp_path / 'nothing'} does not exist" in one_line(stderr)


def test_unreadable_images_are_rows_and_an_exit_code(call, model, good_and_defect, tmp_path):
    zero_bytes(good_and_defect)
    out = tmp_path / "rows.csv"
    code, _, stderr = call("predict", model, good_and_defect / "good", "--format", "csv", "--out", out)
    assert code == 9
    assert "1 of 6 images could not be used; their rows say why." in stderr
    assert len(out.read_text().splitlines()) == 7
    assert "is empty (zero bytes)" in out.read_text()


# ------------------------------------------------------------------------------------------- where to write


def refuse(number: int):
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_no_permission_to_make_the_run_folder(call, good_and_defect, tmp_path, monkeypatch):
    real = Path.mkdir

    def mkdir(path: Path, *args: object, **options: object) -> None:
        if "run" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    code, _, stderr = call("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    said = one_line(stderr)
    assert code == 7
    assert str(tmp_path / "run") in said
    assert "ermission" in said
    assert not (tmp_path / "run").exists()


def test_a_full_disk_when_a_run_starts(call, good_and_defect, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    code, _, stderr = call("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    assert code == 7
    assert "o space left on" in one_line(stderr)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_while_training(call, good_and_defect, tmp_path, monkeypatch):
    import segdec.checkpoint

    real = segdec.checkpoint.atomic_write
    written = []

    def write(path: Path, data: bytes) -> None:
        if written:
            monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
        written.append(path)
        real(path, data)

    out = tmp_path / "run"
    monkeypatch.setattr(segdec.checkpoint, "atomic_write", write)
    code, _, stderr = call("train", good_and_defect, *TINY, "--set", "train.epochs=3", "--out", out)
    assert code == 7
    assert "no space left on the disk" in one_line(stderr)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["last.safetensors"]
    assert not (out / "model").exists()

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert call("train", "--resume", "--out", out)[0] == 0  # with room again, it goes on
    assert len((out / "log.jsonl").read_text().splitlines()) == 3


def test_a_log_that_cannot_be_written(call, good_and_defect, tmp_path):
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    code, _, stderr = call("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    assert code == 7
    assert "log.jsonl" in one_line(stderr)


def test_results_that_cannot_be_written(call, model, good_and_defect, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, stderr = call(
        "predict", model, good_and_defect / "good", "--out", tmp_path / "file" / "rows.jsonl"
    )
    assert code == 7
    assert "cannot write" in one_line(stderr)


def test_a_run_is_not_overwritten(call, good_and_defect, tmp_path):
    arguments = ("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    assert call(*arguments)[0] == 0
    code, _, stderr = call(*arguments)
    assert code == 7
    assert "holds a run already; go on with it by --resume" in one_line(stderr)


# ------------------------------------------------------------------------------------- errors and imports


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_debug_shows_the_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "segdec", "--debug", "train", str(tmp_path), "--out", str(tmp_path / "run")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "segdec.errors.DataError" in done.stderr


LATER = ("torch", "numpy", "cv2", "scipy", "sklearn", "matplotlib", "accelerate", "PIL")


RUN = "import runpy; sys.argv = ['segdec', {}]; runpy.run_module('segdec', run_name='__main__')"


@pytest.mark.parametrize(
    "code",
    ["import segdec", RUN.format("'--help'"), RUN.format("'--version'"), RUN.format("'train', '--help'")],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    done = python(
        f"import sys\ntry:\n    {code}\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print('modules:', *sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    modules = done.stdout.rpartition("modules:")[2].split()
    assert "segdec" in modules
    assert not set(LATER) & set(modules)


def test_without_torch_the_command_that_installs_it_is_named(model, tmp_path):
    image = png(tmp_path / "a.png", picture())
    write_dagm_like(tmp_path / "Class1", 0, (64, 64), train=(5, 5), test=(1, 1))
    blocked = (
        "import sys\n"
        "for name in ('torch', 'accelerate', 'scipy', 'sklearn', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "from segdec.cli import main\n"
        "data, run, model, image = sys.argv[1:]\n"
        "for arguments in (['train', data, '--out', run], ['predict', model, image]):\n"
        "    sys.argv[1:] = arguments\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as ended:\n"
        "        print('exit code', ended.code)\n"
    )
    done = python(blocked, tmp_path / "Class1", tmp_path / "run", model, image)
    assert done.stdout.count("exit code 8") == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2
    assert all("pip install 'segdec[train]'" in line for line in errors)
    assert not (tmp_path / "run").exists()


def test_help_names_every_command(call):
    code, stdout, _ = call("--help")
    assert code == 0
    for command in ("quickstart", "train", "evaluate", "predict", "import-reference", "benchmark"):
        assert command in stdout


def test_the_version(call):
    import segdec

    assert call("--version") == (0, f"segdec {segdec.__version__}\n", "")


def test_ctrl_c_before_anything_is_written(call, good_and_defect, tmp_path, monkeypatch):
    import segdec.train

    def stopped(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(segdec.train, "train", stopped)
    code, _, stderr = call("train", good_and_defect, *TINY, "--out", tmp_path / "run")
    assert code == 130
    assert stderr.strip() == "Stopped; nothing was written"


def test_doctor_examines_plans_and_train_follows(call, tmp_path):
    write_dagm_like(tmp_path / "data", train=(6, 4), test=(4, 2), image_size=(64, 64), seed=0)

    code, said, _ = call("doctor", "data", "--out", "found")

    assert code == 0
    assert "wrong" not in said.lower()
    assert said.index("doubtful: ") < said.index("fact: ") < said.index("The plan:")
    assert 'train.precision = "auto": this machine ' in said
    found = json.loads((tmp_path / "found" / "doctor.json").read_text())
    assert {"wish", "sizes", "classes"} <= {each["kind"] for each in found["findings"]}

    code, said, error = call(
        "train", "data", "--plan", "found/plan.json", "--out", "run", *TINY, "--set", "data.val_fraction=0.3"
    )
    assert code == 0, error
    assert "w_pos = " in (tmp_path / "run" / "config.toml").read_text()


def test_tiles_are_planned_and_trained_on_where_defects_would_vanish(call, tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("good", "defect", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(6):
        image = rng.integers(90, 130, (512, 3200), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "data" / "good" / f"{number}.png"), image)
        mask = np.zeros_like(image)
        at = 100 + 500 * number
        mask[200:220, at : at + 25] = 255  # 7.8 cells; shrunk to 0.79 megapixels they would be 3.7
        image[mask > 0] = 10
        cv2.imwrite(str(tmp_path / "data" / "defect" / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / "data" / "masks" / f"{number}.png"), mask)

    code, said, error = call("doctor", "data", "--out", "found")
    assert code == 0, error
    assert "as they are 0 %" in " ".join(said.split())
    tree = json.loads((tmp_path / "found" / "plan.json").read_text())
    assert (tree["settings"]["data"]["tile"], tree["settings"]["data"]["image_size"]) == (512, [512, 512])

    tiny = [*TINY[2:], "--set", "train.batch_size=4"]
    for plan in (["--plan", "found/plan.json"], []):
        code, _, error = call("train", "data", *plan, "--out", "run", *tiny)
        assert code == 0, error
        card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
        assert card["tile"] == 512
        shutil.rmtree(tmp_path / "run")


def test_train_without_a_recipe_plans_from_the_training_part_alone(call, tmp_path):
    write_dagm_like(tmp_path / "data", train=(8, 8), test=(4, 4), image_size=(64, 64), seed=0)
    tiny = [*TINY, "--set", "train.learning_rate=0.02"]

    code, said, error = call("train", "data", "--out", "first", *tiny)
    assert code == 0, error
    assert said.index("Planned from") < said.index("train.batch_size = 1: ")
    plan = json.loads((tmp_path / "first" / "plan.json").read_text())
    config = load_config(tmp_path / "first" / "config.toml")
    assert config.loss.w_pos == plan["settings"]["loss"]["w_pos"]
    assert all(choice["reason"] and choice["measured"] for choice in plan["choices"])
    # what is set stands, and the plan does not speak of it
    assert (config.train.learning_rate, config.train.epochs) == (0.02, 1)
    assert not {"epochs", "learning_rate"} & plan["settings"]["train"].keys()

    # whoever judges or chooses tells nothing: their masks may be anything
    split = json.loads((tmp_path / "first" / "split.json").read_text())
    dataset = open_dataset(tmp_path / "data", DataConfig())
    hidden = [each.mask for each in dataset if each.mask and each.name not in split["train"]]
    assert len(hidden) > 4
    for mask in hidden:
        png(mask, np.full((64, 64), 255, np.uint8))
    assert call("train", "data", "--out", "second", *tiny)[0] == 0
    assert (tmp_path / "second" / "plan.json").read_bytes() == (tmp_path / "first" / "plan.json").read_bytes()

    # of those that teach, they do count
    for mask in (each.mask for each in dataset if each.mask and each.name in split["train"]):
        png(mask, np.full((64, 64), 255, np.uint8))
    assert call("train", "data", "--out", "third", *tiny)[0] == 0
    assert (tmp_path / "third" / "plan.json").read_bytes() != (tmp_path / "first" / "plan.json").read_bytes()

    before = (tmp_path / "third" / "config.toml").read_bytes()
    code, said, _ = call("train", "--resume", "--out", "third")
    assert code == 0
    assert "Planned" not in said
    assert (tmp_path / "third" / "config.toml").read_bytes() == before


def test_train_without_any_mask_plans_to_teach_the_decision(call, good_and_defect, tmp_path):
    for mask in good_and_defect.glob("*/*_mask.png"):
        mask.unlink()

    code, said, error = call("train", good_and_defect, *TINY, "--out", "run")

    assert code == 0, error
    assert 'loss.balance = "decision": no mask of a defect' in said


def test_settings_that_are_given_are_not_planned(call, good_and_defect, tmp_path):
    code, said, error = call("train", good_and_defect, "--recipe", "dagm", *TINY, "--out", "run")

    assert code == 0, error
    assert "Planned" not in said
    assert not (tmp_path / "run" / "plan.json").exists()


def test_doctor_refuses_an_image_size_that_the_network_cannot_take(call, tmp_path):
    write_dagm_like(tmp_path / "data", seed=0, image_size=(64, 64), train=(2, 2), test=(2, 2))

    code, _, error = call("doctor", "data", "--image-size", "100", "100")

    assert code == 3
    assert "image_size must be multiples of 8" in one_line(error)
    assert "try (104, 104)" in one_line(error)


def test_doctor_refuses_what_is_no_share_and_writes_nothing(call, tmp_path):
    write_dagm_like(tmp_path / "data", train=(3, 3), test=(3, 3), image_size=(64, 64), seed=0)

    code, _, error = call("doctor", "data", "--max-escape", "3", "--out", "found")

    assert code == 3
    assert "got 3" in one_line(error)
    assert not (tmp_path / "found").exists()


def test_a_plan_and_a_recipe_exclude_each_other(call, tmp_path):
    assert call("train", "data", "--plan", "plan.json", "--recipe", "dagm")[0] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_rows_reach_a_file_while_a_bar_is_on_the_screen() -> None:
    screen, terminal = os.openpty()
    code = "import sys; from segdec.cli.screen import bar\nwith bar('some'): sys.stdout.write('a row\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=ENVIRONMENT | {"TERM": "xterm"},
        text=True,
        check=True,
    )
    os.close(terminal)
    os.close(screen)
    assert done.stdout == "a row\n"
