"""Whatever happens in the other process, this one says what it was."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fmap_cli.apart import run_apart
from fmap_cli.errors import FmapError, ModelError


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


def test_the_result_comes_back_and_sentences_on_the_way() -> None:
    said: list[str] = []
    assert run_apart(__name__, "double", 21, say=said.append) == 42
    assert said == ["doubling 21"]


def test_an_error_keeps_its_class_and_hint() -> None:
    with pytest.raises(ModelError) as caught:
        run_apart(__name__, "refuses", say=print)
    assert (caught.value.message, caught.value.hint) == ("no such thing", "try another")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("breaks", "ValueError: three"),
        ("stops", "SystemExit: enough"),
        ("leaves", "ended with code 7"),
        ("aborts", "ended by SIGABRT"),
    ],
)
def test_any_other_end_is_one_line(function: str, words: str) -> None:
    with pytest.raises(FmapError) as caught:
        run_apart(__name__, function, say=print)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_nothing_stays_behind() -> None:
    import multiprocessing

    with pytest.raises(FmapError):
        run_apart(__name__, "leaves", say=print)
    run_apart(__name__, "double", 1, say=lambda sentence: None)
    assert multiprocessing.active_children() == []


def prints(say: Callable[[str], None]) -> int:
    print("a network's own words")
    return 1


def hangs(say: Callable[[str], None]) -> None:
    say(str(os.getpid()))
    time.sleep(600)


def test_what_a_network_prints_is_not_standard_output() -> None:
    code = "from fmap_cli.apart import run_apart; print(run_apart('test_apart', 'prints', say=print))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert ran.stdout == "1\n"
    assert "a network's own words" in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_other_process_ends_with_this_one(number: signal.Signals) -> None:
    code = "from fmap_cli.apart import run_apart; run_apart('test_apart', 'hangs', say=lambda s: print(s, flush=True))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    parent.send_signal(number)
    parent.wait()
    for _ in range(100):
        time.sleep(0.1)
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return  # ended, and not yet collected by whoever inherited it
    os.kill(child, signal.SIGKILL)
    pytest.fail("it runs on")
