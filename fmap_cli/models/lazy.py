"""Lazy layers: their parameters have no shape and no values until they have run once, or until a file brings them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fmap_cli.errors import ModelError
from fmap_cli.foreign.guests import guest_code
from fmap_cli.models import building
from fmap_cli.models.records import NetworkInput
from fmap_cli.models.trying import device_of

if TYPE_CHECKING:
    import torch


def has_any(module: torch.nn.Module) -> bool:
    from torch.nn.parameter import is_lazy

    return any(is_lazy(each) for each in [*module.parameters(), *module.buffers()])


def take_shapes(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give parameters that have no shape yet those of a file's tensors of the same names, whatever stands before them.

    The values come later, as those of all other parameters.
    """
    from torch.nn.parameter import is_lazy

    for name, parameter in [*module.named_parameters(), *module.named_buffers()]:
        if not is_lazy(parameter):
            continue
        found = [tensors[key] for key in tensors if key == name or key.endswith(f".{name}")]
        if len(found) == 1 and not is_lazy(found[0]):
            parameter.materialize(found[0].shape)


def finish(module: torch.nn.Module, takes: NetworkInput | None, spec: str) -> None:
    """Run the network once on zeros, so that lazy layers take their shapes and draw their values now.

    Raises ModelError where nothing is known that it runs on.
    """
    import torch

    from fmap_cli.network.blank import blank_arithmetic

    refusal = ModelError(
        f"{spec} has lazy layers, whose shapes are not known before they run, and no usual input makes them run",
        hint="Say what it takes with --input-shape C,H,W, once for each input.",
    )
    if takes is None:
        raise refusal
    module.eval()
    place = device_of(module)
    inputs = [
        torch.zeros((1, *shape), dtype=torch.int64 if whole else getattr(torch, takes.dtype), device=place)
        for shape, whole in zip(takes.shapes, takes.integers, strict=True)
    ]
    try:
        with guest_code(), building.quiet(), torch.no_grad(), blank_arithmetic():
            module(*inputs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise refusal from error
    if has_any(module):
        raise ModelError(
            f"{spec} has lazy layers that do not run in evaluation, so they have no shape",
            hint="Let the factory run the network once, so that they are made, or leave them out.",
        )
