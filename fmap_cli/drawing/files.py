"""Names of figures' files, and a figure as a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .raster import rasterise, write_image
from .scene import Scene
from .vector import write_vector

_STEM_BYTES, _MODEL_BYTES, _LAYER_BYTES = 80, 50, 100  # file systems end at 255 a name


def figure_name(stem: str, model: str, layer: str, number: int = 1) -> str:
    """The name of a figure: image, model and layer, with what file systems refuse replaced.

    Of a network in a file whose whole path was given the file's name is enough. Of a long part the end is kept, which
    is what layers differ in; `number` tells apart what is the same otherwise.

    >>> figure_name("coffee", "nets/tiny.py:make", "layer1.0.conv1")
    'coffee-nets_tiny.py_make-layer1.0.conv1.png'
    >>> figure_name("coffee", "/home/me/nets/tiny.py:make", "fc")
    'coffee-tiny.py_make-fc.png'
    >>> figure_name("coffee", "resnet18", "fc", number=2)
    'coffee-2-resnet18-fc.png'
    """
    parts = (_name_part(stem, _STEM_BYTES), _name_part(_short(model), _MODEL_BYTES), _name_part(layer, _LAYER_BYTES))
    return "-".join((parts[0], *([str(number)] if number > 1 else []), *parts[1:])) + ".png"


@dataclass(frozen=True, slots=True)
class FreeNames:
    """Figures' files in a directory, each under a name that this run has not used: images and layers may be alike."""

    directory: Path
    _used: set[Path] = field(init=False, default_factory=set)

    def path(self, stem: str, model: str, layer: str) -> Path:
        """Where this figure goes."""
        number = 1
        while (path := self.directory / figure_name(stem, model, layer, number)) in self._used:
            number += 1
        self._used.add(path)
        return path


def _short(model: str) -> str:
    """`nets.py:make` for `/home/me/nets.py:make`; other names as they are."""
    drive = model[:2] if re.match(r"[A-Za-z]:[\\/]", model) else ""
    return re.split(r"[\\/]", model)[-1] or model if drive or model.startswith(("/", "~", "\\")) else model


def _name_part(text: str, most: int) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).encode()[-most:].decode(errors="ignore")


def write_scene(scene: Scene, file: IO[bytes], suffix: str) -> None:
    """Write a figure as the format of `suffix`."""
    if suffix in (".pdf", ".svg"):
        write_vector(scene, file, suffix)
    else:
        write_image(rasterise(scene), file, suffix)
