"""Settings: unknown and impossible ones are refused by name; the recipes hold the paper's numbers."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from segdec.config import Config, check_image_size, dump_toml, load_config, parse_config, recipe_names
from segdec.errors import ConfigError

# ------------------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("recipe", "size", "channels", "epochs", "rate", "delta", "batch", "p", "w_pos", "dilation"),
    [
        # the paper's table (docs/method.md, section 4)
        ("dagm", (512, 512), 1, 60, 0.01, 1, 5, 1, 20, 1),
        ("kolektor", (1408, 512), 1, 35, 0.5, 0.01, 1, 2, 1, 1),
        ("severstal", (256, 1600), 1, 40, 0.1, 0.1, 10, 2, 1, 1),
        # arXiv:2104.06064
        ("kolektor2", (640, 232), 3, 50, 0.01, 1, 1, 2, 3, 15),
    ],
)
def test_recipes_hold_the_papers_numbers(
    recipe, size, channels, epochs, rate, delta, batch, p, w_pos, dilation
):
    config = load_config(recipe)
    assert (config.data.image_size, config.data.channels, config.data.dilation) == (size, channels, dilation)
    assert (config.loss.delta, config.loss.p, config.loss.w_pos) == (delta, p, w_pos)
    train = config.train
    assert (train.epochs, train.learning_rate, train.batch_size) == (epochs, rate, batch)
    assert config.network.in_channels == channels


@pytest.mark.parametrize("recipe", [None, *recipe_names()])
def test_all_recipes_follow_the_papers_method(recipe):
    config = load_config(recipe)
    assert (config.loss.balance, config.loss.distance_weights) == ("dynamic", True)
    assert (config.train.gradient_adjustment, config.train.frequency_of_use) == (True, True)
    assert (config.train.select, config.loss.decision_target) == ("last", "hard")
    assert not any(config.augment.model_dump().values())
    assert config.network.block_channels == (32, 64, 64)
    assert (config.network.context_channels, config.network.context_kernel) == (1024, 15)


@pytest.mark.parametrize("recipe", recipe_names())
def test_each_recipe_names_its_source(recipe):
    text = (Path(__file__).parents[1] / "src" / "segdec" / "recipes" / f"{recipe}.toml").read_text()
    assert "arXiv:" in text
    assert "Source:" in text


# ---------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("recipe", [None, *recipe_names()])
def test_what_is_written_reads_back(recipe, tmp_path):
    config = load_config(recipe)
    (tmp_path / "config.toml").write_text(dump_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == config


sides = st.integers(8, 300).map(lambda n: 8 * n)
trees = st.fixed_dictionaries(
    {
        "data": st.fixed_dictionaries(
            {},
            optional={
                "image_size": st.tuples(sides, sides),
                "channels": st.sampled_from([1, 3]),
                "splits": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
                "setting": st.text(st.characters(exclude_categories=["Cs"])),
                "fold": st.integers(0, 20),
                "val_fraction": st.floats(0, 1, exclude_max=True),
                "strict": st.booleans(),
            },
        ),
        "loss": st.fixed_dictionaries(
            {},
            optional={
                "delta": st.floats(0, exclude_min=True, allow_infinity=False),
                "p": st.floats(0, 1e300),
                "balance": st.sampled_from(["dynamic", "none", "decision"]),
            },
        ),
        "train": st.fixed_dictionaries(
            {}, optional={"epochs": st.integers(1, 10**9), "learning_rate": st.floats(1e-300, 1e300)}
        ),
    }
)


@given(tree=trees)
@example(tree={"data": {"splits": 'a "quoted" \\ path\x7f\t\n\x00äß😀#.json'}})
@settings(max_examples=80, deadline=None)
def test_any_configuration_reads_back(tree):
    config = parse_config(tree, "a test")
    text = dump_toml(config)
    assert parse_config(tomllib.loads(text), "a test") == config


def test_every_setting_is_written_in_full():
    written = tomllib.loads(dump_toml(load_config("kolektor")))
    for section, values in load_config("kolektor").model_dump().items():
        assert set(written[section]) == {key for key, value in values.items() if value is not None}


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "train.epoch=5",
            'unknown setting "train.epoch" (did you mean "epochs"?); there are epochs, batch_size',
        ),
        ("trian.epochs=5", 'unknown setting "trian" (did you mean "train"?); there are data, network, loss'),
        ("train.xyzzy=5", 'unknown setting "train.xyzzy"; there are epochs'),
        ("train.epochs.more=5", "train.epochs: "),
        ("train=5", '"train=5" is no setting; write section.key=value, e.g. train.epochs=5'),
        ("train.epochs", '"train.epochs" is no setting'),
        ("train.epochs=many", "train.epochs: input should be a valid integer"),
        ("train.epochs=many", "got 'many'"),
        ("train.epochs=2.5", "train.epochs: input should be a valid integer"),
        ("train.epochs=0", "greater than or equal to 1, got 0"),
        ("train.epochs=true", "train.epochs: input should be a valid integer, got True"),
        ("train.learning_rate=0", "greater than 0, got 0"),
        ("train.learning_rate=nan", "train.learning_rate: input should be"),
        ("train.learning_rate=inf", "train.learning_rate: input should be a finite number, got inf"),
        ("train.precision=fp8", "input should be 'auto', 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        ("train.compile=perhaps", "train.compile: input should be a valid boolean"),
        ("data.channels=2", "data.channels: input should be 1 or 3, got 2"),
        (
            "data.image_size=[500, 500]",
            "data.image_size must be multiples of 8 and at least 64, got (500, 500); try (504, 504)",
        ),
        ("data.image_size=512", "data.image_size: input should be a valid tuple, got 512"),
        ("data.image_size=[64]", "data.image_size"),
        ("network.context_kernel=14", "network.context_kernel must be odd, got 14; try 15"),
        ("data.val_fraction=1", "less than 1, got 1"),
    ],
)
def test_a_setting_that_cannot_be_says_why(setting, message):
    with pytest.raises(ConfigError) as caught:
        load_config(None, (setting,))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_settings_that_contradict_each_other():
    with pytest.raises(ConfigError, match=r"data\.channels is 1, but network\.in_channels is 3; set both"):
        load_config(None, ("data.channels=1", "network.in_channels=3"))
    with pytest.raises(ConfigError, match=r'select is "best", but data\.val_fraction is 0'):
        load_config("kolektor", ("train.select=best",))


def test_unknown_recipes_and_files(tmp_path):
    with pytest.raises(
        ConfigError, match=r'no recipe "kolector" \(did you mean "kolektor"\?\); there are dagm'
    ):
        load_config("kolector")
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[train\nepochs = 5")
    with pytest.raises(ConfigError, match=r"bad\.toml is no valid TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "unknown.toml").write_text("[train]\nepoch = 5")
    with pytest.raises(ConfigError, match=r'unknown\.toml: unknown setting "train\.epoch"'):
        load_config(tmp_path / "unknown.toml")
    (tmp_path / "latin.toml").write_bytes(b'[data]\nsetting = "\xe9"')
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        load_config(tmp_path / "latin.toml")


# ---------------------------------------------------------------------------------------------- the layers


def test_settings_lie_over_the_recipe_and_the_recipe_over_the_defaults():
    config = load_config(
        "kolektor", ("train.epochs=5", "data.image_size=[704, 256]", "data.splits=my splits.json")
    )
    assert (config.train.epochs, config.train.learning_rate) == (5, 0.5)
    assert config.data.image_size == (704, 256)
    assert config.data.splits == "my splits.json"
    assert config.train.seed == Config().train.seed


def test_the_last_of_two_settings_counts():
    assert load_config(None, ("train.epochs=5", "train.epochs=7")).train.epochs == 7


def test_the_network_takes_the_images_channels():
    assert load_config(None, ("data.channels=3",)).network.in_channels == 3
    assert load_config("kolektor2").network.in_channels == 3


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_config().train.epochs = 5  # type: ignore[misc]


@given(height=st.integers(-8, 400), width=st.integers(-8, 400))
@settings(max_examples=60, deadline=None)
def test_the_size_that_is_suggested_fits(height, width):
    try:
        check_image_size((height, width))
        accepted = True
    except ValueError as error:
        accepted = False
        suggestion = str(error).partition("try ")[2]
    if accepted:
        assert height % 8 == width % 8 == 0
        assert min(height, width) >= 64
    else:
        check_image_size(tuple(int(side) for side in suggestion.strip("()").split(",")))


def test_numbers_are_finite():
    assert all(
        math.isfinite(v)
        for s in load_config().model_dump().values()
        for v in s.values()
        if isinstance(v, float)
    )
