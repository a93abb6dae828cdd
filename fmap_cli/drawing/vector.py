"""A scene as PDF or SVG, with Matplotlib: text stays text, tiles stay sharp at any size."""

from __future__ import annotations

from typing import IO, Any

from .scene import Box, Picture, Scene, Text

_DPI = 100


def write_vector(scene: Scene, file: IO[bytes], suffix: str) -> None:
    """Write the scene as the format of `suffix` (`.pdf` or `.svg`). The same scene gives the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    settings: Any = {"pdf.fonttype": 42, "svg.hashsalt": "fmap", "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(scene.width / _DPI, scene.height / _DPI), dpi=_DPI)

        def place(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
            """A box in pixels from the top left as Matplotlib's fractions from the bottom left."""
            return (
                x / scene.width,
                1 - (y + height) / scene.height,
                width / scene.width,
                height / scene.height,
            )

        for item in scene.items:
            if isinstance(item, Text):
                left, bottom, _, _ = place(item.x, item.y, 0, 0)
                turned = {"left": "bottom", "right": "top", "middle": "center"}[item.align]
                figure.text(
                    left,
                    bottom,
                    item.text,
                    fontsize=item.size * 72 / _DPI,
                    color=_rgb(item.colour),
                    weight="bold" if item.bold else "normal",
                    ha="left" if item.turned else {"left": "left", "right": "right", "middle": "center"}[item.align],
                    va=turned if item.turned else "top",
                    rotation=90 if item.turned else 0,
                    parse_math=False,
                )
            elif isinstance(item, Picture):
                axes = figure.add_axes(place(item.x, item.y, item.size[1], item.size[0]))
                axes.set_axis_off()
                axes.imshow(item.pixels, aspect="auto", interpolation="bilinear" if item.smooth else "none")
            elif isinstance(item, Box):
                left, bottom, width, height = place(item.x, item.y, item.width, item.height)
                figure.add_artist(
                    Rectangle(
                        (left, bottom),
                        width,
                        height,
                        facecolor=_rgb(item.fill) if item.fill else "none",
                        edgecolor=_rgb(item.outline) if item.outline else "none",
                        linewidth=0.6,
                        transform=figure.transFigure,
                    )
                )
        metadata: dict[str, Any] = {"CreationDate": None} if suffix == ".pdf" else {"Date": None}
        figure.savefig(file, format=suffix[1:], metadata=metadata)


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return (colour[0] / 255, colour[1] / 255, colour[2] / 255)
