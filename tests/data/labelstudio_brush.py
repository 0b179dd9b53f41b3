"""Records labelstudio_brush.json: brushes as the encoders of Label Studio write them.

There are two. label-studio-converter (Python) turns masks into brushes for import; the page on which people
draw uses @thi.ng/rle-pack (JavaScript), which also lists values that are not repeated. Where both agree,
one is kept. To record the file anew, in an empty folder:

    python -m venv env
    env/bin/pip install numpy pillow
    env/bin/pip install --no-deps label-studio-converter==0.0.59
    npm install @thi.ng/rle-pack@3.2.12
    env/bin/python .../tests/data/labelstudio_brush.py .../tests/data/labelstudio_brush.json

Each brush is decoded by the decoder of its own package before it is written.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NODE = """
import { decode, encode } from "@thi.ng/rle-pack";
import { readFileSync } from "node:fs";
const { values, wordBits, widths } = JSON.parse(readFileSync(0));
const bytes = encode(values, values.length, wordBits, widths);
console.log(JSON.stringify({ bytes: [...bytes], decoded: [...decode(bytes)] }));
"""


def masks() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield names and masks, (H, W) uint8; what is above 0 is painted."""
    rng = np.random.default_rng(7)

    def spots(size: tuple[int, int], *places: tuple[int, int]) -> NDArray[np.uint8]:
        mask = np.zeros(size, np.uint8)
        for row, column in places:
            mask[row, column] = 1
        return mask

    yield "empty", spots((7, 9))
    yield "full", spots((7, 9)) + 255
    yield "first pixel", spots((5, 6), (0, 0))
    yield "last pixel", spots((5, 6), (4, 5))
    yield "a pixel within", spots((5, 6), (2, 3))
    yield "an image of one pixel", spots((1, 1), (0, 0))
    yield "one row", (np.arange(37)[None] % 5 == 0).astype(np.uint8)
    yield "one column", (np.arange(37)[:, None] % 7 > 2).astype(np.uint8)
    yield "rows in turn", np.repeat(np.arange(12) % 2, 11).reshape(12, 11).astype(np.uint8)
    yield "columns in turn", np.tile(np.arange(13) % 2, 9).reshape(9, 13).astype(np.uint8)
    yield "a chequerboard", (np.indices((6, 7)).sum(axis=0) % 2).astype(np.uint8)
    yield "noise", rng.integers(0, 2, (15, 17)).astype(np.uint8)
    yield "sparse noise", (rng.random((31, 29)) < 0.04).astype(np.uint8)
    yield "grey noise", (rng.integers(1, 256, (6, 11)) * rng.integers(0, 2, (6, 11))).astype(np.uint8)
    # four values for each pixel: 8, 16, 256 and 65536 are where an encoder changes the width of its lengths
    lengths = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 63, 63, 64, 64, 65, 65]
    yield "lengths about 256", np.repeat(np.arange(16) % 2, lengths).reshape(1, -1).astype(np.uint8)
    yield "65536 values painted", spots((128, 128)) + 1
    yield "65540 values painted", spots((113, 145)) + 1
    yield "long, then a pixel", spots((150, 131), (149, 130))
    yield "long and painted", np.repeat([0, 1, 0], [999, 70001, 1400]).reshape(181, 400).astype(np.uint8)


def colours() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield names and brushes with colours, (H, W, 4) uint8: red, green, blue and alpha."""
    rng = np.random.default_rng(8)
    stroke = np.zeros((6, 9, 4), np.uint8)
    stroke[2:4, 1:7] = (255, 0, 128, 100)
    yield "a stroke in a colour", stroke
    noise = rng.integers(0, 256, (8, 7, 4)).astype(np.uint8)
    noise[..., 3] = rng.choice([0, 1, 255], (8, 7))
    yield "colour noise", noise
    yield "colours without alpha", stroke * np.array([1, 1, 1, 0], np.uint8)
    yield "alpha without a colour", stroke * np.array([0, 0, 0, 1], np.uint8)


def brushes() -> Iterator[tuple[str, str, NDArray[np.bool_], list[int]]]:
    """Yield name, package, mask that is painted, and bytes."""
    from label_studio_converter.brush import decode_rle, encode_rle, mask2rle

    for name, mask in masks():
        rle = mask2rle(mask)
        assert (decode_rle(rle) == np.repeat(mask.ravel(), 4)).all()
        yield name, "label-studio-converter", mask > 0, rle
    for name, colour in colours():
        rle = encode_rle(colour.ravel())
        assert (decode_rle(rle) == colour.ravel()).all()
        yield name, "label-studio-converter", colour[..., 3] > 0, rle

    def pack(values: NDArray[Any], word_bits: int = 8, widths: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
        job = {"values": values.ravel().tolist(), "wordBits": word_bits, "widths": widths}
        command = ["node", "--input-type=module", "-e", NODE]
        done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        assert answer["decoded"] == job["values"]
        return answer["bytes"]

    for name, mask in masks():
        yield name, "@thi.ng/rle-pack", mask > 0, pack(np.repeat(mask.ravel() * 1, 4))
    for name, colour in colours():
        yield name, "@thi.ng/rle-pack", colour[..., 3] > 0, pack(colour)
    odd = np.random.default_rng(9).integers(0, 2, (9, 11, 4)).astype(np.uint8)
    yield "values of one bit, other widths", "@thi.ng/rle-pack", odd[..., 3] > 0, pack(odd, 1, (1, 2, 5, 9))


def main() -> None:
    """Write the file named on the command line."""
    recorded, seen = [], set()
    for name, package, mask, rle in brushes():
        brush = bytes(map(int, rle))
        if brush.rstrip(b"\0") in seen:  # an encoder may add a byte
            continue
        seen.add(brush.rstrip(b"\0"))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().astype(int), [2]])))
        recorded.append(
            {
                "name": name,
                "package": package,
                "size": mask.shape,
                # in turn unpainted and painted, along the rows
                "mask": np.diff(edges, prepend=0).tolist(),
                "brush": base64.b64encode(brush).decode(),
            }
        )
    lines = ",\n".join(json.dumps(each) for each in recorded)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
