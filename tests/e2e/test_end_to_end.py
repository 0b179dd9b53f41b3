"""The whole path on the command line: data, training, evaluation, prediction; and a reference checkpoint."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import segdec
from segdec.config import NetworkConfig
from segdec.data.synthetic import write_dagm_like
from segdec.network import SegDecNet

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TINY = (
    "data.image_size=[64, 64]",
    "data.workers=1",
    "network.block_channels=[4, 4, 4]",
    "network.context_channels=8",
    "network.context_kernel=3",
    "train.epochs=2",
    "train.batch_size=2",
    "train.precision=fp32",
)


def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "segdec", *map(str, arguments)],
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("größe") / "Class1"  # a path that is not ASCII
    write_dagm_like(folder, 0, (64, 64), train=(8, 6), test=(4, 3))
    return folder


def test_train_evaluate_predict(data, tmp_path):
    out = tmp_path / "läufe" / "one"
    trained = run("train", data, "--out", out, *(part for each in TINY for part in ("--set", each)))
    assert trained.returncode == 0, trained.stderr
    said = trained.stdout.splitlines()
    assert said[0] == f"{data} was taken for DAGM 2007 (Train/ and Test/ with Label/)"
    assert said[1] == "21 images: 9 with a defect (9 of them with a mask), 12 good"
    assert said[-2].startswith(f"Model in {out}/model; threshold ")
    assert said[-1] == f"Next: segdec evaluate {out}"

    evaluated = run("evaluate", out, "--report")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "7 images: 3 defective, 4 good" in evaluated.stdout
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics
    with (out / "scores.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 7
    for name in ("curves.png", "contact_sheet.png", "report.html"):
        assert (out / name).stat().st_size > 0

    before = (out / "metrics.json").read_bytes()
    other = tmp_path / "test"  # as the run's own test part is called
    write_dagm_like(other, 1, (64, 64), train=(2, 2), test=(3, 2))
    judged = run("evaluate", out, other)
    assert judged.returncode == 0, judged.stderr
    assert f"Written to {out / f'on-{tmp_path.name}-test'}: metrics.json" in judged.stdout
    assert (out / "metrics.json").read_bytes() == before

    images = sorted((data / "Test").glob("*.PNG"))
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    listed = "".join(f"{path}\n" for path in (images[0], broken, images[1]))
    predicted = run("predict", out, "-", "--overlays", tmp_path / "overlays", stdin=listed)
    assert predicted.returncode == 9, predicted.stderr
    rows = [json.loads(line) for line in predicted.stdout.splitlines()]
    assert [row["image"] for row in rows] == [str(images[0]), str(broken), str(images[1])]
    assert "broken.png is no image" in rows[1]["error"]
    assert "1 of 3 images could not be used" in predicted.stderr
    assert len(list((tmp_path / "overlays").rglob("*.png"))) == 2

    # Python gives what the command line gives
    prediction = segdec.load(out).predict(images[0])
    assert prediction.score == pytest.approx(rows[0]["score"], abs=1e-6)
    assert prediction.decision == (rows[0]["decision"] == "defect")
    assert prediction.score_map.shape == (64, 64)


def test_a_reference_checkpoint_becomes_a_model(data, tmp_path):
    network = SegDecNet(NetworkConfig(block_channels=(4, 5, 6), context_channels=7, context_kernel=5))
    flat: dict[str, torch.Tensor] = {}
    # blocks stand at 0, 2-4, 6-9 and 11 of `segmentation`, and at the same places of the reference's list
    places = {"segmentation": "volume", "decision": "extractor"}
    for name, tensor in network.state_dict().items():
        part, _, rest = name.partition(".")
        if rest.endswith(("scale", "bias")) and part != "fc":
            tensor = tensor.reshape(1, -1, 1, 1)
        key = {"seg_head": f"seg_mask.{rest}", "fc": name}.get(part) or f"{places[part]}.{rest}"
        flat[key] = tensor
    flat["seg_mask.1.bias"] = torch.zeros(1, 1, 1, 1)
    weights = tmp_path / "weights.pth"
    torch.save(flat, weights)
    imported = run("import-reference", weights, "--to", tmp_path / "model", "--image-size", 64, 64)
    assert imported.returncode == 0, imported.stderr
    assert "threshold" in imported.stdout
    image = next((data / "Test").glob("*.PNG"))
    prediction = segdec.load(tmp_path / "model").predict(image)
    assert 0 <= prediction.score <= 1
