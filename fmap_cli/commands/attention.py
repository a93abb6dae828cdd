"""`fmap attention`: what each head looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import click

from ..attention.api import attention
from ..attention.records import Attention
from ..models.records import ModelRequest
from .options import (
    FigureOptions,
    PlaceType,
    csv_option,
    figure_options,
    image_layout_option,
    json_option,
    model_options,
    with_options,
)
from .output import put_out, remark, reserve


@dataclass(frozen=True, kw_only=True)
class AttentionOptions(FigureOptions):
    """`place` is --at."""

    images: tuple[str, ...]
    patterns: tuple[str, ...]
    place: tuple[int, ...] | Literal["class", "mean", "center"] | None
    rollout: bool
    layout: str | None
    request: ModelRequest


@click.command("attention")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="The module that makes the attention call, or one around it; a glob; first or last. Repeatable."
    "  [default: last]",
)
@click.option(
    "--at",
    "place",
    type=PlaceType(least=1, words=("class", "mean", "center")),
    metavar="Y,X|class|mean|center",
    help="Which query is drawn: a unit's row and column (of a clip: frame,row,column), the class token, the mean over"
    " all, or the unit in the middle.  [default: the class token, else the middle]",
)
@click.option(
    "--rollout", is_flag=True, help="Multiply the attention of all layers, each with its residual branch beside it."
)
@figure_options(names="image, model and layer", saved="the whole weights")
@image_layout_option
@model_options
@json_option
@csv_option
@with_options(AttentionOptions)
def command(options: AttentionOptions) -> int:
    """Draw what each attention head looks at, with its entropy and distance.

    The weights are softmax(Q Kᵀ · scale + mask) of the call that ran, also where a fused kernel hides them, and windows
    are laid back onto the picture. There is one figure a layer; the terminal gets the heads' numbers.

    \b
      fmap attention sample_images/chelsea.png --model vit_b_16 --weights random
      fmap attention sample_images/coffee.png --model swin_t --weights random --layer features.3 --at 10,12
      fmap attention sample_images/chelsea.png --model vit_b_16 --weights random --rollout -o rollout.png
    """
    from ..attention.files import write_figures

    reserve(options.out, options.save)
    found = _found(options)
    options.refuse_one_file_for(len(found.layers), f"{len(found.layers)} layers match")
    if options.save is not None:
        found.save(options.save)
    files = write_figures(found, options.out, options.out_dir)
    return put_out(
        options,
        table=lambda: found.print(files, None if options.save is None else str(options.save)),
        document=lambda: found.document(files),
        csv=found.csv,
    )


def _found(options: AttentionOptions) -> Attention:
    return attention(
        options.request,
        options.images,
        options.patterns,
        at=options.place,
        rollout=options.rollout,
        layout=options.layout,
        say=remark,
    )
