"""Predictions, detections and the result of `fmap predict` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.columns import Column, of_cells
from ..tables.table import console, print_line, print_rows, print_wrapped
from .columns import DETECTIONS, PREDICTIONS, class_in_words, confusion_columns, label_of

if TYPE_CHECKING:
    from rich.console import Console

    from ..models.records import Preprocessing
    from .records import Answers, ClassAnswers, Confusion, Detection, Prediction, Predictions


def print_predictions(out: Console, predictions: Sequence[Prediction]) -> None:
    """The likeliest classes, each with its probability and a bar."""
    top = f"top {len(predictions)}"
    print_rows(out, [replace(each, title=top) if each.key == "label" else each for each in PREDICTIONS], predictions)
    _print_alone(out, predictions)


def _print_alone(out: Console, predictions: Sequence[Prediction]) -> None:
    if predictions and predictions[0].alone:
        words = "Each class has a probability of its own, a sigmoid's: they do not add up to 100 %."
        print_wrapped(out, Text(words, "dim"))


def print_detections(out: Console, found: Sequence[Detection]) -> None:
    """The objects found, the surest first, with their boxes in pixels of the picture shown."""
    print_rows(out, DETECTIONS, found)


_NUMBERS = 30  # what images, right and accuracy take beside a folder's name
NAME_WIDTH = 16  # names of images are folded where there is no room, down to this


def print_predicted(found: Predictions) -> None:
    """`fmap predict`: one image's answers with bars, or a row an image; nothing where no image gave any."""
    if not found.images:
        return
    out, origin = console(), found.origin
    head = f"{origin.model} · weights: {origin.weights}"
    if found.by_class is not None:
        print_head(out, head, origin.preprocessing)
        _print_confusion(out, found.by_class)
        return
    if found.several:
        print_head(out, head, origin.preprocessing)
        _print_rows(out, found.images, found.top, origin.called.noun)
        return
    for each in found.images:
        print_head(out, f"{head} · {origin.called.noun}: {each.image}", origin.preprocessing)
        print_predictions(out, each.predictions)


def _print_confusion(out: Console, found: Confusion) -> None:
    """A row a folder: how many of its images were answered with which class, and how many with its own.

    A class has a column of its own where there is room for all of them; else a row lists its classes.
    """
    columns = confusion_columns(found)
    names = [class_in_words(found, at) for at in range(len(found.columns))]
    folders = max(cell_len(units.one_line(row.folder)) for row in found.rows)
    left = out.width - min(folders, out.width // 3) - _NUMBERS
    if sum(cell_len(each) + 2 for each in names) > left:
        counted: Column[ClassAnswers] = Column(
            title="answered with", cell=lambda row: _wrapped(_counts(row, names), left)
        )
        columns = [*columns[: len(columns) - len(names)], counted]
    print_rows(out, columns, found.rows)
    out.print()
    if found.accuracy is not None:
        right = sum(row.right or 0 for row in found.rows)
        out.print(Text(f"{right} of {found.images} right, {units.percent(found.accuracy)}"))


def _counts(row: ClassAnswers, names: Sequence[str]) -> list[str]:
    """The classes that a folder's images were answered with, the commonest first."""
    order = sorted((at for at, count in enumerate(row.counts) if count), key=lambda at: -row.counts[at])
    return [f"{names[at]} {row.counts[at]}" for at in order]


def print_head(out: Console, head: str, preprocessing: Preprocessing | None) -> None:
    print_line(out, Text(units.one_line(head)))
    print_fed(out, preprocessing)
    out.print()


def _print_rows(out: Console, answers: Sequence[Answers], top: int, noun: str) -> None:
    names = [Text(units.one_line(each.image)) for each in answers]
    widest = max(cell_len(name.plain) for name in names)
    room = max(out.width - min(widest, max(out.width // 3, NAME_WIDTH)) - 3, NAME_WIDTH)
    columns = of_cells(Column(title=noun, least=NAME_WIDTH), Column(title=f"top {top}" if top > 1 else "answer"))
    print_rows(
        out, columns, [(name, _wrapped(_phrases(each), room)) for name, each in zip(names, answers, strict=True)]
    )
    _print_alone(out, answers[0].predictions)


def _phrases(answers: Answers) -> list[str]:
    """Each answer with its probability."""
    return [f"{label_of(each)} {units.percent(each.probability)}" for each in answers.predictions]


def _wrapped(phrases: Sequence[str], width: int) -> Text:
    """The phrases in lines of at most `width`, none of them broken; the first is bold.

    >>> _wrapped(["espresso 95 %", "cup 2 %", "pot 1 %"], 24).plain.split("\\n")
    ['espresso 95 % · cup 2 %', 'pot 1 %']
    """
    lines = [phrases[0]]
    for phrase in phrases[1:]:
        longer = f"{lines[-1]} · {phrase}"
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(phrase)
    text = Text("\n".join(lines))
    text.stylize("bold", 0, len(phrases[0]))
    return text
