"""Where things are on a page: its own items by the font's measures, a chart's words where Matplotlib draws them."""

from __future__ import annotations

import re
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text as Word

from fmap_cli.drawing.charts import charts, style
from fmap_cli.drawing.scene import Box, Item, Picture, Plot, Scene, Text, font

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

EDGE = 12  # nothing comes nearer to the edge of the page


_last: tuple[list[object], dict[str, Axes]] = [], {}


def drawn(scene: Scene) -> dict[str, Axes]:
    """Each chart's Axes by its name, drawn, so that they know where everything is.

    A page that was asked about just before is not drawn again: what it says and its faults are often asked together.
    """
    global _last
    parts = [scene, scene.width, scene.height, *scene.items]
    if len(parts) != len(_last[0]) or any(one is not other for one, other in zip(parts, _last[0], strict=True)):
        _last = parts, _drawn(scene)
    return dict(_last[1])


def _drawn(scene: Scene) -> dict[str, Axes]:
    with style():
        figure = charts(scene)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
    return {str(axes.get_label()): axes for axes in figure.axes}


def labels(axes: Axes, which: str = "y") -> dict[float, str]:
    """The labels that an axis shows, by the value at which they stand."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = sorted(axis.get_view_interval())
    room = (high - low) * 1e-6
    shown = [each for each in axis.get_major_ticks() if low - room <= each.get_loc() <= high + room]
    return {float(each.get_loc()): plain(each.label1.get_text()) for each in shown}


def plain(words: str) -> str:
    """A label without the signs of a formula.

    >>> plain(r"$\\mathdefault{10^{-5}}$"), plain("$a_b$")
    ('10^-5', '$a_b$')
    """
    found = re.fullmatch(r"\$\\mathdefault\{(.*)\}\$", words)
    return found[1].replace("{", "").replace("}", "") if found else words


def chart_words(scene: Scene) -> list[tuple[str, Rectangle]]:
    """What the charts say, and where on the page, as far as their clipping leaves it."""
    found = []
    for axes in drawn(scene).values():
        hidden = set()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            room = (high - low) * 1e-6
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - room <= tick.get_loc() <= high + room or not axis.get_visible():
                    hidden |= {tick.label1, tick.label2}
        for word in axes.findobj(Word):
            if isinstance(word, Word) and word.get_visible() and word.get_text().strip() and word not in hidden:
                place = word.get_window_extent()
                found.append(
                    (plain(word.get_text()), (place.x0, scene.height - place.y1, place.x1, scene.height - place.y0))
                )
    return found


def texts(scene: Scene) -> list[str]:
    """All words: the page's, then its charts'."""
    return [item.text for item in scene.items if isinstance(item, Text)] + [words for words, _ in chart_words(scene)]


def place_of(item: Item) -> Rectangle:
    """Where an item is; of a text, where its ink may be."""
    if isinstance(item, Text):
        anchor = {"left": "la", "right": "ra", "middle": "ma"}[item.align]
        left, top, right, bottom = font(item.size, item.bold).getbbox(item.text, anchor=anchor)
        if item.turned:
            return item.x + top, item.y - right, item.x + bottom, item.y - left
        return item.x + left, item.y + top, item.x + right, item.y + bottom
    if isinstance(item, Box):
        return item.x, item.y, item.x + item.width, item.y + item.height
    return item.x, item.y, item.x + item.size[1], item.y + item.size[0]


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1


def faults(scene: Scene, edge: float = EDGE) -> list[str]:
    """What runs off the page, and words over other words or over a picture."""
    words = [(item.text, place_of(item)) for item in scene.items if isinstance(item, Text)] + chart_words(scene)
    pictures = [place_of(item) for item in scene.items if isinstance(item, Picture)]
    shapes = [(type(item).__name__, place_of(item)) for item in scene.items if isinstance(item, Box | Picture | Plot)]
    found = [
        f"off the page: {what!r} {place}"
        for what, place in words + shapes
        if min(place[:2]) < edge or place[2] > scene.width - edge or place[3] > scene.height - edge
    ]
    found += [f"{text!r} lies over a picture" for text, place in words for each in pictures if overlap(place, each)]
    return found + [
        f"{a!r} lies over {b!r}" for (a, here), (b, there) in combinations(words, 2) if overlap(here, there)
    ]
