"""Files of tensors: safetensors and what `torch.save` writes, read as data and nothing else.

Before torch sees a file its archive, its pickle and what its tensors claim are held against its size
(`archive`, `pickle_check`); then it is read with `weights_only=True`, always.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmap_cli.errors import WeightsError
from fmap_cli.foreign import raised
from fmap_cli.models import archive, building, pickle_check
from fmap_cli.models.archive import RefusedError

_MOST_PICKLE_BYTES = 64 << 20
_MAGIC = 0x1950A86A20F9469CFC6C  # what torch.save began its files with before 1.6
WAY_OUT = "Save its weights alone: `torch.save(model.state_dict(), FILE)`, or a .safetensors file."


def load(path: str) -> object:
    """What a `.safetensors` file or one of `torch.save` holds.

    Raises WeightsError for a file that is missing, unreadable, empty, truncated, no checkpoint, or that needs
    code to run.
    """
    file = Path(path)
    head = _head(file, path)
    if _is_safetensors(head, file):
        return _read_safetensors(file, path)
    if not head.startswith((b"PK", b"\x80")):
        if file.suffix.lower() == ".safetensors":
            raise WeightsError(f"{path} is damaged or truncated: it does not start as a safetensors file")
        raise WeightsError(
            f"{path} is not a checkpoint: neither a PyTorch file nor a safetensors file",
            hint="Expected: a state dict saved by `torch.save(model.state_dict(), FILE)`, or a .safetensors file.",
        )
    return load_tensors_only(file)


def load_tensors_only(file: Path) -> object:
    """What `torch.save` wrote, read without running code. Raises WeightsError."""
    import torch

    path = str(file)
    try:
        _check(file, path)
        with building.quiet(), torch.serialization.safe_globals(_harmless_types()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except pickle_check.UnwrittenError as error:
        raise WeightsError(f"{path} is a pickle that torch.save did not write, or damaged", hint=WAY_OUT) from error
    except pickle_check.ProtocolError as error:
        raise WeightsError(
            f"{path} is a pickle of protocol {error.protocol}; torch reads tensors alone from protocols 2 and 3",
            hint="Save it without `pickle_protocol`, where its network is: `torch.save(model.state_dict(), FILE)`.",
        ) from error
    except pickle_check.CodeError as error:
        raise _runs_code(path, error.name) from error
    except pickle_check.NestedError as error:
        raise WeightsError(f"{path} holds nested tensors; expected ordinary tensors", hint=WAY_OUT) from error
    except RefusedError as error:
        raise WeightsError(f"{path} is damaged or truncated: {error}", hint=WAY_OUT) from error
    except pickle.UnpicklingError as error:
        needed = _global_in(str(error))
        if needed is None:
            # Torch's own message goes on to recommend weights_only=False; that is not for us to pass on.
            raise WeightsError(f"{path} is a pickle that torch.save did not write, or damaged", hint=WAY_OUT) from error
        raise _runs_code(path, needed) from error
    except Exception as error:  # what torch.load raises on damaged files is many things
        raise WeightsError(
            f"{path} is damaged or truncated: {raised.first_line(error, type(error).__name__)}"
        ) from error


def refuse_odd_tensors(state: Mapping[str, Any], path: str) -> None:
    """Raises WeightsError for tensors that are no plain arrays of numbers: sparse, nested, without data."""
    import torch

    for key, value in state.items():
        kinds = {
            "nested": value.is_nested,
            "sparse": value.layout is not torch.strided,
            "without data (on `meta`)": value.device.type == "meta",
        }
        kind = next((kind for kind, holds in kinds.items() if holds), None)
        if kind is not None:
            raise WeightsError(
                f"{path} holds a tensor that is {kind}, {archive.shown(str(key))}; expected ordinary tensors",
                hint="Save ordinary ones: `to_dense()`, and values in place of `meta`.",
            )


def _head(file: Path, path: str) -> bytes:
    try:
        if file.is_dir():
            raise WeightsError(f"{path} is a directory; expected a checkpoint file")
        if file.exists() and not file.is_file():
            raise WeightsError(f"{path} is not a regular file; expected a checkpoint file")
        with file.open("rb") as stream:
            head = stream.read(16)
    except FileNotFoundError as error:
        raise WeightsError(f"no such weights file: {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise WeightsError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not head:
        raise WeightsError(f"{path} is empty")
    return head


def _is_safetensors(head: bytes, file: Path) -> bool:
    # Eight bytes: the length of a JSON header that follows at once.
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= file.stat().st_size


def _read_safetensors(file: Path, path: str) -> dict[str, Any]:
    import safetensors.torch

    try:
        return dict(safetensors.torch.load_file(file))
    except Exception as error:  # SafetensorError, and what torch makes of types and sizes
        raise WeightsError(
            f"{path} is damaged or truncated: {raised.first_line(error, type(error).__name__)}"
        ) from error


# --- Before torch sees the file ------------------------------------------------------------------------


def _check(file: Path, path: str) -> None:
    with file.open("rb") as stream:
        zipped = stream.read(2) == b"PK"
    if not zipped:
        _check_legacy(file)
        return
    try:
        with archive.opened(file) as held:
            names = held.names
            if "constants.pkl" in names:
                raise WeightsError(
                    f"{path} is a TorchScript program, not a state dict",
                    hint="Save its weights alone: `torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)`.",
                )
            if "data.pkl" not in names:
                raise WeightsError(f"{path} is a zip archive, but no checkpoint")
            check_archive_pickle(held, "data.pkl", "data/")
    except RecursionError as error:
        raise RefusedError("it is nested too deeply") from error


def check_archive_pickle(held: archive.Archive, name: str, folder: str, *, program: bool = False) -> None:
    """Holds a pickle in an archive against the storages beside it. Raises RefusedError."""
    import io

    stream = io.BytesIO(held.read(name, most_bytes=_MOST_PICKLE_BYTES))
    pickle_check.check(stream, lambda key, _: held.bytes_in(folder + key), program=program)


def _check_legacy(file: Path) -> None:
    """A file of before torch 1.6: several pickles, then the storages one after another."""
    length = file.stat().st_size
    claimed: dict[str, int] = {}

    def left_for(key: str, bytes_: int) -> int:
        others = sum(each for other, each in claimed.items() if other != key)
        claimed[key] = max(claimed.get(key, 0), bytes_)
        return length - others

    with file.open("rb") as opened:
        stream = pickle_check.Limited(opened)
        if pickle_check.check(stream, left_for) == _MAGIC:
            for _ in range(4):  # version, machine, the object, the storages' keys
                pickle_check.check(stream, left_for)


# --- In words ------------------------------------------------------------------------------------------


def _runs_code(path: str, needed: str) -> WeightsError:
    return WeightsError(
        f"{path} holds more than tensors: it would run code to load (`{needed}`), so it was not opened", hint=WAY_OUT
    )


def _harmless_types() -> list[Any]:
    """What training scripts save beside the weights, and what is data through and through.

    torchvision's save their options (`argparse.Namespace`), many save an accuracy as a NumPy number.
    """
    import numpy as np

    number = np.float64(0).__reduce__()[0]  # NumPy 2 calls it by another name than NumPy 1
    return [
        argparse.Namespace,
        (number, "numpy._core.multiarray.scalar"),
        (number, "numpy.core.multiarray.scalar"),
        np.dtype,
        *{type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")},
    ]


def _global_in(message: str) -> str | None:
    """The name that the unpickler refused, from torch's message."""
    for pattern in (r"Unsupported global: GLOBAL (\S+)", r"Unsupported class (\S+)", r"type `?([\w.]+\.\w+)`?"):
        found = re.search(pattern, message)
        if found:
            return found.group(1)
    return None
