"""What stands in nested tuples, lists, dicts and records, as networks take and give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any


def named_fields(value: Any) -> dict[str, Any] | None:
    """The fields of a record (a dataclass's, or one made by attrs); None for anything else."""
    if isinstance(value, type):
        return None
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
    elif isinstance(own := getattr(type(value), "__attrs_attrs__", None), tuple):
        names = [each.name for each in own]
    else:
        return None
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def leaves(value: Any) -> Iterator[Any]:
    """What is no tuple, list, dict or record itself, in its order, however deep.

    A container that holds itself is opened once.

    >>> ring = [3]
    >>> ring.append(ring)
    >>> list(leaves({"a": (1, [2]), "b": ring}))
    [1, 2, 3]
    """
    waiting, opened = [value], set[int]()
    while waiting:
        each = waiting.pop()
        record = None if isinstance(each, (tuple, list, dict)) else named_fields(each)
        if record is None and not isinstance(each, (tuple, list, dict)):
            yield each
        elif id(each) not in opened:
            opened.add(id(each))
            waiting += reversed(list(_items(each if record is None else record)))


def _items(value: Any) -> Iterator[Any]:
    """The items, unseen: tuples and lists of a pass that is watched report who takes them."""
    if isinstance(value, dict):
        return iter(value.values())
    return tuple.__iter__(value) if isinstance(value, tuple) else list.__iter__(value)
