"""The figure in the terminal itself, so that it can be seen over SSH.

Terminals that show pictures (kitty's protocol, sixel, iTerm2's) get the whole figure; any other gets the photo
and the first tiles in coloured half blocks, with their captions as text: at two pixels a character a figure's
text could not be read. Which terminal it is, it is asked; FMAP_INLINE=kitty|sixel|iterm2|blocks decides instead.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..errors import OutputError
from ..inputs.records import ImageInput
from .records import Drawing, FeatureMap
from .tiles import scale_of, tile_colours

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console
    from rich.segment import Segments

_BLOCK_TILE = 24  # width of a tile in half blocks, in characters
_BLOCK_ROWS = 2
_KITTY_PIECE = 4096
_METHODS = ("kitty", "sixel", "iterm2", "blocks")


def print_inline(
    out: Console, figure: Callable[[], Image], feature_map: FeatureMap, image: ImageInput, drawing: Drawing
) -> None:
    """Draw one figure in the terminal behind `out`; `figure` makes its pixels where the terminal shows pictures."""
    title = f"{feature_map.layer.name} {units.shape(feature_map.shape)}"
    print_figure(out, title, figure, lambda: _print_blocks(out, feature_map, image, drawing))


def print_figure(out: Console, title: str, figure: Callable[[], Image], in_blocks: Callable[[], None]) -> None:
    """Draw a figure in the terminal behind `out`, under its title: `in_blocks` does it where it shows no pictures."""
    from rich.text import Text

    method = os.environ.get("FMAP_INLINE") or _method(out)
    if method not in _METHODS:
        raise OutputError(f"FMAP_INLINE is {method!r}: it takes {', '.join(_METHODS)}.")
    out.print(Text(title, "bold"))
    if method == "iterm2":
        _print_iterm2(out, figure())
    elif method == "kitty":
        _print_kitty(out, figure())
    elif method == "sixel":
        from rich.console import Console
        from textual_image.renderable import SixelImage

        # Rich keeps control sequences from what is no terminal; here they are asked for.
        Console(file=out.file, width=out.width, force_terminal=True).print(
            SixelImage(figure(), width="100%", height="auto")
        )
    else:
        in_blocks()


def _method(out: Console) -> str:
    if not out.is_terminal:
        return "blocks"
    if "iTerm" in (os.environ.get("TERM_PROGRAM", "") + os.environ.get("LC_TERMINAL", "")):
        return "iterm2"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "blocks"  # the terminal could not be asked
    from textual_image import renderable  # asks the terminal while it is imported

    return {renderable.SixelImage: "sixel", renderable.TGPImage: "kitty"}.get(renderable.Image, "blocks")


def _png(figure: Image) -> bytes:
    file = io.BytesIO()
    figure.save(file, "PNG")
    return file.getvalue()


def _print_iterm2(out: Console, figure: Image) -> None:
    """iTerm2's own escape sequence: the file's bytes in base64."""
    content = _png(figure)
    text = base64.b64encode(content).decode("ascii")
    out.file.write(f"\x1b]1337;File=inline=1;width=100%;size={len(content)}:{text}\a\n")


def _print_kitty(out: Console, figure: Image) -> None:
    """kitty's graphics protocol: the file's bytes in base64, in pieces, as wide as the terminal.

    Not textual-image's: that writes to standard output even where the picture belongs on stderr, and refuses
    pictures of more than 297 lines.
    """
    text = base64.b64encode(_png(figure)).decode("ascii")
    for start in range(0, len(text), _KITTY_PIECE):
        head = f"a=T,f=100,q=2,c={out.width}," if start == 0 else ""
        more = int(start + _KITTY_PIECE < len(text))
        out.file.write(f"\x1b_G{head}m={more};{text[start : start + _KITTY_PIECE]}\x1b\\")
    out.file.write("\n")


def _print_blocks(out: Console, feature_map: FeatureMap, image: ImageInput, drawing: Drawing) -> None:
    """The photo and the first tiles in half blocks, a line of captions under each row."""
    from rich.text import Text

    if not feature_map.is_map:
        out.print(Text("This layer has no height and width; its values are in the figure's file."))
        return
    count = min(_across(out) * _BLOCK_ROWS - 1, len(feature_map.maps))
    tile = block_size(image)
    frames = feature_map.maps.shape[1]
    scale = scale_of(feature_map, replace(drawing, overlay=False))
    colours = tile_colours(feature_map, scale, tile)[::frames][:count]
    print_blocks(out, image, list(colours), [_caption(feature_map, index) for index in range(count)])
    if count < len(feature_map.maps):
        out.print(Text(f"{len(feature_map.maps) - count} more in the figure's file"))


def block_size(image: ImageInput) -> tuple[int, int]:
    """Height and width of a tile in half blocks, in pixels of which two make a character."""
    height, width = image.pixels.shape[:2]
    return max(round(_BLOCK_TILE * height / width / 2), 1) * 2, _BLOCK_TILE


def print_blocks(out: Console, image: ImageInput, tiles: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """The photo and tiles of `block_size` in half blocks, with what stands under each."""
    from PIL import Image
    from rich.text import Text

    tile = block_size(image)
    photo = Image.fromarray(image.pixels).resize((tile[1], tile[0]), Image.Resampling.LANCZOS)
    pictures, words = [np.asarray(photo), *tiles], ["input", *captions]
    across = _across(out)
    for start in range(0, len(pictures), across):
        row = pictures[start : start + across]
        canvas = np.concatenate([_with_gap(each) for each in row], axis=1)[:, :-1]
        out.print(_half_blocks(canvas), end="")
        line = "".join(each[:_BLOCK_TILE].ljust(_BLOCK_TILE + 1) for each in words[start : start + across])
        out.print(Text(line.rstrip()), no_wrap=True)


def _across(out: Console) -> int:
    """How many tiles stand side by side."""
    return max((out.width + 1) // (_BLOCK_TILE + 1), 1)


def _half_blocks(canvas: np.ndarray) -> Segments:
    """Pixels `[h, w, 3]`, two to a character: the upper one in the text's colour, the lower one behind it."""
    from rich.color import Color
    from rich.segment import Segment, Segments
    from rich.style import Style

    segments = []
    for upper, lower in zip(canvas[::2].tolist(), canvas[1::2].tolist(), strict=True):
        pairs = zip(upper, lower, strict=True)
        segments += [Segment("▀", Style(color=Color.from_rgb(*a), bgcolor=Color.from_rgb(*b))) for a, b in pairs]
        segments.append(Segment.line())
    return Segments(segments)


def _caption(feature_map: FeatureMap, index: int) -> str:
    channel = int(feature_map.drawn[index])
    low, high = float(feature_map.channels.min[channel]), float(feature_map.channels.max[channel])
    return f"{channel}: {units.value_range(low, high, 2)}"[:_BLOCK_TILE]


def _with_gap(tile: np.ndarray) -> np.ndarray:
    return np.concatenate([tile, np.zeros((len(tile), 1, 3), np.uint8)], axis=1)
