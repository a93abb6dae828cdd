"""Pictures as files."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fmap_cli.drawing import raster
from fmap_cli.drawing.scene import Scene, Text, font


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


def test_texts_are_drawn_as_pillow_draws_them_wherever_they_stand():
    chance = np.random.default_rng(0)
    words = ["-30.9 … 51.9", "Tile VA", "", " ", "çé\u0301 × 3", "g"]
    for _ in range(3):  # from the second time on with letters that are kept
        page, scene = Image.new("RGB", (300, 200), (255, 255, 255)), Scene(300, 200)
        for at in range(24):
            x, y = (float(chance.uniform(-20, 300)), float(chance.uniform(-9, 190)))
            x, y = (x, y) if at % 2 else (round(x), round(y))
            text = Text(
                x, y, words[at % 6], 17, (at, 9 * at, 255 - at), at % 3 == 0, ("left", "right", "middle")[at % 3]
            )
            scene.add(text)
            anchor = {"left": "la", "right": "ra", "middle": "ma"}[text.align]
            ImageDraw.Draw(page).text((x, y), text.text, text.colour, font(17, text.bold), anchor)
        assert (np.asarray(raster.rasterise(scene)) == np.asarray(page)).all()
