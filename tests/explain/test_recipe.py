"""What a value is made of further back, and what becomes of it: both re-add, and are torch's own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fmap_cli as fmap
from fmap_cli.explain.recipe import _Recipe
from fmap_cli.explain.records import Explanation, Part

COFFEE = "sample_images/coffee.png"


def quiet(model: Any, layer: str, **asked: Any) -> Explanation:
    return fmap.explain(model, None, layer, say=lambda _: None, **asked)


def opened(net: nn.Module, size: int = 32, dtype: str = "float64") -> Any:
    return fmap.load_model(net, size=size, mean=0.5, std=0.5, dtype=dtype, say=lambda _: None)


def check_adds_up(part: Part, relative: float = 1e-12) -> int:
    """Every node's parts add up to it; returns how many nodes have parts."""
    count = 0
    for each in part.walk():
        if each.parts:
            scale = max(abs(each.contribution), max(abs(one.contribution) for one in each.parts))
            assert sum(one.contribution for one in each.parts) == pytest.approx(each.contribution, abs=relative * scale)
            count += 1
    return count


def rounding(part: Part) -> float:
    return max((abs(each.contribution) for each in part.walk() if "rounding" in each.words), default=0.0)


class Residual(nn.Module):
    """A stem, a block with a skip, and a head, with a ReLU in place and statistics that are no zeros and ones."""

    def __init__(self, act: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, stride=2)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.norm = norm or nn.BatchNorm2d(6)
        self.act = act or nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.mix = nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.act(x + self.norm(self.conv(x)))
        x = self.mix(self.pool(x))
        return self.head(x.mean((2, 3)))


def residual(**parts: nn.Module) -> Residual:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = Residual(**parts).double().eval()
        if isinstance(net.norm, nn.BatchNorm2d):
            for each in (net.norm.running_mean, net.norm.weight, net.norm.bias):
                nn.init.uniform_(each, 0.2, 1.5)  # type: ignore[arg-type]
    return net


# -- backwards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["conv", "mix", "head"])
@pytest.mark.parametrize("back", [1, 2, 3])
def test_a_recipe_adds_up_to_the_value(layer: str, back: int) -> None:
    found = quiet(opened(residual()), layer, back=back)
    assert found.recipe is not None
    assert found.recipe.contribution == pytest.approx(found.value, rel=1e-12)
    assert check_adds_up(found.recipe) > 1
    assert rounding(found.recipe) < 1e-12 * found.magnitude


def test_parts_are_derivative_times_value_where_all_is_linear() -> None:
    """Without biases a part of a value is derivative times value: torch's own derivatives are the oracle."""
    net = residual(norm=nn.Identity())
    for each in (net.stem, net.conv, net.mix):
        assert each.bias is not None
        each.bias = None
    found = quiet(opened(net), "mix", back=1)
    recipe = found.recipe
    assert recipe is not None
    x = found.image.tensor.double()[None]
    stem = net.stem(x).detach().requires_grad_()
    conv = net.conv(stem).detach().requires_grad_()
    net.act.inplace = False
    value = net.mix(net.pool(net.act(stem + conv)))[(0, found.channel, *found.place)]
    value.backward()
    assert stem.grad is not None
    assert conv.grad is not None
    wanted = {"stem": stem.grad * stem, "conv": conv.grad * conv}
    seen = 0
    for term in recipe.parts:
        for source in term.parts:
            if source.kind == "channel":
                assert source.channel == term.channel
                own = float(wanted[source.layer][0, source.channel].detach().sum())
                assert source.contribution == pytest.approx(own, rel=1e-9)
                seen += 1
    assert seen >= 4


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"act": nn.SiLU()}, "SiLU"),
        ({"act": nn.GELU()}, "GELU"),
        ({"act": nn.Hardswish()}, "hard-swish"),
        ({"norm": nn.GroupNorm(2, 6)}, "GroupNorm"),
        ({"norm": nn.InstanceNorm2d(6)}, "InstanceNorm (contains this input's mean)"),
        ({"act": nn.LeakyReLU(0.2)}, "leaky ReLU"),
        ({"act": nn.ReLU6()}, "ReLU6"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_lies_between_is_said_and_adds_up(parts: dict[str, nn.Module], said: str) -> None:
    found = quiet(opened(residual(**parts)), "mix", back=2)
    assert found.recipe is not None
    check_adds_up(found.recipe)
    words = " ".join(each.words for each in found.recipe.walk())
    assert said in words
    assert rounding(found.recipe) < 1e-9 * found.magnitude


def test_a_gate_is_a_factor_and_attention_a_sum_of_its_last_layer() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3)
            self.gate = nn.Conv2d(6, 6, 1)
            self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
            self.mix = nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
            tokens = x.flatten(2).mT
            y = self.attend(tokens, tokens, tokens, need_weights=False)[0].mT.reshape(x.shape)
            return self.mix(x + y)

    torch.manual_seed(0)
    found = quiet(opened(Gated(), 12), "mix", back=1, channel=1, at=(2, 3))
    assert found.recipe is not None
    check_adds_up(found.recipe)
    words = " ".join(each.words for each in found.recipe.walk())
    assert "multiplication × " in words
    # attention runs in steps, the last of which multiplies by weights
    assert any(each.kind == "channel" and each.layer.startswith("attend") for each in found.recipe.walk())


def test_a_recipe_of_the_trained_network_reaches_the_channels_before() -> None:
    found = fmap.explain(image=COFFEE, layer="classifier.1", back=2, say=lambda _: None)
    recipe = found.recipe
    assert recipe is not None
    assert check_adds_up(recipe, 1e-9) > 10
    assert rounding(recipe) < 1e-5 * found.magnitude
    first = recipe.parts[0]
    assert (first.kind, first.channel) == ("channel", found.terms[0].channel)
    source = first.parts[0]
    assert source.layer == "features.8.0"
    assert source.channel == first.channel
    assert source.words == "BatchNorm → ReLU6 → mean"
    assert source.map is not None
    assert source.map.shape == (7, 7)
    assert any(each.kind == "rest" and each.count == 1277 for each in recipe.parts)


# -- onwards -------------------------------------------------------------------------------------------------------


def test_each_step_is_what_the_network_computed() -> None:
    net = residual()
    found = quiet(opened(net), "conv", through=True)
    x = found.image.tensor.double()[None]
    net.act.inplace = False
    with torch.no_grad():
        stem = net.stem(x)
        normed = net.norm(net.conv(stem))
        added = stem + normed
        at = (0, found.channel, *found.place)
        wanted = [float(normed[at]), float(added[at]), float(net.act(added)[at])]
    assert [each.operation for each in found.steps[:3]] == ["BatchNorm", "addition", "ReLU"]
    np.testing.assert_allclose([each.after for each in found.steps[:3]], wanted, rtol=1e-12)
    assert found.steps[0].before == found.value
    assert found.steps[3].operation == "max pooling"
    assert found.stopped in ("Next it is read by mix.", "Another value goes on from here.")


@pytest.mark.parametrize(
    ("layers", "operations"),
    [
        ([nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AvgPool2d(2)], ["SiLU", "average pooling"]),
        ([nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.GELU()], ["GroupNorm", "GELU"]),
        ([nn.Conv2d(3, 4, 3), nn.Hardtanh(-1, 2), nn.AdaptiveAvgPool2d(1)], ["hard-tanh", "mean"]),
        ([nn.Conv2d(3, 4, 3), nn.PReLU(), nn.Flatten(), nn.LayerNorm(4 * 30 * 30)], ["PReLU", "LayerNorm"]),
        ([nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.PixelShuffle(2)], ["leaky ReLU"]),
        ([nn.ConvTranspose2d(3, 4, 3), nn.ReLU6(), nn.MaxPool2d(3, 2)], ["ReLU6", "max pooling"]),
    ],
    ids=lambda each: each[-1] if isinstance(each[0], str) else "",
)
def test_steps_of_every_kind_end_at_the_networks_own_output(layers: list[nn.Module], operations: list[str]) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(*layers).double()
    found = quiet(opened(net), "0", through=True)
    assert [each.operation for each in found.steps] == operations
    x = found.image.tensor.double()[None]
    with torch.no_grad():
        outputs = [x]
        for layer in net:
            outputs.append(layer(outputs[-1]))
    for step in found.steps:
        layer = outputs[int(step.layer) + 1]
        assert bool((layer == step.after).any()), step
    assert found.stopped.startswith("No further layer reads it")
    assert found.value == float(outputs[1].max())


def test_a_concatenation_says_which_channel_it_becomes() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)
            self.last = nn.Conv2d(6, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([self.a(x), self.b(x)], 1))

    found = quiet(opened(Joined(), 8), "b", through=True, channel=3, at=(1, 2))
    (step,) = found.steps
    assert (step.operation, step.channel, step.place) == ("concatenation", 5, (1, 2))
    assert "channel 3 of its part becomes channel 5" in step.formula
    assert found.stopped == "Next it is read by last."


def test_of_several_concatenations_the_last_is_taken_and_the_others_are_counted() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 2, 1), nn.Conv2d(5, 2, 1), nn.Conv2d(7, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            b = self.b(torch.cat([x, a], 1))
            return self.c(torch.cat([x, a, b], 1))

    found = quiet(opened(Dense(), 8), "a", through=True, channel=1, at=(0, 0))
    (step,) = found.steps
    assert (step.channel, step.note) == (
        4,
        "part 2 of 3, channels 3 to 4 of the whole; 1 earlier concatenation reads it, too",
    )


def test_a_token_put_before_the_others_moves_them_on() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.token = nn.Conv2d(3, 4, 2, stride=2), nn.Parameter(torch.full((1, 1, 4), 27.0))
            self.mix = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(torch.cat([self.token, self.patches(x).flatten(2).mT], 1))

    found = quiet(opened(Tokens(), 8), "patches", through=True, channel=3, at=(1, 2))
    (step,) = found.steps
    assert step.after == found.value
    assert step.formula.startswith("item 6 of its part becomes item 7: ")
    assert step.note == "part 2 of 2, items 1 to 16 of the whole"


def test_a_value_that_loses_a_maximum_goes_no_further() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.MaxPool2d(2), nn.ReLU())
    found = quiet(opened(net, 8), "0", through=True, at="min")
    assert found.steps[-1].operation == "max pooling"
    assert "another value of the window is larger" in found.steps[-1].note
    assert found.stopped == "Another value goes on from here."


# -- ways that fork, join and get lost -------------------------------------------------------------------------------


class Ways(nn.Module):
    """Two norms one after another, a value that goes on by two ways at once, and a product with another map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 1, 3)
        self.norms = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
        self.mix = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.norms(x) + 2 * x.clamp(-0.5, 0.5)
        return self.mix(y) + (x * self.other(image)).mean()


def ways() -> Ways:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = Ways().double().eval()
        for norm in (net.norms[0], net.norms[2]):
            for each in (norm.running_mean, norm.weight, norm.bias):
                nn.init.uniform_(each, 0.2, 1.5)
    return net


def test_a_value_that_goes_on_by_two_ways_is_counted_by_both() -> None:
    found = quiet(opened(ways(), 16), "mix", back=1, channel=1, at=(3, 4))
    assert found.recipe is not None
    check_adds_up(found.recipe)
    assert rounding(found.recipe) < 1e-12 * found.magnitude
    sources = [each for term in found.recipe.parts for each in term.parts if each.kind == "channel"]
    assert {each.layer for each in sources} == {"stem"}


def test_a_product_with_another_map_is_a_fork_and_no_gate() -> None:
    found = quiet(opened(ways(), 16), "stem", through=True)
    assert found.steps == ()
    assert found.stopped.startswith("Here it is read by norms.0, ")


def test_what_was_written_in_parts_is_not_followed_and_not_taken_for_a_constant() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mix = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            whole = torch.zeros_like(x)
            whole[:, :2] = x[:, :2].relu()
            whole[:, 2:] += x[:, 2:]
            return self.mix(whole)

    found = quiet(opened(Written().double(), 12), "mix", back=1, at="max")
    assert abs(found.difference) < 1e-12
    assert found.recipe is not None
    check_adds_up(found.recipe)
    assert "cannot be followed further back" in found.table()


class Weighed(nn.Module):
    """Weights that multiply from the left, before a convolution: how they go over the input is not known."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem, self.mix = nn.Conv2d(3, 6, 4, stride=4), nn.Conv2d(6, 4, 1)
        self.weight = nn.Parameter(torch.rand(6, 6) + 0.5)
        self.shift = nn.Parameter(torch.rand(1, 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.how == "einsum":
            return self.mix(torch.einsum("bchw,dc->bdhw", x, self.weight))
        return self.mix(torch.baddbmm(self.shift, self.weight[None], x.flatten(2)).reshape(x.shape))


@pytest.mark.parametrize("how", ["einsum", "baddbmm"])
def test_a_product_that_cannot_be_taken_apart_is_an_end_and_no_rounding(how: str) -> None:
    torch.manual_seed(0)
    recipe = quiet(opened(Weighed(how), 16), "mix", back=1, channel=1, at=(2, 3)).recipe
    assert recipe is not None
    check_adds_up(recipe)
    assert rounding(recipe) < 1e-12
    assert any(each.kind == "end" and "not taken apart" in each.words for each in recipe.walk())


def test_what_is_too_much_for_rounding_is_not_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Recipe, "_end", lambda self, found: Part("end", 0.0))
    torch.manual_seed(0)
    recipe = quiet(opened(Weighed("einsum"), 16), "mix", back=1, channel=1, at=(2, 3)).recipe
    assert recipe is not None
    check_adds_up(recipe)
    assert rounding(recipe) < 1e-12
    assert "what could not be split" in [each.words for each in recipe.walk()]


@pytest.mark.parametrize(("last", "limit"), [(nn.ReLU6(), 6.0), (nn.Hardtanh(), 1.0), (nn.Hardtanh(-3, 4), 4.0)])
def test_a_value_at_its_activations_limit_is_said_to_be_held_there(last: nn.Module, limit: float) -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), last, nn.Conv2d(1, 1, 1, bias=False)).eval()
    with torch.no_grad():
        net.get_parameter("0.weight").fill_(10)
        net.get_parameter("2.weight").fill_(0.5)
    image = torch.ones(1, 1, 8, 8)
    model = fmap.load_model(net, input_shape=(1, 8, 8), say=lambda _: None)
    found = fmap.explain(model, image, "2", at=(3, 3), channel=0, back=1, say=lambda _: None)
    assert found.recipe is not None
    parts = [each for term in found.recipe.parts for each in term.parts]
    held = [each for each in parts if each.kind == "constant"]
    assert [each.contribution for each in held] == [0.5 * limit]
    assert held[0].words.startswith(f"held at {limit:g} by ")
