"""A file or an array becomes a picture twice: pixels for the eye, a tensor for the network.

Reading comes first and needs Pillow and numpy only, so that a bad file is refused before torch is imported.
The geometry (resize, crops) and the normalisation are torchvision's own functions on the picture itself, so a
tensor is equal, bit for bit, to what the `transforms()` of a torchvision weights entry give for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import ImageError
from ..models.records import Preprocessing
from .arrays import NPY_MAGIC, read_array
from .limits import check_sizes, height_width
from .pictures import read_picture
from .preprocess import preprocess
from .records import ImageInput
from .streams import first_bytes, opened


def load_image(
    source: str,
    preprocessing: Preprocessing,
    *,
    layout: str | None = None,
    stdin: BinaryIO | None = None,
    keeps: Callable[[tuple[int, int]], bool] | None = None,
) -> ImageInput:
    """The picture at `source` as the network takes it, and as the eye sees what the network takes.

    `source` is a path, or `-` for standard input (`stdin`, where given); the bytes are an image or a `.npy`
    array, told apart by what they hold, not by a name. `layout` says how an array's axes are meant, one of
    `LAYOUTS`; None finds it out where it is unambiguous. Pictures have no need of it and ignore it. An array stays as
    large as it is where `keeps` says so of its height and width.

    `tensor` is `[C, H, W]` float32, normalised; `pixels` is `[H, W, 3]` uint8, the same crop before that.
    Raises `ImageError` for whatever cannot be read or does not fit the network.

    >>> sample = load_image(str(sample_path()), Preprocessing(resize=256, crop=(224, 192)))
    >>> sample.pixels.shape, tuple(sample.tensor.shape), sample.stem
    ((224, 192, 3), (3, 224, 192), 'coffee')
    """
    label = "standard input" if source == "-" else source
    with opened(source, label, stdin) as stream:
        start = first_bytes(stream, label)
        if start.startswith(NPY_MAGIC):
            picture, notes = read_array(stream, label, layout, preprocessing)
        else:
            picture, notes = read_picture(stream, label, start, preprocessing)
    own_size = keeps is not None and start.startswith(NPY_MAGIC) and keeps(height_width(picture))
    if own_size:
        preprocessing = preprocessing.at_own_size
    check_sizes(height_width(picture), preprocessing, label)
    pixels, tensor, framing, more_notes = preprocess(picture, preprocessing, label)
    return ImageInput(
        source, _safe_stem(source), pixels, tensor, (*notes, *more_notes), framing=framing, own_size=own_size
    )


def sample_path(name: str = "coffee.png") -> Path:
    """Where the bundled sample photo `name` lies, in an installed fmap and in a checkout.

    >>> sample_path().name
    'coffee.png'
    """
    package = Path(__file__).resolve().parent.parent
    folders = (package / "sample_images", package.parent / "sample_images")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    known = sorted({file.name for folder in folders for file in folder.glob("*.[jp][pn]g")})
    raise ImageError(
        f"no bundled sample named {name}.",
        hint=f"There are {', '.join(known)}." if known else "Reinstall fmap: its sample photos are missing.",
    )


def _safe_stem(source: str) -> str:
    """A short name for files.

    >>> _safe_stem("photos/My cat (1).jpg"), _safe_stem("-")
    ('My_cat_1', 'stdin')
    """
    if source == "-":
        return "stdin"
    return re.sub(r"[^\w.+-]+", "_", Path(source).stem).strip("._-")[:80] or "image"
