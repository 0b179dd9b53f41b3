"""A made-up data set in DAGM 2007's layout: procedural surfaces, drawn defects, rough elliptical masks.

It serves to try the whole path without real data, and to test it. Good figures on it say that the
software works, not that it works on your parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.errors import ConfigError, OutputError
from segdec.types import ImageSize

Field: TypeAlias = NDArray[np.float32]
Grey: TypeAlias = NDArray[np.uint8]

_MEAN_GREY = 118.0
_SMALLEST_SIDE = 64  # below it the larger defects would fill the picture


def write_dagm_like(
    folder: Path,
    seed: int,
    image_size: ImageSize = (256, 256),
    train: tuple[int, int] = (100, 50),
    test: tuple[int, int] = (100, 50),
    texture: str | None = None,
) -> None:
    """Write a data set in the layout that DAGM 2007 is published in.

    Below ``folder`` (call it Class1 or the like) stand ``Train/NNNN.PNG``, for defective images
    ``Train/Label/NNNN_label.PNG`` with a rough filled ellipse (0 and 255), the table
    ``Train/Label/Labels.txt``, and the same below ``Test``. Numbers start at 1 in ``Test`` and go on in
    ``Train``, so a name stands once.

    Parameters
    ----------
    folder
        Where to write; it must be new or empty, so that two data sets never mix.
    seed
        0 or more. The same seed gives the same bytes (with the same versions of NumPy and OpenCV), and
        the k-th good or defective image of a part does not depend on how many there are.
    image_size
        (height, width) in pixels, at least 64 each.
    train, test
        (good, defective) images of each part.
    texture
        One of `TEXTURES`; None draws one for each image.

    Raises
    ------
    ConfigError
        For an unknown texture, a negative count or seed, or too small an image size.
    OutputError
        If the folder holds something already or cannot be written.
    """
    if min(image_size) < _SMALLEST_SIDE:
        raise ConfigError(f"image_size must be at least {_SMALLEST_SIDE} each, got {tuple(image_size)}")
    if texture is not None:
        _check_name("texture", texture, TEXTURES)
    if min(seed, *train, *test) < 0:
        raise ConfigError(f"seed and counts must be 0 or more, got seed {seed}, train {train}, test {test}")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(f"{folder} is not empty; name a new folder, or remove it first")
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            whole, first = Path(scratch) / folder.name, 1
            for stream, (name, counts) in enumerate((("Test", test), ("Train", train))):
                _write_part(whole / name, first, counts, image_size, texture, (seed, stream))
                first += sum(counts)
            folder.rmdir()
            whole.rename(folder)  # all of it appears at once
    except OSError as error:
        raise OutputError(
            f"cannot write the data set to {folder}: {error}; check space and rights"
        ) from error


def make_surface(texture: str, image_size: ImageSize, rng: np.random.Generator) -> Grey:
    """Make one good surface.

    Parameters
    ----------
    texture
        One of `TEXTURES`.
    image_size
        (height, width) in pixels.
    rng
        Where the randomness comes from.

    Returns
    -------
    ndarray
        (H, W) uint8: mean grey level about 118, standard deviation about 20, and a slow change of the
        lighting that differs from image to image.

    Raises
    ------
    ConfigError
        For an unknown texture.

    Examples
    --------
    >>> make_surface("woven", (64, 96), np.random.default_rng(0)).shape
    (64, 96)
    """
    _check_name("texture", texture, TEXTURES)
    pattern = _unit(TEXTURES[texture](image_size, rng))  # (H, W), mean 0, deviation 1
    y, x = _grid(image_size)
    angle = rng.uniform(0, 2 * np.pi)
    lighting = (x / image_size[1] - 0.5) * np.cos(angle) + (y / image_size[0] - 0.5) * np.sin(angle)
    grey = _MEAN_GREY + rng.uniform(-8, 8) + rng.uniform(17, 23) * pattern + rng.uniform(5, 20) * lighting
    return _to_grey(grey + _noise(image_size, rng, 0.6) * 3)


def add_defect(surface: Grey, defect: str, rng: np.random.Generator) -> tuple[Grey, Grey]:
    """Draw one defect on a surface.

    Parameters
    ----------
    surface
        (H, W) uint8.
    defect
        One of `DEFECTS`.
    rng
        Where the randomness comes from.

    Returns
    -------
    image : ndarray
        (H, W) uint8, the surface with the defect.
    mask : ndarray
        (H, W) uint8, 255 inside an ellipse that holds every changed pixel, and 0 outside.

    Raises
    ------
    ConfigError
        For an unknown defect.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> surface = make_surface("brushed", (128, 128), rng)
    >>> image, mask = add_defect(surface, "scratch", rng)
    >>> bool((image[mask == 0] == surface[mask == 0]).all())
    True
    """
    _check_name("defect", defect, DEFECTS)
    base = surface.astype(np.float32)
    change = DEFECTS[defect](base, rng)
    # the long tails of smooth profiles would be invisible, yet belong to the mask
    change[np.abs(change) < 2] = 0
    return _to_grey(base + change), _rough_ellipse(change != 0, rng)


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f'no {kind} "{name}"; there are {", ".join(known)}')


# ---------------------------------------------------------------------------------------------- textures


def _cast(size: ImageSize, rng: np.random.Generator) -> Field:
    """Cast metal or plaster: noise at three scales."""
    fine, coarse, clouds = (_noise(size, rng, sigma) for sigma in (1.0, 2.5, 9.0))
    return _as_field(fine + 0.9 * coarse + 0.7 * clouds)


def _brushed(size: ImageSize, rng: np.random.Generator) -> Field:
    """Brushed metal: noise drawn out along the brush, slightly tilted."""
    height, width = size
    fine = _noise(size, rng, 0.5)
    pattern = cv2.blur(fine, (61, 1)) * 8 + cv2.GaussianBlur(fine, (0, 0), 20, sigmaY=1.5) * 9
    tilt = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-6, 6), 1.0)
    tilted = cv2.warpAffine(pattern, tilt, (width, height), borderMode=cv2.BORDER_REFLECT)
    return _as_field(tilted + 0.3 * fine)


def _woven(size: ImageSize, rng: np.random.Generator) -> Field:
    """Plain weave: warp and weft take turns on top, drawn by a thread spacing of about 8 pixels."""
    y, x = _grid(size)
    period = rng.uniform(7.5, 8.5)
    angle = rng.uniform(-0.08, 0.08)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period + 0.09 * _noise(size, rng, 9.0)
    v = (y * np.cos(angle) - x * np.sin(angle)) / period + 0.09 * _noise(size, rng, 9.0)
    warp_on_top = (np.floor(u) + np.floor(v)) % 2 == 0
    across, along = np.where(warp_on_top, u, v) % 1 - 0.5, np.where(warp_on_top, v, u) % 1 - 0.5
    thread = np.cos(np.pi * across) * (0.55 + 0.45 * np.cos(np.pi * along))
    fine = _noise(size, rng, 0.6)
    yarn = np.where(warp_on_top, cv2.blur(fine, (1, 41)), cv2.blur(fine, (41, 1)))  # fibres along the thread
    return _as_field(3.5 * thread + 0.8 * warp_on_top + 4 * yarn + 0.4 * fine)


def _grains(size: ImageSize, rng: np.random.Generator) -> Field:
    """Etched metal: each grain reflects by itself, with darker borders between."""
    height, width = size
    seeds = np.full(size, 255, np.uint8)
    count = max(4, height * width // 110)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distance, grain = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tone = rng.uniform(-1.7, 1.7, count + 1).astype(np.float32)[grain]  # bounded: no grain is a stain
    return _as_field(cv2.GaussianBlur(tone - 0.15 * distance, (0, 0), 0.8)) + 0.3 * _noise(size, rng, 0.8)


def _leather(size: ImageSize, rng: np.random.Generator) -> Field:
    """Leather or hammered paint: a relief of soft cells, lit from the side."""
    band = _unit(_noise(size, rng, 3.0) - 0.8 * _noise(size, rng, 6.0))
    relief = np.tanh(1.5 * band)
    shading = cv2.Sobel(relief, cv2.CV_32F, 1, 0) + 0.6 * cv2.Sobel(relief, cv2.CV_32F, 0, 1)
    return _as_field(_unit(_as_field(shading)) + 0.6 * relief + 0.3 * _noise(size, rng, 0.7))


TEXTURES: dict[str, Callable[[ImageSize, np.random.Generator], Field]] = {
    "cast": _cast,
    "brushed": _brushed,
    "woven": _woven,
    "grains": _grains,
    "leather": _leather,
}
"""Texture by name: a function of (height, width) and a generator that returns an (H, W) pattern."""


# ----------------------------------------------------------------------------------------------- defects
# Each takes an (H, W) surface and returns the change of its grey levels, (H, W), zero far from the defect.


def _scratch(surface: Field, rng: np.random.Generator) -> Field:
    """Draw a slightly bent groove with a lit and a dark side."""
    side = min(surface.shape)
    start, angle = _place(surface, rng), rng.uniform(0, 2 * np.pi)
    length = rng.uniform(0.16, 0.36) * side
    t = np.linspace(-0.5, 0.5, 16)[:, None]
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    points = start + length * (t * along + rng.uniform(-0.3, 0.3) * t**2 * across)
    width = _line_width(surface) + int(rng.integers(0, 2))
    strength = rng.uniform(55, 85) * rng.choice((-1.0, 1.0))
    groove = _line(surface, points, width)
    rim = _line(surface, points + (width + 0.5) * across, 1)
    return _as_field(strength * (groove - 0.6 * np.minimum(rim, 1 - groove)))


def _crack(surface: Field, rng: np.random.Generator) -> Field:
    """Let a dark line walk at random, often with a branch."""
    side = min(surface.shape)
    start, heading = _place(surface, rng), rng.uniform(0, 2 * np.pi)
    steps = int(rng.integers(12, 26))
    path = _walk(start, heading, steps, 0.014 * side, rng)
    width = _line_width(surface)
    line = np.maximum(_line(surface, path, width), 0.6 * _line(surface, path[: steps // 2], 2 * width))
    if rng.random() < 0.6:
        fork = int(rng.integers(steps // 4, 3 * steps // 4))
        turn = rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1.0)
        line = np.maximum(
            line, _line(surface, _walk(path[fork], heading + turn, steps // 2, 0.014 * side, rng), width)
        )
    return _as_field(-rng.uniform(65, 95) * line)


def _spot(surface: Field, rng: np.random.Generator) -> Field:
    """Stain or inclusion: a blob with an uneven outline, darker or brighter."""
    blob = _blob(surface, rng, (0.03, 0.07), edge=0.3)
    return _as_field(rng.uniform(45, 65) * rng.choice((-1.0, 1.0)) * blob)


def _worn(surface: Field, rng: np.random.Generator) -> Field:
    """Rubbed place: the texture is smoothed away, the mean brightness stays."""
    size = (surface.shape[0], surface.shape[1])
    blob = 0.9 * _blob(surface, rng, (0.07, 0.13), edge=0.35)
    smooth = cv2.GaussianBlur(surface, (0, 0), 0.03 * min(size))
    return _as_field(blob * (smooth + 4 * _noise(size, rng, 0.6) - surface))


def _dent(surface: Field, rng: np.random.Generator) -> Field:
    """Hollow lit from one side: one flank bright, the other dark."""
    y, x = _grid((surface.shape[0], surface.shape[1]))
    centre, light = _place(surface, rng), rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.03, 0.055) * min(surface.shape)
    u, v = (x - centre[0]) / radius, (y - centre[1]) / radius
    flank = (u * np.cos(light) + v * np.sin(light)) * np.exp(0.5 - (u**2 + v**2) / 2)  # within [-1, 1]
    return _as_field(rng.uniform(55, 80) * flank)


DEFECTS: dict[str, Callable[[Field, np.random.Generator], Field]] = {
    "scratch": _scratch,
    "crack": _crack,
    "spot": _spot,
    "worn": _worn,
    "dent": _dent,
}
"""Defect by name: a function of an (H, W) surface and a generator that returns the change of grey levels."""


def _noise(size: ImageSize, rng: np.random.Generator, sigma: float) -> Field:
    """Return Gaussian noise with structures of about ``sigma`` pixels, mean 0, deviation 1."""
    white = rng.standard_normal(size, dtype=np.float32)
    return _unit(_as_field(cv2.GaussianBlur(white, (0, 0), sigma)))


def _unit(pattern: Field) -> Field:
    return _as_field((pattern - pattern.mean()) / max(float(pattern.std()), 1e-6))


def _grid(size: ImageSize) -> tuple[Field, Field]:
    y, x = np.ogrid[: size[0], : size[1]]
    return y.astype(np.float32), x.astype(np.float32)  # (H, 1), (1, W)


def _as_field(values: NDArray[np.generic]) -> Field:
    return values.astype(np.float32, copy=False)


def _to_grey(values: NDArray[np.float32]) -> Grey:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _place(surface: Field, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the (x, y) of a defect, not too near to the border."""
    height, width = surface.shape
    return np.array([rng.uniform(0.12, 0.88) * width, rng.uniform(0.12, 0.88) * height])


def _line(surface: Field, points: NDArray[np.float64], width: int) -> Field:
    """Draw a smooth line through (x, y) points; 1 on it, 0 away from it."""
    canvas = np.zeros(surface.shape, np.uint8)
    fixed_point = np.rint(points * 16).astype(np.int32)  # 4 fractional bits, as `shift` says
    cv2.polylines(canvas, [fixed_point], False, 255, width, cv2.LINE_AA, shift=4)
    return _as_field(canvas / 255)


def _line_width(surface: Field) -> int:
    """Return the width of the finest lines, in pixels: like all defects they grow with the image."""
    return max(1, round(float(min(surface.shape)) / 160))


def _walk(
    start: NDArray[np.float64], heading: float, steps: int, step: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the (x, y) points of a walk that changes its heading at random."""
    headings = heading + np.cumsum(rng.normal(0, 0.45, steps))
    moves = step * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    points: NDArray[np.float64] = start + np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
    return points


def _blob(surface: Field, rng: np.random.Generator, radii: tuple[float, float], edge: float) -> Field:
    """Return 1 inside an uneven ellipse and 0 outside, with a soft edge; radii as shares of the side."""
    size = (surface.shape[0], surface.shape[1])
    y, x = _grid(size)
    centre, angle = _place(surface, rng), rng.uniform(0, np.pi)
    a, b = rng.uniform(*radii, 2) * min(size)
    u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    v = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
    distance = np.sqrt((u / a) ** 2 + (v / b) ** 2) + 0.12 * _noise(size, rng, 0.02 * min(size))
    return _as_field(np.clip((1 - distance) / edge, 0, 1))


def _rough_ellipse(changed: NDArray[np.bool_], rng: np.random.Generator) -> Grey:
    """Return the mask that a hurried person draws: an ellipse around all changed pixels, and some more."""
    y, x = np.nonzero(changed)
    points = np.stack([x, y], axis=1).astype(np.float64)
    (cx, cy), _, degrees = cv2.minAreaRect(points.astype(np.float32))
    turn = np.deg2rad(degrees)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    offsets = np.abs((points - (cx, cy)) @ axes)  # (points, 2) along the axes of the rectangle
    half = np.maximum(offsets.max(axis=0), 1)
    # the rectangle's corners lie outside its inscribed ellipse: grow until the last pixel is in
    half *= np.sqrt(((offsets / half) ** 2).sum(axis=1)).max()
    half = half * rng.uniform(1.05, 1.2) + rng.uniform(2, 4)
    mask = np.zeros(changed.shape, np.uint8)
    cv2.ellipse(mask, ((cx, cy), (2 * half[0], 2 * half[1]), degrees), 255, cv2.FILLED)
    return mask


def _write_part(
    folder: Path,
    first: int,
    counts: tuple[int, int],
    size: ImageSize,
    texture: str | None,
    seed: tuple[int, int],
) -> None:
    labels = folder / "Label"
    labels.mkdir(parents=True)
    order = [(False, k) for k in range(counts[0])] + [(True, k) for k in range(counts[1])]
    np.random.default_rng(seed).shuffle(order)
    rows = ["1"]
    for number, (defective, k) in enumerate(order, start=first):
        # one generator per image, so that no image depends on those before it
        rng = np.random.default_rng((*seed, int(defective), k))
        image = make_surface(texture or str(rng.choice(list(TEXTURES))), size, rng)
        name, mask_name = f"{number:04d}.PNG", "0"
        if defective:
            mask_name = f"{number:04d}_label.PNG"
            image, mask = add_defect(image, list(DEFECTS)[k % len(DEFECTS)], rng)
            _write_png(labels / mask_name, mask)
        _write_png(folder / name, image)
        rows.append(f"{number:04d}\t{int(defective)}\t{name}\t0\t{mask_name}\t")
    (labels / "Labels.txt").write_bytes(("\r\n".join(rows) + "\r\n").encode("ascii"))


def _write_png(path: Path, image: Grey) -> None:
    # cv2.imwrite cannot take every path, and hides why it failed
    path.write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
