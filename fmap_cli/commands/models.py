"""`fmap models`: the models there are, from metadata alone."""

from __future__ import annotations

from dataclasses import dataclass

import click

from .. import api
from .options import Options, json_option, with_options
from .output import put_out


@dataclass(frozen=True, kw_only=True)
class ModelsOptions(Options):
    pattern: str | None


@click.command("models")
@click.argument("pattern", required=False)
@json_option
@with_options(ModelsOptions)
def command(options: ModelsOptions) -> int:
    """List the models there are, with sizes, weights and accuracy, without building one.

    PATTERN is a glob ('resnet*') or a part of a name; timm:PATTERN lists timm's models. Any of them is a --model for
    the other commands; so is your own network, as package.module:factory or path/to/file.py:factory.

    \b
      fmap models 'resnet*'
    """
    from ..models.document import models_document
    from ..models.table import print_models

    found = api.list_models(options.pattern)
    return put_out(options, table=lambda: print_models(found), document=lambda: models_document(found))
