"""What has axes, ticks and scales: charts that Matplotlib draws in one style, and the axis of a network's layers.

Importing Matplotlib's figure takes half a second, so it happens where a chart is drawn, and nowhere before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .scene import GRAY, INK, Colour, Plot, Scene, end_of, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

DPI = 100  # so that a figure's pixels are the page's

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE: Colour = (0, 114, 178)
SKY: Colour = (86, 180, 233)
ORANGE: Colour = (230, 159, 0)
GREEN: Colour = (0, 158, 115)
PINK: Colour = (204, 121, 167)
RED: Colour = (213, 94, 0)
OTHER: Colour = (125, 125, 134)
LINE: Colour = (150, 150, 158)
BAND: Colour = (246, 246, 249)
KINDS: dict[str, tuple[str, Colour]] = {
    "conv": ("convolution, linear", BLUE),
    "linear": ("convolution, linear", BLUE),
    "norm": ("normalisation", ORANGE),
    "act": ("activation", GREEN),
}
ELSE = ("other", OTHER)

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# Names of layers hold whatever a person wrote: no formula is looked for in them.
PLAIN: dict[str, Any] = {"parse_math": False}

_NAME_STEP, _NAME_ROOM, _NAME_SIZE = 15, 200, 12


def points(pixels: float) -> float:
    """Pixels of the page in the unit of Matplotlib's text and lines."""
    return pixels * 72 / DPI


def rgb(colour: Colour) -> tuple[float, float, float]:
    """A colour as Matplotlib takes it.

    >>> rgb((255, 0, 51))
    (1.0, 0.0, 0.2)
    """
    return colour[0] / 255, colour[1] / 255, colour[2] / 255


def mixed(colour: Colour, share: float) -> Colour:
    """A colour of which `share` is left over white."""
    red, green, blue = (round(255 + (each - 255) * share) for each in colour)
    return red, green, blue


@contextmanager
def style() -> Iterator[None]:
    """Let Matplotlib draw as fmap does, whatever the user's own settings are."""
    import matplotlib

    sheet: Any = matplotlib.rc_params_from_file(Path(__file__).with_name("fmap.mplstyle"))  # over Matplotlib's defaults
    settings: Any = {name: value for name, value in sheet.items() if not name.startswith("backend")}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it is drawn as a box, as Pillow does
        yield


def charts(scene: Scene) -> Figure:
    """A figure of the page's size with Axes for each of its plots, filled; to be called and drawn in our `style`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(scene.width / DPI, scene.height / DPI), dpi=DPI, facecolor="none")
    for item in scene.items:
        if isinstance(item, Plot):
            height, width = item.size
            item.draw(figure.add_axes(place(scene, item.x, item.y, width, height), label=item.name, zorder=2))
    return figure


def place(scene: Scene, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A box in pixels from the top left as Matplotlib's fractions from the bottom left."""
    return x / scene.width, 1 - (y + height) / scene.height, width / scene.width, height / scene.height


# -- layers along an axis ----------------------------------------------------------------------------------------


def add_layers(scene: Scene, names: Sequence[str], slot: float, left: int, top: int, bottom: int) -> int:
    """What stands behind charts of a network's layers, each `slot` pixels wide: a band at every other stage, the
    stages' names on top, and below the layers' names, as many as there is room for. Returns where these end.

    A chart over it has the layers at 0, 1, 2, … of its own axis: `along` sets that.
    """
    draw = partial(_draw_layers, names=names, slot=slot)
    scene.add(Plot("layers", left, top, (bottom - top, round(slot * len(names))), draw))
    return bottom + 8 + ceil(max(text_width(name, _NAME_SIZE) for name in shown_names(names, slot).values()))


def along(axes: Axes, count: int) -> None:
    """Give the layers the places 0, 1, 2, … on the horizontal axis, and leave their names to `add_layers`."""
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_xticks([])


def add_strip(
    scene: Scene,
    words: str,
    bars: Mapping[int, tuple[float, Colour]],
    count: int,
    slot: float,
    left: int,
    y: int,
    *,
    scale: bool = False,
) -> int:
    """A low strip named `words` with a bar at some of `count` layers: its share of the height, and its colour.

    With a `scale` it is high enough for shares to be told apart. Returns where the next may begin.
    """
    height = 44 if scale else 12
    draw = partial(draw_strip, words=words, bars=bars, count=count, slot=slot, scale=scale)
    scene.add(Plot(words, left, y, (height, round(slot * count)), draw))
    return y + height + (16 if scale else 4)


def draw_strip(
    axes: Axes, words: str, bars: Mapping[int, tuple[float, Colour]], count: int, slot: float, scale: bool = False
) -> None:
    along(axes, count)
    height = axes.bbox.height
    axes.set_ylim(-1 / height, 1)
    axes.set_yticks([0, 1] if scale else [], ["0 %", "100 %"] if scale else [], fontsize=points(11))
    axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=points(_NAME_SIZE), color=rgb(INK), **PLAIN)
    wide = min(slot - 4, 36) if scale and slot >= 14 else slot - (slot > 8) * 2
    shown = {at: max(share, 1 / height) for at, (share, _) in bars.items() if share}  # a share of next to nothing too
    colours = [rgb(bars[at][1]) for at in shown]
    axes.vlines([*shown], 0, [*shown.values()], colours, linewidth=points(wide), zorder=2)


def write_powers(values: Sequence[float]) -> Callable[[float], str]:
    """How an axis from the least to the greatest of these values writes numbers: all in one way, plainly where all are
    short so, else as powers of ten.

    >>> [write_powers([0.01, 10])(value) for value in (0.01, 0.1, 1, 10)]
    ['0.01', '0.1', '1', '10']
    >>> [write_powers([1e-5, 1])(value) for value in (1e-5, 3e-4, -1e-1, 1, 0)]
    ['10⁻⁵', '3 × 10⁻⁴', '-10⁻¹', '1', '0']
    """
    sizes = [abs(value) for value in values if value]
    if not sizes or (min(sizes) > 0.9e-3 and max(sizes) < 1.1e4):
        return lambda value: f"{value:g}"

    def as_power(value: float) -> str:
        if not value:
            return "0"
        exponent = floor(log10(abs(value)) + 1e-9)
        factor = abs(value) / 10.0**exponent
        power = f"10{str(exponent).translate(_RAISED)}" if exponent not in (0, 1) else "10" * exponent
        said = [f"{factor:.3g}"] if round(factor, 6) != 1 or not power else []
        return ("-" if value < 0 else "") + " × ".join([*said, *([power] if power else [])])

    return as_power


def name_line(axes: Axes, value: float, words: str, colour: Colour, up: float = 0) -> None:
    """A level line through the chart, named on its right, `up` pixels higher."""
    axes.axhline(value, color=rgb(colour), linewidth=points(1))
    write(axes, words, (1, value), (8, up), ("axes fraction", "data"), colour, va="center", size=_NAME_SIZE)


ABOVE = ("data", "axes fraction")  # how a place is given that goes along with the layers, and by height with the chart


def write(
    axes: Axes,
    words: str,
    at: tuple[float, float],
    offset: tuple[float, float] = (0, 0),
    how: Any = "data",
    colour: Colour = GRAY,
    *,
    ha: str = "left",
    va: str = "bottom",
    size: int = 13,
    weight: str = "normal",
) -> Annotation:
    """Words at a place of the chart, `offset` pixels to the right and up; formulas in them are left as they are."""
    pixels: Any = (points(offset[0]), points(offset[1]))
    look: Any = {"ha": ha, "va": va, "fontsize": points(size), "weight": weight, "color": rgb(colour), **PLAIN}
    return axes.annotate(words, at, pixels, how, textcoords="offset points", **look)


def shown_names(names: Sequence[str], slot: float) -> dict[int, str]:
    """The names under their layers, and at which layers: each, or where they would touch every second, third, … and
    the last."""
    step = ceil(_NAME_STEP / slot)
    shown = list(range(0, len(names), step))
    if shown and shown[-1] != len(names) - 1:
        if len(names) - 1 - shown[-1] < step and len(shown) > 1:
            shown.pop()
        shown.append(len(names) - 1)
    return {at: end_of(names[at], _NAME_ROOM, _NAME_SIZE) for at in shown}


def _draw_layers(axes: Axes, names: Sequence[str], slot: float) -> None:
    along(axes, len(names))
    axes.set_zorder(1)  # behind the others
    axes.set_yticks([])
    shown = shown_names(names, slot)
    axes.set_xticks([*shown], [*shown.values()], rotation=90, fontsize=points(_NAME_SIZE), color=rgb(INK), **PLAIN)
    axes.tick_params("x", length=points(4) if len(shown) < len(names) else 0)
    start, shaded = 0, False
    for name, count in stages(names):
        end = start + count
        if count > 1:
            shaded = not shaded
            if shaded:
                axes.axvspan(start - 0.5, end - 0.5, facecolor=rgb(BAND), edgecolor="none")
            words = _stage_name(name, count * slot - 4)
            if words:
                write(axes, words, ((start + end - 1) / 2, 1), (0, 3), ABOVE, ha="center", size=_NAME_SIZE)
        start = end


def _stage_name(name: str, room: float) -> str:
    """As many of a stage's last parts as there is room for, whole; empty where there is none."""
    parts = name.split(".")
    ends = (".".join(parts[at:]) for at in range(len(parts)))
    return next((end for end in ends if text_width(end, _NAME_SIZE) <= room), "")


def stages(names: Sequence[str]) -> list[tuple[str, int]]:
    """Layers in a row whose names begin alike, and how many each: as coarse as leaves none with over half of all.

    Empty where names do not say.

    >>> stages(["conv1", "layer1.0.conv1", "layer1.0.relu", "layer2.0.conv1", "layer2.0.relu"])
    [('conv1', 1), ('layer1', 2), ('layer2', 2)]
    >>> stages(["a.0.x", "a.0.y", "a.0.z", "a.1.x", "a.1.y", "a.1.z"])
    [('a.0', 3), ('a.1', 3)]
    """
    for depth in range(1, 5):
        runs: list[tuple[str, int]] = []
        for name in names:
            stage = ".".join(name.split(".")[:depth])
            if runs and runs[-1][0] == stage:
                runs[-1] = (stage, runs[-1][1] + 1)
            else:
                runs.append((stage, 1))
        if max((count for _, count in runs), default=0) * 2 <= len(names):
            return runs if len(runs) <= 0.6 * len(names) else []
    return []
