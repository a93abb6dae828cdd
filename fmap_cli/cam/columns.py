"""The cells of a map for CSV, and the areas of its curves for the table."""

from __future__ import annotations

from dataclasses import dataclass

from ..tables.columns import Column
from .records import Cam, Trust
from .words import area


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the map."""

    frame: int
    row: int
    column: int
    evidence: float


CELLS: list[Column[Cell]] = [
    Column("frame", "frame", lambda cell: cell.frame, right=True),
    Column("row", "row", lambda cell: cell.row, right=True),
    Column("column", "column", lambda cell: cell.column, right=True),
    Column("evidence", "evidence", lambda cell: cell.evidence, right=True),
]


def cells_of(found: Cam) -> list[Cell]:
    frames, high, wide = found.map.shape
    return [
        Cell(frame, row, column, float(found.map[frame, row, column]))
        for frame in range(frames)
        for row in range(high)
        for column in range(wide)
    ]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve's area beside that of random orders; `good` says which way it should lie."""

    name: str
    area: float
    random: float
    least: float
    most: float
    good: str


CURVES: list[Column[Curve]] = [
    Column("curve", "curve", lambda row: row.name),
    Column("area", "area", lambda row: row.area, area, right=True),
    Column("random", "random\norder", lambda row: row.random, area, right=True),
    Column("range", "random,\nfrom … to", lambda row: [row.least, row.most], lambda ends: " … ".join(map(area, ends))),
    Column("good", "better is", lambda row: row.good),
]


def curves_of(trust: Trust) -> list[Curve]:
    ends = trust.random_area, min(trust.random_areas), max(trust.random_areas)
    return [
        Curve("insertion", trust.insertion_area, *ends, "higher"),
        Curve("deletion", trust.deletion_area, *ends, "lower"),
    ]
