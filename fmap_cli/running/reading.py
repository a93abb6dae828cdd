"""Reads a run's images batch by batch, in processes of their own where there are many."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..errors import FmapError, ImageError
from ..foreign import raised
from ..inputs.feeds import source_name
from ..inputs.framing import Framing, Framings
from ..inputs.images import load_image
from ..inputs.records import ImageInput
from ..interrupts import end_with_parent
from ..models.records import Preprocessing
from ..session.batches import Say
from ..session.opening import Session, read_image
from .plan import Entry, Plan

_WORTH_WORKERS = 32
"""From so many images on, starting processes that read them takes less time than it saves."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of one batch of the list: the images read, each with its place in the list, and those that failed."""

    stop: int
    images: list[tuple[int, ImageInput]]
    failures: list[tuple[str, FmapError]]


class _Decoder(Dataset[Any]):
    """Reads batches of images in a process of its own.

    Pixels travel as NumPy arrays through a pipe: torch's way through shared memory fails where there is little of it,
    as in most containers.
    """

    def __init__(self, preprocessing: Preprocessing, layout: str | None) -> None:
        self.preprocessing = preprocessing
        self.layout = layout

    def __getitem__(self, batch: tuple[int, list[str]]) -> Any:
        first, paths = batch
        read: list[tuple[int, str, Any, tuple[str, ...], Framing | None, Any]] = []
        for at, path in enumerate(paths, start=first):
            try:
                image = load_image(path, self.preprocessing, layout=self.layout)
                read.append((at, path, image.tensor.numpy(), image.notes, image.framing, None))
            except ImageError as error:
                read.append((at, path, None, (), None, (error.message, error.hint)))
        return first + len(paths), read


def _begin_reading(_worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; the first one decides what it means, and its end is that of all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()


def read_batches(
    session: Session, plan: Plan, first: int, size: int, workers: int | None, layout: str | None, say: Say
) -> Iterator[Batch]:
    """The images from place `first` on, batch by batch; at the end it is said how they were cropped and enlarged."""
    edges = [*range(first, len(plan.entries), size), len(plan.entries)]
    by_path = session.model.input_kind in ("image", "images") and all(_is_path(each) for each in plan.entries)
    if workers is None:
        workers = _default_workers() if len(plan.entries) - first >= _WORTH_WORKERS else 0
    framings = Framings()
    if workers and by_path:
        read = _read_by_workers(session, plan, edges, workers, layout, say)
    else:
        read = _read_here(session, plan, edges, layout, say)
    for batch in read:
        for _, image in batch.images:
            framings.add(image.name, image.framing)
        yield batch
    framings.say(say)


def _read_here(session: Session, plan: Plan, edges: Sequence[int], layout: str | None, say: Say) -> Iterator[Batch]:
    for start, stop in pairwise(edges):
        images: list[tuple[int, ImageInput]] = []
        failures: list[tuple[str, FmapError]] = []
        for at in range(start, stop):
            entry = plan.entries[at]
            try:
                images.append((at, read_image(session, entry, say, layout)))
            except ImageError as error:
                failures.append((source_name(entry), error.bare()))
        yield Batch(stop, images, failures)


def _is_path(entry: Entry) -> bool:
    return isinstance(entry, str) and entry != "-"


def _default_workers() -> int:
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _read_by_workers(
    session: Session, plan: Plan, edges: Sequence[int], workers: int, layout: str | None, say: Say
) -> Iterator[Batch]:
    batches = ((start, list(plan.entries[start:stop])) for start, stop in pairwise(edges))
    loader = DataLoader(
        _Decoder(session.model.preprocessing, layout),
        sampler=batches,
        batch_size=None,
        num_workers=min(workers, len(edges) - 1),
        worker_init_fn=_begin_reading,
        collate_fn=_as_it_is,
    )
    try:
        for stop, read in loader:
            images: list[tuple[int, ImageInput]] = []
            failures: list[tuple[str, FmapError]] = []
            for at, path, array, notes, framing, error in read:
                if error is not None:
                    failures.append((path, ImageError(error[0], hint=error[1])))
                    continue
                for note in notes:
                    say(f"{path}: {note}")
                images.append((at, ImageInput(path, "", _NO_PIXELS, torch.from_numpy(array), notes, framing=framing)))
            yield Batch(stop, images, failures)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise FmapError(
            f"a process that reads images ended: {raised.first_line(error)}",
            hint="It may have run out of memory: try --workers 1, or 0 to read without processes.",
        ) from error


_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


def _as_it_is(batch: Any) -> Any:
    return batch
