"""Weights from files: read as tensors and nothing else, and fitted to a network key by key.

A file never runs code here: PyTorch files are read with `weights_only=True`, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import WeightsError
from fmap_cli.models import building, matching, tensor_files
from fmap_cli.models.misfit import (
    Misfit,
    are_heads,
    classes_of,
    compare,
    counted,
    does_not_fit,
    listed,
    with_outputs_of,
    without_counters,
)
from fmap_cli.models.records import Weights
from fmap_cli.models.values import value_notes

if TYPE_CHECKING:
    import torch

    Build = Callable[[Mapping[str, torch.Tensor], int | None], torch.nn.Module]

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar", ".th")


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
    if saved.parts[0] is not first.parts[0]:  # another state dict fits: the network's structure is in that one
        with building.no_init():
            module = build(saved.tensors, None)
    notes = saved.notes
    found: int | None = classes
    misfit = compare(saved, module)
    if misfit.only_shapes and are_heads(misfit, module):
        found = classes_of(misfit, classes)
        rebuilt = _built_for(found, saved, build)
        if rebuilt is not None:
            module = rebuilt
            notes += (f"classifier rebuilt for {counted(found or 0, 'class')}, as in the checkpoint",)
        else:
            found = None
            notes += with_outputs_of(module, saved, misfit)
    fill(module, saved, model_name)
    return FromFile(
        module=module, weights=Weights("file", saved.name), classes=found, notes=notes + value_notes(module)
    )


def _built_for(classes: int | None, saved: Checkpoint, build: Build) -> torch.nn.Module | None:
    """The network built for that many classes; None where the file still differs: only some heads were changed."""
    if classes is None:
        return None
    with building.no_init():
        module = build(saved.tensors, classes)
    return None if compare(saved, module) else module


def check_is_file(weights: str, model: str, had: str) -> None:
    """Raises WeightsError unless `weights`, which name no pretrained set, mean a file; `had` says what there is."""
    if not looks_like_a_file(weights):
        raise WeightsError(
            f"{model} has no weights named {weights!r}, and there is no such file",
            hint=f"{had}; `--weights random` and `--weights FILE` work too.",
        )


def fill(module: torch.nn.Module, saved: Checkpoint, model_name: str, *, is_own: bool = False) -> None:
    """Copies the file's values into the network, cast to its types. Strict: raises WeightsError on any misfit.

    `is_own` says that the network is the user's own, so that the error need not say how to name it.
    """
    state = dict(saved.tensors)
    misfit = compare(saved, module)
    if misfit.reshaped or misfit.retyped:
        raise does_not_fit(saved, misfit, model_name, module, is_own=is_own)
    # Torch has the last word on names: modules rename keys of older versions while they load.
    tensors = _StateDict(state)
    tensors._metadata = dict(saved.metadata or getattr(module.state_dict(), "_metadata", {}))
    try:
        result = module.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{saved.name} does not fit {model_name}: {error}", hint=_WAY_OUT) from error
    left = Misfit(
        missing=without_counters(result.missing_keys),
        unexpected=without_counters(result.unexpected_keys),
        reshaped=(),
        retyped=(),
    )
    if left:
        raise does_not_fit(saved, left, model_name, module, is_own=is_own)


class _StateDict(dict[str, Any]):
    """A dict that can carry the `_metadata` that `load_state_dict` looks for."""

    _metadata: dict[str, Any]


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
        raise WeightsError(f"{path} holds no tensors under {listed(map(str, content))}", hint=_WAY_OUT)
    if key is None:
        return tuple(parts)
    named = matching.under(content, key)
    if not named:
        places = [each.place for each in parts if each.place] or list(
            dict.fromkeys(name.partition(".")[0] for each in parts for name in each.tensors)
        )
        raise WeightsError(
            f"{path} holds nothing under {key!r}", hint=f"It has {listed(places)}: `--weights {path}:{places[0]}`."
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
    return misfit.only_shapes and are_heads(misfit, module)


def _chosen(fits: Sequence[matching.Fit], saved: Checkpoint) -> matching.Fit:
    """The trained weights before their averages, those under a usual name before others."""
    likely = [fit for fit in fits if not fit.is_average] or list(fits)
    known = [fit for fit in likely if fit.is_known]
    if known or len(likely) == 1:
        return (known or likely)[0]
    raise WeightsError(
        f"{saved.path} holds {len(fits)} state dicts that fit: {listed((fit.key for fit in fits), all_of_them=True)}",
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
            f"{file} also holds others that fit: {listed(names, all_of_them=True)};"
            f" `--weights {saved.path}:{others[0].key}` takes {'it' if len(others) == 1 else 'the first of them'}"
        )
    passed_over = tuple(fit.prefix for fit in others if fit.state is chosen.state and fit.prefix)
    left = [key for key in chosen.left if not (passed_over and key.startswith(passed_over))]
    if left:
        notes.append(f"{file}: ignored {counted(len(left), 'tensor')} that the network does not have ({listed(left)})")
    if chosen.state.others:
        notes.append(f"{file}: ignored what is not a tensor ({listed(chosen.state.others)})")
    return tuple(notes)


def _a(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
