"""Tables of many images: a classifier's answers, embeddings and their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from .. import units
from .table import Column, console, print_fed, print_predictions, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..records import Answers, Embeddings, LoadedModel, Preprocessing

_NAME_WIDTH = 16  # names of images are folded where there is no room, down to this


def print_answers(model: LoadedModel, answers: Sequence[Answers], top: int, *, several: bool) -> None:
    """`fmap predict`: one image's answers with bars, or a row an image."""
    out = console()
    head = f"{model.name} · weights: {model.weights}"
    if several:
        _print_head(out, head, model.feeding)
        _print_rows(out, answers, top)
        return
    for each in answers:
        _print_head(out, f"{head} · image: {each.image}", model.feeding)
        print_predictions(out, each.predictions)


def _print_head(out: Console, head: str, preprocessing: Preprocessing | None) -> None:
    out.print(Text(units.one_line(head)), soft_wrap=True)
    print_fed(out, preprocessing)
    out.print()


def _print_rows(out: Console, answers: Sequence[Answers], top: int) -> None:
    names = [Text(units.one_line(each.image)) for each in answers]
    widest = max(cell_len(name.plain) for name in names)
    room = max(out.width - min(widest, max(out.width // 3, _NAME_WIDTH)) - 3, _NAME_WIDTH)
    columns = [Column("image", least=_NAME_WIDTH), Column(f"top {top}" if top > 1 else "answer")]
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


def print_embeddings(embeddings: Embeddings, files: Sequence[str]) -> None:
    """`fmap embed`: where the vectors come from, then where they went, their neighbours, or how long they are."""
    out = console()
    origin = f"{embeddings.layer} {units.shape(embeddings.shape)}"
    if embeddings.enters is not None:
        origin += f", what {embeddings.enters} reads"
    pooled = f"pool: {embeddings.pooling}"
    if embeddings.pooling == "none":
        pooled = "flattened" if sum(length > 1 for length in embeddings.shape) > 1 else "a vector already"
    _print_head(
        out,
        f"{embeddings.model} · weights: {embeddings.weights} · layer: {origin} · {pooled}",
        embeddings.preprocessing,
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
            out.print(Text("--similar finds each image's nearest neighbours."), soft_wrap=True)


def _print_lengths(out: Console, embeddings: Embeddings) -> None:
    columns = [Column("image", least=_NAME_WIDTH), Column("dimension", right=True), Column("norm", right=True)]
    dimension = str(embeddings.vectors.shape[1])
    rows = [
        (units.one_line(name), dimension, units.number(float(norm), 4))
        for name, norm in zip(embeddings.images, embeddings.norms, strict=True)
    ]
    print_table(out, columns, rows)


def _print_neighbours(out: Console, embeddings: Embeddings) -> None:
    """Each image with the nearest others, the nearest first."""
    columns = [
        Column("image", least=_NAME_WIDTH),
        Column("nearest", least=_NAME_WIDTH),
        Column("cosine", right=True),
    ]
    rows: list[tuple[str, str, str]] = []
    for name, near in zip(embeddings.images, embeddings.neighbours or (), strict=True):
        rows += [
            (units.one_line(name) if not rank else "", units.one_line(embeddings.images[other]), f"{cosine:.4f}")
            for rank, (other, cosine) in enumerate(near)
        ] or [(units.one_line(name), "– (none has a direction to compare)", "–")]
    print_table(out, columns, rows)
