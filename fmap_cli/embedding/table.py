"""The result of `fmap embed` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..answers.table import NAME_WIDTH, print_head
from ..tables.columns import Column, of_cells
from ..tables.table import console, print_rows, print_wrapped

if TYPE_CHECKING:
    from rich.console import Console

    from .records import Embeddings


def print_embeddings(embeddings: Embeddings, files: Sequence[str]) -> None:
    """`fmap embed`: where the vectors come from, then where they went, their neighbours, or how long they are."""
    out, origin = console(), embeddings.origin
    layer = f"{embeddings.layer} {units.shape(embeddings.shape)}"
    if embeddings.enters is not None:
        layer += f", what {embeddings.enters} reads"
    pooled = f"pool: {embeddings.pooling}"
    if embeddings.pooling == "none":
        pooled = "flattened" if sum(length > 1 for length in embeddings.shape) > 1 else "a vector already"
    print_head(
        out,
        f"{origin.model} · weights: {origin.weights} · layer: {layer} · {pooled}",
        origin.preprocessing,
    )
    if embeddings.neighbours is not None:
        _print_neighbours(out, embeddings)
    elif not files:
        _print_lengths(out, embeddings)
    if files:
        if embeddings.neighbours is not None:
            out.print()
        count, dimension = embeddings.vectors.shape
        matrix = f": {count} × {dimension} {embeddings.vectors.dtype}"
        for file in files:
            what = matrix if file == files[0] else ": the images' names, model, weights, layer and pool"
            out.print(Text.assemble("→ ", (units.one_line(file), "bold"), what), soft_wrap=True)
    elif embeddings.neighbours is None:
        out.print()
        out.print(Text("-o vectors.npz keeps the vectors (or .npy, .csv, .safetensors)."), soft_wrap=True)
        if len(embeddings.images) > 1:
            out.print(
                Text(f"--similar finds each {embeddings.origin.called.noun}'s nearest neighbours."), soft_wrap=True
            )


def _print_lengths(out: Console, embeddings: Embeddings) -> None:
    columns = of_cells(
        Column(title=embeddings.origin.called.noun, least=NAME_WIDTH),
        Column(title="dimension", right=True),
        Column(title="norm", right=True),
    )
    dimension = str(embeddings.vectors.shape[1])
    rows = [
        (units.one_line(name), dimension, units.number(float(norm), 4))
        for name, norm in zip(embeddings.images, embeddings.norms, strict=True)
    ]
    print_rows(out, columns, rows)


def _print_neighbours(out: Console, embeddings: Embeddings) -> None:
    """Each image with the nearest others, the nearest first."""
    columns = of_cells(
        Column(title=embeddings.origin.called.noun, least=NAME_WIDTH, cut="start"),
        Column(title="nearest", least=NAME_WIDTH, cut="start"),
        Column(title="cosine", right=True),
    )
    rows: list[tuple[str, str, str]] = []
    for name, near in zip(embeddings.images, embeddings.neighbours or (), strict=True):
        rows += [
            (units.one_line(name) if not rank else "", units.one_line(embeddings.images[other]), f"{cosine:.4f}")
            for rank, (other, cosine) in enumerate(near)
        ] or [(units.one_line(name), "– (none has a direction to compare)", "–")]
    if print_rows(out, columns, rows).cut:
        print_wrapped(out, Text("…: the start of the name is cut off; --json has them whole.", "dim"))
