"""The bare tiles of a layer, one pixel a unit."""

from __future__ import annotations

from typing import IO

import numpy as np

from ..drawing.grid import Placement, fit_columns, place
from ..drawing.raster import write_image
from .records import Drawing, FeatureMap
from .tiles import check_page, scale_of, tile_colours


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
