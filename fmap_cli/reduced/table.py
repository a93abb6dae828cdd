"""Reduced layers in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .colours import basis_name
from .columns import CLUSTERS, COMPONENTS, MAPS, MapRow, cluster_rows, component_rows
from .records import Reduced
from .words import basis_in_words, foreground_in_words, headline

if TYPE_CHECKING:
    from rich.console import Console


def print_reduced(reduced: Reduced, files: Sequence[str], arrays: str | None) -> None:
    """A row for each image and layer, then what the colours mean, and the files."""
    out, origin = console(), reduced.origin
    noun = origin.called.noun
    images = f"{noun}: {reduced.images[0].name}" if len(reduced.images) == 1 else f"{len(reduced.images)} {noun}s"
    print_line(out, Text(units.one_line(f"{origin.model} · weights: {origin.weights} · {images}")))
    print_fed(out, origin.preprocessing)
    out.print()
    print_wrapped(out, Text(f"{units.one_line(headline(reduced))}.", "bold"))
    hidden = {"image"} if len(reduced.images) == 1 else set()
    hidden |= {"basis"} if len(reduced.bases) == 1 or reduced.method not in ("pca", "kmeans") else set()
    columns = [replace(each, title=None) if each.key in hidden else each for each in MAPS]
    print_rows(out, columns, map_rows(reduced))
    for number in range(len(reduced.bases)):
        _print_basis(out, reduced, number)
    for each in dict.fromkeys(note for row in reduced.maps for found in row for note in found.notes):
        print_wrapped(out, Text(f"{each[0].upper()}{each[1:]}.", "dim"))
    if files or arrays:
        out.print()
    print_files(out, *files)
    print_files(out, arrays, what="arrays")


def map_rows(reduced: Reduced) -> list[MapRow]:
    """A row for each image and layer, image by image."""
    return [
        MapRow(image.name, found, reduced.method, reduced.origin.called)
        for image, row in zip(reduced.images, reduced.maps, strict=True)
        for found in row
    ]


def _print_basis(out: Console, reduced: Reduced, number: int) -> None:
    basis = reduced.bases[number]
    if basis.components is not None or basis.clusters is not None:
        out.print()
        print_wrapped(out, Text(f"{units.one_line(basis_in_words(reduced, number))}."))
    if basis.components is not None and len(basis.low):
        print_rows(out, COMPONENTS, component_rows(basis))
    if basis.clusters is not None:
        print_rows(out, CLUSTERS, cluster_rows(basis))
    if basis.foreground is not None:
        print_wrapped(out, Text(foreground_in_words(basis)))
    if basis.not_finite:
        name = f" of basis {basis_name(number)}" if len(reduced.bases) > 1 else ""
        what = "are zero in all channels or not finite" if reduced.method == "similar" else "are not finite"
        print_wrapped(out, Text(f"{units.count(basis.not_finite)} units{name} {what}, and left out."))
