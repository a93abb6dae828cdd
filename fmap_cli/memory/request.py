"""What is asked of a step's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..models.records import LoadedModel, ModelRequest


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """What `fmap memory` is asked: a step or an inference of a model, at this batch and in this number format.

    `modes` are `train`, `inference` or both. `checkpoint` is a glob of modules, or `auto`; `freeze` globs of
    parameters that do not learn. `budget` is in bytes, or `auto` for what the card has. A `LoadedModel` is
    followed with the input it is fed.
    """

    model: ModelRequest | LoadedModel
    batch: int = 32
    size: tuple[int, int] | None = None
    dtype: Literal["float32", "float16", "bfloat16", "amp"] = "float32"
    optimizer: Literal["sgd", "sgd-momentum", "adam", "adamw", "none"] = "sgd-momentum"
    modes: tuple[Literal["train", "inference"], ...] = ("train", "inference")
    checkpoint: str | None = None
    freeze: tuple[str, ...] = ()
    budget: int | Literal["auto"] | None = None
    what_if: bool = False
    measure: str | None = None
