"""The images that arguments mean: files, folders, patterns the shell left as they are, and `-`.

Only names are looked at here. Needs no torch, and Pillow only where a folder is given.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ImageError
from .held import HeldImage

_NO_PHOTOS = frozenset(["BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"])
"""Formats that Pillow knows by name and cannot read without another program, or that hold no picture."""


def image_sources(arguments: Sequence[str]) -> list[str]:
    """What `images.load_image` takes, one string an image, in the order of the arguments.

    A folder stands for the images in it and below: what has a suffix that Pillow reads, or `.npy`, sorted by path.
    Hidden files and folders are left out, and what is no file (a pipe); links are followed, and each folder is entered
    once, so that a loop of links does no harm. A name with `*`, `?` or `[` that is no file is a pattern, as the shell
    knows them, with `**` for any depth; a folder that a pattern matches counts as a folder. All else is passed on as
    it is: a file is read whatever its name, and one that is missing is reported by who reads it.

    Raises ImageError for a folder without images, a pattern that matches nothing and a second `-`.

    >>> image_sources(["-", "photo.jpg"])
    ['-', 'photo.jpg']
    """
    if sum(argument == "-" for argument in arguments) > 1:
        raise ImageError("- is given twice: standard input can be read only once.")
    sources: list[str] = []
    for argument in arguments:
        found = [argument]
        held = isinstance(argument, HeldImage)
        if not held and Path(argument).is_dir():
            found = _in_folder(argument)
            if not found:
                raise _no_images(argument)
        elif not held and glob.has_magic(argument) and not os.path.lexists(argument):
            found = _by_pattern(argument)
        sources += found
    return sources


@functools.cache
def image_suffixes() -> frozenset[str]:
    """The suffixes of image files, in lower case: those of the formats that Pillow reads here, and `.npy`.

    >>> {".jpg", ".png", ".tif", ".webp", ".npy"} <= image_suffixes(), ".txt" in image_suffixes()
    (True, False)
    """
    from PIL import Image

    known = Image.registered_extensions()  # loads all of Pillow's formats
    readable = {suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NO_PHOTOS}
    return frozenset(readable | {".npy"})


def _in_folder(folder: str) -> list[str]:
    suffixes = image_suffixes()
    return [path for path in _files_below(folder, set()) if os.path.splitext(path)[1].lower() in suffixes]  # noqa: PTH122 -- a million paths


def _files_below(folder: str, entered: set[tuple[int, int]]) -> Iterator[str]:
    """The files in a folder and below, each folder's entries by name; what is in `entered` is passed over."""
    try:
        status = os.stat(folder)  # noqa: PTH116 -- strings throughout: a folder may hold a million files
        identity = (status.st_dev, status.st_ino)
        if identity in entered:
            return
        entered.add(identity)
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageError(f"the folder {folder} cannot be read: {error.strerror or error}.") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _files_below(entry.path, entered)
        elif not _is_special(entry):
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether this is a pipe, a socket or a device: to read one in passing might wait for ever."""
    if entry.is_file(follow_symlinks=False):
        return False
    try:
        return not stat.S_ISREG(entry.stat().st_mode)
    except OSError:  # a link that leads nowhere: who reads it says so
        return False


def _by_pattern(pattern: str) -> list[str]:
    found: list[str] = []
    for path in _below_any_depth(pattern) if "**" in Path(pattern).parts else sorted(glob.glob(pattern)):  # noqa: PTH207
        found += _in_folder(path) if Path(path).is_dir() else [path]
    if not found:
        raise ImageError(
            f"no file matches {pattern!r}.", hint="Check the path; a folder's name alone takes all images below it."
        )
    return found


def _below_any_depth(pattern: str) -> Iterator[str]:
    """The files that a pattern with `**` matches. The glob module would follow a loop of links for ever."""
    parts = Path(pattern).parts
    at = parts.index("**")
    top = str(Path(*parts[:at]))
    for folder in sorted(glob.glob(top)) if glob.has_magic(top) else [top]:  # noqa: PTH207
        for path in _files_below(folder, set()) if Path(folder).is_dir() else ():
            if _fits(Path(path).relative_to(folder).parts, parts[at:]):
                yield str(Path(path))


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path, name by name, is what a pattern means; `**` is any number of names.

    >>> _fits(["a", "b", "c.png"], ["**", "*.png"]), _fits(["a", "b.png"], ["*.png"])
    (True, False)
    """
    if not names or not patterns:
        return not names and all(pattern == "**" for pattern in patterns)
    if patterns[0] == "**":
        return _fits(names, patterns[1:]) or _fits(names[1:], patterns)
    return fnmatch.fnmatchcase(names[0], patterns[0]) and _fits(names[1:], patterns[1:])


def _no_images(folder: str) -> ImageError:
    """What to say of a folder without images: what it holds instead."""
    others = Counter(Path(path).suffix.lower() or "no suffix" for path in _files_below(folder, set()))
    if not others:
        return ImageError(
            f"there are no images in {folder}: it holds no files.", hint="Hidden files and folders are left out."
        )
    number = others.total()
    kinds = ", ".join(suffix for suffix, _ in others.most_common(4))
    return ImageError(
        f"there are no images in {folder}: none of the {number} files in it and below has an image's suffix ({kinds})."
        if number > 1
        else f"there are no images in {folder}: the one file in it or below is not an image ({kinds}).",
        hint="A file given by its own path is read whatever its suffix.",
    )
