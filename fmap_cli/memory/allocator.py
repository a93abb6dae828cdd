"""PyTorch's caching allocator for CUDA, as far as it decides how much memory is taken.

From c10/cuda/CUDACachingAllocator.cpp, with its default settings. Requests are rounded up to 512 bytes. Up to 1 MiB
they come out of segments of 2 MiB, up to 10 MiB out of segments of 20 MiB, above that each new segment is the request
rounded up to 2 MiB. The smallest free block that is large enough is taken, and split where the rest is worth it: from
512 bytes on in small segments, above 1 MiB in large ones. What is not split off counts as allocated. A block that is
freed joins its free neighbours; its segment stays reserved.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

_ROUND = 512
_SMALL = 1 << 20
_SMALL_SEGMENT = 2 << 20
_LARGE_SEGMENT = 20 << 20
_LEAST_OWN = 10 << 20
_OWN_ROUND = 2 << 20


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most bytes in blocks that are in use, the event at which that first is so, and the most bytes in segments."""

    allocated: int
    at: int
    reserved: int


class _Block:
    __slots__ = ("after", "before", "free", "size", "small", "start")

    def __init__(self, start: int, size: int, small: bool, before: _Block | None, after: _Block | None) -> None:
        self.start = start
        self.size = size
        self.small = small
        self.before = before
        self.after = after
        self.free = False


class CachingAllocator:
    """Takes requests and returns, and knows what is allocated and reserved.

    >>> card = CachingAllocator()
    >>> first = card.allocate(1000)
    >>> second = card.allocate(3_000_000)
    >>> card.allocated, card.reserved  # two blocks of 512 bytes multiples; segments of 2 and 20 MiB
    (3001344, 23068672)
    >>> card.release(second)
    >>> card.allocated, card.reserved
    (1024, 23068672)
    """

    def __init__(self) -> None:
        self.allocated = 0
        self.reserved = 0
        self._free: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}  # (size, start, id), by size
        self._blocks: dict[int, _Block] = {}
        self._end = 0  # where the next segment lies

    def allocate(self, size: int) -> _Block:
        """A block for `size` bytes."""
        size = max(-(-size // _ROUND) * _ROUND, _ROUND)
        small = size <= _SMALL
        free = self._free[small]
        at = bisect_left(free, (size, 0, 0))
        block = self._blocks.pop(free.pop(at)[2]) if at < len(free) else self._segment(size, small)
        rest = block.size - size
        if rest >= _ROUND if small else rest > _SMALL:
            tail = _Block(block.start + size, rest, small, block, block.after)
            if block.after is not None:
                block.after.before = tail
            block.after = tail
            block.size = size
            self._put(tail)
        block.free = False
        self.allocated += block.size
        return block

    def release(self, block: _Block) -> None:
        """Give a block back; it joins its neighbours where they are free."""
        self.allocated -= block.size
        for other in (block.before, block.after):
            if other is None or not other.free:
                continue
            self._take(other)
            first, second = (other, block) if other is block.before else (block, other)
            first.size += second.size
            first.after = second.after
            if second.after is not None:
                second.after.before = first
            block = first
        self._put(block)

    def _segment(self, size: int, small: bool) -> _Block:
        if small:
            taken = _SMALL_SEGMENT
        elif size < _LEAST_OWN:
            taken = _LARGE_SEGMENT
        else:
            taken = -(-size // _OWN_ROUND) * _OWN_ROUND
        self.reserved += taken
        start = self._end
        self._end += taken
        return _Block(start, taken, small, None, None)

    def _put(self, block: _Block) -> None:
        block.free = True
        self._blocks[id(block)] = block
        insort(self._free[block.small], (block.size, block.start, id(block)))

    def _take(self, block: _Block) -> None:
        free = self._free[block.small]
        del free[bisect_left(free, (block.size, block.start, id(block)))]
        del self._blocks[id(block)]


def simulate(events: np.ndarray, sizes: np.ndarray) -> Peaks:
    """Put events (a request's number plus one, negative where it is returned) of these sizes through the allocator.

    >>> simulate(np.array([1, 2, -1, 3, -2, -3]), np.array([600, 300, 500]))
    Peaks(allocated=1536, at=1, reserved=2097152)
    """
    card = CachingAllocator()
    held: dict[int, _Block] = {}
    most, when = 0, 0
    bytes_of = sizes.tolist()
    for at, event in enumerate(events.tolist()):
        if event > 0:
            held[event] = card.allocate(bytes_of[event - 1])
            if card.allocated > most:
                most, when = card.allocated, at
        else:
            card.release(held.pop(-event))
    return Peaks(most, when, card.reserved)
