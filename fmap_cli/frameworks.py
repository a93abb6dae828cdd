"""torch and torchvision, imported without what fmap has no use for.

`torchvision/ops/roi_align.py` imports all of `torch._dynamo`, the compiler's front end, for one small
function that it calls when roi_align has to run as compiled Python. That takes nine tenths of torchvision's
import. Here the import waits until the function is called.

How: while torchvision is being imported, `sys.modules["torch._dynamo.utils"]` is a stand-in that offers
`is_compile_supported` alone, a function that imports the real one when called. The stand-in goes away

- as soon as torchvision is there, or has failed to import;
- as soon as anyone imports `torch._dynamo` itself or another part of it: they get the real one, whole;
- as soon as anyone asks it for another name: that name is answered by the real module.

So after `load_torchvision()` nothing of this is left but one forwarding function in
`torchvision.ops.roi_align`; `torch.compile` and roi_align work as otherwise. Where torch or torchvision are
not as expected (`_deferral_fits`), this steps aside and the import is an ordinary one.

Beside that, the garbage collector rests during the import (`_collector_resting`), and torch's threads learn to
share the processor with others (`_threads_yielding`). Both need torch imported by way of this room: call
`load_torchvision()` before the first `import torch`.

timm imports `torch._dynamo` too: it marks five methods with `torch.compiler.disable`, which is done by then, three
quarters of its import. `load_timm` has the mark made later, when such a method runs beside a compiler.

torch marks functions of its own (kernels for the meta device, optimisers) with `torch._disable_dynamo`, which imports
`torch._dynamo` when one of them is first called. `load_torchvision` has them call what they mark as long as nothing
else has imported it (`_own_marks_later`): without dynamo nothing is compiled.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_PACKAGE = "torch._dynamo"
_MODULE = "torch._dynamo.utils"
_NAME = "is_compile_supported"
_IMPORT = f"from {_MODULE} import {_NAME}"


def load_torchvision() -> ModuleType:
    """torchvision, with torch imported before it; `torch._dynamo` stays away until something needs it.

    Free on the second call. Raises ImportError as an ordinary import would.

    >>> load_torchvision().__name__
    'torchvision'
    """
    if "torchvision" not in sys.modules:
        with _collector_resting(), _threads_yielding():
            # First, so that torch's own import never meets the stand-in.
            with _own_marks_later():
                importlib.import_module("torch")
            with _dynamo_deferred() if _deferral_fits() else nullcontext():
                importlib.import_module("torchvision")
    return importlib.import_module("torchvision")


def load_timm() -> ModuleType:
    """timm, imported as torchvision is above. Raises ImportError where it is not installed."""
    load_torchvision()
    if "timm" not in sys.modules:
        with _collector_resting(), _compiler_disabled_later():
            importlib.import_module("timm")
    return importlib.import_module("timm")


@contextmanager
def asked_first(finder: MetaPathFinder) -> Iterator[None]:
    """Inside, this finder is asked before all others for what is imported."""
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _compiler_disabled_later() -> Iterator[None]:
    """`torch.compiler.disable`, used as a plain decorator, waits with its import of `torch._dynamo`.

    A function so marked is itself until dynamo is imported, without which nothing is compiled; from then on it is
    what the real decorator makes of it. Any other use of the decorator is the real one at once.
    """
    import torch.compiler

    real = torch.compiler.disable

    def disable(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or not isinstance(fn, FunctionType) or _PACKAGE in sys.modules:
            return real(fn, *args, **kwargs)
        marked = _marked_with_dynamo(fn, functools.partial(real, fn))
        marked._torchdynamo_disable = True  # type: ignore[attr-defined]  # as on what the real one returns
        return marked

    torch.compiler.disable = disable
    try:
        yield
    finally:
        torch.compiler.disable = real


@contextmanager
def _own_marks_later() -> Iterator[None]:
    """What torch marks with `torch._disable_dynamo` in here is called as it is until `torch._dynamo` is there, and
    from then on by way of the mark. Afterwards the decorator is torch's own again.
    """
    if "torch" in sys.modules:
        yield
        return
    patch = _Patch("torch._compile", "_disable_dynamo", _marked_later)
    try:
        with asked_first(patch):
            yield
    finally:
        patch.undo()


def _marked_later(real: Callable[..., Any]) -> Callable[..., Any]:
    def disable(fn: Any = None, recursive: bool = True) -> Any:
        if not isinstance(fn, FunctionType):
            return real(fn, recursive) if fn is not None else functools.partial(disable, recursive=recursive)
        return _marked_with_dynamo(fn, functools.partial(real, fn, recursive))

    return disable


def _marked_with_dynamo(function: Callable[..., Any], mark: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """The function as it is until `torch._dynamo` is there, and what `mark` makes of it from then on."""
    marked: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if not marked and _PACKAGE in sys.modules:
            marked.append(mark())
        return (marked[0] if marked else function)(*args, **kwargs)

    return either


class _Patch(MetaPathFinder):
    """Has a module's function replaced by what `change` makes of it, before anybody gets it from there."""

    def __init__(self, module: str, name: str, change: Callable[[Any], Any]) -> None:
        self._module, self._name, self._change = module, name, change
        self._real: Any = None

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        spec = PathFinder.find_spec(fullname, path) if fullname == self._module else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_changed(module: ModuleType) -> None:
            load(module)
            self._real = getattr(module, self._name, None)
            if isinstance(self._real, FunctionType):
                setattr(module, self._name, self._change(self._real))

        spec.loader.exec_module = load_changed  # type: ignore[method-assign]
        return spec

    def undo(self) -> None:
        """Everybody who asks from now on gets torch's own again."""
        for each in (self._module, self._module.partition(".")[0]):
            if self._real is not None and hasattr(sys.modules.get(each), self._name):
                setattr(sys.modules[each], self._name, self._real)


def _deferral_fits() -> bool:
    """Whether torch and torchvision are as this room expects them; reads their text and imports nothing."""
    if _PACKAGE in sys.modules or _MODULE in sys.modules:
        return False
    roi_align = _source("torchvision", "ops/roi_align.py")
    mentions = [line.rstrip() for line in roi_align.splitlines() if "_dynamo" in line]
    if mentions != [_IMPORT]:
        return False
    return re.search(rf"^def {_NAME}\(", _source("torch", "_dynamo/utils.py"), re.MULTILINE) is not None


def _source(package: str, path: str) -> str:
    """The text of a package's file, empty where there is none (a zip, a frozen program, another version)."""
    try:
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations if spec else None
        return Path(folders[0], path).read_text(encoding="utf-8") if folders else ""
    except (OSError, ValueError):
        return ""


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Imports make some 300,000 objects that live as long as the process.

    Walking them again and again takes 0.3 s of the import; set aside afterwards (`gc.freeze`), they save
    another 0.3 s when the interpreter shuts down, and every collection in between.

    Objects set aside are not taken apart at the end. Triton's binding library prints pages about "leaks" then, so
    nothing is set aside where Triton has come along, or where others had torch before us.
    """
    ours = "torch" not in sys.modules
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        if ours and "triton" not in sys.modules:
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _threads_yielding() -> Iterator[None]:
    """OpenMP's threads soon sleep while they wait for each other, unless the user has set how long they spin.

    GNU's OpenMP, which torch brings along on Linux, spins 300,000 times by default. On a machine with other work,
    where the thread waited for may have no core, that turns a forward pass of 0.1 s into several seconds; with
    1,000 spins it stays below half a second, and on an idle machine it is as quick as before. The variable is
    read once, when torch's libraries are loaded; other OpenMPs do not know it.
    """
    if "torch" in sys.modules or "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


@contextmanager
def _dynamo_deferred() -> Iterator[None]:
    stand_in = _StandIn(_MODULE)
    watcher = _Watcher(stand_in)
    sys.modules[_MODULE] = stand_in
    try:
        with asked_first(watcher):
            yield
    finally:
        stand_in.withdraw()


class _StandIn(ModuleType):
    """`torch._dynamo.utils` as far as roi_align's import goes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        setattr(self, _NAME, _is_compile_supported)

    def withdraw(self) -> None:
        if sys.modules.get(_MODULE) is self:
            del sys.modules[_MODULE]

    def __getattr__(self, name: str) -> Any:
        # `inspect` and `warnings` ask every module for `__file__` and the like: that is no use of dynamo.
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module {_MODULE!r} has no attribute {name!r}")
        self.withdraw()
        return getattr(importlib.import_module(_MODULE), name)


class _Watcher(MetaPathFinder):
    """Finds nothing; takes the stand-in away before the real `torch._dynamo` is imported.

    `torch._dynamo` is not in `sys.modules` while the stand-in is, so importing it or any part of it comes by
    here first.
    """

    def __init__(self, stand_in: _StandIn) -> None:
        self._stand_in = stand_in

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == _PACKAGE:
            self._stand_in.withdraw()


def _is_compile_supported(device_type: Any) -> Any:
    """The real function's answer, imported at the first call."""
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device_type)


# As on the real function: torch.compile takes the answer for a constant and does not trace into it.
_is_compile_supported._dynamo_marked_constant = True  # type: ignore[attr-defined]
