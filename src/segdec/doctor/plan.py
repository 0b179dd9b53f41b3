"""From what was measured to settings, each with its reason.

The rules are few and were read off the published recipes and what their data sets are like; they are a
start that can be explained, not an optimum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segdec.config import STRIDE, parse_config
from segdec.doctor.findings import Measured
from segdec.doctor.masks import FEW_CELLS
from segdec.errors import ConfigError
from segdec.files import atomic_write
from segdec.weighting import WINDOW

_VIEWS = 1050
"""So many times is a defective image seen in KolektorSDD's recipes, whatever their number."""
_EPOCHS = (50, 150)
_SMALL_IMAGE = 512 * 512
_FEW_ITEMS = 60
"""Below so many defective items each of them is needed as test and as training data: folds."""
_LONG = 1000
"""Megapixels of a training from which compiling pays: prototypes saved half a second of each or more."""
_LARGEST_DILATION = 15
"""The largest of the papers' recipes."""
_MANY_SIMPLE = 0.5
_VANISHING = 0.1
"""From this share of the defects on it counts that they vanish, or that tiles would show them."""
_TILE = 512
"""Side of planned tiles: about the paper's smallest images, and more than twice what neighbours share."""
_LARGEST_ENLARGING = 1.5
"""Beyond, images show the network nothing that they do not hold."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting of a plan.

    Attributes
    ----------
    key
        "section.name", as for ``--set``.
    value
        The setting.
    reason
        Why, in words.
    measured
        What was measured, in words.
    """

    key: str
    value: Any
    reason: str
    measured: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings for training on one data set.

    Attributes
    ----------
    choices
        One for each setting.
    advice
        What no setting can do.
    """

    choices: tuple[Choice, ...]
    advice: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return the settings as a tree of sections, for `segdec.config.load_config`."""
        tree: dict[str, Any] = {}
        for choice in self.choices:
            section, _, name = choice.key.partition(".")
            tree.setdefault(section, {})[name] = choice.value
        return tree

    def without(self, keys: Collection[str]) -> Plan:
        """Return the plan without the settings that were chosen elsewhere."""
        return replace(self, choices=tuple(choice for choice in self.choices if choice.key not in keys))

    def as_tree(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {"settings": self.settings(), **asdict(self)}

    def lines(self) -> list[str]:
        """Return the plan in words."""
        lines = [
            f"{choice.key} = {json.dumps(choice.value, ensure_ascii=False)}:"
            f" {choice.measured}; {choice.reason}"
            for choice in self.choices
        ]
        return [*lines, *(f"advice: {text}" for text in self.advice)]


def make_plan(
    measured: Measured, *, can_compile: bool = False, can_tile: bool = True, has_bf16: bool | None = None
) -> Plan:
    """Plan the training.

    Parameters
    ----------
    measured
        Of `segdec.doctor.examine`, or of the training part alone.
    can_compile
        True lets the plan compile the network for long trainings: the machine that trains can do it.
    can_tile
        False where the size that images are resized to is given.
    has_bf16
        Whether this machine computes bf16 in hardware; None where that was not looked at.

    Returns
    -------
    Plan
        Its settings are valid: `segdec.config.load_config` takes them.
    """
    tiles: list[Choice] = []
    if can_tile and _tiles_show(measured) and 2 * measured.masked >= measured.defective:
        tiles = _tiles(measured)
        measured = replace(
            measured,
            image_size=(_TILE, _TILE),
            thickness=measured.unscaled_thickness,
            vanishing=measured.unscaled_vanishing,
        )
    size = tiles or [_size(measured)]
    choices = [*size, *_data(measured), *_loss(measured), *_train(measured, has_bf16)]
    if can_compile:
        choices += _compile(measured)
    plan = Plan(tuple(choices), tuple(_advice(measured, in_tiles=bool(tiles))))
    parse_config(plan.settings(), "the plan")
    return plan


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan as JSON, in whole or not at all.

    Parameters
    ----------
    plan
        Of `make_plan`.
    path
        Where to; an existing file is replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    atomic_write(path, (json.dumps(plan.as_tree(), indent=1, ensure_ascii=False) + "\n").encode())


def read_plan(path: Path) -> dict[str, Any]:
    """Read the settings of a plan; they may have been changed by hand.

    Parameters
    ----------
    path
        What `write_plan` wrote.

    Returns
    -------
    dict
        Sections of settings, for `segdec.config.load_config`.

    Raises
    ------
    ConfigError
        If the file is no plan, or a setting cannot be.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except OSError as error:
        raise ConfigError(f"cannot read the plan {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f'{path} is no plan ({error!r}); "segdec doctor DATA --out FOLDER" writes one'
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError(f'{path}: "settings" must hold sections, got {settings!r}; write the plan anew')
    parse_config(settings, str(path))
    return settings


def _tiles_show(measured: Measured) -> bool:
    """Tell whether the images show a relevant share of the defects that vanish at ``image_size``."""
    if measured.vanishing is None or measured.unscaled_vanishing is None:
        return False
    return measured.vanishing - measured.unscaled_vanishing >= _VANISHING


def _tiles(measured: Measured) -> list[Choice]:
    height, width = measured.image_size
    gone, kept = (100 * (share or 0) for share in (measured.vanishing, measured.unscaled_vanishing))
    words = (
        f"the images are {measured.size[0]} x {measured.size[1]} in the median; shrunk to {height} x {width},"
        f" {gone:.0f} % of the defects vanish, as they are {kept:.0f} %"
    )
    return [
        Choice("data.tile", _TILE, "cut into tiles, they are not shrunk", words),
        Choice("data.image_size", [_TILE, _TILE], "the network sees a tile", f"tiles are {_TILE} wide"),
    ]


def _size(measured: Measured) -> Choice:
    height, width = measured.size
    smaller = math.prod(measured.image_size) < 0.98 * height * width
    return Choice(
        "data.image_size",
        list(measured.image_size),
        "shrunk so that a step stays affordable" if smaller else "as they are, in multiples of 8",
        f"the images are {height} x {width} in the median",
    )


def _data(measured: Measured) -> Sequence[Choice]:
    choices = []
    if measured.grey is not None:
        colours = "all images are grey" if measured.grey else "there are images in colour"
        channels = 1 if measured.grey else 3
        choices.append(Choice("data.channels", channels, "the network takes what there is", colours))
    if measured.thickness is not None:
        missing = WINDOW - measured.thickness
        # an odd side grows a mask alike to every side
        side = min(_LARGEST_DILATION, 2 * math.ceil(missing / 2) + 1) if missing > 0 else 1
        choices.append(
            Choice(
                "data.dilation",
                side,
                "grown to about the window, or their cells would be taught defect only in part"
                if side > 1
                else "as they are",
                f"the masks are {measured.thickness:.1f} px thick in the median, and their means over"
                f" {WINDOW} px are what is learnt",
            )
        )
    if not measured.divided and measured.defective_items < _FEW_ITEMS:
        folds = 3 if measured.defective_items >= 9 else 0
        reason = "each is needed for training and for judging" if folds else "too few even for folds"
        items = f"{measured.defective_items} items have a defect"
        choices.append(Choice("data.folds", folds, reason, items))
        if folds:
            choices.append(Choice("data.fold", 0, "the others follow with --fold 1 and --fold 2", items))
    if measured.together and not measured.divided:
        choices.append(
            Choice(
                "data.together",
                [list(groups) for groups in measured.together],
                "or a result is partly memory",
                f"{len(measured.together)} sets of groups show the same",
            )
        )
    return choices


def _loss(measured: Measured) -> Sequence[Choice]:
    if not measured.masked:
        words = "no mask of a defect"
        return [
            Choice("loss.balance", "decision", "only the decision can be taught", words),
            Choice("train.gradient_adjustment", False, "or the first stage would learn nothing", words),
        ]
    rough = measured.simple is not None and measured.simple >= _MANY_SIMPLE
    words, reason = _outlines(measured, rough)
    return [
        Choice("loss.w_pos", 20.0 if rough else 1.0, reason, words),
        Choice("loss.p", 1.0 if rough else 2.0, "goes with w_pos in the paper", words),
        Choice(
            "loss.delta",
            1.0,
            "both losses count alike; smaller only pays with a learning rate far above 0.01",
            f"{measured.masked} of {measured.defective} defective images have a mask",
        ),
    ]


def _outlines(measured: Measured, rough: bool) -> tuple[str, str]:
    """Return what was measured of the outlines, and what follows for their middles."""
    if measured.thickness is None:
        return "the defects are scribbled, none is outlined", "a scribble is sure throughout"
    if measured.simple is None:
        words = f"none of the {measured.masked} masks is large enough to tell a box or an ellipse"
        return words, "so they are taken as they are"
    which = (
        "masks"
        if measured.told == measured.masked
        else f"{measured.told} masks that are large enough to tell"
    )
    words = f"{100 * measured.simple:.0f} % of the {which} are boxes or ellipses"
    if rough:
        return words, "the middle of a rough outline is surest to be defect (as in the paper)"
    return words, "outlines follow the defects (as in the paper)"


def _train(measured: Measured, has_bf16: bool | None) -> Sequence[Choice]:
    low, high = _EPOCHS
    epochs = _epochs(measured)
    pixels = math.prod(measured.image_size)
    small = pixels <= _SMALL_IMAGE and measured.defective >= 50
    return [
        Choice(
            "train.epochs",
            epochs,
            f"about {_VIEWS} looks at a defect, between {low} and {high} epochs",
            f"{measured.defective} images have a defect, and an epoch shows each once",
        ),
        Choice(
            "train.batch_size",
            5 if small else 1,
            "several small images make a steadier step" if small else "as the paper for large or few images",
            f"{pixels / 1e6:.2f} megapixels an image, {measured.defective} with a defect",
        ),
        Choice(
            "train.learning_rate",
            0.01,
            "the paper's for delta 1; where the loss does not fall, try 0.1",
            "not measured on this data; with it DAGM class 8 came to AP 99.6 (docs/results.md)",
        ),
        Choice(
            "train.precision",
            "auto",
            "bf16 where the machine that trains computes it in hardware, else fp32",
            {
                True: "this machine computes bf16 in hardware",
                False: "this machine has no hardware for bf16",
                None: "no machine was looked at",
            }[has_bf16],
        ),
    ]


def _epochs(measured: Measured) -> int:
    low, high = _EPOCHS
    return min(high, max(low, 10 * round(_VIEWS / max(1, measured.defective) / 10)))


def _compile(measured: Measured) -> Sequence[Choice]:
    from segdec.sampling import images_of_epoch

    images = _epochs(measured) * images_of_epoch(measured.defective, measured.images - measured.defective)
    megapixels = math.prod(measured.image_size) / 1e6
    if images * megapixels < _LONG:
        return []
    words = f"{images} images of {megapixels:.2f} megapixels on a CPU with a C++ compiler"
    reason = "each step gains, and so many regain the minute or two that compiling takes"
    return [Choice("train.compile", True, reason, words)]


def _advice(measured: Measured, *, in_tiles: bool) -> list[str]:
    advice = []
    if measured.defective and not measured.masked:
        advice.append("mark the defects of some images, if only roughly: it helps the decision, too")
    if measured.vanishing is not None and measured.vanishing >= _VANISHING:
        words = f"{100 * measured.vanishing:.0f} % of the defects vanish"
        advice.append(f"{words} {_remedy(measured, in_tiles=in_tiles)}")
    if in_tiles and measured.masked < measured.defective:
        missing = measured.defective - measured.masked
        advice.append(
            f"{missing} defective images have no mask and teach nothing in tiles: mark their defects"
        )
    if measured.divided and measured.together:
        advice.append("the published parts may divide twins: quote a second result with data.together, too")
    return advice


def _remedy(measured: Measured, *, in_tiles: bool) -> str:
    """Say what would show the defects that vanish, as far as that was measured."""
    if in_tiles:
        return "in the images as they are: take pictures of more pixels, and look at the smallest masks"
    if _tiles_show(measured):
        kept = 100 * (measured.unscaled_vanishing or 0)
        return (
            f"at this image_size, and {kept:.0f} % in the images as they are: choose a larger"
            f" data.image_size, or tiles (data.tile={_TILE}), in which only defects with a mask teach"
        )
    factor = math.sqrt(FEW_CELLS / max(measured.least_cells or 0, 0.1))
    if factor > _LARGEST_ENLARGING:
        return (
            "at this image_size, and tiles show no more: take pictures of more pixels, and look at the masks"
        )
    larger = [STRIDE * math.ceil(side * factor / STRIDE) for side in measured.image_size]
    return (
        f"at this image_size, and tiles show no more: enlarged, by data.image_size={larger}, nine of ten"
        f" would cover {FEW_CELLS} cells; whether that finds more was not measured"
    )
