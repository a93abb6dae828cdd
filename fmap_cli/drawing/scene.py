"""A page as a list of texts, pixel images, boxes and charts, before it is known whether it becomes PNG or PDF.

Positions are in pixels from the top left. Laying a page out once and drawing it twice (`raster` with Pillow,
`vector` with Matplotlib) keeps a PNG without charts free of the half second that Matplotlib's figure takes
to import, and makes both look alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]

INK: Colour = (26, 26, 30)
GRAY: Colour = (105, 105, 112)
FAINT: Colour = (222, 222, 226)
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `align` says which end of it stands at `x`. `y` is its top.

    Where it is `turned` it reads upwards: `x` is its left edge, and `align` says which end stands at `y`.
    """

    x: float
    y: float
    text: str
    size: int
    colour: Colour = INK
    bold: bool = False
    align: Literal["left", "right", "middle"] = "left"
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels `[h, w, 3]` uint8 drawn `size` (height, width) large; `smooth` interpolates when they differ."""

    x: int
    y: int
    pixels: np.ndarray
    size: tuple[int, int]
    smooth: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, filled and outlined where a colour is given."""

    x: float
    y: float
    width: float
    height: float
    fill: Colour | None = None
    outline: Colour | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: `draw` fills Matplotlib's Axes of `size` (height, width); their ticks and labels stand outside it.

    Charts lie over everything else on a page, the later ones over the earlier; what they leave free shows through.
    """

    name: str
    x: int
    y: int
    size: tuple[int, int]
    draw: Callable[[Axes], None]


Item = Text | Picture | Box | Plot


@dataclass(slots=True)
class Scene:
    """What to draw, in order, on a white page `width` × `height` pixels."""

    width: int = 0
    height: int = 0
    items: list[Item] = field(default_factory=list)

    def add(self, *items: Item) -> None:
        self.items.extend(items)

    def move_down(self, pixels: int) -> None:
        """All that is on the page so many pixels further down, and the page longer by as many."""
        self.items = [replace(item, y=round(item.y) + pixels) for item in self.items]
        self.height += pixels


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> FreeTypeFont:
    """DejaVu Sans, as it comes with Matplotlib: one font with the signs used here, on every machine."""
    from PIL import ImageFont

    return ImageFont.truetype(font_file(bold), size)


def font_file(bold: bool) -> str:
    """Where the font lies: beside Matplotlib, which is imported only where its data are elsewhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    spec = find_spec("matplotlib")
    beside = Path(spec.origin).parent / "mpl-data" if spec is not None and spec.origin else Path()
    lies = beside / "fonts" / "ttf" / name
    if not lies.is_file():
        import matplotlib

        lies = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return str(lies)


@lru_cache(maxsize=4096)
def text_width(text: str, size: int, bold: bool = False) -> float:
    """The width of a line of text in pixels."""
    return font(size, bold).getlength(text)


_JOINTS = "._-/:,="  # after which a long name may go on in the next line


def wrap(text: str, width: float, size: int, bold: bool = False) -> list[str]:
    """Text in lines no wider than `width` pixels.

    A word that is too long by itself is broken: after a dot or a dash where there is one not far from the end.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        trial = f"{line} {word}" if line else word
        if text_width(trial, size, bold) <= width:
            line = trial
            continue
        if line:
            lines.append(line)
        while text_width(word, size, bold) > width and len(word) > 1:
            cut = _longest_fit(word, width, size, bold)
            joint = max(word.rfind(sign, 0, cut) for sign in _JOINTS) + 1
            cut = joint if joint * 3 >= cut else cut
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line or not lines else lines


def shorten(text: str, width: float, size: int, bold: bool = False) -> str:
    """Text no wider than `width` pixels, its end cut off and marked `…` where it is too long."""
    if text_width(text, size, bold) <= width:
        return text
    ellipsis = text_width("…", size, bold)
    return text[: _longest_fit(text, width - ellipsis, size, bold)].rstrip() + "…"


def end_of(text: str, width: float, size: int) -> str:
    """As much of the end of a text as fits: layers' names differ in the end. Cut at a dot of the name if one is left.

    >>> end_of("encoder.layers.encoder_layer_11.mlp.3", 170, 12)
    '…encoder_layer_11.mlp.3'
    """
    if text_width(text, size) <= width:
        return text
    start = next((at for at in range(1, len(text)) if text_width("…" + text[at:], size) <= width), len(text))
    dot = text.find(".", start - 1)
    return "…" + text[start if dot < 0 or dot + 1 == len(text) else dot + 1 :]


def _longest_fit(text: str, width: float, size: int, bold: bool) -> int:
    """How many leading characters fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle], size, bold) <= width:
            low = middle
        else:
            high = middle - 1
    return low
