"""The examples in the package's docstrings print what stands there."""

from __future__ import annotations

import doctest
import importlib
import sys
from pathlib import Path

import pytest

import fmap_cli

FOLDER = Path(fmap_cli.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(file.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in FOLDER.rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)


@pytest.mark.usefixtures("estimates_here")
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_print_what_stands_there(
    name: str, workdir: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "sample_images").symlink_to(samples)
    importlib.import_module(name)
    failed, examples = doctest.testmod(sys.modules[name])  # in the package a verb has the name of its room
    assert examples, "no example was found"
    assert not failed, capsys.readouterr().out
