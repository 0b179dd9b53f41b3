"""A run folder: the configuration in full, what it ran on, and how the data were divided.

::

    RUN/  config.toml  meta.json  split.json  images.sha256  log.jsonl  checkpoints/  model/
          inherited.sha256 (begun with a model)  answers.safetensors (with a teacher)
          plan.json (where the settings were planned)
          metrics.json  scores.csv (after an evaluation)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segdec.config import Config, dump_toml, load_config
from segdec.data import check_files, load_split, open_dataset, save_split
from segdec.data.answers import Answers, save_answers
from segdec.errors import ConfigError, DataError, ModelError, OutputError
from segdec.files import atomic_write, sha256
from segdec.model_io import IMAGES, OTHERS, dump_hashes
from segdec.types import Sample, Split

_INHERITED = "inherited.sha256"

_MACHINE_SETTINGS = {
    "train": ("precision", "context", "compile", "tensorboard", "accumulate"),
    "data": ("workers", "cache_mib"),
}
"""What a resumed run may change: how it is computed, not what."""


@dataclass(frozen=True)
class Run:
    """An opened run folder.

    Attributes
    ----------
    folder
        The run folder.
    config
        In full: nothing is left to be chosen from the data.
    split
        The samples of each part.
    meta
        Contents of meta.json: data (path), layout, data_hash, commit, versions, machine, seed,
        date, excluded and unreadable files.
    image_hashes
        SHA-256 of the images that teach and choose; empty where a folder does not say.
    inherited
        The same of the models that it began with and learns from, and of theirs; `segdec.model_io.OTHERS`
        among them where one does not say.
    answers
        A teacher's, to the images of `teaching`; None where labels and masks teach, or nothing is to be
        taught (`open_run` leaves them in their file).
    excluded
        Name -> reason, for what the data set's reader left out.
    """

    folder: Path
    config: Config
    split: Split
    meta: dict[str, Any]
    image_hashes: frozenset[str] = frozenset()
    inherited: frozenset[str] = frozenset()
    answers: Answers | None = field(default=None, compare=False)  # arrays have no single equality
    excluded: dict[str, str] = field(default_factory=dict)

    @property
    def teaching(self) -> tuple[Sample, ...]:
        """The images that teach: the training part, and those that only a teacher has judged."""
        return self.split.train if self.answers is None else (*self.split.train, *self.answers.unlabelled)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """The model folder, there once training has ended."""
        return self.folder / "model"


def write_run(run: Run, plan: Mapping[str, Any] | None = None) -> None:
    """Lay out a new run folder.

    Parameters
    ----------
    run
        From `segdec.new_run.start_run`.
    plan
        How the settings were chosen, for plan.json; None where they were given.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    fresh = not run.folder.exists()
    try:
        _make_folder(run.folder)
        save_split(run.split, run.folder / "split.json")
        atomic_write(run.folder / IMAGES, dump_hashes(run.image_hashes))
        if run.inherited:
            atomic_write(run.folder / _INHERITED, dump_hashes(run.inherited))
        if run.answers is not None:
            save_answers(run.answers, run.folder)
        atomic_write(run.folder / "meta.json", _json(run.meta))
        if plan is not None:
            atomic_write(run.folder / "plan.json", _json(plan))
        # written last: a folder with a config.toml is a whole run folder
        atomic_write(run.folder / "config.toml", dump_toml(run.config).encode())
    except OutputError:
        if fresh:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


def open_run(folder: Path, settings: tuple[str, ...] = (), data: Path | None = None) -> Run:
    """Open a run folder.

    Parameters
    ----------
    folder
        The run folder.
    settings
        Single settings laid over the stored ones; only those may differ that say how a run is
        computed (precision, context, compile, workers and the like), not what it computes.
    data
        Where the data set lies now, if it was moved.

    Returns
    -------
    Run

    Raises
    ------
    ModelError
        If the folder holds no run.
    ConfigError
        If a setting would change what the run computes.
    DataError
        If the data are no longer those that the run began with.
    """
    if not (folder / "config.toml").exists():
        raise ModelError(
            f"{folder} holds no run (no config.toml); start one with: segdec train DATA --out {folder}"
        )
    stored = load_config(folder / "config.toml")
    tree = stored.model_dump(mode="json", exclude_none=True)
    config = load_config(settings=settings, base=tree)
    _refuse_changes(stored, config)
    meta = _read_meta(folder / "meta.json")
    if data is None and not Path(meta["data"]).exists():
        raise DataError(
            f"the data of the run {folder} are no longer in {meta['data']}; say once where they lie now:"
            f" segdec train DATA --resume --out {folder}"
        )
    dataset = open_dataset(data or Path(meta["data"]), config.data)
    split = load_split(folder / "split.json", dataset, config.data.together)
    alone = config.train.start_from is None and config.train.teacher is None
    return Run(
        folder,
        config,
        split,
        meta,
        image_hashes=_read_hashes(folder / IMAGES),
        # begun before it was kept: nobody knows what taught the other models
        inherited=_read_hashes(folder / _INHERITED) or frozenset(() if alone else (OTHERS,)),
        excluded=dataset.excluded,
    )


def open_run_on(folder: Path, data: Path) -> Run | None:
    """Open a run on a data set if that is its own, wherever it lies now.

    Parameters
    ----------
    folder
        The run folder.
    data
        Where the data set lies.

    Returns
    -------
    Run or None
        None where it is another data set: the images that taught the run are not those of their names here.

    Raises
    ------
    ModelError
        If the folder holds no run.
    """
    try:
        run = open_run(folder, data=data)
    except DataError:
        return None
    if run.meta["data"] == str(data.resolve()):
        return run
    images = [sample.image for sample in (*run.split.train, *run.split.val)]
    same = all(image.is_file() and sha256(image.read_bytes()) in run.image_hashes for image in images)
    return run if same else None


def open_ended_run(folder: Path) -> Run:
    """Open a run folder whose training has ended, to make another run of it.

    Parameters
    ----------
    folder
        The run folder.

    Returns
    -------
    Run
        With a model.

    Raises
    ------
    ModelError
        If the folder holds no run, or the run has not ended.
    """
    run = open_run(folder)
    if not run.model.exists():
        raise ModelError(f"the run {folder} has not ended; go on with: segdec train --resume --out {folder}")
    return run


def check_unchanged(run: Run, watch: Callable[[int, int], None] | None = None) -> None:
    """Check that the data of a run are still those it began with.

    Parameters
    ----------
    run
        An opened run.
    watch
        Called with (files read, files in all).

    Raises
    ------
    DataError
        If a file of the training or validation part changed, or an image that a teacher has judged.
    """
    samples = (*run.split.train, *run.split.val)
    found = check_files(samples, progress=watch).data_hash
    if found != run.meta["data_hash"]:
        raise DataError(
            f"the data in {run.meta['data']} changed since {run.folder} began (hash {found[:12]}, then"
            f" {run.meta['data_hash'][:12]}); restore them, or start a new run"
        )
    if run.answers is not None:
        now = check_files(run.answers.unlabelled, progress=watch).image_hashes
        for sample, then in zip(run.answers.unlabelled, run.answers.hashes, strict=True):
            if now.get(sample.name) != then:
                raise DataError(
                    f"{sample.name} changed or is gone since {run.folder} began; restore it, or start a new"
                    " run"
                )


def move_data(run: Run, data: Path) -> Run:
    """Write down where the data of a run lie now.

    Parameters
    ----------
    run
        An opened run.
    data
        Where its data set lies.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    place = str(data.resolve())
    if place == run.meta["data"]:
        return run
    moved = replace(run, meta=run.meta | {"data": place})
    atomic_write(run.folder / "meta.json", _json(moved.meta))
    return moved


def _read_hashes(path: Path) -> frozenset[str]:
    return frozenset(path.read_text(encoding="ascii").split() if path.exists() else ())


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("data", "data_hash", "layout"):
            if not isinstance(meta[key], str):
                raise TypeError(f"{key} is no text")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is missing or damaged ({error}); restore it from a copy") from error
    return meta


def _refuse_changes(stored: Config, config: Config) -> None:
    old, new = stored.model_dump(), config.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if value != old[section][key] and key not in _MACHINE_SETTINGS.get(section, ()):
                raise ConfigError(
                    f"{section}.{key} was {old[section][key]!r} when the run began and cannot become"
                    f" {value!r}; start a new run for that"
                )


def _make_folder(folder: Path) -> None:
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the run folder {folder}: {error.strerror}; choose another with --out"
        ) from error


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode()
