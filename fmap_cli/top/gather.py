"""Many images through one session, into records of what each channel answers to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import LayerError, ModelError
from ..inputs.records import ImageInput
from ..network.capture import SameTensors, Sink, watching
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from ..running.plan import Plan
from ..running.records import Progress, RunOrigin
from ..session.axes import axes_for
from ..session.opening import Session
from ..session.passes import run
from .excitations import Excitations, priority_of
from .keeping import Keeper, take_all
from .pool import Pool
from .records import Dossiers, LayerDossiers, Looking
from .watching import Seen, maps_of, seen_in


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A layer of the run: what `LayerDossiers` says of it, and who keeps its record.

    Layers that put out one tensor, as a container and its last layer do, have one keeper for as long as they do.
    """

    of: LayerDossiers
    keeper: Keeper

    def dossiers(self) -> LayerDossiers:
        return replace(self.of, found=self.keeper.excitations())


_Shown = dict[str, tuple[_Layer, Seen]]
"""What a batch shows, by the layers' names."""


class Gatherer:
    """Keeps what the layers asked for answer to, batch after batch; `earlier` is a run to go on from.

    Nothing is kept of a batch whose pass fails. Its hooks stay in the network until it is left as a context.
    """

    def __init__(self, session: Session, plan: Plan, looking: Looking, layout: str | None, earlier: Dossiers | None):
        self.session = session
        self.plan = plan
        self.looking = looking
        self.layout = layout
        self.selection = Selection(looking.patterns or ("last",), session.model.module)
        self.layers: dict[str, _Layer] = {}
        self.images = 0
        self.pool = Pool()
        self.lost: list[str] = []  # layers with NaN, once a batch
        self.chosen: set[str] | None = None
        self.axes: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Axes] = {}
        self.hooks = ExitStack()
        # What layers take in is short work in Python beside machine code; more threads would wait for one another.
        self.threads = min(torch.get_num_threads(), 4)
        self.helpers: ThreadPoolExecutor | None = None
        self.through: Any = None
        if earlier is not None:
            keepers = {id(each.found): Keeper(each.found) for each in earlier.layers}
            self.layers = {each.layer.name: _Layer(each, keepers[id(each.found)]) for each in earlier.layers}
            self.images = earlier.images

    def __enter__(self) -> Gatherer:
        if self.threads > 1:
            pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="fmap-top")
            self.helpers = self.hooks.enter_context(pool)
        return self

    def __exit__(self, *_: object) -> None:
        self.hooks.close()

    def number(self, at: int) -> int:
        """An image's number in the whole list, of which this process may have a part."""
        return at * self.plan.ranks + self.plan.rank

    def add(self, images: Sequence[tuple[int, ImageInput]], group: str | None = None) -> None:
        """Take in these images, which are of one class, in one pass for each size that they have.

        Raises ModelError where the network fails, and in the first pass LayerError where nothing is picked.
        """
        batches = [list(alike) for _, alike in groupby(images, key=lambda each: each[1].tensor.shape)]
        known, shown = dict(self.layers), []
        for batch in batches:  # none is kept unless all are through
            shown.append(self._pass(batch, group or "", known))
            known |= {name: layer for name, (layer, _) in shown[-1].items()}
        for each in shown:
            self._keep(each)
        self.images += len(images)
        for at, image in images:
            self.pool.add(self.number(at), image.tensor, self.session.model.preprocessing)

    def _pass(self, batch: list[tuple[int, ImageInput]], group: str, layers: dict[str, _Layer]) -> _Shown:
        images = [image for _, image in batch]
        numbers = [self.number(at) for at, _ in batch]
        priorities = [priority_of(image.name) for image in images]
        found: _Shown = {}
        refused: dict[str, LayerError] = {}  # of a layer that is `last` for a while nothing may be wrong
        tensors = SameTensors()
        if self.chosen is None and self.selection.needs_operations:
            axes_for(self.session, images[0], self.layout).prepare()

        def watch(layer: LayerRef) -> Sink | None:
            if self.chosen is not None and layer.name not in self.chosen:
                return None

            def sink(output: Tensor) -> None:
                if self.chosen is None:
                    picked = self.selection.offer(layer, output.shape)
                    if not picked or (self.looking.kinds and layer.kind not in self.looking.kinds):
                        return
                    for name in found.keys() - self.selection.wanted():  # what was `last` until now
                        del found[name]
                earlier = found.get(tensors.earlier(output, layer.name) or "")
                known = layers.get(layer.name)
                if earlier is not None and (known is None or known.keeper is earlier[0].keeper):
                    found[layer.name] = self._also(earlier[0], layer), earlier[1]
                    return
                try:
                    found[layer.name] = self._shown(layer, output, known, images, numbers, priorities, group)
                except LayerError as error:
                    refused[layer.name] = error

            return sink

        if self.chosen is not None and self.through is None:
            self.through = self.hooks.enter_context(self._watching(layers))
        run(
            self.session,
            images,
            watch,
            operations=self.selection.needs_operations,
            paths=self.selection.paths,
            through=self.through,
        )
        for layer, _ in self.selection.chosen() if refused else ():
            if layer.name in refused:
                raise refused[layer.name]
        if self.chosen is None:
            self.chosen = {layer.name for layer in self.selection.kept(found, self.looking.kinds)}
        return {name: each for name, each in found.items() if name in self.chosen}

    @staticmethod
    def _also(one: _Layer, layer: LayerRef) -> _Layer:
        """A container that puts out its last layer's tensor."""
        return _Layer(replace(one.of, layer=layer), one.keeper)

    def _keep(self, shown: _Shown) -> None:
        """Take in what a batch shows. Layers that have had one keeper so far and now show different things part."""
        layers = {name: self.layers.get(name, layer) for name, (layer, _) in shown.items()}
        pairs: list[tuple[Keeper, Seen]] = []
        groups: dict[tuple[int, int], list[str]] = {}
        for name, (_, seen) in shown.items():
            groups.setdefault((id(layers[name].keeper), id(seen)), []).append(name)
        owners = Counter(id(each.keeper) for each in self.layers.values())
        for (owned, _), names in groups.items():
            keeper = layers[names[0]].keeper
            mine = sum(name in self.layers for name in names)
            if owners[owned] > mine:
                owners[owned] -= mine
                keeper = keeper.copy()
            pairs.append((keeper, shown[names[0]][1]))
            layers |= {name: _Layer(layers[name].of, keeper) for name in names}
        take_all(pairs, self.helpers, self.threads)
        self.layers |= layers

    def _watching(self, known: dict[str, _Layer]) -> Any:
        """Hooks where the layers are: once it is known which there are, where all are modules only on these."""
        module = self.session.model.module
        layers = [each.of.layer for each in known.values()]
        simple = all(each.is_module and each.call == 0 and each.name == each.path for each in layers)
        if simple and self.session.model.input_kind != "images":
            return watching(module, operations=False, paths=frozenset(each.path for each in layers))
        return watching(module, operations=True, paths=None)

    def _shown(
        self,
        layer: LayerRef,
        output: Tensor,
        known: _Layer | None,
        images: Sequence[ImageInput],
        numbers: Sequence[int],
        priorities: Sequence[int],
        group: str,
    ) -> tuple[_Layer, Seen]:
        size = tuple(images[0].tensor.shape)
        key = (layer.name, size, tuple(output.shape[1:]))
        if key not in self.axes:
            self.axes[key] = axes_for(self.session, images[0], self.layout).of(layer, output.shape)
        axes = self.axes[key]
        maps = maps_of(output, axes, len(images))
        if not maps.is_floating_point():
            maps = maps.float()
        channels = self._channels(layer, maps.shape[1], None if known is None else known.of)
        if len(channels) < maps.shape[1]:
            maps = maps[:, torch.from_numpy(channels).to(maps.device)]
        if 0 in maps.shape:
            raise ModelError(f"layer {layer.name!r} has no values for this image.")
        if known is None:
            shape = (1, *output.shape[1:]) if axes.names[:1] == ("B",) else tuple(output.shape)
            record = Excitations.none(len(channels), self.looking.strongest)
            cells = maps.shape[3], maps.shape[4]
            known = _Layer(LayerDossiers(layer, shape, axes, channels, record, cells), Keeper(record))
        per_image = self.looking.per_image
        seen = seen_in(maps, numbers, priorities, group, known.keeper, per_image=per_image)
        if seen.lost:
            self.lost.append(layer.name)
        return known, seen

    def _channels(self, layer: LayerRef, count: int, known: LayerDossiers | None) -> np.ndarray:
        """Which of the channels are kept. Raises where the layer has not those that it had, or that are asked for."""
        if known is None:
            return np.arange(count) if self.looking.channels is None else _asked(layer, self.looking.channels, count)
        channels = known.channels
        if (len(channels) and channels[-1] >= count) or count != self._count(known):
            raise ModelError(f"layer {layer.name!r} has another number of channels for this image: {count}.")
        return channels

    @staticmethod
    def _count(known: LayerDossiers) -> int:
        """How many channels the layer has, where that is written in its shape."""
        names = known.axes.names
        return known.shape[names.index("C")] if "C" in names else len(known.channels)

    def run(self, origin: RunOrigin, plan: Plan, failures: Sequence[tuple[str, str]], done: int) -> Dossiers:
        """All that is known after `done` entries of the list."""
        total = len(plan.entries)
        layers = tuple(each.dossiers() for each in self.layers.values())
        named = sorted(set().union(*(each.found.named() for each in layers)))
        return Dossiers(
            origin,
            plan.sources,
            self.images,
            total,
            layers,
            self.looking.strongest,
            self.looking.per_image,
            self.looking.by_class,
            tuple(failures),
            {each: _name_of(plan.entries[each // plan.ranks]) for each in named},
            progress=Progress(done, total, plan.digest, plan.rank, plan.ranks) if done < total else None,
        )


def _name_of(entry: Any) -> str:
    from ..inputs.feeds import source_name

    return source_name(entry)


def _asked(layer: LayerRef, channels: Sequence[int], count: int) -> np.ndarray:
    most = max(channels)
    if most >= count:
        raise LayerError(
            f"layer {layer.name!r} has {count} channels; there is no channel {most}.",
            hint=f"They are numbered from 0 to {count - 1}.",
        )
    return np.unique(np.array(channels, np.int64))
