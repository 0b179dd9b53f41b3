"""One frozen tree of settings; each default is written here, once.

A configuration is built in three steps, each laid over the one before: the defaults below, a recipe
or configuration file (TOML), and single settings from the command line (``--set train.epochs=5``).
An unknown key fails and names the nearest one.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from segdec.errors import ConfigError

STRIDE = 8
"""The segmentation output has 1 / STRIDE of the input's height and width."""

_List = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""TOML has lists where a setting is a tuple."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    # strict: true is not taken for 1, nor "5" for 5
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(_Frozen):
    """What is read, at what size, and how it is divided."""

    image_size: Annotated[tuple[int, int], _List] | None = None
    """(height, width) that images are resized to; None chooses it from the images."""
    tile: int | None = Field(None, ge=64, multiple_of=STRIDE)
    """Side of the tiles that images are cut into instead of being resized; None takes whole images."""
    channels: Literal[1, 3] | None = None
    """1 grey, 3 colour; None chooses grey where every image is grey."""
    defect_class: int | None = Field(None, ge=1)
    """Severstal only: the defect class that counts as defect; None takes any."""
    dilation: int = Field(1, ge=1)
    """Side of the square that masks are dilated with, in pixels at image_size; 1 is none."""
    masks: Literal["as-given", "boxes"] = "as-given"
    """as-given: masks teach as they are; boxes: as the filled upright box around each connected part."""
    splits: str | None = None
    """A file of published splits (JSON or the authors' .pyb); None uses the layout's own, or a seeded one."""
    setting: str = "33_33"
    """Which setting of a splits file: positives_masked."""
    fold: int | None = Field(None, ge=0)
    """Which fold, where the split has folds."""
    folds: int = Field(0, ge=0)
    """Number of folds of a seeded cross-validation; 0 is a single split."""
    val_fraction: Fraction = 0.2
    """Share of the items that choose threshold and epoch, taken from the training part."""
    test_fraction: Fraction = 0.2
    """Share of the items that judge, where no split is published and folds is 0."""
    test_images: Annotated[tuple[Count, Count], _List] | None = None
    """[defective, good] items that judge, in place of test_fraction; None goes by the share."""
    together: Annotated[tuple[Annotated[tuple[str, ...], _List], ...], _List] = ()
    """Groups that show the same thing, e.g. [[kos01, kos26]]: each follows the first of its list."""
    positives: int | None = Field(None, ge=1)
    """Only so many defective images of the training part teach (a seeded choice); None takes all."""
    masked_positives: int | None = Field(None, ge=0)
    """Only so many of them keep their masks (a seeded choice), the rest their label; None takes all."""
    workers: int = Field(1, ge=0)
    """Processes that decode images and make targets; 0 does it in the training process."""
    cache_mib: int = Field(1024, ge=0)
    """Memory for decoded images and what they teach, over all workers, in MiB; 0 reads every image anew."""
    unlabelled: str | None = None
    """A folder of images that nobody has judged: they teach what train.teacher says of them."""
    strict: bool = False
    """True makes an unreadable image an error; False leaves it out, counts and lists it."""

    @field_validator("image_size")
    @classmethod
    def _multiples(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None:
            check_image_size(size)
        return size


class NetworkConfig(_Frozen):
    """Sizes of the network; the defaults are the paper's."""

    in_channels: int = Field(1, ge=1)
    block_channels: Annotated[tuple[int, int, int], _List] = (32, 64, 64)
    block_depths: Annotated[tuple[int, int, int], _List] = (1, 3, 4)
    context_channels: int = Field(1024, ge=1)
    context_kernel: int = Field(15, ge=1)
    """Side of the window that the context convolution sees, in cells; odd."""
    context_form: Literal["full", "separable", "dilated"] = "full"
    """How the window is seen. full: by one convolution (the paper's); separable: by one for each channel,
    then 1 x 1; dilated: by several of 3 x 3, then 1 x 1. The window is the same, the weights are not."""
    decision_channels: Annotated[tuple[int, int, int], _List] = (8, 16, 32)
    seg_head_bias: bool = False
    """True only in imported checkpoints whose segmentation head carries a bias."""
    norm: Literal["image", "frozen"] = "image"
    """image: each image is normalised by its own statistics (the paper's way); frozen: all by the same,
    which are measured on the training images with the weights of train.start_from."""

    @field_validator("context_kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"must be odd, got {kernel}; try {kernel + 1}")
        return kernel

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of the 3 x 3 convolutions that together see the window, each 2 d wider than the one before.

        Examples
        --------
        >>> NetworkConfig().dilations, NetworkConfig(context_kernel=11).dilations
        ((1, 2, 4), (1, 2, 2))
        """
        found: list[int] = []
        left = self.context_kernel // 2
        while left:
            found.append(min(2 ** len(found), left))
            left -= found[-1]
        return tuple(found)


class LossConfig(_Frozen):
    """The paper's loss (Sec. III); each part can be switched off."""

    delta: float = Field(1.0, gt=0)
    """Weight of the decision loss."""
    balance: Literal["dynamic", "none", "decision", "two-stage"] = "dynamic"
    """dynamic: lambda falls from 1 to 0 over the epochs; none: both losses in full; decision: lambda is 0;
    two-stage: lambda is 1 in the first half of the epochs and 0 in the second, as in 2019."""
    distance_weights: bool = True
    """True weights positive pixels by their distance to the mask's border; False weights all by 1."""
    w_pos: float = Field(3.0, gt=0)
    """Weight of a positive pixel deepest inside the mask."""
    p: float = Field(2.0, ge=0)
    """Exponent of the distance."""
    d_max: Literal["image", "component"] = "image"
    """image: w_pos is reached once in an image; component: in each connected part of its mask."""
    reduction: Literal["mean17", "area"] = "mean17"
    """How masks and weights become cells: mean17 over overlapping 17 x 17 windows; area over 8 x 8 pixels."""
    decision_target: Literal["hard", "soft"] = "hard"
    """hard: 0 or 1; soft: the reference's maximum of the reduced mask, for reproduction only."""


class AugmentConfig(_Frozen):
    """Changes applied to image, mask and weights alike; none by default, as in the paper."""

    flip: bool = False
    """Mirror left-right and top-bottom, each with probability 1/2."""
    turn: bool = False
    """Turn by a random multiple of 90 degrees (of 180 where the image is not square)."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Add a random value from [-brightness, brightness] (grey levels in [0, 1])."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Stretch around the image's mean by a random factor from [1 - contrast, 1 + contrast]."""


class TrainConfig(_Frozen):
    """The loop."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(1, ge=1)
    """Images per optimiser step over all processes; the gradient is their sum."""
    accumulate: int = Field(1, ge=1)
    """Parts that a batch is divided into to save memory; the step stays the same."""
    learning_rate: float = Field(0.01, gt=0)
    gradient_adjustment: bool = True
    """True keeps the decision loss from changing the segmentation part (the paper's way)."""
    frequency_of_use: bool = True
    """True draws negatives that were used less more often; False draws them uniformly."""
    select: Literal["last", "best"] = "last"
    """Which epoch becomes the model: the last (the paper's) or the best on validation data."""
    validate_every: int = Field(5, ge=1)
    """Epochs between two looks at the validation data."""
    start_from: str | None = None
    """A run or model whose weights the training begins with; None begins with random ones."""
    teacher: str | None = None
    """A run or model whose scores and score maps are learnt; None learns labels and masks."""
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto takes bf16 where the machine computes it in hardware, otherwise fp32."""
    context: Literal["auto", "direct", "spectral"] = "auto"
    """How training computes the context convolution; auto measures, and notes the faster form here."""
    compile: bool = False
    """True compiles the network with torch.compile (needs a C++ compiler on a CPU)."""
    tensorboard: bool = False
    """True also writes TensorBoard events."""


class Config(_Frozen):
    """Everything that decides what a training run does."""

    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, tree: Any) -> Any:
        """Let the network take as many channels as the images have, unless it is told otherwise."""
        if not isinstance(tree, dict):
            return tree
        data, network = tree.get("data", {}), tree.get("network", {})
        if isinstance(data, dict) and isinstance(network, dict) and data.get("channels") is not None:
            return {**tree, "network": {"in_channels": data["channels"], **network}}
        return tree

    @model_validator(mode="after")
    def _agree(self) -> Config:
        tile, size = self.data.tile, self.data.image_size
        if tile is not None and size not in (None, (tile, tile)):
            raise ValueError(
                f"data.tile is {tile}, but data.image_size is {size}; tiles are not resized, so set"
                f" data.image_size to [{tile}, {tile}] or leave it out"
            )
        channels = self.data.channels
        if channels is not None and channels != self.network.in_channels:
            raise ValueError(
                f"data.channels is {channels}, but network.in_channels is {self.network.in_channels};"
                " set both to the same"
            )
        if self.train.select == "best" and self.data.val_fraction == 0:
            raise ValueError(
                'train.select is "best", but data.val_fraction is 0; give validation data a share'
            )
        if self.network.norm == "frozen" and self.train.start_from is None:
            raise ValueError(
                'network.norm is "frozen", but train.start_from names no model to measure the statistics'
                " with; name a trained run, or use: segdec freeze-norm RUN"
            )
        if self.data.unlabelled is not None and self.train.teacher is None:
            raise ValueError(
                f'data.unlabelled is "{self.data.unlabelled}", but train.teacher names no model to judge'
                " these images; name a trained run, or leave data.unlabelled out"
            )
        if self.train.teacher is not None and self.data.tile is not None:
            raise ValueError(
                f"data.tile is {self.data.tile}, but a teacher answers for whole images; leave data.tile or"
                " train.teacher out"
            )
        if self.loss.balance == "two-stage" and self.train.epochs < 2:
            raise ValueError('loss.balance is "two-stage", but train.epochs is 1; it needs 2 or more')
        return self


def check_image_size(size: tuple[int, int]) -> None:
    """Refuse an image size that the network cannot take.

    Parameters
    ----------
    size
        (height, width) in pixels.

    Raises
    ------
    ValueError
        If a side is no multiple of 8 or less than 64.
    """
    if any(side % STRIDE or side < 64 for side in size):
        fitting = tuple(max(64, STRIDE * ((side + STRIDE - 1) // STRIDE)) for side in size)
        raise ValueError(f"must be multiples of {STRIDE} and at least 64, got {tuple(size)}; try {fitting}")


def load_config(
    recipe: str | Path | None = None, settings: tuple[str, ...] = (), base: dict[str, Any] | None = None
) -> Config:
    """Build a configuration from defaults, a recipe or file, and single settings.

    Parameters
    ----------
    recipe
        Name of a shipped recipe ("kolektor") or path of a TOML file; None stays with the defaults.
    settings
        Single settings as "section.key=value", the value in TOML ("train.epochs=5",
        "data.image_size=[704, 256]"); a bare word is taken as a string.
    base
        A tree that is laid over the defaults before the settings, instead of a recipe.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        For an unknown recipe, key or value, with the nearest name or the allowed values.

    Examples
    --------
    >>> load_config("kolektor", ("train.epochs=5",)).train.epochs
    5
    """
    tree: dict[str, Any] = dict(base) if base is not None else {}
    source = "the settings"
    if recipe is not None:
        tree = _read_recipe(recipe)
        source = f"recipe {recipe}"
    for setting in settings:
        tree = _merge(tree, _parse_setting(setting))
    return parse_config(tree, source)


def parse_config(tree: dict[str, Any], source: str) -> Config:
    """Check a tree of settings.

    Parameters
    ----------
    tree
        Sections and keys as in the TOML files.
    source
        Where the tree comes from, for error messages.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        For the first key or value that cannot be.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_sentence(error)}") from error


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes.

    Examples
    --------
    >>> recipe_names()
    ['dagm', 'kolektor', 'kolektor2', 'severstal']
    """
    folder = resources.files("segdec") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def dump_toml(config: Config) -> str:
    """Write a configuration as TOML, every setting in full (None is left out: TOML has none).

    Parameters
    ----------
    config
        Any configuration.

    Returns
    -------
    str
        A text that `load_config` reads back to the same configuration.
    """
    lines: list[str] = []
    for section, values in config.model_dump(mode="json").items():
        lines.append(f"[{section}]")
        # JSON's numbers, strings, booleans and lists are TOML's too, but for one character
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
            for key, value in values.items()
            if value is not None
        ]
        lines.append("")
    return "\n".join(lines)


def _read_recipe(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration file {path}: {error}") from error
    elif str(recipe) in recipe_names():
        text = (resources.files("segdec") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
    else:
        names = recipe_names()
        raise ConfigError(f'no recipe "{recipe}"{_nearest(str(recipe), names)}; there are {", ".join(names)}')
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{recipe} is no valid TOML: {error}") from error


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or "." not in key:
        raise ConfigError(f'"{setting}" is no setting; write section.key=value, e.g. train.epochs=5')
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    if key.strip() == "data.setting" and isinstance(value, int):
        value = text.strip()  # 33_33 is a name, which TOML reads as the number 3333
    for name in reversed(key.strip().split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _first_sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    key = ".".join(where)
    if problem["type"] == "extra_forbidden":
        section: type[BaseModel] = Config
        for name in where[:-1]:
            section = section.model_fields[name].annotation  # type: ignore[assignment]
        names = list(section.model_fields)
        return f'unknown setting "{key}"{_nearest(where[-1], names)}; there are {", ".join(names)}'
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return message
    if problem["type"] == "value_error":
        return f"{key} {message}"
    return f"{key}: {message[0].lower()}{message[1:]}, got {problem['input']!r}"


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""
