"""The program `fmap`, from its first moment to its exit code, and the one boundary where errors become lines.

What it stands on is imported inside: so Ctrl-C is answered from the first line of `main` on.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `fmap`. Failures a user can mend are one or two lines on stderr and exit code 1; usage errors are 2."""
    try:
        from . import interrupts
        from .foreign import allocation, guests

        guests.keep_streams()  # first: what is opened gets the descriptor of a stream that was closed
        interrupts.answer()
        allocation.keep()
        # A notebook's `!fmap` inherits a backend that may not be there. fmap draws into files and needs none.
        os.environ.pop("MPLBACKEND", None)
        code = run()
    except KeyboardInterrupt:  # before `run` was there to answer it, or while it did
        os.write(2, b"fmap: interrupted.\n")
        os._exit(130)
    interrupts.leave(code)


def run(arguments: list[str] | None = None) -> int:
    """Run `fmap` with these arguments; returns the exit code."""
    if not _forecasts(sys.argv[1:] if arguments is None else arguments):
        return _run(arguments)
    from .foreign.isolated import made_ready

    with made_ready("fmap_cli.memory.forecast"):  # it imports torch while this process reads what is asked of it
        return _run(arguments)


def _forecasts(arguments: list[str]) -> bool:
    """Whether these ask for what is computed in a process of its own."""
    return arguments[:1] == ["memory"] and not any(each.startswith(("-h", "--help", "--shape")) for each in arguments)


def _run(arguments: list[str] | None) -> int:
    from .commands.group import group
    from .legible import legible_streams

    with legible_streams():
        try:
            result = group.main(args=arguments, prog_name="fmap", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            code = _answered(error)
            if code is None:
                raise
            return code
    return result if isinstance(result, int) else 0


def _answered(error: BaseException) -> int | None:
    """Say in a line or two what ended the command; returns the exit code. None for what is a fault of fmap's own."""
    import click

    from . import interrupts
    from .commands.output import report, say
    from .errors import FAILED, INTERRUPTED, NOT_READ, FmapError, ModelError
    from .foreign import raised

    if interrupts.came() or isinstance(error, (click.Abort, KeyboardInterrupt)):
        say("fmap: interrupted.")
        return INTERRUPTED
    if isinstance(error, FmapError):
        report(error)
        return FAILED
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "fmap"
        message = error.format_message()
        says_what_to_try = "`fmap" in message
        report(FmapError(message, hint=None if says_what_to_try else f"`{command} --help` lists what it takes."))
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if raised.is_foreign(error):
        report(ModelError(f"the network's own code failed: {raised.told(error)}"))
        return FAILED
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has stopped (`fmap layers | head`): say nothing, and do not fail again at exit.
        _abandon_stdout()
        return NOT_READ
    if isinstance(error, OSError) and error.errno in _full():
        # Files are written through `files`, which has its own words: what is left is standard output.
        _abandon_stdout()
        report(FmapError(f"cannot write to standard output: {error.strerror}."))
        return FAILED
    return None


def _full() -> tuple[int, ...]:
    import errno

    return errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF


def _abandon_stdout() -> None:
    """Let what is still buffered go nowhere: Python would try to write it at exit, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
