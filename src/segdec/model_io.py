"""The model folder: ``weights.safetensors`` and ``model.json``; no torch, no pickle.

``model.json`` says what the network is, what its input looks like, where its threshold comes from, where
it was trained, and the SHA-256 of every file. For ``model.json`` itself that is the SHA-256 of all its
other entries, as JSON with sorted keys and without spaces. ``images.sha256`` lists the images that took
part in the training, or in that of a model that it began with or learnt from, so that a calibration can
refuse them; models of unknown origin have none.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as dump_safetensors

from segdec.certificate import CERTIFICATE, FILES
from segdec.errors import ModelError, OutputError
from segdec.files import atomic_write, output_error, sha256, write_durably
from segdec.model_card import FORMAT_VERSION, Calibration, ModelCard

CARD = "model.json"
WEIGHTS = "weights.safetensors"
IMAGES = "images.sha256"
OTHERS = "others"
"""Stands among the hashes where the list is not whole: a model that this one comes from does not say."""


def write_model(
    folder: Path,
    card: ModelCard,
    weights: Mapping[str, NDArray[Any]],
    others: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model folder, whole or not at all.

    The files are written beside the target and moved there by one rename. An older model of that name is
    set aside first and put back if the move fails; only a crash between the two renames leaves neither
    under the name (both are then whole, in folders that begin with a dot).

    Parameters
    ----------
    folder
        The target: new, empty, or a model folder, which is replaced.
    card
        The description; its ``files`` are filled in.
    weights
        Name -> array; stored as float32.
    others
        File name -> content of what else belongs to the model.

    Raises
    ------
    ModelError
        If a weight is not finite.
    OutputError
        If the target is something else than a model, or cannot be written (with the reason).
    """
    arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
    _check_finite(folder, arrays)
    contents = {WEIGHTS: dump_safetensors(arrays), **(others or {})}
    text = _seal(card, {name: sha256(content) for name, content in contents.items()})
    target = folder.resolve()  # a link stays a link
    fresh = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.mkdir()
            for name, content in contents.items():
                write_durably(fresh / name, content)
            write_durably(fresh / CARD, text.encode("utf-8"))
            _move(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise output_error(folder, error) from error


def read_model(folder: Path) -> tuple[ModelCard, dict[str, NDArray[np.float32]]]:
    """Read a model folder and check every byte of it.

    Parameters
    ----------
    folder
        A model folder, or a run folder that holds one as ``model``.

    Returns
    -------
    card
        What ``model.json`` says.
    weights
        Name -> float32 array. Whether they fit the network is seen when they are loaded into it.

    Raises
    ------
    ModelError
        If it is no model folder, a file is missing, was changed or is not readable, ``model.json`` misses
        a field or has one too many, or the format is newer than this version of segdec.
    """
    folder = model_folder(folder)
    card = _read_card(folder)
    blobs = {}
    for name, expected in card.files.items():
        if name == CARD:
            continue
        blobs[name] = _read_bytes(folder, name)
        _check_hash(folder / name, sha256(blobs[name]), expected)
    try:
        weights = parse_safetensors(blobs[WEIGHTS])
    except (SafetensorError, KeyError) as error:
        raise ModelError(
            f"{folder / WEIGHTS} is no safetensors file: {error}; write the model anew"
        ) from error
    _check_finite(folder, weights)
    return card, weights


def write_calibration(folder: Path, calibration: Calibration, images: Iterable[str]) -> None:
    """Give a model its calibration and the threshold in it; the other files stay as they are.

    The hashes of the images stand in model.json, too: two files could not be replaced at once.

    Parameters
    ----------
    folder
        A model folder, or a run folder that holds one.
    calibration
        It replaces one of before.
    images
        SHA-256 of the image files that it was made on, hexadecimal.

    Raises
    ------
    ModelError
        If it is no model folder, or damaged.
    OutputError
        If model.json cannot be written; it is then as before.
    """
    card, _ = read_model(folder)
    changes = {
        "threshold": calibration.threshold, "threshold_from": "calibration", "calibration": calibration,
        "calibration_images": tuple(sorted(set(images))),
    }  # fmt: skip
    files = {name: value for name, value in card.files.items() if name != CARD}
    atomic_write(model_folder(folder) / CARD, _seal(card.model_copy(update=changes), files).encode())


def model_folder(folder: Path) -> Path:
    """Find the model folder that a path stands for.

    Parameters
    ----------
    folder
        A model folder, or a run folder that holds one as ``model``.

    Returns
    -------
    Path
        The model folder.

    Raises
    ------
    ModelError
        If there is none.
    """
    try:
        for candidate in (folder, folder / "model"):
            if (candidate / CARD).is_file():
                return candidate
            if (candidate / WEIGHTS).is_file():
                raise ModelError(f"the model {candidate} misses {CARD}; copy the whole folder again")
        what = "is a file" if folder.is_file() else "holds no model" if folder.exists() else "does not exist"
    except OSError as error:
        raise ModelError(f"cannot read the model {folder}: {error.strerror}; check its rights") from error
    raise ModelError(
        f"{folder} {what}; give a folder with {CARD} and {WEIGHTS}, or the folder of a run that ended"
    )


def dump_hashes(hashes: Iterable[str]) -> bytes:
    r"""Return the content of images.sha256: each hash once, sorted, one a line.

    Parameters
    ----------
    hashes
        SHA-256 of image files, hexadecimal.

    Examples
    --------
    >>> dump_hashes(["ff", "0a", "ff"])
    b'0a\nff\n'
    """
    return "".join(f"{each}\n" for each in sorted(set(hashes))).encode()


def read_hashes(folder: Path) -> frozenset[str] | None:
    """Read which images took part in a model's training, or in that of a model that it comes from.

    Parameters
    ----------
    folder
        A model folder, or a run folder that holds one; of a model that `read_model` has checked.

    Returns
    -------
    frozenset of str or None
        SHA-256 of image files, hexadecimal, and `OTHERS` where these are not all; None where the model does
        not say.

    Raises
    ------
    ModelError
        If it is no model folder, or damaged.
    """
    folder = model_folder(folder)
    if IMAGES not in _read_card(folder).files:
        return None
    return frozenset(_read_bytes(folder, IMAGES).decode().split())


def _card_hash(tree: dict[str, Any]) -> str:
    files = {name: value for name, value in tree["files"].items() if name != CARD}
    text = json.dumps(tree | {"files": files}, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode("utf-8"))


def _seal(card: ModelCard, files: dict[str, str]) -> str:
    """Return the text of model.json with the hashes of all files, its own among them."""
    tree = _tree(card) | {"files": dict(files)}
    tree["files"][CARD] = _card_hash(tree)
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _tree(card: ModelCard) -> dict[str, Any]:
    """Return what the file holds; what came after format 1 only where it differs from what was before."""
    later = ("calibration", "calibration_images", "tile")
    left_out: dict[str, Any] = {name: True for name in later if getattr(card, name) is None}
    before = {"norm": "image", "context_form": "full"}
    left_out["network"] = {name for name, value in before.items() if getattr(card.network, name) == value}
    return card.model_dump(mode="json", exclude=left_out)


def _check_replaceable(target: Path) -> None:
    """Refuse to replace anything but a model: its folder is deleted with all it holds."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"cannot write the model {target}: a file of that name exists; choose another name")
    present = {entry.name for entry in target.iterdir()}
    if not present:
        return
    if CARD not in present:
        raise OutputError(
            f"cannot write the model {target}: the folder exists and holds no model; choose another name"
        )
    try:
        own = set(json.loads((target / CARD).read_bytes())["files"])
    except (ValueError, KeyError, TypeError):
        own = set()  # a damaged model may be replaced, too
    foreign = sorted(present - own - {CARD, WEIGHTS, CERTIFICATE, *FILES.values()})
    if foreign:
        raise OutputError(
            f"cannot replace the model {target}: {foreign[0]} in it is not part of a model; move it away"
            " or choose another name"
        )


def _move(fresh: Path, target: Path) -> None:
    if not target.exists():
        fresh.rename(target)
        return
    aside = target.with_name(f".{uuid.uuid4().hex}.old")
    target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _read_bytes(folder: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise ModelError(f"{folder / CARD} lists {name!r}, which is no plain file name; write the model anew")
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"the model {folder} misses {name}; copy the whole folder again") from error
    except OSError as error:
        raise ModelError(f"cannot read {folder / name}: {error.strerror}; check its rights") from error


def _read_card(folder: Path) -> ModelCard:
    path = folder / CARD
    try:
        tree = json.loads(_read_bytes(folder, CARD).decode("utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ModelError(f"{path} is no valid JSON: {error}; copy the whole folder again") from error
    if not isinstance(tree, dict):
        raise ModelError(f"{path} holds a {type(tree).__name__} instead of fields; write the model anew")
    version = tree.get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"the model {folder} was written by a newer segdec (format {version}; this one reads"
            f" {FORMAT_VERSION}): upgrade segdec"
        )
    try:
        card = ModelCard.model_validate(tree)
    except ValidationError as error:
        raise ModelError(f"{path} {_first_problem(error)}") from error
    if card.format_version != FORMAT_VERSION:
        raise ModelError(f"{path} has format {version}, this segdec reads {FORMAT_VERSION}; write it anew")
    wanted = _tree(card)
    wanted["files"] |= {WEIGHTS: "", CARD: ""}
    for field in _absent(wanted, tree):
        raise ModelError(f'{path} misses the field "{field}"; copy the whole folder again')
    _check_hash(path, _card_hash(tree), card.files[CARD])
    return card


def _absent(full: dict[str, Any], tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the fields that a default stood in for: in a file, none may."""
    for key, value in full.items():
        if key not in tree:
            yield prefix + key
        elif isinstance(value, dict):
            yield from _absent(value, tree[key], f"{prefix}{key}.")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f'misses the field "{field}"; copy the whole folder again'
    if problem["type"] == "extra_forbidden":
        return f'has the unknown field "{field}"; remove it, or write the model anew'
    message = problem["msg"].removeprefix("Value error, ")
    where = f'the field "{field}": ' if field else ""
    return f"cannot be used, {where}{message}, got {problem['input']!r:.60}; write the model anew"


def _check_hash(path: Path, actual: str, expected: str) -> None:
    if actual != expected:
        raise ModelError(
            f"{path} was changed after it was written (SHA-256 {actual[:12]}, recorded {expected[:12]});"
            " copy the whole folder again, or write the model anew"
        )


def _check_finite(folder: Path, weights: Mapping[str, NDArray[np.float32]]) -> None:
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ModelError(f"the model {folder} is unusable: {name} holds values that are not finite")
