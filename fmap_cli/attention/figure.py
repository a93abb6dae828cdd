"""What heads look at, on a page: the mean over heads large over the photo with the query marked, and a tile a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.grid import SEQUENTIAL, Placement, colour_codes, draw_tiles, fit_columns, lookup, palette
from ..drawing.overlay import OVERLAY_STRENGTH, gray_photo
from ..drawing.page import (
    LINE_SIZE,
    MARGIN,
    SMALL_SIZE,
    TINY_SIZE,
    TOP,
    View,
    draw_colour_bar,
    draw_facts,
    draw_heading,
    draw_outline,
    draw_paragraph,
    draw_title,
    fit,
)
from ..drawing.scene import GRAY, INK, WHITE, Picture, Scene, Text, shorten, text_width, wrap
from .words import (
    about_weights,
    bits,
    call_in_words,
    cells_seen,
    distance,
    head_name,
    heads_in_words,
    is_one_query,
    looks,
    most_entropy,
    notes_on,
    percent,
)

if TYPE_CHECKING:
    from ..models.input_words import InputWords
    from .records import Attention, LayerAttention

_CMAP = "inferno"
_LARGE = (500, 500)  # height and width of the mean over heads
_AREA = (820, 980)  # of all tiles with what stands under them
_PHOTO = (190, 190)
_TILE, _LEAST_TILE = 300, 84
_UNDER = 40  # pixels for a tile's words
_GAP = 40
_SHOWN = 64
_BEYOND = 0.45  # how bright the photo is where the query cannot look


def attention_figure(found: Attention, layer: LayerAttention) -> Scene:
    """The page of one layer. Of what is no picture the weights are drawn as matrices, queries down, keys across."""
    scene = Scene()
    top = TOP + 40
    picture = layer.maps is not None and layer.on_plane and found.size is not None
    if picture:
        edge, y = _draw_left(scene, found, layer, top)
    else:
        edge, y = MARGIN + _LARGE[1], _facts(scene, found, layer, MARGIN, top, _LARGE[1])
    left = edge + _GAP
    bottom, right = (_draw_heads if picture else _draw_matrices)(scene, found, layer, left, top)
    scene.width, scene.height = max(right + MARGIN, 900), max(y, bottom) + MARGIN - 10
    subject = layer.query.words
    where = (
        f"What {subject} look{'' if subject.startswith('all') else 's'} at on {units.one_line(found.image.short_name)}"
    )
    said = f"{where}. {looks(layer, found.origin.called)}".strip()
    lines = wrap(said, scene.width - 2 * MARGIN, LINE_SIZE)
    if warning := about_weights(found):
        lines.append(warning)
    scene.move_down(26 * max(len(lines) - 2, 0))  # the parts stand where two lines end
    title = "Attention rollout" if layer.of_rollout else units.layer_name(layer.name)
    draw_title(scene, title, lines, "" if layer.of_rollout else layer.type_name)
    return scene


# -- over the photo ----------------------------------------------------------------------------------------------


def painted(found: Attention, layer: LayerAttention, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Weights `[frames, rows, columns]` over the photo in gray, `[height, width, 3]` uint8: from 0, which is clear, to
    the largest. Where the query cannot look the photo is darker."""
    assert found.size is not None and layer.key_grid is not None and layer.reach is not None
    flat = values.sum(0)
    smooth = bool(layer.reach.all())
    along = [
        _places(centres, length, pixels, smooth)
        for centres, length, pixels in zip((layer.key_grid.rows, layer.key_grid.columns), found.size, size, strict=True)
    ]
    field = along[0] @ flat @ along[1].T
    reach = along[0] @ layer.reach.any(0) @ along[1].T > 0.5
    top = float(flat.max())
    codes = colour_codes(field[None], np.zeros(1), np.array([top]))[0]
    colours = lookup(palette(_CMAP))[codes]
    opacity = np.concatenate([OVERLAY_STRENGTH * np.linspace(0, 1, 256) ** 0.7, [0.0, 0.8, 0.8, 0.0]])[codes]
    opacity = np.where(reach, opacity, 0.0)[..., None]
    photo = gray_photo(found.image.pixels, size) * np.where(reach, 1.0, _BEYOND)[..., None]
    return np.rint(colours * opacity + photo * (1 - opacity)).clip(0, 255).astype(np.uint8)


def _places(centres: np.ndarray, length: int, pixels: int, smooth: bool) -> np.ndarray:
    """`[pixels, cells]`: how much of each cell a pixel of the page shows; smoothly between centres, or the nearest."""
    at = (np.arange(pixels) + 0.5) * length / pixels - 0.5
    place = np.interp(at, centres, np.arange(len(centres)))
    if not smooth:
        place = np.rint(place)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(centres) - 1)
    shares = np.zeros((pixels, len(centres)))
    np.add.at(shares, (np.arange(pixels), low), 1 - (place - low))
    np.add.at(shares, (np.arange(pixels), high), place - low)
    return shares


def _mark(scene: Scene, found: Attention, layer: LayerAttention, left: int, top: int, size: tuple[int, int]) -> None:
    """A frame round the query's cell."""
    grid, where = layer.query_grid, layer.query.pixels
    if where is None or grid is None or found.size is None:
        return
    spans = []
    for at, centres, length in zip(where, (grid.rows, grid.columns), found.size, strict=True):
        half = float(np.diff(centres).min()) / 2 if len(centres) > 1 else length / 2
        spans.append((max(round(at - half + 0.5), 0), min(round(at + half - 0.5), length - 1)))
    view = View((0, found.size[0] - 1), (0, found.size[1] - 1), left, top, size)
    x, y, right, bottom = view.place(spans[0], spans[1])
    grow = max(7 - (right - x), 0) / 2, max(7 - (bottom - y), 0) / 2
    place = (round(x - grow[0]), round(y - grow[1]), round(right + grow[0]), round(bottom + grow[1]))
    draw_outline(scene, place, ((-3, INK), (-2, WHITE), (-1, WHITE), (0, INK)))


def _draw_left(scene: Scene, found: Attention, layer: LayerAttention, top: int) -> tuple[int, int]:
    """The mean over heads with its scale, the photo itself and facts; returns the right edge and the bottom."""
    assert layer.maps is not None
    mean = layer.maps[-1] if layer.of_rollout else layer.maps.mean(0)
    photo = found.image.pixels
    size = fit((photo.shape[0], photo.shape[1]), _LARGE, whole=False)
    heading = "Rollout" if layer.of_rollout else "Mean"
    words = "after all its layers" if layer.of_rollout else f"over {layer.heads} head{'s' * (layer.heads != 1)}"
    y = draw_heading(scene, heading, words, MARGIN, top, _LARGE[1])
    scene.add(Picture(MARGIN, y, painted(found, layer, mean, size), size))
    _mark(scene, found, layer, MARGIN, y, size)
    y += size[0] + 10
    scale = max(size[1], 260)
    most, even = float(mean.sum(0).max()), mean.shape[0] / max(cells_seen(layer), 1)
    at = even / most if most > even else None
    middle = f"tick: all alike, {percent(even)}" if at is not None else ""
    y = (
        draw_colour_bar(
            scene,
            _CMAP,
            ("0", percent(most)),
            MARGIN,
            y,
            scale,
            quantity="share of the attention",
            middle=middle,
            at=at,
        )
        + 8
    )
    small = fit((photo.shape[0], photo.shape[1]), _PHOTO, whole=False)
    scene.add(Picture(MARGIN, y + 4, photo, small, smooth=True))
    _mark(scene, found, layer, MARGIN, y + 4, small)
    edge = MARGIN + max(size[1], _LARGE[1])
    beside = MARGIN + small[1] + 20
    return edge, max(y + small[0] + 8, _facts(scene, found, layer, beside, y, edge - beside))


def _facts(scene: Scene, found: Attention, layer: LayerAttention, left: int, y: int, width: int) -> int:
    origin = found.origin
    facts = [
        ("query", layer.query.words + ("" if layer.query.pixels is None else ", framed")),
        ("layers" if layer.of_rollout else "heads", heads_in_words(layer)),
        ("weights", call_in_words(layer)),
        ("model", f"{units.one_line(origin.model)}, {origin.weights.in_words}"),
        *((("fed", fed),) if (fed := origin.fed_in_words) else ()),
        *(("note", each) for each in notes_on(layer, found.origin.called)),
    ]
    return draw_facts(scene, facts, left, y, width, names=76)


def _draw_heads(scene: Scene, found: Attention, layer: LayerAttention, left: int, top: int) -> tuple[int, int]:
    """A tile a head over the photo, with its number, entropy and distance; returns the bottom and the right edge."""
    assert layer.maps is not None
    count = min(layer.heads, _SHOWN)
    photo = found.image.pixels
    aspect = photo.shape[1] / photo.shape[0]
    gap = (_UNDER + 10, 14)
    columns = fit_columns(count, aspect, _AREA, gap)
    rows = -(-count // columns)
    across = (_AREA[1] - (columns - 1) * gap[1]) / columns
    down = (_AREA[0] - rows * gap[0]) / rows
    height = int(np.clip(min(down, across / aspect), _LEAST_TILE, _TILE))
    size = height, max(round(height * aspect), 1)
    pitch = max(size[1], 96) + gap[1]
    width = columns * pitch - gap[1]
    even = percent(1 / max(cells_seen(layer), 1))
    what = "after each layer" if layer.of_rollout else f"each on its own scale, from 0; all alike would be {even}"
    y = draw_heading(scene, "Layers" if layer.of_rollout else "Heads", what, left, top, max(width, 420))
    for head in range(count):
        row, column = divmod(head, columns)
        x, over = left + column * pitch, y + row * (size[0] + gap[0])
        scene.add(Picture(x, over, painted(found, layer, layer.maps[head], size), size))
        _mark(scene, found, layer, x, over, size)
        _caption(scene, layer, found.origin.called, head, x, over + size[0] + 3, pitch - 6)
    bottom = y + rows * (size[0] + gap[0]) + 2
    return _explained(scene, layer, found.origin.called, left, bottom, max(width, 420)), left + max(width, 420)


def _caption(scene: Scene, layer: LayerAttention, called: InputWords, head: int, x: int, y: int, room: float) -> None:
    if layer.of_rollout:
        name = layer.of_rollout[head]
        while text_width(name, SMALL_SIZE) > room and "." in name:
            name = name.partition(".")[2]
        scene.add(Text(x, y, shorten(name, room, SMALL_SIZE), SMALL_SIZE, bold=False))
    else:
        peak = float(layer.numbers.peak[head])
        most, times = f"max {percent(peak)}", peak * cells_seen(layer)
        many = f"{times:.2g}" if times < 100 else units.count(round(times))
        wide = f"{most}, {many} × alike"
        if text_width(wide, TINY_SIZE) + text_width(str(head), SMALL_SIZE, bold=True) + 10 < room:
            most = wide
        scene.add(Text(x, y, str(head), SMALL_SIZE, bold=True))
        if text_width(most, TINY_SIZE) + text_width(str(head), SMALL_SIZE, bold=True) + 10 < room:
            scene.add(Text(x + text_width(str(head), SMALL_SIZE, bold=True) + 8, y + 1, most, TINY_SIZE, GRAY))
    own = is_one_query(layer)
    away = distance(float((layer.numbers.own_distance if own else layer.numbers.distance)[head]), layer, called)
    entropy = float((layer.numbers.own_entropy if own else layer.numbers.entropy)[head])
    words = f"{bits(entropy)} bits" + ("" if away == "–" else f" · {away}")
    scene.add(Text(x, y + 18, shorten(words, room, TINY_SIZE), TINY_SIZE, GRAY))


def _explained(scene: Scene, layer: LayerAttention, called: InputWords, left: int, y: int, width: int) -> int:
    own = is_one_query(layer)
    away = np.isfinite(layer.numbers.own_distance if own else layer.numbers.distance).any()
    of = f"of the query that is drawn, {layer.query.words}" if own else f"mean{'s' * bool(away)} over all queries"
    beside = f"Beside it, how far away it looks, in {called.places} of the input. Both are" if away else "It is"
    beside += " the" if not away and not own else ""
    words = (
        f"Bits: the entropy of a query's weights, 0 where it looks at one key, {bits(most_entropy(layer))} where it"
        f" looks at all {units.count(layer.keys)} alike. {beside} {of}."
    )
    left_out = layer.heads - _SHOWN
    if left_out > 0:
        words += f" {left_out} more heads are not drawn."
    return draw_paragraph(scene, words, left, y, width)


# -- as matrices -------------------------------------------------------------------------------------------------


def _draw_matrices(scene: Scene, found: Attention, layer: LayerAttention, left: int, top: int) -> tuple[int, int]:
    """A matrix a head, queries down and keys across; one row where only the drawn query's weights were kept."""
    count = min(layer.heads, _SHOWN)
    window = layer.query.window or 0
    values = layer.rows[:count, None] if layer.weights is None else layer.weights[window, :count]
    values = np.asarray(values, np.float64)
    rows, keys = values.shape[1:]
    columns = fit_columns(count, 1.0, _AREA, (_UNDER + 10, 14))
    room = min((_AREA[1] - (columns - 1) * 14) / columns, _TILE)
    cell = max(min(room / keys, room / rows), 1 / 16)
    tile = max(round(rows * cell), 12), max(round(keys * cell), 12)
    pitch = max(tile[1], 96) + 14
    width = columns * pitch
    what = "queries down, keys across, each on its own scale, from 0"
    y = draw_heading(scene, head_name(layer, 0).split()[0].capitalize() + "s", what, left, top, max(width, 480))
    top_values = np.nan_to_num(values).reshape(count, -1).max(1)
    for head in range(count):
        row, column = divmod(head, columns)
        x, over = left + column * pitch, y + row * (tile[0] + _UNDER + 10)
        one = values[head : head + 1]
        pixels = draw_tiles(
            one, np.zeros(1), top_values[head : head + 1], palette(SEQUENTIAL), Placement(1, 1, tile, (0, 0))
        )
        scene.add(Picture(x, over, pixels, tile))
        _caption(scene, layer, found.origin.called, head, x, over + tile[0] + 3, pitch - 6)
    bottom = y + -(-count // columns) * (tile[0] + _UNDER + 10) + 2
    return _explained(scene, layer, found.origin.called, left, bottom, max(width, 480)), left + max(width, 480)
