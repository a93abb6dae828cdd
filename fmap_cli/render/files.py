"""Scenes and tile canvases to picture files, and their names."""

from __future__ import annotations

import re
from typing import IO

import numpy as np

from ..grid import Placement, fit_columns, place
from ..records import Drawing, FeatureMap
from .raster import rasterise, write_image
from .scene import Scene
from .tiles import check_page, scale_of, tile_colours
from .vector import write_vector

_STEM_BYTES, _MODEL_BYTES, _LAYER_BYTES = 80, 50, 100  # file systems end at 255 a name


def figure_name(stem: str, model: str, layer: str, number: int = 1) -> str:
    """The name of a figure: image, model and layer, with what file systems refuse replaced.

    Of a long part the end is kept, which is what layers differ in; `number` tells apart what is the same otherwise.

    >>> figure_name("coffee", "nets/tiny.py:make", "layer1.0.conv1")
    'coffee-nets_tiny.py_make-layer1.0.conv1.png'
    >>> figure_name("coffee", "resnet18", "fc", number=2)
    'coffee-2-resnet18-fc.png'
    """
    parts = (_name_part(stem, _STEM_BYTES), _name_part(model, _MODEL_BYTES), _name_part(layer, _LAYER_BYTES))
    return "-".join((parts[0], *([str(number)] if number > 1 else []), *parts[1:])) + ".png"


def _name_part(text: str, most: int) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).encode()[-most:].decode(errors="ignore")


def write_scene(scene: Scene, file: IO[bytes], suffix: str) -> None:
    """Write a figure as the format of `suffix`."""
    if suffix in (".pdf", ".svg"):
        write_vector(scene, file, suffix)
    else:
        write_image(rasterise(scene), file, suffix)


def write_raw(feature_map: FeatureMap, drawing: Drawing, file: IO[bytes], suffix: str) -> None:
    """Write the bare tiles of `raw_canvas` as the format of `suffix`."""
    from PIL import Image

    write_image(Image.fromarray(raw_canvas(feature_map, drawing)), file, suffix)


def raw_canvas(feature_map: FeatureMap, drawing: Drawing) -> np.ndarray:
    """The bare tiles, `[height, width, 3]` uint8: one pixel a unit unless `drawing.tile` says how high a tile is.

    Tiles follow in the order drawn, left to right and top to bottom, a white line of one pixel between them.
    """
    count, frames, height, width = feature_map.maps.shape
    tile = (height, width)
    if drawing.tile is not None:
        tile = (drawing.tile, max(round(drawing.tile * width / height), 1))
    columns = fit_columns(count, tile[1] * frames / tile[0], (1000, 1000), (0, 0))
    placement = Placement(count * frames, columns * frames, tile, (1, 1))
    check_page(feature_map, placement)
    return place(tile_colours(feature_map, scale_of(feature_map, drawing), tile), placement, 255)
