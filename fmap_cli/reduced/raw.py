"""The pictures of reduced layers and nothing else: no photo, no text, no colour bar."""

from __future__ import annotations

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
    sizes = {(at, each.layer.name): _size(each, drawing.tile) for at, maps in enumerate(reduced.maps) for each in maps}
    widths = {  # of a layer's column: that of its largest picture, frame by frame
        name: max(
            each.units[0] * (sizes[at, name][1] + _LINE)
            for at, maps in enumerate(reduced.maps)
            for each in maps
            if each.layer.name == name
        )
        for name in reduced.layers
    }
    heights = [max(sizes[at, each.layer.name][0] for each in maps) + _LINE for at, maps in enumerate(reduced.maps)]
    scene = Scene(sum(widths.values()) - _LINE, sum(heights) - _LINE)
    refuse_large_page(reduced, scene.width, scene.height)
    lefts = {name: sum(list(widths.values())[:at]) for at, name in enumerate(widths)}
    for row, (maps, image) in enumerate(zip(reduced.maps, reduced.images, strict=True)):
        for each in maps:
            size = sizes[row, each.layer.name]
            pages = paint(each, ends[each.basis], reduced.method, image.pixels, size, drawing.overlay)
            for frame, pixels in enumerate(pages):
                left = lefts[each.layer.name] + frame * (size[1] + _LINE)
                scene.add(Picture(left, sum(heights[:row]), pixels, size))
    return scene


def _size(found: ReducedMap, tile: int | None) -> tuple[int, int]:
    """Height and width of a map's picture."""
    _, height, width = found.units
    return (height, width) if tile is None else (tile, max(round(tile * width / height), 1))
