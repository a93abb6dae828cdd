"""Evidence: held against plain torch, a network whose answer fits on paper, and the callers' own state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import ROOT
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import swin_t, vit_b_16

import fmap_cli as fmap
from fmap_cli.cam.records import Cam, Trust
from fmap_cli.cam.words import headline, verdict
from fmap_cli.errors import FmapError, LayerError, ModelError
from fmap_cli.session.opening import read_image


def cam(model: Any, layer: str | None = None, **asked: Any) -> Cam:
    return fmap.cam(model, PICTURE, layer, say=lambda _: None, **{"steps": 0, **asked})


_COFFEE = ROOT / "sample_images" / "coffee.png"
PICTURE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


def session(net: nn.Module, **how: Any) -> Any:
    return fmap.load_model(net, **{"size": (24, 32), "mean": 0.5, "std": 0.5, "say": lambda _: None, **how})


def small(classes: int = 3) -> nn.Sequential:
    """A convolution whose in-place ReLU follows, and a head that is linear after pooling."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, classes),
    ).eval()


def by_hand(net: nn.Sequential, at: int, class_: int) -> tuple[Tensor, Tensor]:
    """The output of layer `at` and its gradient, the rest of the network run by hand on a copy."""
    x = (torch.from_numpy(PICTURE).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    for module in net[: at + 1]:
        x = module(x).detach().clone()
    x.requires_grad_()
    y = x.clone()
    for module in net[at + 1 :]:
        y = module(y)
    (gradient,) = torch.autograd.grad(y[0, class_], x)
    return x.detach()[0], gradient[0]


@pytest.mark.parametrize("at", [0, 1, 3, 4])
def test_grad_cam_and_layer_cam_are_their_formulas_of_the_layer_as_it_was_before_a_relu_in_place(at: int) -> None:
    net = small()
    maps, gradient = by_hand(net, at, 2)
    expected = (gradient.mean((1, 2))[:, None, None] * maps).sum(0).numpy()
    found = cam(session(net), str(at), class_=2)
    assert np.allclose(found.map[0], expected, rtol=1e-5, atol=1e-8)
    assert np.allclose(found.levels[0].weights, gradient.mean((1, 2)).numpy(), atol=1e-8)
    assert np.allclose(cam(session(net), str(at), class_=2, positive=True).map[0], expected.clip(min=0), atol=1e-8)
    layered = (gradient.relu() * maps).sum(0).numpy()
    assert np.allclose(cam(session(net), str(at), class_=2, method="layercam").map[0], layered, rtol=1e-5, atol=1e-8)


def test_by_effect_the_map_adds_up_to_what_ablating_each_channel_takes_away() -> None:
    net = small()
    maps, _ = by_hand(net, 4, 1)
    found = cam(session(net), "4", class_=1, method="effect")
    weight = net[7].weight[1].detach().double()
    effects = maps.double().mean((1, 2)) * weight  # a linear head on the mean: each channel's own part
    assert found.map.sum() == pytest.approx(float(effects.sum()), rel=1e-4)
    assert found.levels[0].weights == pytest.approx((weight / maps[0].numel()).where(effects != 0, 0).numpy(), rel=1e-4)
    grad = cam(session(net), "4", class_=1)
    assert np.allclose(found.map, grad.map, rtol=1e-4, atol=1e-7)


def test_the_layer_is_the_last_map_before_pooling_under_its_shortest_name() -> None:
    net = nn.Sequential(small()[:5], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    found = cam(session(net))
    assert found.layer.name == "0"
    assert np.allclose(found.map, cam(session(net), "0.4").map)


class Tokens(nn.Module):
    """Attention from a class token to 2 × 2 patches: only the first layer's patches have a part in the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm1, self.norm = nn.LayerNorm(8), nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        y = self.norm1(x)
        x = x + F.softmax(y @ y.transpose(1, 2), 2) @ y
        return self.head(self.norm(x)[:, 0])


def test_tokens_become_a_grid_without_the_class_token_at_the_last_layer_that_reads_them() -> None:
    torch.manual_seed(0)
    found = cam(session(Tokens().eval(), size=(32, 48)))
    assert (found.layer.name, found.map.shape, found.sign) == ("norm1", (1, 2, 3), found.sign)
    assert found.sign != "zero"


def test_live_modules_and_callers_stay_as_they_were() -> None:
    net = small().requires_grad_(False)
    net.train()
    net[0].weight.requires_grad_(True)
    before = {name: each.clone() for name, each in net.state_dict().items()}
    expected = cam(net)
    with torch.no_grad():
        assert np.array_equal(cam(net).map, expected.map)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert np.array_equal(cam(net).map, expected.map)
        assert torch.is_inference_mode_enabled()
    assert all(each.training for each in net.modules())
    assert all(torch.equal(each, before[name]) for name, each in net.state_dict().items())
    assert all(each.grad is None for each in net.parameters())
    assert [each.requires_grad for each in net.parameters()].count(True) == 1
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in net.modules())


def test_a_network_made_in_inference_mode_has_evidence_too() -> None:
    with torch.inference_mode():
        net = small()
    assert np.array_equal(cam(net).map, cam(small()).map)
    assert all(each.is_inference() for each in net.parameters())


def test_evidence_of_one_sign_or_none_is_said_in_words() -> None:
    net = small()
    with torch.no_grad():
        net[7].weight[0], net[7].weight[1], net[7].weight[2] = -1, 0, 1
    against, zero, above = (cam(session(net), class_=each) for each in range(3))
    assert (against.sign, zero.sign, above.sign) == ("against", "zero", "for")
    assert "at this layer all evidence is against it" in against.table()
    assert "the evidence is zero everywhere" in zero.table()
    assert "all evidence is for it, none against" in above.table()
    little = replace(
        against, map=np.where(np.arange(against.map.size).reshape(against.map.shape) == 0, 1e-9, against.map)
    )
    assert little.sign == "both"
    assert "nearly all evidence is against it" in little.table()
    for each in (against, zero, above, little):
        assert np.isfinite(each.map).all()
        assert each.figure().image().width > 0
        assert each.document()["half"]["area"] == each.half[1]


def test_what_rounding_leaves_is_not_evidence_and_the_headline_has_the_curves_doubt() -> None:
    found = cam(session(small()), class_=2)
    dust = replace(found, rounding=found.most)
    assert (found.is_dust, dust.is_dust, dust.sign, dust.half) == (False, True, "zero", (0.0, 0.0))
    assert "zero but for rounding" in dust.table() and "half of" not in dust.table()
    assert dust.figure().image().width > 0
    fractions, random = np.array([0, 0.5, 1]), np.array([[0, 0.5, 1]])
    for falling, words in (
        ([1, 0.1, 0], "of the picture"),
        ([1, 0.9, 0], "bear it out"),
        ([1, 1, 1], "these places count"),
    ):
        curve = np.array(falling)
        trust = Trust(fractions, curve, 1 - curve, random, (2, 2), "probability")
        assert headline(replace(found, trust=trust)).endswith(words)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relu", [False, True])
def test_a_gradient_that_adds_up_to_zero_is_rounding_whatever_its_size(dtype: torch.dtype, relu: bool) -> None:
    """What an instance normalisation reads has a gradient of mean 0, so Grad-CAM's map is 0 but for rounding."""
    torch.manual_seed(0)
    after: list[nn.Module] = [nn.ReLU()] if relu else []
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), *after, *head).eval()
    values = by_hand(net, 0, 1)
    terms = (values[1].double().abs().mean((1, 2))[:, None, None] * values[0].double().abs()).sum(0)
    for scale in (1.0, 1e9, 1e-9):
        with torch.no_grad():
            net[-1].weight.mul_(scale)
        found = cam(session(net.to(dtype)), "0", class_=1)
        assert found.is_dust and found.sign == "zero", (found.most, found.rounding)
        with torch.no_grad():
            net[-1].weight.div_(scale)
    assert not relu or found.most < 1e-4 * float(terms.max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-9])
def test_evidence_that_is_small_and_real_is_weak_and_keeps_its_curves(dtype: torch.dtype, scale: float) -> None:
    net = small()
    with torch.no_grad():
        net[7].weight.mul_(scale)
        net[7].bias.copy_(torch.tensor([5.0, 0, 0]))
    maps, gradient = by_hand(net, 4, 0)
    expected = (gradient.double().mean((1, 2))[:, None, None] * maps.double()).sum(0).numpy()
    found = cam(session(net.to(dtype)), "4", class_=0, steps=2)
    assert np.allclose(found.map[0], expected, rtol=1e-4, atol=1e-12 * scale)
    is_shown = np.abs(expected).sum() >= torch.finfo(dtype).eps * found.target.value  # the number has digits for it
    assert is_shown == (scale > 1e-9 or dtype == torch.float64)
    assert (found.is_dust, found.is_weak) == (not is_shown, scale < 1 and is_shown)
    assert (found.trust is not None) == is_shown
    assert ("weak" in found.table()) == found.is_weak


def test_half_of_the_evidence_is_in_the_smallest_part_that_holds_it() -> None:
    found = cam(session(small()), class_=2)
    everywhere = replace(found, map=np.full((1, 3, 5), 2.0, np.float32))
    assert everywhere.half == (2.0, 0.5)
    # Two cells in a row, 0 and 1: resized, a quarter is 1, a half a ramp, whose sum is as large as that quarter's.
    level, area = replace(found, map=np.array([[[0.0, 1.0]]], np.float32)).half
    assert (level, area) == (pytest.approx(1, abs=0.01), pytest.approx(0.25, abs=0.01))


def test_random_weights_are_said() -> None:
    assert "was not learned" not in cam(session(small()), class_=2).table()
    drawn = fmap.load_model("resnet18", weights="random", size=32, say=lambda _: None)
    assert "The weights are random" in cam(drawn).table()


class Corner(nn.Module):
    """The first class is how bright the top left quarter is, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 2, 1)
        nn.init.ones_(self.same.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(F.avg_pool2d(x, 4)).relu()
        score = x[:, :1, : x.shape[2] // 2, : x.shape[3] // 2].mean((2, 3))
        return torch.cat([4 * score, torch.full_like(score, 6.0)], 1)


def test_curves_tell_the_places_that_count_from_random_ones() -> None:
    """Of a picture with a white quarter on black, a quarter of the tiles brings the class back, and takes it away."""
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[:12, :16] = 255
    corner = session(Corner().eval())
    found = fmap.cam(corner, picture, "same", class_=0, method="layercam", steps=8, say=lambda _: None)
    trust = found.trust
    assert trust is not None
    assert found.map[0, :3, :4].sum() == pytest.approx(found.evidence_for)
    assert found.half[1] < 0.25
    assert trust.verdict == "better"
    assert trust.insertion[3] == pytest.approx(trust.insertion[-1], rel=0.05)
    assert trust.deletion[3] == pytest.approx(trust.deletion[-1], rel=0.05)
    assert trust.insertion[0] == trust.deletion[-1]
    assert f"{trust.insertion_area:#.3g}" in found.table()


def test_the_areas_are_those_of_trapeziums_and_verdicts_compare_them_with_random_orders() -> None:
    places = np.linspace(0, 1, 5)
    up, flat = np.array([0.0, 0.8, 1.0, 1.0, 1.0]), np.linspace(0, 1, 5)
    good = Trust(places, 1 - up, up, np.stack([flat, flat]), (2, 2), "probability")
    assert good.insertion_area == pytest.approx(np.trapezoid(up, places))
    assert (good.verdict, good.random_area) == ("better", 0.5)
    assert Trust(places, up[::-1], up, np.stack([flat]), (2, 2), "probability").verdict == "mixed"
    assert Trust(places, up[::-1], flat, np.stack([flat]), (2, 2), "probability").verdict == "no better"
    assert Trust(places, flat, flat[::-1], np.stack([flat]), (2, 2), "probability").verdict == "none"
    small = Trust(places, (1 - up) / 200, up / 200, np.stack([flat]) / 200, (2, 2), "probability")
    assert small.verdict == "none"
    assert "hardly lowers the probability, from 0.5 % to 0 %" in verdict(small)
    assert replace(small, quantity="value").verdict == "better"


@pytest.mark.parametrize(
    ("insertion", "deletion", "words"),
    [  # the number falls from 1 to 0, a random order's area is 0.5, and each curve's the mean of its middle and 0.5
        (0.9, 0.1, "clearly better than 2 random ones in both"),
        (0.55, 0.45, "barely better than 2 random ones in both"),
        (0.9, 0.45, "clearly better than 2 random ones in insertion, barely in deletion"),
        (0.55, 0.1, "clearly better than 2 random ones in deletion, barely in insertion"),
        (0.55, 0.6, "barely better than 2 random ones in insertion, and not in deletion"),
        (0.3, 0.1, "clearly better than 2 random ones in deletion, and not in insertion"),
        (0.5, 0.6, "no better than 2 random ones"),
    ],
)
@pytest.mark.parametrize("size", [1.0, 0.02, 50.0])
def test_by_how_much_an_order_is_better_is_a_share_of_the_fall(
    insertion: float, deletion: float, words: str, size: float
) -> None:
    random = np.array([[0, 0.5, 1.0]] * 2)
    inserted, deleted = np.array([0, insertion, 1]), np.array([1, deletion, 0])
    trust = Trust(np.linspace(0, 1, 3), deleted * size, inserted * size, random * size, (2, 2), "value")
    assert words in verdict(trust)
    assert trust.margins == pytest.approx(((insertion - 0.5) / 2, (0.5 - deletion) / 2))


def test_a_number_that_rises_under_the_blur_is_said_to_rise() -> None:
    up = np.array([0.2, 0.3, 0.4])
    trust = Trust(np.linspace(0, 1, 3), up, up[::-1], up[None], (2, 2), "probability")
    assert (trust.verdict, trust.fall) == ("none", pytest.approx(-0.2))
    assert "raises the probability, from 20.0 % to 40.0 %" in verdict(trust)
    still = np.full(3, 0.25)
    same = Trust(np.linspace(0, 1, 3), still, still, still[None], (2, 2), "value")
    assert "leaves the value at 0.25" in verdict(same)


def test_a_map_without_evidence_has_no_curves_and_says_so() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean((2, 3)) * torch.tensor([0.0, 1e-9]) + torch.tensor([1.0, 2.0])

    for class_, why in ((0, "zero everywhere"), (1, "only rounding")):
        found = fmap.cam(session(Constant().eval()), PICTURE, "conv", class_=class_, say=lambda _: None)
        assert found.trust is None and f"a map that is {why} puts places in no order" in " ".join(found.table().split())


def test_of_another_class_it_says_what_the_network_answers() -> None:
    opened = session(small(), labels=["cat", "dog", "owl"])
    scores = [cam(opened, class_=each).target.value for each in range(3)]
    order = sorted(range(3), key=lambda each: -scores[each])
    names = ["cat", "dog", "owl"]
    assert f"the network answers {names[order[0]]}," in cam(opened, class_=names[order[1]]).table()
    assert f"(the network answers {names[order[0]]}," in headline(cam(opened, class_=names[order[2]]))
    assert "the network answers" not in cam(opened).table()


def test_a_segmentations_evidence_is_asked_over_the_pixels_of_a_class() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Upsample(scale_factor=2)).eval()
    found = cam(session(net, labels=["background", "cat", "dog"]), "1", class_="cat")
    x = (torch.from_numpy(PICTURE).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    scores = net(x).detach()
    mask = scores.argmax(1)[0] == 1
    assert "the network answers" not in found.table()  # a segmentation's answer is no one class
    assert found.target.in_words == f"the mean logit of cat over its {int(mask.sum()):,} pixels"
    maps = net[:2](x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net[2:](maps)[0, 1][mask].mean(), maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1)[0].detach().numpy()
    assert np.allclose(found.map[0], expected, rtol=1e-4, atol=1e-8)


def test_a_detectors_box_has_its_evidence_at_the_levels_that_its_score_depends_on() -> None:
    """Against torch's own gradients of the second box's score with respect to what the backbone puts out."""
    torch.manual_seed(0)
    net = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4, box_score_thresh=0.0, min_size=96, max_size=128
    ).eval()
    found = fmap.cam(net, PICTURE, box=1, steps=0, say=lambda _: None)
    features: dict[str, Tensor] = {}
    hook = net.backbone.register_forward_hook(lambda _module, _given, output: features.update(output))
    score = net([torch.from_numpy(PICTURE).permute(2, 0, 1) / 255])[0]["scores"][1]
    hook.remove()
    gradients = torch.autograd.grad(score, list(features.values()), allow_unused=True)
    expected = {
        f"backbone.{name}": (gradient.relu() * values).sum(1).detach().numpy()
        for (name, values), gradient in zip(features.items(), gradients, strict=True)
        if gradient is not None and bool(gradient.any())
    }
    assert {each.layer.name for each in found.levels} == set(expected)
    assert (found.method, found.target.number, found.target.value) == (
        "layercam",
        1,
        pytest.approx(float(score.detach())),
    )
    for each in found.levels:
        theirs = expected[each.layer.name]
        assert np.abs(each.map - theirs).max() <= 1e-4 * np.abs(theirs).max()
    assert sum(each.share for each in found.levels) == pytest.approx(1)
    assert found.figure().image().width > 0


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"class_": 3}, FmapError, "no class 3"),
        ({"layer": "5"}, LayerError, "layer '5' has no places to lay evidence on"),
        ({"layer": "7"}, LayerError, "layer '7' has no places"),
        ({"layer": "nowhere"}, LayerError, "no layer 'nowhere'"),
        ({"layer": "*"}, LayerError, "evidence is read from one layer, and these are"),
        ({"box": 0}, FmapError, "box is for detectors"),
        ({"method": "best"}, FmapError, "method is 'best': it has to be one of None, 'gradcam'"),
        ({"steps": -1}, FmapError, "steps is -1"),
    ],
)
def test_what_cannot_be_is_an_error_in_words(asked: Any, error: type[FmapError], words: str) -> None:
    with pytest.raises(error) as raised:
        cam(session(small()), **asked)
    assert words in str(raised.value)


def test_networks_without_class_scores_or_maps_are_errors_in_words() -> None:
    with pytest.raises(ModelError, match="is not a classifier"):
        cam(session(nn.Sequential(small()[:4], nn.Flatten(2))))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(24 * 32 * 3, 2))
    with pytest.raises(LayerError, match="has a map as its output, so there are no places"):
        cam(session(flat))


def test_values_that_are_not_finite_are_an_error_and_no_map() -> None:
    net = small()
    with torch.no_grad():
        net[3].weight[0] = torch.nan
        net[7].weight[:, 0] = 0
    with pytest.raises(FmapError, match="not finite"):
        cam(session(net))


def test_files_hold_what_the_record_holds(tmp_path: Any) -> None:
    found = cam(session(small()), steps=3)
    with np.load(found.save(tmp_path / "cam.npz")) as held:
        assert np.array_equal(held["map"], found.map)
        assert np.array_equal(held[f"{found.layer.name}.weights"], found.levels[0].weights)
        assert held["insertion"].shape == (4,)
    rows = found.csv().splitlines()
    assert rows[0] == "frame,row,column,evidence"
    assert len(rows) == 1 + found.map.size


@pytest.mark.slow
@pytest.mark.parametrize(("make", "layer", "cells"), [(vit_b_16, "ln_1", 14), (swin_t, "norm", 7)])
def test_transformers_have_their_map_at_the_layer_that_the_answer_reads(make: Any, layer: str, cells: int) -> None:
    torch.manual_seed(0)
    net = make().eval()
    for each in net.modules():
        if isinstance(each, nn.Linear):
            nn.init.normal_(each.weight, std=0.02)  # torchvision begins with a head of zeros
    found = cam(session(net, size=224))
    assert found.layer.name.rpartition(".")[2] == layer
    assert found.map.shape == (1, cells, cells)
    assert found.sign != "zero"


NETS = {"resnet18": "layer4", "vgg11_bn": "features", "mobilenet_v3_small": "features", "convnext_tiny": "features"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), [*NETS.items(), ("regnet_y_400mf", "trunk_output")])
def test_equals_captum_and_torch_cam(name: str, layer: str) -> None:
    captum, torchcam = pytest.importorskip("captum.attr"), pytest.importorskip("torchcam.methods")
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).eval()
    opened = session(net, size=224)
    given = read_image(opened, str(_COFFEE), lambda _: None).tensor[None]

    def found(**asked: Any) -> np.ndarray:
        return fmap.cam(opened, _COFFEE, layer, class_=7, steps=0, say=lambda _: None, **asked).map[0]

    expected = captum.LayerGradCam(net, net.get_submodule(layer)).attribute(given, target=7)[0, 0].detach().numpy()
    assert np.abs(found() - expected).max() <= 1e-4 * np.abs(expected).max()
    for method, wanted in (("gradcam", torchcam.GradCAM), ("layercam", torchcam.LayerCAM)):
        with wanted(net, layer) as extractor:
            theirs = extractor(7, net(given), normalized=False)[0][0].detach().numpy()
        assert np.abs(found(method=method, positive=True) - theirs).max() <= 1e-4 * np.abs(theirs).max()


FAMILIES = {
    "alexnet": "features",
    "vgg11": "features",
    "resnet18": "layer4",
    "resnext50_32x4d": "layer4",
    "densenet121": "relu",
    "squeezenet1_1": "classifier.2",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "mobilenet_v2": "features",
    "mobilenet_v3_small": "features",
    "shufflenet_v2_x0_5": "conv5",
    "mnasnet0_5": "layers",
    "regnet_y_400mf": "trunk_output",
    "efficientnet_b0": "features",
    "efficientnet_v2_s": "features",
    "convnext_tiny": "features",
    "swin_t": "norm",
    "swin_v2_t": "norm",
    "maxvit_t": "blocks.3",
    "r3d_18": "layer4",
    "fcn_resnet50": "backbone.layer4",
    "deeplabv3_mobilenet_v3_large": "backbone.16",
    "lraspp_mobilenet_v3_large": "backbone.16",
    "ssdlite320_mobilenet_v3_large": "backbone.0",
    "timm:vit_tiny_patch16_224": "blocks.11.norm1",
    "timm:deit_tiny_patch16_224": "blocks.11.norm1",
    "timm:cait_xxs24_224": "blocks_token_only.1.norm1",
    "timm:xcit_nano_12_p16_224": "cls_attn_blocks.1.norm1",
    "timm:swin_tiny_patch4_window7_224": "norm",
    "timm:convnext_atto": "stages",
    "timm:poolformer_s12": "stages",
    "timm:coatnet_nano_rw_224": "norm",
    "timm:mobilevit_xxs": "final_conv",
    "timm:efficientformer_l1": "norm",
    "timm:pvt_v2_b0": "stages",
    "timm:levit_128s": "stages",
    "timm:nfnet_l0": "final_act",
    "timm:hrnet_w18_small": "final_layer",
    "timm:davit_tiny": "stages",
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), FAMILIES.items())
def test_the_layer_that_is_chosen_of_every_family(name: str, layer: str) -> None:
    """Read by a person: each is the last map before pooling, or what the last attention of a class token reads."""
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    random = fmap.load_model(name, weights="random", say=lambda _: None)
    found = fmap.cam(random, ROOT / "sample_images" / "chelsea.png", steps=0, say=lambda _: None)
    assert found.layer.name == layer
    assert found.sign != "zero"
    assert np.isfinite(found.map).all()


def test_curves_of_any_number_say_nothing_where_blurring_hardly_moves_it() -> None:
    places = np.linspace(0, 1, 5)
    up = np.array([0.5, 0.5005, 0.501, 0.5015, 0.502])
    random = np.stack([np.full(5, 0.5005)])
    assert Trust(places, up[::-1], up, random, (2, 2), "value").verdict == "none"  # 0.4 % of the number
    assert (
        Trust(places, 100 * (up[::-1] - 0.5), 100 * (up - 0.5), 100 * (random - 0.5), (2, 2), "value").verdict != "none"
    )
