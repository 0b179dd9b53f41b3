"""From a trained model to graphs that other programs compute, with a certificate that they answer alike."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdec.backends import Backend, Choice, open_backend
from segdec.backends.exported import to_pixel_type
from segdec.certificate import (
    FILES,
    BackendName,
    Certificate,
    Check,
    Form,
    Images,
    Precision,
    Tiles,
    in_8_bits,
    read_certificate,
    write_exports,
)
from segdec.errors import ConfigError, DataError, MissingExtraError, ModelError
from segdec.export.compare import (
    LIMITS,
    Answers,
    Readable,
    answer,
    find_flips,
    labelled_ap,
    map_difference,
    network_time,
    read_input,
    score_difference,
    sort_out,
    why_failed,
)
from segdec.export.evidence import FEWEST_TO_CALIBRATE, Evidence, cut_calibrating, gather_evidence
from segdec.export.graph import (
    PixelType,
    Quantized,
    build_peaks,
    quantizable,
    save_graph,
)
from segdec.export.nodes import Weight, locate_weights
from segdec.export.quantize import largest_inputs, quantize_weight
from segdec.files import output_error, sha256
from segdec.interruption import terminable
from segdec.model_card import ModelCard
from segdec.model_io import WEIGHTS, model_folder, read_model
from segdec.runtime import (
    choose_context,
    computes_in_bf16,
    cpu_kind,
    device_type,
    machine,
    may_gain_from_spectral,
    require_torch,
    versions,
)
from segdec.tiles import Tiling, trained_tiling

Target = Literal["onnx", "openvino", "int8", "torch"]
Watch = Callable[[str, int, int], None]


def export(
    model: Path,
    targets: Sequence[Target],
    images: Path | None = None,
    context: Literal["auto", "direct", "spectral"] = "auto",
    watch: Watch | None = None,
) -> tuple[Check, ...]:
    """Export a model and certify it: compare every export with PyTorch in fp32 on real images.

    A model that was trained on tiles is certified as it predicts, on images in such tiles.

    The graphs and ``certificate.json`` land in the model folder, also where an export fails; it is then
    marked, and not used unless asked for by name. Until all is done, the folder is as before.

    Parameters
    ----------
    model
        A run folder, or a model folder.
    targets
        "onnx" and "openvino" compute the same file, the latter also in bf16 where this CPU has it. "int8"
        adds one with 8-bit convolutions for each of them, in OpenVINO also with bf16 for all else. "torch"
        writes no file and certifies PyTorch in bf16, on the GPU where there is one.
    images
        More images to compare on: a data set, or a folder of images without labels. A model without its
        run needs them.
    context
        Form of the context layer; "auto" takes the one that is faster on this machine.
    watch
        Called with what is being done, and with images (done, in all).

    Returns
    -------
    tuple of Check
        One for each export, as in the certificate.

    Raises
    ------
    ConfigError
        If "torch" is among the targets, and what it would compute on has no bf16.
    DataError
        If there are no images to compare on, or too few (or too few tiles) to choose 8-bit ranges by.
    ModelError
        If the folder holds no model.
    MissingExtraError
        If what a target needs is not installed.
    OutputError
        If the folder cannot be written.
    """
    _require(targets)
    folder = model_folder(model)
    card, weights = read_model(folder)
    tiling = trained_tiling(card)
    evidence = gather_evidence(model, images)
    tell = watch or (lambda _what, _done, _of: None)
    readable = sort_out(evidence.proofs, card, tiling)
    if not readable.proofs:
        raise DataError(f"none of the {len(evidence.proofs)} images that certify the export can be read")
    if "int8" in targets:
        usable = tuple(each for each in evidence.calibrating if each.name not in readable.unreadable)
        evidence = _calibrating(replace(evidence, calibrating=usable), tiling)
    with terminable(), _workshop(folder) as bench:
        work = _Work(card, weights, tiling, evidence, readable, bench, tell)
        checks = tuple(work.check(*variant, context) for variant in list_variants(targets))
        certificate = _merge(folder, card, checks, work.graphs)
        write_exports(folder, work.graphs, certificate)
    return checks


@dataclass
class _Work:
    """One export: what it needs, and the graphs that it has built."""

    card: ModelCard
    weights: Mapping[str, NDArray[np.float32]]
    tiling: Tiling | None
    evidence: Evidence
    readable: Readable
    bench: Path
    tell: Watch
    graphs: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places: dict[str, Weight] = locate_weights(self.bench / WEIGHTS)
        self.pixels: PixelType = "uint16" if self.readable.deep else "uint8"
        self.quantized: dict[str, Quantized] = {}
        torch = open_backend(Choice("torch"), self.card, self.weights, "cpu")
        self.torch = self.ask(torch, "PyTorch")

    def check(
        self, backend: BackendName, precision: Precision, context: Literal["auto", "direct", "spectral"]
    ) -> Check:
        """Compare one export with PyTorch."""
        form, opened = self.open(backend, precision, context)
        answers = self.ask(opened, f"{backend} {precision}")
        name = WEIGHTS if backend == "torch" else FILES[precision, form]
        limits, proofs = LIMITS[precision], self.readable.proofs
        score = score_difference(self.torch, answers)
        flips = find_flips(proofs, self.torch, answers, self.card.thresholds)
        ap, torch_ap = labelled_ap(proofs, answers), labelled_ap(proofs, self.torch)
        reason = why_failed(limits, score, flips, ap, torch_ap)
        labels = [proof.label for proof in proofs if proof.label is not None]
        return Check(
            backend=backend,
            precision=precision,
            context=form,
            file=name,
            sha256=self.card.files[WEIGHTS] if backend == "torch" else sha256(self.graphs[name]),
            passed=reason is None,
            reason=reason,
            limits=limits,
            images=Images(
                origin=self.evidence.origin,
                count=len(proofs),
                defective=sum(labels) if labels else None,
                tiles=self.tiling and Tiles(tile=self.tiling.tile, overlap=self.tiling.overlap),
                unreadable=self.readable.unreadable,
            ),
            calibrated_on=self.evidence.calibrated_on if in_8_bits(precision) else None,
            score=score,
            score_map=map_difference(self.torch, answers),
            ap=ap,
            torch_ap=torch_ap,
            flips=flips,
            milliseconds=round(answers.milliseconds, 3),
            torch_milliseconds=round(self.torch.milliseconds, 3),
            timed="image" if self.tiling is None else "tile",
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine(),
            versions=versions(),
        )

    def open(
        self, backend: BackendName, precision: Precision, context: Literal["auto", "direct", "spectral"]
    ) -> tuple[Form, Backend]:
        """Open an export in the form that is asked for, or in the faster one."""
        if backend == "torch":
            form = choose_context(context, self.card.network, "bf16")
            return form, open_backend(Choice("torch", precision, form), self.card, self.weights)
        forms: tuple[Form, ...] = ("direct", "spectral") if context == "auto" else (context,)
        if context == "auto" and not may_gain_from_spectral(self.card.network):
            forms = ("direct",)
        found = [(form, self._open(backend, precision, form)) for form in forms]
        if len(found) > 1:
            origin = None if self.tiling is None else (0, 0)
            sample = read_input(self.readable.proofs[0].path, self.card, origin)
            found.sort(key=lambda each: network_time(each[1], sample))
        form, opened = found[0]
        self.graphs[FILES[precision, form]] = (self.bench / FILES[precision, form]).read_bytes()
        return form, opened

    def _open(self, backend: BackendName, precision: Precision, form: Form) -> Backend:
        path = self.bench / FILES[precision, form]
        if not path.exists():
            quantized = self._quantize() if in_8_bits(precision) else None
            size = self.card.image_size
            save_graph(path, self.card.network, self.places, self.pixels, size, form, quantized)
        return open_backend(Choice(backend, precision, form, path), self.card, {})

    def ask(self, backend: Backend, what: str) -> Answers:
        """Let a backend answer to all images."""
        done, total = 0, len(self.readable.proofs)

        def count() -> None:
            nonlocal done
            done += 1
            self.tell(what, done, total)

        return answer(backend, self.readable.proofs, self.card, self.tiling, count)

    def _quantize(self) -> dict[str, Quantized]:
        """Return the 8-bit form of the convolutions, from what the calibrating images show."""
        if not self.quantized:
            import onnxruntime

            names = quantizable(self.card.network)
            path = self.bench / "peaks.onnx"
            path.write_bytes(build_peaks(self.card.network, self.places, "uint16").SerializeToString())
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            seen = []
            for done, sample in enumerate(self.evidence.calibrating, start=1):
                pixels = to_pixel_type(read_input(sample.image, self.card, sample.origin), np.uint16)
                values = session.run(None, {"pixels": pixels[None]})
                seen.append(dict(zip(names, (float(value) for value in values), strict=True)))
                self.tell("8-bit ranges", done, len(self.evidence.calibrating))
            peaks = largest_inputs(names, seen)
            self.quantized = {name: quantize_weight(self.weights[name], peaks[name]) for name in names}
        return self.quantized


def _calibrating(evidence: Evidence, tiling: Tiling | None) -> Evidence:
    """Return the evidence with what chooses 8-bit ranges: whole images, or tiles."""
    found = evidence if tiling is None else cut_calibrating(evidence, tiling)
    if len(found.calibrating) < FEWEST_TO_CALIBRATE:
        what = "images" if tiling is None else "tiles"
        raise DataError(
            f"8-bit ranges need {FEWEST_TO_CALIBRATE} {what} or more, got {len(found.calibrating)}"
            f" ({found.calibrated_on}); leave int8 out, or add images"
        )
    return found


def list_variants(targets: Sequence[Target]) -> Iterator[tuple[BackendName, Precision]]:
    """Yield what targets stand for on this machine, without doubles.

    Parameters
    ----------
    targets
        As of `export`.
    """
    if "torch" in targets:
        yield "torch", "bf16"
    backends: list[BackendName] = [each for each in ("onnx", "openvino") if each in targets]
    for backend in backends:
        yield backend, "fp32"
    has_bf16 = "openvino" in targets and cpu_kind() != "other"
    if has_bf16:
        yield "openvino", "bf16"
    if "int8" in targets:
        for backend in backends or ["onnx"]:
            yield backend, "int8"
        if has_bf16:
            yield "openvino", "int8-bf16"


def _require(targets: Sequence[Target]) -> None:
    """Check that everything is installed before hours of work begin."""
    require_torch()
    if "torch" in targets and not computes_in_bf16(device_type()):
        raise ConfigError(
            'the target "torch" is PyTorch in bf16, in which this machine does not compute; leave it out'
        )
    needed = {"onnx": "train", "onnxruntime": "train"} | (
        {"openvino": "openvino"} if "openvino" in targets else {}
    )
    for module, extra in needed.items():
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtraError(
                f"this needs {module}, which is not installed ({error}); install it with: pip install"
                f" 'segdec[{extra}]'"
            ) from error


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """Make a folder beside the model that holds its weights, too, for as long as it is needed."""
    bench = folder.resolve().with_name(f".{uuid.uuid4().hex}.part")
    try:
        bench.mkdir()
        # a link would do, but readers of ONNX refuse weights behind links
        shutil.copyfile(folder / WEIGHTS, bench / WEIGHTS)
    except OSError as error:
        shutil.rmtree(bench, ignore_errors=True)
        raise output_error(folder, error) from error
    try:
        yield bench
    finally:
        shutil.rmtree(bench, ignore_errors=True)


def _merge(
    folder: Path, card: ModelCard, checks: Sequence[Check], graphs: Mapping[str, bytes]
) -> Certificate:
    """Add checks to those of before that still hold: same weights, thresholds and file, not done again."""
    try:
        before = read_certificate(folder)
    except ModelError:
        before = None  # a damaged one is replaced
    kept: list[Check] = []
    if before is not None and before.weights == card.files[WEIGHTS]:
        done = {_where(check) for check in checks}
        if before.thresholds == card.thresholds:
            kept = [
                check
                for check in before.checks
                if _where(check) not in done and _present(folder, check.file, graphs) == check.sha256
            ]
    return Certificate(
        weights=card.files[WEIGHTS],
        threshold=card.threshold,
        review_threshold=card.review_threshold,
        calibration=card.calibration,
        checks=(*kept, *checks),
    )


def _where(check: Check) -> tuple[object, ...]:
    """Return what was checked on which machine."""
    return check.backend, check.precision, check.machine["cpu"], check.machine.get("device")


def _present(folder: Path, name: str, graphs: Mapping[str, bytes]) -> str | None:
    if name in graphs:
        return sha256(graphs[name])
    path = folder / name
    return sha256(path.read_bytes()) if path.is_file() else None
