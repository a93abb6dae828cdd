"""Where models come from: one list of sources, asked in order which specs are their own, and what a source defines.

A further source is a file of this room with a `load` (`Loader`; with a few functions more if its models have names, see
`Names`), and a line in `SOURCES`. The file is imported when a spec is its own, and no sooner.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .preprocessing import InputOverrides
    from .records import LoadedModel, ModelEntry

DEFAULT_MODEL = "efficientnet_lite0"

PROGRAMS = (".pt", ".pth", ".pt2", ".ts", ".torchscript", ".jit", ".bin", ".ckpt", ".safetensors")
"""The suffixes of files that are opened as programs; what is in one says whether it is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source is asked for; see `fmap_cli.models.load_model` for what each means.

    `spec` is text, or a module in hand.
    """

    spec: Any
    weights: str | None
    seed: int
    overrides: InputOverrides
    say: Callable[[str], None]
    initialise: bool


class Loader(Protocol):
    """What the file of every source defines."""

    def load(self, asked: Asked) -> LoadedModel:
        """The network, in eval mode on the CPU. Raises ModelError and WeightsError."""


class Names(Loader, Protocol):
    """What the file of a source defines whose models have names; none of it builds a model.

    Names are without the source's prefix. Such models say what they take: `--input-shape` is a size for them, and is
    checked.
    """

    def names(self) -> list[str]:
        """All of them, in the source's order."""

    def has(self, name: str) -> bool:
        """Whether there is a model of this name, be it one that is not listed."""

    def entry(self, name: str) -> ModelEntry:
        """The line of `fmap models`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of this room that loads models, and the specs that it `owns`, unless one before it in the list does.

    `brings_weights` says that its models come with their numbers, so that there are no others to ask for. `prefix`
    stands before the names of its models, and is None where they have none.
    """

    file: str
    owns: Callable[[Any], bool]
    brings_weights: bool = False
    prefix: str | None = None

    @property
    def loader(self) -> Loader:
        loader: Loader = importlib.import_module(f"fmap_cli.models.{self.file}")
        return loader

    @property
    def names(self) -> Names:
        """That file, of a source whose models have names."""
        names: Names = self.loader  # type: ignore[assignment]
        return names


SOURCES: tuple[Source, ...] = (
    Source("live", lambda spec: not isinstance(spec, str), brings_weights=True),
    Source("embedded", lambda spec: spec == DEFAULT_MODEL, prefix=""),
    Source("timm_zoo", lambda spec: spec.startswith(("timm:", "hf-hub:", "hf_hub:", "local-dir:")), prefix="timm:"),
    Source("programs.opening", lambda spec: Path(spec).suffix.lower() in PROGRAMS, brings_weights=True),
    Source("factory", lambda spec: ":" in spec or spec.endswith(".py")),
    Source("torchvision_zoo", lambda spec: True, prefix=""),
)


def source_of(spec: Any) -> Source:
    """The first source that says the spec is its own; the last of them takes what no other does.

    >>> [source_of(spec).file for spec in ("resnet18", "timm:resnet18", "net.py:make", "net.pt2")]
    ['torchvision_zoo', 'timm_zoo', 'factory', 'programs.opening']
    """
    return next(source for source in SOURCES if source.owns(spec))
