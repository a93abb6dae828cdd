"""The pictures of reduced layers and nothing else: no photo, no text, no colour bar."""

from __future__ import annotations

from itertools import accumulate

from ..drawing.scene import Picture, Scene
from .colours import ends_of, paint
from .grid import refuse_large_page
from .records import Drawing, Reduced, ReducedMap

_LINE = 1  # pixels of white between pictures


def raw_figure(reduced: Reduced, drawing: Drawing) -> Scene:
    """Images down, layers across, a clip's frames side by side, a white line of one pixel between them.

    A unit is a pixel, unless `drawing.tile` says how high each picture is. Raises OutputError for a page that few
    programs would open.
    """
    ends = [ends_of(reduced, number, drawing) for number in range(len(reduced.bases))]
    scene = Scene()
    widths = dict.fromkeys(reduced.layers, 0)  # of a layer's column: that of its largest picture, frame by frame
    tops = [0]
    for maps in reduced.maps:
        for each in maps:
            widths[each.layer.name] = max(widths[each.layer.name], each.units[0] * (_size(each, drawing)[1] + _LINE))
        tops.append(tops[-1] + max(_size(each, drawing)[0] for each in maps) + _LINE)
    *lefts, width = accumulate(widths.values(), initial=0)
    scene.width, scene.height = width - _LINE, tops[-1] - _LINE
    refuse_large_page(reduced, scene.width, scene.height)
    columns = dict(zip(widths, lefts, strict=True))
    for maps, image, top in zip(reduced.maps, reduced.images, tops, strict=False):
        for each in maps:
            size = _size(each, drawing)
            pages = paint(each, ends[each.basis], reduced.method, image.pixels, size, drawing.overlay)
            for frame, pixels in enumerate(pages):
                scene.add(Picture(columns[each.layer.name] + frame * (size[1] + _LINE), top, pixels, size))
    return scene


def _size(found: ReducedMap, drawing: Drawing) -> tuple[int, int]:
    """Height and width of a map's picture."""
    (_, height, width), tile = found.units, drawing.tile
    return (height, width) if tile is None else (tile, max(round(tile * width / height), 1))
