"""The result of `fmap show` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .. import units
from ..answers.table import print_detections, print_predictions
from ..models.table import print_fed
from ..tables.table import console, print_files, print_line, print_rows
from .columns import COLUMNS

if TYPE_CHECKING:
    from .records import FeatureMap, Look


def print_looks(looks: Sequence[tuple[Look, Sequence[str]]], arrays: str | None = None) -> None:
    """What `fmap show` found: the layers' numbers, the files written and the model's answers, image by image."""
    out = console()
    for index, (look, files) in enumerate(looks):
        if index:
            out.print()
        head = f"{look.origin.model} · weights: {look.origin.weights} · {look.origin.called.noun}: {look.image.name}"
        print_line(out, Text(units.one_line(head)))
        print_fed(out, look.origin.preprocessing)
        out.print()
        _print_statistics(out, look.maps)
        print_files(out, *files)
        if look.predictions:
            out.print()
            print_predictions(out, look.predictions)
        if look.detections:
            out.print()
            print_detections(out, look.detections)
        elif look.detects:
            out.print()
            out.print(Text("no object scored enough to be shown: see --score"))
    if arrays:
        out.print()
        print_files(out, arrays, what="arrays")


def _print_statistics(out: Console, maps: Sequence[FeatureMap]) -> None:
    """One row a layer: shape, mean, std, min, max and zeros of its whole output."""
    print_rows(out, COLUMNS, maps)
    for each in maps:
        if each.role:
            print_line(out, Text(f"{units.one_line(each.layer.name)}: {units.one_line(each.role)}"))
