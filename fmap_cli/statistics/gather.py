"""Any number of images through one session, into records that merge: what `fmap stats` counts.

A run is a list of images in a fixed order, cut into batches at fixed places. So what has been done is one number, and
a run that goes on from there gives the same result, to the last bit, as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from ..inputs.records import ImageInput
from ..network.capture import SameTensors, Sink, watching
from ..network.kinds import module_kind
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from ..running.plan import Plan
from ..session.axes import axes_for
from ..session.opening import Session, dtype_name
from ..session.passes import run
from .channels import ChannelStats, copy_of, cut_apart, end_to_end, merge_rows
from .merging import join_layers
from .records import ClassRun, LayerRecord, Progress, Run, RunOrigin
from .reduce import Histogram, reduce
from .sheet import Sheet

_SHEETS = 2
"""How many sizes of images and of batches are remembered: those of the latest passes."""

# -- counting ----------------------------------------------------------------------------------------------------


class _Total:
    """What is known of the images of one class: each layer's record, and all their channels in one row of numbers.

    Merging hundreds of layers one by one takes as long as a small network's convolutions; end to end they are merged
    at once, by the same arithmetic.
    """

    def __init__(self, images: int, records: Iterable[LayerRecord]) -> None:
        self.images = images
        self._records = {each.layer.name: each for each in records}
        self._row: ChannelStats | None = None  # the channels of all layers that are not `same_as` another one
        self._spare: ChannelStats | None = None  # a row that the next one is written over
        self._added = 0  # images counted in the row and not yet in the records
        self._fitting: Sheet | None = None  # one whose layers are those of the row

    def add(self, images: int, found: list[LayerRecord] | Sheet) -> None:
        """Count these records of so many more images."""
        self.images += images
        layers = found.layers if isinstance(found, Sheet) else found
        if self._row is not None and (found is self._fitting or self._fits(layers)):
            if isinstance(found, Sheet):
                self._fitting = found
            row, into = self._row, self._spare or copy_of(self._row)
            merge_rows(row, found.row if isinstance(found, Sheet) else _end_to_end(found), into)
            self._row, self._spare = into, row
            self._added += images
            return
        if isinstance(found, Sheet):
            found = [*found.records().values()]
        records = self.records()
        for each in found:
            name = each.layer.name
            records[name] = join_layers(records[name], each) if name in records else each
        self._records, self._row, self._spare, self._added, self._fitting = records, None, None, 0, None
        if self._fits(found):
            self._row = _end_to_end(records.values())

    def records(self) -> dict[str, LayerRecord]:
        """The layers' records by name, in the order in which they were first seen."""
        if self._row is None or not self._added:
            return dict(self._records)
        own = (each.channels.extent for each in self._records.values() if each.same_as is None)
        parts = cut_apart(copy_of(self._row), own)
        records: dict[str, LayerRecord] = {}
        for name, record in self._records.items():
            channels = next(parts) if record.same_as is None else records[record.same_as].channels
            records[name] = replace(record, images=record.images + self._added, channels=channels)
        return records

    def _fits(self, found: list[LayerRecord]) -> bool:
        """Whether these are the same layers with outputs of the same shapes, the same of them twins."""
        return len(found) == len(self._records) and all(
            one.layer.name == other.layer.name
            and one.shape == other.shape
            and one.same_as == other.same_as
            and len(one.channels.mean) == len(other.channels.mean)
            for one, other in zip(self._records.values(), found, strict=True)
        )


def _end_to_end(records: Iterable[LayerRecord]) -> ChannelStats:
    return end_to_end([each.channels for each in records if each.same_as is None])


def _without_others(found: dict[str, LayerRecord], chosen: set[str]) -> list[LayerRecord]:
    """The records of the layers chosen, those of one tensor twins of the first that is chosen."""
    first: dict[str, str] = {}
    kept: list[LayerRecord] = []
    for name, record in found.items():
        if name in chosen:
            of = first.setdefault(record.same_as or name, name)
            kept.append(replace(record, same_as=None if of == name else of))
    return kept


class Gathering:
    """Adds up what the layers put out, batch after batch.

    With `patterns` or `kinds` only the layers that they pick; `histogram` as in `reduce`. `earlier` is a run to go on
    from. Nothing is kept of a batch whose pass fails. Its hooks stay in the network until it is left as a context.
    """

    def __init__(
        self,
        session: Session,
        *,
        patterns: Sequence[str] = (),
        kinds: Sequence[str] = (),
        histogram: Histogram = "layer",
        earlier: Run | None = None,
        layout: str | None = None,
    ) -> None:
        self.session = session
        self.selection = Selection(patterns or ("*",), session.model.module)
        self.kinds = kinds
        self.histogram = histogram
        self.modules = dict(session.model.module.named_modules())
        self.layout = layout
        self.axes: dict[str, tuple[Axes, tuple[int, ...]]] = {}
        self.chosen: set[str] | None = None
        self.others: set[str] = set()
        self.lean: frozenset[str] | None = None
        self.hooks = ExitStack()
        self.through: Callable[..., Any] | None = None
        self.sheets: dict[object, Sheet] = {}
        self.known: dict[str | None, _Total] = {}
        if earlier is not None:
            for part in earlier.classes or (ClassRun("", earlier.images, earlier.layers),):
                self.known[part.name if earlier.classes else None] = _Total(part.images, part.layers)

    def __enter__(self) -> Gathering:
        return self

    def __exit__(self, *_: object) -> None:
        self.hooks.close()

    @property
    def images(self) -> int:
        return sum(each.images for each in self.known.values())

    def add(self, images: Sequence[tuple[int, ImageInput]], group: str | None = None) -> None:
        """Count these images, which are of one class, in one pass for each size that they have.

        Raises ModelError where the network fails, and in the first pass LayerError where nothing is picked.
        """
        batches = [
            list(alike) for _, alike in groupby((image for _, image in images), key=lambda image: image.tensor.shape)
        ]
        passes: list[tuple[int, list[LayerRecord] | Sheet]] = []
        for batch in batches:
            found = self._pass(batch)
            if isinstance(found, Sheet) and len(batches) > 1:  # the next pass may write over it
                found = [*found.records().values()]
            passes.append((len(batch), found))
        for count, found in passes:  # none is counted unless all are through
            self.known.setdefault(group, _Total(0, ())).add(count, found)

    def _pass(self, batch: list[ImageInput]) -> list[LayerRecord] | Sheet:
        """What one pass counts: a sheet that is filled, until the next pass, where it went as one before it did."""
        found: dict[str, LayerRecord] = {}  # in the order in which the layers ran, but for those in the sheet
        shapes: dict[str, torch.Size] = {}
        tensors = SameTensors()
        alike = len(batch), tuple(batch[0].tensor.shape), torch.get_num_threads()
        sheet = self.sheets.pop(alike, None)
        if sheet is not None:
            sheet.begin()
        if self.chosen is None and self.selection.needs_operations:
            axes_for(self.session, batch[0], self.layout).prepare()

        def watch(layer: LayerRef) -> Sink | None:
            name = layer.name
            if name in self.others:
                return None

            def sink(output: Tensor) -> None:
                if not self._is_picked(layer, output):
                    return
                earlier = tensors.earlier(output, name)
                if sheet is not None:
                    if not found and sheet.fill(name, output, earlier):
                        return
                    found.update(sheet.records() if not found else {})
                record = found.get(earlier or "")
                if record is not None:
                    found[name] = replace(record, layer=layer, same_as=record.layer.name)
                else:
                    found[name] = self._record(layer, output, batch)
                shapes[name] = output.shape

            return sink

        if self.chosen is not None and self.through is None:
            lean = self.lean is not None
            self.through = self.hooks.enter_context(
                watching(self.session.model.module, operations=not lean, paths=self.lean)
            )
        run(
            self.session,
            batch,
            watch,
            operations=self.selection.needs_operations,
            paths=self.selection.paths,
            through=self.through,
        )
        if sheet is not None and not found:
            if not sheet.is_full:
                return list(sheet.records().values())
            self.sheets[alike] = sheet  # the latest
            return sheet
        if sheet is not None:
            return list(found.values())
        if self.chosen is None:
            self._choose(found)
            assert self.chosen is not None
            records = _without_others(found, self.chosen)
        else:  # nothing else was looked at
            records = list(found.values())
        while len(self.sheets) >= _SHEETS:
            del self.sheets[next(iter(self.sheets))]
        self.sheets[alike] = Sheet(records, shapes, self.histogram)
        return records

    def _is_picked(self, layer: LayerRef, output: Tensor) -> bool:
        if self.chosen is not None and layer.name in self.chosen:
            return True
        picked = self.selection.offer(layer, output.shape) and (not self.kinds or layer.kind in self.kinds)
        if self.chosen is not None:
            (self.chosen if picked else self.others).add(layer.name)  # one that did not run before: behind an `if`
        return bool(picked)

    def _choose(self, found: dict[str, LayerRecord]) -> None:
        """After the first pass it is known which layers there are: where all are modules, only those need hooks."""
        chosen = self.selection.kept(found, self.kinds)
        self.chosen = {layer.name for layer in chosen}
        self.others = {layer.name for layer in self.selection.seen} - self.chosen
        simple = all(layer.is_module and layer.call == 0 and layer.name == layer.path for layer in chosen)
        open_ended = not self.kinds and self.selection.paths is None  # a glob may pick what has not run yet
        if simple and not open_ended and self.session.model.input_kind != "images":
            # Those of the kind that have not run yet may: hooks on them cost nothing until then.
            alike = {path for path, module in self.modules.items() if path and module_kind(module) in self.kinds}
            self.lean = frozenset(self.chosen | alike)

    def _record(self, layer: LayerRef, output: Tensor, batch: Sequence[ImageInput]) -> LayerRecord:
        axes, images = self._axes(layer, output.shape, batch[0]), len(batch)
        return LayerRecord(
            layer=layer,
            shape=tuple(_of_one(name, size, images) for name, size in zip(axes.names, output.shape, strict=True)),
            axes=axes,
            dtype=dtype_name(output.dtype),
            images=images,
            channels=reduce(output, axes, self.histogram, images),
        )

    def _axes(self, layer: LayerRef, shape: Sequence[int], image: ImageInput) -> Axes:
        """The layer's axes, as they were for the first image; an image of another size has another grid of tokens."""
        size = tuple(image.tensor.shape)
        axes, found_at = self.axes.get(layer.name, (None, ()))
        if axes is None or len(axes.names) != len(shape) or (axes.grid is not None and size != found_at):
            axes = axes_for(self.session, image, self.layout).of(layer, shape)
            self.axes[layer.name] = axes, size
        return axes

    def run(self, origin: RunOrigin, plan: Plan, failures: Sequence[tuple[str, str]], done: int) -> Run:
        """All that is known after `done` entries of the list."""
        classes = tuple(
            ClassRun(name, self.known[name].images, tuple(self.known[name].records().values()))
            for name in sorted(name for name in self.known if name is not None)
        )
        layers: dict[str, LayerRecord] = {}
        for known in self.known.values():
            for name, record in known.records().items():
                layers[name] = join_layers(layers[name], record) if name in layers else record
        total = len(plan.entries)
        unfinished = Progress(done, total, plan.digest, plan.rank, plan.ranks) if done < total else None
        found = tuple(layers.values())
        return Run(origin, plan.sources, self.images, found, tuple(failures), classes, unfinished)


def _of_one(name: str, size: int, images: int) -> int:
    return size // images if name.startswith("B") and size % images == 0 else size
