"""Each argument's own check, found by its name: a name means one thing in every verb, so it is checked in one way."""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any, ParamSpec, TypeVar, get_args, overload

from ..errors import FmapError, ImageError, LayerError, ModelError
from ..models.labels import read_labels
from ..models.records import ModelRequest
from ..network.records import LayerKind
from ..units import BYTE_UNITS

_one_at_a_time = threading.RLock()
"""Verbs that are called in several threads wait for one another: while a pass goes on much of the process is another's
(standard output, torch's defaults, the network's training flags), and torch uses all cores anyway."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


@overload
def verb(function: Callable[_P, _R], /) -> Callable[_P, _R]: ...
@overload
def verb(**own: Check) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...
def verb(function: Any = None, /, **own: Check) -> Any:
    """A verb that checks its arguments before it computes anything: those whose names are in `CHECKS`, by these, and
    those that no other verb has by its `own`, as in `@verb(near=share)`.

    Raises an FmapError that says what was received and what is allowed.
    """
    return functools.partial(_checked, own) if function is None else _checked({}, function)


def _checked(own: dict[str, Check], function: Callable[_P, _R]) -> Callable[_P, _R]:
    signature = inspect.signature(function)
    checks = {each: check for each, check in {**CHECKS, **own}.items() if each in signature.parameters}

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(_misfit(function, signature, kwargs, error)) from None
        for each, value in given.arguments.items():
            if each in checks:
                given.arguments[each] = checks[each](each, value)
        with _one_at_a_time:
            return function(*given.args, **given.kwargs)

    checked.checks = frozenset(checks)  # type: ignore[attr-defined]  # for the test that every argument has one
    return checked


def _misfit(function: Callable[..., Any], signature: inspect.Signature, given: Iterable[str], error: TypeError) -> str:
    """What is wrong with a call, with the verb's name and, for a name that it does not have, the nearest that it has.

    >>> def show(model, image): ...
    >>> _misfit(show, inspect.signature(show), ["images"], TypeError("got an unexpected keyword argument 'images'"))
    "show() has no argument 'images'; did you mean 'image'? It has model, image."
    """
    names = list(signature.parameters)
    unknown = [each for each in given if each not in names]
    if not unknown:
        return f"{function.__name__}(): {error}"
    near = difflib.get_close_matches(unknown[0], names, 1)
    meant = f"; did you mean {near[0]!r}? It has" if near else "; it has"
    return f"{function.__name__}() has no argument {unknown[0]!r}{meant} {', '.join(names)}."


def among(name: str, given: Any, known: Sequence[Any]) -> Any:
    """The value, if it is one of those known; FmapError with all of them if it is not."""
    if not any(type(given) is type(each) and given == each for each in known):
        raise _wrong(name, given, f"one of {', '.join(map(repr, known))}")
    return given


def whole(given: object) -> int | None:
    """The number that this is, of Python's or NumPy's integers; None for anything else, and for True and False."""
    try:
        return None if isinstance(given, bool) else operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        return None


def is_model(given: object) -> bool:
    """Whether this is a module, a session or a request, and no image."""
    return isinstance(given, ModelRequest) or hasattr(given, "named_modules") or hasattr(given, "resolvers")


def is_image(given: object) -> bool:
    """Whether this is an image in memory, or has the name of a picture's file."""
    if isinstance(given, str):
        return given.lower().endswith(_PICTURES)
    return hasattr(given, "__array__") or hasattr(given, "getbands")


def input_noun(given: object) -> str:
    """What an image or a file of one is called, with its article: a file of numbers need not be an image."""
    return "an array" if isinstance(given, str) and given.lower().endswith(".npy") else "an image"


def _wrong(name: str, given: object, wanted: str, error: type[FmapError] = FmapError) -> FmapError:
    text = repr(given)
    if len(text) > 60 or "\n" in text:
        text = f"of type {type(given).__name__}"
    return error(f"{name} is {text}: it has to be {wanted}.")


def _listed(given: object) -> list[Any]:
    """The entries of a list; none of a text, or of what is not a list."""
    return [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)


def _wholes(given: object, least: int = 1) -> tuple[int, ...]:
    """The whole numbers of a list; none if one of them is something else, or below the least."""
    found = [whole(each) for each in _listed(given)]
    kept = tuple(each for each in found if each is not None and each >= least)
    return kept if len(kept) == len(found) else ()


Check = Callable[[str, Any], Any]
"""From an argument's name and what was given to the value that the verb gets; raises FmapError."""

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".npy")


def _model(name: str, given: Any) -> Any:
    if is_image(given):
        what = repr(given) if isinstance(given, str) else f"this {type(given).__name__}"
        noun = input_noun(given)
        raise ModelError(
            f"{what} is {noun}, and here a model is wanted: the model comes first, then the {noun.split()[1]}."
        )
    return given


def _images(name: str, given: Any) -> Any:
    if is_model(given):
        raise ImageError(f"this {type(given).__name__} is not an image: the model comes first, then the image.")
    return given


def _names(name: str, given: Any) -> Any:
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for each in several:
        if each is not None and not isinstance(each, str):
            hint = "`fmap layers` lists the names." if name == "layer" else None
            wrong = _wrong(name, each, "a name or a pattern, or several", LayerError)
            raise LayerError(wrong.message, hint=hint)
    return given if given is None or isinstance(given, str) else tuple(several)


def _kinds(name: str, given: Any) -> Any:
    found = _names(name, given)
    for each in (found,) if isinstance(found, str) else found or ():
        among(name, each, get_args(LayerKind))
    return found


def _number_from(least: int, most: int | None = None) -> Check:
    def check(name: str, given: Any) -> int | None:
        number = whole(given)
        if given is not None and (number is None or number < least or (most is not None and number > most)):
            raise _wrong(name, given, f"a whole number of at least {least}")
        return number

    return check


def share(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 1:
        raise _wrong(name, given, "a number from 0 to 1")
    return given


def _threshold(name: str, given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not (given >= 0 and isfinite(given)):
        raise _wrong(name, given, "a number of at least 0")
    return given


def _channels(name: str, given: Any) -> tuple[int, ...] | None:
    found = _wholes(given, least=0)
    if given is not None and not found:
        raise _wrong(name, given, "a list of channels by number, from 0")
    return None if given is None else found


def _place(name: str, given: Any) -> Any:
    if given is None or (isinstance(given, str) and given in ("max", "min")):
        return given
    number = whole(given)
    found = _wholes(given, least=0) if number is None else (number,)
    if not 1 <= len(found) <= 3 or min(found) < 0:
        raise _wrong(name, given, "a cell, its row and column from 0 (of a clip the frame before), or 'max' or 'min'")
    return found


def _text(name: str, given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise _wrong(name, given, "a string")
    return given


def _class(name: str, given: Any) -> Any:
    number = whole(given)
    if given is not None and not isinstance(given, str) and (number is None or number < 0):
        raise _wrong(name, given, "a class's name, or its number from 0")
    return given if number is None else number


def _layout(name: str, given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise _wrong(name, given, "the letters of the axes, as 'HWC' or 'BHWC'")
    return given


def _size(name: str, given: Any) -> Any:
    if given is None:
        return None
    number = whole(given)
    found = _wholes(given) if number is None else (number,)
    if len(found) not in (1, 2) or min(found) < 1:
        raise _wrong(name, given, "a number of pixels, or (height, width)")
    return found[0] if len(found) == 1 else found


def _shapes(name: str, given: Any) -> tuple[tuple[int, ...], ...]:
    """One shape an input: `(3, 32, 32)` is that of the only one."""
    several = _listed(given)
    if several and all(whole(each) is not None for each in several):
        several = [several]
    found = tuple(_wholes(each) for each in several)
    if not all(found) or (not found and given not in ((), [])):
        raise _wrong(name, given, "a shape without the batch, as (3, 32, 32), or one an input")
    return found


def _numbers(name: str, given: Any) -> tuple[float, ...] | None:
    if given is None:
        return None
    try:
        found = (float(given),) if not isinstance(given, Iterable) else tuple(float(each) for each in given)
    except (TypeError, ValueError):
        found = ()
    if not found or isinstance(given, str):
        raise _wrong(name, given, "a number, or one a channel")
    return found


def _range(name: str, given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = (float(each) for each in given)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (isfinite(low) and isfinite(high) and low < high):
        raise _wrong(name, given, "the values that are black and white, the smaller one first, as (0, 4095)")
    return low, high


def _labels(name: str, given: Any) -> tuple[str, ...] | None:
    if hasattr(given, "__fspath__"):
        return read_labels(given)
    found = tuple(_listed(given))
    if given is not None and not (found and all(isinstance(each, str) for each in found)):
        raise _wrong(name, given, "the names of the classes, a list of strings, or a file of them, a Path", ModelError)
    return None if given is None else found


def _weights(name: str, given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    if hasattr(given, "__fspath__"):
        return str(given)
    raise _wrong(name, given, "the name of a pretrained set, 'random', or a checkpoint's path", ModelError)


def bytes_of(name: str, given: Any) -> Any:
    """Bytes, of a number, of a text with a unit (`24GB`, `512 MiB`), or `auto`; FmapError for anything else.

    >>> bytes_of("budget", "24GB"), bytes_of("budget", "1.5 GiB"), bytes_of("budget", "auto")
    (24000000000, 1610612736, 'auto')
    """
    if given is None or (isinstance(given, str) and given.strip() == "auto"):
        return given if given is None else "auto"
    number = whole(given)
    if isinstance(given, str):
        units = {unit.lower(): factor for unit, factor in BYTE_UNITS.items()}
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", given.strip())
        if found is not None and found[2].lower() in units:
            number = int(float(found[1]) * units[found[2].lower()])
    if number is None or number <= 0:
        known = ", ".join(unit for unit in BYTE_UNITS if unit[0] in "MGT")
        raise _wrong(name, given, f"an amount of memory, a number with one of {known}, or 'auto'")
    return number


def choice(*known: str | None) -> Check:
    """A check that this is one of those known; None is where it is among them."""
    return lambda name, given: among(name, given, known)


CHECKS: dict[str, Check] = {
    "model": _model,
    "vs": _model,
    "image": _images,
    "images": _images,
    "other": _images,
    "layer": _names,
    "freeze": _names,
    "kind": _kinds,
    "channels": _channels,
    "at": _place,
    "score": share,
    "threshold": _threshold,
    "layout": _layout,
    "class_": _class,
    "size": _size,
    "input_shape": _shapes,
    "mean": _numbers,
    "std": _numbers,
    "value_range": _range,
    "labels": _labels,
    "weights": _weights,
    "budget": bytes_of,
    **dict.fromkeys(("checkpoint", "draw", "measure", "name", "pattern"), _text),
    **dict.fromkeys(("top", "batch", "limit", "similar", "depth", "noise"), _number_from(1)),
    **dict.fromkeys(("back", "box", "channel", "steps", "workers"), _number_from(0)),
    **dict.fromkeys(("seed", "shuffle"), _number_from(0, 2**63 - 1)),
    "by": choice("std", "mean", "max", "l2", "effect"),
    "memory_format": choice("contiguous", "channels_last"),
    "optimizer": choice("sgd", "sgd-momentum", "adam", "adamw", "none"),
}
"""The arguments that are checked in every verb, by name. One that a single verb has is an argument of its `@verb`."""
