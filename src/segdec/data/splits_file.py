"""Read published splits: JSON, or a pickle through an unpickler that admits plain values only."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from segdec.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class ListedFold:
    """One fold of a published split.

    Attributes
    ----------
    train
        Item -> True where its defects have pixel labels, False where only the image's label counts.
    test
        Items.
    origin
        Which file, setting and fold, in words.
    """

    train: dict[str, bool]
    test: tuple[str, ...]
    origin: str


class _PlainUnpickler(pickle.Unpickler):
    """Builds containers, strings, numbers and booleans; nothing in the file can name code to run."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only plain values are admitted")

    def persistent_load(self, pid: object) -> NoReturn:
        raise pickle.UnpicklingError(f"it refers to an object outside the file ({pid!r})")


def read_splits_file(path: str | Path, setting: str, fold: int | None) -> ListedFold:
    """Read one fold of a splits file.

    Parameters
    ----------
    path
        A JSON file, or a pickle (.pyb, .pkl, .pickle). It holds settings by name, each a list of folds,
        or the folds directly, or one fold. A fold is {"train": part, "test": part} or the pair
        (train, test); a part lists items, each a name, or a pair of name and "has pixel labels".
    setting
        Name of the setting; without effect where the file has none.
    fold
        Which fold; None only where there is one.

    Returns
    -------
    ListedFold

    Raises
    ------
    DataError
        If the file cannot be read or has another shape.
    ConfigError
        If it has no such setting or fold.
    """
    path = Path(path)
    content = _read(path)
    words = ["published", path.name]
    if isinstance(content, dict) and not _is_fold(content):
        settings = {str(name): folds for name, folds in content.items()}
        if setting not in settings:
            raise ConfigError(
                f'data.setting "{setting}" is not in {path}; it holds {", ".join(settings) or "none"}'
            )
        content = settings[setting]
        words.append(setting)
    folds = [content] if _is_fold(content) else content
    if not _is_list(folds) or not folds or not all(_is_fold(each) for each in folds):
        raise DataError(
            f'{path} holds no splits: expected {{setting: [{{"train": [[item, has_masks], ...],'
            ' "test": [item, ...]}, ...]}'
        )
    if fold is None and len(folds) == 1:
        fold = 0
    if fold is None or fold >= len(folds):
        raise ConfigError(f"data.fold is {fold}, but {path} has the folds 0 to {len(folds) - 1}; choose one")
    train, test = _parts(folds[fold])
    listed = ListedFold(_items(train), tuple(_items(test)), ", ".join([*words, f"fold {fold}"]))
    both = sorted(listed.train.keys() & set(listed.test))
    if both:
        raise DataError(f"{path}: fold {fold} lists {both[0]} for training and for testing; correct the file")
    return listed


def list_folds(path: str | Path) -> list[tuple[str, int]]:
    """List what a splits file holds.

    Parameters
    ----------
    path
        As for `read_splits_file`.

    Returns
    -------
    list of (str, int)
        Setting ("" where the file has none) and fold of each.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    content = _read(Path(path))
    settings = content if isinstance(content, dict) and not _is_fold(content) else {"": content}
    return [
        (str(name), fold)
        for name, folds in settings.items()
        for fold in range(1 if _is_fold(folds) or not _is_list(folds) else len(folds))
    ]


def _read(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the splits file {path}: {error.strerror}") from error
    if path.suffix.lower() == ".json":
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DataError(f"the splits file {path} is no valid JSON: {error}") from error
    return _unpickle(path, data)


def _unpickle(path: Path, data: bytes) -> Any:
    values: list[Any] = []
    file = io.BytesIO(data)
    try:
        while file.tell() < len(data):  # one after the other where several were dumped
            values.append(_PlainUnpickler(file).load())
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError) as error:
        raise DataError(f"the splits file {path} is not admitted: {error}; use JSON instead") from error
    except (AttributeError, OverflowError, MemoryError, ImportError) as error:
        raise DataError(f"the splits file {path} is damaged: {error}; use JSON instead") from error
    return values[0] if len(values) == 1 else values


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_item(value: Any) -> bool:
    if _is_list(value):
        return len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], bool | int)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _is_part(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(_is_item(each) for each in value)


def _is_fold(value: Any) -> bool:
    if isinstance(value, dict):
        return {"train", "test"} <= value.keys() and all(_is_part(part) for part in _parts(value))
    # a pair (item, has_masks) is no fold: its second value is no list
    return _is_list(value) and len(value) == 2 and all(_is_part(part) for part in value)


def _parts(fold: Any) -> Sequence[Any]:
    return (fold["train"], fold["test"]) if isinstance(fold, dict) else fold


def _items(part: Any) -> dict[str, bool]:
    pairs = [each if _is_list(each) else (each, True) for each in part]
    return {str(item): bool(has_masks) for item, has_masks in pairs}
