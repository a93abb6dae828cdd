"""Predictions, detections and the result of `fmap predict` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.old import Column, print_table
from ..tables.table import console

if TYPE_CHECKING:
    from rich.console import Console

    from ..models.records import Preprocessing
    from .records import Answers, Detection, Prediction, Predictions


def print_predictions(out: Console, predictions: Sequence[Prediction]) -> None:
    """The likeliest classes, each with its probability and a bar."""
    columns = [Column(f"top {len(predictions)}", least=16), Column("probability", right=True), Column("")]
    rows: list[Sequence[Text | str]] = []
    for each in predictions:
        label = each.label if each.label is not None else f"class {each.index}"
        bar = Text("█" * round(each.probability * 24), "blue")
        rows.append((units.one_line(label), units.percent(each.probability), bar))
    print_table(out, columns, rows)


def print_detections(out: Console, found: Sequence[Detection]) -> None:
    """The objects found, the surest first, with their boxes in pixels of the picture shown."""
    columns = [Column("object", least=16), Column("score", right=True), Column("top, left, bottom, right", right=True)]
    rows: list[Sequence[Text | str]] = []
    for each in found:
        label = each.label if each.label is not None else f"class {each.index}"
        box = ", ".join(f"{edge:.0f}" for edge in each.box)
        rows.append((units.one_line(label), f"{each.score:.2f}", box))
    print_table(out, columns, rows)


NAME_WIDTH = 16  # names of images are folded where there is no room, down to this


def print_predicted(found: Predictions) -> None:
    """`fmap predict`: one image's answers with bars, or a row an image."""
    out, origin = console(), found.origin
    head = f"{origin.model} · weights: {origin.weights}"
    if found.several:
        print_head(out, head, origin.preprocessing)
        _print_rows(out, found.images, found.top)
        return
    for each in found.images:
        print_head(out, f"{head} · image: {each.image}", origin.preprocessing)
        print_predictions(out, each.predictions)


def print_head(out: Console, head: str, preprocessing: Preprocessing | None) -> None:
    out.print(Text(units.one_line(head)), soft_wrap=True)
    print_fed(out, preprocessing)
    out.print()


def _print_rows(out: Console, answers: Sequence[Answers], top: int) -> None:
    names = [Text(units.one_line(each.image)) for each in answers]
    widest = max(cell_len(name.plain) for name in names)
    room = max(out.width - min(widest, max(out.width // 3, NAME_WIDTH)) - 3, NAME_WIDTH)
    columns = [Column("image", least=NAME_WIDTH), Column(f"top {top}" if top > 1 else "answer")]
    rows = [(name, _wrapped(_phrases(each), room)) for name, each in zip(names, answers, strict=True)]
    print_table(out, columns, rows)


def _phrases(answers: Answers) -> list[str]:
    """Each answer with its probability."""
    return [
        f"{units.one_line(each.label) if each.label is not None else f'class {each.index}'}"
        f" {units.percent(each.probability)}"
        for each in answers.predictions
    ]


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
