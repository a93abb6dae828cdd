"""A trace at one batch is the trace at any other, and the largest batch is one that fits while one more does not."""

from __future__ import annotations

import numpy as np
import pytest

from fmap_cli.memory.allocator import Peaks, simulate
from fmap_cli.memory.replay import for_any_batch, largest, program
from fmap_cli.memory.request import MemoryRequest
from fmap_cli.memory.step import trace_of
from fmap_cli.memory.subject import open_subject
from fmap_cli.models.records import ModelRequest

SMALL = [("resnet18", "train"), ("squeezenet1_1", "inference")]
EIGHT = "resnet18 resnet50 vgg16 mobilenet_v2 densenet121 vit_b_16 swin_t efficientnet_b0".split()


def silent(sentence: str) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "mode"), SMALL + [pytest.param(each, "train", marks=pytest.mark.slow) for each in EIGHT]
)
def test_a_replay_is_the_direct_trace(name: str, mode: str) -> None:
    request = MemoryRequest(ModelRequest(name), batch=2, size=None if "vit" in name else (64, 64))
    subject = open_subject(request, silent)
    two, three, other = (trace_of(subject, request, mode, batch=each) for each in (2, 3, 37))  # type: ignore[arg-type]
    any_batch = for_any_batch(two, 2, three, 3)
    assert any_batch is not None
    replayed, direct = any_batch.at(37), program(other)
    assert np.array_equal(replayed.events, direct.events)
    assert np.array_equal(replayed.sizes, direct.sizes)


def test_traces_that_differ_have_no_replay() -> None:
    request = MemoryRequest(ModelRequest("squeezenet1_1"), batch=2, size=(64, 64))
    subject = open_subject(request, silent)
    train, inference = trace_of(subject, request, "train"), trace_of(subject, request, "inference")
    assert for_any_batch(train, 2, inference, 3) is None


@pytest.mark.parametrize("budget", [0, 99, 107, 108, 5000])
def test_the_largest_fits_and_one_more_does_not(budget: int) -> None:
    def taken(batch: int) -> int:
        return 101 + 7 * batch

    for guess in (1, 14, 698, 699, 100_000):
        assert largest(taken, budget, guess) == max((budget - 101) // 7, 0)


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet"])
def test_no_larger_batch_fits_though_bytes_do_not_grow_with_it(name: str) -> None:
    request = MemoryRequest(ModelRequest(name), batch=2, size=(64, 64))
    subject = open_subject(request, silent)
    two, three = (trace_of(subject, request, "train", batch=each) for each in (2, 3))
    any_batch = for_any_batch(two, 2, three, 3)
    assert any_batch is not None
    seen: dict[int, Peaks] = {}

    def peaks(batch: int) -> Peaks:
        if batch not in seen:
            steps = any_batch.at(batch)
            seen[batch] = simulate(steps.events, steps.sizes)
        return seen[batch]

    gained = 0
    for bound in ("reserved", "allocated"):

        def taken(batch: int, bound: str = bound) -> int:
            return int(getattr(peaks(batch), bound))

        for budget in sorted({taken(batch) for batch in range(1, 60, 1 if bound == "reserved" else 7)}):
            last = 1
            while any_batch.at_least(last + 1) <= budget:
                last += 1
            best = max(batch for batch in range(1, last + 1) if taken(batch) <= budget)
            for guess in (1, best + 7):
                assert largest(taken, budget, guess, at_least=any_batch.at_least, window=64) == best
            gained += best > largest(taken, budget, window=1)
    assert gained or name != "squeezenet1_1"


def test_a_window_s_end_that_fits_is_not_the_end() -> None:
    def taken(batch: int) -> int:
        return batch if batch <= 10 or batch in (14, 15, 19, 25) else 100

    assert largest(taken, 50, window=4) == 19  # the next one that fits is 6 more
    assert largest(taken, 50, window=6) == 25  # found from 19, which was found from 15
    assert largest(taken, 50, window=1) == 10
    assert largest(lambda batch: 100 if batch == 1 else 10 * batch, 50) == 5  # where 1 fits less than 2


@pytest.mark.slow
@pytest.mark.parametrize("name", EIGHT)
@pytest.mark.parametrize("mode", ["train", "inference"])
def test_the_batch_of_a_budget_passes_and_the_next_one_fails_by_direct_estimates(name: str, mode: str) -> None:
    budget_passes_and_one_more_fails(name, mode, None, 8 * 10**9)


@pytest.mark.parametrize(("name", "mode"), SMALL)
def test_the_batch_of_a_budget_passes_and_the_next_one_fails(name: str, mode: str) -> None:
    budget_passes_and_one_more_fails(name, mode, (64, 64), 700_000_000)


def budget_passes_and_one_more_fails(name: str, mode: str, size: tuple[int, int] | None, budget: int) -> None:
    from fmap_cli.memory.forecast import forecast

    request = MemoryRequest(ModelRequest(name), batch=4, size=size, modes=(mode,), budget=budget)  # type: ignore[arg-type]
    found = forecast(request, silent)
    assert [each.bound for each in found.largest] == ["reserved", "allocated"]
    subject = open_subject(request, silent)
    for each in found.largest:
        assert each.batch is not None
        taken = []
        for batch in (each.batch, each.batch + 1):
            steps = program(trace_of(subject, request, mode, batch=batch))  # type: ignore[arg-type]
            taken.append(getattr(simulate(steps.events, steps.sizes), each.bound))
        assert taken == [each.bytes, each.next_bytes]
        assert taken[0] <= budget < taken[1]
    reserved, allocated = found.largest
    assert (reserved.batch or 0) <= (allocated.batch or 0)
