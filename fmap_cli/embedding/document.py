"""The result of `fmap embed` for JSON, and files of vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..documents import SCHEMA_VERSION, csv_text, dumps, failed_rows, finite, in_one_order, in_utf8
from ..files import write_file, write_files
from ..models.document import assumed_input, document_head, output_axes, written
from .records import Embeddings


def save_embeddings(path: Path, embeddings: Embeddings) -> list[Path]:
    """Write the vectors with their images' names and where they come from; returns the files written.

    By the file's suffix: `.npz` holds `embeddings` `[N, D]`, `images` (names) and `__about__` (JSON); `.safetensors`
    holds `embeddings`, with the rest in its metadata; `.csv` has a row an image; `.npy` is the matrix alone, with the
    rest in a JSON file beside it, `FILE.npy.json`.
    """
    import numpy as np

    origin = embeddings.origin
    about = {
        "model": in_utf8(origin.model),
        "weights": in_utf8(str(origin.weights)),
        "layer": in_utf8(embeddings.layer),
        "pool": embeddings.pooling,
        "preprocessing": origin.fed_in_words,
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


def embeddings_document(embeddings: Embeddings, files: Sequence[Path] = ()) -> dict[str, Any]:
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
        **document_head(embeddings.origin),
        "layer": embeddings.layer,
        "enters": embeddings.enters,
        "shape": list(embeddings.shape),
        "pool": embeddings.pooling,
        "dimension": embeddings.vectors.shape[1],
        "file": str(files[0]) if files else None,
        **written(*files),
        "images": entries,
        "image_count": len(entries),
        "failed": failed_rows(embeddings.failures),
        "assumed_input": assumed_input(embeddings.origin.takes),
        "axes": list(embeddings.axes.names) if embeddings.axes is not None else None,
        **output_axes(embeddings.axes),
    }
