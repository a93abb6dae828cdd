"""Records to JSON and array files, and the one writer through which every file goes."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .errors import OutputError
from .records import Axes, Detection, FeatureMap, LayerRef, LoadedModel, Look, ModelEntry, Prediction

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file that appears at `path` whole or not at all.

    It is written beside its target and renamed into place, so an error leaves what was there before. What is no
    regular file (a pipe, a device) is written to as it is. Raises OutputError with what failed.
    """
    temporary: Path | None = None
    try:
        target = path.resolve() if path.is_symlink() else path
        if target.exists() and not target.is_file():
            if target.is_dir():
                raise OutputError(f"cannot write {path}: it is a directory.", hint="Give a file's name.")
            with target.open("wb") as file:
                write(file)
            return
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}-", suffix=".part", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except OSError as error:
        raise OutputError(*_explained(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    """The permissions of the file replaced, or those a new file gets here."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _explained(path: Path, error: OSError) -> tuple[str]:
    if not path.parent.is_dir():
        return (f"cannot write {path}: there is no directory {path.parent}.",)
    return (f"cannot write {path}: {error.strerror or error}.",)


def make_directory(path: Path) -> None:
    """Create a directory for outputs, with its parents. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the directory {path}: {error.strerror or error}.") from error


def save_looks(path: Path, looks: Sequence[Look], model: str, weights: str) -> None:
    """Write the looks' whole layer outputs by layer name; with several images, as `IMAGE/LAYER`."""
    arrays: dict[str, torch.Tensor] = {}
    for look in looks:
        for name, tensor in look.arrays.items():
            key = name if len(looks) == 1 else f"{look.image.name}/{name}"
            arrays[key] = tensor
    images = ", ".join(look.image.name for look in looks)
    save_arrays(path, arrays, {"model": model, "weights": weights, "image": images})


def save_arrays(path: Path, arrays: Mapping[str, torch.Tensor], about: Mapping[str, str]) -> None:
    """Write arrays under their names as `.npz`, `.safetensors` or `.pt`, by the file's suffix.

    Values keep their dtype; bfloat16, which NumPy lacks, becomes float32 in `.npz`. `about` (model, weights,
    image) goes into the metadata of `.safetensors` and, as a JSON text called `__about__`, into the others.
    """
    import torch

    tensors = {name: tensor.contiguous() for name, tensor in arrays.items()}
    text = json.dumps(dict(about), sort_keys=True)

    def write(file: IO[bytes]) -> None:
        if path.suffix.lower() == ".npz":
            import numpy as np

            plain = {n: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for n, t in tensors.items()}
            np.savez(file, __about__=np.array(text), **plain)  # type: ignore[arg-type]
        elif path.suffix.lower() == ".safetensors":
            from safetensors.torch import save

            file.write(save(tensors, metadata=dict(about)))
        else:
            torch.save({**tensors, "__about__": text}, file)

    write_file(path, write)


# -- JSON --------------------------------------------------------------------------------------------------------


def dumps(document: Mapping[str, Any]) -> str:
    """JSON in a stable order, human-readable, with no NaN or Infinity in it; always valid UTF-8.

    Bytes of a file's name that are no UTF-8 stay the escapes that Python reads them as.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def layer_row(feature_map: FeatureMap) -> dict[str, Any]:
    """One layer for JSON. These names are the schema's: later versions add names and never change these."""
    stats = feature_map.stats
    return {
        "name": feature_map.layer.name,
        "kind": feature_map.layer.kind,
        "type": feature_map.layer.type_name,
        "call": feature_map.layer.call,
        "shape": list(feature_map.shape),
        "axes": list(feature_map.axes.names),
        "strides": list(feature_map.strides),
        "dtype": feature_map.dtype,
        "count": stats.count,
        "mean": _finite(stats.mean),
        "std": _finite(stats.std),
        "min": _finite(stats.min),
        "max": _finite(stats.max),
        "zero_fraction": stats.zero_fraction,
        "nan_count": stats.nan,
        "inf_count": stats.inf,
    }


def show_document(model: str, weights: str, looks: Sequence[Look], files: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The result of `fmap show`, with the figure's file for each layer.

    With one image `image`, `layers` and `predictions` stand at the top; with several they stand in `images`, one
    entry an image, and `image` is null.
    """
    entries = [
        {
            "image": look.image.name,
            "layers": [{**layer_row(m), "file": file} for m, file in zip(look.maps, names, strict=True)],
            "predictions": [prediction_row(each) for each in look.predictions],
            "detections": [detection_row(each) for each in look.detections],
        }
        for look, names in zip(looks, files, strict=True)
    ]
    head: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "model": model, "weights": weights}
    if len(entries) == 1:
        return {**head, **entries[0]}
    return {**head, "image": None, "images": entries}


def layers_document(model: LoadedModel, layers: Sequence[tuple[LayerRef, tuple[int, ...], Axes]]) -> dict[str, Any]:
    """The result of `fmap layers`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "weights": model.weights,
        "parameters": sum(p.numel() for p in model.module.parameters()),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "type": layer.type_name,
                "call": layer.call,
                "shape": list(shape),
                "axes": list(axes.names),
                "parameters": layer.parameters,
            }
            for layer, shape, axes in layers
        ],
    }


def models_document(entries: Sequence[ModelEntry]) -> dict[str, Any]:
    """The result of `fmap models`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "models": [
            {
                "name": each.name,
                "source": each.source,
                "task": each.task,
                "weights": list(each.weights),
                "default_weights": each.default_weights,
                "parameters": each.parameters,
                "multiply_adds": each.multiply_adds,
                "input_size": list(each.input_size) if each.input_size else None,
                "accuracy": {"metric": each.accuracy[0], "value": each.accuracy[1]} if each.accuracy else None,
            }
            for each in entries
        ],
    }


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    return {"index": prediction.index, "label": prediction.label, "probability": prediction.probability}


def detection_row(detection: Detection) -> dict[str, Any]:
    """One object; `box` is top, left, bottom, right in pixels of the picture shown."""
    return {
        "index": detection.index,
        "label": detection.label,
        "score": detection.score,
        "box": list(detection.box),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
