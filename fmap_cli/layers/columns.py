"""What `fmap layers` says of a layer: the one list that table, JSON and CSV read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import units
from ..documents import plain_number
from ..receptive.columns import short_field
from ..tables.columns import Column, Short

if TYPE_CHECKING:
    from ..receptive.records import FieldAxis
    from .records import CountedLayer, Geometry

_BAR = 8


def _how_known(row: CountedLayer) -> str:
    """How the axes are known where the layer's class does not say them."""
    return "" if row.axes is None or (row.axes.how.startswith("by ") and "number" not in row.axes.how) else row.axes.how


def _what(row: CountedLayer) -> str:
    """What a layer is where there is one column for it: its geometry for those that have one, else its type."""
    how = detail(row) if row.layer.kind in ("conv", "pool", "linear") else ""
    if not how:
        return units.one_line(row.layer.type_name)
    if row.layer.kind != "pool":
        return how
    return f"{'max' if 'max' in row.layer.type_name.lower() else 'avg'} {how}"


def detail(row: CountedLayer) -> str:
    """How a layer goes about it: `3×3 /2`, `3×3 dw` (depthwise), `1×1`, `512 → 1000`; empty where there is no word."""
    if row.detail:
        return row.detail
    return geometry(row.geometry) if row.geometry is not None else ""


def geometry(how: Geometry) -> str:
    """Kernel, stride after a slash, `dw` for depthwise, `g` groups, `d` dilation, `T` transposed; ones are left out.

    >>> from fmap_cli.layers.records import Geometry
    >>> geometry(Geometry((3, 3), (2, 2), (1, 1), (1, 1), groups=64, per_channel=True))
    '3×3 dw /2'
    >>> geometry(Geometry((1, 3, 3), (1, 2, 2), None, (1, 2, 2), groups=32))
    '1×3×3 g32 d1×2×2 /1×2×2'
    """
    words = ["×".join(map(str, how.kernel))]
    if how.transposed:
        words.append("T")
    if how.per_channel:
        words.append("dw")
    elif how.groups is not None and how.groups > 1:
        words.append(f"g{how.groups}")
    if set(how.dilation) != {1}:
        words.append(f"d{_sizes(how.dilation)}")
    if set(how.stride) != {1}:
        words.append(f"/{_sizes(how.stride)}")
    return " ".join(words)


def _sizes(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "×".join(map(str, sizes))


def _joined(names: Sequence[str] | None) -> str:
    return " ".join(names or ())


def _parameters(write: Callable[[int], str]) -> Callable[[CountedLayer], str]:
    def written(row: CountedLayer) -> str:
        if not row.layer.is_module or not row.layer.parameters:
            return ""
        if row.layer.call > 0 or row.multiply_adds is None:
            return "shared"
        return f"Σ {write(row.layer.parameters)}" if row.composite else write(row.layer.parameters)

    return written


def _multiply_adds(write: Callable[[int], str]) -> Callable[[CountedLayer], str]:
    def written(row: CountedLayer) -> str:
        if not row.multiply_adds:
            return ""
        return f"Σ {write(row.multiply_adds)}" if row.composite else write(row.multiply_adds)

    return written


def _of_geometry(what: str) -> Callable[[CountedLayer], list[int] | int | None]:
    def found(row: CountedLayer) -> list[int] | int | None:
        value = getattr(row.geometry, what, None)
        return list(value) if isinstance(value, tuple) else value

    return found


def _of_field(what: Callable[[FieldAxis], Any]) -> Callable[[CountedLayer], list[Any] | None]:
    return lambda row: None if row.field is None else [what(axis) for axis in row.field.axes]


COLUMNS: tuple[Column[CountedLayer], ...] = (
    Column("name", "layer", lambda row: row.layer.name, units.one_line, least=(22, 16)),
    Column("kind", None, lambda row: row.layer.kind),
    Column(
        "type",
        "type",
        lambda row: row.layer.type_name,
        units.one_line,
        least=11,
        cut="middle",
        short=Short(4, "", _what),
    ),
    Column(title="", cell=detail, after="type", priority=4, least=8),
    Column("call", None, lambda row: row.layer.call),
    Column("depth", None, lambda row: row.depth),
    Column("composite", None, lambda row: row.composite),
    Column("shape", "output shape", lambda row: list(row.shape), units.shape, right=True),
    Column("axes", "axes", lambda row: None if row.axes is None else list(row.axes.names), _joined, priority=4),
    Column(
        "parameters",
        "parameters",
        lambda row: row.layer.parameters,
        cell=_parameters(units.count),
        right=True,
        short=Short(4, "params", _parameters(units.scaled)),
    ),
    Column(
        "multiply_adds",
        "multiply-adds",
        lambda row: row.multiply_adds,
        cell=_multiply_adds(units.count),
        right=True,
        short=Short(4, "mult-adds", _multiply_adds(units.scaled)),
    ),
    Column("own_multiply_adds", None, lambda row: row.own_multiply_adds),
    *(Column(each, None, _of_geometry(each)) for each in ("kernel", "stride", "padding", "dilation", "groups")),
    Column("dtype", "dtype", lambda row: row.dtype, priority=3),
    Column("memory_format", "memory", lambda row: row.memory_format, priority=3, least=10),
    Column(
        "field_kind",
        "field",
        lambda row: None if row.field is None else row.field.kind,
        cell=lambda row: "" if row.field is None else short_field(row.field),
        right=True,
        after="axes_how",
        priority=2,
    ),
    Column("field_size", None, _of_field(lambda axis: axis.size)),
    Column("field_stride", None, _of_field(lambda axis: plain_number(axis.stride))),
    Column("field_start", None, _of_field(lambda axis: axis.start)),
    Column(
        "axes_how",
        "axes known",
        lambda row: None if row.axes is None else row.axes.how,
        cell=_how_known,
        after="axes",
        priority=1,
        optional=True,
    ),
)


def cost(total: int, layers: Sequence[CountedLayer]) -> tuple[Column[CountedLayer], ...]:
    """A layer's share of all multiply-adds, and a bar that is full for the costliest of `layers`, those listed; one
    whose layers inside are listed as well has no bar of its own.
    """
    names = [each.layer.name for each in layers]
    outer = {name[:at] for name in names for at, sign in enumerate(name) if sign == "."}
    most = max((each.multiply_adds or 0 for each in layers if each.layer.name not in outer), default=0)

    def bar(row: CountedLayer) -> str:
        if not row.multiply_adds or row.layer.name in outer:
            return ""
        return "█" * round(row.multiply_adds / most * _BAR) or "▏"

    def share(row: CountedLayer) -> str:
        return units.percent(row.multiply_adds / total) if row.multiply_adds and total else ""

    return (
        Column(title="share", cell=share, right=True, after="multiply_adds", priority=4),
        Column(title="", cell=bar, after="multiply_adds", priority=4),
    )
