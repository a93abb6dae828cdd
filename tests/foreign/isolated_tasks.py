"""What the other process of `test_apart` is told to do. It imports this file, and nothing here that takes long."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable

from fmap_cli.errors import ModelError


def double(value: int, say: Callable[[str], None]) -> int:
    say(f"doubling {value}")
    return 2 * value


def refuses(say: Callable[[str], None]) -> None:
    raise ModelError("no such thing", hint="try another")


def breaks(say: Callable[[str], None]) -> None:
    raise ValueError("three\nlines\nof it")


def leaves(say: Callable[[str], None]) -> None:
    os._exit(7)


def aborts(say: Callable[[str], None]) -> None:
    faulthandler.disable()  # pytest's, which would print where every thread is
    os.kill(os.getpid(), signal.SIGABRT)


def stops(say: Callable[[str], None]) -> None:
    sys.exit("enough")


def tells(say: Callable[[str], None]) -> None:
    say(str(os.getpid()))


def hangs(say: Callable[[str], None]) -> None:
    tells(say)
    time.sleep(600)


def gradient_of_square(value: float, say: Callable[[str], None]) -> float:
    import torch

    at = torch.tensor(value, requires_grad=True)
    at.square().backward()
    assert at.grad is not None
    return at.grad.item()


def prints(say: Callable[[str], None]) -> int:
    print("a network's own words")
    return 1


def ends_slowly(seconds: float, say: Callable[[str], None]) -> str:
    own = os._exit

    def slowly(code: int) -> None:
        time.sleep(seconds)
        own(code)

    os._exit = slowly  # type: ignore[assignment]
    sys.stderr.write("its last word\n")
    return "done"


def calls(module: str, function: str, say: Callable[[str], None]) -> object:
    return getattr(importlib.import_module(module), function)(say)
