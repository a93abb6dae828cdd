"""Weights from files: read as tensors and nothing else, and fitted to a network key by key.

A file never runs code here: PyTorch files are read with `weights_only=True`, always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import WeightsError
from fmap_cli.models import building, matching, tensor_files
from fmap_cli.models.records import Weights

if TYPE_CHECKING:
    import torch

    Build = Callable[[Mapping[str, torch.Tensor], int | None], torch.nn.Module]

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar", ".th")

_SHOWN = 3  # keys named in a message before "and N more"

_WAY_OUT = tensor_files.WAY_OUT


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds: tensors by key; `metadata` is the state dict's own (module versions).

    `parts` are all the state dicts in the file, as saved; the tensors are those of the first, until `matched` knows
    which are the network's. `path` is how the user named the file, `name` what to call its weights on outputs.
    """

    name: str
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: str = ""
    parts: tuple[matching.StateDict, ...] = ()


@dataclass(frozen=True, slots=True)
class FromFile:
    """A network with a checkpoint's weights. `classes` is None where it is not known."""

    module: torch.nn.Module
    weights: Weights
    classes: int | None
    notes: tuple[str, ...]


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


def looks_like_a_file(text: str) -> bool:
    """Whether a `--weights` value means a path: there is such a file, or it is written like one.

    >>> looks_like_a_file("runs/best"), looks_like_a_file("net.pth"), looks_like_a_file("IMAGENET1K_V2")
    (True, True, False)
    >>> looks_like_a_file("net.pth:teacher")
    True
    """
    path = Path(_place(text)[0])
    return path.exists() or "/" in text or "\\" in text or path.suffix.lower() in SUFFIXES


def _place(text: str) -> tuple[str, str | None]:
    """The file, and the key in it: `net.pth:teacher`. A colon that belongs to the path is left there.

    >>> _place("net.pth:ema.module"), _place("runs/net.pth")
    (('net.pth', 'ema.module'), ('runs/net.pth', None))
    """
    file, colon, key = text.rpartition(":")
    if not colon or not key or Path(text).exists():
        return text, None
    return (file, key) if Path(file).is_file() or Path(file).suffix.lower() in SUFFIXES else (text, None)


# --- A network from a file -------------------------------------------------------------------------------


def module_from_file(
    path: str,
    model_name: str,
    build: Build,
    classes: int,
) -> FromFile:
    """The network that `build` makes, filled from the file; its head has as many classes as the file's.

    `build` gets the file's tensors and the number of classes (None: its own, which is `classes`). Raises
    WeightsError where the file cannot be read or does not fit.
    """
    saved = read(path)
    with building.no_init():
        module = build(saved.tensors, None)
    first, saved = saved, matched(saved, module)
    if (
        saved.parts[0] is not first.parts[0]
    ):  # another state dict of the file fits: the network's structure is in that one
        with building.no_init():
            module = build(saved.tensors, None)
    notes = saved.notes
    found: int | None = classes
    misfit = compare(saved, module)
    if misfit.only_shapes and _are_heads(misfit, module):
        found = _classes_of(misfit, classes)
        rebuilt = _built_for(found, saved, build)
        if rebuilt is not None:
            module = rebuilt
            notes += (f"classifier rebuilt for {_counted(found or 0, 'class')}, as in the checkpoint",)
        else:
            found = None
            notes += _resize_heads(module, saved, misfit)
    fill(module, saved, model_name)
    return FromFile(
        module=module, weights=Weights("file", saved.name), classes=found, notes=notes + finite_notes(module)
    )


def _built_for(classes: int | None, saved: Checkpoint, build: Build) -> torch.nn.Module | None:
    """The network built for that many classes; None where the file still differs: only some heads were changed."""
    if classes is None:
        return None
    with building.no_init():
        module = build(saved.tensors, classes)
    return None if compare(saved, module) else module


def fill(module: torch.nn.Module, saved: Checkpoint, model_name: str, *, is_own: bool = False) -> None:
    """Copies the file's values into the network, cast to its types. Strict: raises WeightsError on any misfit.

    `is_own` says that the network is the user's own, so that the error need not say how to name it.
    """
    state = dict(saved.tensors)
    misfit = compare(saved, module)
    if misfit.reshaped or misfit.retyped:
        raise _does_not_fit(saved, misfit, model_name, module, is_own=is_own)
    # Torch has the last word on names: modules rename keys of older versions while they load.
    tensors = _StateDict(state)
    tensors._metadata = dict(saved.metadata or getattr(module.state_dict(), "_metadata", {}))
    try:
        result = module.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{saved.name} does not fit {model_name}: {error}", hint=_WAY_OUT) from error
    left = Misfit(
        missing=_without_counters(result.missing_keys),
        unexpected=_without_counters(result.unexpected_keys),
        reshaped=(),
        retyped=(),
    )
    if left:
        raise _does_not_fit(saved, left, model_name, module, is_own=is_own)


class _StateDict(dict[str, Any]):
    """A dict that can carry the `_metadata` that `load_state_dict` looks for."""

    _metadata: dict[str, Any]


def finite_notes(module: torch.nn.Module) -> tuple[str, ...]:
    """A sentence where weights are NaN or infinite, which spoils every map after them."""
    import torch

    count = 0
    with torch.no_grad():
        for tensor in module.state_dict().values():
            # A sum is quick and finite where all values are; only then each one is looked at.
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.is_floating_point()
                and not math.isfinite(tensor.sum().item())
            ):
                count += int((~torch.isfinite(tensor)).sum())
    return (f"{_counted(count, 'weight')} {'is' if count == 1 else 'are'} NaN or infinite",) if count else ()


# --- Reading -------------------------------------------------------------------------------------------


def read(path: str) -> Checkpoint:
    """The tensors of a `.safetensors` file or of a PyTorch checkpoint; `FILE:KEY` names a place in it.

    Raises WeightsError for a file that is missing, unreadable, empty, truncated, no checkpoint, or that needs
    code to run, and for a place that is not there.
    """
    path, key = _place(path)
    file = Path(path)
    content = tensor_files.load(path)
    parts = _parts(content, path, key)
    first = parts[0]
    tensor_files.refuse_odd_tensors(first.tensors, path)
    return Checkpoint(
        name=file.name if key is None else f"{file.name}:{key}",
        tensors=first.tensors,
        metadata=first.metadata,
        path=path,
        parts=parts,
    )


def _parts(content: object, path: str, key: str | None) -> tuple[matching.StateDict, ...]:
    """The state dicts in what was saved, or those at the place named; at least one."""
    content = matching.as_mapping(content)
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds {_a(type(content).__name__)}; expected a state dict (names to tensors)", hint=_WAY_OUT
        )
    if not content:
        raise WeightsError(f"{path} holds an empty state dict")
    parts = matching.state_dicts(content)
    if not parts:
        raise WeightsError(f"{path} holds no tensors under {_listed(map(str, content))}", hint=_WAY_OUT)
    if key is None:
        return tuple(parts)
    named = matching.under(content, key)
    if not named:
        places = [each.place for each in parts if each.place] or list(
            dict.fromkeys(name.partition(".")[0] for each in parts for name in each.tensors)
        )
        raise WeightsError(
            f"{path} holds nothing under {key!r}", hint=f"It has {_listed(places)}: `--weights {path}:{places[0]}`."
        )
    return tuple(named)


# --- Comparing -----------------------------------------------------------------------------------------


def matched(saved: Checkpoint, module: torch.nn.Module) -> Checkpoint:
    """`saved` with those of the file's tensors that are the network's weights, under the network's names.

    Where no state dict of the file has all the network's keys, the first one with the prefix off that leaves most keys
    in common, for `fill` to say what differs. Raises WeightsError where several fit and none is likelier.
    """
    own = module.state_dict()
    found: dict[str, matching.Fit] = {}
    exact: list[matching.Fit] = []
    for part in saved.parts:
        if part.is_joined and found:
            continue  # what is in it has been found in its parts
        for fit in matching.fits(part, own):
            misfit = compare(_under_names(saved, fit), module)
            if fit.key not in found and (not misfit or _is_another_head(misfit, module)):
                found[fit.key] = fit
                exact += [] if misfit else [fit]
    fits = list(found.values())
    if exact and not any(fit.is_known and not fit.is_average for fit in fits):
        fits = exact
    if not fits:
        nearest = [matching.nearest_fit(part, own) for part in saved.parts]
        best = max(nearest, key=lambda fit: len(fit.names))  # the first, where several are equally near
        others = (part for part in saved.parts if part is not best.state)
        return replace(_under_names(saved, best), parts=(best.state, *others))
    chosen = _chosen(fits, saved)
    tensor_files.refuse_odd_tensors(chosen.state.tensors, saved.path)  # reading looked at the first part
    return _under_names(saved, chosen, _notes_of(saved, chosen, [fit for fit in fits if fit is not chosen]))


def _under_names(saved: Checkpoint, fit: matching.Fit, notes: tuple[str, ...] = ()) -> Checkpoint:
    return Checkpoint(saved.name, fit.tensors(), fit.metadata(), saved.notes + notes, saved.path, (fit.state,))


def _is_another_head(misfit: Misfit, module: torch.nn.Module) -> bool:
    return misfit.only_shapes and _are_heads(misfit, module)


def _chosen(fits: Sequence[matching.Fit], saved: Checkpoint) -> matching.Fit:
    """The trained weights before their averages, those under a usual name before others."""
    likely = [fit for fit in fits if not fit.is_average] or list(fits)
    known = [fit for fit in likely if fit.is_known]
    if known or len(likely) == 1:
        return (known or likely)[0]
    raise WeightsError(
        f"{saved.path} holds {len(fits)} state dicts that fit: {_listed((fit.key for fit in fits), all_of_them=True)}",
        hint=f"Choose one, for example `--weights {saved.path}:{likely[0].key}`.",
    )


def _notes_of(saved: Checkpoint, chosen: matching.Fit, others: Sequence[matching.Fit]) -> tuple[str, ...]:
    """Where the weights stood, what was taken off or left out, and what would have fitted as well."""
    file = Path(saved.path).name
    place = chosen.key if others else chosen.state.place
    notes = [f"{file}: the weights under `{place}`"] if place and saved.name == file else []
    if chosen.inner is not None:
        notes.append(f"{file}: `{chosen.inner}` taken out of the names to find the network's")
    if others:
        names = [f"`{fit.key}`" + (" (an average, by its name)" if fit.is_average else "") for fit in others]
        notes.append(
            f"{file} also holds others that fit: {_listed(names, all_of_them=True)};"
            f" `--weights {saved.path}:{others[0].key}` takes {'it' if len(others) == 1 else 'the first of them'}"
        )
    passed_over = tuple(fit.prefix for fit in others if fit.state is chosen.state and fit.prefix)
    left = [key for key in chosen.left if not (passed_over and key.startswith(passed_over))]
    if left:
        notes.append(
            f"{file}: ignored {_counted(len(left), 'tensor')} that the network does not have ({_listed(left)})"
        )
    if chosen.state.others:
        notes.append(f"{file}: ignored what is not a tensor ({_listed(chosen.state.others)})")
    return tuple(notes)


def compare(saved: Checkpoint, module: torch.nn.Module) -> Misfit:
    """How the file's keys, shapes and types differ from the network's."""
    own: Mapping[str, torch.Tensor] = module.state_dict()
    both = [key for key in own if key in saved.tensors]
    return Misfit(
        missing=_without_counters(key for key in own if key not in saved.tensors),
        unexpected=_without_counters(key for key in saved.tensors if key not in own),
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


def _without_counters(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.rpartition(".")[2] != matching.COUNTER)


def _does_not_fit(
    saved: Checkpoint, misfit: Misfit, model_name: str, module: torch.nn.Module, *, is_own: bool
) -> WeightsError:
    own = module.state_dict()
    if misfit.missing and not own.keys() & saved.tensors.keys():
        return WeightsError(
            f"{saved.name} holds the weights of another network than {model_name}: it has {_listed(saved.tensors)}; "
            f"the model has {_listed(own)}",
            hint="Name the network it was saved from with `--model`; your own is `path/to/file.py:factory`."
            + _choices(saved),
        )
    parts = []
    if misfit.missing:
        parts.append(f"{len(misfit.missing)} missing ({_listed(misfit.missing)})")
    if misfit.unexpected:
        parts.append(f"{len(misfit.unexpected)} unexpected ({_listed(misfit.unexpected)})")
    if misfit.reshaped:
        shapes = [f"{key} {list(theirs)}, the model's {list(ours)}" for key, theirs, ours in misfit.reshaped]
        parts.append(f"{len(shapes)} of another shape ({_listed(shapes, separator='; ')})")
    if misfit.retyped:
        parts.append(f"{len(misfit.retyped)} of another type ({_listed(misfit.retyped)})")
    return WeightsError(
        f"{saved.name} does not fit {model_name}: {'; '.join(parts)}",
        hint="Is it from another network, or one with another head?"
        + ("" if is_own else " Your own network is `--model path/to/file.py:factory --weights FILE`.")
        + _choices(saved),
    )


def _choices(saved: Checkpoint) -> str:
    """The other state dicts in the file, where there are some."""
    places = [part.place for part in saved.parts[1:] if part.place]
    return f" The file also holds {_listed(places)}: `--weights {saved.path}:{places[0]}`." if places else ""


# --- Heads ---------------------------------------------------------------------------------------------


def _are_heads(misfit: Misfit, module: torch.nn.Module) -> bool:
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


def _classes_of(misfit: Misfit, classes: int) -> int | None:
    """The number of classes that explains every shape, where heads have a multiple of `classes` outputs."""
    found = {theirs[0] * classes / ours[0] for _, theirs, ours in misfit.reshaped}
    only = found.pop()
    return int(only) if not found and only >= 1 and only == int(only) else None


def resize_heads(module: torch.nn.Module, saved: Checkpoint) -> tuple[str, ...]:
    """Gives Linear and Conv layers that end the network the file's number of outputs, where that is all that
    differs; what was done, in sentences. Their values are for `fill` to set."""
    misfit = compare(saved, module)
    if not (misfit.only_shapes and _are_heads(misfit, module)):
        return ()
    return _resize_heads(module, saved, misfit)


def _resize_heads(module: torch.nn.Module, saved: Checkpoint, misfit: Misfit) -> tuple[str, ...]:
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
        f"{path} rebuilt with {_counted(count, 'output')}, as in the checkpoint" for path, count in outputs.items()
    )


# --- Words ---------------------------------------------------------------------------------------------


def _listed(items: Iterable[str], *, separator: str = ", ", all_of_them: bool = False) -> str:
    """
    >>> _listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    items = list(items)
    if all_of_them or len(items) <= _SHOWN:
        return separator.join(items)
    return f"{separator.join(items[:_SHOWN])} and {len(items) - _SHOWN} more"


def _counted(count: int, noun: str) -> str:
    """
    >>> _counted(1, "class"), _counted(10, "class"), _counted(2000, "weight")
    ('1 class', '10 classes', '2,000 weights')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _a(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
