"""Every layer of real networks, operations included: each channel's record against torch's reductions in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fmap_cli.models.records import ModelRequest
from fmap_cli.network.capture import Sink
from fmap_cli.network.records import LayerRef
from fmap_cli.session.axes import axes_for
from fmap_cli.session.opening import open_session, read_image
from fmap_cli.session.passes import run
from fmap_cli.statistics.reduce import channel_axes, reduce

NETWORKS = {
    "efficientnet_lite0": 270,
    "resnet50": 190,
    "mobilenet_v2": 220,
    "densenet121": 400,
    "swin_t": 240,
    "vit_b_32": 120,
    "googlenet": 250,
    "fcn_resnet50": 200,
    "quantized_resnet18": 80,
}


def check(layer: LayerRef, output: Tensor, rows: Tensor, found: object) -> None:
    wide = rows.double()
    assert found.count == wide.shape[1], layer  # type: ignore[attr-defined]
    for name, expected in (
        ("min", wide.amin(1)),
        ("max", wide.amax(1)),
        ("zeros", (wide == 0).sum(1)),
        ("nan", wide.isnan().sum(1)),
        ("inf", wide.isinf().sum(1)),
    ):
        assert np.array_equal(getattr(found, name), expected.numpy()), (layer.name, name)
    if wide.shape[1] > 1:
        scale = wide.std(1)  # what a person sees the mean's error against
        size = torch.maximum(scale, wide.abs().amax(1) * 1e-9)
        assert ((torch.from_numpy(found.mean) - wide.mean(1)).abs() <= 1e-6 * size).all(), layer  # type: ignore[attr-defined]
        assert ((torch.from_numpy(found.std) - scale).abs() <= 1e-6 * size).all(), layer  # type: ignore[attr-defined]
    rms = wide.square().mean(1).sqrt()
    assert ((torch.from_numpy(found.rms) - rms).abs() <= 1e-6 * rms).all(), layer  # type: ignore[attr-defined]


ALIKE = ("densenet121", "resnet50", "mobilenet_v2")  # convolutions and BatchNorm, as others of them


@pytest.mark.parametrize(
    ("name", "least"),
    [pytest.param(*each, marks=[pytest.mark.slow] if each[0] in ALIKE else []) for each in NETWORKS.items()],
)
def test_every_channel_of_every_layer(name: str, least: int, samples: Path) -> None:
    weights = None if name == "efficientnet_lite0" else "random"
    size = None if name == "efficientnet_lite0" else 64  # one network has maps of every size
    session = open_session(ModelRequest(name, weights, size=size), lambda _: None)
    images = [read_image(session, str(samples / f"{each}.png"), lambda _: None) for each in ("chelsea", "coffee")]
    resolver = axes_for(session, images[0])
    compared = 0

    def watch(layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            nonlocal compared
            axes = resolver.of(layer, output.shape)
            places = channel_axes(axes)
            others = [at for at in range(output.ndim) if at not in places]
            values = output.dequantize() if output.is_quantized else output
            rows = values.permute((*places, *others)).reshape(
                int(np.prod([output.shape[at] for at in places], dtype=int)), -1
            )
            check(layer, output, rows, reduce(output, axes, images=2))
            compared += 1

        return sink

    run(session, images, watch)
    assert compared >= least
