"""A file or an array becomes a picture twice: pixels for the eye, a tensor for the network.

Reading comes first and needs Pillow and numpy only, so that a bad file is refused before torch is imported.
The geometry (resize, crops) and the normalisation are torchvision's own functions on the picture itself, so a
tensor is equal, bit for bit, to what the `transforms()` of a torchvision weights entry give for it.
"""

from __future__ import annotations

import io
import itertools
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fmap_cli.errors import ImageError
from fmap_cli.inputs.held import HeldImage
from fmap_cli.inputs.ranges import alpha_to_unit, check_finite, of_stored_bits, to_unit
from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    # What reading gives: an 8-bit picture (mode RGB or L), or float32 values in 0..1 as [C, H, W].
    Picture = Image.Image | np.ndarray

LAYOUTS = ("HWC", "CHW", "NHWC", "NCHW", "HW")

_NPY_MAGIC = b"\x93NUMPY"
_PNG_MAGIC = b"\x89PNG"
_STREAM_LIMIT_BYTES = 1 << 30  # a pipe or a device has no size to look at: /dev/zero would never end
_FORMATS_HINT = "fmap reads JPEG, PNG, WebP, TIFF, BMP, GIF and whatever else Pillow opens, and .npy arrays."


def load_image(
    source: str, preprocessing: Preprocessing, *, layout: str | None = None, stdin: BinaryIO | None = None
) -> ImageInput:
    """The picture at `source` as the network takes it, and as the eye sees what the network takes.

    `source` is a path, or `-` for standard input (`stdin`, where given); the bytes are an image or a `.npy`
    array, told apart by what they hold, not by a name. `layout` says how an array's axes are meant, one of
    `LAYOUTS`; None finds it out where it is unambiguous. Pictures have no need of it and ignore it.

    `tensor` is `[C, H, W]` float32, normalised; `pixels` is `[H, W, 3]` uint8, the same crop before that.
    Raises `ImageError` for whatever cannot be read or does not fit the network.

    >>> sample = load_image(str(sample_path()), Preprocessing(resize=256, crop=(224, 192)))
    >>> sample.pixels.shape, tuple(sample.tensor.shape), sample.stem
    ((224, 192, 3), (3, 224, 192), 'coffee')
    """
    label = "standard input" if source == "-" else source
    with _opened(source, label, stdin) as stream:
        start = _first_bytes(stream, label)
        if start.startswith(_NPY_MAGIC):
            picture, notes = _read_array(stream, label, layout, preprocessing)
        else:
            picture, notes = _read_picture(stream, label, start, preprocessing)
    _check_sizes(_height_width(picture), preprocessing, label)
    pixels, tensor, cut_notes = _prepare(picture, preprocessing, label)
    return ImageInput(name=source, stem=_safe_stem(source), pixels=pixels, tensor=tensor, notes=(*notes, *cut_notes))


def load_array(source: str, shape: Sequence[int], value_range: tuple[float, float] | None = None) -> np.ndarray | None:
    """The numbers in an `.npy` file, if they are of this shape, with or without a batch of one before it; else None.

    They are as they are in the file, unless `value_range` says which of them become 0 and 1.
    Raises ImageError for a file that cannot be read, and for what is no array of real, finite numbers.
    """
    import numpy as np

    with _opened(source, source, None) as stream:
        if not _first_bytes(stream, source).startswith(_NPY_MAGIC):
            return None
        try:
            found, dtype = _npy_header(stream)
        except Exception as error:  # numpy parses the header as Python text: whatever that raises
            raise _damaged(source, f"not a .npy header ({error})") from None
        if found not in (tuple(shape), (1, *shape)) or dtype.hasobject or dtype.kind not in "buif":
            return None
        stream.seek(0)
        try:
            array = np.asarray(np.load(stream, allow_pickle=False))
        except (ValueError, OSError, EOFError) as error:
            raise _damaged(source, str(error)) from None
    if dtype.kind == "f":
        check_finite(array, source)
    if value_range is not None:
        array, _ = to_unit(array, source, value_range)
    return array.reshape(tuple(shape))


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


# Opening --------------------------------------------------------------------------------------------------


@contextmanager
def _opened(source: str, label: str, stdin: BinaryIO | None) -> Iterator[BinaryIO]:
    """A seekable stream at its start: a file as it is, a pipe or device read into memory."""
    if source == "-":
        yield _read_stdin(stdin)
        return
    if isinstance(source, HeldImage):
        yield source.open()
        return
    path = Path(source)
    try:
        if path.is_dir():
            raise ImageError(
                f"{label} is a directory, not an image.",
                hint=f"Name the files in it, for example {path / '*.jpg'}",
            )
        file = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"no such file: {label}", hint=_missing_hint(source)) from None
    except PermissionError:
        raise ImageError(
            f"{label} cannot be read: permission denied.", hint=f"Look at its permissions: ls -l {label}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{label} cannot be read: {reason}.") from None
    with file:
        yield file if path.is_file() else _read_whole(file, label)


def _missing_hint(source: str) -> str:
    if re.match(r"https?://", source):
        return f"fmap reads files, not addresses: curl -sL {source} | fmap show -"
    return "Check the path and the name's spelling."


def _first_bytes(stream: BinaryIO, label: str) -> bytes:
    try:
        start = stream.read(32)
        stream.seek(0)
    except OSError as error:
        raise ImageError(f"{label} cannot be read: {error.strerror or error}.") from None
    if not start:
        raise ImageError(f"{label} is empty (0 bytes).", hint="Check the program or copy that wrote it.")
    return start


def _read_stdin(stdin: BinaryIO | None) -> BinaryIO:
    stream = stdin or getattr(sys.stdin, "buffer", None)
    hint = "Pipe an image into it, for example: fmap show - < photo.jpg"
    if stream is None or stream.isatty():
        raise ImageError("no image on standard input.", hint=hint)
    whole = _read_whole(stream, "standard input")
    if not whole.getbuffer().nbytes:
        raise ImageError("standard input is empty (0 bytes).", hint=hint)
    return whole


def _read_whole(stream: BinaryIO, label: str) -> io.BytesIO:
    whole = io.BytesIO()
    try:
        while chunk := stream.read(1 << 20):
            whole.write(chunk)
            if whole.tell() > _STREAM_LIMIT_BYTES:
                raise ImageError(
                    f"{label} gives more than {_STREAM_LIMIT_BYTES:,} bytes: too much for an image.",
                    hint="Name a file, or pipe in one image.",
                )
    except OSError as error:
        raise ImageError(f"{label} cannot be read: {error.strerror or error}.") from None
    whole.seek(0)
    return whole


# Image files ----------------------------------------------------------------------------------------------


def _read_picture(
    stream: BinaryIO, label: str, start: bytes, preprocessing: Preprocessing
) -> tuple[Picture, list[str]]:
    channels = preprocessing.channels
    if channels not in (1, 3):
        raise ImageError(
            f"{label}: a picture has 3 channels or 1, the network takes {channels}.",
            hint=f"Give a .npy array with {channels} channels; if it takes pictures, say so with --input-shape 3,H,W.",
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
        return _as_picture(_to_pillow(planes), preprocessing, notes, label), notes
    return _as_values(planes, preprocessing, notes, label), notes


def _deep_planes(stream: BinaryIO, image: Image.Image, bits: int, start: bytes) -> np.ndarray | None:
    """The values of a picture of more than 8 bits as `[C, H, W]`; None where 8 bits are all there is to have."""
    import numpy as np

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)[None]  # [1, H, W]
        return values.astype(values.dtype.newbyteorder("="))
    return _deep_colours(stream, image) if bits > 8 and start.startswith(_PNG_MAGIC) else None


def _as_picture(image: Image.Image, preprocessing: Preprocessing, notes: list[str], label: str) -> Picture:
    """8-bit pixels in the network's mode; as values where `--range` says what black and white are."""
    import numpy as np

    image = _as_network_mode(image, preprocessing.channels, notes, label)
    if preprocessing.value_range is None:
        return image
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)  # [C, H, W]
    return _as_values(pixels, preprocessing, notes, label)


def _as_values(planes: np.ndarray, preprocessing: Preprocessing, notes: list[str], label: str) -> np.ndarray:
    """`[C, H, W]` of any numbers as float32 in 0..1 with the network's channels; adds what was done to `notes`."""
    import numpy as np

    channels = preprocessing.channels
    if len(planes) in (2, 4) and len(planes) != channels:
        notes.append("transparency laid on white")
        alpha = alpha_to_unit(planes[-1])
        planes = planes[:-1]
    else:
        alpha = None
    values, said = to_unit(planes, label, preprocessing.value_range)
    notes += said
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / np.float32(255)
    if alpha is not None:
        values = values * alpha + (1 - alpha)
    if channels == 1 and len(values) > 1:
        notes.append("converted to gray: the network takes one channel")
    return _fit_channels(values, channels)


def _decode(stream: BinaryIO, label: str, start: bytes) -> tuple[Image.Image, int, list[str]]:
    """The first picture in the stream, upright, in the file's own mode; bits per value; notes."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _quiet_libtiff(start), _quiet_pillow(), Image.open(stream) as file:
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
        raise _too_large(label, size) from None
    except UnidentifiedImageError:
        raise _not_an_image(label, start) from None
    except Exception as error:
        # Pillow's readers raise whatever a damaged file leads them into (OSError, SyntaxError, struct.error,
        # EOFError, IndexError, zlib.error ...): here, and only here, any of them means a bad file.
        raise _damaged(label, str(error)) from None


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keeps Pillow's remarks on odd metadata off stderr; its warning of a decompression bomb is an error."""
    from PIL import Image

    logger, silence = logging.getLogger("PIL"), logging.NullHandler()
    logger.addHandler(silence)  # without a handler, logging prints errors on stderr as a last resort
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        logger.removeHandler(silence)


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


def _deep_colours(stream: BinaryIO, image: Image.Image) -> np.ndarray | None:
    """The 16-bit colours of a PNG as `[C, H, W]` uint16, upright; None where they cannot be had.

    Pillow has no picture of more than 8 bits with colours, and torchvision reads one.
    """
    from fmap_cli.frameworks import load_torchvision

    if image.mode not in ("RGB", "RGBA", "LA") or "transparency" in image.info:
        return None
    load_torchvision()
    import torch

    try:
        from torchvision.io import decode_image

        stream.seek(0)
        sound = _sound_png(stream.read())
        if sound is None:
            return None
        encoded = torch.frombuffer(bytearray(sound), dtype=torch.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # where it is gone, Pillow's 8 bits are what there is
            values: np.ndarray = decode_image(encoded, apply_exif_orientation=True).numpy()
    except (RuntimeError, ImportError, OSError):  # a build of torchvision without its image library
        return None
    return values if values.dtype == "uint16" and values.shape[1:] == (image.height, image.width) else None


def _sound_png(content: bytes) -> bytes | None:
    """The parts of a PNG that make its picture, whole and undamaged; None where they are not.

    torchvision's reader may end the process over a damaged one: what libpng would refuse must not reach it.
    """
    import struct
    import zlib

    parts, data, at = [content[:8]], [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        name, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content) or zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            return None
        if name in (b"IHDR", b"IDAT", b"eXIf", b"IEND"):
            parts.append(content[at:end])
        if name == b"IDAT":
            data.append(content[at + 8 : end - 4])
        at = end
        if name == b"IEND":
            break
    else:
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    pixel_bits = bits * {0: 1, 2: 3, 4: 2, 6: 4}.get(colour, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = [0]  # the bytes of every row, with its filter's number before it
    for x, y, across, down in passes:
        columns = -(-(width - x) // across)
        if columns > 0:
            rows += [1 + -(-columns * pixel_bits // 8)] * max(0, -(-(height - y) // down))
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(b"".join(data), sum(rows) + 1)
    except zlib.error:
        return None
    starts = itertools.accumulate(rows[:-1])
    if len(raw) != sum(rows) or not unpacking.eof or any(raw[start] > 4 for start in starts):
        return None
    return b"".join(parts)


# The first pixel of each pass of an interlaced PNG, across and down, and the steps to the next ones.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _as_network_mode(image: Image.Image, channels: int, notes: list[str], label: str) -> Image.Image:
    """The picture in mode RGB, or L where the network takes one channel; adds what was done to `notes`."""
    from PIL import ImageChops

    try:
        with _quiet_pillow():
            image = _flatten(image, notes)
    except (ValueError, OSError) as error:  # a mode or a palette that Pillow has no way to RGB for
        raise ImageError(
            f"{label} cannot be turned into RGB from mode {image.mode}: {error}.",
            hint="Save it as an RGB picture.",
        ) from None
    if channels == 3:
        return image
    gray = image.convert("L")
    if ImageChops.difference(image, gray.convert("RGB")).getbbox():
        notes.append("converted to gray: the network takes one channel")
    return gray


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    """The picture in RGB; where it is transparent, white shows through."""
    from PIL import Image

    if image.mode in ("La", "RGBa"):  # colours stored multiplied by alpha
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB")
    notes.append("transparent pixels laid on white")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _not_an_image(label: str, start: bytes) -> ImageError:
    from PIL import Image

    for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        accept = Image.OPEN[name][1] if name in Image.OPEN else None
        if accept is not None and accept(start) is True:
            return ImageError(
                f"{label} starts as {name} and cannot be read on: truncated, damaged, or of a kind Pillow "
                "does not know.",
                hint="Copy or download it again, or convert it to an ordinary PNG.",
            )
    if start.startswith(b"PK\x03\x04"):
        hint = "It is a zip archive (.npz, .pt, .zip); save one array by itself: np.save('image.npy', array)"
    elif start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        hint = "It looks like HEIC, which Pillow does not read: convert it to JPEG or PNG."
    else:
        hint = _FORMATS_HINT
    return ImageError(f"{label} is not an image.", hint=hint)


def _damaged(label: str, reason: str) -> ImageError:
    word = "truncated" if "truncated" in reason.lower() else "truncated or damaged"
    reason = reason.rstrip(".")
    return ImageError(
        f"{label} is {word}: {reason}." if reason else f"{label} is {word}.",
        hint="Copy or download it again; half a picture is refused, not shown.",
    )


# Arrays ---------------------------------------------------------------------------------------------------


def _read_array(
    stream: BinaryIO, label: str, layout: str | None, preprocessing: Preprocessing
) -> tuple[Picture, list[str]]:
    channels = preprocessing.channels
    array = _load_npy(stream, label, channels)
    planes, note = _to_chw(array, layout, label, channels)
    notes = [note]
    if preprocessing.value_range is None and channels in (1, 3):
        values, said = to_unit(planes, label)
        if values.dtype == "uint8":
            # The same bytes as a picture's take the picture's way, and give the same tensor.
            notes += said
            return _as_network_mode(_to_pillow(values), channels, notes, label), notes
    return _as_values(planes, preprocessing, notes, label), notes


def _load_npy(stream: BinaryIO, label: str, channels: int) -> np.ndarray:
    import numpy as np

    try:
        shape, dtype = _npy_header(stream)
    except Exception as error:  # numpy parses the header as Python text: whatever that raises
        raise _damaged(label, f"not a .npy header ({error})") from None
    _check_npy(shape, dtype, label, channels)
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    start = stream.tell()
    held = stream.seek(0, io.SEEK_END) - start
    if held < promised:
        raise _damaged(
            label, f"its header promises {promised:,} bytes of {dtype} {list(shape)}, the file holds {held:,}"
        )
    stream.seek(0)
    try:
        return np.asarray(np.load(stream, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise _damaged(label, str(error)) from None


def _npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype as the header tells them, before anything is allocated."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    # Version 3 differs from 2 in the names of fields alone, which no picture has.
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(length < 0 or isinstance(length, bool) for length in shape):
        raise ValueError(f"no length in {shape}")
    return shape, dtype


def _check_npy(shape: tuple[int, ...], dtype: np.dtype[Any], label: str, channels: int) -> None:
    import numpy as np

    if dtype.hasobject:
        raise ImageError(
            f"{label} holds Python objects, which need pickle to be read, and pickle can run code.",
            hint="Save numbers: np.save('image.npy', np.asarray(image, dtype='uint8'))",
        )
    if dtype.kind not in "buif":
        raise ImageError(
            f"{label} holds {dtype} values; expected bool, integers or floats.",
            hint="Save real numbers, for example uint8 in 0..255 or float32 in 0..1.",
        )
    if 0 in shape:
        raise ImageError(f"{label} has no pixels: the array's shape is {list(shape)}.")
    if len(shape) == 4 and shape[0] != 1:
        raise ImageError(
            f"{label} holds {shape[0]} images, {list(shape)}; fmap takes one a file.",
            hint="Save one of them, for example the first: np.save('first.npy', array[0])",
        )
    if not 2 <= len(shape) <= 4:
        raise ImageError(f"{label} has {len(shape)} axes, {list(shape)}; expected one of {', '.join(LAYOUTS)}.")
    limit = _pixel_limit()
    values = int(np.prod(shape, dtype=object))
    if limit is not None and values > limit * max(4, channels):
        raise _too_large(label, f"an array of {list(shape)}")


def _to_chw(array: np.ndarray, layout: str | None, label: str, channels: int) -> tuple[np.ndarray, str]:
    """The array as a view of `[C, H, W]`, and the sentence that says how it was read."""
    shape = list(array.shape)
    layout = _find_layout(array.shape, label, channels) if layout is None else _checked(layout, array.shape, label)
    if layout.startswith("N"):
        array = array[0]
    if layout == "HW":
        array = array[None]  # [1, H, W]
    elif layout.endswith("HWC"):
        array = array.transpose(2, 0, 1)  # [C, H, W]
    if len(array) not in _channel_counts(channels):
        raise ImageError(
            f"{label} has {len(array)} channels (array {shape} read as {layout}); the network takes {channels}.",
            hint="If the axes are meant otherwise, say so with --layout HWC or --layout CHW.",
        )
    permuted = ", permuted to CHW" if layout.endswith("HWC") else ""
    return array, f"array {shape} read as {layout}{permuted}"


def _channel_counts(channels: int) -> tuple[int, ...]:
    """How many channels an array may have: gray, RGB and RGBA fit a network for pictures, else its own."""
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def _find_layout(shape: tuple[int, ...], label: str, channels: int) -> str:
    if len(shape) == 2:
        return "HW"
    counts = _channel_counts(channels)
    first, last = shape[-3] in counts, shape[-1] in counts
    batch = "N" if len(shape) == 4 else ""
    if first != last:
        return batch + ("CHW" if first else "HWC")
    lengths = " or ".join(str(count) for count in counts)
    found = "the first and the last axis both are" if first else "neither the first nor the last axis is"
    raise ImageError(
        f"{label}: where are the channels of {list(shape)}? Of length {lengths}, {found}.",
        hint=f"Say it with --layout {batch}HWC or --layout {batch}CHW.",
    )


def _checked(layout: str, shape: tuple[int, ...], label: str) -> str:
    layout = layout.upper()
    if layout not in LAYOUTS:
        raise ImageError(f"unknown layout {layout}; expected one of {', '.join(LAYOUTS)}.")
    if len(layout) != len(shape):
        raise ImageError(
            f"{label} has {len(shape)} axes, {list(shape)}; --layout {layout} names {len(layout)}.",
            hint="Leave --layout out, or give one of " + ", ".join(name for name in LAYOUTS if len(name) == len(shape)),
        )
    return layout


def _to_pillow(values: np.ndarray) -> Image.Image:
    """`[C, H, W]` uint8 of 1, 3 or 4 channels as a picture in mode L, RGB or RGBA."""
    import numpy as np
    from PIL import Image

    channels_last = values[0] if len(values) == 1 else values.transpose(1, 2, 0)  # [H, W] or [H, W, C]
    return Image.fromarray(np.ascontiguousarray(channels_last))


def _fit_channels(values: np.ndarray, channels: int) -> np.ndarray:
    """`[C, H, W]` float32 in 0..1 with the network's number of channels: luma for gray, gray repeated."""
    import numpy as np

    if len(values) == channels:
        return values
    if channels == 1 and len(values) == 3:
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601 luma, as Pillow's mode L
        values = np.tensordot(weights, values, axes=1)[None]  # [1, H, W]
    return np.broadcast_to(values, (channels, *values.shape[1:]))


# Preprocessing --------------------------------------------------------------------------------------------


def _prepare(picture: Picture, preprocessing: Preprocessing, label: str) -> tuple[np.ndarray, torch.Tensor, list[str]]:
    """Pixels, tensor and notes: resize, centre crop, crop to a multiple, 0..1, normalise."""
    from fmap_cli.frameworks import load_torchvision

    mean = _per_channel(preprocessing.mean, preprocessing.channels, "mean")
    std = _per_channel(preprocessing.std, preprocessing.channels, "std")
    if 0 in std:
        raise ImageError(f"std holds a zero: {std}; values are divided by it.", hint="Give another --std.")

    load_torchvision()
    import torch
    from torchvision.transforms import functional as F

    cut, notes = _resize_and_crop(picture, preprocessing, label)
    values = F.convert_image_dtype(cut, torch.float32)
    return _for_the_eye(cut, notes), F.normalize(values, mean=mean, std=std), notes


def _resize_and_crop(picture: Picture, preprocessing: Preprocessing, label: str) -> tuple[torch.Tensor, list[str]]:
    """The crop the network sees as `[C, H, W]`, uint8 0..255 or float32 0..1."""
    import numpy as np
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    notes: list[str] = []
    work: Any = picture
    if isinstance(picture, np.ndarray):
        # A copy: torch takes neither read-only memory nor strides that run backwards.
        work = torch.from_numpy(np.array(picture, order="C"))
    elif not preprocessing.antialias:
        work = F.pil_to_tensor(work)  # Pillow's own resize always antialiases
    resize = preprocessing.resize
    if resize is not None:
        size = [resize] if isinstance(resize, int) else list(resize)
        mode = InterpolationMode(preprocessing.interpolation)
        work = F.resize(work, size, interpolation=mode, antialias=preprocessing.antialias)
    _, height, width = F.get_dimensions(work)
    if preprocessing.crop is not None:
        crop_height, crop_width = preprocessing.crop
        if height < crop_height or width < crop_width:
            notes.append(
                f"the picture, {height} × {width}, is smaller than the crop, {crop_height} × {crop_width}: "
                "padded with black"
            )
        work = F.center_crop(work, [crop_height, crop_width])
        height, width = crop_height, crop_width
    multiple = preprocessing.multiple_of
    if multiple > 1:
        if min(height, width) < multiple:
            raise ImageError(
                f"{label} is {height} × {width}; the network takes multiples of {multiple}.",
                hint="Give a larger picture, or resize it with --size.",
            )
        work = F.center_crop(work, [height - height % multiple, width - width % multiple])
    cut = work if isinstance(work, torch.Tensor) else F.pil_to_tensor(work)
    # Bicubic weights overshoot; a picture's 8 bits end there, and so does a float's 0..1.
    return (cut if cut.dtype == torch.uint8 else cut.clamp(0, 1)), notes


def _for_the_eye(cut: torch.Tensor, notes: list[str]) -> np.ndarray:
    """`[H, W, 3]` uint8 of a crop `[C, H, W]`; one channel is repeated, more than 3 are averaged."""
    import numpy as np
    import torch

    eight_bit = cut if cut.dtype == torch.uint8 else (cut.double() * 255).round().to(torch.uint8)
    if len(cut) not in (1, 3):
        eight_bit = (cut.double().mean(dim=0, keepdim=True) * 255).round().to(torch.uint8)  # [1, H, W]
        notes.append(f"the picture shows the mean over {len(cut)} channels as gray")
    pixels = eight_bit.expand(3, -1, -1).permute(1, 2, 0).numpy()  # [H, W, 3]
    return np.ascontiguousarray(pixels)


def _per_channel(values: tuple[float, ...], channels: int, what: str) -> list[float]:
    """One value a channel, from as many, from one for all, or for a gray network RGB's three averaged."""
    if len(values) == channels:
        return list(values)
    if len(values) == 1:
        return list(values) * channels
    if channels == 1 and len(values) == 3:
        return [sum(values) / 3]
    raise ImageError(
        f"{what} has {len(values)} values; the network takes {channels} channels.",
        hint=f"Give one value or {channels} with --{what}.",
    )


# Sizes ----------------------------------------------------------------------------------------------------


def _check_sizes(size: tuple[int, int], preprocessing: Preprocessing, label: str) -> None:
    """Refuses, before anything is allocated, what resizing or cropping would blow up beyond Pillow's limit.

    A 1 × 20000 picture whose shorter side becomes 256 is 256 × 5120000.
    """
    height, width = _resized(size, preprocessing.resize)
    _check_limit(f"{label}, {size[0]} × {size[1]}, resized to {height} × {width}", height * width)
    if preprocessing.crop is not None:
        crop_height, crop_width = preprocessing.crop
        _check_limit(f"the crop {crop_height} × {crop_width}", crop_height * crop_width)


def _resized(size: tuple[int, int], resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width after torchvision's `resize`.

    >>> _resized((400, 600), 256)
    (256, 384)
    """
    if resize is None:
        return size
    if not isinstance(resize, int):
        return resize
    longer = int(resize * max(size) / min(size))
    return (resize, longer) if size[0] <= size[1] else (longer, resize)


def _check_limit(what: str, pixels: int) -> None:
    limit = _pixel_limit()
    if limit is not None and pixels > limit:
        raise _too_large(what, f"{pixels:,} pixels")


def _too_large(what: str, size: str) -> ImageError:
    return ImageError(
        f"{what} is too large: {size}; the limit is {_pixel_limit():,} pixels.",
        hint="Crop or shrink the picture first.",
    )


def _pixel_limit() -> int | None:
    from PIL import Image

    return Image.MAX_IMAGE_PIXELS


def _height_width(picture: Picture) -> tuple[int, int]:
    import numpy as np

    if isinstance(picture, np.ndarray):
        return picture.shape[-2], picture.shape[-1]
    return picture.height, picture.width


# Names ----------------------------------------------------------------------------------------------------


def _safe_stem(source: str) -> str:
    """A short name for files.

    >>> _safe_stem("photos/My cat (1).jpg"), _safe_stem("-")
    ('My_cat_1', 'stdin')
    """
    if source == "-":
        return "stdin"
    return re.sub(r"[^\w.+-]+", "_", Path(source).stem).strip("._-")[:80] or "image"
