"""Runs made of given numbers, with every oddity that a layer's record may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fmap_cli.models.records import Weights
from fmap_cli.network.records import Axes, LayerKind, LayerRef
from fmap_cli.statistics.records import Finding, LayerRecord, Run, RunOrigin
from fmap_cli.statistics.reference import channel_stats

NAN, INF = float("nan"), float("inf")


def record(
    name: str,
    values: Tensor | Sequence[Sequence[float]],
    kind: LayerKind = "conv",
    type_name: str = "Conv2d",
    *,
    histogram: str | None = "layer",
    images: int = 1,
    **more: Any,
) -> LayerRecord:
    """The record of a layer that put out these values `[C, n]`."""
    known = values if isinstance(values, Tensor) else torch.tensor(values)
    layer = LayerRef(name, name, 0, kind, type_name, True, 0)
    shape = (1, len(known), known.shape[1] // images, 1)
    axes = Axes(("B", "C", "H", "W"), "said")
    return LayerRecord(layer, shape, axes, "float32", images, channel_stats(known, histogram), **more)


def run_of(*records: LayerRecord, **more: Any) -> Run:
    origin = RunOrigin("efficientnet_lite0", Weights("unknown", "ImageNet"), digest="abc", input="resize 256, crop 224")
    settings: dict[str, Any] = {"sources": ("photos",), "images": 4, **more}
    return Run(origin=origin, layers=records, **settings)


def normal(channels: int, count: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    return torch.randn(channels, count, generator=torch.Generator().manual_seed(seed)) * scale


def odd_run(**more: Any) -> Run:
    """A run in which nothing is as usual."""
    relu = normal(8, 64, seed=1).relu()
    relu[3] = 0.0
    return run_of(
        record("x", normal(3, 64), "input", "input"),
        record("features.0.conv", normal(8, 64, 1e-5)),
        record("features.0.relu", relu, "act", "ReLU"),
        record("features.0", relu, "block", "Sequential", same_as="features.0.relu"),
        record("[red]markup[/red]", normal(4, 16)),
        record("特徴." * 12 + "畳み込み", normal(2, 16, 100)),
        record("a_very.long_name." * 6 + "conv", normal(2, 16)),
        record("constant", [[3.0, 3.0], [3.0, 3.0]]),
        record("zeros", [[0.0, 0.0]], "act", "ReLU"),
        record("one.channel", normal(1, 64)),
        record("huge", normal(4, 64, 1e30)),
        record("tiny", normal(4, 64, 1e-30)),
        record("some_nan", [[1.0, NAN, 2.0], [-INF, 0.0, INF]]),
        record("all_nan", [[NAN, NAN], [NAN, NAN]], "norm", "BatchNorm2d"),
        record("nothing", torch.zeros(4, 0)),
        record("no.histogram", normal(4, 64), histogram=None),
        record("a_channel_each", normal(4, 64), histogram="channel", varies=True),
        record("fc", normal(1000, 1), "linear", "Linear"),
        **more,
    )


FINDINGS = (
    Finding("some_nan", "not-finite", "error", "1 NaN and 2 infinite.", "over 4 images", "Look at its weights."),
    *(
        Finding(name, "dead-channels", "warning", "1 of 8 channels is dead.", "over 4 images", "Use LeakyReLU.", (3,))
        for name in ("features.0.relu", "zeros")
    ),
    Finding("[red]markup[/red]", "[bold]-check", "note", "[blue]text[/] " * 12, "over 1 image", "", tuple(range(40))),
    Finding("features.0.conv", "nearly-zero", "warning", "the root mean square is 1e-05.", "over 4 images", "Look."),
)
