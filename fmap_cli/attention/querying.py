"""Which query is drawn: the class token, a unit by its row and column, or the mean over all."""

from __future__ import annotations

import numpy as np

from ..errors import LayerError
from .placing import Placed
from .records import Asked, Grid, Query


def query_of(name: str, placed: Placed, count: int, at: Asked | None) -> Query:
    """The query asked for; without, the class token where there is one, else the unit in the middle. Raises
    LayerError."""
    places, grid = placed.queries.places, placed.queries.grid
    if at == "mean":
        return _mean(placed, count)
    if places is None or grid is None:
        return _by_number(name, placed, count, at)
    has_token = placed.windows == 1 and bool(np.isnan(places[:, 0, 0]).all())
    if at == "class" or (at is None and has_token):
        if not has_token:
            raise LayerError(
                f"layer {name!r} has no class token: each of its queries is a place of the picture.",
                hint=f"--at takes {takes(grid)}, or mean.",
            )
        return Query("the class token", at, 0, 0)
    middle = tuple(each // 2 for each in grid.size)
    place = middle if at in (None, "center") else at
    assert isinstance(place, tuple)
    return _by_place(name, placed, grid, place, at)


def _mean(placed: Placed, count: int) -> Query:
    cells = placed.queries.cells
    known = placed.windows * count if cells is None else int((cells >= 0).sum()) or placed.windows * count
    return Query("all units" if known > 1 else "its only query", "mean")


def _by_number(name: str, placed: Placed, count: int, at: Asked | None) -> Query:
    """One of queries without a place: a class token alone, or learned ones, or such as cannot be followed."""
    learned = placed.queries.places is None and placed.keys.places is not None
    nowhere = placed.queries.places is not None
    what = "class token" if nowhere and count == 1 else "learned query" if learned else "query"
    if at is None or at in ("class", "center"):
        if count > 1:
            return Query(f"all its {count} {'learned ' if learned else ''}queries", None)
        return Query(f"the {what}", None, 0, 0)
    assert isinstance(at, tuple)
    if len(at) == 1 and at[0] < count:
        return Query(f"{what} {at[0]}", at, 0, at[0])
    asked = ",".join(map(str, at))
    raise LayerError(
        f"the queries of layer {name!r} have no place in the picture, so there is no unit {asked}.",
        hint=f"--at takes a query's number, 0 to {count - 1}, or mean.",
    )


def takes(grid: Grid) -> str:
    """What a place may be, in words."""
    names = {1: ["steps"], 2: ["rows", "columns"], 3: ["frames", "rows", "columns"]}[len(_lengths(grid))]
    return ", ".join(f"{each} 0 to {size - 1}" for each, size in zip(names, _lengths(grid), strict=True))


def _lengths(grid: Grid) -> tuple[int, ...]:
    return grid.size[-1:] if len(grid.size) == 2 and len(grid.rows) == 1 and len(grid.columns) > 1 else grid.size


def _by_place(name: str, placed: Placed, grid: Grid, given: tuple[int, ...], at: Asked | None) -> Query:
    lengths, place = _lengths(grid), given
    if len(place) == len(grid.size) and len(lengths) < len(place) and place[0] == 0:
        place = place[1:]
    if len(place) == len(lengths) - 1 and len(lengths) == 3:
        place = (lengths[0] // 2, *place)
    if len(place) != len(lengths) or not all(0 <= each < size for each, size in zip(place, lengths, strict=True)):
        asked = ",".join(map(str, given))
        raise LayerError(
            f"there is no unit {asked} among the queries of layer {name!r}, which are {' × '.join(map(str, lengths))}.",
            hint=f"--at takes {takes(grid)}; class, or mean.",
        )
    whole = (0,) * (3 - len(place)) + place
    cell = (whole[0] * len(grid.rows) + whole[1]) * len(grid.columns) + whole[2]
    assert placed.queries.cells is not None
    found = np.argwhere(placed.queries.cells == cell)
    if not len(found):
        raise LayerError(
            f"no query of layer {name!r} stands at {','.join(map(str, given))}.", hint="Give another --at."
        )
    names = {1: ["step"], 2: ["row", "column"], 3: ["frame", "row", "column"]}[len(place)]
    words = ", ".join(f"{each} {number}" for each, number in zip(names, place, strict=True))
    words = f"the unit at {words}" + (" (the middle)" if at is None else "")
    pixels = (float(grid.rows[whole[1]]), float(grid.columns[whole[2]]))
    return Query(words, at, int(found[0, 0]), int(found[0, 1]), place, pixels)
