"""JSON, CSV and files of arrays: how values are written, whatever they are about."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .errors import FmapError
from .files import write_file

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    import torch


SCHEMA_VERSION = 1


def save_arrays(path: Path, arrays: Mapping[str, torch.Tensor], about: Mapping[str, str]) -> None:
    """Write arrays under their names as `.npz`, `.safetensors` or `.pt`, by the file's suffix.

    Values keep their dtype; bfloat16, which NumPy lacks, becomes float32 in `.npz`, and complex128, which safetensors
    lacks, complex64 there. `about` (model, weights,
    image) goes into the metadata of `.safetensors` and, as a JSON text called `__about__`, into the others.
    """
    import torch

    tensors = {in_utf8(name): tensor.contiguous() for name, tensor in arrays.items()}
    about = {name: in_utf8(value) for name, value in about.items()}
    text = json.dumps(about, sort_keys=True)

    def write(file: IO[bytes]) -> None:
        if path.suffix.lower() == ".npz":
            import numpy as np

            plain = {n: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for n, t in tensors.items()}
            _write_npz(file, {**plain, "__about__": np.array(text)})
        elif path.suffix.lower() == ".safetensors":
            from safetensors.torch import save

            known = {n: (t.to(torch.complex64) if t.dtype == torch.complex128 else t) for n, t in tensors.items()}
            file.write(in_one_order(save(known, metadata=about)))
        else:
            torch.save({**tensors, "__about__": text}, file)

    write_file(path, write)


def in_one_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by name: the package writes them in an order drawn by chance.

    >>> from safetensors.numpy import save
    >>> import numpy as np
    >>> about = {"b": "2", "a": "1"}
    >>> len({in_one_order(save({"x": np.zeros(1)}, about)) for _ in range(20)})
    1
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # the values after it stay aligned
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]


def csv_text(head: Sequence[object], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV in UTF-8. Numbers are written with the fewest digits that read back as the same."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return utf8(text.getvalue())


def in_utf8(text: str) -> str:
    r"""The text, with bytes of a file's name that are no UTF-8 visible: files of arrays hold names in UTF-8.

    >>> print(in_utf8("caf\udce9.png"))
    caf\udce9.png
    """
    return text.encode(errors="backslashreplace").decode()


def utf8(text: str) -> bytes:
    """The text's bytes. A file's name comes out as it is on the disk, also where that is no UTF-8."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace")


def _write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """An `.npz` archive of arrays of any name. (`numpy.savez` takes none called `file` or `allow_pickle`.)"""
    import zipfile

    from numpy.lib import format as npy

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A ZipInfo has a date of its own, always the same: the same arrays give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def dumps(document: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """JSON in a stable order, human-readable, with no NaN or Infinity in it; always valid UTF-8.

    Bytes of a file's name that are no UTF-8 stay the escapes that Python reads them as.
    """
    text = json.dumps(document, indent=2, ensure_ascii=ascii_only, allow_nan=False)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join("-" if each is None else str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else value


def plain_number(value: Fraction | None) -> int | float | None:
    """A whole number where it is one."""
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(value)


def failed_rows(failures: Sequence[tuple[str, FmapError]]) -> list[dict[str, str]]:
    return [{"image": name, "error": error.message} for name, error in failures]


def finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
