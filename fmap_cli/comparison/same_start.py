"""Two passes from one start: the same random numbers, parameters and buffers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def same_random_numbers() -> Iterator[None]:
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def keep_state(module: nn.Module) -> Callable[[], None]:
    """Copies all parameters and buffers; what is returned puts them back in place."""
    places: list[tuple[Any, dict[str, Tensor | None]]] = [
        (held, dict(held.items())) for each in module.modules() for held in (each._parameters, each._buffers)
    ]
    tensors = {id(each): each for _, kept in places for each in kept.values() if each is not None}
    copies = [(each, each.detach().clone()) for each in tensors.values() if not nn.parameter.is_lazy(each)]

    def put_back() -> None:
        for held, kept in places:
            now = dict(held.items())
            for name in now.keys() - kept.keys():
                del held[name]
            for name, each in kept.items():
                if name not in now or now[name] is not each:
                    held[name] = each
        with torch.no_grad():
            for each, copy in copies:
                each.detach().copy_(copy)

    return put_back
