"""The tests run in another order every time: files, and the tests of a file. The seed that repeats it is printed.

A test that holds only after another one, or only before it, then fails some day, and not when somebody adds a third.
"""

from __future__ import annotations

import random
from itertools import groupby
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--order-seed",
        type=int,
        metavar="N",
        help="The order of the tests: another one for each number; 0 is as written.",
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.option.order_seed = config.workerinput["order_seed"]
    elif config.option.order_seed is None:
        config.option.order_seed = random.SystemRandom().randrange(1, 10**6)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each of xdist's workers the seed that this process has drawn: all must have the tests in one order."""
    node.workerinput["order_seed"] = node.config.option.order_seed


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for test in items:
        if " at 0x" in test.name:  # xdist: "Different tests were collected", when two processes share the tests out
            raise pytest.UsageError(f"{test.nodeid}: a test's name must be the same in each process: give it ids")
    seed = config.option.order_seed
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    files.sort(key=lambda tests: tests[0].path)  # `bytecode` collects them from the end in every other process
    if seed:
        # A generator for each file: one test, or a few files, keep the order that they have in the whole.
        for tests in files:
            random.Random(f"{seed} {tests[0].path.name}").shuffle(tests)
        files.sort(key=lambda tests: random.Random(f"{tests[0].path.name} {seed}").random())
    items[:] = [test for tests in files for test in tests]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.write_line(f"The order of the tests: --order-seed {config.option.order_seed} repeats it.")
