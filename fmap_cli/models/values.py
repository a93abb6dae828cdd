"""Numbers in a network that spoil every map after them: weights that are NaN or infinite, variances below zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fmap_cli.models.misfit import counted, listed

if TYPE_CHECKING:
    import torch


def value_notes(module: torch.nn.Module) -> tuple[str, ...]:
    """A sentence on each such kind of number, which says where they are."""
    import torch

    with torch.no_grad():
        return _not_finite(module) + _negative_variances(module)


def _not_finite(module: torch.nn.Module) -> tuple[str, ...]:
    """Of buffers NaN alone: infinite ones are masks. (Not by `state_dict`, which a network may have made its own.)"""
    import torch

    places: list[str] = []
    count = 0
    for read, spoilt in ((module.named_parameters, _is_not_finite), (module.named_buffers, torch.isnan)):
        for name, tensor in read():
            # A sum is quick and finite where all values are; only then each one is looked at.
            if tensor.is_floating_point() and not tensor.is_meta and not math.isfinite(tensor.sum().item()):
                found = spoilt(tensor).nonzero()
                count += len(found)
                places += [f"{name}{index}" if index else name for index in found[:4].tolist()]
                places += [name] * (len(found) - 4)
    if not count:
        return ()
    return (f"{counted(count, 'weight')} {'is' if count == 1 else 'are'} NaN or infinite: {listed(places)}",)


def _is_not_finite(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return ~torch.isfinite(tensor)


def _negative_variances(module: torch.nn.Module) -> tuple[str, ...]:
    """BatchNorm divides by the root of `running_var + eps`, which of a number below zero is NaN."""
    import torch

    places = []
    spoils = False
    for name, each in module.named_modules():
        variance = getattr(each, "running_var", None)
        if (
            isinstance(variance, torch.Tensor)
            and variance.is_floating_point()
            and not variance.is_meta
            and bool((variance < 0).any())
        ):
            spoils = spoils or bool((variance + getattr(each, "eps", 0.0) < 0).any())
            where = f"{name}.running_var" if name else "running_var"
            negative = (variance < 0).nonzero().flatten().tolist()
            places += [f"{where}[{at}] = {variance[at].item():.3g}" for at in negative]
    if not places:
        return ()
    said = f"{counted(len(places), 'running variance')} {'is' if len(places) == 1 else 'are'} negative"
    why = "BatchNorm takes the root, so such a channel is NaN" if spoils else "no variance is; it adds eps and goes on"
    return (f"{said} ({why}): {listed(places)}",)
