"""What stands in nested tuples, lists and dicts, as networks take and give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def leaves(value: Any) -> Iterator[Any]:
    """What is no tuple, list or dict itself, in its order, however deep; a container that holds itself is opened once.

    >>> ring = [3]
    >>> ring.append(ring)
    >>> list(leaves({"a": (1, [2]), "b": ring}))
    [1, 2, 3]
    """
    waiting, opened = [value], set[int]()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, (tuple, list, dict)):
            yield each
        elif id(each) not in opened:
            opened.add(id(each))
            waiting += reversed(list(_items(each)))


def _items(value: Any) -> Iterator[Any]:
    """The items, unseen: tuples and lists of a pass that is watched report who takes them."""
    if isinstance(value, dict):
        return iter(value.values())
    return tuple.__iter__(value) if isinstance(value, tuple) else list.__iter__(value)
