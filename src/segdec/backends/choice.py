"""Which backend to take: the fastest that is installed and certified, or the one that is asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from segdec.certificate import (
    CERTIFICATE,
    FILES,
    BackendName,
    Certificate,
    Check,
    Form,
    Precision,
    Tiles,
    export_targets,
    in_8_bits,
    read_certificate,
)
from segdec.errors import ConfigError, MissingExtraError, ModelError
from segdec.files import sha256
from segdec.model_card import ModelCard
from segdec.model_io import WEIGHTS
from segdec.runtime import cpu_kind, cpu_name, gpu_name, has_gpu
from segdec.tiles import Tiling, trained_tiling

_CHANGED = "was changed after its certification"

_MODULES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Choice:
    """What computes a model.

    Attributes
    ----------
    backend, precision, context
        As in a certificate.
    file
        The graph; PyTorch needs none.
    notice
        Which certified files could have been taken if they had not been changed since, and the command that
        certifies them again; None where there are none.
    """

    backend: BackendName
    precision: Precision = "fp32"
    context: Literal["auto", "direct", "spectral"] = "auto"
    file: Path | None = None
    notice: str | None = None


def choose_backend(
    folder: Path,
    card: ModelCard,
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto",
    precision: Precision | None = None,
    context: Literal["auto", "direct", "spectral"] = "auto",
    allow_uncertified: bool = False,
    tiling: Tiling | None = None,
) -> Choice:
    """Choose what computes a model.

    Times are those that the certificate holds, each relative to PyTorch on the same machine's CPU. bf16 and
    int8 round otherwise on another kind of CPU or GPU; "auto" takes them only on the kind that they were
    certified on. Where several machines certified a file, this one's own check decides, else those of its
    kind, else all.

    Parameters
    ----------
    folder
        The model folder.
    card
        Its model.json.
    backend
        "auto" takes the fastest that is installed and certified, PyTorch among them; on a GPU, PyTorch.
    precision
        None takes the fastest certified one; of PyTorch, where that is asked for by name, fp32.
    context
        Form of the context layer; "auto" takes the faster.
    allow_uncertified
        Also take a file without a certificate, or one that was changed or failed or is used otherwise.
    tiling
        How images are cut; None predicts them as a whole.

    Returns
    -------
    Choice

    Raises
    ------
    ModelError
        If there is no such file, or it may not be used, with the reason.
    ConfigError
        If the backend does not compute in that precision.
    MissingExtraError
        If PyTorch is not installed, and there is nothing else.
    """
    if backend == "torch" and precision in (None, "fp32"):
        return Choice("torch", context=context)
    if backend == "torch" and precision != "bf16":
        raise ConfigError(
            f"the backend torch computes in fp32 or bf16, got {precision}; choose onnx or openvino for"
            f" {precision}"
        )
    if backend == "onnx" and precision in ("bf16", "int8-bf16"):
        raise ConfigError(
            f"the backend onnx computes in fp32 or int8, got {precision}; choose openvino for {precision}"
        )
    wanted = _Wish(backend, precision, context, tiling)
    certificate = read_certificate(folder)
    checks = [check for check in _nearest(certificate.checks) if wanted.fits(check)] if certificate else []
    torch_fits = backend == "auto" and precision in (None, "fp32") and is_installed("torch")
    possible = [check for check in checks if backend != "auto" or _runs_here(check)]
    if torch_fits and has_gpu():
        possible = [check for check in possible if check.backend == "torch"]
    judged = [(check, refusal(folder, card, certificate, check, tiling)) for check in possible]
    usable = [check for check, reason in judged if reason is None]
    changed = [check for check, reason in judged if reason == _CHANGED]
    notice = _notice(folder, card, certificate, changed, tiling)
    if usable:
        best = min(usable, key=_relative_time)
        if not torch_fits or _relative_time(best) < 1:
            return Choice(best.backend, best.precision, best.context, folder / best.file, notice)
    if torch_fits:
        return Choice("torch", context=context, notice=notice)
    if allow_uncertified:
        return _any_file(folder, wanted, checks)
    if backend == "auto" and precision in (None, "fp32") and not wanted.is_there(folder):
        raise MissingExtraError(
            f"this needs PyTorch, which is not installed, or an export, which the model {folder} does not"
            " hold; install PyTorch with: pip install 'segdec[train]', or where it is installed, run:"
            f" {wanted.command(folder)}"
        )
    raise ModelError(_why_not(folder, card, wanted, certificate, checks))


def refusal(
    folder: Path,
    card: ModelCard,
    certificate: Certificate | None,
    check: Check,
    tiling: Tiling | None = None,
) -> str | None:
    """Say why an export may not be used; None where it may.

    Parameters
    ----------
    folder
        The model folder.
    card
        Its model.json.
    certificate
        Its certificate.
    check
        The export's entry in it.
    tiling
        How images are cut; None predicts them as a whole. An export may be used as it was certified: on
        whole images, or in tiles of that side which overlap by as much or more.

    Returns
    -------
    str or None
        Half a sentence.
    """
    if certificate is None:
        return "has no certificate"
    path = folder / check.file
    if not path.is_file():
        return "is missing"
    if sha256(path.read_bytes()) != check.sha256:
        return _CHANGED
    return _refusal_as_certified(card, certificate, check, tiling)


def _refusal_as_certified(
    card: ModelCard, certificate: Certificate, check: Check, tiling: Tiling | None
) -> str | None:
    """Say why an export may not be used, even if its file is as it was certified; None where it may."""
    if certificate.weights != card.files[WEIGHTS]:
        return "was certified for other weights"
    if certificate.thresholds != card.thresholds:
        return f"was certified at other thresholds ({certificate.threshold:.6g}, now {card.threshold:.6g})"
    if not _covers(check.images.tiles, tiling):
        return f"was certified {_in_words(check.images.tiles)}, not {_in_words(tiling)}"
    if not check.passed:
        return f"failed its certification: {check.reason}"
    return None


def is_installed(backend: BackendName) -> bool:
    """Tell whether a backend's library is installed, without loading it.

    Parameters
    ----------
    backend
        Which.
    """
    return importlib.util.find_spec(_MODULES[backend]) is not None


@dataclass(frozen=True)
class _Wish:
    backend: str
    precision: Precision | None
    context: Literal["auto", "direct", "spectral"]
    tiling: Tiling | None

    def fits(self, check: Check) -> bool:
        return (
            self.backend in ("auto", check.backend)
            and self.precision in (None, check.precision)
            and self.context in ("auto", check.context)
        )

    def files(self) -> Iterable[tuple[Precision, Form, str]]:
        """Yield what may be there: the spectral form first, which is faster on most CPUs."""
        if self.backend == "torch":
            yield "bf16", "direct", WEIGHTS
            return
        for form in ("spectral", "direct"):
            if self.context in ("auto", form):
                yield self.precision or "fp32", form, FILES[self.precision or "fp32", form]

    def is_there(self, folder: Path) -> bool:
        return any((folder / name).is_file() for _, _, name in self.files())

    def command(self, folder: Path) -> str:
        """Return what makes such a file."""
        target = "int8" if self.precision is not None and in_8_bits(self.precision) else ""
        backend = "onnx" if self.backend == "auto" else self.backend
        return f"segdec export {folder} --to {backend} {target}".rstrip()


def _covers(certified: Tiles | Tiling | None, tiling: Tiling | None) -> bool:
    """Tell whether what was seen of one tiling, or of whole images, holds for another."""
    if certified is None or tiling is None:
        return certified is None and tiling is None
    return tiling.tile == certified.tile and tiling.overlap >= certified.overlap


def _in_words(tiling: Tiles | Tiling | None) -> str:
    if tiling is None:
        return "on whole images"
    return f"in tiles of {tiling.tile} pixels that overlap by {tiling.overlap}"


def _relative_time(check: Check) -> float:
    return check.milliseconds / check.torch_milliseconds


def _runs_here(check: Check) -> bool:
    """Tell whether "auto" may take it: its library is there, and what computes it rounds as it was seen."""
    at_home = check.precision == "fp32" or _place(check)[0] == _here(check.backend)[0]
    return at_home and is_installed(check.backend)


def _place(check: Check) -> tuple[object, object]:
    """Return the kind and the name of what computed an export: PyTorch takes a GPU where there is one."""
    device = check.machine.get("device", "cpu")
    if check.backend == "torch" and device != "cpu":
        return device, device
    return check.machine.get("cpu_kind"), check.machine.get("cpu")


def _here(backend: BackendName) -> tuple[object, object]:
    """Return the same for this machine."""
    if backend == "torch" and has_gpu():
        return gpu_name(), gpu_name()
    return cpu_kind(), cpu_name()


def _nearest(checks: Iterable[Check]) -> list[Check]:
    """Keep of each file what was seen nearest: on this CPU or GPU, else on its kind, else on any."""
    found: dict[tuple[str, str, str], tuple[int, list[Check]]] = {}
    for check in checks:
        place, here = _place(check), _here(check.backend)
        near = (place[0] == here[0]) + (place == here)
        key = (check.backend, check.precision, check.file)
        best, kept = found.get(key, (-1, []))
        if near >= best:
            found[key] = (near, [*kept, check] if near == best else [check])
    return [check for _, kept in found.values() for check in kept]


def _any_file(folder: Path, wanted: _Wish, checks: Iterable[Check]) -> Choice:
    """Take what is there without a certificate that holds: what passed once first, then what rounds least."""
    if wanted.backend == "torch":
        return Choice("torch", "bf16", wanted.context)
    present = [check for check in checks if (folder / check.file).is_file()]
    if wanted.backend == "auto":
        present = [check for check in present if _runs_here(check)]
    if present:
        best = min(
            present, key=lambda check: (not check.passed, check.precision != "fp32", _relative_time(check))
        )
        return Choice(best.backend, best.precision, best.context, folder / best.file)
    for precision, form, name in wanted.files():
        if (folder / name).is_file():
            other = wanted.backend == "openvino" or precision in ("bf16", "int8-bf16")
            return Choice("openvino" if other else "onnx", precision, form, folder / name)
    raise ModelError(_no_file(folder, wanted))


def _notice(
    folder: Path,
    card: ModelCard,
    certificate: Certificate | None,
    changed: Sequence[Check],
    tiling: Tiling | None,
) -> str | None:
    """Name the changed files that could be used as they were certified; None where there are none."""
    if certificate is None:
        return None
    lost = [check for check in changed if _refusal_as_certified(card, certificate, check, tiling) is None]
    if not lost:
        return None
    names = ", ".join(sorted({str(folder / check.file) for check in lost}))
    return (
        f"changed after certification and not used: {names}; certify again with: segdec export {folder} --to"
        f" {' '.join(export_targets(lost))}"
    )


def _why_not(
    folder: Path,
    card: ModelCard,
    wanted: _Wish,
    certificate: Certificate | None,
    checks: Sequence[Check],
) -> str:
    trained = trained_tiling(card)
    if not _covers(trained, wanted.tiling):
        return (
            f"exports of the model {folder} are certified {_in_words(trained)}, as it was trained, not"
            f" {_in_words(wanted.tiling)}; predict as it was trained, or with --backend torch"
            " (--allow-uncertified takes an export as it is)"
        )
    for check in checks:
        reason = refusal(folder, card, certificate, check, wanted.tiling)
        if reason is not None:
            again = replace(wanted, backend=check.backend, precision=check.precision).command(folder)
            as_it_is = " (--allow-uncertified takes it as it is)" if (folder / check.file).is_file() else ""
            return (
                f"{folder / check.file}, {check.backend} in {check.precision}, {reason}; certify it with:"
                f" {again}{as_it_is}"
            )
    names = [name for _, _, name in wanted.files() if (folder / name).is_file()]
    if names and not checks:
        return (
            f"{folder / names[0]} is not certified for {_what(wanted)} ({CERTIFICATE} does not name it);"
            f" certify it with: {wanted.command(folder)} (--allow-uncertified takes it as it is)"
        )
    if checks:  # certified, but on another kind of CPU or for a library that is not installed
        return (
            f"the exports in {folder} are certified for other machines or need what is not installed here;"
            " name one with --backend and --precision"
        )
    return _no_file(folder, wanted)


def _no_file(folder: Path, wanted: _Wish) -> str:
    return f"the model {folder} holds no file for {_what(wanted)}; make it with: {wanted.command(folder)}"


def _what(wanted: _Wish) -> str:
    return " ".join(part for part in (wanted.backend.replace("auto", "onnx"), wanted.precision) if part)
