"""Several threads of one process: verbs wait for one another, and what a user's own thread computes is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer

import fmap_cli as fmap


def quiet(_: str) -> None: ...


def small_swin() -> nn.Module:
    """Has a function that torch.fx takes as one operation, so a pass replaces it in its module while it goes on."""
    torch.manual_seed(0)
    return SwinTransformer([4, 4], 8, [1, 1], [1, 1], [4, 4], num_classes=5).eval()


class Sums(nn.Module):
    """Modules and operations."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        found = self.first(image).relu()
        for _ in range(4):
            found = (found + self.second(found)).relu()
        return found.mean((2, 3))


def together(works: list[Callable[[], Any]]) -> list[Any]:
    """What each gives, all begun at once in a thread each; the first error is raised."""
    found: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def one(at: int) -> None:
        start.wait()
        try:
            found[at] = works[at]()
        except BaseException as error:
            found[at] = error

    threads = [threading.Thread(target=one, args=(at,)) for at in range(len(works))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


def test_verbs_in_several_threads_find_what_they_find_alone() -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8))
    torch.manual_seed(0)
    nets = [Sums(), Sums()]
    nets.append(nets[0])  # two threads on one network
    sessions = [fmap.load_model(net, size=32, say=quiet) for net in nets]

    def counted(at: int) -> list[Any]:
        run = fmap.stats(sessions[at], images, workers=0, batch=2, say=quiet)
        return [(each.layer.name, each.channels.mean.tolist()) for each in run.layers]

    alone = [counted(at) for at in range(3)]
    assert len(alone[0]) > 12
    for _ in range(3):
        assert together([lambda at=at: counted(at) for at in range(3)]) == alone  # type: ignore[misc]


def test_a_thread_of_the_users_own_is_no_part_of_a_pass() -> None:
    mine, theirs = small_swin(), small_swin()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(image)
    listed = fmap.layers(mine, say=quiet).document()
    ended = threading.Event()

    def go_on() -> int:
        passes = 0
        with torch.no_grad():
            while not ended.is_set():
                assert torch.equal(theirs(image), expected)
                passes += 1
        return passes

    def look() -> list[Any]:
        try:
            return [fmap.layers(small_swin(), say=quiet).document() for _ in range(4)]
        finally:
            ended.set()

    passes, documents = together([go_on, look])
    assert passes > 3 and documents == [listed] * 4
