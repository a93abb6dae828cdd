"""Which modules are layers as a whole, and what a network calls its inputs."""

from __future__ import annotations

import inspect

import torch
from torch import nn


def is_leaf(module: nn.Module) -> bool:
    """Whether operations inside belong to the module: torch.nn's own layers, as in torch.fx."""
    home = type(module).__module__
    if isinstance(module, nn.Sequential):
        return False
    return home.startswith(("torch.nn", "torch.ao.nn", "torch.jit")) or isinstance(module, torch.jit.ScriptModule)


def is_callable(module: nn.Module) -> bool:
    """Whether a module is ever called itself; containers and quantization's FloatFunctional never are."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    return type(module).forward is not nn.Module.forward and "Functional" not in type(module).__name__


def argument_names(module: nn.Module, count: int) -> list[str]:
    """The first `count` argument names of the module's forward: what torchvision calls the inputs."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names += [f"input_{index}" if index else "input" for index in range(len(names), count)]
    return names[:count]
