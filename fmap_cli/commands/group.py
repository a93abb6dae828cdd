"""The `fmap` group: commands by name, imported when called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ..legible import encoding_of, legible

COMMANDS = {
    "show": "Draw what chosen layers see in an image.",
    "filters": "Draw a layer's kernels, and say which are dead or alike.",
    "top": "Show what excites each channel, over your own images.",
    "stats": "Say what every layer's numbers are, and what is wrong.",
    "layers": "List a model's layers: names, kinds, shapes, parameters.",
    "rf": "Say which pixels a layer's values are made of: receptive fields.",
    "explain": "Say why a unit has its value: which inputs times which weights.",
    "attention": "Say what each attention head looks at.",
    "cam": "Show where in the picture the evidence for an answer is.",
    "effect": "Say what each channel of a layer does to the answer.",
    "predict": "Say what is in an image: the likeliest classes.",
    "embed": "Turn each image into one vector, and find similar images.",
    "report": "Write one HTML file to explore a network's maps.",
    "compare": "Compare two images, two variants or two runs, layer by layer.",
    "memory": "Say how much memory a step takes, before it runs; the largest batch.",
    "models": "List the available models.",
}


class _Formatter(click.HelpFormatter):
    """Help in signs that standard output has. (Click would print UTF-8 where that is ASCII.)"""

    def getvalue(self) -> str:
        return legible(super().getvalue(), encoding_of(sys.stdout))


class _Context(click.Context):
    formatter_class = _Formatter


class _LazyGroup(click.Group):
    """Knows every command's name and one line of help; imports a command's file only when it is called."""

    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fmap_cli.commands.{cmd_name}").command
        command.context_class = _Context
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Nothing at all asks for help, and so does `help`, of a command or of all."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        elif args[:1] == ["help"]:
            args = [*(each for each in args[1:2] if not each.startswith("-")), "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            wish = f" Did you mean `fmap {near[0]}`?" if near else " `fmap --help` lists the commands."
            ctx.fail(f"No command {name!r}.{wish}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fmap-cli", prog_name="fmap")
def group() -> None:
    """See what a convolutional network sees.

    Without a model named, fmap uses one that comes with it, EfficientNet-Lite0 with trained ImageNet weights:
    nothing is downloaded. `fmap help show` explains a command. Try:

    \b
      fmap show sample_images/coffee.png --layer conv1
    """
