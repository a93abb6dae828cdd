"""A module that the caller has in hand: it stays where it is and as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ..errors import ModelError
from . import lazy, probing, torchvision_classes
from .factory import fed_network
from .records import LoadedModel, Weights
from .sources import Asked

if TYPE_CHECKING:
    from torch import nn


def load(asked: Asked) -> LoadedModel:
    """The module in hand, not a copy of it, with what is needed to feed it.

    What it takes is found by running it on blank inputs (a copy on the CPU, if it is elsewhere), unless the overrides
    say so, and is not looked for again as long as the network stays as it is. Raises ModelError for a network with
    lazy layers, whose shapes would be fixed by that.
    """
    module: nn.Module = asked.spec
    name = type(module).__name__
    if lazy.has_any(module):
        raise ModelError(
            f"{name} has lazy layers, whose shapes are not known before they have run.",
            hint="Run it once on an input of yours, then load it.",
        )
    from ..network.unchanged import remembered

    takes = None
    if torchvision_classes.name_by_class(module) is None:
        here = all(each.device.type == "cpu" for each in [*module.parameters(), *module.buffers()])
        takes = remembered(
            module,
            ("takes", asked.overrides),
            lambda: probing.find_input(module if here else copy.deepcopy(module).cpu(), asked.overrides, name=name),
        )
    return fed_network(module, name, Weights("given"), takes, asked.overrides)
