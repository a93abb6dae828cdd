"""What `fmap stats` says of layers, channels and classes: the one list that table, JSON, CSV and `--sort` read.

A number of `NUMBERS` is said of each of them: computed for every channel, and for a layer as for the one channel that
all its channels make together (`channels.whole`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from .. import units
from ..tables.columns import KEPT, SPARE, Column, Short

if TYPE_CHECKING:
    import numpy as np

    from .channels import ChannelStats
    from .records import Finding, LayerRecord

SEVERITIES = ("note", "warning", "error")
STYLES = {"note": "cyan", "warning": "yellow", "error": "red"}
_FLAGS = {  # a part of a check's name → the word for it in the table
    "16": "fp16",
    "nan": "NaN",
    "finite": "NaN",
    "dead": "dead",
    "norm-gain": "blown up",
    "norm-offset": "shifted",
    "answer": "answer",
    "constant": "const",
    "saturat": "sat",
    "explod": "grows",
    "vanish": "fades",
    "zero": "≈0",
    "cop": "copies",
}
_MOST_TYPE = 18
_MOST_FLAGS = 12  # characters, where there is little room


def _bad(count: int) -> Text:
    return Text(units.scaled(count), "bold red") if count else Text()


def _zero_share(of: ChannelStats) -> np.ndarray:
    """The share of exact zeros; NaN of values of which none is finite."""
    import numpy as np

    share = of.zeros / max(of.count, 1)
    return np.where((of.finite > 0) | (of.count == 0), share, np.nan)


def _share(share: float | None) -> str:
    return "–" if share is None else units.percent(share)


NUMBERS: tuple[Column[ChannelStats], ...] = (
    Column("mean", "mean", lambda of: of.mean, units.number),
    Column("std", "std", lambda of: of.std, units.number),
    Column("rms", "rms", lambda of: of.rms, units.number, priority=SPARE),
    Column("min", "min", lambda of: of.min, units.number, priority=9),
    Column("max", "max", lambda of: of.max, units.number, priority=9),
    Column("zero_count", None, lambda of: of.zeros),
    Column("zero_fraction", "zeros", lambda of: _zero_share(of), lambda share: _share(share), priority=8),
    Column("nan_count", "NaN", lambda of: of.nan, _bad, priority=7, optional=True),
    Column("inf_count", "Inf", lambda of: of.inf, _bad, priority=7, optional=True),
)
"""Of a record of C channels: an array of C numbers, NaN where there is none."""


def numbers(of: ChannelStats) -> dict[str, list[Any]]:
    """Each of NUMBERS of each channel, by its key; None where there is none."""
    return {each.key: [None if value != value else value for value in each.value(of).tolist()] for each in NUMBERS}


# -- rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A layer, one of its channels, or a layer over the images of one class.

    `numbers` are those of NUMBERS among `count` values, of which the `at`-th are the row's. `dead` is which of the
    layer's channels are dead, None for what is no activation. `repeats`: the layer's tensor is that of one listed
    before.
    """

    record: LayerRecord
    count: int
    numbers: Mapping[str, Sequence[Any]]
    at: int = 0
    channel: int | None = None
    dead: np.ndarray | None = None
    class_name: str = ""
    flags: Sequence[Finding] = ()
    repeats: bool = False


def layer_row(record: LayerRecord, dead: Mapping[str, np.ndarray], **more: Any) -> Row:
    """All channels together."""
    from .channels import whole

    one = whole(record.channels)
    return Row(record, one.count, numbers(one), dead=dead.get(record.layer.name), **more)


def channel_rows(record: LayerRecord, **more: Any) -> Iterator[Row]:
    """A row a channel."""
    found = numbers(record.channels)
    for channel in range(len(record.channels.mean)):
        yield Row(record, record.channels.count, found, channel, channel, **more)


# -- cells -------------------------------------------------------------------------------------------------------


def _name(row: Row) -> Text:
    name = Text(units.one_line(row.record.layer.name), "dim" if row.repeats else "bold")
    if row.record.same_as is not None and row.channel is None:
        name.append(" =", "dim")
    return name


def _type(row: Row) -> str:
    text = units.one_line(row.record.layer.type_name)
    return text if cell_len(text) <= _MOST_TYPE else set_cell_size(text, _MOST_TYPE - 1).rstrip() + "…"


def shape(row: Row) -> str:
    """The shape of an output, behind `~` where it differs from image to image."""
    return ("~" if row.record.varies else "") + units.shape(row.record.shape)


def _size(row: Row) -> str:
    """The shape in few characters, without the batch of one: `32×112×112`."""
    of = row.record
    sizes = of.shape[1:] if of.axes.names[:1] == ("B",) and len(of.shape) > 1 else of.shape
    return ("~" if of.varies else "") + "×".join(map(str, sizes))


def _dead(row: Row) -> str:
    unknown = row.dead is None or row.numbers["zero_fraction"][row.at] is None
    return "–" if unknown or row.dead is None else f"{int(row.dead.sum())}/{len(row.dead)}"


def _spark(cells: int) -> Callable[[Row], Text]:
    def drawn(row: Row) -> Text:
        from .spark import spark

        of = row.record.channels
        known = of.histogram is not None and (row.channel is None or len(of.histogram) == len(of.mean))
        return spark(of, cells, row.channel) if known and not row.repeats else Text()

    return drawn


def widest(findings: Sequence[Finding], layers: Sequence[LayerRecord]) -> list[Finding]:
    """Findings of one check, the gravest first, of these what holds for the largest share of a layer's channels.

    Equal ones stay in the order of execution, as do those that are about no channels.
    """
    depth = {each.layer.name: at for at, each in enumerate(layers)}
    width = {each.layer.name: len(each.channels.mean) for each in layers}

    def rank(found: Finding) -> tuple[int, float, int]:
        share = len(found.channels) / max(width.get(found.layer, 0), 1)
        return -SEVERITIES.index(found.severity), -share, depth.get(found.layer, len(depth))

    return sorted(findings, key=rank)


def flag(check: str) -> str:
    """The short word for a check.

    >>> flag("dead-channels"), flag("float16-overflow"), flag("something-else")
    ('dead', 'fp16', 'something')
    """
    return next((word for part, word in _FLAGS.items() if part in check.lower()), check.split("-")[0])


def _flags(row: Row, room: int | None = None) -> Text:
    """The short words of a layer's findings, each once, the gravest first; what there is no room for as a count.

    A layer with dead channels has the word for it, also where all of them were told of at a layer before.
    """
    ranked = sorted(row.flags, key=lambda each: -SEVERITIES.index(each.severity))
    words = {flag("dead"): STYLES["note"]} if row.dead is not None and row.dead.any() else {}
    words |= {units.one_line(flag(each.check)): STYLES[each.severity] for each in reversed(ranked)}
    text = Text()
    for at, (word, style) in enumerate(reversed(words.items())):
        if room is not None and at and cell_len(text.plain) + cell_len(word) + 4 > room:
            text.append(f" +{len(words) - at}", "dim")
            break
        text.append(" " if at else "")
        text.append(word, style)
    return text


# -- the lists ---------------------------------------------------------------------------------------------------


def _of_a_row(number: Column[ChannelStats]) -> Column[Row]:
    return Column(
        number.key,
        number.title,
        lambda row: row.numbers[number.key][row.at],
        number.format,
        right=True,
        priority=number.priority,
        optional=number.optional,
    )


_CLASS: Column[Row] = Column("class", None, lambda row: row.class_name)
_NAME: Column[Row] = Column("name", "layer", lambda row: row.record.layer.name, cell=_name, least=(24, 12), cut="start")
_KIND: Column[Row] = Column("kind", None, lambda row: row.record.layer.kind)
_TYPE: Column[Row] = Column("type", "type", lambda row: row.record.layer.type_name, cell=_type, priority=1)
_IMAGES: Column[Row] = Column("images", None, lambda row: row.record.images, units.count, right=True)
_COUNT: Column[Row] = Column("count", None, lambda row: row.count)
_NUMBERS = tuple(_of_a_row(each) for each in NUMBERS)
_DEAD: Column[Row] = Column(
    "dead_channels",
    "dead",
    lambda row: None if row.dead is None else int(row.dead.sum()),
    cell=_dead,
    right=True,
    priority=7,
    optional=True,
)
_DISTRIBUTION: Column[Row] = Column(
    title="distribution", cell=_spark(16), short=Short(2, "distrib.", _spark(8)), priority=6, optional=True
)

LAYERS: tuple[Column[Row], ...] = (
    _NAME,
    _KIND,
    _TYPE,
    Column("call", None, lambda row: row.record.layer.call),
    Column("same_as", None, lambda row: row.record.same_as),
    Column(
        "shape",
        "shape",
        lambda row: list(row.record.shape),
        cell=shape,
        right=True,
        priority=3,
        short=Short(2, cell=_size),
    ),
    Column("shape_varies", None, lambda row: row.record.varies),
    Column("axes", None, lambda row: list(row.record.axes.names)),
    Column("dtype", None, lambda row: row.record.dtype),
    _IMAGES,
    _COUNT,
    *_NUMBERS,
    Column("channel_count", None, lambda row: len(row.record.channels.mean)),
    _DEAD,
    Column("axes_how", None, lambda row: row.record.axes.how),
    _DISTRIBUTION,
    Column(
        title="flags",
        cell=lambda row: _flags(row),
        short=Short(3, cell=lambda row: _flags(row, _MOST_FLAGS)),
        priority=8,
        optional=True,
    ),
)
CHANNELS: tuple[Column[Row], ...] = (
    _CLASS,
    _NAME,
    _KIND,
    replace(_TYPE, title=None),
    Column("channel", "channel", lambda row: row.channel, right=True),
    _IMAGES,
    _COUNT,
    *(replace(each, key="") if each.key == "zero_fraction" else each for each in _NUMBERS),
    _DISTRIBUTION,
)
CLASSES: tuple[Column[Row], ...] = (
    Column(
        "class",
        "class",
        lambda row: row.class_name,
        cell=lambda row: Text(units.one_line(row.class_name)) if row.class_name else Text("all images", "bold"),
        least=(24, 12),
        cut="start",
    ),
    replace(_IMAGES, title="images", priority=9),
    *_NUMBERS,
    _DEAD,
    _DISTRIBUTION,
)
LAYERS_OF_CLASSES = (_CLASS, *LAYERS)
"""The columns of CSV, where a run's layers and those of its classes stand in one table."""

SORTS = ("layer", "channel", *(each.title.lower() for each in NUMBERS if each.title is not None))
"""What the channels of a run can be sorted by."""


def sorted_by(sort: str) -> list[Column[Row]]:
    """The columns of channels in such an order: what they are sorted by is in the table, however narrow it is."""
    return [replace(each, priority=KEPT) if (each.title or "").lower() == sort else each for each in CHANNELS]


def order(records: Sequence[LayerRecord], sort: str, *, reverse: bool) -> np.ndarray:
    """Channels of all the layers, counted through, in the order to be shown.

    Numbers go from the largest to the smallest, `layer` and `channel` upwards; `reverse` turns that round. Channels
    that have no such number come last either way, equal ones in the order of execution.
    """
    import numpy as np

    if sort not in SORTS:
        raise ValueError(f"channels are sorted by one of {', '.join(SORTS)}, not by {sort!r}")
    upwards = reverse != (sort in ("layer", "channel"))
    keys: list[np.ndarray] = []
    for at, each in enumerate(records):
        channels = len(each.channels.mean)
        if sort == "layer":
            keys.append(np.full(channels, at))
        elif sort == "channel":
            keys.append(np.arange(channels))
        else:
            keys += [number.value(each.channels) for number in NUMBERS if (number.title or "").lower() == sort]
    values = np.concatenate([*keys, np.empty(0)])
    return np.argsort(np.where(np.isnan(values), np.inf, values if upwards else -values), kind="stable")
