"""`fmap report`: one HTML file to explore a network's maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from ..models.records import ModelRequest
from ..report.api import report
from ..report.records import MAX_BYTES, Report
from .options import (
    FileType,
    FiniteRange,
    Options,
    json_option,
    labels_option,
    layout_option,
    model_options,
    vs_options,
    with_options,
)
from .output import put_out, remark, reserve


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """`against` is --compare, `opens` --open. `changed` are what the --vs- options say, of which `other` is made."""

    images: tuple[str, ...]
    patterns: tuple[str, ...]
    against: str | None
    out: Path
    opens: bool
    bits: Literal["8", "16"] | None
    score: float
    evidence: bool
    attention: bool
    effect: bool
    memory: bool
    dossiers: tuple[Path, ...]
    redact: bool
    dated: bool
    max_size: int
    request: ModelRequest
    other: ModelRequest
    changed: tuple[str, ...]
    layout: str | None

    @property
    def made(self) -> str:
        import time

        return time.strftime("%Y-%m-%d %H:%M") if self.dated else ""

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.against is not None and self.changed:
            raise click.UsageError("--compare names another image and --vs- another network: give one of them.")
        if self.against is not None and len(self.images) != 1:
            raise click.UsageError(f"--compare takes one IMAGE to compare with, and there are {len(self.images)}.")


class BytesType(click.ParamType):
    """An amount of memory with its unit, as `64MB`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from ..arguments.checks import bytes_of
        from ..errors import FmapError

        if isinstance(value, int):
            return value
        try:
            found = bytes_of("--max-size", value)
        except FmapError as error:
            self.fail(str(error.message), param, ctx)
        if found == "auto":
            self.fail("'auto' is not a size here: give one with its unit, such as 64MB.", param, ctx)
        return int(found)


@click.command("report")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Show this layer as well: a name, a glob ('layer?.0.*'), conv3. Repeatable.  [default: the last layer of each"
    " stage and what its activation read, the first convolution, the answer]",
)
@click.option(
    "--out",
    "-o",
    type=FileType((".html",)),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="Write the page here.",
)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option("--compare", "against", metavar="IMAGE", help="Show another image beside: A, B and their difference.")
@click.option(
    "--bits", type=click.Choice(["8", "16"]), help="Bits of each value.  [default: 16 in small layers, 8 in others]"
)
@click.option(
    "--score",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Lowest score of the boxes drawn for a detector.",
)
@click.option("--evidence", is_flag=True, help="Add where the evidence for the answer is, as `fmap cam` finds it.")
@click.option("--attention", is_flag=True, help="Add what the last attention layer looks at.")
@click.option(
    "--effect", is_flag=True, help="Estimate what each channel does to the answer, and sort tiles by it where wanted."
)
@click.option("--memory", is_flag=True, help="Add the memory of a training step of one image.")
@click.option(
    "--dossiers",
    type=FileType((".fmap",)),
    multiple=True,
    metavar="FILE",
    help="Show what excites each channel, as `fmap top --save` found it; several files as one.",
)
@click.option("--redact", is_flag=True, help="Leave out the photo and all names of files.")
@click.option("--dated", is_flag=True, help="Say when the page was made; without, the same input gives the same bytes.")
@click.option(
    "--max-size",
    type=BytesType(),
    default=MAX_BYTES,
    metavar="SIZE",
    help="Refuse to write a larger page, and say which layers to drop.  [default: 64MB]",
)
@model_options
@labels_option
@vs_options
@layout_option
@json_option
@with_options(ReportOptions)
def command(options: ReportOptions) -> int:
    """Write one HTML file on which to explore a network's maps.

    It opens in any browser, offline and without a server: the photo and the answer, each layer's channels as tiles, a
    channel large over the photo, and for each unit its value and what it sees. Several images have a switcher. With
    --compare or a --vs- option the page shows A, B and their difference.

    \b
      fmap report sample_images/chelsea.png -o cat.html
      fmap report sample_images/coffee.png --layer 'features.3.*' --evidence
      fmap report sample_images/coffee.png --vs-dtype bfloat16
    """
    out = options.out
    reserve(out)
    found = _found(options)
    found.save(out)
    if options.opens:
        click.launch(str(out))
    return put_out(
        options,
        table=lambda: found.print(out),
        document=lambda: found.document(out),
        failures=found.failures,
        of_images=len(found.passes) + len(found.failures),
    )


def _found(options: ReportOptions) -> Report:
    return report(
        options.request,
        options.images,
        options.patterns,
        other=options.against,
        vs=options.other if options.changed else None,
        bits=None if options.bits is None else 8 if options.bits == "8" else 16,
        score=options.score,
        evidence=options.evidence,
        attention=options.attention,
        effect=options.effect,
        memory=options.memory,
        dossiers=options.dossiers or None,
        redact=options.redact,
        made=options.made,
        max_size=options.max_size,
        layout=options.layout,
        say=remark,
        say_failures=False,
    )
