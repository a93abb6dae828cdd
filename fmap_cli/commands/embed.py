"""`fmap embed`: one vector for each image, and which images are alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .. import api
from ..models.records import ModelRequest
from .options import FileType, Options, json_option, layout_option, model_options, with_options
from .output import put_out, remark, reserve

if TYPE_CHECKING:
    from ..embedding.records import Embeddings

_SUFFIXES = (".npy", ".npz", ".csv", ".safetensors")
_NEIGHBOURS = 3


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(Options):
    images: tuple[str, ...]
    request: ModelRequest
    layer: str | None
    pool: Literal["avg", "max", "gem", "cls", "none"] | None
    batch: int
    similar: int | None
    out: Path | None
    layout: str | None


class _Command(click.Command):
    """Lets `--similar` stand before an image: only a number after it is its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        spelled = [
            f"--similar={_NEIGHBOURS}"
            if each == "--similar" and not "".join(args[at + 1 : at + 2]).lstrip("-").isdigit()
            else each
            for at, each in enumerate(args[:end])
        ]
        return super().parse_args(ctx, spelled + args[end:])


@click.command("embed", cls=_Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|DIR...")
@click.option(
    "--layer",
    "-l",
    metavar="PATTERN",
    help="The layer the vectors come from: a name, conv3, first or last.  [default: what the classifier reads]",
)
@click.option(
    "--pool",
    type=click.Choice(["avg", "max", "gem", "cls", "none"]),
    help="How a map becomes a vector: mean, maximum or generalised mean (p = 3) of each channel; the class token; or"
    " all values. Without --layer, of the last map before the classifier.  [default: avg]",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help="Images per pass."
)
@click.option(
    "--similar",
    type=click.IntRange(min=1),
    metavar="[K]",
    help=f"Print each image's K nearest neighbours by cosine similarity.  [K: {_NEIGHBOURS}]",
)
@click.option(
    "--out",
    "-o",
    type=FileType(_SUFFIXES),
    metavar="FILE",
    help="Write the vectors here: .npz, .csv, .safetensors, or .npy with the names in FILE.npy.json beside it.",
)
@model_options
@layout_option
@json_option
@with_options(EmbedOptions)
def command(options: EmbedOptions) -> int:
    """Sum up each image in one vector: what is in it, without where.

    A feature map has a value for each place; pooled over the places, one number a channel is left. The vectors of
    like images point the same way. Without --layer they are what the model's classifier reads, or the answer of a
    model without a classifier, and the output says which layer that is. An IMAGE is a picture, an .npy array, a
    pattern, or - for standard input; a DIR stands for the images in it and below.

    \b
      fmap embed sample_images -o vectors.npz
      fmap embed sample_images --similar 2
    """
    from ..embedding.document import save_embeddings

    reserve(options.out)
    found = _embeddings(options)
    files = save_embeddings(options.out, found) if options.out is not None else []
    return put_out(
        options,
        table=lambda: found.print(files=files),
        document=lambda: found.document(files),
        failures=found.failures,
        of_images=len(found.images) + len(found.failures),
    )


def _embeddings(options: EmbedOptions) -> Embeddings:
    from .progress import progress_bar

    with progress_bar() as advanced:
        return api.embed(
            options.request,
            options.images,
            options.layer,
            pool=options.pool,
            batch=options.batch,
            similar=options.similar,
            layout=options.layout,
            advanced=advanced,
            say=remark,
            say_failures=False,
        )
