"""One pass over the image, in which attention calls are watched; and what is made of those that are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..inputs.records import ImageInput
from ..session.axes import input_axes
from ..session.opening import Session
from ..session.passes import network_inputs, run
from .calls import AttentionCall, AttentionCalls
from .choosing import Choosing, seen
from .numbers import blocks, distances, entropy, far, numbers
from .placing import Placed, placed
from .querying import query_of
from .records import WHOLE_UP_TO, Asked, Attention, Grid, LayerAttention, Query
from .rollout import rolled_out


def find_attention(
    session: Session, image: ImageInput, patterns: Sequence[str], *, at: Asked | None, rollout: bool
) -> Attention:
    """What the heads of the layers that the patterns pick look at. Raises LayerError and ModelError."""
    modules = dict(session.model.module.named_modules())
    choosing = Choosing(patterns, every=rollout)
    watch = AttentionCalls(modules, choosing.keep, choosing.found)
    inputs = network_inputs(session, [image])
    tensors = inputs[0] if isinstance(inputs[0], list) else inputs
    sizes: dict[str, int] = {}
    for tensor, axes in zip(tensors, input_axes(session, len(tensors)), strict=True):
        watch.origins.start(tensor, axes)
        sizes = dict(zip(axes, tensor.shape, strict=True)) | sizes
    with watch:
        run(session, image, lambda layer: None, operations=False, inputs=inputs, calls=watch.call)
    axes = watch.origins.axes

    def type_name(call: AttentionCall) -> str:
        return type(modules.get(call.path, session.model.module)).__name__

    chosen = choosing.chosen(watch, session.model.name)
    if rollout:
        layers = [rolled_out([call for call, _ in chosen], axes, sizes, at)]
    else:
        layers = [_layer(call, type_name(call), asked, axes, sizes, at) for call, asked in chosen]
    size = (sizes["H"], sizes["W"]) if "H" in sizes and "W" in sizes else None
    calls = tuple(seen(each, type_name(each)) for each in choosing.calls)
    return Attention(session.origin_of(image), image, size, tuple(layers), calls)


def _layer(
    call: AttentionCall, type_name: str, asked: str, axes: str, sizes: dict[str, int], at: Asked | None
) -> LayerAttention:
    assert call.scores is not None
    where = placed(call, axes, sizes)
    queries, keys = call.shape[-2:]
    query = query_of(call.name, where, queries, at)
    total = where.order.numel() * queries * keys
    pieces: list[Tensor] = []
    sums = _Sums(where, queries, keys)
    row: Tensor | None = None
    for first, piece in blocks(call.scores, where, queries, keys):
        sums.add(first, piece, distances(where, axes, first, first + piece.shape[2]))
        if total <= WHOLE_UP_TO:
            pieces.append(piece)
        if query.index is not None and first <= query.index < first + piece.shape[2]:
            row = piece[query.window or 0, :, query.index - first].clone()
    call.scores = None
    return laid_out(
        where,
        axes,
        query,
        sums.means(),
        sums.rows() if row is None else row[None],
        name=call.name,
        type_name=type_name,
        asked=asked,
        how=call.how,
        queries=queries,
        weights=torch.cat(pieces, 2).numpy() if pieces else None,
        unplaced=_unplaced(call, where),
    )


def laid_out(
    where: Placed,
    axes: str,
    query: Query,
    means: tuple[np.ndarray, np.ndarray],
    given: Tensor,
    *,
    unplaced: str,
    **facts: Any,
) -> LayerAttention:
    """A layer's attention from the weights of the query that is drawn, `[1, heads, keys]`, or of the mean over all,
    `[windows, heads, keys]`."""
    by_window = given.double().numpy()
    window = query.window or 0
    keys = where.keys
    maps: np.ndarray | None = None
    reach: np.ndarray | None = None
    grid: Grid | None = keys.grid
    if keys.cells is not None and grid is not None:
        cells = keys.cells[window : window + 1] if len(by_window) == 1 else keys.cells
        shape = (len(grid.frames), len(grid.rows), len(grid.columns))
        by_cell = np.zeros((int(np.prod(shape)), by_window.shape[1]))
        for each, own in zip(by_window, cells, strict=True):
            np.add.at(by_cell, own[own >= 0], each[:, own >= 0].T)
        maps = by_cell.T.reshape(-1, *shape)
        reach = np.isin(np.arange(len(by_cell)), cells).reshape(shape)
    if len(by_window) == 1:
        rows = by_window[0]
        placeless = np.zeros(rows.shape[1], bool) if keys.cells is None else keys.cells[window] < 0
    elif maps is not None:
        rows, placeless = maps.reshape(len(maps), -1), np.zeros(maps[0].size, bool)
    else:
        rows = by_window.mean(0)
        placeless = np.zeros(rows.shape[1], bool)
    apart = None
    if query.index is not None:
        found = distances(where, axes, query.index, query.index + 1)
        apart = None if found is None else found[window].numpy()
    return LayerAttention(
        heads=where.heads,
        windows=where.windows,
        keys=by_window.shape[2],
        query=query,
        rows=rows.astype(np.float32),
        numbers=numbers(means, rows, apart, placeless),
        maps=None if maps is None else maps.astype(np.float32),
        reach=reach,
        query_grid=where.queries.grid,
        key_grid=grid,
        key_cells=keys.cells,
        unplaced=unplaced,
        **facts,
    )


class _Sums:
    """What is added up over the queries that have a place, over all of them where none has."""

    def __init__(self, where: Placed, queries: int, keys: int) -> None:
        cells = where.queries.cells
        counted = np.ones((where.windows, queries), bool) if cells is None or (cells < 0).all() else cells >= 0
        self.counted = torch.from_numpy(counted)
        self._entropy = torch.zeros(where.heads, dtype=torch.float64)
        self._distance = torch.zeros(where.heads, dtype=torch.float64)
        self._far = torch.zeros(where.heads, dtype=torch.float64)
        self._rows = torch.zeros(where.windows, where.heads, keys, dtype=torch.float64)

    def add(self, first: int, piece: Tensor, apart: Tensor | None) -> None:
        counted = self.counted[:, None, first : first + piece.shape[2]].double()  # [W, 1, n]
        self._entropy += (entropy(piece) * counted).sum((0, 2))
        away = far(piece, None if apart is None else apart[:, None])
        self._distance += (away.nan_to_num(0.0) * counted).sum((0, 2))
        self._far += (~away.isnan() * counted).sum((0, 2))
        self._rows += (piece.double() * counted[..., None]).sum(2)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        distance = torch.where(self._far > 0, self._distance / self._far.clamp_min(1), torch.nan)
        return (self._entropy / self.counted.sum()).numpy(), distance.numpy()

    def rows(self) -> Tensor:
        return self._rows / self.counted.sum()


def _unplaced(call: AttentionCall, where: Placed) -> str:
    if where.keys.grid is not None:
        return ""
    if call.keys is not None:
        return "its keys have no place in the picture"
    by = f"; the last operation on the way that has no rule is {call.lost}" if call.lost else ""
    return f"its keys do not come from the picture, or by a way that cannot be followed{by}"
