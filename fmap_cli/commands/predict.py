"""`fmap predict`: what a classifier says of one image or many."""

from __future__ import annotations

from dataclasses import dataclass

import click

from .. import api
from ..models.records import ModelRequest
from .options import Options, image_layout_option, json_option, labels_option, model_options, with_options
from .output import put_out, remark


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Options):
    images: tuple[str, ...]
    top: int
    batch: int
    by_class: bool
    request: ModelRequest
    layout: str | None


@click.command("predict")
@click.argument("images", nargs=-1, metavar="[IMAGE|DIR]...")
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="K", help="How many classes to list."
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help="Images per pass."
)
@click.option(
    "--by-class",
    is_flag=True,
    help="Folders are classes (val/cat/1.jpg is a cat): how many images of each were answered with which class.",
)
@model_options
@labels_option
@image_layout_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each image and rank, or for each class.")
@json_option
@with_options(PredictOptions)
def command(options: PredictOptions) -> int:
    """Say what is in an image: the likeliest classes with their probabilities.

    An IMAGE is a picture, an .npy array, a pattern ('photos/**/*.jpg'), or - for standard input; a DIR stands for the
    images in it and below. Without one, a bundled photo is taken. Several images are run in batches and get a row each.
    For a model of clips a picture is repeated as still frames, and a folder is one clip.

    \b
      fmap predict sample_images/coffee.png
      fmap predict sample_images --top 3
    """
    from .progress import progress_bar

    with progress_bar() as advanced:
        found = api.predict(
            options.request,
            options.images,
            top=options.top,
            batch=options.batch,
            by_class=options.by_class,
            layout=options.layout,
            advanced=advanced,
            say=remark,
            say_failures=False,
        )
    return put_out(
        options,
        table=found.print,
        document=found.document,
        csv=found.csv,
        failures=found.failures,
        of_images=len(found.images) + len(found.failures),
    )
