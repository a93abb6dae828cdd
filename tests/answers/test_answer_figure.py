"""An answer drawn on the photo: boxes where the objects are, a legend of the classes by their share."""

from __future__ import annotations

import numpy as np
import pytest

from fmap_cli.answers.figure import LEGEND_ROWS, class_colours, draw_boxes, draw_label_map
from fmap_cli.answers.records import Detection
from fmap_cli.drawing.scene import Box, Picture, Scene, Text


def test_boxes_lie_where_the_objects_are_on_a_photo_of_half_the_size_the_surest_on_top() -> None:
    scene = Scene(400, 300)
    found = [Detection((20, 40, 60, 120), 3, "cat", 0.9), Detection((0, 0, 100, 200), 25, None, 0.5)]
    draw_boxes(scene, found, (100, 200), (10, 30), (50, 100))
    outlines = [each for each in scene.items if isinstance(each, Box) and each.fill is None]
    # Half as large, and 30 to the right and 10 down; two lines each, the second a pixel further in.
    assert [(each.x, each.y, each.width, each.height) for each in outlines] == [
        (30, 10, 100, 50),
        (31, 11, 98, 48),
        (50, 20, 40, 20),
        (51, 21, 38, 18),
    ]
    assert [each.text for each in scene.items if isinstance(each, Text)] == ["class 25 0.50", "cat 0.90"]
    colours = class_colours(20)
    assert [each.outline for each in outlines[::2]] == [tuple(map(int, colours[at])) for at in (25 % 20, 3)]


def test_the_legend_names_the_largest_classes_and_counts_the_others() -> None:
    count = LEGEND_ROWS + 3
    labels = ["__background__", *(f"class {at}" for at in range(1, count))]
    # Class k has k + 1 rows of ten pixels.
    classes = np.repeat(np.arange(count), np.arange(1, count + 1))[:, None].repeat(10, 1)
    scene = Scene(400, 600)
    photo = np.full((20, 10, 3), 100, np.uint8)
    end = draw_label_map(scene, classes, photo, labels, (10, 30), (200, 300), 300)
    words = [each.text for each in scene.items if isinstance(each, Text)]
    assert "and 3 more classes" in words
    whole = count * (count + 1) / 2
    first = words.index(f"class {count - 1}")
    assert float(words[first + 1].split()[0]) == pytest.approx(100 * count / whole, abs=0.5)
    named = [each for each in words if each.startswith("class ")]
    assert named == [f"class {at}" for at in range(count - 1, count - 1 - LEGEND_ROWS, -1)]
    (picture,) = [each for each in scene.items if isinstance(each, Picture)]
    assert (picture.pixels[0] == 100).all()  # the background is the photo as it is
    assert (picture.pixels[-1] != 100).any()
    assert end > 10 + 200 + 22 * (LEGEND_ROWS + 1)
