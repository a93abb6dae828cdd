"""Pictures as files."""

import io

import numpy as np
import pytest
from PIL import Image

from fmap_cli.drawing import raster


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (37, 41)])
@pytest.mark.parametrize("band_bytes", [1, 1000, 1 << 22])
def test_pillow_reads_a_png_as_it_was(size, band_bytes, monkeypatch):
    monkeypatch.setattr(raster, "_PNG_BAND_BYTES", band_bytes)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    raster.write_image(Image.fromarray(pixels), file, ".png")
    file.seek(0)
    Image.open(file).verify()  # the checksums of all chunks
    file.seek(0)
    with Image.open(file) as read:
        assert read.mode == "RGB"
        assert (np.asarray(read) == pixels).all()
