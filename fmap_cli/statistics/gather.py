"""Any number of images through one session, into records that merge: what `fmap stats` counts.

A run is a list of images in a fixed order, cut into batches at fixed places. So what has been done is one number, and
a run that goes on from there gives the same result, to the last bit, as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..errors import FmapError, LayerError, ModelError
from ..inputs.records import ImageInput
from ..network.capture import SameTensors, Sink, watching
from ..network.kinds import module_kind
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from ..session.axes import axes_for
from ..session.opening import Session, dtype_name
from ..session.passes import run
from .channels import ChannelStats, cut_apart, end_to_end, merge
from .merging import join_layers
from .plan import Plan
from .reading import Say, read_batches
from .records import ClassRun, LayerRecord, Progress, Run, RunOrigin
from .reduce import Histogram, reduce

_PATIENCE = 16
"""After so many images that the network fails on, and none that it does not, it is the network's fault."""
_REMARKS = 20
"""How many remarks on images a run prints at most."""


def origin_of(session: Session, *, digest: bool) -> RunOrigin:
    """Which network this is; `digest` also reads all its weights, about a second for each GB."""
    model = session.model
    hashed = hashlib.blake2b(digest_size=16)
    for name, value in model.module.state_dict().items() if digest else ():
        if isinstance(value, Tensor) and not is_lazy(value):
            hashed.update(name.encode())
            hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    origin = session.origin
    return RunOrigin(
        **{each.name: getattr(origin, each.name) for each in fields(origin)},
        digest=hashed.hexdigest() if digest else "",
        input=model.takes.words if model.takes and model.input_kind == "arrays" else model.preprocessing.steps,
    )


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
        self._added = 0  # images counted in the row and not yet in the records

    def add(self, images: int, found: list[LayerRecord]) -> None:
        """Count these records of so many more images."""
        self.images += images
        if self._row is not None and self._fits(found):
            self._row = merge(self._row, _end_to_end(found))
            self._added += images
            return
        records = self.records()
        for each in found:
            name = each.layer.name
            records[name] = join_layers(records[name], each) if name in records else each
        self._records, self._row, self._added = records, None, 0
        if self._fits(found):
            self._row = _end_to_end(records.values())

    def records(self) -> dict[str, LayerRecord]:
        """The layers' records by name, in the order in which they were first seen."""
        if self._row is None or not self._added:
            return dict(self._records)
        own = (each.channels.extent for each in self._records.values() if each.same_as is None)
        parts = cut_apart(self._row, own)
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
        self.prepared = earlier is not None  # what went in before is not known: pictures, as a rule
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

    def add(self, images: Sequence[ImageInput], group: str | None = None) -> None:
        """Count these images, which are of one class, in one pass for each size that they have.

        Raises ModelError where the network fails, and in the first pass LayerError where nothing is picked.
        """
        batches = [list(alike) for _, alike in groupby(images, key=lambda image: image.tensor.shape)]
        passes = [(len(batch), self._pass(batch)) for batch in batches]
        self.prepared |= any(each.prepared for each in images)
        for count, found in passes:  # none is counted unless all are through
            self.known.setdefault(group, _Total(0, ())).add(count, found)

    def _pass(self, batch: list[ImageInput]) -> list[LayerRecord]:
        found: dict[str, LayerRecord] = {}
        tensors = SameTensors()
        if self.chosen is None and self.selection.needs_operations:
            axes_for(self.session, batch[0], self.layout).prepare()

        def watch(layer: LayerRef) -> Sink | None:
            if layer.name in self.others:
                return None

            def sink(output: Tensor) -> None:
                if self.chosen is None or layer.name not in self.chosen:
                    picked = self.selection.offer(layer, output.shape)
                    if not picked or (self.kinds and layer.kind not in self.kinds):
                        if self.chosen is not None:
                            self.others.add(layer.name)
                        return
                    if self.chosen is not None:  # one that did not run before: behind an `if`
                        self.chosen.add(layer.name)
                earlier = found.get(tensors.earlier(output, layer.name) or "")
                if earlier is not None:
                    found[layer.name] = replace(earlier, layer=layer, same_as=earlier.layer.name)
                else:
                    found[layer.name] = self._record(layer, output, batch)

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
        if self.chosen is None:
            self._choose(found)
        assert self.chosen is not None
        return [record for name, record in found.items() if name in self.chosen]

    def _choose(self, found: dict[str, LayerRecord]) -> None:
        """After the first pass it is known which layers there are: where all are modules, only those need hooks."""
        picked = [layer for layer, _ in self.selection.chosen()]
        chosen = [layer for layer in picked if layer.name in found]
        if not chosen:
            raise LayerError(
                f"no layer of kind {' or '.join(self.kinds)} among these.",
                hint=f"Their kinds are {', '.join(dict.fromkeys(layer.kind for layer in picked))}.",
            )
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


# -- a run -------------------------------------------------------------------------------------------------------


def statistics(
    session: Session,
    plan: Plan,
    gathering: Gathering,
    origin: RunOrigin,
    *,
    batch: int,
    say: Say,
    workers: int | None = None,
    layout: str | None = None,
    earlier: Run | None = None,
    advanced: Callable[[int, int], None] = lambda done, failed: None,
    stop: Callable[[], bool] = lambda: False,
    note_down: Callable[[Run], None] | None = None,
    note_every: float = 60.0,
) -> Run:
    """Go through the plan's images, from where `earlier` stopped on; returns the run, unfinished where `stop` said so.

    An image that cannot be read, or that the network fails on, counts as a failure. `advanced` is told after each batch
    how many entries are done and how many of them failed; `note_down` gets the run so far every `note_every` seconds.

    Raises ModelError where the network fails on all of the first images, and what `Gathering.add` raises.
    """
    size = 1 if session.model.input_kind == "images" else batch  # a detector pads a batch to its largest image
    done = earlier.progress.done if earlier is not None and earlier.progress is not None else 0
    failures = list(earlier.failures) if earlier is not None else []
    saved = time.monotonic()
    first_refusal: FmapError | None = None
    in_vain = 0
    for read in read_batches(session, plan, done, size, workers, layout, _sparingly(say)):
        failures += [(name, error.message) for name, error in read.failures]
        by_class = groupby(read.images, key=lambda each: None if plan.classes is None else plan.classes[each[0]])
        for group, images in by_class:
            refused = _counted(gathering, [image for _, image in images], group)
            failures += [(name, error.message) for name, error in refused]
            first_refusal = first_refusal or (refused[0][1] if refused else None)
            in_vain += len(refused)
            if first_refusal is not None and not gathering.images and in_vain >= min(_PATIENCE, len(plan.entries)):
                raise first_refusal
        done = read.stop
        advanced(done, len(failures))
        if stop():
            break
        if note_down is not None and time.monotonic() - saved >= note_every and done < len(plan.entries):
            note_down(gathering.run(origin, plan, failures, done))
            saved = time.monotonic()
    if done == len(plan.entries) and plan.ranks == 1 and gathering.images and not gathering.prepared:
        origin = _unprepared(origin)
    return gathering.run(origin, plan, failures, done)


def _unprepared(origin: RunOrigin) -> RunOrigin:
    """The origin of a run over arrays alone, which were neither resized nor normalised."""
    if origin.preprocessing is None:
        return origin
    return replace(origin, preprocessing=None, input="arrays given as they are")


def _sparingly(say: Say) -> Say:
    """Say what there is to say of each image, but not of a million: each sentence once, and the first of them only."""
    said: set[str] = set()

    def say_it(sentence: str) -> None:
        if sentence in said or len(said) > _REMARKS:
            return
        said.add(sentence)
        say(
            sentence
            if len(said) <= _REMARKS
            else "there are more notes of this kind on further images; they are not shown."
        )

    return say_it


def _counted(gathering: Gathering, images: list[ImageInput], group: str | None) -> list[tuple[str, FmapError]]:
    """Count these images; where the network fails on them, one by one. Returns the failures.

    Raises ModelError where memory runs out, which no other image would mend.
    """
    try:
        gathering.add(images, group)
        return []
    except ModelError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            raise
        if len(images) == 1:
            return [(images[0].name, error.bare())]
    return [failure for image in images for failure in _counted(gathering, [image], group)]
