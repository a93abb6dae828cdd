"""What one pass counts of each layer, all layers' channels end to end in arrays that are there already.

A network's layers put out tensors that lie alike from batch to batch. What is the same each time (axes, the order in
memory, the place of the results, the threads) is found out once; then a layer costs one call of machine code, and its
numbers need no putting together before they are merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .channels import MOMENTS, TALLIES, ChannelStats, cut_apart
from .kernels import Task
from .moments import BINS
from .records import LayerRecord
from .reduce import Histogram, is_plain, reduce, task_for


class Sheet:
    """The numbers of one pass over so many images of one size; `begin` clears it for the next such pass.

    `records` are those of an earlier pass like it, `shapes` the outputs that they are of, by the layer's name.
    """

    def __init__(self, records: Sequence[LayerRecord], shapes: Mapping[str, torch.Size], histogram: Histogram) -> None:
        own = [each.channels for each in records if each.same_as is None]
        self._extents = [each.extent for each in own]
        channels = sum(each.channels for each in self._extents)
        self._moments = np.empty((len(MOMENTS), channels))
        self._tallies = np.empty((len(TALLIES), channels), np.int64)
        self._cells = np.zeros((sum(each.histograms or 0 for each in self._extents), BINS + 1), np.int64)
        self._counts = np.repeat([each.count for each in own], [len(each.mean) for each in own])
        self.row = ChannelStats.of_rows(self._counts, self._moments, self._tallies, self._cells[:, :BINS])  # type: ignore[arg-type]  # counts an array, as `end_to_end` has it
        self.layers = self._records(records, self.row)
        self._places: dict[str, _Place] = {}
        channel = line = 0
        for record in self.layers:
            place = _Place(record, shapes[record.layer.name], histogram)
            if record.same_as is None:
                extent = record.channels.extent
                columns, lines = slice(channel, channel + extent.channels), slice(line, line + (extent.histograms or 0))
                place.rows = self._moments[:, columns], self._tallies[:, columns], self._cells[lines]
                channel, line = columns.stop, lines.stop
            self._places[record.layer.name] = place
        self._filled: dict[str, None] = {}

    def begin(self) -> None:
        self._filled.clear()
        self._cells.fill(0)

    def fill(self, name: str, output: Tensor, earlier: str | None) -> bool:
        """Count a layer's output, which is the very tensor of the `earlier` layer where there is one.

        False where it is another output than such a pass had before: nothing is counted then.
        """
        place = self._places.get(name)
        if place is None or output.shape != place.shape or earlier != place.same_as:
            return False
        if earlier is None:
            if place.task is not None and is_plain(output) and output.stride() == place.strides:
                place.task.run(output.data_ptr())
            else:
                place.count(output)
        elif earlier not in self._filled:
            return False
        self._filled[name] = None
        return True

    @property
    def is_full(self) -> bool:
        return len(self._filled) == len(self._places)

    def records(self) -> dict[str, LayerRecord]:
        """The layers that were counted in this pass, in the order in which they ran, with copies of their numbers."""
        moments, tallies, cells = self._moments.copy(), self._tallies.copy(), self._cells[:, :BINS].copy()
        row = ChannelStats.of_rows(self._counts, moments, tallies, cells)  # type: ignore[arg-type]
        every = {each.layer.name: each for each in self._records(self.layers, row)}
        return {name: every[name] for name in self._filled}

    def _records(self, records: Sequence[LayerRecord], row: ChannelStats) -> list[LayerRecord]:
        """These layers' records with the numbers in a row."""
        parts = cut_apart(row, self._extents)
        found: dict[str, LayerRecord] = {}
        for each in records:
            channels = next(parts) if each.same_as is None else found[each.same_as].channels
            found[each.layer.name] = replace(each, channels=channels)
        return list(found.values())


class _Place:
    """One layer of a sheet: what its outputs are like, and how they are counted."""

    __slots__ = ("_histogram", "_record", "rows", "same_as", "shape", "strides", "task")

    def __init__(self, record: LayerRecord, shape: torch.Size, histogram: Histogram) -> None:
        self._record = record
        self._histogram: Histogram = histogram
        self.shape = shape
        self.same_as = record.same_as
        self.rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.strides: tuple[int, ...] = ()
        self.task: Task | None = None

    def count(self, output: Tensor) -> None:
        """Count an output that lies otherwise in memory than the one before."""
        assert self.rows is not None
        axes, images = self._record.axes, self._record.images
        task = task_for(output, axes, self._histogram, images, self.rows)
        if task is not None:
            self.strides, self.task = output.stride(), task
            task.run(output.data_ptr())
            return
        record = reduce(output, axes, self._histogram, images)
        moments, tallies, cells = self.rows
        for names, rows in ((MOMENTS, moments), (TALLIES, tallies)):
            for name, row in zip(names, rows, strict=True):
                row[:] = getattr(record, name)
        if record.histogram is not None:
            cells[:, :BINS] = record.histogram
