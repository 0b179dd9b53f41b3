"""Images that show the same are found; images of the same texture are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.data.synthetic import make_surface
from segdec.doctor.duplicates import find_duplicates
from segdec.doctor.reading import look_at_all
from segdec.imaging import resize_image, write_image
from segdec.types import Sample

TEXTURES = ("cast", "brushed", "woven", "leather")


def surfaces(texture, count, size=(200, 160), seed=0):
    rng = np.random.default_rng(seed)
    return [make_surface(texture, size, rng) for _ in range(count)]


def pairs_of(folder, images):
    return find_in(folder, images)[0]


def find_in(folder, images):
    samples = []
    for number, image in enumerate(images):
        path = folder / f"{number}.png"
        write_image(path, image)
        samples.append(Sample(path.name, path, False))
    looks, unreadable = look_at_all(samples)
    assert not unreadable
    return find_duplicates(looks)


def shoot_part(rng, grain):
    """Draw one part in its fixture, with a grain of its own, a bit shifted, noisy and brighter."""
    part = np.full((240, 240), 60, np.float32)
    cv2.circle(part, (120, 120), 100, 150, -1)
    cv2.circle(part, (120, 120), 45, 90, -1)
    for turn in np.arange(6) * np.pi / 3:
        cv2.circle(part, (int(120 + 72 * np.cos(turn)), int(120 + 72 * np.sin(turn))), 9, 30, -1)
    down, right = (int(step) for step in rng.integers(-3, 4, 2))
    moved = np.roll(part + 4 * grain, (down, right), (0, 1))
    return (moved + rng.normal(0, 2, part.shape) + rng.normal(0, 3)).clip(0, 255).astype(np.uint8)


def grain_of(rng):
    grain = cv2.GaussianBlur(rng.normal(0, 1, (240, 240)), (0, 0), 2.0)
    return (grain / grain.std()).astype(np.float32)


def changed(large, down, right, gain, offset, flip):
    """Cut a view out of a larger surface, shifted, brightened and mirrored."""
    view = large[20 + down : 220 + down, 20 + right : 180 + right].astype(np.float32)
    view = np.clip(gain * view + offset, 0, 255).astype(np.uint8)
    return {"": view, "left-right": view[:, ::-1], "top-bottom": view[::-1], "both ways": view[::-1, ::-1]}[
        flip
    ]


@pytest.mark.parametrize("texture", TEXTURES)
def test_images_of_one_texture_are_no_duplicates(tmp_path, texture):
    assert pairs_of(tmp_path, surfaces(texture, 25)) == []


def test_a_regular_pattern_is_no_duplicate_of_itself(tmp_path):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:200, :160]
    grid = 40 * np.sin(rows / 3) * np.sin(columns / 3) + 120
    images = [(grid + rng.normal(0, 12, grid.shape)).clip(0, 255).astype(np.uint8) for _ in range(8)]

    assert pairs_of(tmp_path, images) == []


def test_in_a_scene_parts_are_told_apart_and_two_pictures_of_one_part_are_found(tmp_path):
    rng = np.random.default_rng(0)
    grains = [grain_of(rng) for _ in range(20)]
    images = [shoot_part(rng, grain) for grain in [*grains, grains[3]]]
    images.append(np.roll(images[7] * 0.9 + 10, (3, -4), (0, 1)).astype(np.uint8)[:, ::-1])

    pairs, scene = find_in(tmp_path, images)

    assert {(pair.one, pair.other, pair.flip) for pair in pairs} == {
        ("3.png", "20.png", ""),
        ("7.png", "21.png", "left-right"),
    }
    assert len(scene) >= 20


@settings(max_examples=12, deadline=None)
@given(
    texture=st.sampled_from(TEXTURES),
    down=st.integers(-6, 6),
    right=st.integers(-5, 5),
    gain=st.floats(0.8, 1.2),
    offset=st.floats(-25, 25),
    flip=st.sampled_from(("", "left-right", "top-bottom", "both ways")),
    seed=st.integers(0, 50),
)
def test_shift_brightness_and_flip_are_seen_through(
    tmp_path_factory, texture, down, right, gain, offset, flip, seed
):
    large, other = surfaces(texture, 2, (240, 200), seed)
    images = [changed(large, 0, 0, 1, 0, ""), other[:200, :160]]
    images.append(changed(large, down, right, gain, offset, flip))

    pairs = pairs_of(tmp_path_factory.mktemp("set"), images)

    assert [(pair.one, pair.other) for pair in pairs] == [("0.png", "2.png")]
    assert pairs[0].exact or pairs[0].flip == flip


def test_the_same_pixels_in_another_format_are_exact(tmp_path):
    (image,) = surfaces("cast", 1)
    for name in ("a.png", "b.bmp"):
        write_image(tmp_path / name, image)
    looks, _ = look_at_all([Sample(name, tmp_path / name, False) for name in ("a.png", "b.bmp")])

    ((pair,), _) = find_duplicates(looks)

    assert pair.exact


def test_compression_and_another_size_are_seen_through(tmp_path):
    image, other = surfaces("leather", 2)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])
    squeezed = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)

    pairs = pairs_of(tmp_path, [image, squeezed, resize_image(image, (150, 120)), other])

    assert {(pair.one, pair.other) for pair in pairs} >= {("0.png", "1.png"), ("0.png", "2.png")}
    assert not any("3.png" in (pair.one, pair.other) for pair in pairs)


def test_images_that_show_nothing_are_exact_copies_only(tmp_path):
    flat = np.full((100, 100), 90, np.uint8)

    pairs = pairs_of(tmp_path, [flat, flat, flat + 5])

    assert [(pair.one, pair.other, pair.exact) for pair in pairs] == [("0.png", "1.png", True)]
