"""`fmap predict`: what a classifier says of one image or many."""

from __future__ import annotations

import click

from ..models.records import ModelRequest
from .options import image_layout_option, json_option, model_options, print_csv, print_document, remark, report_failures


@click.command("predict")
@click.argument("images", nargs=-1, metavar="[IMAGE|DIR]...")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="K", help="How many answers.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help="Images run at once."
)
@model_options
@image_layout_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each image and rank.")
@json_option
def command(
    images: tuple[str, ...],
    top: int,
    batch: int,
    request: ModelRequest,
    layout: str | None,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Say what is in an image: the likeliest classes with their probabilities.

    An IMAGE is a picture, an .npy array, a pattern ('photos/**/*.jpg'), or - for standard input; a DIR stands for the
    images in it and below. Without one, a bundled photo is taken. Several images are run in batches and get a row each.
    For a model of clips a picture is repeated as still frames, and a folder is one clip.

    \b
      fmap predict sample_images/coffee.png
      fmap predict sample_images --top 3
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude one another.")
    from ..answers.classify import classify
    from ..answers.document import predictions_csv, predictions_document
    from ..session.opening import open_session

    session = open_session(request, remark)
    found = classify(session, images, top, batch, remark, layout)
    if found.failures and not found.several:
        raise found.failures[0][1]
    if as_csv:
        print_csv(predictions_csv(found))
    elif as_json:
        print_document(predictions_document(found))
    elif found.images:
        from ..answers.table import print_predicted

        print_predicted(found)
    return report_failures(found.failures, len(found.images) + len(found.failures))
