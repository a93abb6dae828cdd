"""What a user can cause, and what to do about it.

Anything a user can cause raises a subclass of `FmapError`; anything else is a bug and keeps its traceback.
This room knows nothing of the command line: `cli` turns an `FmapError` into one or two lines and exit code 1.
"""

from __future__ import annotations


class FmapError(Exception):
    """A failure the user can mend.

    `message` says what was received and what was expected, in one line; `hint` says what to try next.

    >>> print(FmapError("no such file: cat.jpg", hint="Run `fmap show` with no image to use the sample."))
    no such file: cat.jpg
    Run `fmap show` with no image to use the sample.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # One line each, whatever text of a library or a file name went into them.
        self.message = _one_line(message)
        self.hint = _one_line(hint) if hint else None
        super().__init__(self.message)

    def bare(self) -> FmapError:
        """What it says, to be kept: an error that was raised keeps alive all that its frames hold, a whole photo."""
        return type(self)(self.message, hint=self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


def _one_line(text: str) -> str:
    return " ".join(text.split())


class ImageError(FmapError):
    """An image that cannot be read, or does not fit the model."""


class ModelError(FmapError):
    """A model that is unknown, cannot be built, or fails when it runs."""


class WeightsError(FmapError):
    """Weights that are unknown, cannot be fetched or read, or do not fit the model."""


class LayerError(FmapError):
    """A layer pattern that names nothing, or a layer that cannot be shown as asked."""


class DeviceError(FmapError):
    """A device or dtype that is absent, or refuses the model."""


class OutputError(FmapError):
    """A file that cannot be written."""
