"""The certificate of a model's exports: the content of ``certificate.json``.

An export may be used where this file says that it was compared with the network itself on real images and
stayed within its limits, and where neither it, nor the weights, nor the thresholds have changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from segdec.errors import ModelError
from segdec.files import atomic_write
from segdec.model_card import Calibration

CERTIFICATE = "certificate.json"
FORMAT_VERSION = 1

BackendName: TypeAlias = Literal["torch", "onnx", "openvino"]
Precision: TypeAlias = Literal["fp32", "bf16", "int8", "int8-bf16"]
"""What most products are computed in; "int8-bf16" takes 8 bits for the convolutions and bf16 elsewhere."""
Form: TypeAlias = Literal["direct", "spectral"]

FILES: dict[tuple[Precision, Form], str] = {
    ("fp32", "direct"): "model.onnx",
    ("fp32", "spectral"): "model-spectral.onnx",
    ("bf16", "direct"): "model.onnx",
    ("bf16", "spectral"): "model-spectral.onnx",
    ("int8", "direct"): "model-int8.onnx",
    ("int8", "spectral"): "model-int8-spectral.onnx",
    ("int8-bf16", "direct"): "model-int8.onnx",
    ("int8-bf16", "spectral"): "model-int8-spectral.onnx",
}
"""What each variant is computed from; bf16 is the runtime's choice, not the file's."""


def in_8_bits(precision: Precision) -> bool:
    """Tell whether convolutions are computed in 8 bits, whose ranges have to be chosen.

    Parameters
    ----------
    precision
        Of an export.

    Examples
    --------
    >>> in_8_bits("int8-bf16"), in_8_bits("bf16")
    (True, False)
    """
    return precision in ("int8", "int8-bf16")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Limits(_Frozen):
    """What an export may differ by; None is no limit."""

    flips: int = 0
    score_difference: float | None = None
    ap_loss: float | None = None


class Tiles(_Frozen):
    """How images were cut."""

    tile: int
    """Side, in pixels."""
    overlap: int
    """What neighbours shared at least, in pixels."""


class Images(_Frozen):
    """What an export was compared on."""

    origin: str
    """In words, e.g. "validation and test part of the run"."""
    count: int
    defective: int | None
    """None where there are no labels."""
    tiles: Tiles | None = None
    """How they were cut; None compared them as a whole."""
    unreadable: tuple[str, ...]
    """Files that could not be used; they are not counted."""


class Difference(_Frozen):
    """How far two answers lie apart."""

    largest: float
    mean: float


class Flip(_Frozen):
    """An image that is decided otherwise."""

    image: str
    torch_score: float
    score: float
    torch_decision: str
    decision: str


class Check(_Frozen):
    """One export, compared."""

    backend: BackendName
    precision: Precision
    context: Form
    """How the context layer is computed."""
    file: str
    sha256: str
    passed: bool
    reason: str | None
    """Why it did not pass."""
    limits: Limits
    images: Images
    calibrated_on: str | None
    """int8: which images chose the ranges."""
    score: Difference
    score_map: Difference
    """Of all values of all maps, at the network's own resolution."""
    ap: float | None
    """Average precision of the export's scores; None where it is undefined."""
    torch_ap: float | None
    flips: tuple[Flip, ...]
    milliseconds: float
    """Median time of the network for one image or tile, on this machine."""
    torch_milliseconds: float
    """The same for PyTorch on the same machine's CPU."""
    timed: Literal["image", "tile"] = "image"
    """What these times are of: an image as a whole, or each of the tiles that it is cut into."""
    date: str
    """ISO 8601 in UTC."""
    machine: dict[str, str | int]
    versions: dict[str, str]


class Certificate(_Frozen):
    """All exports of a model, and what they were compared with."""

    format_version: int = FORMAT_VERSION
    weights: str
    """SHA-256 of weights.safetensors."""
    threshold: float
    review_threshold: float | None
    calibration: Calibration | None = None
    """What chose these thresholds, and what it promises; None where no calibration did, or nothing says."""
    checks: tuple[Check, ...]

    @property
    def thresholds(self) -> tuple[float, float | None]:
        """The threshold and the review threshold, as of a `segdec.model_card.ModelCard`."""
        return self.threshold, self.review_threshold


def export_targets(checks: Sequence[Check]) -> tuple[str, ...]:
    """Name what a model is to be exported to, so that these are certified again.

    Parameters
    ----------
    checks
        Of its exports.

    Returns
    -------
    tuple of str
        Targets of `segdec export --to`.
    """
    eight = ("int8",) if any(in_8_bits(check.precision) for check in checks) else ()
    return (*sorted({check.backend for check in checks}), *eight)


def read_certificate(folder: Path) -> Certificate | None:
    """Read the certificate of a model's exports.

    Parameters
    ----------
    folder
        A model folder.

    Returns
    -------
    Certificate or None
        None where the model has none.

    Raises
    ------
    ModelError
        If it is damaged or of a newer format.
    """
    path = folder / CERTIFICATE
    if not path.is_file():
        return None
    try:
        certificate = Certificate.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f'the field "{field}": ' if field else ""
        raise ModelError(f"{path} cannot be used, {where}{first['msg']}; export the model again") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; check its rights") from error
    if certificate.format_version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format {certificate.format_version}, this segdec reads {FORMAT_VERSION}; upgrade"
            " segdec, or export the model again"
        )
    return certificate


def write_exports(folder: Path, graphs: Mapping[str, bytes], certificate: Certificate) -> None:
    """Put exported graphs and their certificate into a model folder; the other files stay as they are.

    Whenever this is cut off, the model itself is whole, and graphs that the certificate does not match
    are refused.

    Parameters
    ----------
    folder
        A model folder.
    graphs
        File name -> content.
    certificate
        It replaces one of before.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    for name, content in graphs.items():
        atomic_write(folder / name, content)
    atomic_write(folder / CERTIFICATE, (certificate.model_dump_json(indent=2) + "\n").encode())
