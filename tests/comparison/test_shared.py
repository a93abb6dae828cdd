"""Two images: the pooled comparison against torch's own, and the channels that both share or do not share."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pages import texts
from torch import nn
from torch.nn import functional as F

import fmap_cli
from fmap_cli.comparison.measures import differ
from fmap_cli.comparison.pairs import compare
from fmap_cli.comparison.records import Comparison
from fmap_cli.comparison.shared import shared_channels
from fmap_cli.drawing.overlay import gray_photo
from fmap_cli.drawing.scene import Picture, Scene
from fmap_cli.errors import LayerError
from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import LoadedModel, Preprocessing, Weights
from fmap_cli.session.opening import Session

Fmap = Callable[..., Any]
PHOTOS = ("coffee", "chelsea")


def pooled_by_torch(a: torch.Tensor, b: torch.Tensor, axis: int) -> float:
    means = [each.double().movedim(axis, 0).flatten(1).mean(1) for each in (a, b)]
    return float(F.cosine_similarity(*means, dim=0, eps=0.0))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1, 6, 5, 4), 1), ((2, 5, 4, 6), 3), ((1, 50, 7), 2), ((1, 9), 1), ((1, 3, 4, 5, 6), 1), ((1, 2000, 30, 30), 1)],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_pooled_cosine_is_torchs_of_the_means(shape: tuple[int, ...], axis: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    a, b = (torch.randn(shape, generator=generator).add(0.3).to(dtype) for _ in "ab")
    found = differ(a, b, axis)
    assert found.pooled_cosine == pytest.approx(pooled_by_torch(a, b, axis), abs=1e-12)
    assert found.means is not None
    np.testing.assert_allclose(found.means[0], a.double().movedim(axis, 0).flatten(1).mean(1), rtol=1e-12)


def test_what_has_no_channels_or_no_direction_has_no_pooled_cosine() -> None:
    a = torch.rand(1, 3, 2, 2)
    assert differ(a, a).pooled_cosine is None
    assert differ(a, torch.zeros_like(a), 1).pooled_cosine is None
    assert differ(a, a.clone(), 1).pooled_cosine == 1.0


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_values_of_any_size_have_one(size: float) -> None:
    a, b = (torch.rand(1, 5, 3, 3, generator=torch.Generator().manual_seed(at)).double() for at in range(2))
    assert differ(a * size, b * size, 1).pooled_cosine == pytest.approx(pooled_by_torch(a, b, 1), rel=1e-9)


def test_places_that_are_not_finite_are_in_neither_mean() -> None:
    a, b = torch.tensor([[[1.0, 3.0], [torch.nan, torch.nan]]]), torch.tensor([[[2.0, torch.inf], [1.0, 1.0]]])
    found = differ(a, b, 1)
    assert found.means is not None
    np.testing.assert_array_equal(found.means, [[1.0, np.nan], [2.0, np.nan]])
    assert found.pooled_cosine == 1.0  # of the one channel left


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
def test_moving_things_about_changes_the_places_and_not_the_pool(seed: int, down: int, across: int) -> None:
    a = torch.rand(1, 4, 6, 6, generator=torch.Generator().manual_seed(seed)).double()
    found = differ(a, a.roll((down, across), (2, 3)), 1)
    assert found.pooled_cosine == pytest.approx(1.0, abs=1e-12)
    assert found.relative_l2 > 0.05


def test_channels_are_shared_where_both_are_strong_and_one_ones_where_the_other_is_a_third_as_strong() -> None:
    usual = 1.0  # the root mean square of both: (4 + 0 + 0 + 0) / 4 and the like
    a = np.array([1.0, 1.0, 1.0, 1.0]) * usual
    assert shared_channels(np.stack([a, a])) == ((0, 1, 2, 3), (), ())
    assert shared_channels(np.stack([a, -a])) == ((), (), ())  # the other way round is not the same
    a, b = np.array([[5.0, 5.0, 0.0, 0.1, 1.6], [10.0, 0.0, 10.0, 0.2, 10.0]])
    # rms 3.25 and 7.75: in shares of it channel 4 is 0.49 and 1.29, of which one is no third of the other
    assert shared_channels(np.stack([a, b])) == ((0,), (1,), (2,))
    assert shared_channels(np.stack([a, 100 * b])) == ((0,), (1,), (2,)), "each is a share of its own image's"
    assert shared_channels(np.array([[np.nan, 1.0], [1.0, 1.0]])) == ((1,), (), ())


def two_images(net: nn.Module, a: torch.Tensor, b: torch.Tensor, draw: str | None = None) -> Comparison:
    model = LoadedModel(net.eval(), "net", Weights("given"), Preprocessing(None, None))
    session = Session(model, torch.device("cpu"), torch.float32)
    images = [
        ImageInput(name, "x", (each * 255).byte().permute(1, 2, 0).numpy(), each) for name, each in (("a", a), ("b", b))
    ]
    return compare(session, images[0], session, images[1], draw=draw, keep_maps=True)


def colours() -> nn.Module:
    """A channel a colour, and a fourth that is always on; then half of each."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(4)[:, :3, None, None])
        net[0].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    return net


RED, BLUE = (torch.zeros(3, 8, 8) for _ in range(2))
RED[0, 2:6, 2:6], BLUE[2, 2:6, 2:6] = 1.0, 1.0


def test_a_red_and_a_blue_picture_share_the_channel_that_is_always_on() -> None:
    found = two_images(colours(), RED, BLUE)
    shared = found.shared
    assert shared is not None and found.of_images and found.pair is None
    assert shared.layer.name == "2", "the last map of more than one cell"
    # means ¼ 0 0 1 and 0 0 ¼ 1, root mean square 0.52: the quarter is not strong
    assert (shared.both, shared.only_a, shared.only_b) == ((3,), (), ())
    row = next(each for each in found.layers if each.layer.name == "2")
    assert row.difference.pooled_cosine == pytest.approx(1 / (1 + 1 / 16))  # type: ignore[union-attr]
    net = colours()
    net[0].bias.data[3] = 0.1
    shared = two_images(net, RED, BLUE, draw="0").shared
    assert shared is not None and shared.layer.name == "0"
    assert (shared.both, shared.only_a, shared.only_b) == ((), (0,), (2,))


def test_the_figure_lays_a_channel_that_one_image_lacks_over_that_one_alone() -> None:
    net = colours()
    net[0].bias.data[3] = 0.1
    found = two_images(net, RED, BLUE, draw="0")
    scene = found.figure().scene
    assert isinstance(scene, Scene)
    words = " ".join(texts(scene))
    assert "strong in both: none" in words and "strong only in A: 1" in words and "strong only in B: 1" in words
    assert "mean 0.25" in words and "Pooled cosine through depth" in words
    tiles = [each for each in scene.items if isinstance(each, Picture) and each.size == tiles_size(scene)]
    assert len(tiles) == 4  # channel 0 over A and B, channel 2 over A and B
    drawn = [np.asarray(each.pixels, float) for each in tiles]
    plain = [gray_photo((each * 255).byte().permute(1, 2, 0).numpy(), tiles[0].size) for each in (RED, BLUE)]
    over = [np.abs(drawn[at] - plain[at % 2]).max() for at in range(4)]
    assert [at for at, each in enumerate(over) if each > 20] == [0, 3]


def tiles_size(scene: Scene) -> tuple[int, int]:
    sizes = [each.size for each in scene.items if isinstance(each, Picture)]
    return max(set(sizes), key=sizes.count)


def test_a_layer_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(LayerError, match="no height and width"):
        two_images(colours(), RED, BLUE, draw="4")


def test_two_photos_are_compared_pooled_first(fmap: Fmap, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = ("compare", *(samples / f"{name}.png" for name in PHOTOS), "-l", "features.?")
    ran = fmap(*asked)
    heading = next(line for line in ran.out.splitlines() if line.startswith("layer"))
    assert heading.split()[1] == "cosine" and "does the network see the same things?" in ran.out
    assert "are the maps equal, place by place?" in ran.out
    assert "first over" not in ran.out and "A and B part" not in ran.out
    document = fmap(*asked, "--json").json
    assert document["of_images"] is True
    assert document["shared_channels"]["name"] == "features.8"
    table = list(csv.DictReader(io.StringIO(fmap(*asked, "--csv").out)))
    assert [float(row["pooled_cosine"]) for row in table] == [row["pooled_cosine"] for row in document["layers"]]
    a, b = (
        fmap_cli.feature_maps(image=samples / f"{name}.png", layer="features.8").arrays["features.8"] for name in PHOTOS
    )
    assert document["layers"][-1]["pooled_cosine"] == pytest.approx(pooled_by_torch(a, b, 1), abs=1e-9)


def test_two_variants_on_one_image_are_compared_place_by_place_first(fmap: Fmap) -> None:
    asked = ("compare", "--vs-dtype", "bfloat16", "-l", "features.?")
    ran = fmap(*asked)
    heading = next(line for line in ran.out.splitlines() if line.startswith("layer")).split()
    assert heading.index("max") < heading.index("relative") < heading.index("correlation") < heading.index("channel")
    assert "farthest apart" in ran.out and "strong in both" not in ran.out
    document = fmap(*asked, "--json").json
    assert (document["of_images"], document["shared_channels"]) == (False, None)
    assert all(row["pooled_cosine"] > 0.99 for row in document["layers"])
