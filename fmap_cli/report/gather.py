"""A network and images → what a page shows: which layers, one pass an image, and everything beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..answers.reading import detections, label_map, plain, predictions, score_map
from ..errors import LayerError
from ..health import findings
from ..inputs.records import ImageInput
from ..layers.inventory import map_shape
from ..layers.records import Listing
from ..layers.survey import survey
from ..network.axes import channel_maps, undrawn_axes
from ..network.capture import SameTensors, Sink
from ..network.records import Axes, LayerRef
from ..network.selection import names_picked
from ..reduced.alone import component_picture
from ..session.opening import Session, dtype_name
from ..session.passes import run
from ..session.seen import picture_seen
from ..statistics.moments import as_numbers
from ..statistics.records import LayerRecord
from ..statistics.reduce import reduce
from ..statistics.reference import channel_stats
from .arithmetic import arithmetic_of, picture_values
from .choosing import Chosen, choose, stage_of
from .pictures import pictures_of
from .planes import Bits, Codes, Reading, encode, follows
from .records import Components, PageLayer, Pass

if TYPE_CHECKING:
    from torch import Tensor

    from ..statistics.channels import ChannelStats

_FIRST_ITEM = "only the first item is shown of axes that are neither channels nor places"
_LOOK_BACK = 4
"""Of so many layers before it a layer may be a straight line, or the part above zero."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which layers of a network are shown for images of one size."""

    listing: Listing
    chosen: Chosen
    stage: Sequence[int]


@dataclass(slots=True)
class Pages:
    """Makes the passes of one report, whose codes come together in `codes`."""

    patterns: Sequence[str]
    bits: Bits | None
    least_score: float
    layout: str | None
    codes: list[Codes] = field(default_factory=list)
    _plans: dict[tuple[int, tuple[int, ...]], Plan] = field(default_factory=dict)

    def plan(self, session: Session, image: ImageInput) -> Plan:
        """Which layers are shown. Raises LayerError for a pattern that picks nothing."""
        size = (id(session), tuple(image.tensor.shape))
        if size not in self._plans:
            listing = survey(session, image=image)
            extra = names_picked(session.model.module, listing.layers, self.patterns) if self.patterns else set()
            if self.layout is not None:
                listing = _laid_out(session, image, listing, extra, self.layout)
            chosen = choose(listing.layers, listing.stages, extra)
            self._plans[size] = Plan(listing, chosen, stage_of(listing.layers, listing.stages))
        return self._plans[size]

    def run(self, session: Session, image: ImageInput, name: str) -> Pass:
        """One pass over one image. Raises ModelError where the network fails on it."""
        plan = self.plan(session, image)
        kept, records, output = _look(session, image, plan)
        told = findings(records, 1, noun=session.origin.called.noun)
        seen, scale = picture_seen(session, image)
        pictures = pictures_of(session, seen)
        is_clip = session.model.input_kind == "video"
        layers = list(self._layers(session, image, plan, kept, 1 if is_clip else len(pictures)))
        same = {each.layer.name: {each.layer.name, each.same_as} for each in records}
        layers = [replace(e, findings=tuple(f for f in told if f.layer in same[e.layer.name])) for e in layers]
        labels = session.model.labels
        answer = score_map(output)
        return Pass(
            name=name,
            image=seen,
            pictures=pictures,
            is_clip=is_clip,
            scale=scale,
            layers=tuple(layers),
            predictions=predictions(output, labels, module=session.model.module),
            detections=detections(output, labels, self.least_score, scale),
            detects=session.model.input_kind == "images",
            label_map=None if answer is None else label_map(answer, labels),
            findings=told,
        )

    def _layers(
        self, session: Session, image: ImageInput, plan: Plan, kept: dict[int, _Kept], pictures: int
    ) -> Iterator[PageLayer]:
        """The layers of a page, each encoded; the network took so many pictures at once."""
        rows = plan.listing.layers
        read: dict[int, tuple[int, Reading]] = {}
        values: dict[str, Tensor] = {}
        if picture_values(session, image) is not None:
            values[""] = image.tensor[None]
        for at in plan.chosen.layers:
            if at not in kept:
                raise LayerError(
                    f"layer {rows[at].layer.name!r} ran when the network was surveyed, and not over {image.name}.",
                    hint="What runs depends on the picture: choose other layers with --layer.",
                )
            row, found = rows[at], kept[at]
            earlier = None if found.same_as is None else read.get(found.same_as)
            read[at] = earlier or self._encoded(
                found.maps, [(n, kept[n].maps, *read[n]) for n in [*read][-_LOOK_BACK:]]
            )
            before = plan.chosen.before.get(at)
            reduced = component_picture(found.maps) if map_shape(row) is not None else None
            assert row.axes is not None and row.field is not None
            holds_all = pictures > 1 and (*found.shape, 1)[_batch_axis(row.axes)] == pictures
            notes = found.notes
            if holds_all:
                notes = (
                    *(each for each in notes if each != _FIRST_ITEM),
                    f"it holds {pictures} pictures one after the other: these are the first one's maps",
                )
            yield PageLayer(
                layer=row.layer,
                shape=found.shape,
                axes=row.axes,
                dtype=found.dtype,
                cells=found.maps.shape[1:],
                stage=plan.stage[at],
                before=None if before is None else rows[before].layer.name,
                parameters=row.layer.parameters,
                multiply_adds=row.multiply_adds,
                output_bytes=found.bytes,
                field=row.field,
                codes=read[at][0],
                reading=read[at][1],
                stats=found.stats,
                channels=found.channels,
                components=None if reduced is None else Components(*reduced),
                arithmetic=arithmetic_of(session.model.module, row.layer, found.output, values),
                of_first=holds_all,
                notes=notes,
            )
            if found.output.ndim == 4 and row.axes.names == ("B", "C", "H", "W"):
                values[row.layer.name] = found.output

    def _encoded(self, maps: np.ndarray, before: Sequence[tuple[int, np.ndarray, int, Reading]]) -> tuple[int, Reading]:
        """Which codes a layer is read from, and how: an earlier layer's where they do, else new ones."""
        for _, other, codes, reading in reversed(before):
            found = follows(maps, other, self.codes[codes], reading)
            if found is not None:
                return codes, found
        made, reading = encode(maps, self.bits)
        self.codes.append(made)
        return len(self.codes) - 1, reading


def _batch_axis(axes: Axes) -> int:
    return axes.names.index("B") if "B" in axes.names else -1


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What is kept of a chosen layer's output; `same_as` is the chosen layer whose very tensor it is."""

    output: Tensor
    maps: np.ndarray
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    stats: Any
    channels: Any
    notes: tuple[str, ...]
    same_as: int | None


def _look(session: Session, image: ImageInput, plan: Plan) -> tuple[dict[int, _Kept], list[LayerRecord], Any]:
    """One pass: the chosen layers' outputs, the numbers of all layers, and the answer."""
    rows = {each.layer.name: each for each in plan.listing.layers}
    wanted = {plan.listing.layers[at].layer.name for at in plan.chosen.layers}
    kept: dict[int, _Kept] = {}
    records: dict[str, LayerRecord] = {}
    tensors = SameTensors()

    def watch(layer: LayerRef) -> Sink | None:
        row = rows.get(layer.name)
        if row is None or row.axes is None:
            return None

        def sink(output: Tensor) -> None:
            assert row is not None and row.axes is not None
            if len(row.axes.names) != output.ndim:
                return
            twin = tensors.earlier(output, layer.name)
            earlier = records.get(twin or "")
            if earlier is not None:
                records[layer.name] = replace(earlier, layer=layer, same_as=earlier.layer.name)
            else:
                channels = reduce(output, row.axes)
                shape = tuple(output.shape)
                records[layer.name] = LayerRecord(layer, shape, row.axes, dtype_name(output.dtype), 1, channels)
            if layer.name in wanted:
                same = [at for at, each in kept.items() if _twin(records, rows, at, twin, plan)]
                kept[row.index] = _kept(output, row, records[layer.name].channels, same[0] if same else None)

        return sink

    output = run(session, image, watch)
    return kept, list(records.values()), output


def _twin(records: dict[str, LayerRecord], rows: Any, at: int, twin: str | None, plan: Plan) -> bool:
    name = plan.listing.layers[at].layer.name
    return twin is not None and twin in (name, records[name].same_as)


def _kept(output: Tensor, row: Any, counted: ChannelStats, same_as: int | None) -> _Kept:
    values = plain(output).detach()
    maps = channel_maps(values, row.axes)  # [C, T, H, W]
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    own = maps.to("cpu", dtype, copy=True)
    if own.shape[1] > 1 and own.shape[2] * own.shape[3] == 1:
        own = own.movedim(1, 3)  # the steps of a sequence are a row: [C, 1, 1, T]
    notes = []
    undrawn = undrawn_axes(row.axes, values.shape)
    if undrawn:
        notes.append(_FIRST_ITEM)
    if row.axes.grid is not None and row.axes.prefix:
        left = "the class token is" if row.axes.prefix == 1 else f"{row.axes.prefix} tokens before the grid are"
        notes.append(f"{left} not shown")
    if output.is_complex():
        notes.append("the values are complex: their magnitudes are shown")
    return _Kept(
        output=values.to("cpu", copy=True),
        maps=own.numpy(),
        shape=tuple(values.shape),
        dtype=dtype_name(output.dtype),
        bytes=output.numel() * output.element_size(),
        stats=as_numbers(counted),
        channels=counted if maps.numel() == output.numel() else channel_stats(maps.flatten(1)),
        notes=tuple(notes),
        same_as=same_as,
    )


def _laid_out(session: Session, image: ImageInput, listing: Listing, extra: set[str], layout: str) -> Listing:
    """The listing with the axes that the user gives the layers asked for."""
    if not extra:
        raise LayerError("--layout names the axes of the layers of --layer, and there is none.")
    shown = survey(session, sorted(extra), image=image, layout=layout)
    axes = {each.layer.name: each for each in shown.layers}
    return replace(listing, layers=tuple(axes.get(each.layer.name, each) for each in listing.layers))
