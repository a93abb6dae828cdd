"""`fmap cam`: where the evidence for an answer is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from ..cam.api import cam
from ..cam.records import METHODS, STEPS, Method
from ..models.records import ModelRequest
from ..results import ARRAY_SUFFIXES
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    Options,
    csv_option,
    json_option,
    labels_option,
    layout_option,
    model_options,
    target_options,
    with_options,
)
from .output import put_out, remark
from .progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class CamOptions(Options):
    images: tuple[str, ...]
    patterns: tuple[str, ...]
    class_: str | None
    box: int | None
    method: Method | None
    positive: bool
    steps: int
    out: Path | None
    save: Path | None
    layout: str | None
    request: ModelRequest


@click.command("cam")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "patterns",
    multiple=True,
    metavar="LAYER",
    help="The layer that the evidence is read from.  [default: the last map with places that counts, found by"
    " measuring]",
)
@target_options
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="How channels are weighed: by mean gradient, by each place's own, or by what ablating them does.  [default:"
    " gradcam; layercam for a detector's box]",
)
@click.option("--positive", is_flag=True, help="Leave out what speaks against it, as the papers do.")
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=STEPS,
    show_default=True,
    metavar="N",
    help="Steps of the insertion and deletion curves; 0 leaves them out.",
)
@click.option("--out", "-o", type=FileType(FIGURE_SUFFIXES), metavar="FILE", help="Write a figure.")
@click.option(
    "--save",
    type=FileType(ARRAY_SUFFIXES),
    metavar="FILE",
    help="Also write the map, the channels' weights and the curves: .npz, .safetensors or .pt.",
)
@layout_option
@model_options
@labels_option
@json_option
@csv_option
@with_options(CamOptions)
def command(options: CamOptions) -> int:
    """Show where the evidence for an answer is: what speaks for it in warm colours, what against it in cold.

    The predicted class, or --class; of a detector one box, of a segmentation the pixels of one class. Curves say how
    far to trust the map: what happens to the answer when the places of most evidence are blurred, or shown, first.

    \b
      fmap cam sample_images/coffee.png -o evidence.png
      fmap cam sample_images/chelsea.png --class 'Egyptian cat' --method layercam
      fmap cam sample_images/rocket.jpg --layer features.5 --steps 0 --json
    """
    out, save = options.out, options.save
    with progress_bar() as advanced:
        found = cam(
            options.request,
            options.images,
            options.patterns,
            class_=options.class_,
            box=options.box,
            method=options.method,
            positive=options.positive,
            steps=options.steps,
            layout=options.layout,
            say=remark,
            advanced=advanced,
        )
    for file in filter(None, (out, save)):
        found.save(file)
    return put_out(
        options,
        table=lambda: found.print(file=out, save=save),
        document=lambda: found.document(out, save),
        csv=found.csv,
    )
