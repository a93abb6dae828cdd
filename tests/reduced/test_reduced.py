"""`fmap show --reduce` and `--similar`, from the shell and from Python: values against torch, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Ran
from PIL import Image
from torch import nn

import fmap_cli
import fmap_cli as fmap
from fmap_cli.reduced.components import fit_components
from fmap_cli.reduced.records import COLOURS, Reduced

Run = Callable[..., Ran]

CAT, COFFEE = (str(ROOT / "sample_images" / name) for name in ("chelsea.png", "coffee.png"))


class Places(nn.Module):
    """Puts out what it was made with, as a layer `out` and as one of another name."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output
        self.out, self.again = nn.Identity(), nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.again(self.out(self.output + 0 * image.mean()))


def reduced(output: torch.Tensor, layer: str = "out", layout: str = "BCHW", **asked: object) -> Reduced:
    session = fmap.load_model(Places(output), size=32, mean=0.5, std=0.5, say=str)
    return fmap.feature_maps(session, np.zeros((32, 32, 3), np.uint8), layer, layout=layout, say=str, **asked)  # type: ignore[call-overload, no-any-return]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", ["mean", "max", "std"])
def test_a_number_over_the_channels_is_that_of_torch(how: str) -> None:
    output = random(1, 5, 3, 4)
    found = reduced(output, reduce=how)
    expected = output.amax(1) if how == "max" else getattr(output, how)(1)
    np.testing.assert_allclose(found.maps[0][0].values[0], expected.numpy(), rtol=1e-5, atol=1e-6)
    assert found.bases[0].low == pytest.approx((float(expected.min()),))


@pytest.mark.parametrize(
    ("axes", "layout"), [((0, 1, 2, 3), "BCHW"), ((0, 2, 3, 1), "BHWC")], ids=["channels first", "channels last"]
)
def test_the_cosine_is_that_of_torch_on_any_axes(axes: tuple[int, ...], layout: str) -> None:
    output = random(1, 6, 4, 5)
    found = reduced(output.permute(axes), layout=layout, similar=(2, 3))
    expected = torch.cosine_similarity(output[0], output[0, :, 2:3, 3:4], dim=0)
    np.testing.assert_allclose(found.maps[0][0].values[0, 0], expected.numpy(), rtol=1e-5, atol=1e-6)
    best = expected.clone()
    best[2, 3] = -2
    assert found.maps[0][0].alike[0].at == tuple(int(each) for each in np.unravel_index(int(best.argmax()), best.shape))
    assert found.maps[0][0].alike[0].cosine == pytest.approx(float(best.max()), abs=1e-6)


def test_components_of_two_images_and_two_layers_are_those_of_all_units_together() -> None:
    layers = ["features.5.1.add", "features.5.2.add"]
    found = fmap.feature_maps(image=[CAT, COFFEE], layer=layers, reduce="pca", say=str)
    arrays = [fmap.feature_maps(image=image, layer=layers, say=str).arrays for image in (CAT, COFFEE)]
    units = torch.cat([row[name][0].flatten(1).T for row in arrays for name in layers]).double()
    variances = torch.linalg.svdvals(units - units.mean(0)).square()
    (basis,) = found.bases
    assert basis.components is not None and basis.layers == tuple(layers) and basis.units == len(units)
    assert basis.components.shares == pytest.approx((variances / variances.sum())[:3].tolist(), rel=1e-4)
    scores = (units - units.mean(0)) @ torch.from_numpy(basis.components.directions).T
    mine = np.concatenate([each.values.reshape(3, -1).T for row in found.maps for each in row])
    np.testing.assert_allclose(mine, scores.numpy(), atol=1e-3)
    own = scores[:196].var(0) / units[:196].var(0).sum()
    assert found.maps[0][0].shares == pytest.approx(own.tolist(), rel=1e-4)
    apart = fmap.feature_maps(image=CAT, layer=layers, reduce="pca", basis="layer", say=str)
    assert [each.layers for each in apart.bases] == [(name,) for name in layers]


def test_layers_of_other_channel_counts_have_bases_of_their_own_and_that_is_said() -> None:
    said: list[str] = []
    found = fmap.feature_maps(image=CAT, layer=["features.4", "features.5"], reduce="kmeans", say=said.append)
    assert [each.channel_count for each in found.bases] == [80, 112]
    assert any("80, 112 channels" in each for each in said) and found.notes


def test_colours_are_the_components_and_a_unit_that_is_no_number_has_one_of_its_own() -> None:
    from fmap_cli.reduced.colours import ends_of, paint
    from fmap_cli.reduced.records import Drawing

    output = torch.zeros(1, 3, 2, 2)
    output[0, 0] = torch.tensor([[0.0, 1.0], [2.0, 30.0]])  # along one channel alone
    output[0, 1, 0, 0] = float("nan")
    found = reduced(output, reduce="pca")
    assert found.bases[0].not_finite == 1 and found.bases[0].low[0] < found.bases[0].high[0]
    ends = ends_of(found, 0, Drawing(clip=0))
    pixels = paint(found.maps[0][0], ends, "pca", np.zeros((4, 4, 3), np.uint8), (2, 2), False)[0]
    assert pixels[0, 0].tolist() == [255, 0, 255]  # NaN
    assert pixels[0, 1].tolist() == [0, 0, 0] and pixels[1, 1].tolist() == [255, 255, 255]
    assert pixels[1, 0].tolist() == [9, 9, 9]  # 1 of 29


@pytest.mark.parametrize("box", [(slice(2, 5), slice(3, 7)), (slice(1, 7), slice(1, 7))], ids=["small", "large"])
def test_the_foreground_is_what_fills_less_of_the_border(box: tuple[slice, slice]) -> None:
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[box] = True
    output = 0.01 * random(1, 4, 8, 8)
    output[0] += inside * torch.tensor([5.0, -3.0, 2.0, 1.0])[:, None, None]
    for values in (output, -output):
        found = reduced(values, reduce="pca", foreground=True)
        assert found.bases[0].foreground is not None
        assert found.bases[0].foreground.share == pytest.approx(float(inside.float().mean()))
        assert found.bases[0].foreground.border_share == 0
        background = found.maps[0][0].background
        assert background is not None and (~background[0]).tolist() == inside.tolist()
        own = fit_components(values[0][:, inside].T)
        assert found.bases[0].components is not None
        np.testing.assert_allclose(found.bases[0].components.directions, own.directions.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "layout", "asked", "words"),
    [
        ((1, 7), "BC", {"reduce": "pca"}, "a value a channel and no places"),
        ((1, 7, 1, 1), "BCHW", {"reduce": "mean"}, "a value a channel and no places"),
        ((1, 1, 4, 4), "BCHW", {"reduce": "std"}, "1 channel at each place"),
        ((1, 4, 4), "BHW", {"reduce": "pca"}, "1 channel at each place"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "kmeans", "clusters": 10}, "has 9 units"),
        ((1, 6, 3, 3), "BCHW", {"similar": (3, 0)}, "outside the map"),
        ((1, 6, 3, 3), "BCHW", {"similar": (0, 1, 2)}, "has no frames"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "pca", "similar": (0, 0)}, "give one of them"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "pca", "clusters": 3}, "clusters says"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "max", "foreground": True}, "foreground says"),
        ((1, 6, 3, 3), "BCHW", {"similar": (0, 0), "basis": "layer"}, "basis says"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "pca", "top": 3}, "take all channels"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "pca", "by": "max"}, "take all channels"),
        ((1, 6, 3, 3), "BCHW", {"similar": (0, 0), "score": 0.1}, "take all channels"),
        ((1, 6, 3, 3), "BCHW", {"foreground": True}, "foreground says"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "tsne"}, "has to be one of"),
        ((1, 6, 3, 3), "BCHW", {"similar": "3"}, "row and column"),
        ((1, 6, 3, 3), "BCHW", {"similar": 3}, "row and column"),
        ((1, 6, 3, 3), "BCHW", {"reduce": "kmeans", "clusters": 13}, "from 2 to 12"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    shape: tuple[int, ...], layout: str, asked: dict[str, object], words: str
) -> None:
    with pytest.raises(fmap.FmapError) as raised:
        reduced(random(*shape), layout=layout, **asked)
    assert words in str(raised.value) and "--" not in str(raised.value)


@pytest.mark.parametrize("how", [{"clip": 50}, {"clip": "x"}, {"cmap": "nope"}, {"tile": 0}, {"tile": 2.5}])
def test_a_figure_that_cannot_be_is_one_clear_line(how: dict[str, object]) -> None:
    found = reduced(random(1, 4, 3, 3), reduce="mean")
    with pytest.raises(fmap.FmapError, match=f"{next(iter(how))} is"):
        found.figure(**how)  # type: ignore[arg-type]


def test_a_unit_of_zeros_has_no_direction_and_a_layer_of_nan_nothing_to_reduce() -> None:
    output = random(1, 4, 3, 3)
    output[0, :, 1, 1] = 0
    with pytest.raises(fmap.FmapError, match="zero in all channels"):
        reduced(output, similar=(1, 1))
    found = reduced(output, similar=(0, 0))
    assert np.isnan(found.maps[0][0].values[0, 0, 1, 1]) and found.bases[0].not_finite == 1
    with pytest.raises(fmap.FmapError, match="NaN or infinite"):
        reduced(output * float("nan"), reduce="kmeans")


@pytest.mark.parametrize("how", ["pca", "kmeans", "mean", "max", "std"])
def test_a_layer_whose_units_are_all_the_same_is_drawn_and_that_is_said(how: str) -> None:
    found = reduced(torch.ones(1, 4, 3, 3), reduce=how)
    assert found.figure().image().size[0] > 800
    assert found.table(80) and found.document()["bases"]
    assert bool(found.notes) == (how in ("pca", "kmeans"))


def test_the_page_has_a_picture_for_each_image_and_layer_and_says_what_its_colours_are(tmp_path: Path) -> None:
    from fmap_cli.drawing.scene import Picture, Text

    found = fmap.feature_maps(image=[CAT, COFFEE], layer=["features.4", "features.6"], reduce="pca", say=str)
    scene = found.figure().scene
    tall = [each for each in scene.items if isinstance(each, Picture) and each.size[0] > 100]
    assert len(tall) == 2 * 3
    texts = " ".join(each.text for each in scene.items if isinstance(each, Text))
    for words in ("features.4", "features.6", "basis A", "basis B", "chelsea.png", "coffee.png", "of the variance"):
        assert words in texts
    boxes = [(each.x, each.y, each.x + each.size[1], each.y + each.size[0]) for each in tall]
    assert all(right <= scene.width and bottom <= scene.height for _, _, right, bottom in boxes)
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    found.save(tmp_path / "page.svg")
    assert "<svg" in (tmp_path / "page.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("images", "layers", "blocks", "side_by_side"),
    [(1, 2, 1, False), (1, 12, 3, False), (6, 1, 2, True), (3, 2, 1, False)],
)
def test_many_layers_go_on_below_and_many_images_beside(
    images: int, layers: int, blocks: int, side_by_side: bool
) -> None:
    from fmap_cli.reduced.grid import lay_out
    from fmap_cli.reduced.records import Drawing

    found = reduced(random(1, 4, 3, 3), reduce="mean")
    (one,) = found.maps[0]
    row = tuple(replace(one, layer=replace(one.layer, name=f"layer{at}")) for at in range(layers))
    grid = lay_out(replace(found, images=found.images * images, maps=(row,) * images), Drawing())
    assert (len(grid.blocks), grid.side_by_side) == (blocks, side_by_side)
    assert sorted((at, name) for block in grid.blocks for at in block.images for name in block.layers) == sorted(
        (at, f"layer{number}") for at in range(images) for number in range(layers)
    )
    assert grid.size[0] <= 1240 and grid.size[1] <= 1240


def test_the_command_and_the_verb_say_the_same(fmap: Run, tmp_path: Path) -> None:
    net = str(ROOT / "tests" / "golden" / "nets.py") + ":small"
    out, saved = tmp_path / "page.png", tmp_path / "maps.npz"
    ran = fmap(
        *("show", CAT, COFFEE, "--model", net, "--size", 32, "--layer", "conv2", "--reduce", "kmeans", "--clusters", 3),
        *("-o", out, "--save", saved, "--json"),
    )
    assert ran.code == 0 and ran.json["files"] == [str(out), str(saved)] and out.stat().st_size > 10_000
    found = fmap_cli.feature_maps(
        fmap_cli.load_model(net, size=32, say=str), [CAT, COFFEE], "conv2", reduce="kmeans", clusters=3, say=str
    )
    document = found.document()
    assert ran.json["bases"] == document["bases"] and ran.json["images"] == document["images"]
    arrays = np.load(saved)
    np.testing.assert_array_equal(arrays[f"{COFFEE}/conv2"], found.maps[1][0].values)
    assert found.bases[0].clusters is not None
    np.testing.assert_allclose(arrays["basis_A/centres"], found.bases[0].clusters.centres)
    sizes = np.bincount(arrays[f"{CAT}/conv2"].astype(int).ravel(), minlength=3)
    assert ran.json["images"][0]["layers"][0]["cluster_sizes"] == sizes.tolist()


def test_raw_pictures_are_the_colours_of_each_unit_and_nothing_else(fmap: Run, tmp_path: Path) -> None:
    net = str(ROOT / "tests" / "golden" / "nets.py") + ":small"
    asked = ("--model", net, "--size", 32, "--layer", "conv1", "--layer", "conv2", "--reduce", "pca", "--raw")
    for named in (("-o", tmp_path / "raw.png"), ("--out-dir", tmp_path)):
        assert fmap("show", CAT, COFFEE, *asked, *named).code == 0
    assert fmap("show", CAT, "--model", net, "--size", 32, "--layer", "conv1", "--raw", "--out-dir", tmp_path).code == 0
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"raw.png", "chelsea+1-nets.py_small-conv1+1-pca-raw.png", "chelsea-nets.py_small-conv1-raw.png"}
    session = fmap_cli.load_model(net, size=32, say=str)
    found = fmap_cli.feature_maps(session, [CAT, COFFEE], ["conv1", "conv2"], reduce="pca", say=str)
    drawn = np.asarray(Image.open(tmp_path / "raw.png"))
    assert (drawn == np.asarray(found.figure(raw=True).image())).all()
    rest, top = np.ones(drawn.shape[:2], bool), 0
    for row in found.maps:
        left = 0
        for each in row:
            basis, (_, height, width) = found.bases[each.basis], each.units
            own = [other.values.reshape(3, -1) for of in found.maps for other in of if other.basis == each.basis]
            low, high = np.percentile(np.concatenate(own, 1).astype(np.float64), [1, 99], axis=1)[:, :, None, None]
            expected = np.clip((each.values[:, 0] - low) / (high - low), 0, 1) * 255
            place = slice(top, top + height), slice(left, left + width)
            np.testing.assert_allclose(drawn[place].transpose(2, 0, 1), expected, atol=0.51, err_msg=basis.layers[0])
            rest[place] = False
            left += width + 1
        top += max(each.units[1] for each in row) + 1
    assert (drawn[rest] == 255).all() and drawn.shape[:2] == (top - 1, left - 1)


def test_clusters_keep_their_colours_in_pictures_of_fewer_pixels_than_units() -> None:
    found = reduced(random(1, 4, 20, 30), reduce="kmeans", clusters=5)
    named = {rgb for _, rgb in COLOURS[:5]}
    for tile in (3, 7, 20, 31):
        drawn = np.asarray(found.figure(raw=True, tile=tile).image())
        assert {tuple(each) for each in drawn.reshape(-1, 3).tolist()} <= named
    exact = np.asarray(found.figure(raw=True).image())
    expected = np.array([rgb for _, rgb in COLOURS])[found.maps[0][0].values[0, 0].astype(int)]
    assert (exact == expected).all()


def test_a_clips_raw_pictures_stand_side_by_side_and_a_tile_makes_them_larger() -> None:
    found = reduced(random(1, 4, 3, 2, 5), layout="BCTHW", reduce="mean")
    assert (found.figure(raw=True).scene.width, found.figure(raw=True).scene.height) == (3 * 5 + 2, 2)
    large = np.asarray(found.figure(raw=True, tile=8).image())
    assert large.shape == (8, 3 * 20 + 2, 3)
    small = np.asarray(found.figure(raw=True).image())
    assert (large[4, 22] == small[1, 6]).all() and (large[:, [20, 41]] == 255).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reduce", "pca", "--raw", "-o", "page.pdf"], "--raw"),
        (["--reduce", "pca", "--similar", "1,2"], "--similar"),
        (["--reduce", "pca", "--cmap", "gray"], "--cmap"),
        (["--reduce", "mean", "--top", "3"], "--top"),
        (["--reduce", "pca", "--scale", "layer"], "--scale"),
        (["--clusters", "3"], "--clusters"),
        (["--similar", "x"], "as 3,4"),
        (["--similar", "4"], "as 3,4"),
        (["--reduce", "umap"], "umap"),
    ],
)
def test_contradictions_are_wrong_usage(fmap: Run, options: list[str], words: str) -> None:
    ran = fmap("show", CAT, *options)
    assert ran.code == 2 and words in ran.err and ran.out == ""


def test_one_image_that_cannot_be_read_is_named_and_the_others_are_shown(fmap: Run, tmp_path: Path) -> None:
    ran = fmap("show", CAT, "nowhere.png", "--layer", "features.6", "--reduce", "max", "--out-dir", tmp_path, "--json")
    assert ran.code == 1 and "1 of 2 images failed: nowhere.png" in ran.err
    assert ran.json["image_count"] == 1 and ran.json["failed"][0]["image"] == "nowhere.png"
    assert [each.name for each in tmp_path.iterdir()] == ["chelsea-efficientnet_lite0-features.6-max.png"]


def test_images_of_one_name_keep_their_arrays_apart(tmp_path: Path) -> None:
    pictures = [np.full((32, 32, 3), 60, np.uint8), np.full((32, 32, 3), 200, np.uint8)]
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    session = fmap.load_model(net, size=32, mean=0.5, std=0.5, say=str)
    found = fmap.feature_maps(session, pictures, "0", reduce="mean", say=str)
    found.save(tmp_path / "maps.npz")
    arrays = np.load(tmp_path / "maps.npz")
    kept = [arrays[name] for name in arrays if name.endswith("/0")]
    assert len(kept) == 2 and not np.allclose(kept[0], kept[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "layer", "places"),
    [
        ("vit_b_16", "encoder.layers.encoder_layer_3", lambda out: out[0, 1:].reshape(1, 14, 14, -1)),
        ("swin_t", "features.3", lambda out: out),
        ("r3d_18", "layer2", lambda out: out[0].movedim(0, -1)),
        ("timm:vit_base_patch16_rope_reg1_gap_256", "blocks.2", lambda out: out[0, 1:].reshape(1, 16, 16, -1)),
        ("timm:vit_small_patch14_reg4_dinov2", "blocks.2", lambda out: out[0, 5:].reshape(1, 37, 37, -1)),
    ],
)
def test_every_family_is_reduced_over_its_channels_place_by_place(
    model: str, layer: str, places: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    session = fmap.load_model(model, weights="random", say=str)
    units = places(fmap.feature_maps(session, CAT, layer, say=str).arrays[layer])
    found = fmap.feature_maps(session, CAT, layer, reduce="max", say=str).maps[0][0]
    np.testing.assert_allclose(found.values[0], units.amax(-1).numpy(), rtol=1e-6)
    alike = fmap.feature_maps(session, CAT, layer, similar=(3, 2) if len(units) == 1 else (1, 3, 2), say=str)
    one = units[0 if len(units) == 1 else 1, 3, 2]
    expected = torch.cosine_similarity(units, one, dim=-1)
    np.testing.assert_allclose(alike.maps[0][0].values[0], expected.numpy(), rtol=1e-4, atol=1e-5)
