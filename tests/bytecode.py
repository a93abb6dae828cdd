"""What is compiled for the tests is compiled once and kept where Python keeps it.

Compiling the tests with their assertions, and the package, takes seven seconds. Processes that collect the same files
in the same order would each do all of it, at the same time: so every other one collects from the end, and finds what
the others have compiled from where they meet.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import pytest

BACKWARDS = os.environ.get("PYTEST_XDIST_WORKER", "")[-1:] in tuple("13579")


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Bytecode is kept also where the environment says otherwise: each process of each test would compile it anew."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if BACKWARDS and isinstance(collector, pytest.Session | pytest.Directory):
        report.result.sort(key=lambda each: each.path, reverse=True)  # `order` sorts the files afterwards
    return report
