"""What is said of a class that a network answers with, and of an object it finds: for table, JSON and CSV."""

from __future__ import annotations

from rich.text import Text

from .. import units
from ..tables.columns import Column
from .records import ClassAnswers, Confusion, Detection, Prediction


def label_of(row: Prediction | Detection) -> str:
    """The class's name, or its number where it has none."""
    return units.one_line(row.label if row.label is not None else f"class {row.index}")


PREDICTIONS: tuple[Column[Prediction], ...] = (
    Column("index", None, lambda row: row.index),
    Column("label", "class", lambda row: row.label, cell=label_of, least=16),
    Column("probability", "probability", lambda row: row.probability, units.percent, right=True),
    Column(title="", cell=lambda row: Text("█" * round(row.probability * 24), "blue")),
)


def confusion_columns(found: Confusion) -> list[Column[ClassAnswers]]:
    """A column for every class that was answered, beside how many images a folder has and how many are right."""
    columns: list[Column[ClassAnswers]] = [
        Column("class", "folder", lambda row: row.folder, units.one_line, least=12),
        Column("images", "images", lambda row: row.images, right=True),
        Column("right", "right", lambda row: row.right, right=True),
        Column("accuracy", "accuracy", lambda row: row.accuracy, _accuracy, right=True),
    ]
    for at, index in enumerate(found.columns):
        name = class_in_words(found, at)
        columns.append(
            Column(
                name,
                name,
                lambda row, at=at: row.counts[at],  # type: ignore[misc]
                cell=lambda row, at=at, index=index: _count(row, at, index),  # type: ignore[misc]
                right=True,
                priority=max(1, 9 - at),
            )
        )
    return columns


def class_in_words(found: Confusion, at: int) -> str:
    """The name of the class that a column is of."""
    label = found.labels[at]
    return units.one_line(label) if label is not None else f"class {found.columns[at]}"


def _accuracy(value: float | None) -> str:
    return "–" if value is None else units.percent(value)


def _count(row: ClassAnswers, at: int, index: int) -> Text:
    count = row.counts[at]
    return Text(str(count) if count else "·", "bold green" if index == row.index and count else "" if count else "dim")


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
