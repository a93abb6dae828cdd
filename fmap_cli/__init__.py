"""fmap shows what a convolutional network sees: feature maps, statistics and shapes.

The verbs of the shell, on a name, a file or a live module:

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
    from . import errors as errors
    from .api import compare as compare
    from .api import effective_field as effective_field
    from .api import embed as embed
    from .api import feature_maps as feature_maps
    from .api import findings as findings
    from .api import layers as layers
    from .api import list_models as list_models
    from .api import load_image as load_image
    from .api import load_model as load_model
    from .api import load_run as load_run
    from .api import memory as memory
    from .api import predict as predict
    from .api import receptive_fields as receptive_fields
    from .api import stats as stats
    from .api import unit as unit
    from .attention.api import attention as attention
    from .cam.api import cam as cam
    from .effect.api import effect as effect
    from .errors import FmapError as FmapError
    from .explain.api import explain as explain
    from .filters.api import filters as filters
    from .report.api import report as report
    from .top.api import top as top

    __version__: str

_FROM = {
    "errors": "",
    "FmapError": "errors",
    "attention": "attention.api",
    "cam": "cam.api",
    "compare": "api",
    "effect": "effect.api",
    "effective_field": "api",
    "embed": "api",
    "explain": "explain.api",
    "feature_maps": "api",
    "filters": "filters.api",
    "findings": "api",
    "layers": "api",
    "list_models": "api",
    "load_image": "api",
    "load_model": "api",
    "load_run": "api",
    "memory": "api",
    "predict": "api",
    "receptive_fields": "api",
    "report": "report.api",
    "stats": "api",
    "top": "top.api",
    "unit": "api",
}
"""The public names, and the file of this package that each is taken from: a new verb has a line here, and one above for
type checkers. A verb may live in `api` or in its own room (`"explain": "explain.api"`).
"""

__all__ = ["__version__", *_FROM]


def __getattr__(name: str) -> Any:
    """The public names, loaded when first used (PEP 562): `fmap --help` imports no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("fmap-cli")
    elif not _FROM[name]:
        return importlib.import_module(f".{name}", __name__)
    else:
        found = getattr(importlib.import_module(f".{_FROM[name]}", __name__), name)
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
        if not (_FROM.get(name) and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
