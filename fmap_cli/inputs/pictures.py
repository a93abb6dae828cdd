"""A file of a picture, in whatever format Pillow reads, as a picture of 8 bits or as values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ImageError
from ..models.records import Preprocessing
from .limits import too_large
from .modes import as_network_mode, as_values, quiet_pillow, to_pillow
from .png import sixteen_bit_colours
from .ranges import of_stored_bits
from .streams import damaged

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from .records import Picture


_PNG_MAGIC = b"\x89PNG"
_FORMATS_HINT = "fmap reads JPEG, PNG, WebP, TIFF, BMP, GIF and whatever else Pillow opens, and .npy arrays."


def read_picture(stream: BinaryIO, label: str, start: bytes, preprocessing: Preprocessing) -> tuple[Picture, list[str]]:
    channels = preprocessing.channels
    if channels not in (1, 3):
        raise ImageError(
            f"{label}: a picture has 3 channels or 1, the network takes {channels}.",
            hint=f"Give a .npy array with {channels} channels.",
        )
    image, bits, notes = _decode(stream, label, start)
    planes = _deep_planes(stream, image, bits, start)
    if planes is None:
        if bits > 8:
            notes.append(f"{bits}-bit values reduced to 8 bits: a .npy array or a PNG keeps them")
        return _as_picture(image, preprocessing, notes, label), notes
    if planes.dtype.kind == "i" and preprocessing.value_range is None:
        planes = of_stored_bits(planes, bits, label)
    if planes.dtype == "uint8":
        return _as_picture(to_pillow(planes), preprocessing, notes, label), notes
    return as_values(planes, preprocessing, notes, label), notes


def _deep_planes(stream: BinaryIO, image: Image.Image, bits: int, start: bytes) -> np.ndarray | None:
    """The values of a picture of more than 8 bits as `[C, H, W]`; None where 8 bits are all there is to have."""
    import numpy as np

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)[None]  # [1, H, W]
        return values.astype(values.dtype.newbyteorder("="))
    return sixteen_bit_colours(stream, image) if bits > 8 and start.startswith(_PNG_MAGIC) else None


def _as_picture(image: Image.Image, preprocessing: Preprocessing, notes: list[str], label: str) -> Picture:
    """8-bit pixels in the network's mode; as values where `--range` says what black and white are."""
    import numpy as np

    image = as_network_mode(image, preprocessing.channels, notes, label)
    if preprocessing.value_range is None:
        return image
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)  # [C, H, W]
    return as_values(pixels, preprocessing, notes, label)


def _decode(stream: BinaryIO, label: str, start: bytes) -> tuple[Image.Image, int, list[str]]:
    """The first picture in the stream, upright, in the file's own mode; bits per value; notes."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _quiet_libtiff(start), quiet_pillow(), Image.open(stream) as file:
            if file.format == "EPS":
                # Pillow would hand the file to Ghostscript: a program to run, not a picture to read.
                raise ImageError(f"{label} is an EPS drawing, not a photo.", hint="Convert it to PNG or JPEG first.")
            bits = _stored_bits(file)
            file.load()
            image, notes = _upright(file)
            # Only now: counting moves through the file, and a damaged later frame is no harm to the first.
            notes += _frames_note(file)
            return image, bits, notes
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"\d+", str(error))
        size = f"{int(found.group()):,} pixels" if found else "too many pixels"
        raise too_large(label, size) from None
    except UnidentifiedImageError:
        raise _not_an_image(label, start) from None
    except Exception as error:
        # Pillow's readers raise whatever a damaged file leads them into (OSError, SyntaxError, struct.error,
        # EOFError, IndexError, zlib.error ...): here, and only here, any of them means a bad file.
        raise damaged(label, str(error)) from None


@contextmanager
def _quiet_libtiff(start: bytes) -> Iterator[None]:
    """While a TIFF is read, file descriptor 2 leads nowhere: libtiff prints its errors there from C.

    What matters of them comes back as an exception.
    """
    if start[:2] not in (b"II", b"MM"):
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all: nothing to print on
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 -- a device's name, not a path
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _stored_bits(file: Image.Image) -> int:
    """Bits per value in the file, to be asked before loading: 16-bit RGB is 8-bit once it is loaded."""
    tiff_tags = getattr(file, "tag_v2", None)
    if tiff_tags is not None:
        # Mode I: signed integers, whatever their width, or unsigned ones of 32 bits.
        return 32 if file.mode == "I" else int(max(tiff_tags.get(258, (8,))))  # BitsPerSample
    for tile in getattr(file, "tile", ()):
        args = tile[3]
        raw_mode = args[0] if isinstance(args, tuple) and args else args
        if isinstance(raw_mode, str) and ";16" in raw_mode:
            return 16
    return 16 if file.mode == "I" or file.mode.startswith("I;16") else 8


def _upright(file: Image.Image) -> tuple[Image.Image, list[str]]:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(file), []
    except Exception:  # the pixels are loaded and sound: damaged EXIF data may raise anything
        return file.copy(), ["damaged EXIF data: the picture is shown as it is stored, unrotated"]


def _frames_note(file: Image.Image) -> list[str]:
    what = {"TIFF": "page", "MPO": "picture"}.get(file.format or "", "frame")
    try:
        frames = getattr(file, "n_frames", 1)
    except Exception:  # a damaged later frame
        return [f"first {what} of a file with several"]
    return [f"first {what} of {frames}"] if frames > 1 else []


def _not_an_image(label: str, start: bytes) -> ImageError:
    from PIL import Image

    for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        accept = Image.OPEN[name][1] if name in Image.OPEN else None
        if accept is not None and accept(start) is True:
            return ImageError(
                f"{label} starts like a {name} file but cannot be read: truncated, damaged, or of a "
                "kind that Pillow does not know.",
                hint="Copy or download it again, or convert it to an ordinary PNG.",
            )
    if start.startswith(b"PK\x03\x04"):
        hint = (
            "It is a zip archive. Weights go with --weights FILE (B's with --vs-weights), a network with --model; of an"
            " archive of arrays (.npz) save one by itself: np.save('image.npy', array)"
        )
    elif start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        hint = "It looks like HEIC, which Pillow does not read: convert it to JPEG or PNG."
    else:
        hint = _FORMATS_HINT
    return ImageError(f"{label} is not an image.", hint=hint)
