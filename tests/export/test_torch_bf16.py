"""PyTorch in bf16, which is for GPUs: certified like an export, on whatever it computes on."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from segdec import runtime
from segdec.backends import Choice, choice, choose_backend
from segdec.calibrate import calibrate, refused_exports
from segdec.certificate import CERTIFICATE, read_certificate
from segdec.errors import ConfigError, ModelError
from segdec.export import export
from segdec.export.compare import LIMITS
from segdec.model_io import WEIGHTS, read_model
from segdec.predict import Predictor, predict_files
from segdec.runs import open_run
from segdec.types import Prediction
from segdec.wish import Wish

OURS, OTHER = "NVIDIA H200", "NVIDIA L4"
"""Names of GPUs."""


def let_bf16(monkeypatch: pytest.MonkeyPatch, here: bool) -> None:
    """Say whether this CPU computes in bf16; where it cannot, PyTorch does so all the same, slowly."""
    for module in ("segdec.backends.pytorch", "segdec.export.export"):
        monkeypatch.setattr(importlib.import_module(module), "computes_in_bf16", lambda _device: here)


@pytest.fixture(autouse=True)
def has_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    let_bf16(monkeypatch, True)


@pytest.fixture(scope="module")
def certified(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose model is certified in bf16; not to be changed."""
    run = Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("certified") / "run"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        let_bf16(monkeypatch, True)
        (check,) = export(run, ["torch"])
    assert check.passed, check.reason
    return run


@pytest.fixture
def run(certified: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(certified, tmp_path / "run"))


def on_device(run: Path, device: str) -> None:
    """Let the certificate be of another device, where it was ten times as fast as a CPU."""
    path = run / "model" / CERTIFICATE
    tree = json.loads(path.read_text(encoding="utf-8"))
    for check in tree["checks"]:
        check["machine"]["device"] = device
        check |= {"milliseconds": 1.0, "torch_milliseconds": 10.0}
    path.write_text(json.dumps(tree), encoding="utf-8")


def chosen(run: Path, **wish) -> Choice:
    card, _ = read_model(run)
    return choose_backend(run / "model", card, **wish)


def test_it_predicts_like_the_model(certified: Path) -> None:
    exact = Predictor(certified, "cpu")
    rounded = Predictor(certified, "cpu", backend="torch", precision="bf16")
    assert rounded.backend.precision == "bf16"
    images = [sample.image for sample in open_run(certified).split.test]
    differences = []
    for one, two in zip(predict_files(exact, images), predict_files(rounded, images, 5), strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(two, Prediction)
        assert (two.name, two.decision) == (one.name, one.decision)
        np.testing.assert_allclose(two.score_map, one.score_map, atol=0.3)
        differences.append(abs(two.score - one.score))
    assert 0 < max(differences) < 0.05  # other numbers: it was not computed in fp32


def test_scores_are_told_apart_where_bf16_has_no_numbers_between(certified: Path) -> None:
    predictor = Predictor(certified, "cpu", backend="torch", precision="bf16")
    split = open_run(certified).split  # many images: a few logits lie next to such a number by chance
    images = [each.image for each in (*split.train, *split.val, *split.test)]
    scores = np.array([predictor.predict(image).score for image in images])
    logits = torch.tensor(np.log(scores) - np.log1p(-scores))
    distance = (logits - logits.bfloat16().double()).abs() / logits.abs()
    assert (distance > 1e-4).double().mean() > 0.8


def test_the_certificate_is_of_the_weights(certified: Path) -> None:
    card, _ = read_model(certified)
    (check,) = read_certificate(certified / "model").checks
    assert (check.backend, check.precision, check.limits) == ("torch", "bf16", LIMITS["bf16"])
    assert (check.file, check.sha256) == (WEIGHTS, card.files[WEIGHTS])
    assert check.score.largest > 0
    assert check.machine["device"] == runtime.machine()["device"]


def test_exports_and_it_stand_in_one_certificate(run: Path) -> None:
    export(run, ["onnx"], context="direct")
    export(run, ["torch"])
    checks = read_certificate(run / "model").checks
    assert [(check.backend, check.precision) for check in checks] == [("onnx", "fp32"), ("torch", "bf16")]


def test_without_a_certificate_it_is_refused(trained_run: Path) -> None:
    with pytest.raises(ModelError) as error:
        Predictor(trained_run, backend="torch", precision="bf16")
    assert str(error.value) == (
        f"{trained_run / 'model' / WEIGHTS} is not certified for torch bf16 ({CERTIFICATE} does not name it);"
        f" certify it with: segdec export {trained_run / 'model'} --to torch (--allow-uncertified takes it as"
        " it is)"
    )
    predictor = Predictor(trained_run, "cpu", backend="torch", precision="bf16", allow_uncertified=True)
    assert predictor.backend.precision == "bf16"


def test_a_calibration_makes_it_uncertified(run: Path) -> None:
    calibration = calibrate(run, None, Wish(max_escape=0.6, confidence=0.5))
    assert refused_exports(run, calibration) == ("torch",)
    with pytest.raises(ModelError, match="torch in bf16, was certified at other thresholds"):
        Predictor(run, backend="torch", precision="bf16")


@pytest.mark.parametrize(
    ("certified_on", "gpu", "taken"),
    [
        ("cpu", None, "bf16"),
        (OURS, None, "fp32"),
        (OURS, OURS, "bf16"),
        (OTHER, OURS, "fp32"),
        ("cpu", OURS, "fp32"),
    ],
)
def test_auto_takes_it_on_what_it_was_certified_on(run: Path, monkeypatch, certified_on, gpu, taken) -> None:
    on_device(run, certified_on)
    monkeypatch.setattr(choice, "has_gpu", lambda: gpu is not None)
    monkeypatch.setattr(choice, "gpu_name", lambda: gpu)
    found = chosen(run)
    assert (found.backend, found.precision) == ("torch", taken)
    assert chosen(run, precision="fp32").precision == "fp32"
    assert chosen(run, backend="torch").precision == "fp32"
    assert chosen(run, backend="torch", precision="bf16").precision == "bf16"


def test_a_gpu_takes_no_export_for_a_cpu(run: Path, monkeypatch) -> None:
    export(run, ["onnx"], context="direct")
    on_device(run, OTHER)
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    monkeypatch.setattr(choice, "gpu_name", lambda: OURS)
    assert (chosen(run).backend, chosen(run).precision) == ("torch", "fp32")


def test_checks_of_several_devices_are_kept(run: Path) -> None:
    """They differ in nothing but the GPU."""
    on_device(run, OTHER)
    export(run, ["torch"])
    devices = [check.machine["device"] for check in read_certificate(run / "model").checks]
    assert devices == [OTHER, runtime.machine()["device"]]


def test_a_machine_without_bf16(run: Path, monkeypatch) -> None:
    let_bf16(monkeypatch, False)
    with pytest.raises(ConfigError, match='the target "torch" is PyTorch in bf16'):
        export(run, ["torch"])
    with pytest.raises(ConfigError, match="this machine's cpu does not compute in bf16; choose fp32"):
        Predictor(run, "cpu", backend="torch", precision="bf16")
