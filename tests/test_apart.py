"""Whatever happens in the other process, this one says what it was."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

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
