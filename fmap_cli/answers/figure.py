"""A network's answer drawn on the photo: labelled pixels with a legend, boxes with their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import units
from ..drawing.page import SMALL_SIZE, draw_outline, draw_paragraph
from ..drawing.scene import GRAY, INK, WHITE, Box, Colour, Picture, Scene, Text, shorten, text_width
from .names import background_class
from .records import Detection

_LABEL_STRENGTH = 0.65
LEGEND_ROWS = 8
"""So many classes are named beside a label map."""


def class_colours(count: int) -> np.ndarray:
    """A colour for each class, `[K, 3]` uint8: Matplotlib's tab20, over again where there are more classes."""
    from matplotlib import colormaps

    table = np.rint(np.array(colormaps["tab20"].colors) * 255).astype(np.uint8)  # type: ignore[attr-defined]
    return table[np.arange(count) % len(table)]


def label_picture(
    classes: np.ndarray, photo: np.ndarray, colours: np.ndarray, background: int | None = None
) -> np.ndarray:
    """The photo `[h, w, 3]` tinted by each pixel's class `[H, W]`; a background class stays as it is."""
    rows = np.arange(photo.shape[0]) * classes.shape[0] // photo.shape[0]
    columns = np.arange(photo.shape[1]) * classes.shape[1] // photo.shape[1]
    fitted = classes[rows][:, columns]
    tinted = photo * (1 - _LABEL_STRENGTH) + colours[fitted] * _LABEL_STRENGTH
    found: np.ndarray = np.rint(tinted).astype(np.uint8)
    return found if background is None else np.where((fitted == background)[..., None], photo, found)


def class_legend(classes: np.ndarray, labels: Sequence[str]) -> list[tuple[str, str, Colour]]:
    """The classes of a label map, those of most pixels first: the name, the share of the pixels, and the colour."""
    colours, background = class_colours(len(labels)), background_class(labels)
    counts = np.bincount(classes.ravel(), minlength=len(labels))
    found = []
    for index in (int(each) for each in np.argsort(-counts, kind="stable") if counts[each]):
        red, green, blue = (int(value) for value in colours[index])
        name, is_background = labels[index].strip("_"), index == background
        found.append(
            (
                f"{name} (the photo as it is)" if is_background else name,
                units.percent(counts[index] / classes.size),
                WHITE if is_background else (red, green, blue),
            )
        )
    return found


def draw_label_map(
    scene: Scene,
    classes: np.ndarray,
    photo: np.ndarray,
    labels: Sequence[str],
    corner: tuple[int, int],
    size: tuple[int, int],
    width: int,
) -> int:
    """The label map over the photo at `corner` (top, left), and its classes by share. Returns where it ends.

    Words have `width` pixels: a tall photo is too narrow for them.
    """
    top, left = corner
    colours, background = class_colours(len(labels)), background_class(labels)
    scene.add(Picture(left, top, label_picture(classes, photo, colours, background), size, smooth=True))
    words = "the likeliest class of each pixel (the largest of the scores)"
    y = draw_paragraph(scene, words, left, top + size[0] + 6, width) + 6
    legend = class_legend(classes, labels)
    for words, share, fill in legend[:LEGEND_ROWS]:
        scene.add(Box(left, y, 16, 16, fill, GRAY))
        scene.add(Text(left + 26, y + 1, shorten(words, width - 90, SMALL_SIZE), SMALL_SIZE, INK))
        scene.add(Text(left + width, y + 1, share, SMALL_SIZE, GRAY, align="right"))
        y += 22
    if len(legend) > LEGEND_ROWS:
        scene.add(Text(left, y, f"and {len(legend) - LEGEND_ROWS} more classes", SMALL_SIZE, GRAY))
        y += 22
    return y


def draw_boxes(
    scene: Scene,
    found: Sequence[Detection],
    photo: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """Each object's box on a photo (height, width) drawn at `corner` (top, left) with `size`, its class above it."""
    top, left = corner
    scale = size[0] / photo[0], size[1] / photo[1]
    colours = class_colours(20) if found else ()  # Matplotlib's, which takes its time to import
    for detection in reversed(found):  # the surest on top
        y, x, bottom, right = (
            edge * factor for edge, factor in zip(detection.box, (scale[0], scale[1], scale[0], scale[1]), strict=True)
        )
        red, green, blue = (int(value) for value in colours[detection.index % 20])
        colour: Colour = (red, green, blue)
        draw_outline(scene, (left + x, top + y, left + right, top + bottom), ((0, colour), (1, colour)))
        name = detection.label if detection.label is not None else f"class {detection.index}"
        words = shorten(f"{name} {detection.score:.2f}", max(size[1] - x, 40), 11)
        tag = max(y - 15, 0)
        scene.add(Box(left + x, top + tag, text_width(words, 11) + 6, 15, colour))
        scene.add(Text(left + x + 3, top + tag + 1, words, 11, WHITE))
