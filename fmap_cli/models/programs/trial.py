"""A program out of a file is tried in a process of its own first: loaded and run once, in bounded time and memory.

A TorchScript program runs code while it is loaded, torch's loader trusts its text, and it may ask for a tensor of
terabytes or make loops without end. What happens in another process is a sentence here. That process starts while
this one imports torch, and what it finds out need not be found out again, so an honest program hardly waits.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import ModelError
from fmap_cli.foreign import raised
from fmap_cli.foreign.isolated import EndedError, Isolated

if TYPE_CHECKING:
    import torch

    from fmap_cli.models.records import NetworkInput

    Program = tuple[torch.nn.Module, NetworkInput, tuple[str, ...]]
    """A program as a network, what that takes, and what the user should know of it."""

SECONDS = 8.0
"""So long may one step take: loading, or one pass over a picture of the usual size."""
MOST_BYTES = 1 << 30
"""So much memory may it take beyond what torch itself has."""
_USUAL_VALUES = 2 * 3 * 224 * 224
_BYTES_A_SECOND = 20_000_000
"""A file is read faster than this."""
_IMPORT_SECONDS = 120.0
_MOST_LACKS = 3
"""Passes that may lack memory: some input that is tried may be too large for a good program."""
_LACKS_MEMORY = 77
"""The exit code of the process that tries a program which lacked memory so often."""

INSTEAD = "To see its layers, make the network in Python: `--model path/to/file.py:factory --weights FILE`."
HINT = (
    "If you trust it, make the network in Python: a factory in `--model path/to/file.py:factory` that returns"
    " `torch.jit.load(FILE)` or `torch.export.load(FILE).module()`."
)


@contextlib.contextmanager
def tried(spec: str, module: str, function: str, *arguments: Any) -> Iterator[Callable[[], Any]]:
    """Inside, `module.function(spec, *arguments, say)` runs apart; what it yields waits for the result.

    Raises ModelError where that does not end in time and memory, or ends the process.
    """
    with Isolated(module, function, spec, *arguments, purpose="tries the program", quiet=True) as other:
        other.heard_within(_IMPORT_SECONDS)

        def result() -> Any:
            try:
                return other.result(other.heard_within)
            except EndedError as error:
                if error.code == _LACKS_MEMORY:
                    raise refusal_for_memory(spec) from error
                raise ModelError(f"{spec} was not opened: {_ended(error)}", hint=HINT) from error

        yield result


def _ended(error: EndedError) -> str:
    if error.silent:
        return "tried by itself it did not end in time; a loop in it may have no end"
    if error.code in (-getattr(signal, "SIGSEGV", 11), -getattr(signal, "SIGABRT", 6), -getattr(signal, "SIGBUS", 7)):
        name = signal.Signals(-error.code).name
        return f"it ends torch itself ({name}) when it is tried; it is damaged, or made to harm"
    return f"tried by itself it came to no end ({error.message})"


def refusal_for_memory(spec: str) -> ModelError:
    """For a program that asks for more memory than it may have."""
    return ModelError(
        f"{spec} was not opened: over an input of usual size it asks for more than {MOST_BYTES >> 20:,} MiB of memory"
        " beyond its weights",
        hint=HINT,
    )


def is_about_memory(error: BaseException) -> bool:
    """Whether what failed is that memory could not be had."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("allocate memory", "bad_alloc", "vector::_M_", "basic_string")
    )


def not_loaded(spec: str, kind: str, error: Exception, hint: str) -> ModelError:
    """What to say where torch fails to load a program of this kind."""
    if is_about_memory(error):
        return refusal_for_memory(spec)
    return ModelError(f"cannot load the {kind} program {spec}: {raised.what(error)}", hint=hint)


def bytes_for(inputs: Sequence[torch.Tensor]) -> int:
    """How much memory a program may take over these inputs."""
    return int(MOST_BYTES * larger(sum(each.numel() for each in inputs)))


def inputs_for(takes: NetworkInput) -> list[torch.Tensor]:
    """Something for the network to run on."""
    import torch

    dtype = getattr(torch, takes.dtype)
    return [
        torch.zeros((1, *shape), dtype=torch.int64) if whole else torch.rand(1, *shape).to(dtype)
        for shape, whole in zip(takes.shapes, takes.integers, strict=True)
    ]


def larger(values: int) -> float:
    """How many times larger an input of so many values is than the usual one; 1 for smaller ones."""
    return max(1.0, values / _USUAL_VALUES)


class Limits:
    """In the process that tries a program: bounds for what comes next, of which the other process hears."""

    def __init__(self, file: Path, say: Callable[[float], None]) -> None:
        self._weights = file.stat().st_size
        self._say = say
        self._before = _data_bytes()
        self._lacks = 0

    def load(self) -> None:
        """From now on the program is loaded."""
        seconds = SECONDS + self._weights / _BYTES_A_SECOND
        self._bound(1.0)
        _bound_processor_time(seconds)  # torch lets no other thread of Python run meanwhile
        self._say(seconds)

    def run(self, *, loops: bool) -> Callable[[int], None]:
        """What is to be told of each pass: the number of values in its input.

        Of larger input a program may make more, but of a loop nobody knows how long it takes.
        """
        _bound_processor_time(None)

        def begins(values: int) -> None:
            times = larger(values)
            self._bound(times)
            self._say(SECONDS if loops else SECONDS * times)

        return begins

    def lack(self) -> None:
        """A pass has lacked memory. Ends this process when that has happened a few times."""
        self._lacks += 1
        if self._lacks == _MOST_LACKS:
            os._exit(_LACKS_MEMORY)

    def _bound(self, times: float) -> None:
        if self._before is not None:
            import resource

            most = self._before + 3 * self._weights + int(MOST_BYTES * times)
            resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _data_bytes() -> int | None:
    """What this process has of memory of its own; None where that cannot be told, and so not be bounded."""
    if sys.platform != "linux":
        return None
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))
    except (OSError, StopIteration, ValueError):
        return None


def _bound_processor_time(seconds: float | None) -> None:
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = hard if seconds is None else math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
