"""Circumstances under which networks are built: seeded, quiet, or without drawing weights that get replaced."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from fmap_cli.models.records import Weights


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch, NumPy and Python's `random` draw from `seed` inside; outside it is as if nothing had been drawn.

    Torch's generators on GPUs are seeded as well; they are put back where they had begun before.
    """
    import numpy as np
    import torch

    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=gpus):
            torch.random.default_generator.manual_seed(seed)
            if torch.cuda.is_available():
                torch.cuda.manual_seed_all(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # NumPy takes 32 bits
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


@contextmanager
def quiet() -> Iterator[None]:
    """No Python warning from inside reaches stderr: they speak to the author of the network's code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def no_init() -> Iterator[None]:
    """`torch.nn.init` leaves tensors as they are: whoever builds a network here must fill ALL of it afterwards.

    Drawing random numbers is most of the time a network takes to build (EfficientNet-B0: 120 ms, 18 without;
    the meta device takes 60). Only `torch.nn.init` is passed over: tensors that a constructor computes itself
    (anchors, position indexes, counters) are right.
    """
    from torch.nn import init

    def untouched(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return tensor

    own = {name: value for name, value in vars(init).items() if _fills_a_tensor(name) and callable(value)}
    try:
        for name in own:
            setattr(init, name, untouched)
        yield
    finally:
        for name, value in own.items():
            setattr(init, name, value)


@contextmanager
def fresh(seed: int, *, initialise: bool) -> Iterator[None]:
    """Weights are drawn from `seed` inside; or, without `initialise`, not at all: see `settle`."""
    with seeded(seed), nullcontext() if initialise else no_init():
        yield


def drawn(seed: int, *, initialise: bool) -> Weights:
    """What weights are called that `fresh` made."""
    return Weights("random", seed=seed) if initialise else Weights("none")


@contextmanager
def unfilled() -> Iterator[None]:
    """Networks ignore what state dicts are loaded into them inside: for builders that insist on weights."""
    from torch import nn

    own = nn.Module.load_state_dict
    try:
        nn.Module.load_state_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
        yield
    finally:
        nn.Module.load_state_dict = own  # type: ignore[method-assign]


def settle(module: Any) -> None:
    """Zeros for the vectors (biases, what norms scale by) of a network that was built with `no_init`.

    What the memory held before may be NaN or numbers so small that arithmetic on them is slow. The matrices, which
    are nearly all there is, stay as they are: they are not even paged in.
    """
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim < 2 and not parameter.is_meta:
                parameter.zero_()


def _fills_a_tensor(name: str) -> bool:
    # torch's own convention: `kaiming_normal_`, `zeros_`. Their insides too, `_no_grad_uniform_`: for what a module
    # has imported under its name (`xavier_uniform_` in multi-head attention) ends there.
    return name.endswith("_") and (not name.startswith("_") or name.startswith("_no_grad_"))
