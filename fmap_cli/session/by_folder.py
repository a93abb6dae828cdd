"""Images whose folders say their classes: `val/cat/1.jpg` of `val` is a `cat`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ImageError
from .opening import Session, groups


def classes_of(session: Session, arguments: Sequence[str], verb: str) -> tuple[list[str], list[str]]:
    """The images in the folders, and of each its class: the first folder below the one named.

    Images directly in that are of the class of its name. Raises ImageError where there is no folder to tell classes by.
    """
    if session.model.input_kind not in ("image", "images"):
        raise ImageError(f"--by-class is for single images, and {session.model.name} takes more than one at once.")
    folders = [argument for argument in arguments if Path(argument).is_dir()]
    if not folders or len(folders) < len(arguments):
        raise ImageError(
            "--by-class tells classes by folder: give a folder with a folder for each class.",
            hint=f"For example: `fmap {verb} photos --by-class`, with photos/cat/1.jpg and photos/dog/7.jpg.",
        )
    paths, classes = [], []
    for folder in folders:
        found = [str(each) for each in groups(session, [folder])]
        paths += found
        classes += [_class_of(path, folder) for path in found]
    return paths, classes


def _class_of(path: str, folder: str) -> str:
    parts = Path(path).relative_to(folder).parts
    return parts[0] if len(parts) > 1 else Path(folder).resolve().name
