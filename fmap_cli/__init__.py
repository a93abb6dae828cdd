"""fmap shows what a convolutional network sees: feature maps, statistics and shapes.

The same verbs as in the shell, on a name, a file or a live module:

    import fmap_cli as fmap

    fmap.feature_maps("resnet18", "photo.jpg", "layer1")
    fmap.stats(my_network, "photos/").layers
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        compare,
        effective_field,
        embed,
        feature_maps,
        findings,
        layers,
        list_models,
        load_image,
        load_model,
        load_run,
        memory,
        predict,
        receptive_fields,
        stats,
        unit,
    )
    from .errors import FmapError

    __version__: str

__all__ = [
    "FmapError",
    "__version__",
    "compare",
    "effective_field",
    "embed",
    "feature_maps",
    "findings",
    "layers",
    "list_models",
    "load_image",
    "load_model",
    "load_run",
    "memory",
    "predict",
    "receptive_fields",
    "stats",
    "unit",
]


def __getattr__(name: str) -> Any:
    """The public names, loaded when first used (PEP 562): `fmap --help` imports no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("fmap-cli")
    else:
        found = getattr(importlib.import_module(".errors" if name == "FmapError" else ".api", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package with its verbs. Python binds a room (`fmap_cli/layers/`) to its name once it is imported: where a
    verb has that name, `fmap_cli.layers` stays the verb. `from fmap_cli.layers.survey import survey` finds the room all
    the same.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
