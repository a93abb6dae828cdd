"""A layer's name and place, and what the axes of its output are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LayerKind = Literal["input", "output", "conv", "linear", "norm", "act", "pool", "op", "block", "other"]


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A named place in the model: a module's call or an operation.

    `name` is torchvision's own name (`layer1.0.conv1`, `layer1.0.add`, `relu_1` for a second call); `path` the
    module it is or happens in (`layer1.0`), `call` its index among the calls of that module or operation,
    `type_name` the module's class or the operation (`Conv2d`, `add`), `parameters` the module's count of them.
    """

    name: str
    path: str
    call: int
    kind: LayerKind
    type_name: str
    is_module: bool = False
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Axes:
    """What each axis of a layer's output is, in order.

    `names` has one of `B` (batch), `C` (channel), `T` (time), `H`, `W` (height, width), `N` (tokens), `B·N` (both
    in one), `B·?` (the batch and something else) or `?` (neither: heads, cells of a window, or nobody knows) for each
    axis. Tokens that are cells of a `grid` (height, width) come after `prefix` tokens that are not (the class token).
    `how` says where the answer comes from.
    """

    names: tuple[str, ...]
    how: str
    grid: tuple[int, int] | None = None
    prefix: int = 0

    @property
    def spatial(self) -> bool:
        """Whether the output is a map: it has height and width, or tokens that form a grid."""
        return "H" in self.names or self.grid is not None
