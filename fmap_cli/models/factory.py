"""Networks of the user's own: `package.module:attribute` or `path/to/file.py:attribute`.

The attribute is a function or class that returns an `nn.Module` and needs no arguments, or an `nn.Module`
itself. The user's code runs here as `python -m` would run it; what it prints goes to stderr, what it raises
becomes one line that names the place.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from fmap_cli.errors import ModelError
from fmap_cli.foreign import raised
from fmap_cli.foreign.guests import guest_code
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models import building, checkpoint, lazy, misfit, probing, torchvision_classes
from fmap_cli.models.preprocessing import InputOverrides, described, fed, fed_as_said, usual_input
from fmap_cli.models.records import LoadedModel, NetworkInput, Weights
from fmap_cli.models.sources import Asked
from fmap_cli.models.values import value_notes

if TYPE_CHECKING:
    import torch


def load(asked: Asked) -> LoadedModel:
    """The network that the factory makes, seeded, with the values it made or a checkpoint's."""
    spec, weights, seed, overrides = asked.spec, asked.weights, asked.seed, asked.overrides
    if ":" not in spec:
        raise ModelError(
            f"{spec} is a file; which function or class in it makes the network?",
            hint=f"Name it after a colon: `--model {spec}:NAME`.",
        )
    if weights is not None and weights.lower() in ("default", "random"):
        weights = None
    load_torchvision()  # most factories import it: this way it is quick
    saved = None if weights is None else checkpoint.read(weights)

    def settle(module: torch.nn.Module) -> NetworkInput | None:
        if saved is not None:
            lazy.take_shapes(module, saved.tensors)
        if torchvision_classes.name_by_class(module) is not None:
            return None
        takes = probing.find_input(module, overrides, name=spec)
        if lazy.has_any(module):
            lazy.finish(module, takes, spec)
        return takes

    module, takes = _made(spec, seed, settle)
    notes: tuple[str, ...] = ()
    if saved is None:
        values = Weights("made", spec, seed)
    else:
        values, notes = _filled(module, saved, spec)
    return fed_network(module.eval(), spec, values, takes, overrides, notes=notes)


def fed_network(
    module: torch.nn.Module,
    name: str,
    weights: Weights,
    takes: NetworkInput | None,
    overrides: InputOverrides,
    *,
    notes: tuple[str, ...] = (),
) -> LoadedModel:
    """A network that says nothing of itself, and how it is fed: as its class wants it, or what was found it `takes`."""
    like = torchvision_classes.name_by_class(module)
    if like is not None:
        own, input_kind, frames = torchvision_classes.fed_by_class(like)
        preprocessing = overrides.with_size_of_shapes(name).over(own)
        said: tuple[str, ...] = (
            f"images are prepared as for torchvision's {like}, since the network is of that class: "
            f"{described(preprocessing)}",
        )
    else:
        takes = takes or usual_input(overrides)
        preprocessing, input_kind, frames, said = fed(takes, overrides)
    model = LoadedModel(
        module=module,
        name=name,
        weights=weights,
        preprocessing=preprocessing,
        input_kind=input_kind,
        frames=frames,
        notes=notes + value_notes(module) + said,
        takes=takes,
    )
    return fed_as_said(model, overrides.shapes) if like is not None and overrides.shapes else model


# --- Finding and calling -------------------------------------------------------------------------------


_Result = TypeVar("_Result")


def _made(spec: str, seed: int, settle: Callable[[torch.nn.Module], _Result]) -> tuple[torch.nn.Module, _Result]:
    """What the factory returns, its random numbers drawn from `seed` whether or not its module drew some before.

    (Python imports a module once: the second time nothing in it runs.) `settle` sees to what is still to be drawn.
    """
    import torch

    place, _, attribute = spec.rpartition(":")
    if not place or not attribute:
        raise ModelError(
            f"{spec!r} names no {'attribute' if place else 'module'}",
            hint="Write `package.module:NAME` or `path/to/file.py:NAME`.",
        )
    is_file = place.endswith(".py")
    folder = Path(place).resolve().parent if is_file else Path.cwd()
    # Its neighbours can be imported while it is imported and while it runs, as `python -m` has it.
    with _first_on_path(folder), _without_arguments(place), guest_code():
        with building.seeded(seed):
            home = _imported_file(Path(place), place) if is_file else _imported_module(place)
        found = _attribute(home, attribute, place)
        with building.seeded(seed):
            # A network that stands in a module is there once: two sides of a comparison must not share it.
            found = _own_copy(found) if isinstance(found, torch.nn.Module) else _called(found, spec)
            if not isinstance(found, torch.nn.Module):
                raise ModelError(f"{spec} returned {_kind_of(found)}; expected an nn.Module")
            _check_parts(found, spec)
            return found, settle(found)


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _without_arguments(place: str) -> Iterator[None]:
    """The user's code sees the command line `python PLACE`."""
    before = sys.argv
    sys.argv = [place]
    try:
        yield
    finally:
        sys.argv = before


def _imported_file(file: Path, place: str) -> ModuleType:
    if not file.is_file():
        raise ModelError(f"no such file: {place}" if not file.exists() else f"{place} is not a file")
    # Not by its own name: `torch.py` or `resnet.py` must not stand in for another module.
    name = f"fmap_factory_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        raise ModelError(f"cannot import {place}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up there
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sys.modules.pop(name, None)
        raise ModelError(f"cannot import {place}: {raised.told(error)}") from error
    return module


def _imported_module(place: str) -> ModuleType:
    try:
        importlib.invalidate_caches()
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        # The module itself, or a package above it; anything else is an import inside it that fails.
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise ModelError(
                f"there is no module {error.name!r}",
                hint="It is looked for in the current directory and among the installed packages; "
                "a file is named by its path, `path/to/file.py:NAME`.",
            ) from error
        raise ModelError(f"cannot import {place}: {raised.told(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ModelError(f"cannot import {place}: {raised.told(error)}") from error


def _attribute(home: ModuleType, attribute: str, place: str) -> Any:
    found: Any = home
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            callables = _callables(home)
            listed = ", ".join(callables[:8]) + (" and more" if len(callables) > 8 else "")
            raise ModelError(
                f"{place} has no {attribute!r}",
                hint=f"It has {listed}." if callables else "It defines no function and no class.",
            ) from error
    return found


def _callables(home: ModuleType) -> list[str]:
    """The public functions and classes of a module: those it defines, or all where it only gathers others'."""
    public = {name: value for name, value in vars(home).items() if callable(value) and not name.startswith("_")}
    own = [name for name, value in public.items() if getattr(value, "__module__", None) == home.__name__]
    return own or list(public)


def _own_copy(module: torch.nn.Module) -> torch.nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception:  # one that holds what cannot be copied, such as a tensor with a gradient's history
        return module


def _called(factory: Any, spec: str) -> Any:
    if not callable(factory):
        raise ModelError(
            f"{spec} is {_kind_of(factory)}; expected a function or class that makes an nn.Module, or an nn.Module"
        )
    needed = _needed_arguments(factory)
    if needed:
        raise ModelError(
            f"{spec} needs arguments: {', '.join(needed)}",
            hint="Name a function that takes none, for example `def make(): return Net(10)`.",
        )
    try:
        return factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ModelError(f"{spec} failed: {raised.told(error)}") from error


def _check_parts(module: torch.nn.Module, spec: str) -> None:
    """Everything that looks at a network begins with these."""
    try:
        for _ in (*module.named_modules(), *module.named_parameters(), *module.named_buffers()):
            pass
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ModelError(f"what {spec} returned cannot be looked into: {raised.told(error)}") from error


def _needed_arguments(factory: Any) -> list[str]:
    """The names of the parameters without a default; empty where Python cannot tell."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


def _kind_of(value: object) -> str:
    """
    >>> _kind_of({}), _kind_of(3), _kind_of(None), _kind_of(dict)
    ('a dict', 'an int', 'None', 'the class dict')
    """
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


# --- Weights -------------------------------------------------------------------------------------------


def _filled(module: torch.nn.Module, saved: checkpoint.Checkpoint, spec: str) -> tuple[Weights, tuple[str, ...]]:
    """Loads a checkpoint into the network; what to call it, and notes."""
    saved = checkpoint.matched(saved, module)
    rebuilt = misfit.resize_heads(module, saved)
    checkpoint.fill(module, saved, spec, is_own=True)
    return Weights("file", saved.name), saved.notes + rebuilt
