"""What `fmap compare` says of a layer, as outputs or as saved statistics: the lists that table, JSON and CSV read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log10
from typing import Any

from .. import units
from ..tables.columns import Column, Short
from .records import ComparedLayer, ComparedRecord, Comparison
from .words import cosine, is_run

_BAR_DECADES = 8
"""The bar of a row has a block for each factor of ten from 1e-8 to 1."""


def _bar(row: ComparedLayer | ComparedRecord) -> str:
    share = row.difference.relative_l2
    if share == 0:
        return ""
    blocks = _BAR_DECADES if share >= 1 else max(_BAR_DECADES + log10(share), 0)
    return "█" * round(blocks) or "▏"


def _share(value: float | None) -> str:
    return "–" if value is None else units.percent(value)


_NAMED: tuple[Column[Any], ...] = (
    Column("name", "layer", lambda row: row.layer.name, units.one_line, least=(24, 16)),
    Column("kind", None, lambda row: row.layer.kind),
    Column("type", None, lambda row: row.layer.type_name),
)


def _difference(key: str, title: str, form: Callable[[Any], str] = units.number, **options: Any) -> Column[Any]:
    """A number of the difference, by its name there."""
    return Column(key, title, lambda row: getattr(row.difference, key), form, right=True, **options)


_COSINE = _difference("cosine", "cosine", cosine)
_UNLIKE = _difference(
    "unlike", "NaN or Inf\nin one", units.count, short=Short(2, "NaN,\nInf"), after="channel", optional=True
)
_CHANNEL = _difference("channel", "channel", units.count, priority=3)
POOLED_TITLE = "pooled\ncosine"
_POOLED = _difference("pooled_cosine", POOLED_TITLE, cosine)
_SAME_AS: Column[Any] = Column("same_as", None, lambda row: row.same_as)
_OVER: Column[Any] = Column("over", "", lambda row: row.over, lambda over: "over" if over else "", optional=True)
_BAR: Column[Any] = Column(title="", cell=_bar, after="relative_l2", priority=1)

LAYERS: tuple[Column[ComparedLayer], ...] = (
    *_NAMED,
    Column("shape", "output shape", lambda row: list(row.shape), units.shape, right=True, priority=2),
    Column("dtype_a", None, lambda row: row.dtypes[0]),
    Column("dtype_b", None, lambda row: row.dtypes[1]),
    Column("count", None, lambda row: row.difference.count),
    _difference("max_abs", "max |B - A|", short=Short(2, "max\n|B - A|")),
    _difference("relative_l2", "relative L2", short=Short(2, "relative\nL2")),
    _COSINE,
    _difference("correlation", "correlation", cosine, short=Short(2, "corr.")),
    Column("correlated_channels", None, lambda row: row.difference.correlated),
    replace(_POOLED, priority=2, after="correlation"),
    _UNLIKE,
    _CHANNEL,
    _SAME_AS,
    _OVER,
    Column("axes", None, lambda row: None if row.axes is None else list(row.axes.names)),
    Column("axes_how", None, lambda row: None if row.axes is None else row.axes.how),
    _BAR,
)


RECORDS: tuple[Column[ComparedRecord], ...] = (
    *_NAMED,
    Column("channels", None, lambda row: len(row.records[0].channels.mean)),
    Column("images_a", None, lambda row: row.images[0]),
    Column("images_b", None, lambda row: row.images[1]),
    _difference("mean_shift", "Δmean / σ"),
    _difference("std_shift", "Δstd / σ"),
    _difference("min_shift", "Δmin", after="channel", priority=2),
    _difference("max_shift", "Δmax", after="min_shift", priority=2),
    _difference("relative_l2", "relative L2\nof means", short=Short(2, "rel. L2")),
    _COSINE,
    _difference("correlation", "correlation", cosine, priority=2),
    _difference("moved", "moved", _share),
    replace(_UNLIKE, after=""),
    replace(_CHANNEL, after="std_shift"),
    _SAME_AS,
    _OVER,
    _BAR,
)


def columns_of(comparison: Comparison) -> tuple[Column[Any], ...]:
    """Of JSON and CSV."""
    return RECORDS if is_run(comparison) else LAYERS


def table_of(comparison: Comparison) -> tuple[Column[Any], ...]:
    """Of the table: for two images the pooled cosine comes first, and nothing is called over, as all layers are."""
    if not comparison.of_images:
        return columns_of(comparison)
    left = {each.key: each for each in LAYERS if each.title and each.key not in ("pooled_cosine", "over")}
    goes = {"max_abs": 4, "cosine": 5, "channel": 3}
    rest = [replace(each, priority=goes.get(key, each.priority)) for key, each in left.items() if key]
    bar: Column[Any] = Column(title="", cell=_pooled_bar, after="pooled_cosine", priority=1)
    return rest[0], _POOLED, bar, *rest[1:]


def _pooled_bar(row: ComparedLayer) -> str:
    share = row.difference.pooled_cosine
    return "" if share is None or share <= 0 else "█" * round(_BAR_DECADES * share) or "▏"
