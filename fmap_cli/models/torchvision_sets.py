"""torchvision's pretrained sets: by name, the file of one, what it does to a picture, and its classes.

Such an entry of an enumeration has `name`, `url`, `transforms()` and `meta`.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fmap_cli.errors import WeightsError
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models.records import InputKind, Preprocessing

VIDEO_FRAMES = 16  # the clip length most of them were trained on; all of them run on it


FLOW_SHORTER_SIDE_PX = 256  # RAFT takes any size from 128 up; its time grows with the area squared


FLOW_MULTIPLE_PX = 8


DOWNLOAD_TIMEOUT_S = 20


_INSTEAD = (
    "What works without a download: `--weights random`, `--weights FILE`, "
    "or the model that comes with fmap, `--model efficientnet_lite0`."
)


def models() -> Any:
    load_torchvision()
    import torchvision.models

    return torchvision.models


def builder(name: str) -> Any:
    return models().get_model_builder(name)


def all_weights(name: str) -> Any:
    """The enumeration of the model's pretrained sets; each has `name`, `url`, `transforms()` and `meta`."""
    return models().get_model_weights(name)


def entry_named(name: str, weights: str) -> Any | None:
    """The pretrained set that `weights` names (in its own case first, then in any), None for anything else."""
    enum = all_weights(name)
    # `ResNet50_Weights.IMAGENET1K_V2` is how torchvision's pages write it.
    bare = re.sub(rf"^{re.escape(enum.__name__)}\.", "", weights, flags=re.IGNORECASE)
    if bare.lower() == "default":
        return enum.DEFAULT
    by_name = {entry.name: entry for entry in enum}
    by_lower_name = {entry.name.lower(): entry for entry in enum}
    return by_name.get(bare) or by_lower_name.get(bare.lower())


def entry_of_file(name: str, path: str) -> Any | None:
    """The pretrained set whose file this is by its name, say `resnet50-11ad3fa6.pth` fetched by hand."""
    for entry in all_weights(name):
        if _file_name(entry) == Path(path).name:
            return entry
    return None


def _file_name(entry: Any) -> str:
    return str(entry.url).rpartition("/")[2]


def fetched(name: str, entry: Any, say: Callable[[str], None]) -> Path:
    """The weights' file in torch's own cache, downloaded there where it is not there yet.

    Torch writes beside the file, checks the hash and renames: nothing half-written stays.
    """
    import torch.hub

    folder = Path(torch.hub.get_dir(), "checkpoints")
    file = folder / _file_name(entry)
    if file.exists():
        return file
    size = entry.meta.get("_file_size")
    say(f"Downloading {name}'s weights {entry.name}{f' ({size:.0f} MiB)' if size else ''} into {folder}")
    expected = torch.hub.HASH_REGEX.search(file.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(DOWNLOAD_TIMEOUT_S):
            torch.hub.download_url_to_file(entry.url, str(file), expected and expected.group(1), progress=True)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        raise WeightsError(f"cannot download {name}'s weights {entry.name}: {_reason(error)}", hint=_INSTEAD) from error
    return file


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{urlsplit(error.url).netloc} answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        inner = error.reason
        return str(getattr(inner, "strerror", None) or inner)
    if isinstance(error, OSError):
        return str(error.strerror or error or type(error).__name__)
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Torch opens the connection without a timeout: a silent network would hang for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


_INPUT_KINDS: dict[str, InputKind] = {
    "ObjectDetection": "images",
    "VideoClassification": "video",
    "OpticalFlow": "image_pair",
}


def preprocessing_of(entry: Any) -> Preprocessing:
    """The preset of a weights entry (`entry.transforms()`), as data."""
    preset = entry.transforms()
    kind = type(preset).__name__
    source = f"weights {entry.name}"
    if kind == "ObjectDetection":  # the network resizes and normalises by itself
        return Preprocessing(resize=None, crop=None, mean=(0.0,) * 3, std=(1.0,) * 3, source=source)
    if kind == "OpticalFlow":  # values to -1..1; the preset leaves the size to its user
        return Preprocessing(
            resize=FLOW_SHORTER_SIDE_PX,
            crop=None,
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            multiple_of=FLOW_MULTIPLE_PX,
            source=source,
        )
    crop = getattr(preset, "crop_size", None)
    return Preprocessing(
        resize=_resize(preset.resize_size),
        crop=(crop[0], crop[-1]) if crop else None,
        interpolation=preset.interpolation.value,
        antialias=bool(getattr(preset, "antialias", False)),  # the video preset does without
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        source=source,
    )


def _resize(resize_size: Sequence[int]) -> int | tuple[int, int]:
    # One number is the shorter side, two are height and width.
    return resize_size[0] if len(resize_size) == 1 else (resize_size[0], resize_size[1])


def labels_of(entry: Any) -> tuple[str, ...] | None:
    return tuple(entry.meta.get("categories") or ()) or None


def fed(entry: Any) -> tuple[InputKind, int]:
    """How the networks that the set is for take their input, and how many frames."""
    kind = _INPUT_KINDS.get(type(entry.transforms()).__name__, "image")
    return kind, VIDEO_FRAMES if kind == "video" else 1
