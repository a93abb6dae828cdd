"""What is said of a class that a network answers with, and of an object it finds: for table, JSON and CSV."""

from __future__ import annotations

from rich.text import Text

from .. import units
from ..tables.columns import Column
from .records import Detection, Prediction


def label_of(row: Prediction | Detection) -> str:
    """The class's name, or its number where it has none."""
    return units.one_line(row.label if row.label is not None else f"class {row.index}")


PREDICTIONS: tuple[Column[Prediction], ...] = (
    Column("index", None, lambda row: row.index),
    Column("label", "class", lambda row: row.label, cell=label_of, least=16),
    Column("probability", "probability", lambda row: row.probability, units.percent, right=True),
    Column(title="", cell=lambda row: Text("█" * round(row.probability * 24), "blue")),
)
DETECTIONS: tuple[Column[Detection], ...] = (
    Column("index", None, lambda row: row.index),
    Column("label", "object", lambda row: row.label, cell=label_of, least=16),
    Column("score", "score", lambda row: row.score, "{:.2f}".format, right=True),
    Column(
        "box",
        "top, left, bottom, right",
        lambda row: list(row.box),
        lambda box: ", ".join(f"{edge:.0f}" for edge in box),
        right=True,
    ),
)
"""`box` is in pixels of the picture shown."""
