"""Images, masks, run lengths, regions and overlays, on real files."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from segdec.errors import ImageError, OutputError
from segdec.imaging import (
    decode_run_lengths,
    draw_overlay,
    encode_run_lengths,
    find_regions,
    read_image,
    read_image_size,
    read_mask,
    resize_image,
    resize_mask,
    to_unit,
    write_image,
)
from segdec.types import RunLengths

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def ramp(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.linspace(0, top, int(np.prod(shape))).astype(dtype).reshape(shape)


# --- reading images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bit_files_come_back_as_they_are(tmp_path: Path, suffix: str, channels: int) -> None:
    image = ramp(20, 30, channels)
    path = tmp_path / f"prüf_測試{suffix}"
    Image.fromarray(image.squeeze()).save(path, **({"quality": 100} if suffix == ".jpg" else {}))
    read = read_image(path)
    assert read.shape == (20, 30, channels)
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - image).max() <= (8 if suffix == ".jpg" else 0)
    assert read_image_size(path) == (20, 30)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_kept(tmp_path: Path, suffix: str, channels: int) -> None:
    image = ramp(20, 30, channels, dtype=np.uint16)
    path = tmp_path / f"deep{suffix}"
    write_image(path, image)
    read = read_image(path)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


def test_channels_are_converted(tmp_path: Path) -> None:
    color, grey = tmp_path / "c.png", tmp_path / "g.png"
    write_image(color, np.full((4, 5, 3), (255, 0, 0), np.uint8))
    write_image(grey, np.full((4, 5), 7, np.uint8))
    assert read_image(color, 1).shape == (4, 5, 1)
    assert read_image(color, 1)[0, 0, 0] == 76  # 0.299 * 255
    np.testing.assert_array_equal(read_image(grey, 3), np.full((4, 5, 3), 7))
    deep = tmp_path / "deep.png"
    write_image(deep, ramp(4, 5, 3, dtype=np.uint16))
    assert read_image(deep, 1).dtype == np.uint16


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(tmp_path: Path, mode: str) -> None:
    image = ramp(6, 8, len(mode))
    Image.fromarray(image, mode=None).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image[..., :-1])


def test_sixteen_bit_alpha_is_dropped(tmp_path: Path) -> None:
    image = ramp(6, 8, 4, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image[..., 2::-1])


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 128, 0, 9, 9, 9])
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png")[0, 1], [255, 128, 0])
    image.putpalette([5, 5, 5, 6, 6, 6, 9, 9, 9])  # grey after all
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png")[..., 0], [[5, 6], [6, 9]])


def test_a_palette_with_transparency_is_read(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 128, 0])
    image.save(tmp_path / "p.png", transparency=b"\x00\xff")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), [[[0, 0, 0], [255, 128, 0]]])


def test_one_bit_and_cmyk_files_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_image(tmp_path / "one.png")[..., 0], 255 * np.eye(9))
    Image.new("CMYK", (9, 9)).save(tmp_path / "cmyk.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "cmyk.jpg"), np.full((9, 9, 3), 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_orientation_is_respected(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 255  # bright corner at the top left
    undo = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}[orientation]
    stored = np.rot90(upright, undo)
    if orientation in (2, 4):
        stored = np.fliplr(stored)
    if orientation in (5, 7):
        stored = np.flipud(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    read = read_image(path)
    assert read_image_size(path) == read.shape[:2] == (16, 32)
    np.testing.assert_array_equal(read[..., 0] > 128, upright > 128)


def test_sixteen_bit_grey_turns_with_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp(4, 8, dtype=np.uint16)).save(tmp_path / "t.png", exif=exif)
    assert read_image(tmp_path / "t.png").shape == (8, 4, 1)
    assert read_image(tmp_path / "t.png").dtype == np.uint16


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's, before the error
def test_broken_files_are_refused_with_name_cause_and_remedy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in (".jpg", ".png", ".bmp", ".tif"):
        path = tmp_path / f"cut{suffix}"
        write_image(path, noise)
        data = path.read_bytes()
        for kept in (len(data) * 2 // 3, 60, 10):
            path.write_bytes(data[:kept])
            with pytest.raises(ImageError, match=f"cut{suffix}.*(copy it again|convert) or remove it"):
                read_image(path)


def test_a_changed_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changed.png"
    write_image(path, np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"changed\.png cannot be read"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_what_is_no_image_is_refused(tmp_path: Path, read: object) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is a text")
    (tmp_path / "folder.png").mkdir()
    for name, cause in (
        ("empty.png", "is empty"),
        ("text.png", "is no image"),
        ("folder.png", "Is a directory|Permission"),
        ("missing.png", "No such file"),
    ):
        with pytest.raises(ImageError, match=f"{name}.*({cause})"):
            read(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize(("dtype", "words"), [(np.float32, "floating-point"), (np.int32, "signed 32-bit")])
def test_other_values_than_8_and_16_bits_are_refused(tmp_path: Path, dtype: type, words: str) -> None:
    Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=rf"f\.tif holds {words} values"):
        read_image(tmp_path / "f.tif")


# --- masks ------------------------------------------------------------------------------------------


def test_mask_palette_indices_count_not_colours(tmp_path: Path) -> None:
    indices = np.zeros((5, 6), np.uint8)
    indices[1, 2], indices[3, 4] = 1, 2
    image = Image.fromarray(indices, mode="P")
    image.putpalette([0, 0, 0, 0, 0, 0, 255, 0, 0])  # index 1 is black too
    image.save(tmp_path / "m.bmp")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.bmp", (5, 6)), indices > 0)


def test_a_bmp_with_eight_bits_and_two_colours_is_a_mask(tmp_path: Path) -> None:
    # written byte by byte: 8 bits a pixel with a palette of two entries, as old labelling tools do
    rows = bytes([0, 0, 1, 0]) + bytes([1, 0, 0, 0])  # from the bottom up
    palette = bytes([0, 0, 0, 0, 255, 255, 255, 0])
    header = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 0, len(rows), 0, 0, 2, 2)
    data = b"BM" + struct.pack("<IHHI", 62 + len(rows), 0, 0, 62) + header + palette + rows
    (tmp_path / "m.bmp").write_bytes(data)
    np.testing.assert_array_equal(
        read_mask(tmp_path / "m.bmp", (2, 4)), [[True, False, False, False], [False, False, True, False]]
    )


@pytest.mark.parametrize("values", [np.uint8, np.uint16, np.int32, bool])
def test_mask_values_above_zero_are_defect(tmp_path: Path, values: type) -> None:
    mask = np.zeros((5, 6), values)
    mask[2, 3] = 1
    Image.fromarray(mask).save(tmp_path / "m.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", (5, 6)), mask > 0)


def test_any_channel_of_a_colour_mask_counts_but_not_alpha(tmp_path: Path) -> None:
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[..., 3] = 255
    mask[1, 1, 2] = 9
    Image.fromarray(mask).save(tmp_path / "m.png")
    read = read_mask(tmp_path / "m.png", (4, 4))
    assert read[1, 1]
    assert read.sum() == 1


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    write_image(tmp_path / "m.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(ImageError, match=r"m\.png is 4 x 6 pixels .* its image 8 x 6"):
        read_mask(tmp_path / "m.png", (8, 6))


def test_a_photo_is_no_mask(tmp_path: Path) -> None:
    photo = cv2.GaussianBlur(np.eye(64, dtype=np.uint8) * 255, (9, 9), 3)
    write_image(tmp_path / "photo.jpg", photo)
    with pytest.raises(ImageError, match=r"photo\.jpg holds \d+ different values .*expected 0 for good"):
        read_mask(tmp_path / "photo.jpg", (64, 64))


def test_a_broken_mask_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.png").touch()
    with pytest.raises(ImageError, match=r"m\.png is empty"):
        read_mask(tmp_path / "m.png", (4, 4))


# --- run lengths ------------------------------------------------------------------------------------


def test_run_lengths_count_from_one_down_the_columns() -> None:
    # height 3, width 2: pixels 3 and 4 are the foot of the first column and the head of the second
    mask = decode_run_lengths(RunLengths(("3 2",), "t"), (3, 2))
    np.testing.assert_array_equal(mask, [[False, True], [False, False], [True, False]])


def test_rows_are_joined_and_empty_ones_hold_nothing() -> None:
    runs = RunLengths(("1 2", "2 2", ""), "t")
    np.testing.assert_array_equal(decode_run_lengths(runs, (4, 1))[:, 0], [True, True, True, False])


@settings(max_examples=50, deadline=None)
@given(masks)
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    runs = RunLengths((encode_run_lengths(mask),), "t")
    np.testing.assert_array_equal(decode_run_lengths(runs, mask.shape), mask)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1 2 3", "pairs"),
        ("1 two", "whole numbers"),
        ("1.5 2", "whole numbers"),
        ("12 2", "leaves its image of 4 x 3"),
        ("0 1", "leaves its image"),
        ("1 0", "leaves its image"),
        ("1 99999999999999999999", "whole numbers"),
        (f"1 {2**63 - 1}", "leaves its image"),
    ],
)
def test_wrong_run_lengths_are_refused_with_their_origin(row: str, words: str) -> None:
    with pytest.raises(ImageError, match=rf"train\.csv, a\.jpg.*{words}"):
        decode_run_lengths(RunLengths((row,), "train.csv, a.jpg"), (4, 3))


# --- sizes ------------------------------------------------------------------------------------------


def test_to_unit_by_kind() -> None:
    np.testing.assert_array_equal(to_unit(np.array([0, 65535], np.uint16)), [0, 1])
    assert to_unit(np.zeros(2, np.uint8)).dtype == np.float32
    with pytest.raises(ImageError, match="got float64"):
        to_unit(np.zeros(2))


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (8, 32), (16, 16), (16, 8)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (16, 16, 3)])
def test_resize_keeps_kind_and_mean(size: tuple[int, int], dtype: type, shape: tuple[int, ...]) -> None:
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    resized = resize_image(image, size)
    assert resized.shape == (*size, *shape[2:])
    assert resized.dtype == dtype
    assert resized.mean() == pytest.approx(image.mean(), rel=0.03)


def test_shrinking_is_a_mean_of_areas() -> None:
    image = np.array([[0, 100, 10, 10], [100, 200, 10, 10]], np.uint8)
    np.testing.assert_array_equal(resize_image(image, (1, 2)), [[100, 10]])


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(1, 15), st.integers(1, 15))
def test_no_defect_vanishes_and_none_appears(mask: np.ndarray, height: int, width: int) -> None:
    resized = resize_mask(mask, (height, width))
    assert resized.shape == (height, width)
    assert resized.any() == mask.any()
    assert resized.all() >= mask.all()


def test_a_mask_shrinks_by_any_and_grows_by_nearest() -> None:
    mask = np.zeros((6, 6), bool)
    mask[5, 0] = True
    np.testing.assert_array_equal(resize_mask(mask, (2, 3)), [[0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(
        resize_mask(np.eye(2, dtype=bool), (4, 2)), [[1, 0], [1, 0], [0, 1], [0, 1]]
    )


# --- regions and overlays ---------------------------------------------------------------------------


def test_regions_highest_peak_first() -> None:
    score = np.zeros((10, 12), np.float32)
    score[1:3, 1:4] = 0.6
    score[6, 6] = score[7, 7] = 0.9  # diagonal neighbours belong together
    first, second = find_regions(score, 0.6)
    assert first.box == (6, 6, 2, 2)
    assert first.area_px == 2
    assert first.peak_score == pytest.approx(0.9)
    assert second.box == (1, 1, 3, 2)
    assert set(second.contour) == {(1, 1), (1, 2), (3, 1), (3, 2)}
    assert find_regions(score, 0.95) == ()


def test_a_ring_and_what_it_holds_are_two_regions() -> None:
    score = np.ones((9, 9), np.float32)
    score[2:7, 2:7] = 0
    score[4, 4] = 1
    ring, dot = find_regions(score, 0.5)
    assert ring.area_px == 81 - 25
    assert dot.contour == ((4, 4),)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_overlay_leaves_low_scores_and_reddens_high_ones(dtype: type, channels: int) -> None:
    image = ramp(32, 32, channels, dtype=dtype)
    score = np.zeros((32, 32), np.float32)
    score[8:16, 8:16] = 1
    overlay = draw_overlay(image, score)
    assert overlay.shape == (32, 32, 3)
    assert overlay.dtype == np.uint8
    grey = np.broadcast_to(image, (32, 32, 3)).astype(float) / np.iinfo(dtype).max * 255
    np.testing.assert_allclose(overlay[score == 0], grey[score == 0], atol=1)
    assert (overlay[10, 10, 0] > overlay[10, 10, 2]).all()
    outlined = draw_overlay(image, score, find_regions(score, 0.5))
    assert (outlined[8, 8] == (0, 230, 255)).all()


# --- writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_written_images_come_back(tmp_path: Path, suffix: str) -> None:
    image = ramp(8, 9, 3)
    path = tmp_path / f"Fehler_ß_錯{suffix}"
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.xyz.*choose one of \.bmp"):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2), np.uint8))
    with pytest.raises(OutputError, match="uint16 values"):
        write_image(tmp_path / "a.jpg", np.zeros((2, 2), np.uint16))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot write .*a\.png: a file stands where a folder is needed"):
        write_image(tmp_path / "file" / "a.png", np.zeros((2, 2), np.uint8))
