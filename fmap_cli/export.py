"""Records to JSON and array files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .errors import FmapError
from .files import write_file, write_files
from .records import (
    Answers,
    ComparedLayer,
    ComparedRecord,
    Comparison,
    CountedLayer,
    Detection,
    Difference,
    EffectiveField,
    Embeddings,
    FeatureMap,
    FieldAxis,
    FieldListing,
    FieldRow,
    Finding,
    Forecast,
    LayerMemory,
    LayerRecord,
    Listing,
    LoadedModel,
    Look,
    ModelEntry,
    NetworkInput,
    Prediction,
    Preprocessing,
    ReceptiveField,
    Run,
    Side,
    UnitBox,
    UnitView,
)

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    import torch

SCHEMA_VERSION = 1


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


def save_embeddings(path: Path, embeddings: Embeddings) -> list[Path]:
    """Write the vectors with their images' names and where they come from; returns the files written.

    By the file's suffix: `.npz` holds `embeddings` `[N, D]`, `images` (names) and `__about__` (JSON); `.safetensors`
    holds `embeddings`, with the rest in its metadata; `.csv` has a row an image; `.npy` is the matrix alone, with the
    rest in a JSON file beside it, `FILE.npy.json`.
    """
    import numpy as np

    about = {
        "model": in_utf8(embeddings.model),
        "weights": in_utf8(embeddings.weights),
        "layer": in_utf8(embeddings.layer),
        "pool": embeddings.pooling,
        "preprocessing": embeddings.preprocessing.in_words if embeddings.preprocessing is not None else "",
    }
    suffix = path.suffix.lower()

    def write(file: IO[bytes]) -> None:
        if suffix == ".npz":
            arrays = {"embeddings": embeddings.vectors, "images": np.array(embeddings.images, dtype=str)}
            np.savez(file, __about__=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
        elif suffix == ".safetensors":
            from safetensors.numpy import save

            images = json.dumps(embeddings.images)
            file.write(in_one_order(save({"embeddings": embeddings.vectors}, {**about, "images": images})))
        elif suffix == ".csv":
            file.write(csv_text(["image", *about, *range(embeddings.vectors.shape[1])], []))
            for name, row in zip(embeddings.images, embeddings.vectors, strict=True):
                file.write(csv_text([name, *about.values(), *row], []))
        else:
            np.save(file, embeddings.vectors)

    if suffix != ".npy":
        write_file(path, write)
        return [path]
    beside = path.with_name(f"{path.name}.json")
    text = dumps({"schema_version": SCHEMA_VERSION, **about, "images": list(embeddings.images)})
    write_files([(path, write), (beside, lambda file: file.write(text.encode() + b"\n"))])
    return [path, beside]


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
    """The same as `numpy.savez`, which takes no array called `file` or `allow_pickle`; a layer may have any name."""
    import zipfile

    from numpy.lib import format as npy

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A ZipInfo has a date of its own, always the same: the same arrays give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


# -- JSON --------------------------------------------------------------------------------------------------------


def dumps(document: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """JSON in a stable order, human-readable, with no NaN or Infinity in it; always valid UTF-8.

    Bytes of a file's name that are no UTF-8 stay the escapes that Python reads them as.
    """
    text = json.dumps(document, indent=2, ensure_ascii=ascii_only, allow_nan=False)
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
        "axes_how": feature_map.axes.how,
        "strides": list(feature_map.strides),
        "dtype": feature_map.dtype,
        "count": stats.count,
        "mean": finite(stats.mean),
        "std": finite(stats.std),
        "min": finite(stats.min),
        "max": finite(stats.max),
        "zero_fraction": stats.zero_fraction,
        "nan_count": stats.nan,
        "inf_count": stats.inf,
        "role": feature_map.role or None,
    }


def preprocessing_row(own: Preprocessing | None) -> dict[str, Any] | None:
    """How a picture becomes what the network sees, and where that comes from; null where it is not known.

    `resize` is the shorter side or height and width, `crop` height and width; null where there is no such step.
    `range` are the numbers in the file that become 0 and 1, where `--range` says them; else null.
    """
    if own is None:
        return None
    return {
        "resize": own.resize,
        "crop": own.crop,
        "interpolation": own.interpolation,
        "antialias": own.antialias,
        "multiple_of": own.multiple_of,
        "channels": own.channels,
        "mean": list(own.mean),
        "std": list(own.std),
        "source": own.source or None,
        "range": own.value_range,
    }


def document_head(model: LoadedModel) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "weights": model.weights,
        "preprocessing": preprocessing_row(model.feeding),
    }


def assumed_input(takes: NetworkInput | None) -> dict[str, Any] | None:
    """What a network is given that does not say what it takes: a shape for each input, the batch first; and why."""
    return None if takes is None else {"shapes": [[1, *shape] for shape in takes.shapes], "how": takes.how}


def show_document(
    model: LoadedModel, looks: Sequence[Look], files: Sequence[Sequence[str | None]], *, several: bool
) -> dict[str, Any]:
    """The result of `fmap show`, with the figure's file for each layer; null where there is nothing to draw.

    Where one image was asked for `image`, `layers` and `predictions` stand at the top; where several were, they stand
    in `images`, one entry an image, and `image` is null.
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
    found = entries[0] if not several else {"image": None, "images": entries}
    return {**document_head(model), **found, "assumed_input": assumed_input(model.takes)}


def layers_document(model: LoadedModel, listing: Listing) -> dict[str, Any]:
    """The result of `fmap layers`."""
    return {
        **document_head(model),
        "input_shape": list(listing.input_shape),
        "parameters": listing.parameters,
        "idle_parameters": listing.idle_parameters,
        "multiply_adds": listing.multiply_adds,
        "not_counted": [{"operation": name, "layer": layer} for name, layer in listing.uncounted],
        "notes": list(listing.notes),
        "layer_count": listing.count,
        "convolutions": {
            "count": listing.convolutions,
            "pointwise": listing.mixers,
            "depthwise": listing.depthwise,
            "strided": listing.strided,
        },
        "stages": [list(stage) for stage in listing.stages],
        "layers": [listed_layer(each) for each in listing.layers],
        "assumed_input": assumed_input(model.takes),
    }


def listed_layer(row: CountedLayer) -> dict[str, Any]:
    """One layer of `fmap layers` for JSON and CSV, in the order of the columns; what a layer has not is null."""
    layer, how = row.layer, row.geometry
    return {
        "name": layer.name,
        "kind": layer.kind,
        "type": layer.type_name,
        "call": layer.call,
        "depth": row.depth,
        "composite": row.composite,
        "shape": list(row.shape),
        "axes": list(row.axes.names) if row.axes is not None else None,
        "parameters": layer.parameters,
        "multiply_adds": row.multiply_adds,
        "own_multiply_adds": row.own_multiply_adds,
        "kernel": list(how.kernel) if how is not None else None,
        "stride": list(how.stride) if how is not None else None,
        "padding": list(how.padding) if how is not None and how.padding is not None else None,
        "dilation": list(how.dilation) if how is not None else None,
        "groups": how.groups if how is not None else None,
        "dtype": row.dtype,
        "memory_format": row.memory_format,
        "field_kind": row.field.kind if row.field is not None else None,
        "field_size": [each.size for each in row.field.axes] if row.field is not None else None,
        "field_stride": [plain_number(each.stride) for each in row.field.axes] if row.field is not None else None,
        "field_start": [each.start for each in row.field.axes] if row.field is not None else None,
        "axes_how": row.axes.how if row.axes is not None else None,
    }


def layers_csv(listing: Listing) -> str:
    """The same rows as comma-separated values with a heading; lists are joined by spaces, null is empty.

    `multiply_adds` of composite layers is the sum of those inside them; `own_multiply_adds` adds up to the total.
    """
    import csv
    import io

    text = io.StringIO()
    rows = [listed_layer(each) for each in listing.layers]
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: csv_cell(value) for key, value in row.items()})
    return text.getvalue()


def csv_cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join("-" if each is None else str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else value


def fields_document(model: LoadedModel, listing: FieldListing, file: Path | None = None) -> dict[str, Any]:
    """The table of `fmap rf`."""
    return {
        **document_head(model),
        "input_shape": list(listing.input_shape),
        "input_axes": _by_axis(listing.layers, listing.size),
        "layer_count": listing.count,
        "figure": None if file is None else str(file),
        "notes": list(listing.notes),
        "layers": [field_row(each) for each in listing.layers],
        "assumed_input": assumed_input(model.takes),
    }


def _by_axis(rows: Sequence[FieldRow], sizes: Sequence[int]) -> dict[str, int]:
    return {axis.axis: size for axis, size in zip(rows[0].field.axes, sizes, strict=True)} if rows else {}


def field_row(row: FieldRow) -> dict[str, Any]:
    """One layer of `fmap rf`: what its units see along each axis; `groups` where its channels see differently."""
    seen = row.field
    return {
        "name": row.layer.name,
        "kind": row.layer.kind,
        "type": row.layer.type_name,
        "shape": list(row.shape),
        "output_axes": list(row.axes.names),
        "axes_how": row.axes.how,
        "cells": list(seen.cells),
        "share": seen.share,
        "field": seen.kind,
        "axes": [_field_axis(each) for each in seen.axes],
        "group_count": seen.group_count,
        "groups": [
            {"channels": [list(each) for each in group.channels], "axes": [_field_axis(each) for each in group.axes]}
            for group in seen.groups
        ],
    }


def _field_axis(axis: FieldAxis) -> dict[str, Any]:
    return {
        "axis": axis.axis,
        "field": axis.kind,
        "size": axis.size,
        "least": axis.least,
        "stride": plain_number(axis.stride),
        "padding": axis.padding,
        "start": axis.start,
        "centre": axis.centre,
        "by": axis.by or None,
        "why": axis.why or None,
    }


def plain_number(value: Fraction | None) -> int | float | None:
    """A whole number where it is one."""
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(value)


def fields_csv(listing: FieldListing) -> str:
    """A row a layer; of several axes the numbers stand in one cell, height before width (time first)."""
    heads = ("name", "kind", "type", "shape", "cells", "share", "field", "size", "stride", "padding", "start", "centre")
    rows = []
    for each in listing.layers:
        axes = each.field.axes
        along = [
            [axis.size for axis in axes],
            [plain_number(axis.stride) for axis in axes],
            [axis.padding for axis in axes],
            [axis.start for axis in axes],
            [axis.centre for axis in axes],
        ]
        head = [each.layer.name, each.layer.kind, each.layer.type_name, list(each.shape), list(each.field.cells)]
        by = "; ".join(dict.fromkeys(axis.by for axis in axes if axis.by))
        why = "; ".join(dict.fromkeys(axis.why for axis in axes if axis.why))
        cells = [*head, each.field.share, each.field.kind, *along, each.field.group_count, by, why]
        rows.append([csv_cell(cell) for cell in cells])
    return csv_text((*heads, "groups", "by", "why"), rows).decode()


def unit_document(model: LoadedModel, view: UnitView, file: Path) -> dict[str, Any]:
    """One unit of `fmap rf --at`."""
    return {
        **document_head(model),
        "image": view.image.name,
        "layer": view.row.layer.name,
        "shape": list(view.row.shape),
        "channel": view.channel,
        "cell": list(_cell_of(view.row.field, view.place)),
        "picked": view.picked,
        "value": finite(view.value),
        "box": _box_rows(view.row.field, view.box),
        "receptive_field": field_row(view.row),
        "figure": str(file),
        "assumed_input": assumed_input(model.takes),
    }


def _cell_of(seen: ReceptiveField, place: tuple[int, int, int]) -> tuple[int, ...]:
    return place[-len(seen.cells) :] if seen.cells else place


def _box_rows(seen: ReceptiveField, box: UnitBox) -> list[dict[str, Any]]:
    return [
        {
            "axis": axis.axis,
            "seen": None if inside is None else list(inside),
            "unclipped": None if outside is None else list(outside),
        }
        for axis, inside, outside in zip(seen.axes, box.seen, box.unclipped, strict=True)
    ]


def effective_document(model: LoadedModel, found: EffectiveField, file: Path) -> dict[str, Any]:
    """`fmap rf --effective`."""
    return {
        **document_head(model),
        "layer": found.row.layer.name,
        "channel": found.channel,
        "cell": list(_cell_of(found.row.field, found.place)),
        "source": found.source,
        "count": found.count,
        "box": _box_rows(found.row.field, found.box),
        "centre": list(found.centre),
        "holds": [{"share": share, "height": high, "width": wide} for share, high, wide in found.holds],
        "figure": str(file),
        "assumed_input": assumed_input(model.takes),
    }


# -- memory ------------------------------------------------------------------------------------------------------


def memory_document(forecast: Forecast, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap memory`; everything is in bytes, null is what is not known.

    `kept_bytes` of all layers add up to the bill's, `at_peak_bytes` of all kinds to `tensor_bytes`.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "model": forecast.model,
        "weights": forecast.weights,
        "batch": forecast.batch,
        "inputs": [list(each) for each in forecast.inputs],
        "dtype": forecast.dtype,
        "optimizer": forecast.optimizer,
        "loss": forecast.loss,
        "parameters": forecast.parameters,
        "frozen_parameters": forecast.frozen,
        "checkpointed": list(forecast.checkpointed),
        "runs": [
            {
                "mode": bill.mode,
                "upper_bound": bill.upper_bound,
                "allocated_bytes": bill.allocated,
                "reserved_bytes": bill.reserved,
                "tensor_bytes": bill.tensors,
                "rounding_bytes": bill.rounding,
                "kept_bytes": bill.kept,
                "cudnn_workspace_bytes": None,
                "cuda_context_bytes": None,
                "peak_layer": bill.peak_layer or None,
                "peak_phase": bill.peak_phase,
                "kinds": [
                    {"kind": each.kind, "most_bytes": each.most, "at_peak_bytes": each.at_peak} for each in bill.shares
                ],
                "layers": [memory_row(each) for each in bill.layers],
            }
            for bill in forecast.bills
        ],
        "budget_bytes": forecast.budget,
        "fits": None if forecast.budget is None else forecast.fits,
        "largest_batches": [
            {
                "mode": each.mode,
                "bound": each.bound,
                "batch": each.batch,
                "bytes": each.bytes,
                "next_bytes": each.next_bytes,
            }
            for each in forecast.largest
        ],
        "what_ifs": [
            {
                "name": each.name,
                "detail": each.detail,
                "allocated_bytes": each.allocated,
                "reserved_bytes": each.reserved,
                "reason": each.reason or None,
            }
            for each in forecast.what_ifs
        ],
        "measured": [
            {
                "mode": each.mode,
                "device": each.device,
                "how": each.how,
                "estimated_bytes": each.estimated,
                "measured_bytes": each.measured,
                "estimated_reserved_bytes": each.estimated_reserved,
                "measured_reserved_bytes": each.measured_reserved,
            }
            for each in forecast.measured
        ],
        "notes": list(forecast.notes),
        "file": str(file) if file is not None else None,
        "assumed_input": assumed_input(forecast.takes),
    }


def memory_row(row: LayerMemory) -> dict[str, Any]:
    """One layer of `fmap memory` for JSON and CSV."""
    layer = row.layer
    return {
        "name": layer.name,
        "kind": layer.kind,
        "type": layer.type_name,
        "shape": list(row.shape),
        "dtype": row.dtype,
        "element_bytes": row.element_bytes,
        "output_bytes": row.output_bytes,
        "kept_bytes": row.kept_bytes,
        "at_peak_bytes": row.peak_bytes,
    }


def memory_csv(forecast: Forecast) -> str:
    """A row a layer and mode, with a heading."""
    rows = [{"mode": bill.mode, **memory_row(each)} for bill in forecast.bills for each in bill.layers]
    head = list(rows[0]) if rows else ["mode", "name"]
    return csv_text(head, ([csv_cell(value) for value in row.values()] for row in rows)).decode(errors="surrogateescape")


def shape_document(shape: Sequence[int], dtype: str, element_bytes: int) -> dict[str, Any]:
    """The result of `fmap memory --shape`."""
    values = prod(shape)
    return {
        "schema_version": SCHEMA_VERSION,
        "shape": list(shape),
        "dtype": dtype,
        "values": values,
        "element_bytes": element_bytes,
        "bytes": values * element_bytes,
    }


def answers_document(
    model: LoadedModel, answers: Sequence[Answers], failures: Sequence[tuple[str, FmapError]], several: bool
) -> dict[str, Any]:
    """The result of `fmap predict`; with one image its name and predictions stand at the top, too."""
    entries = [
        {"image": each.image, "predictions": [prediction_row(answer) for answer in each.predictions]}
        for each in answers
    ]
    document = document_head(model)
    if not several and len(entries) == 1:
        document |= entries[0]
    else:
        document["image"] = None
    failed = failed_rows(failures)
    return {**document, "images": entries, "failed": failed, "assumed_input": assumed_input(model.takes)}


def answers_csv(answers: Sequence[Answers]) -> bytes:
    """The same as CSV: a row for each image and rank."""
    return csv_text(
        ["image", "rank", "index", "label", "probability"],
        (
            (each.image, rank, answer.index, answer.label, answer.probability)
            for each in answers
            for rank, answer in enumerate(each.predictions, start=1)
        ),
    )


def embeddings_document(
    embeddings: Embeddings, failures: Sequence[tuple[str, FmapError]], files: Sequence[Path]
) -> dict[str, Any]:
    """The result of `fmap embed`; the vectors themselves stand in it where no file has been written."""
    entries: list[dict[str, Any]] = []
    for at, (name, norm) in enumerate(zip(embeddings.images, embeddings.norms, strict=True)):
        entry: dict[str, Any] = {"image": name, "norm": finite(float(norm))}
        if embeddings.neighbours is not None:
            near = embeddings.neighbours[at]
            entry["similar"] = [{"image": embeddings.images[other], "cosine": cosine} for other, cosine in near]
        if not files:  # as short as reads back the same: 0.1, not 0.10000000149011612
            entry["embedding"] = [finite(float(str(value))) for value in embeddings.vectors[at]]
        entries.append(entry)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": embeddings.model,
        "weights": embeddings.weights,
        "preprocessing": preprocessing_row(embeddings.preprocessing),
        "layer": embeddings.layer,
        "enters": embeddings.enters,
        "shape": list(embeddings.shape),
        "pool": embeddings.pooling,
        "dimension": embeddings.vectors.shape[1],
        "file": str(files[0]) if files else None,
        "images": entries,
        "failed": failed_rows(failures),
        "assumed_input": assumed_input(embeddings.takes),
        "axes": list(embeddings.axes.names) if embeddings.axes is not None else None,
        "axes_how": embeddings.axes.how if embeddings.axes is not None else None,
    }


def failed_rows(failures: Sequence[tuple[str, FmapError]]) -> list[dict[str, str]]:
    return [{"image": name, "error": error.message} for name, error in failures]


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


def finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


# -- comparisons -------------------------------------------------------------------------------------------------


def compare_document(comparison: Comparison, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap compare`. Null is what does not exist, and what is infinite.

    `max_abs`, `relative_l2`, `mean_shift` and `std_shift` always exist: there null is infinite. Of an infinite
    `relative_l2` the layer is over; a shift of means is infinite in a channel without any spread, over or not.
    """
    first = comparison.first
    return {
        "schema_version": SCHEMA_VERSION,
        "a": _side_row(comparison.a),
        "b": _side_row(comparison.b),
        "inputs": {
            "alike": comparison.fed_alike,
            "max_abs": finite(comparison.inputs.max_abs) if isinstance(comparison.inputs, Difference) else None,
            "relative_l2": finite(comparison.inputs.relative_l2) if comparison.inputs is not None else None,
        },
        "threshold": comparison.threshold,
        "parts": comparison.parts,
        "first_over": first.layer.name if first is not None else None,
        "over_count": sum(each.over for each in comparison.layers),
        "layer_count": len(comparison.layers),
        "layers": [
            {key: finite(value) if isinstance(value, float) else value for key, value in compared_row(each).items()}
            for each in comparison.layers
        ],
        "only_a": list(comparison.only_a),
        "only_b": list(comparison.only_b),
        "unlike_shapes": [
            {"name": name, "shape_a": list(a), "shape_b": list(b)} for name, a, b in comparison.unlike_shapes
        ],
        "file": str(file) if file is not None else None,
    }


def _side_row(side: Side) -> dict[str, Any]:
    own = side.preprocessing
    return {
        "source": side.source,
        "model": side.model,
        "weights": side.weights,
        "dtype": side.dtype,
        "device": side.device or None,
        "memory_format": side.memory_format or None,
        "images": side.images,
        "size": side.size,
        "resize": own.resize if own is not None else None,
        "mean": own.mean if own is not None else None,
        "std": own.std if own is not None else None,
        "assumed_input": assumed_input(side.takes),
        "preprocessing": preprocessing_row(own),
    }


def compared_row(row: ComparedLayer | ComparedRecord) -> dict[str, Any]:
    """One layer of `fmap compare` for JSON and CSV; of saved runs it has other numbers."""
    layer, found = row.layer, row.difference
    head: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "type": layer.type_name}
    if isinstance(row, ComparedRecord):
        return {
            **head,
            "channels": len(row.records[0].channels.mean),
            "images_a": row.images[0],
            "images_b": row.images[1],
            "mean_shift": row.difference.mean_shift,
            "std_shift": row.difference.std_shift,
            "min_shift": row.difference.min_shift,
            "max_shift": row.difference.max_shift,
            "relative_l2": found.relative_l2,
            "cosine": found.cosine,
            "correlation": found.correlation,
            "moved": row.difference.moved,
            "unlike": found.unlike,
            "channel": found.channel,
            "same_as": row.same_as,
            "over": row.over,
        }
    return {
        **head,
        "shape": list(row.shape),
        "dtype_a": row.dtypes[0],
        "dtype_b": row.dtypes[1],
        "count": row.difference.count,
        "max_abs": row.difference.max_abs,
        "relative_l2": found.relative_l2,
        "cosine": found.cosine,
        "correlation": found.correlation,
        "correlated_channels": row.difference.correlated,
        "unlike": found.unlike,
        "channel": found.channel,
        "same_as": row.same_as,
        "over": row.over,
        "axes": list(row.axes.names) if row.axes is not None else None,
        "axes_how": row.axes.how if row.axes is not None else None,
    }


def compare_csv(comparison: Comparison) -> str:
    """The layers' rows with a heading; what does not exist is empty, what is infinite `inf`."""
    rows = [compared_row(each) for each in comparison.layers]
    head = list(rows[0]) if rows else ["name"]
    return csv_text(head, ([csv_cell(value) for value in row.values()] for row in rows)).decode(errors="surrogateescape")


# -- statistics --------------------------------------------------------------------------------------------------


def stats_document(
    run: Run, findings: Sequence[Finding], *, channels: bool = False, files: Sequence[str] = ()
) -> dict[str, Any]:
    """The result of `fmap stats`; with `channels` each layer has the numbers of each of its channels, too.

    A layer's `histogram` has one cell more than there are `histogram_edges`: the first cell is of values below the
    first edge, the last of those above the last. A value on an edge is in the cell further from zero. What does not
    exist is null; a class has the same `layers` as the whole run.
    """
    from .moments import BIN_EDGES

    return {
        "schema_version": SCHEMA_VERSION,
        "model": run.origin.model,
        "weights": run.origin.weights,
        "weights_digest": run.origin.digest or None,
        "dtype": run.origin.dtype,
        "input": run.origin.input,
        "preprocessing": preprocessing_row(run.origin.preprocessing),
        "sources": list(run.sources),
        "images": run.images,
        "complete": run.progress is None or run.progress.done >= run.progress.total,
        "histogram_edges": BIN_EDGES[1:-1].tolist(),
        "layers": _record_entries(run.layers, channels=channels),
        "classes": [
            {
                "name": each.name,
                "images": each.images,
                "layers": _record_entries(each.layers, channels=channels),
            }
            for each in run.classes
        ],
        "findings": [finding_row(each) for each in findings],
        "failed": [{"image": name, "error": reason} for name, reason in run.failures],
        "files": list(files),
        "assumed_input": assumed_input(run.takes),
    }


def finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "layer": finding.layer,
        "check": finding.check,
        "severity": finding.severity,
        "what": finding.what,
        "sample": finding.sample,
        "advice": finding.advice,
        "channels": list(finding.channels),
    }


def _record_entries(records: Sequence[LayerRecord], *, channels: bool) -> list[dict[str, Any]]:
    from .moments import dead_channels

    dead = dead_channels(records)
    return [_record_entry(each, dead.get(each.layer.name), channels=channels) for each in records]


def _record_entry(record: LayerRecord, dead: np.ndarray | None, *, channels: bool) -> dict[str, Any]:
    """One layer for JSON: its row, its histogram and, if asked for, lists with a number a channel."""
    from .moments import whole

    found = record.channels
    one = whole(found).histogram
    entry = {
        key: finite(value) if isinstance(value, float) else value for key, value in record_row(record, dead).items()
    }
    entry["histogram"] = None if one is None else one[0].tolist()
    entry["histogram_count"] = None if one is None else int(one[0].sum())  # of large maps about a tenth of the values
    if channels:
        lists: dict[str, Any] = {
            name: [finite(value) for value in getattr(found, name).tolist()] for name in ("mean", "std", "min", "max")
        }
        lists |= {f"{name}_count": getattr(found, names).tolist() for name, names in _CHANNEL_COUNTS.items()}
        own = found.histogram is not None and len(found.histogram) == len(found.mean)
        lists["histogram"] = found.histogram.tolist() if own and found.histogram is not None else None
        entry["channels"] = lists
    return entry


_CHANNEL_COUNTS = {"zero": "zeros", "nan": "nan", "inf": "inf"}


def record_row(record: LayerRecord, dead: np.ndarray | None) -> dict[str, Any]:
    """One layer of `fmap stats` for JSON and CSV: all channels of all images taken together.

    `dead` is which of its channels are dead, None for what is no activation.
    """
    from .moments import as_numbers

    layer, stats = record.layer, as_numbers(record.channels)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "type": layer.type_name,
        "call": layer.call,
        "same_as": record.same_as,
        "shape": list(record.shape),
        "shape_varies": record.varies,
        "axes": list(record.axes.names),
        "dtype": record.dtype,
        "images": record.images,
        "count": stats.count,
        "mean": stats.mean,
        "std": stats.std,
        "min": stats.min,
        "max": stats.max,
        "zero_count": int(record.channels.zeros.sum()),
        "zero_fraction": stats.zero_fraction,
        "nan_count": stats.nan,
        "inf_count": stats.inf,
        "channel_count": len(record.channels.mean),
        "dead_channels": None if dead is None else int(dead.sum()),
        "axes_how": record.axes.how,
    }


def stats_csv(run: Run, *, channels: bool = False) -> str:
    """A row a layer or, with `channels`, a row a channel; numbers read back as the same, what does not exist is empty.

    The first column is the class, empty for all images together: those come first, then each class's.
    """
    from .moments import dead_channels

    groups = [("", run.layers), *((each.name, each.layers) for each in run.classes)]
    records = [(name, record) for name, layers in groups for record in layers]
    if channels:
        rows = (row for name, record in records for row in _channel_rows(name, record))
        return csv_text(_CHANNEL_HEAD, rows).decode(errors="surrogateescape")
    dead = {name: dead_channels(layers) for name, layers in groups}
    layers = [{"class": name, **record_row(record, dead[name].get(record.layer.name))} for name, record in records]
    head = list(layers[0]) if layers else ["class", "name"]
    return csv_text(head, ([csv_cell(value) for value in row.values()] for row in layers)).decode(errors="surrogateescape")


_CHANNEL_HEAD = "class name kind type channel images count mean std min max zero_count nan_count inf_count".split()


def _channel_rows(name: str, record: LayerRecord) -> Iterable[list[Any]]:
    found, layer = record.channels, record.layer
    moments = [getattr(found, each).tolist() for each in ("mean", "std", "min", "max")]
    counts = [getattr(found, each).tolist() for each in _CHANNEL_COUNTS.values()]
    head = [name, layer.name, layer.kind, layer.type_name]
    for channel in range(len(found.mean)):
        numbers = [each[channel] for each in moments]
        numbers = [value if value == value else None for value in numbers]
        yield [*head, channel, record.images, found.count, *numbers, *(each[channel] for each in counts)]
