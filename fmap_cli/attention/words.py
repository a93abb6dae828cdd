"""What is said of a layer's attention, in words, wherever it is shown."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

import numpy as np

from .. import units

if TYPE_CHECKING:
    from ..models.input_words import InputWords
    from .records import Attention, LayerAttention

EVEN = 0.98
"""From which share of the largest entropy on a query is said to look at all keys nearly alike."""


def most_entropy(found: LayerAttention) -> float:
    """The entropy, in bits, of looking at all keys alike."""
    return log2(found.keys) if found.keys > 1 else 0.0


def bits(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"


def distance(value: float, found: LayerAttention, called: InputWords) -> str:
    """How far away, in places of the input: `40 px`, `17 voxels`; along a line the heading says of what."""
    if value != value:
        return "–"
    return f"{value:.0f} {called.unit}" if found.on_plane else f"{value:.1f}"


def percent(value: float) -> str:
    """A weight: small ones keep two digits.

    >>> percent(0.5), percent(0.0214), percent(0.00031), percent(1e-9)
    ('50 %', '2.1 %', '0.031 %', '< 0.01 %')
    """
    if value != value:
        return "–"
    if 0 < value < 0.0001:
        return "< 0.01 %"
    return f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.2g} %"


def head_name(found: LayerAttention, head: int) -> str:
    return f"after {found.of_rollout[head]}" if found.of_rollout else f"head {head}"


def place_of_key(found: LayerAttention, head: int) -> tuple[int, ...] | None:
    """Row and column (of a clip frame, row and column; of a sequence its step) of what a head looks at most."""
    if found.maps is None or not np.isfinite(found.maps[head]).all():
        return None
    frame, row, column = np.unravel_index(int(found.maps[head].argmax()), found.maps.shape[1:])
    place = (int(frame), int(row), int(column))
    grid = found.key_grid
    assert grid is not None
    if len(grid.frames) > 1:
        return place
    return place[2:] if len(grid.rows) == 1 else place[1:]


def heads_in_words(found: LayerAttention) -> str:
    if found.of_rollout:
        return f"over {len(found.of_rollout)} layers, {found.keys} tokens"
    queries = "1 query" if found.queries == 1 else f"{units.count(found.queries)} queries"
    keys = "1 key" if found.keys == 1 else f"{units.count(found.keys)} keys"
    words = f"{found.heads} head{'s' * (found.heads != 1)}, {queries} × {keys}"
    return f"{words} in each of {units.count(found.windows)} windows" if found.windows > 1 else words


def call_in_words(found: LayerAttention) -> str:
    if found.of_rollout:
        return "the product over the layers of 0.5 · mean over heads + 0.5 · identity"
    return f"softmax(Q Kᵀ · scale + mask) of the call that ran: {found.how}"


def looks(found: LayerAttention, called: InputWords) -> str:
    """Where the query, or all of them, look on the average over heads, after all layers of a rollout."""
    if found.maps is None or found.key_grid is None:
        return ""
    subject = "They look" if found.query.words.startswith("all") else "It looks"
    mean = found.maps[-1] if found.of_rollout else found.maps.mean(0)
    cells = cells_seen(found)
    if not np.isfinite(mean).all():
        return "Its weights are not numbers (NaN or infinite)."
    total = float(mean.sum())
    share = mean[mean > 0] / total if total > 0 else mean[:0]
    entropy = float(-(share * np.log2(share)).sum())
    most, even = percent(float(mean.max())), percent(1 / cells)
    heads = ""
    if not found.of_rollout and found.heads > 1:
        subject = f"On average over the {found.heads} heads {subject[0].lower()}{subject[1:]}"
        heads = f", a single head up to {percent(float(found.maps.max()))}"
    if cells > 1 and entropy > EVEN * log2(cells):
        alike = f"at all {cells} places nearly alike: at most {most} at one{heads}"
        return f"{subject} {alike}, where even would be {even}."
    return f"{subject} most at {_most(found, mean, called)}: {most}{heads}, where even would be {even}."


def cells_seen(found: LayerAttention) -> int:
    """How many places, or keys where there is no map, the query can look at."""
    if found.maps is None:
        return found.keys
    return int(found.reach.sum()) if found.reach is not None else found.maps[0].size


def is_one_query(found: LayerAttention) -> bool:
    """Whether what is drawn is one query's look, and not the mean over all of them, or what a rollout multiplies."""
    return not found.of_rollout and found.query.index is not None


def about_numbers(found: LayerAttention, called: InputWords) -> str:
    """Of which queries entropy and distance are, below the table."""
    words = f"Entropy and distance (in {called.places} of the input) are means over all queries;"
    words += f" all alike is {bits(most_entropy(found))} bits."
    if is_one_query(found):
        words += f" This query's, and the largest weight, are of the query that is drawn: {found.query.words}."
    if found.key_grid is not None:
        size = " × ".join(map(str, found.key_grid.size))
        axes = ("frame, row and column", "row and column")[len(found.key_grid.size) == 2]
        if len(found.key_grid.rows) > 1 or len(found.key_grid.size) > 2:
            words += f" Most at: {axes}, counted from 0, of {size}."
    even = percent(1 / max(cells_seen(found), 1))
    return f"{words} A weight at all places alike is {even}."


def _most(found: LayerAttention, mean: np.ndarray, called: InputWords) -> str:
    frame, row, column = (int(each) for each in np.unravel_index(int(mean.argmax()), mean.shape))
    grid = found.key_grid
    assert grid is not None
    if len(grid.rows) == 1 and len(grid.frames) == 1:
        return f"step {column}"
    words = f"row {row}, column {column}"
    return f"{called.layer} {frame}, {words}" if len(grid.frames) > 1 else words


def about_weights(found: Attention) -> str:
    """A warning where nothing was learned."""
    return found.origin.weights.unlearned("what the heads look at")


def notes_on(found: LayerAttention, called: InputWords) -> list[str]:
    """What there is to add to the numbers."""
    notes = [f"{each[0].upper()}{each[1:]}." for each in found.notes]
    if found.unplaced:
        notes.append(f"No map: {found.unplaced}.")
    if found.key_grid is not None and len(found.key_grid.frames) > 1:
        notes.append(f"Pictures show the sum over {len(found.key_grid.frames)} places in {called.depth}.")
    outside = found.numbers.nowhere[-1:] if found.of_rollout else found.numbers.nowhere
    if found.maps is not None and outside.size and float(np.nan_to_num(outside).max()) > 0.005:
        notes.append(
            f"{percent(float(np.nanmean(outside)))} of its weight is on keys without a place: class tokens or padding."
        )
    return notes
