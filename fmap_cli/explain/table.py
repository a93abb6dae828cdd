"""`fmap explain` in the terminal: the formula with this unit's numbers, its terms, what follows, and the recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.columns import Column
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .columns import COLUMNS
from .records import AS_ASKED, ROUNDING, Explanation, Part, Term
from .words import (
    added_up,
    apart,
    channel_name,
    in_lines,
    input_in_words,
    mixture,
    not_numbers,
    part_name,
    plain,
    reads,
    shares,
    signed,
    subject,
    symbols,
    unit_name,
    weight_times_value,
    with_numbers,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

_WIDEST_WINDOW = 5  # cells of a kernel that are printed side by side


_GLUE = "\ue000"
"""Stands for a space at which no line may break; a no-break space is one like any other to what breaks lines."""


def print_explanation(found: Explanation, file: Path | None = None) -> None:
    """Why the unit has its value."""
    out, origin = console(), found.origin
    head = f"{origin.model} · {origin.weights.in_words} · {origin.called.noun}: {found.image.name}"
    print_line(out, Text(units.one_line(head)))
    print_fed(out, origin.preprocessing)
    out.print()
    print_wrapped(out, Text.assemble((units.layer_name(found.layer.name), "bold"), f"  {found.settings.in_words}"))
    for note in found.notes:
        print_wrapped(out, Text(f"note: {note}", "dim"))
    out.print()
    _print_formula(out, found)
    out.print()
    _print_terms(out, found)
    if found.terms and found.terms[0].kernel.ndim == 2 and found.terms[0].kernel.size > 1:
        _print_window(out, found.terms[0], channel_name(found, found.terms[0].channel))
    if found.through:
        _print_steps(out, found)
    if found.recipe is not None:
        _print_recipe(out, found.recipe)
    print_files(out, file)


def _print_formula(out: Console, found: Explanation) -> None:
    print_formula(out, symbols(found.settings), "", "dim")
    name = unit_name(found)
    before = " " * len(name)
    lines = [with_numbers(found)]
    if found.settings.pointwise and len(found.contributions) > 1 and not found.settings.depthwise:
        lines.append(mixture(found))
    lines.append(added_up(found))
    for at, line in enumerate(lines):
        print_formula(out, line, f"{before if at else name} = ")
    total = plain(found.total, 8)
    print_formula(out, f"{total}   {apart(found)}", f"{before} = ", bold=len(total))
    facts = [found.is_score and subject(found), found.picked != AS_ASKED and found.picked]
    if any(facts):
        print_wrapped(out, Text(f"{name} is {', '.join(each for each in facts if each)}", "dim"))


def print_formula(out: Console, formula: str, head: str, style: str = "", *, hanging: int = 0, bold: int = 0) -> None:
    """A sum in lines that each begin with a whole term and its sign, under one another after the `head`, all but the
    first further in by `hanging`. The first `bold` signs are bold."""
    rest = " " * (len(head) + hanging)
    for at, line in enumerate(in_lines(formula, max(out.width - len(rest), 1))):
        text = Text(line, style)
        text.stylize("bold", 0, 0 if at else bold)
        print_wrapped(out, text, head=rest if at else head)


def _print_terms(out: Console, found: Explanation) -> None:
    under = reads(found)
    print_wrapped(out, Text(f"X is {input_in_words(found)}" + (f": {under}" if under else "")))
    if found.settings.depthwise:
        first = found.inputs.start
        only = f"input channel {first}" if len(found.inputs) == 1 else f"input channels {first} to {found.inputs[-1]}"
        print_wrapped(out, Text(f"depthwise: output channel {found.weight_channel} reads {only} alone"))
    elif found.settings.groups > 1:
        some = f"input channels {found.inputs[0]} to {found.inputs[-1]}"
        print_wrapped(out, Text(f"grouped: output channel {found.weight_channel} reads {some}"))
    warning = not_numbers(found)
    if warning:
        print_wrapped(out, Text(warning, "bold red"))
    out.print()
    named: list[Column[Term]] = []
    if found.of_picture or found.map_inputs:
        named = [Column(title="", cell=lambda term: channel_name(found, term.channel))]
    print_rows(out, [*COLUMNS, *named], found.terms)
    count, rest = found.rest
    if count:
        print_wrapped(
            out,
            Text(
                f"the other {count:,} terms add up to {plain(rest, 4)}"
                if count > 1
                else f"the other term is {plain(rest, 4)}"
            ),
        )
    print_wrapped(out, Text(shares(found), "dim"))
    out.print()


def _print_window(out: Console, term: Term, name: str) -> None:
    """The strongest term, cell by cell: the kernel, the patch under it, and their products."""
    if max(term.kernel.shape) > _WIDEST_WINDOW:
        return
    out.print(Text(f"{name}, cell by cell"), soft_wrap=True)
    blocks = [
        [[plain(float(cell), 3) for cell in row] for row in block]
        for block in (term.kernel, term.patch, term.kernel * term.patch)
    ]
    width = max(len(cell) for block in blocks for row in block for cell in row)
    wide = (width + 1) * term.kernel.shape[1] - 1
    titles = (f"{'W':^{wide}}", f"{'X':^{wide}}", f"{f'W · X, Σ = {plain(term.contribution, 4)}':^{wide}}")
    out.print(Text(f"  {titles[0]}     {titles[1]}     {titles[2]}", "dim"), soft_wrap=True)
    middle = len(blocks[0]) // 2
    for at, rows in enumerate(zip(*blocks, strict=True)):
        w, x, product = (" ".join(f"{cell:>{width}}" for cell in row) for row in rows)
        times, equal = ("·", "=") if at == middle else (" ", " ")
        out.print(Text(f"  {w}  {times}  {x}  {equal}  {product}".rstrip()), soft_wrap=True)
    out.print()


def _print_steps(out: Console, found: Explanation) -> None:
    print_wrapped(out, Text("what follows", "bold"))
    for step in found.steps:
        where = f" ({units.layer_name(step.layer)})" if step.layer else ""
        words = f"{step.operation}{where}: {step.formula} = {plain(step.after, 5)}"
        print_formula(out, words, "  ", hanging=2)
        if step.note:
            print_wrapped(out, Text(step.note, "dim"), indent=4)
    if found.stopped:
        print_wrapped(out, Text(units.one_line(found.stopped), "dim"), indent=2)
    if ended(found):
        print_wrapped(out, Text(units.one_line(ended(found))), indent=2)
    out.print()


def ended(found: Explanation) -> str:
    """Where a value that is not 0 becomes 0 on its way, so that what reads it sees nothing of it; else empty."""
    lost = next((step for step in found.steps if step.before != 0 and step.after == 0), None)
    if lost is None:
        return ""
    what = "This value" if found.picked == AS_ASKED else f"This value, {found.picked},"
    where = f" ({units.layer_name(lost.layer)})" if lost.layer else ""
    return f"{what} does not survive: {lost.operation}{where} makes 0 of it."


def _print_recipe(out: Console, recipe: Part) -> None:
    print_wrapped(out, Text("what it is made of: each line is the sum of the lines under it", "bold"))
    bracket = "in brackets: the weight it counts with, all that lies between multiplied in, × its value"
    print_wrapped(out, Text(bracket, "dim"))
    for before, under, words in _tree(recipe, "", "  "):
        whole = units.one_line(words).replace(" × ", f"{_GLUE}×{_GLUE}")
        lines = Text(whole).wrap(out, max(out.width - len(under), 24), overflow="fold")
        for at, line in enumerate(lines):
            line.rstrip()
            line.plain = line.plain.replace(_GLUE, " ")
            out.print(Text(under if at else before) + line, soft_wrap=True)
    out.print()


def _tree(part: Part, before: str, under: str) -> Iterator[tuple[str, str, str]]:
    """A line for a part and, under it, its own: the branches before it, those before what does not fit, its words.

    `before` and `under` are the branches drawn on its line and the next.
    """
    root = not before
    small = 1e-5 * abs(part.contribution)
    parts = [each for each in part.parts if each.words != ROUNDING or abs(each.contribution) > small]
    words = f"{plain(part.contribution, 5) if root else signed(part.contribution, 4)}  {part_name(part)}"
    if not root and (product := weight_times_value(part)):
        words += f"  ({product})"
    if part.words and part.channel is not None:
        words += f"  through {part.words}"
    yield before or "  ", under + ("│  " if parts else "   "), words
    for at, each in enumerate(parts):
        last = at == len(parts) - 1
        yield from _tree(each, under + ("└─ " if last else "├─ "), under + ("   " if last else "│  "))
