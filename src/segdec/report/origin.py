"""Where the figures come from: run, data, configuration, versions and hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from segdec.errors import ModelError
from segdec.intervals import round_up
from segdec.model_card import ModelCard
from segdec.model_io import read_model
from segdec.report.text import percent, plural, table
from segdec.score_axis import score_text


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run folder, or a model folder, says of itself.

    Attributes
    ----------
    name
        Of the folder.
    card
        The model's.
    meta, config, log
        Of the run: meta.json, config.toml as it stands there, one entry for each epoch; empty for a mere
        model.
    """

    name: str
    card: ModelCard
    meta: Mapping[str, Any]
    config: str
    log: tuple[Mapping[str, Any], ...]


def read_origin(folder: Path) -> Origin:
    """Read what a folder says of its model.

    Parameters
    ----------
    folder
        A run folder, or a model folder.

    Returns
    -------
    Origin

    Raises
    ------
    ModelError
        If it holds no model, or a file is damaged.
    """
    card, _ = read_model(folder)
    config, meta, log = (folder / name for name in ("config.toml", "meta.json", "log.jsonl"))
    try:
        entries = [json.loads(line) for line in _text(log).splitlines()]
        # a resumed run may have logged an epoch twice: the last one counts
        epochs = {int(entry["epoch"]): entry for entry in entries}
        told = json.loads(_text(meta) or "{}")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"meta.json or log.jsonl in {folder} is damaged ({error}); restore it from a copy"
        ) from error
    return Origin(
        folder.resolve().name, card, told, _text(config), tuple(epochs[each] for each in sorted(epochs))
    )


def describe(origin: Origin) -> str:
    """Lay out what a folder says.

    Parameters
    ----------
    origin
        Of a model.

    Returns
    -------
    str
        HTML; what is not known is left out or called so.
    """
    card, meta = origin.card, origin.meta
    trained, made = card.trained, card.calibration
    facts: dict[str, object] = {
        "trained": f"{trained.date}, {_epochs(trained.epoch)}, seed {_known(trained.seed)}",
        "data": f"{meta.get('data', 'not known')} ({trained.dataset or 'layout not known'})",
        "split": meta.get("split"),
        "hash of the training data": trained.data_hash,
        "hash of the weights (SHA-256)": card.files.get("weights.safetensors"),
        "images": _images(meta.get("counts")),
        "input": f"{card.image_size[0]} × {card.image_size[1]} pixels, {_channels(card.channels)}",
        "threshold": f"{score_text(card.threshold)}, from {card.threshold_from}",
        "pixel threshold": score_text(card.pixel_threshold),
        "review threshold": None
        if made is None or made.review_threshold is None
        else score_text(made.review_threshold),
        "calibration": _calibration(card),
        "commit": trained.commit,
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
    }
    rows = [[escape(name), escape(str(value))] for name, value in facts.items() if value not in (None, "")]
    config = f"<h3>Configuration</h3><pre>{escape(origin.config)}</pre>" if origin.config else ""
    return f"<h3>{escape(origin.name)}</h3>{table([], rows, 'pairs')}{config}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _epochs(count: int | None) -> str:
    return "epochs not known" if count is None else plural(count, "epoch")


def _known(value: int | None) -> str:
    return "not known" if value is None else str(value)


def _channels(channels: int) -> str:
    return "grey" if channels == 1 else "colour"


def _images(counts: Any) -> str:
    if not isinstance(counts, dict):
        return ""
    return "; ".join(
        f"{part} {each.get('images')} ({each.get('defective')} defective)" for part, each in counts.items()
    )


def _calibration(card: ModelCard) -> str:
    made = card.calibration
    if made is None:
        return ""
    escape, overkill = (percent(round_up(bound)) for bound in (made.escape_bound, made.overkill_bound))
    return (
        f"{made.date}, {made.parts}: escapes at most {escape}, overkill at most {overkill} at"
        f" {percent(made.confidence)} confidence; {made.method}; data {made.data_hash}"
    )
