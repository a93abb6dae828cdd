"""A test that leaves something behind fails, and not the one after it."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch

SEED = 20261128
# Started once in a process, for good; the last waits for the browser that a file's tests share.
KEPT_THREADS = ("tqdm_monitor", "fmap-kernels", "asyncio-waitpid")
KEPT_PROCESSES = (b"resource_tracker", b"forkserver", b"playwright")
BEFORE = pytest.StashKey[dict[str, Any]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.stash[BEFORE] = _state()
    # Whatever draws without a seed of its own draws the same, whichever tests ran before.
    random.seed(SEED)
    np.random.seed(SEED)
    torch.default_generator.manual_seed(SEED)  # and no other device's, for which torch keeps a stack trace each time
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    before = item.stash[BEFORE]
    for _ in range(20):  # threads and processes that are ending
        now = _state()
        left = [name for name in before if now[name] != before[name]]
        if not left:
            return
        if not set(left) <= {"threads", "child processes"}:
            break
        time.sleep(0.05)
    words = "; ".join(f"{name}: {_changed(before[name], now[name])}" for name in left)
    pytest.fail(f"the test leaves behind {words}", pytrace=False)


def _state() -> dict[str, Any]:
    """What tests share in a process."""
    return {
        "another current directory": Path.cwd(),
        "an environment variable": {
            name: value
            for name, value in os.environ.items()
            # Importing scikit-learn sets KMP_…, importing torch's compiler TORCHINDUCTOR_….
            if name not in ("PYTEST_CURRENT_TEST", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
            and not name.startswith("TORCHINDUCTOR_")
        },
        "sys.argv": list(sys.argv),
        "sys.path": list(sys.path),
        "an imported file of its own": _temporary_modules(),
        "a signal's handler": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "a file mode mask": _umask(),
        "threads": {each for each in threading.enumerate() if not each.name.startswith(KEPT_THREADS)},
        "child processes": _children(),
        "NumPy's way with errors": np.geterr(),
        "torch's default number format": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's number of threads": torch.get_num_threads(),
        "gradients on or off": torch.is_grad_enabled(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "a mode of torch": torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack(),
        "hooks on all modules": len(torch.nn.modules.module._global_forward_hooks)
        + len(torch.nn.modules.module._global_forward_pre_hooks),
    }


def _temporary_modules() -> set[str]:
    """The names under which files of pytest's temporary folders are imported. Several thousand modules are looked
    through only where they are others than the last time: this runs twice a test.
    """
    global _modules
    if sys.modules != _modules:
        changed = {name for name, module in sys.modules.items() if _modules.get(name) is not module}
        _temporary.difference_update(changed | (_modules.keys() - sys.modules.keys()))
        _temporary.update(name for name in changed if _is_temporary(name))
        _modules = dict(sys.modules)
    return set(_temporary)


_modules: dict[str, Any] = {}
_temporary: set[str] = set()


def _is_temporary(name: str) -> bool:
    if name.startswith("fmap_factory_"):  # fmap's own name for a file with a factory, whose classes must be found
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and "/pytest-" in file


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def _children() -> set[int]:
    """Processes of which this one is the parent, but for what stays until the end: multiprocessing's own helpers, the
    process that forks others, and the browser that a file's tests share."""
    found = set()
    for file in Path("/proc/self/task").glob("*/children"):
        try:
            numbers = file.read_text().split()
        except OSError:  # a thread that has ended since
            continue
        for number in numbers:
            try:
                command = Path(f"/proc/{number}/cmdline").read_bytes()
            except OSError:
                continue
            if int(number) not in forked.started and not any(name in command for name in KEPT_PROCESSES):
                found.add(int(number))
    return found


def _changed(before: Any, now: Any) -> str:
    if isinstance(before, set):
        return str(now ^ before)
    if isinstance(before, dict):
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return ", ".join(f"{name} {before.get(name)!r} → {now.get(name)!r}" for name in names)
    return f"{before} → {now}"
