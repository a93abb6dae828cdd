"""A scene as PDF or SVG, with Matplotlib: text stays text, tiles stay sharp at any size.

An SVG's words are `<text>`, which can be selected, searched and read aloud, and not the outlines that Matplotlib makes
of them unless asked. They look the same where DejaVu Sans is not installed, for the signs needed come with the file.
"""

from __future__ import annotations

import base64
import html
import io
import re
from typing import IO, Any

from .charts import charts, place, points, rgb, style
from .scene import Box, Picture, Scene, Text, font, font_file


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
        if suffix == ".pdf":
            figure.savefig(file, format="pdf", metadata=metadata)
            return
        held = io.BytesIO()
        figure.savefig(held, format="svg", metadata=metadata)
        file.write(_with_font(held.getvalue().decode()).encode())


def _with_font(svg: str) -> str:
    """An SVG with the signs of DejaVu Sans that its texts need, for those who have not installed it."""
    texts = re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)
    signs = set(html.unescape(re.sub(r"<[^>]*>", "", "".join(texts))))
    faces = "".join(
        f"@font-face {{ font-family: 'DejaVu Sans'; font-weight: {weight}; "
        f"src: url(data:font/ttf;base64,{_some_of_the_font(signs, bold)}) }}\n"
        for weight, bold in (("normal", False), ("bold", True))
    )
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return svg.replace("<defs>", f'<defs>\n  <style type="text/css">\n{faces}  </style>', 1)


def _some_of_the_font(signs: set[str], bold: bool) -> str:
    """The font with these signs alone, as a file in base64: twenty kilobytes for seven hundred."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    options = Options(layout_features=["kern"], hinting=False, name_IDs=[0, 1, 2, 13])
    options.drop_tables += ["FFTM"]  # the font editor's dates, which the subsetter says it does not know
    with TTFont(font_file(bold), recalcTimestamp=False, lazy=True) as face:  # reads what is kept, not all
        part = Subsetter(options)
        part.populate(text="".join(signs))
        part.subset(face)
        held = io.BytesIO()
        face.save(held)
    return base64.b64encode(held.getvalue()).decode()
