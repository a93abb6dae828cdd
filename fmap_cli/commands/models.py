"""`fmap models`: the models there are, from metadata alone."""

from __future__ import annotations

import click

from .options import json_option, print_document


@click.command("models")
@click.argument("pattern", required=False)
@json_option
def command(pattern: str | None, as_json: bool) -> None:
    """List the models there are, with sizes, weights and accuracy, without building one.

    PATTERN is a glob ('resnet*') or a part of a name; timm:PATTERN lists timm's models. Any of them is a --model for
    the other commands; so is your own network, as package.module:factory or path/to/file.py:factory.

    \b
      fmap models 'resnet*'
    """
    from ..models import catalog

    entries = catalog(pattern)
    if as_json:
        from ..models.document import models_document

        print_document(models_document(entries))
        return
    from ..models.table import print_models

    print_models(entries)
