"""The options of commands that run over any number of images: `fmap stats` and `fmap top`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
from click.core import ParameterSource

from ..models.records import ModelRequest
from ..running.records import Resumable
from .options import FileType, FiniteRange, Options


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """What such a command is told: which images, how they are read, how the run is kept, and whether it only shows one.

    `SAVED` are what it saves, in words, and `EXAMPLE` a file of it.
    """

    SAVED: ClassVar[tuple[str, str]] = ("finished runs", "holds a saved run")
    EXAMPLE: ClassVar[str] = "fmap stats --load run.fmap"
    OF_A_PASS: ClassVar[frozenset[str]] = frozenset(
        {
            *ModelRequest.__dataclass_fields__,
            *("batch", "checkpoint_every", "layout", "limit", "resume", "shuffle", "workers"),
        }
    )
    images: tuple[str, ...]
    limit: int | None
    shuffle: bool
    batch: int
    workers: int | None
    save: Path | None
    load: bool
    resume: bool
    checkpoint_every: float
    request: ModelRequest
    layout: str | None

    @property
    def kept(self) -> Resumable:
        return Resumable(self.save, self.resume, self.checkpoint_every)

    @property
    def order_seed(self) -> int | None:
        """What the order of the images is drawn from; None for the order of their names."""
        return self.request.seed if self.shuffle else None

    @property
    def needed(self) -> frozenset[str]:
        """The options about a pass that also count where saved results are shown."""
        return frozenset()

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        saved, holds = self.SAVED
        if self.load:
            self._refuse_passes()
            if not self.images:
                raise click.UsageError(f"--load takes {saved.replace('finished', 'saved')}: {self.EXAMPLE}.")
        elif any(image.lower().endswith(".fmap") for image in self.images):
            raise click.UsageError(f"a .fmap file {holds}: give --load to show it.")

    def _refuse_passes(self) -> None:
        """Raises UsageError where an option is given that says something about a pass, but for those `needed`."""
        context = click.get_current_context()
        for parameter in context.command.params:
            given = context.get_parameter_source(str(parameter.name))
            if parameter.name in self.OF_A_PASS - self.needed and given is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    f"--load only shows {self.SAVED[0]}: {max(parameter.opts, key=len)} has no effect on them."
                )


def running_options(*, file: str, saved: str, loaded: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Their options, but for the images, the model and the layout; `file` is what --save writes, `saved` what is in it,
    and `loaded` what --load takes.
    """
    options: list[Callable[[Any], Any]] = [
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after this many images."),
        click.option("--shuffle", is_flag=True, help="Take the images in an order drawn with --seed."),
        click.option(
            "--batch", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Images per pass."
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            metavar="N",
            help="Processes that read images.  [default: one a core, at most 8; 0 for few images]",
        ),
        click.option(
            "--save", type=FileType((".fmap",)), metavar=file, help=f"Save the {saved}, to show or merge later."
        ),
        click.option("--load", is_flag=True, help=f"The arguments are {loaded}: show them, several as one."),
        click.option("--resume", is_flag=True, help="Continue where the same command was stopped or killed."),
        click.option(
            "--checkpoint-every",
            type=FiniteRange(0),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="How often a run saves its progress.",
        ),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
