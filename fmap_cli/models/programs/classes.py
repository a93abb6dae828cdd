"""Modules that look like those a program was made from."""

from __future__ import annotations

import sys


def class_like(qualified: str, base: type) -> type:
    """A subclass of `base` under the name of the class a module had: `torch.nn.modules.conv.Conv2d`.

    What torch.nn defines is a subclass of that too as far as layers are told by it (`isinstance(_, nn.Conv2d)`).
    """
    from torch import nn

    from fmap_cli.network.axes.known import OVER_MAPS

    home, _, name = qualified.rpartition(".")
    known = getattr(sys.modules.get(home), name, None) if home.startswith("torch.nn.") else None
    told_by_class = (*OVER_MAPS, nn.Linear, nn.Dropout, nn.Identity, nn.Sequential)
    bases: tuple[type, ...] = (base,)
    if isinstance(known, type) and issubclass(known, told_by_class):
        bases = (base, known)
    elif isinstance(known, type) and issubclass(known, nn.ModuleList | nn.ModuleDict):
        home = "exported"
    # The home decides whether operations inside belong to the module: so in torch.nn's own layers, nowhere else.
    place = home if home.startswith("torch.nn.") else "exported"
    return type(name or base.__name__, bases, {"__module__": place, "extra_repr": lambda self: ""})
