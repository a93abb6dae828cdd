"""Terminal tables. Names and paths are never read as markup."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import units

if TYPE_CHECKING:
    from ..records import Axes, FeatureMap, LayerRef, LoadedModel, Look, ModelEntry

_PIPE_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """Standard output. Where it is no terminal there is no edge to keep to, so tables get room for all columns."""
    wide = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return Console(markup=False, highlight=False, emoji=False, stderr=stderr, width=_PIPE_WIDTH if wide else None)


def new_table(*columns: str | tuple[str, str], title: str | None = None) -> Table:
    """A table with these headings; `(heading, "right")` aligns a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left")
    for column in columns:
        heading, justify = column if isinstance(column, tuple) else (column, "left")
        right = justify == "right"
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def print_looks(model: LoadedModel, looks: Sequence[tuple[Look, Sequence[str]]], arrays: str | None = None) -> None:
    """What `fmap show` found: the layers' numbers, the files written and the model's answers, image by image."""
    out = console()
    for index, (look, files) in enumerate(looks):
        if index:
            out.print()
        out.print(Text(f"{model.name} · weights: {model.weights} · image: {look.image.name}"))
        out.print()
        out.print(layers_table(look.maps))
        for file in files:
            out.print(Text.assemble("→ ", (file, "bold")), soft_wrap=True)
        if look.predictions:
            out.print()
            out.print(predictions_table(look))
    if arrays:
        out.print()
        out.print(Text.assemble("arrays → ", (arrays, "bold")), soft_wrap=True)


def layers_table(maps: Sequence[FeatureMap]) -> Table:
    """One row a layer: shape, mean, std, min, max and zeros of its whole output."""
    finite = all(not (m.stats.nan or m.stats.inf) for m in maps)
    table = new_table(
        "layer",
        ("shape", "right"),
        ("mean", "right"),
        ("std", "right"),
        ("min", "right"),
        ("max", "right"),
        ("zeros", "right"),
        *([] if finite else [("NaN", "right"), ("Inf", "right")]),
    )
    for each in maps:
        stats = each.stats
        name = Text(each.layer.name, "bold")
        if each.asked != each.layer.name and not any(sign in each.asked for sign in "*?["):
            name.append(f" ({each.asked})", "not bold")
        moments = [units.number(value) for value in (stats.mean, stats.std, stats.min, stats.max)]
        row: list[str | Text] = [name, units.shape(each.shape), *moments, units.percent(stats.zero_fraction)]
        if not finite:
            row += [units.count(stats.nan), units.count(stats.inf)]
        table.add_row(*row)
    return table


def predictions_table(look: Look) -> Table:
    """The likeliest classes, each with its probability and a bar."""
    table = new_table(f"top {len(look.predictions)}", ("probability", "right"), "")
    for each in look.predictions:
        label = each.label if each.label is not None else f"class {each.index}"
        table.add_row(Text(label), units.percent(each.probability), Text("█" * round(each.probability * 24), "blue"))
    return table


def print_layers(model: LoadedModel, layers: Sequence[tuple[LayerRef, tuple[int, ...], Axes]]) -> None:
    """`fmap layers`: a row a layer, in execution order."""
    out = console()
    total = sum(p.numel() for p in model.module.parameters())
    table = new_table("layer", "kind", "type", ("output shape", "right"), "axes", ("parameters", "right"))
    for layer, shape, axes in layers:
        parameters = units.count(layer.parameters) if layer.is_module and layer.parameters else ""
        table.add_row(
            Text(layer.name), layer.kind, Text(layer.type_name), units.shape(shape), " ".join(axes.names), parameters
        )
    out.print(table)
    out.print()
    out.print(
        Text(f"{model.name} · {len(layers)} layers in execution order · {units.count(total)} parameters in the model")
    )


def print_models(entries: Sequence[ModelEntry]) -> None:
    """`fmap models`: a row a model, from metadata alone."""
    out = console()
    table = new_table(
        "model",
        "task",
        ("parameters", "right"),
        ("multiply-adds", "right"),
        ("input", "right"),
        "accuracy",
        "weights",
    )
    for each in entries:
        size = f"{each.input_size[0]} × {each.input_size[1]}" if each.input_size else "–"
        accuracy = f"{each.accuracy[0]} {units.number(each.accuracy[1], 4)}" if each.accuracy else "–"
        table.add_row(
            Text(each.name),
            each.task,
            units.scaled(each.parameters),
            units.scaled(each.multiply_adds),
            size,
            accuracy,
            Text(_weights_names(each)),
        )
    out.print(table)
    out.print()
    plural = "s" if len(entries) != 1 else ""
    out.print(Text(f"{len(entries)} model{plural}; * marks the weights that `default` means."))


def _weights_names(entry: ModelEntry) -> str:
    names = [f"{name}*" if name == entry.default_weights else name for name in entry.weights]
    return ", ".join(names) or "–"
