"""A whole layer as one picture: its channels' three main directions as red, green and blue."""

from __future__ import annotations

import numpy as np

_MOST = 512
"""Where channels and places are both more than this, so many places, evenly spaced, say which directions these are."""
_ENDS = (1.0, 99.0)
"""These percentiles stand at the ends of each colour."""
_BLOCK, _TURNS = 8, 12


def main_components(maps: np.ndarray) -> tuple[np.ndarray | None, float]:
    """The first three principal components over all places of `[C, T, H, W]` as uint8 `[T, H, W, 3]`, and which share
    of the variance they hold. None for fewer than three channels, and where a value is not finite.

    Each is turned so that its largest weight is positive, for its sign means nothing.
    """
    if len(maps) < 3 or maps[0].size < 4 or not np.isfinite(maps).all():
        return None, 0.0
    rows = maps.reshape(len(maps), -1).T.astype(np.float32)  # [places, C]
    rows -= rows.mean(0, dtype=np.float64).astype(np.float32)
    largest_value = float(np.abs(rows).max())
    if not 0 < largest_value < np.inf:
        return None, 0.0
    rows /= largest_value  # squares stay numbers
    sample = rows[:: max(-(-len(rows) // _MOST), 1)] if min(rows.shape) > _MOST else rows
    total = float(np.einsum("pc,pc->", rows, rows, dtype=np.float64))
    if sample.shape[0] < sample.shape[1]:
        directions = sample.T @ _largest(sample @ sample.T)
    else:
        directions = _largest(sample.T @ sample)
    lengths = np.linalg.norm(directions, axis=0)
    directions = directions / np.where(lengths > 0, lengths, 1)
    largest = directions[np.abs(directions).argmax(0), range(3)]
    found = rows @ (directions * np.where(largest < 0, -1, 1))  # [places, 3]
    low, high = np.percentile(found, _ENDS, axis=0)
    scaled = (found - low) / np.where(high > low, high - low, 1)
    picture = np.rint(scaled.clip(0, 1) * 255).astype(np.uint8).reshape(*maps.shape[1:], 3)
    return picture, float((found * found).sum() / total)


def _largest(matrix: np.ndarray) -> np.ndarray:
    """The eigenvectors of a symmetric matrix `[n, n]` to its three largest eigenvalues, `[n, 3]`, by subspace
    iteration: a picture needs two digits of them, and all n would take a hundred times as long.
    """
    found = np.random.default_rng(0).standard_normal((len(matrix), min(_BLOCK, len(matrix)))).astype(np.float32)
    for _ in range(_TURNS):
        found = np.linalg.qr(matrix @ found)[0]
    _, own = np.linalg.eigh(found.T @ matrix @ found)
    directions: np.ndarray = found @ own[:, ::-1][:, :3]
    return directions
