"""Image and mask files to arrays and back; resize; regions and overlays of score maps."""

from segdec.imaging.cells import enlarge_cells, find_cell_regions, full_score_map
from segdec.imaging.files import (
    IMAGE_SUFFIXES,
    Pixels,
    convert_channels,
    read_image,
    read_image_size,
    write_image,
)
from segdec.imaging.marks import DEFECT, GOOD, SCRIBBLED, UNKNOWN, check_inside, read_marks, read_mask
from segdec.imaging.masks import MAX_MASK_VALUES, decode_run_lengths, encode_run_lengths, fill_boxes
from segdec.imaging.overlay import draw_overlay, find_regions
from segdec.imaging.pages import PixelRows, Rows, list_pages, open_rows
from segdec.imaging.resize import resize_image, resize_mask, to_unit

__all__ = [
    "DEFECT",
    "GOOD",
    "IMAGE_SUFFIXES",
    "MAX_MASK_VALUES",
    "SCRIBBLED",
    "UNKNOWN",
    "PixelRows",
    "Pixels",
    "Rows",
    "check_inside",
    "convert_channels",
    "decode_run_lengths",
    "draw_overlay",
    "encode_run_lengths",
    "enlarge_cells",
    "fill_boxes",
    "find_cell_regions",
    "find_regions",
    "full_score_map",
    "list_pages",
    "open_rows",
    "read_image",
    "read_image_size",
    "read_marks",
    "read_mask",
    "resize_image",
    "resize_mask",
    "to_unit",
    "write_image",
]
