"""Import a checkpoint of the paper authors' public implementation as a model folder."""

from __future__ import annotations

import pickle
import struct
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from pydantic import ValidationError

from segdec.config import NetworkConfig, check_image_size
from segdec.errors import ConfigError, ModelError
from segdec.model_card import ModelCard, Trained
from segdec.model_io import write_model
from segdec.runtime import require_torch, versions
from segdec.types import ImageSize

if TYPE_CHECKING:
    from torch import Tensor

# What torch raises for damaged files, depending on where the damage is.
_DECODING_ERRORS = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_DEPTHS = (1, 3, 4)
# Places in the sequence of layers; 1, 5 and 10 are max-pools, which have no weights.
_VOLUME = (0, 2, 3, 4, 6, 7, 8, 9, 11)
_EXTRACTOR = (1, 3, 5)
_NORMED = [f"volume.{place}" for place in _VOLUME] + [f"extractor.{place}" for place in _EXTRACTOR]
_SEG_BIAS = "seg_mask.1.bias"
_KEYS = [
    *(f"{layer}.{part}" for layer in _NORMED for part in ("0.weight", "1.scale", "1.bias")),
    *("seg_mask.0.weight", "seg_mask.1.scale", _SEG_BIAS, "fc.weight", "fc.bias"),
]
# Both networks are the same sequences of layers, under other names.
_NAMES = {"volume": "segmentation", "seg_mask": "seg_head", "extractor": "decision", "fc": "fc"}


def import_reference(weights: Path, image_size: ImageSize, folder: Path) -> Path:
    """Turn a reference checkpoint into a model folder that gives the same outputs.

    The checkpoint holds neither image size nor threshold: the size is asked for, the thresholds are 0.5
    until data chooses them, and the model says so.

    Parameters
    ----------
    weights
        A flat state dictionary as saved by torch, with or without the prefix "module." of DataParallel.
        Sizes are taken from the shapes.
    image_size
        (height, width) that the checkpoint was trained at.
    folder
        The model folder to write.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    ModelError
        If the file is no such checkpoint, naming the keys that are missing, unknown or of another shape.
    ConfigError
        If the network cannot take ``image_size``.
    OutputError
        If the folder cannot be written.
    MissingExtraError
        If torch is not installed.
    """
    require_torch()
    try:
        check_image_size(image_size)
    except ValueError as error:
        raise ConfigError(f"image_size {error}") from error
    tensors = _load(weights)
    _check_keys(weights, tensors)
    network = _sizes(weights, tensors)
    _check_shapes(weights, tensors, network)
    arrays = {
        _own_name(key): (tensor.flatten() if _is_norm(key) else tensor).numpy()
        for key, tensor in tensors.items()
        if key != _SEG_BIAS or network.seg_head_bias
    }
    write_model(folder, _make_card(weights, network, image_size), arrays)
    return folder


def _load(path: Path) -> dict[str, Tensor]:
    """Read a flat dictionary of tensors; code in the file is never run."""
    import torch

    try:
        stream = path.open("rb")
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; check the name and its rights") from error
    try:
        with stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles: what comes of them is checked below
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except _DECODING_ERRORS as error:
        raise ModelError(
            f"{path} is no checkpoint of plain tensors ({type(error).__name__}); give a state"
            " dictionary saved by torch.save"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ModelError(
            f"{path} holds a {type(content).__name__} instead of a dictionary of named tensors; save the"
            " network's state_dict()"
        )
    strangers = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise ModelError(
            f"{path} holds {_list(strangers)}, not tensors; save the network's state_dict() alone, not within"
            " another dictionary"
        )
    if content and all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return {key: value.detach().float() for key, value in content.items()}


def _check_keys(path: Path, tensors: dict[str, Tensor]) -> None:
    missing = [key for key in _KEYS if key not in tensors]
    unknown = [key for key in tensors if key not in _KEYS]
    problems = [f"it misses {_list(missing)}"] * bool(missing) + [
        f"it holds {_list(unknown)} too much"
    ] * bool(unknown)
    if problems:
        raise ModelError(
            f"{path} is no checkpoint of the reference implementation: {' and '.join(problems)}; give one of"
            " the end-to-end network"
        )


def _sizes(path: Path, tensors: dict[str, Tensor]) -> NetworkConfig:
    """Read the network's sizes off the weights' shapes."""
    shapes = {}
    for layer in _NORMED:
        shapes[layer] = tuple(tensors[f"{layer}.0.weight"].shape)
        if len(shapes[layer]) != 4:
            raise ModelError(
                f"{path}: {layer}.0.weight is {shapes[layer]}, expected (out, in, height, width); give a"
                " checkpoint of the reference implementation"
            )
    if shapes["volume.0"][1] not in (1, 3):
        raise ModelError(
            f"{path}: volume.0.0.weight is {shapes['volume.0']}, for {shapes['volume.0'][1]} channels; only"
            " networks for grey (1) and colour (3) can be imported"
        )
    try:
        return NetworkConfig(
            in_channels=shapes["volume.0"][1],
            block_channels=(shapes["volume.0"][0], shapes["volume.2"][0], shapes["volume.6"][0]),
            block_depths=_DEPTHS,
            context_channels=shapes["volume.11"][0],
            context_kernel=shapes["volume.11"][2],
            decision_channels=(shapes["extractor.1"][0], shapes["extractor.3"][0], shapes["extractor.5"][0]),
            seg_head_bias=bool(tensors[_SEG_BIAS].any()),  # 0, as training leaves it, is as good as none
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ModelError(
            f"{path}: its shapes make {problem['loc'][0]} {problem['input']}, which cannot be; give a"
            " checkpoint of the reference implementation"
        ) from error


def _check_shapes(path: Path, tensors: dict[str, Tensor], config: NetworkConfig) -> None:
    import torch

    from segdec.network import SegDecNet

    with torch.device("meta"):
        own = SegDecNet(config).state_dict()
    for key, tensor in tensors.items():
        shape = (1,) if key == _SEG_BIAS else tuple(own[_own_name(key)].shape)
        expected = (1, *shape, 1, 1) if _is_norm(key) else shape
        if tuple(tensor.shape) != expected:
            raise ModelError(
                f"{path}: {key} is {tuple(tensor.shape)}, expected {expected} beside its other weights; give"
                " a checkpoint of the reference implementation"
            )


def _make_card(weights: Path, network: NetworkConfig, image_size: ImageSize) -> ModelCard:
    return ModelCard(
        network=network,
        image_size=image_size,
        channels=cast(Literal[1, 3], network.in_channels),
        threshold=0.5,
        threshold_from="default",
        pixel_threshold=0.5,
        trained=Trained(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            run=f"imported from {weights.name}",
            dataset=None,
            data_hash=None,
            epoch=None,
            seed=None,
            commit=None,
        ),
        versions=versions(),
    )


def _is_norm(key: str) -> bool:
    return key.endswith((".scale", ".1.bias"))


def _own_name(key: str) -> str:
    part, _, rest = key.partition(".")
    return f"{_NAMES[part]}.{rest}"


def _list(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
