"""A scene as PDF or SVG, with Matplotlib: text stays text, tiles stay sharp at any size."""

from __future__ import annotations

from typing import IO, Any

from .charts import charts, place, points, rgb, style
from .scene import Box, Picture, Scene, Text, font


def write_vector(scene: Scene, file: IO[bytes], suffix: str) -> None:
    """Write the scene as the format of `suffix` (`.pdf` or `.svg`). The same scene gives the same bytes."""
    from matplotlib.patches import Rectangle

    with style():
        figure = charts(scene)
        figure.set_facecolor("white")
        for item in scene.items:
            if isinstance(item, Text):
                ascent = 0 if item.turned else font(item.size, item.bold).getmetrics()[0]  # as Pillow counts from
                left, bottom, _, _ = place(scene, item.x, item.y + ascent, 0, 0)
                turned = {"left": "bottom", "right": "top", "middle": "center"}[item.align]
                figure.text(
                    left,
                    bottom,
                    item.text,
                    fontsize=points(item.size),
                    color=rgb(item.colour),
                    weight="bold" if item.bold else "normal",
                    ha="left" if item.turned else {"left": "left", "right": "right", "middle": "center"}[item.align],
                    va=turned if item.turned else "baseline",
                    rotation=90 if item.turned else 0,
                    parse_math=False,
                )
            elif isinstance(item, Picture):
                axes = figure.add_axes(place(scene, item.x, item.y, item.size[1], item.size[0]))
                axes.set_axis_off()
                axes.imshow(item.pixels, aspect="auto", interpolation="bilinear" if item.smooth else "none")
            elif isinstance(item, Box):
                left, bottom, width, height = place(scene, item.x, item.y, item.width, item.height)
                figure.add_artist(
                    Rectangle(
                        (left, bottom),
                        width,
                        height,
                        facecolor=rgb(item.fill) if item.fill else "none",
                        edgecolor=rgb(item.outline) if item.outline else "none",
                        linewidth=0.6,
                        transform=figure.transFigure,
                    )
                )
        metadata: dict[str, Any] = {"CreationDate": None} if suffix == ".pdf" else {"Date": None}
        figure.savefig(file, format=suffix[1:], metadata=metadata)
