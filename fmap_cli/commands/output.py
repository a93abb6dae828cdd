"""The one door by which results leave: as a table, JSON or CSV, a figure, and an exit code; remarks go to stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import CHECK_FAILED, DONE, FAILED, FmapError, ImagesFailedError
from ..legible import encoding_of, legible, takes_unicode
from ..units import one_line
from .options import Options

_NAMED = 10


def put_out(
    options: Options,
    *,
    table: Callable[[], None],
    document: Callable[[], Mapping[str, Any]],
    csv: Callable[[], str | bytes] | None = None,
    failures: Sequence[tuple[str, FmapError]] = (),
    of_images: int = 0,
    found: bool = False,
) -> int:
    """Print a result in the form asked for, of which only that one is made; returns the exit code.

    `failures` of `of_images` images are said after it. `found` says that `--check` was given and has found something.
    """
    if options.form == "json":
        print_document(document())
    elif options.form == "csv":
        assert csv is not None, "--csv of a command without it"
        print_csv(csv())
    else:
        table()
    say_failures(failures, of_images)
    return FAILED if failures else CHECK_FAILED if found else DONE


def reserve(*paths: Path | None) -> None:
    """Raises OutputError where one of these cannot become a file: asked before the work is done."""
    from ..files import check_folder

    for path in paths:
        if path is not None:
            check_folder(path)


def print_document(document: Mapping[str, Any]) -> None:
    """A document as JSON on stdout: in UTF-8, or in ASCII alone where stdout has another encoding."""
    from ..documents import dumps

    print(dumps(document, ascii_only=not takes_unicode(sys.stdout)))


def print_csv(table: str | bytes) -> None:
    """A table as CSV on stdout, in UTF-8 whatever a terminal shows: it is for programs."""
    from ..documents import utf8

    click.echo(table if isinstance(table, bytes) else utf8(table), nl=False)


# -- what is said on stderr --------------------------------------------------------------------------------------


def say(line: str) -> None:
    """A line on stderr."""
    with contextlib.suppress(OSError):  # what is wrong with stderr cannot be said there, and is no harm to a result
        print(legible(line, encoding_of(sys.stderr)), file=sys.stderr, flush=True)


def remark(sentence: str) -> None:
    """Say something about a result, on stderr."""
    say(f"note: {one_line(sentence)}")


def report(error: FmapError) -> None:
    """A failure as one or two lines on stderr; where all of several images failed, each with its own."""
    if isinstance(error, ImagesFailedError):
        say_failures(error.failures, len(error.failures))
        return
    say(f"fmap: {one_line(error.message)}")
    if error.hint:
        say(f"      {one_line(error.hint)}")


def say_failures(failures: Sequence[tuple[str, FmapError]], of_images: int) -> None:
    """Say why each of the images that failed did, then how many and which they are."""
    for _, error in failures:
        report(error)
    if failures:
        names = ", ".join(one_line(name) for name, _ in failures[:_NAMED])
        names += f" and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
        say(f"fmap: {len(failures)} of {of_images} images failed: {names}")
