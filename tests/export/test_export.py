"""What is exported answers like the model, says so in its certificate, and is refused where it does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from segdec import backends
from segdec.backends import choice
from segdec.certificate import CERTIFICATE, FILES, Certificate, read_certificate
from segdec.cli import main
from segdec.errors import ConfigError, DataError, ImageError, MissingExtraError, ModelError
from segdec.export import export, spectral_nodes
from segdec.imaging import read_image, write_image
from segdec.inputs import network_pixels
from segdec.model_io import CARD, WEIGHTS, read_model, write_model
from segdec.predict import Predictor, predict_files
from segdec.runs import open_run
from segdec.runtime import cpu_kind


@pytest.fixture(scope="module")
def exported(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose model is exported in every way; not to be changed."""
    run = Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("exported") / "run"))
    checks = export(run, ["onnx", "openvino", "int8"], context="spectral")
    export(run, ["onnx"], context="direct")
    assert all(check.passed for check in checks), [check.reason for check in checks]
    return run


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(exported, tmp_path / "run"))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segdec", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def calibrate(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    capsys.readouterr()
    assert call(monkeypatch, "calibrate", run, "--max-escape", 0.6, "--confidence", 0.5) == 0
    return capsys.readouterr().out


def images_of(run: Path) -> list[Path]:
    return [sample.image for sample in open_run(run).split.test]


def rewrite(run: Path, **changes: object) -> None:
    """Change every check in a certificate."""
    path = run / "model" / CERTIFICATE
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["checks"] = [check | changes for check in tree["checks"]]
    path.write_text(json.dumps(tree), encoding="utf-8")


# --- the same answers -----------------------------------------------------------------------------------


needs_bf16 = pytest.mark.skipif(cpu_kind() == "other", reason="this CPU does not compute in bf16")


@pytest.mark.parametrize(
    ("backend", "precision", "context", "tolerance"),
    [
        ("onnx", "fp32", "direct", 1e-5),
        ("onnx", "int8", "spectral", 0.05),
        ("openvino", "fp32", "spectral", 1e-5),
        ("openvino", "int8", "spectral", 0.05),
        pytest.param("openvino", "bf16", "spectral", 0.05, marks=needs_bf16),
        pytest.param("openvino", "int8-bf16", "spectral", 0.08, marks=needs_bf16),
    ],
)
def test_an_export_predicts_like_the_model(exported: Path, backend, precision, context, tolerance) -> None:
    torch = Predictor(exported, "cpu")
    other = Predictor(exported, backend=backend, precision=precision, context=context, threads=1)
    assert (other.backend.name, other.backend.precision) == (backend, precision)
    names = images_of(exported)
    pairs = zip(predict_files(torch, names), predict_files(other, names, batch_size=5), strict=True)
    for one, two in pairs:
        assert two.score == pytest.approx(one.score, abs=tolerance)
        np.testing.assert_allclose(two.score_map, one.score_map, atol=10 * tolerance)
        assert (two.name, two.decision, two.threshold) == (one.name, one.decision, one.threshold)


def test_the_certificate_says_what_was_compared(exported: Path) -> None:
    card, _ = read_model(exported)
    certificate = read_certificate(exported / "model")
    assert certificate is not None
    assert (certificate.weights, certificate.threshold) == (card.files[WEIGHTS], card.threshold)
    kinds = {(check.backend, check.precision) for check in certificate.checks}
    assert kinds >= {("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8")}
    split = open_run(exported).split
    for check in certificate.checks:
        assert check.images.count == len(split.val) + len(split.test)
        assert check.images.defective == sum(sample.label for sample in (*split.val, *split.test))
        assert check.images.origin.startswith("the run's")
        assert check.file == FILES[check.precision, check.context]
        assert check.torch_ap is not None
        assert 0 <= check.score.mean <= check.score.largest
        assert check.milliseconds > 0 < check.torch_milliseconds
        assert (check.calibrated_on is not None) == (check.precision in ("int8", "int8-bf16"))
        assert check.machine["cpu"]


def test_an_export_adds_a_few_kilobytes_for_each_form(exported: Path) -> None:
    """The weights are read from where they are."""
    for path in (exported / "model").glob("*.onnx"):
        assert path.stat().st_size < 150_000


def test_exporting_again_keeps_what_still_holds(run: Path) -> None:
    before = read_certificate(run / "model")
    export(run, ["onnx"], context="direct")
    after = read_certificate(run / "model")
    assert {(c.backend, c.precision) for c in after.checks} == {
        (c.backend, c.precision) for c in before.checks
    }
    assert [c for c in after.checks if c.backend == "openvino"] == [
        c for c in before.checks if c.backend == "openvino"
    ]


def test_a_model_with_exports_may_be_replaced_and_calibrated(run: Path, tmp_path: Path) -> None:
    card, weights = read_model(run)
    write_model(run / "model", card, weights)
    assert sorted(path.name for path in (run / "model").iterdir()) == [CARD, WEIGHTS]


def test_images_that_need_16_bits(trained_run: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    deep = read_image(images_of(trained_run)[0]).astype(np.uint16) * 257
    for place in range(8):
        write_image(images / f"{place}.png", deep + np.uint16(place))
    model = Path(shutil.copytree(trained_run / "model", tmp_path / "model"))
    (check,) = export(model, ["onnx"], images)
    assert check.passed
    assert check.ap is check.images.defective is None
    assert check.images.origin == f"images in {images}"
    torch, onnx = Predictor(model, "cpu"), Predictor(model, backend="onnx", threads=1)
    for image in (deep, (deep // 257).astype(np.uint8)):
        assert onnx.predict(image).score == pytest.approx(torch.predict(image).score, abs=1e-5)


def test_a_graph_for_8_bits_refuses_16_bits(exported: Path) -> None:
    predictor = Predictor(exported, backend="onnx", threads=1)
    with pytest.raises(ImageError, match="holds 16-bit values, but the model was exported for 8-bit"):
        predictor.predict(np.zeros((64, 96), np.uint16))


def test_the_program_in_the_documentation(trained_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    export(run, ["onnx"], context="direct")
    model = (run / "model").rename(tmp_path / "model")
    image = images_of(trained_run)[0]
    expected = Predictor(model, "cpu").predict(image)
    network_pixels(image, read_model(model)[0])[0].tofile(tmp_path / "frame.raw")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the file that it leaves to be closed
        exec(compile(program, str(page), "exec"), {})
    said = capsys.readouterr().out.split()
    assert float(said[1]) == pytest.approx(expected.score, abs=1e-5)
    assert said[2] == ("defect" if expected.decision else "good")


# --- refused --------------------------------------------------------------------------------------------


def test_an_altered_file_is_refused(run: Path, monkeypatch, capsys) -> None:
    path = run / "model" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\x12\x00")
    with pytest.raises(
        ModelError, match=r"model\.onnx, onnx in fp32, was changed after its certif.*allow-unc"
    ):
        Predictor(run, backend="onnx", context="direct")
    assert Predictor(run, backend="onnx", context="direct", allow_uncertified=True, threads=1)
    assert (
        call(monkeypatch, "predict", run, images_of(run)[0], "--backend", "onnx", "--precision", "fp32") == 5
    )
    assert "was changed after its certification" in capsys.readouterr().err


def alter(run: Path, *names: str) -> None:
    for name in names:
        path = run / "model" / name
        path.write_bytes(path.read_bytes() + b"\x12\x00")


def notice_of(run: Path, *names: str, to: str) -> str:
    model = run / "model"
    changed = ", ".join(str(model / name) for name in names)
    return (
        f"changed after certification and not used: {changed}; certify again with: segdec export {model} --to"
        f" {to}"
    )


def test_an_altered_file_is_not_passed_over_in_silence(run: Path, monkeypatch, capsys) -> None:
    set_times(run, {("onnx", "int8"): 2.0})
    alter(run, "model.onnx")
    said = notice_of(run, "model.onnx", to="onnx")
    for backend in ("auto", "onnx"):
        assert call(monkeypatch, "predict", run, images_of(run)[0], "--backend", backend) == 0
        printed = capsys.readouterr()
        assert printed.err.splitlines() == [said]
        assert len(printed.out.splitlines()) == 1
        predictor = Predictor(run, backend=backend, threads=1)
        assert (predictor.backend.name, predictor.backend.precision) == ("onnx", "int8")
        assert predictor.choice.notice == said
    assert capsys.readouterr() == ("", "")  # in Python nothing is printed
    assert call(monkeypatch, "benchmark", "predict", "--model", run, "--runs", 3) == 0
    assert said in capsys.readouterr().out


def test_torch_is_not_taken_in_silence_for_altered_files(run: Path, monkeypatch) -> None:
    set_times(run, {("onnx", "fp32"): 2.0, ("openvino", "int8"): 3.0})
    assert chosen(run).notice is None
    names = ("model.onnx", "model-spectral.onnx", "model-int8-spectral.onnx")
    alter(run, *names)
    taken = chosen(run)
    assert taken.backend == "torch"
    assert taken.notice == notice_of(run, *sorted(names), to="onnx openvino int8")
    monkeypatch.setattr(choice, "is_installed", lambda name: name != "openvino")
    assert chosen(run, precision="fp32").notice == notice_of(run, "model.onnx", to="onnx")
    assert chosen(run, backend="torch").notice is None  # that is what was asked for
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    assert chosen(run).notice is None  # exports are for CPUs


def test_of_an_altered_file_that_would_not_be_used_anyway_nothing_is_said(run: Path, monkeypatch) -> None:
    set_times(run, {})
    alter(run, "model.onnx")
    card, _ = read_model(run)
    changed = card.model_copy(update={"threshold": 0.123, "threshold_from": "default"})
    assert backends.choose_backend(run / "model", changed).notice is None  # was certified at others
    rewrite(run, passed=False, reason="AP falls")
    assert chosen(run).notice is None


def test_the_reason_is_that_of_the_file_and_precision_it_stands_with(run: Path) -> None:
    """A changed file also fails in another precision; what is said first is that it was changed."""
    rewrite(run, passed=False, reason="AP falls")
    path = run / "model" / "model-spectral.onnx"
    with pytest.raises(
        ModelError, match=r"spectral\.onnx, openvino in fp32, failed its certification: AP falls"
    ):
        chosen(run, backend="openvino", precision="fp32")
    with pytest.raises(
        ModelError, match=r"onnx in int8, failed .*; certify it with: segdec .* --to onnx int8 "
    ):
        chosen(run, backend="onnx", context="spectral")
    path.write_bytes(path.read_bytes() + b"\x12\x00")
    with pytest.raises(ModelError, match=r"spectral\.onnx, openvino in fp32, was changed"):
        chosen(run, backend="openvino")


def test_altered_weights_are_refused(run: Path) -> None:
    path = run / "model" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="was changed after it was written"):
        Predictor(run, backend="onnx", allow_uncertified=True)


def test_an_uncertified_file_is_refused(run: Path, monkeypatch) -> None:
    (run / "model" / CERTIFICATE).unlink()
    with pytest.raises(ModelError, match=r"is not certified for onnx .*segdec export .* --to onnx"):
        Predictor(run, backend="onnx")
    assert Predictor(run, backend="auto", device="cpu").backend.name == "torch"
    assert Predictor(run, backend="onnx", allow_uncertified=True, threads=1).backend.name == "onnx"
    image = images_of(run)[0]
    assert call(monkeypatch, "predict", run, image, "--backend", "openvino", "--allow-uncertified") == 0


def test_other_thresholds_need_another_certificate(run: Path) -> None:
    card, _ = read_model(run)
    changed = card.model_copy(update={"threshold": 0.123, "threshold_from": "default"})
    certificate = read_certificate(run / "model")
    reason = backends.refusal(run / "model", changed, certificate, certificate.checks[0])
    assert "was certified at other thresholds" in reason


def test_the_calibration_is_part_of_the_certificate(run: Path, monkeypatch, capsys) -> None:
    said = calibrate(run, capsys, monkeypatch)
    assert f"certify them anew with: segdec export {run} --to onnx openvino int8" in said
    with pytest.raises(ModelError, match="was certified at other thresholds"):
        Predictor(run, backend="onnx", precision="fp32")
    assert read_certificate(run / "model").calibration is None
    export(run, ["onnx"], context="direct")
    card, _ = read_model(run)
    assert card.calibration is not None
    assert read_certificate(run / "model").calibration == card.calibration
    assert Predictor(run, backend="onnx", precision="fp32").threshold == card.calibration.threshold
    assert "certify them anew" not in calibrate(run, capsys, monkeypatch)


def test_a_certificate_from_before_calibrations_were_part_of_it(run: Path) -> None:
    path = run / "model" / CERTIFICATE
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert tree.pop("calibration") is None
    path.write_text(json.dumps(tree), encoding="utf-8")
    assert read_certificate(run / "model").calibration is None
    assert Predictor(run, backend="onnx").backend.name == "onnx"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"certificate\.json"),
        (b'{"format_version": 1}', 'the field "weights": Field required'),
        (b"\xff", r"certificate\.json"),
    ],
)
def test_a_damaged_certificate(run: Path, content: bytes, message: str) -> None:
    (run / "model" / CERTIFICATE).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        Predictor(run, backend="onnx")


def test_a_certificate_of_a_newer_format(run: Path) -> None:
    path = run / "model" / CERTIFICATE
    tree = json.loads(path.read_text(encoding="utf-8")) | {"format_version": 2}
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(ModelError, match="has format 2, this segdec reads 1"):
        Predictor(run, backend="onnx")


def test_a_file_that_is_not_there(trained_run: Path, run: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no file for openvino int8; make it with: segdec export"):
        Predictor(trained_run, backend="openvino", precision="int8")
    with pytest.raises(ModelError, match="holds no file for onnx"):
        Predictor(trained_run, backend="onnx", allow_uncertified=True)
    (run / "model" / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx, onnx in fp32, is missing; .* --to onnx$"):
        Predictor(run, backend="onnx", context="direct")


@pytest.mark.parametrize(
    ("backend", "module", "command"),
    [("onnx", "onnxruntime", "pip install onnxruntime"), ("openvino", "openvino", "segdec[openvino]")],
)
def test_a_backend_that_is_not_installed(run: Path, monkeypatch, backend, module, command) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as error:
        Predictor(run, backend=backend)
    assert command in str(error.value)


@pytest.mark.parametrize(
    ("backend", "precision"), [("torch", "int8"), ("onnx", "bf16"), ("onnx", "int8-bf16")]
)
def test_a_precision_that_the_backend_has_not(run: Path, backend, precision) -> None:
    with pytest.raises(ConfigError, match=f"the backend {backend} .* got {precision}"):
        Predictor(run, backend=backend, precision=precision)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_file_that_is_no_graph(run: Path, backend: str) -> None:
    for name in set(FILES.values()):
        (run / "model" / name).write_bytes(b"no graph")
    with pytest.raises(ModelError, match="is no graph that can be computed"):
        Predictor(run, backend=backend, precision="fp32", allow_uncertified=True)


def test_auto_without_torch_takes_of_uncertified_files_what_is_nearest_to_one(run: Path, monkeypatch) -> None:
    hidden = {"torch"}
    monkeypatch.setattr(choice, "is_installed", lambda name: name not in hidden)
    set_times(run, {("openvino", "int8"): 1.0, ("openvino", "fp32"): 2.0})
    rewrite(run, passed=False, reason="AP falls")

    def taken(**wish) -> tuple[str, str]:
        one = chosen(run, allow_uncertified=True, **wish)
        return one.backend, one.precision

    assert taken() == ("openvino", "fp32")  # all failed: the one that rounds least, then the fastest
    hidden.add("openvino")
    assert taken() == ("onnx", "fp32")
    hidden.remove("openvino")
    path = run / "model" / CERTIFICATE
    tree = json.loads(path.read_text(encoding="utf-8"))
    for check in tree["checks"]:
        check["passed"] = (check["backend"], check["precision"]) == ("onnx", "fp32")
    path.write_text(json.dumps(tree), encoding="utf-8")
    for graph in (run / "model").glob("*.onnx"):
        graph.write_bytes(graph.read_bytes() + b"\x12\x00")
    assert taken() == ("onnx", "fp32")  # it passed before it was changed; the others never did
    monkeypatch.setattr(choice, "cpu_kind", lambda: "another")
    assert taken() == ("onnx", "fp32")
    assert taken(precision="int8") == ("onnx", "int8")  # of no use to auto, but asked for
    assert taken(precision="bf16") == ("openvino", "bf16")
    assert taken(backend="openvino", precision="int8") == ("openvino", "int8")


# --- the fastest ----------------------------------------------------------------------------------------


def chosen(run: Path, **wish) -> choice.Choice:
    card, _ = read_model(run)
    return backends.choose_backend(run / "model", card, **wish)


def set_times(run: Path, times: dict[tuple[str, str], float]) -> None:
    path = run / "model" / CERTIFICATE
    certificate = Certificate.model_validate_json(path.read_bytes())
    checks = [
        check.model_copy(
            update={
                "milliseconds": times.get((check.backend, check.precision), 100.0),
                "torch_milliseconds": 10.0,
            }
        )
        for check in certificate.checks
    ]
    path.write_text(
        certificate.model_copy(update={"checks": tuple(checks)}).model_dump_json(), encoding="utf-8"
    )


def test_auto_takes_the_fastest(run: Path, monkeypatch) -> None:
    set_times(run, {("openvino", "int8"): 2.0, ("onnx", "fp32"): 5.0})
    assert (chosen(run).backend, chosen(run).precision) == ("openvino", "int8")
    assert chosen(run, precision="fp32").backend == "onnx"
    assert chosen(run, backend="onnx").precision == "fp32"
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    assert chosen(run).backend == "torch"
    monkeypatch.setattr(choice, "has_gpu", lambda: False)
    monkeypatch.setattr(choice, "cpu_kind", lambda: "another")  # rounds otherwise
    assert chosen(run).backend == "onnx"
    monkeypatch.setattr(choice, "is_installed", lambda name: name == "torch")
    assert chosen(run).backend == "torch"
    monkeypatch.setattr(choice, "is_installed", lambda name: False)
    with pytest.raises(ModelError, match="certified for other machines or need what is not installed"):
        chosen(run)


def certify_on(run: Path, *places: tuple[str, str, bool]) -> None:
    """Give every check one verdict for each machine: its kind of CPU, its CPU, and whether it passed."""
    path = run / "model" / CERTIFICATE
    certificate = Certificate.model_validate_json(path.read_bytes())
    checks = [
        check.model_copy(
            update={
                "machine": check.machine | {"cpu_kind": kind, "cpu": name},
                "passed": passed,
                "reason": None if passed else f"AP falls on {name}",
                "milliseconds": 1.0,
                "torch_milliseconds": 10.0,
            }
        )
        for check in certificate.checks
        for kind, name, passed in places
    ]
    path.write_text(
        certificate.model_copy(update={"checks": tuple(checks)}).model_dump_json(), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("places", "failed"),
    [
        ([("kind", "other", True), ("kind", "this", False)], "this"),
        ([("kind", "this", False), ("kind", "other", True)], "this"),
        ([("kind", "this", True), ("kind", "other", False)], None),
        ([("else", "other", True), ("kind", "another", False)], "another"),
        ([("else", "this", False), ("kind", "another", True)], None),  # a name that two kinds share
        ([("else", "other", True), ("elsewhere", "another", False)], None),
    ],
)
def test_the_nearest_of_several_machines_decides(run: Path, monkeypatch, places, failed) -> None:
    monkeypatch.setattr(choice, "has_gpu", lambda: False)
    monkeypatch.setattr(choice, "cpu_kind", lambda: "kind")
    monkeypatch.setattr(choice, "cpu_name", lambda: "this")
    certify_on(run, *places)
    if failed is None:
        assert chosen(run, backend="onnx", precision="int8").precision == "int8"
        assert chosen(run).backend != "torch"
    else:
        with pytest.raises(ModelError, match=f"failed its certification: AP falls on {failed};"):
            chosen(run, backend="onnx", precision="int8")
        assert chosen(run).backend == "torch"


def test_auto_takes_torch_where_that_is_faster_or_alone(run: Path, trained_run: Path, monkeypatch) -> None:
    set_times(run, {})
    assert chosen(run).backend == "torch"
    assert chosen(trained_run).backend == "torch"
    monkeypatch.setattr(choice, "is_installed", lambda name: name != "torch")
    with pytest.raises(MissingExtraError, match=r"pip install 'segdec\[train\]', or .* segdec export"):
        chosen(trained_run)


# --- exports that fail ----------------------------------------------------------------------------------


def test_a_corrupted_export_fails_and_is_kept(trained_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    monkeypatch.setattr(spectral_nodes, "_waves", lambda rows, columns, tile: (np.ones((rows, columns)),) * 2)
    assert call(monkeypatch, "export", run, "--to", "onnx", "--context", "spectral") == 5
    said = capsys.readouterr()
    assert "1 of 1 exports failed: onnx fp32: it decides" in said.err
    assert "NO" in said.out
    certificate = read_certificate(run / "model")
    (check,) = certificate.checks
    assert not check.passed
    assert check.flips
    assert check.flips[0].image in check.reason
    assert (run / "model" / check.file).exists()
    with pytest.raises(ModelError, match="failed its certification: it decides"):
        Predictor(run, backend="onnx")
    assert Predictor(run, backend="auto", device="cpu").backend.name == "torch"


def test_the_command_prints_a_table(trained_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    assert call(monkeypatch, "export", run, "--to", "onnx", "int8") == 0
    said = capsys.readouterr().out
    assert "onnx fp32, direct" in said
    assert "onnx int8, direct" in said
    assert "Compared with PyTorch in fp32 on" in said


def test_what_cannot_be_exported(trained_run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained_run / "model", tmp_path / "model"))
    with pytest.raises(DataError, match="is a model without data of its own; name images"):
        export(model, ["onnx"])
    images = tmp_path / "images"
    for place in range(3):
        write_image(images / f"{place}.png", np.full((64, 96), place, np.uint8))
    with pytest.raises(DataError, match="8-bit ranges need 8 images or more, got 3"):
        export(model, ["onnx", "int8"], images)
    for path in images.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 3 images that certify the export can be read"):
        export(model, ["onnx"], images)
    assert sorted(path.name for path in model.iterdir()) == sorted(
        path.name for path in (trained_run / "model").iterdir()
    )
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_whose_data_are_gone(trained_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    meta = json.loads((run / "meta.json").read_text())
    images = Path(meta["data"]) / "Test"
    (run / "meta.json").write_text(json.dumps(meta | {"data": str(tmp_path / "gone")}))
    with pytest.raises(DataError, match=r"no longer in .*gone; .* or name other images .*: --images"):
        export(run, ["onnx"])
    (check,) = export(run, ["onnx"], images, context="direct")
    assert check.images.origin == f"images in {images}"
    assert check.images.count == 12


def test_8_bit_ranges_of_images_that_differ(trained_run: Path, tmp_path: Path) -> None:
    """A file that cannot be read is listed, and images of 8 and of 16 bits say the same."""
    model = Path(shutil.copytree(trained_run / "model", tmp_path / "model"))
    images = tmp_path / "images"
    pixels = np.random.default_rng(0).integers(0, 256, (10, 64, 96), np.uint8)
    for place, image in enumerate(pixels):
        write_image(images / f"{place}.png", image)
    (images / "broken.png").write_bytes(b"no image")
    (before,) = (check for check in export(model, ["onnx", "int8"], images) if check.precision == "int8")
    assert [Path(name).name for name in before.images.unreadable] == ["broken.png"]
    for place, image in enumerate(pixels):
        write_image(images / f"{place}.png", image.astype(np.uint16) * np.uint16(257))
    (after,) = (check for check in export(model, ["onnx", "int8"], images) if check.precision == "int8")
    assert after.score.largest == pytest.approx(before.score.largest, abs=1e-4)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def terminate(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_a_cut_off_export_leaves_the_model_whole(trained_run: Path, tmp_path: Path, stop) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    before = {path.name: path.read_bytes() for path in (run / "model").iterdir()}
    handler = signal.getsignal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        export(run, ["onnx"], watch=stop)
    assert {path.name: path.read_bytes() for path in (run / "model").iterdir()} == before
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in trained_run.iterdir())
    assert signal.getsignal(signal.SIGTERM) is handler
