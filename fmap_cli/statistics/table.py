"""`fmap stats` in the terminal: a row a layer, a channel or a class, and below them the findings in words.

A row is one line at every width: of long names the start goes, numbers are never cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..tables.table import console, print_files, print_rows, print_wrapped, repeats_in_words
from . import columns
from .columns import SEVERITIES, STYLES, channel_rows, layer_row
from .moments import BIN_EDGES, dead_channels
from .spark import BEYOND

if TYPE_CHECKING:
    from rich.console import Console

    from ..tables.table import Shown
    from .records import Finding, LayerRecord, Run

_MOST_A_GROUP = 6  # findings of one check
_MOST_CHANNELS = 8  # indices of a finding
_HOW_TO_LIST = (
    "For all channels of a layer: --json (findings, channels), or --per-channel --layer NAME with the numbers of each."
)
_MOST_NAMED = 5  # images that could not be read


# -- the three tables --------------------------------------------------------------------------------------------


def print_run(
    run: Run,
    findings: Sequence[Finding],
    *,
    shown: Sequence[LayerRecord],
    written: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """A row for each layer `shown`, in their order; then all findings, the files written and the totals."""
    out = console()
    _print_head(out, run)
    out.print()
    flagged: dict[str, list[Finding]] = {}
    for finding in findings:
        flagged.setdefault(finding.layer, []).append(finding)
    here = {each.layer.name for each in shown}
    dead = dead_channels(run.layers)
    rows = [
        layer_row(each, dead, flags=flagged.get(each.layer.name, ()), repeats=each.same_as in here) for each in shown
    ]
    table = print_rows(out, columns.LAYERS, rows, style=lambda row: "dim" if row.repeats else "")
    _print_legend(
        out, table, images=_several(run.images, run.origin.called.noun), repeats=any(row.repeats for row in rows)
    )
    out.print()
    _print_findings(out, run, findings)
    _print_end(out, run, len(shown), written, notes)


def notes_on(run: Run, shown: Sequence[LayerRecord]) -> list[str]:
    """What the table does not say by itself."""
    notes = []
    names = {each.layer.name for each in shown}
    seldom = [each for each in shown if each.images < run.images]
    if seldom:
        listed = ", ".join(f"{each.layer.name} in {each.images}" for each in seldom[:5])
        more = f" and {len(seldom) - 5} more layers" if len(seldom) > 5 else ""
        notes.append(f"these layers did not run for all {run.images} images: {listed}{more}.")
    twins = sum(each.same_as in names and each.layer.name not in names for each in run.layers)
    if twins:
        notes.append(repeats_in_words(twins))
    return notes


def print_channels(
    run: Run,
    records: Sequence[LayerRecord],
    *,
    sort: str = "layer",
    reverse: bool = False,
    top: int | None = None,
    written: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """A row for each channel of these layers, sorted as `columns.order` does; the first `top` rows of all layers."""
    out = console()
    _print_head(out, run)
    out.print()
    rows = [row for record in records for row in channel_rows(record)]
    chosen = [rows[at] for at in columns.order(records, sort, reverse=reverse)[:top]]
    _print_legend(
        out, print_rows(out, columns.sorted_by(sort), chosen), images=_several(run.images, run.origin.called.noun)
    )
    out.print()
    if len(chosen) < len(rows):
        direction = "ascending" if reverse != (sort in ("layer", "channel")) else "descending"
        print_wrapped(out, Text(f"{len(chosen)} of {units.count(len(rows))} channels, by {sort}, {direction}."))
    _print_end(out, run, len(records), written, notes)


def print_classes(
    run: Run,
    shown: Sequence[LayerRecord],
    *,
    written: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """For each layer `shown` a row a class in the classes' order, and one for all images together."""
    out = console()
    _print_head(out, run)
    groups = [(each.name, {record.layer.name: record for record in each.layers}) for each in run.classes]
    dead = {each.name: dead_channels(each.layers) for each in run.classes}
    dead_in_all = dead_channels(run.layers)
    for whole in shown:
        everywhere = layer_row(whole, dead_in_all)
        name = whole.layer.name
        rows = [layer_row(records[name], dead[group], class_name=group) for group, records in groups if name in records]
        out.print()
        head = Text(units.one_line(name), "bold")
        head.append(f"  {units.one_line(whole.layer.type_name)} {columns.shape(everywhere)}", "not bold dim")
        print_wrapped(out, head)
        table = print_rows(out, columns.CLASSES, [*rows, everywhere], tell=whole is shown[-1])
    if shown:
        _print_legend(out, table)
    out.print()
    _print_end(out, run, len(shown), written, notes)


# -- what stands above and below ---------------------------------------------------------------------------------


def _print_head(out: Console, run: Run) -> None:
    images = _several(run.images, run.origin.called.noun)
    named = [units.one_line(each) for each in run.sources]
    if named:
        images += f" from {', '.join(named[:2])}" + (f" and {len(named) - 2} more" if len(named) > 2 else "")
    dtype = f", {run.origin.dtype}" if run.origin.dtype != "float32" else ""
    parts = [run.origin.model, f"weights: {run.origin.weights}{dtype}", images]
    if run.origin.input_in_words:
        parts.append(f"input: {run.origin.input_in_words}")
    print_wrapped(out, Text(units.one_line(" · ".join(parts))))


def _print_legend(out: Console, table: Shown, *, images: str = "", repeats: bool = False) -> None:
    """What the signs in the table above mean: only of those that are in it."""
    words = []
    if "distribution" in table.cells:
        words.append(
            "distribution: a histogram from min to max, │ marks zero; heights are square roots of "
            "the counts, exact zeros"
            " are not counted."
        )
        if any(BEYOND in each.plain for each in table.cells["distribution"]):
            words[-1] += f" {BEYOND}: values beyond ±{units.count(int(BIN_EDGES[-2]))}, all in one bar."
    if "dead" in table.cells:
        over = f" in {images}" if images else ""
        words.append(f"dead: channels of an activation that are 0 everywhere{over}.")
    if repeats:
        words.append("=: a container; its output is that of its last layer.")
    if table.cut:
        words.append("…: the start of the name is cut off.")
    for each in words:
        print_wrapped(out, Text(each, "dim"))


def _print_end(out: Console, run: Run, shown: int, written: Sequence[str], notes: Sequence[str]) -> None:
    """Files, notes, the totals and the images that could not be read."""
    print_files(out, *written)
    for note in notes:
        print_wrapped(out, Text(units.one_line(note), "dim"))
    of = f"{shown} of " if shown != len(run.layers) else ""
    channels = sum(len(each.channels.mean) for each in run.layers if each.same_as is None)
    parts = [
        f"{of}{_several(len(run.layers), 'layer')}",
        _several(channels, "channel"),
        _several(run.images, run.origin.called.noun),
    ]
    if run.failures:
        parts.append(f"{units.count(len(run.failures))} could not be read")
    if run.progress is not None and run.progress.done < run.progress.total:
        parts.append(f"stopped after {units.count(run.progress.done)} of {units.count(run.progress.total)}")
    print_wrapped(out, Text(" · ".join(parts)))
    for name, reason in run.failures[:_MOST_NAMED]:
        print_wrapped(out, Text(f"not read: {units.one_line(name)}: {units.one_line(reason)}", "yellow"))
    if len(run.failures) > _MOST_NAMED:
        print_wrapped(out, Text(f"and {len(run.failures) - _MOST_NAMED} more, named in --json", "yellow"))


# -- findings ----------------------------------------------------------------------------------------------------


def _print_findings(out: Console, run: Run, findings: Sequence[Finding]) -> None:
    """Grouped by check; groups and layers by depth, of many layers those with the largest share of channels."""
    if not findings:
        out.print(Text("No findings."))
        out.print()
        return
    depth = {each.layer.name: at for at, each in enumerate(run.layers)}
    groups: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: depth.get(each.layer, len(depth))):
        groups.setdefault(finding.check, []).append(finding)
    for check, group in groups.items():
        worst = max((each.severity for each in group), key=SEVERITIES.index)
        layers = len({each.layer for each in group if each.layer})
        head = Text.assemble((worst, f"bold {STYLES[worst]}"), "  ", (units.one_line(check), "bold"))
        if layers > 1:
            head.append(f"  in {layers} layers", "dim")
        print_wrapped(out, head)
        told = columns.widest(group, run.layers)[:_MOST_A_GROUP]
        told = [each for each in group if each in told]
        samples = list(dict.fromkeys(each.sample for each in told if each.sample))
        for each in told:
            print_wrapped(out, _in_words(each, with_sample=len(samples) > 1), 2, 2)
        if len(group) > len(told):
            print_wrapped(out, Text(f"and {len(group) - len(told)} more; --json lists all", "dim"), 2)
        if any(len(_neighbours(each.channels)) > _MOST_CHANNELS for each in told):
            print_wrapped(out, Text(_HOW_TO_LIST, "dim"), 2, 2)
        if len(samples) == 1:
            print_wrapped(out, Text(f"Seen {units.one_line(samples[0])}.", "dim"), 2, 2)
        for caution in dict.fromkeys(each.caution for each in told if each.caution):
            print_wrapped(out, Text(units.one_line(caution)), 2, 2)
        for advice in dict.fromkeys(each.advice for each in told if each.advice):
            print_wrapped(out, Text(f"→ {units.one_line(advice)}"), 2, 2)
        out.print()


def _in_words(finding: Finding, *, with_sample: bool) -> Text:
    words = Text()
    if finding.layer:
        words.append(units.one_line(finding.layer), STYLES[finding.severity])
        words.append(": ")
    words.append(units.one_line(finding.what))
    if finding.channels:
        words.append(f" Channel{'s' * (len(finding.channels) > 1)} {channel_list(finding.channels)}.", "dim")
    if with_sample and finding.sample:
        words.append(f" Seen {units.one_line(finding.sample)}.", "dim")
    return words


def channel_list(channels: Sequence[int], most: int = _MOST_CHANNELS) -> str:
    """Channel indices in few words: runs of neighbours as a range, the first `most` pieces of them.

    >>> channel_list((0, 1, 2, 7, 9, 10)), channel_list(range(0, 100, 2), most=3)
    ('0-2, 7, 9-10', '0, 2, 4 and 47 more')
    """
    pieces = _neighbours(channels)
    text = ", ".join(f"{each[0]}-{each[-1]}" if len(each) > 1 else str(each[0]) for each in pieces[:most])
    left = sum(len(each) for each in pieces[most:])
    return f"{text} and {left} more" if left else text


def _neighbours(channels: Sequence[int]) -> list[list[int]]:
    pieces: list[list[int]] = []
    for channel in sorted(channels):
        if pieces and channel == pieces[-1][-1] + 1:
            pieces[-1].append(channel)
        else:
            pieces.append([channel])
    return pieces


def _several(number: int, what: str) -> str:
    return f"{units.count(number)} {what}{'s' * (number != 1)}"
