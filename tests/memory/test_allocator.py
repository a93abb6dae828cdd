"""CUDA's caching allocator: its rules as sums on paper, and what must hold for any requests."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from fmap_cli.memory.allocator import CachingAllocator, simulate

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),  # the rest of 1 MiB is not worth splitting off
        (20 * MIB + 1, 22 * MIB - (2 * MIB - 512 - 0), 22 * MIB),
    ],
)
def test_a_request_takes_a_block_in_a_segment(size: int, allocated: int, reserved: int) -> None:
    card = CachingAllocator()
    card.allocate(size)
    assert (card.allocated, card.reserved) == (allocated, reserved)


def test_a_freed_block_serves_again_and_the_smallest_that_fits_is_taken() -> None:
    card = CachingAllocator()
    large, small = card.allocate(30 * MIB), card.allocate(24 * MIB)
    card.release(large)
    card.release(small)
    card.allocate(24 * MIB)
    card.allocate(30 * MIB)
    assert card.reserved == 54 * MIB


def test_a_large_block_is_split_where_more_than_a_mebibyte_is_left() -> None:
    card = CachingAllocator()
    card.release(card.allocate(30 * MIB))
    card.allocate(12 * MIB)
    assert card.allocated == 12 * MIB
    card.allocate(17 * MIB + 1)  # out of the 18 left: what is left over then is less than 1 MiB
    assert card.allocated == 30 * MIB
    assert card.reserved == 30 * MIB


def test_neighbours_that_are_free_become_one_block() -> None:
    card = CachingAllocator()
    blocks = [card.allocate(5 * MIB) for _ in range(4)]
    assert card.reserved == 20 * MIB
    for at in (0, 2, 1, 3):
        card.release(blocks[at])
    card.allocate(18 * MIB)
    assert card.reserved == 20 * MIB


@pytest.mark.parametrize("seed", range(5))
def test_what_holds_for_any_requests(seed: int) -> None:
    draw = random.Random(seed)
    events: list[int] = []
    sizes: list[int] = []
    alive: list[int] = []
    for _ in range(2000):
        if alive and draw.random() < 0.48:
            events.append(-alive.pop(draw.randrange(len(alive))))
        else:
            sizes.append(int(10 ** draw.uniform(0, 8)))
            alive.append(len(sizes))
            events.append(len(sizes))
    peaks = simulate(np.array(events), np.array(sizes))
    signed = [sizes[event - 1] if event > 0 else -sizes[-event - 1] for event in events]
    requested = int(np.cumsum(signed).max())
    assert requested <= peaks.allocated <= peaks.reserved
    card = CachingAllocator()
    held = {}
    for event in events:
        if event > 0:
            held[event] = card.allocate(sizes[event - 1])
        else:
            card.release(held.pop(-event))
        assert card.allocated == sum(block.size for block in held.values())
    spans = sorted((block.start, block.start + block.size) for block in held.values())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    for block in held.values():
        card.release(block)
    assert card.allocated == 0
    assert sum(size for pool in card._free.values() for size, _, _ in pool) == card.reserved
