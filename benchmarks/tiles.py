"""512 channels of 28×28 from tensor to pixels, against Matplotlib with one Axes a channel: at most 5 %.

    python benchmarks/tiles.py

Both draw 32 × 16 tiles of 28 × 28 pixels with one pixel between them, every channel on its own scale, in viridis.
Both start from the same tensor. fmap ends with the pixels in an array; Matplotlib is asked for no more than
that (Agg's buffer; no PNG is encoded), and its import is not counted.
"""

from __future__ import annotations

import sys

import matplotlib
import measure
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fmap_cli.drawing.grid import Placement, draw_tiles, palette

TARGET = 0.05
CHANNELS, SIDE, COLUMNS, GAP = 512, 28, 32, 1


def with_fmap(output: torch.Tensor, placement: Placement) -> np.ndarray:
    """`[height, width, 3]` uint8."""
    maps = output[0].numpy()
    return draw_tiles(maps, maps.min((1, 2)), maps.max((1, 2)), palette("viridis"), placement)


def with_matplotlib(output: torch.Tensor, placement: Placement) -> np.ndarray:
    """The same canvas, one Axes a channel: `[height, width, 4]` uint8."""
    height, width = placement.size
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    for index, channel in enumerate(output[0].numpy()):
        top, left = placement.corner(index)
        box = (left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height)
        axes = figure.add_axes(box)
        axes.imshow(channel, cmap="viridis", interpolation="nearest")
        axes.set_axis_off()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


WORK = "512 channels of 28 × 28 from tensor to pixels, in one process"
PEER = "Matplotlib with an Axes for each channel, at the same size"


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 7)
    measure.show_machine("torch", "numpy", "matplotlib", "fmap-cli")
    matplotlib.use("agg")
    output = torch.randn(1, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    placement = Placement(CHANNELS, COLUMNS, (SIDE, SIDE), (GAP, GAP))

    ours, theirs = with_fmap(output, placement), with_matplotlib(output, placement)[..., :3]
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    off = np.abs(ours.astype(int) - theirs.astype(int)).max(2) > 4
    print(f"canvas {ours.shape[0]} × {ours.shape[1]} pixels, {100 * off.mean():.2f} % of them drawn otherwise")

    seconds = measure.interleaved(
        {
            "fmap": lambda: with_fmap(output, placement),
            "Matplotlib, one Axes a channel": lambda: with_matplotlib(output, placement),
        },
        rounds,
    )
    measure.show_times(seconds)
    print()
    shares = measure.ratios(*seconds.values())
    return 0 if measure.show_verdict(WORK, shares, TARGET, against=PEER) else 1


if __name__ == "__main__":
    sys.exit(main())
