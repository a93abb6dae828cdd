"""The `fmap` group: commands by name, imported when called, and the boundary where errors become lines."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any

import click

from .errors import FmapError
from .options import report

_COMMANDS = {
    "show": "Draw what chosen layers see in an image.",
    "stats": "Say what every layer's numbers are, and what is wrong.",
    "layers": "List a model's layers: names, kinds, shapes, parameters.",
    "rf": "Say which pixels a layer's values are made of: receptive fields.",
    "predict": "Say what is in an image: the likeliest classes.",
    "embed": "Sum up each image in one vector, and find like images.",
    "compare": "Say at which layer two images, two variants or two runs part.",
    "memory": "Say what a step will take of memory, before it runs, and the largest batch.",
    "models": "List the models there are.",
}


class _LazyGroup(click.Group):
    """Knows every command's name and one line of help; imports a command's file only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fmap_cli.commands.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            wish = f" Did you mean `fmap {near[0]}`?" if near else " `fmap --help` lists the commands."
            ctx.fail(f"No command {name!r}.{wish}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fmap-cli", prog_name="fmap")
def cli() -> None:
    """See what a convolutional network sees.

    Without a model named, fmap uses one that comes with it, EfficientNet-Lite0 with trained ImageNet weights:
    nothing is downloaded. Try:

        fmap show sample_images/coffee.png --layer conv1
    """


def main() -> None:
    """Run `fmap`. Failures a user can mend are one or two lines on stderr and exit code 1; usage errors are 2."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run `fmap` with these arguments; returns the exit code."""
    if arguments is None:
        arguments = sys.argv[1:]
    before = sys.argv
    sys.argv = before[:1]  # a network that parses arguments when it runs must not meet fmap's
    try:
        result = cli.main(args=arguments, prog_name="fmap", standalone_mode=False)
        sys.stdout.flush()
    except FmapError as error:
        report(error)
        return 1
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fmap"
        report(FmapError(error.format_message(), hint=f"`{command} --help` lists what it takes."))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("fmap: interrupted.", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has stopped (`fmap layers | head`): say nothing, and do not fail again at exit.
        _abandon_stdout()
        return 141
    except OSError as error:
        # Files are written through `export.write_file`, which has its own words: what is left is standard output.
        if error.errno not in _FULL:
            raise
        _abandon_stdout()
        report(FmapError(f"cannot write to standard output: {error.strerror}."))
        return 1
    finally:
        sys.argv = before
    return result if isinstance(result, int) else 0


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _abandon_stdout() -> None:
    """Let what is still buffered go nowhere: Python would try to write it at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
