"""How a checkpoint differs from a network: in keys, shapes and types, in its heads alone, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmap_cli.errors import WeightsError
from fmap_cli.models import matching

if TYPE_CHECKING:
    import torch

    from fmap_cli.models.checkpoint import Checkpoint

_SHOWN = 3  # keys named in a message before "and N more"


@dataclass(frozen=True, slots=True)
class Misfit:
    """How a checkpoint's keys and a network's differ. `reshaped` holds (key, file's shape, network's shape)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    retyped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped or self.retyped)

    @property
    def only_shapes(self) -> bool:
        return bool(self.reshaped) and not (self.missing or self.unexpected or self.retyped)


def compare(saved: Checkpoint, module: torch.nn.Module) -> Misfit:
    """How the file's keys, shapes and types differ from the network's."""
    own: Mapping[str, torch.Tensor] = module.state_dict()
    both = [key for key in own if key in saved.tensors]
    return Misfit(
        missing=without_counters(key for key in own if key not in saved.tensors),
        unexpected=without_counters(key for key in saved.tensors if key not in own),
        reshaped=tuple(
            (key, tuple(saved.tensors[key].shape), tuple(own[key].shape))
            for key in both
            if saved.tensors[key].shape != own[key].shape
        ),
        retyped=tuple(
            f"{key} ({str(saved.tensors[key].dtype).removeprefix('torch.')})"
            for key in both
            if own[key].is_floating_point() and not saved.tensors[key].is_floating_point()
        ),
    )


def without_counters(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.rpartition(".")[2] != matching.COUNTER)


def does_not_fit(
    saved: Checkpoint, misfit: Misfit, model_name: str, module: torch.nn.Module, *, is_own: bool
) -> WeightsError:
    own = module.state_dict()
    if misfit.missing and not own.keys() & saved.tensors.keys():
        return WeightsError(
            f"{saved.name} holds the weights of another network than {model_name}: it has {listed(saved.tensors)}; "
            f"the model has {listed(own)}",
            hint="Name the network it was saved from with `--model`; your own is `path/to/file.py:factory`."
            + _choices(saved),
        )
    parts = []
    if misfit.missing:
        parts.append(f"{len(misfit.missing)} missing ({listed(misfit.missing)})")
    if misfit.unexpected:
        parts.append(f"{len(misfit.unexpected)} unexpected ({listed(misfit.unexpected)})")
    if misfit.reshaped:
        shapes = [f"{key} {list(theirs)}, the model's {list(ours)}" for key, theirs, ours in misfit.reshaped]
        parts.append(f"{len(shapes)} of another shape ({listed(shapes, separator='; ')})")
    if misfit.retyped:
        parts.append(f"{len(misfit.retyped)} of another type ({listed(misfit.retyped)})")
    return WeightsError(
        f"{saved.name} does not fit {model_name}: {'; '.join(parts)}",
        hint="Is it from another network, or one with another head?"
        + ("" if is_own else " Your own network is `--model path/to/file.py:factory --weights FILE`.")
        + _choices(saved),
    )


def _choices(saved: Checkpoint) -> str:
    """The other state dicts in the file, where there are some."""
    places = [part.place for part in saved.parts[1:] if part.place]
    return f" The file also holds {listed(places)}: `--weights {saved.path}:{places[0]}`." if places else ""


def are_heads(misfit: Misfit, module: torch.nn.Module) -> bool:
    """Whether all differing shapes are Linear or Conv layers that differ in their number of outputs alone.

    A layer inside the network cannot differ in that alone: the next one would differ in its inputs.
    """
    from torch import nn

    def is_head(key: str, theirs: Sequence[int], ours: Sequence[int]) -> bool:
        layer = module.get_submodule(key.rpartition(".")[0])
        return (
            isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
            and len(theirs) == len(ours)
            and theirs[1:] == ours[1:]
            and min(theirs) > 0
        )

    return all(is_head(*item) for item in misfit.reshaped)


def classes_of(misfit: Misfit, classes: int) -> int | None:
    """The number of classes that explains every shape, where heads have a multiple of `classes` outputs."""
    found = {theirs[0] * classes / ours[0] for _, theirs, ours in misfit.reshaped}
    only = found.pop()
    return int(only) if not found and only >= 1 and only == int(only) else None


def resize_heads(module: torch.nn.Module, saved: Checkpoint) -> tuple[str, ...]:
    """Gives Linear and Conv layers that end the network the file's number of outputs, where that is all that
    differs; what was done, in sentences. Their values are for `fill` to set."""
    misfit = compare(saved, module)
    if not (misfit.only_shapes and are_heads(misfit, module)):
        return ()
    return with_outputs_of(module, saved, misfit)


def with_outputs_of(module: torch.nn.Module, saved: Checkpoint, misfit: Misfit) -> tuple[str, ...]:
    from torch import nn

    outputs: dict[str, int] = {}
    for key, theirs, _ in misfit.reshaped:
        path, _, tensor = key.rpartition(".")
        layer = module.get_submodule(path)
        own = getattr(layer, tensor)
        empty = own.new_empty(theirs)
        setattr(layer, tensor, nn.Parameter(empty, requires_grad=own.requires_grad))
        setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", theirs[0])
        outputs[path] = theirs[0]
    return tuple(
        f"{path} rebuilt with {counted(count, 'output')}, as in the checkpoint" for path, count in outputs.items()
    )


def listed(items: Iterable[str], *, separator: str = ", ", all_of_them: bool = False) -> str:
    """
    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    items = list(items)
    if all_of_them or len(items) <= _SHOWN:
        return separator.join(items)
    return f"{separator.join(items[:_SHOWN])} and {len(items) - _SHOWN} more"


def counted(count: int, noun: str) -> str:
    """
    >>> counted(1, "class"), counted(10, "class"), counted(2000, "weight")
    ('1 class', '10 classes', '2,000 weights')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
