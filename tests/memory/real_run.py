"""What a real training step on the CPU keeps and holds, measured without any of fmap's code: the tests' oracle."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Measured:
    saved: int
    peak: int
    storages: dict[int, int]

    def saved_of(self, storages: set[int]) -> int:
        """How many of the saved bytes lie in these storages."""
        return sum(size for key, size in self.storages.items() if key in storages)


class Lifetimes(TorchDispatchMode):
    """Adds up the bytes of every storage that operations put out, for as long as it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, Any] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        torch.utils._pytree.tree_map_only(torch.Tensor, self.hold, output)
        return output

    def hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self.alive:
            return
        key, size = storage._cdata, storage.nbytes()

        def gone(_: Any) -> None:
            del self.alive[key]
            self.now -= size

        self.alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def training_step(
    network: torch.nn.Module,
    inputs: tuple[Any, ...],
    loss_of: Callable[[Any], torch.Tensor],
    make_optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    amp: torch.dtype | None = None,
) -> Measured:
    """Two iterations of a usual training loop, and what they took: saved bytes once a storage, and the peak."""
    network.train()
    saved: dict[int, int] = {}
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        kept.append(tensor)  # so that no address is given out twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast(amp):
        loss = loss_of(network(*inputs))
    del loss
    kept.clear()
    optimizer = make_optimizer(network.parameters()) if make_optimizer else None
    with Lifetimes() as lifetimes:
        for tensor in [*network.parameters(), *network.buffers(), *inputs]:
            lifetimes.hold(tensor)
        for _ in range(2):
            with autocast(amp):
                output = network(*inputs)
                loss = loss_of(output)
            loss.backward()
            if optimizer is not None:
                optimizer.step()
            del output, loss
            network.zero_grad(set_to_none=True)
        peak = lifetimes.peak
    return Measured(sum(saved.values()), peak, saved)


def autocast(dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None)
