"""One value of a convolution or a linear layer as bias + Σ W · X, held against torch on one patch and against loops."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from itertools import product as every
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fmap_cli as fmap
from fmap_cli.errors import LayerError
from fmap_cli.explain.records import Explanation
from fmap_cli.explain.words import in_lines, subject
from fmap_cli.session.passes import network_inputs


def explained(net: nn.Module, shape: Sequence[int], layer: str, dtype: str = "float64", **asked: Any) -> Explanation:
    """A unit of a network that is fed noise of this shape (without the batch)."""
    said: list[str] = []
    model = fmap.load_model(net, input_shape=tuple(shape), dtype=dtype, say=said.append)
    return fmap.explain(model, None, layer, say=said.append, **asked)


def seeded(*layers: nn.Module) -> nn.Sequential:
    """The layers with weights, biases and statistics that are no zeros and ones."""
    net = nn.Sequential(*layers).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, each in [*net.named_parameters(), *net.named_buffers()]:
            if each.is_floating_point():
                each.copy_(
                    torch.rand(each.shape, generator=generator, dtype=each.dtype) - (0.0 if "var" in name else 0.4)
                )
    return net.eval()


def read_by(net: nn.Module, found: Explanation) -> Tensor:
    """What the network was fed, `[1, …]` float64."""
    assert found.origin.takes is not None
    model = fmap.load_model(net, input_shape=found.origin.takes.shapes[0], dtype="float64", say=lambda _: None)
    (x,) = network_inputs(model, [found.image])
    assert isinstance(x, Tensor)
    return x


def check(found: Explanation, value: float) -> None:
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.total == pytest.approx(value, rel=1e-12)
    assert found.total == pytest.approx(float((found.patches * found.kernels).sum()) + found.bias, rel=1e-12)


# -- every kind, against a loop over the formula -------------------------------------------------------------------


def by_the_formula(conv: Any, x: Tensor, channel: int, place: Sequence[int]) -> dict[int, float]:
    """Each input channel's term of one value, in the words of the definition: loops over the kernel's cells."""
    rank = len(conv.kernel_size)
    per_group_out = conv.out_channels // conv.groups
    per_group_in = conv.in_channels // conv.groups
    group = channel // per_group_out
    terms: dict[int, float] = {}
    for c in range(group * per_group_in, (group + 1) * per_group_in):
        total = 0.0
        for cell in every(*(range(each) for each in conv.kernel_size)):
            at = []
            for axis in range(rank):
                stride, padding, dilation = conv.stride[axis], conv.padding[axis], conv.dilation[axis]
                if isinstance(conv, nn.modules.conv._ConvTransposeNd):
                    shifted = place[axis] + padding - cell[axis] * dilation
                    at.append(shifted // stride if shifted % stride == 0 else -1)
                else:
                    at.append(place[axis] * stride - padding + cell[axis] * dilation)
            if any(not 0 <= each < x.shape[axis + 2] for axis, each in enumerate(at)):
                continue
            if isinstance(conv, nn.modules.conv._ConvTransposeNd):
                weight = conv.weight[(c, channel % per_group_out, *cell)]
            else:
                weight = conv.weight[(channel, c % per_group_in, *cell)]
            total += weight.item() * x[(0, c, *at)].item()
        terms[c] = total
    return terms


KINDS: dict[str, tuple[Any, tuple[int, ...], int, tuple[int, ...]]] = {
    "plain": (nn.Conv2d(3, 4, 3), (3, 8, 9), 2, (1, 4)),
    "padding at the corner": (nn.Conv2d(3, 4, 3, padding=1), (3, 8, 9), 2, (0, 8)),
    "stride and uneven padding": (nn.Conv2d(3, 4, (3, 5), stride=(2, 3), padding=(1, 2)), (3, 12, 12), 1, (0, 3)),
    "dilation": (nn.Conv2d(3, 4, 3, dilation=2, padding=2), (3, 8, 9), 3, (7, 0)),
    "groups": (nn.Conv2d(6, 4, 3, groups=2), (6, 8, 9), 3, (2, 2)),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3, padding=1), (3, 8, 9), 5, (0, 0)),
    "1 x 1": (nn.Conv2d(3, 4, 1), (3, 8, 9), 0, (7, 8)),
    "no bias": (nn.Conv2d(3, 4, 3, bias=False), (3, 8, 9), 0, (5, 5)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 5, 6), 1, (4, 7)),
    "transposed, groups, dilation": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, dilation=2), (4, 5, 6), 4, (3, 8)),
    "transposed, a place that nothing reaches": (nn.ConvTranspose2d(3, 2, 1, stride=3), (3, 5, 6), 1, (1, 1)),
    "1-D": (nn.Conv1d(3, 4, 5, stride=2, padding=2), (3, 20), 1, (0,)),
    "3-D": (nn.Conv3d(3, 4, (2, 3, 3), padding=(0, 1, 1)), (3, 4, 6, 7), 2, (1, 0, 6)),
    "transposed 1-D": (nn.ConvTranspose1d(3, 4, 4, stride=2), (3, 9), 3, (5,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_terms_are_those_of_the_formula(kind: str) -> None:
    conv, shape, channel, place = KINDS[kind]
    net = seeded(conv)
    found = explained(net, shape, "0", channel=channel, at=place)
    x = read_by(net, found)
    with torch.no_grad():
        value = float(net(x)[(0, channel, *place)])
    terms = by_the_formula(conv, x, channel, place)
    check(found, value)
    assert found.place == place
    assert [*found.inputs] == sorted(terms)
    np.testing.assert_allclose(found.contributions, [terms[each] for each in found.inputs], rtol=1e-12, atol=1e-15)
    assert found.bias == (0.0 if conv.bias is None else conv.bias[channel].item())
    assert {each.channel for each in found.terms} == set(terms)


@pytest.mark.parametrize("place", [(0, 0), (3, 2)])
def test_a_patch_is_what_torch_convolves(place: tuple[int, int]) -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1)
    found = explained(seeded(conv), (3, 8, 9), "0", channel=1, at=place)
    one = F.conv2d(torch.from_numpy(found.patches)[None], conv.weight[1:2].detach(), conv.bias[1:2].detach())
    assert float(one) == pytest.approx(found.value, rel=1e-12)
    assert found.reads == tuple(tuple(range(each - 1, each + 2)) for each in place)


def test_a_linear_layer_multiplies_its_inputs() -> None:
    linear = nn.Linear(12, 5)
    net = seeded(nn.Flatten(), linear)
    found = explained(net, (3, 2, 2), "1", channel=3)
    x = read_by(net, found).flatten()
    check(found, linear(x)[3].item())
    np.testing.assert_allclose(found.contributions, (linear.weight[3].detach() * x).numpy(), rtol=1e-12)
    assert found.place == ()
    assert found.settings.in_words == "linear, 12 inputs → 5"


def test_inputs_of_a_flattened_map_are_named_by_channel_and_place() -> None:
    net = seeded(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 5 * 6, 2))
    found = explained(net, (3, 7, 8), "2", channel=1, top=10)
    maps = net[0](read_by(net, found))[0].detach()
    assert len(found.map_inputs) == 10
    for term in found.terms:
        channel, place = found.map_inputs[term.channel]
        assert term.channel == channel * 30 + place[0] * 6 + place[1]
        assert float(term.patch) == pytest.approx(maps[(channel, *place)].item(), rel=1e-12)
    assert re.search(r"channel \d at \d,\d$", found.table(), re.MULTILINE)
    assert found.document()["terms"][0]["map_channel"] == found.map_inputs[found.terms[0].channel][0]


def test_a_linear_layer_over_places_is_asked_by_its_place() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x.permute(0, 2, 3, 1))

    net = Last().double()
    found = explained(net, (3, 6, 7), "mix", channel=2, at=(4, 5), layout="BHWC")
    x = read_by(net, found)[0, :, 4, 5]
    check(found, net.mix(x)[2].item())


def test_weights_are_those_that_ran() -> None:
    """Whatever makes a convolution's weights, or pads its input: what is looked at is the convolution itself."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3, stride=2))
            self.own = nn.Parameter(torch.rand(4, 4, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.normed(F.pad(x, (0, 1, 0, 1)))  # TensorFlow's SAME: the odd pixel goes to the bottom and right
            weight = self.own - self.own.mean((1, 2, 3), keepdim=True)
            return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight)

    net = Made().double()
    same = explained(net, (3, 8, 8), "normed", channel=1, at=(3, 3))
    x = F.pad(read_by(net, same), (0, 1, 0, 1))
    with torch.no_grad():
        check(same, float(net.normed(x)[0, 1, 3, 3]))
        assert same.reads == ((6, 7, 8), (6, 7, 8))
        found = explained(net, (3, 8, 8), "conv2d", channel=2, at=(0, 3))
        check(found, float(net(read_by(net, found))[0, 2, 0, 3]))
    assert (found.patches != 0).all(), "reflected, not zeros"


def test_what_is_done_in_place_afterwards_changes_nothing() -> None:
    net = seeded(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    found = explained(net, (3, 6, 6), "0", at="min")
    with torch.no_grad():
        value = float(net[0](read_by(net, found)).min())
    assert value < 0
    check(found, value)


def test_channels_last_and_lower_precision_are_taken_as_they_ran() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3))
    said: list[str] = []
    for options in ({"memory_format": "channels_last"}, {"dtype": "bfloat16"}):
        model = fmap.load_model(net, input_shape=(3, 9, 9), say=said.append, **options)  # type: ignore[arg-type]
        found = fmap.explain(model, None, "0", say=said.append)
        tolerance = 1e-5 if "memory_format" in options else 2**-8
        assert abs(found.difference) <= tolerance * (found.magnitude + abs(found.bias))
    assert found.dtype == "bfloat16"


# -- which unit ----------------------------------------------------------------------------------------------------


def test_the_unit_is_the_largest_the_smallest_or_the_one_asked_for() -> None:
    net = seeded(nn.Conv2d(3, 4, 3))
    y = net(read_by(net, explained(net, (3, 7, 8), "0")))[0].detach().numpy()
    for at, best in (("max", y.argmax()), ("min", y.argmin())):
        found = explained(net, (3, 7, 8), "0", at=at)
        assert (found.channel, *found.place) == tuple(int(each) for each in np.unravel_index(best, y.shape))
    found = explained(net, (3, 7, 8), "0", at=(2, 3))
    assert found.channel == y[:, 2, 3].argmax()
    found = explained(net, (3, 7, 8), "0", channel=1, at="max")
    assert found.value == y[1].max()


def test_terms_are_listed_by_size_with_their_shares() -> None:
    net = seeded(nn.Conv2d(8, 2, 1))
    found = explained(net, (8, 4, 4), "0", top=3)
    sizes = np.sort(abs(found.contributions))[::-1]
    np.testing.assert_allclose([abs(each.contribution) for each in found.terms], sizes[:3])
    np.testing.assert_allclose([each.cumulative or 0 for each in found.terms], np.cumsum(sizes)[:3] / sizes.sum())
    count, rest = found.rest
    assert count == 5
    assert rest + sum(each.contribution for each in found.terms) == pytest.approx(float(found.contributions.sum()))
    assert found.cancelled == pytest.approx(1 - abs(found.contributions.sum()) / sizes.sum())


def test_not_a_number_is_named() -> None:
    net = seeded(nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        net[0].weight[1, 2] = float("nan")
        net[0].weight[1, 3] = float("inf")
    found = explained(net, (4, 4, 4), "0", channel=1, at=(0, 0))
    assert found.not_finite == (2, 3)
    assert all(each.share is None for each in found.terms)
    text = found.table()
    assert "2 of 4 terms are NaN or infinite: input channels 2, 3" in text
    assert found.document()["terms"][0]["contribution"] is None
    assert found.figure().image().width > 500


# -- what cannot be asked ------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.table = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.again(self.again(x))
        return x.mean((2, 3)) + self.table(torch.ones(1, 3, dtype=x.dtype)).sum()


@pytest.mark.parametrize(
    ("layer", "asked", "says"),
    [
        ("relu", {}, ["multiplies by no weights: it is ReLU, made of the output of conv", "--layer conv --through"]),
        ("mean", {}, ["is mean, made of the output of again_1"]),
        ("x", {}, ["is the network's input"]),
        ("table", {}, ["does not depend on the image"]),
        ("conv", {"channel": 4}, ["has 4 channels; there is no channel 4", "0 to 3"]),
        ("conv", {"at": (6, 0)}, ["there is no place 6,0", "rows 0 to 5, columns 0 to 6"]),
        ("conv", {"at": (1, 2, 3)}, ["there is no place 1,2,3"]),
        ("*conv*", {}, []),
        ("*", {}, ["layers match"]),
        ("convv", {}, ["no layer 'convv'", "conv"]),
    ],
)
def test_what_cannot_be_explained_says_what_can(layer: str, asked: dict[str, Any], says: list[str]) -> None:
    if not says:
        assert explained(Block(), (3, 6, 7), layer, **asked).layer.name == "conv"
        return
    with pytest.raises(LayerError) as error:
        explained(Block(), (3, 6, 7), layer, **asked)
    for each in says:
        assert each in f"{error.value.message} {error.value.hint}"


def test_a_layer_reached_twice_is_two_layers_and_says_so() -> None:
    first = explained(Block(), (3, 6, 7), "again", at=(1, 1))
    second = explained(Block(), (3, 6, 7), "again_1", at=(1, 1))
    assert first.notes == ("again runs 2 times in this pass (again, again_1): this is call 1",)
    assert "call 2" in second.notes[0]
    assert first.input_layer == "relu"
    assert second.input_layer == "again"


def test_a_block_names_what_can_be_explained_in_it() -> None:
    for last, word in ((nn.ReLU(), "ReLU"), (nn.BatchNorm2d(4), "BatchNorm"), (nn.InstanceNorm2d(4), "InstanceNorm")):
        net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), last)).eval()
        with pytest.raises(
            LayerError, match=rf"more than one step, the last of them {word};(.|\n)*Inside there is 0\.0"
        ):
            explained(net, (3, 6, 6), "0")


def test_what_runs_in_one_piece_is_named() -> None:
    class Attends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(2)
            return x @ x.mT

    with pytest.raises(LayerError, match="in one piece, a product of two maps"):
        explained(Attends(), (3, 6, 6), "matmul")


def test_a_network_that_does_other_things_each_time_is_refused() -> None:
    class Moody(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            Moody.calls += 1
            y = self.conv(x)
            return y.relu() if Moody.calls % 2 else y.exp()

    with pytest.raises(fmap.FmapError, match="did not do the same in a second pass"):
        explained(Moody(), (3, 6, 6), "conv")


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_encoder_layer_is_explained_in_steps_and_torchs_fast_path_is_as_it_was(wrapped: bool) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            one = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
            self.encoder = nn.TransformerEncoder(one, 1, enable_nested_tensor=False) if wrapped else one

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.encoder(x.flatten(2).mT)
            return found

    torch.manual_seed(0)
    net = Tokens().double().eval()
    layer = net.encoder.layers[0] if wrapped else net.encoder
    before = torch.backends.mha.get_fastpath_enabled()
    found = explained(net, (6, 3, 3), f"encoder{'.layers.0' * wrapped}.linear1", channel=2, at=(1, 1))
    assert torch.backends.mha.get_fastpath_enabled() == before
    x, kept = read_by(net, found), list[Tensor]()
    handle = layer.linear1.register_forward_hook(lambda *seen: kept.append(seen[2]))  # torch runs in steps then, too
    net(x)
    handle.remove()
    check(found, float(kept[0][0, 4, 2].detach()))


def test_a_class_without_a_name_is_a_score_and_one_value_is_no_largest() -> None:
    net = seeded(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    score, place = explained(net, (3, 6, 6), "3", channel=2), explained(net, (3, 6, 6), "0", channel=2)
    assert (subject(score), score.picked) == ("the score of class 2", "as asked")
    assert (subject(place), place.picked) == ("channel 2", "the largest value of channel 2")
    assert explained(net, (3, 6, 6), "3").picked == "the largest value of the layer"


def test_chance_is_the_same_in_both_passes() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x + torch.randn_like(x))

    found = explained(Noisy(), (3, 6, 6), "conv", at="max")
    assert found.value == pytest.approx(float(found.map.max()) if found.map is not None else 0, rel=1e-6)


class Attends(nn.Module):
    """Attention whose heads are put together by a view, which needs them to lie in memory as they did."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.qkv, self.proj = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 24), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.proj(x.view(*x.shape[:2], 8))


@pytest.mark.parametrize("layer", ["qkv", "proj"])
def test_a_layer_of_attention_is_explained_wherever_its_numbers_lie_in_memory(layer: str) -> None:
    torch.manual_seed(1)
    model = fmap.load_model(Attends(), size=16, mean=0.5, std=0.5, say=lambda _: None)
    found = fmap.explain(model, None, layer, through=True, back=1, say=lambda _: None)
    assert found.total == pytest.approx(found.value, rel=1e-5)
    assert found.recipe is not None


class MixesTokens(nn.Module):
    """A linear layer over the places of a map; what it puts out is laid out by channel again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 6, 8, stride=8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.stem(x).flatten(2))


def test_the_formula_has_the_row_of_the_weights_that_was_multiplied() -> None:
    torch.manual_seed(1)
    net = MixesTokens().double().eval()
    found = explained(net, (3, 16, 16), "mix", channel=5, back=1)
    row = next(at for at in range(3) if np.allclose(found.kernels, net.mix.weight[at].detach()))
    assert f"W[{row},k]" in found.document()["formula_with_numbers"]
    assert found.recipe is not None
    assert found.recipe.channel == row


@pytest.mark.parametrize(
    "formula",
    [
        "0.081 + 0.178 × X[1213] + 0.166 × X[565] - 0.0998 × X[933] + 0.143 × X[1143] + …",
        "BatchNorm (features.0.1): (7.4427 - 0.3739) / √(4.084 + 0.001) × 0.969 + 0.3729 = 3.7621",
        "Y[o,i,j] = b[o] + Σc Σu Σv W[o,c,u,v] · X[c, 2i+u, 2j+v]",
    ],
)
def test_a_formula_is_broken_between_terms_alone(formula: str) -> None:
    for width in range(50, 100):
        lines = in_lines(formula, width)
        assert " ".join(lines) == formula and max(map(len, lines)) <= width
        assert all(line.count("(") == line.count(")") and line.count("[") == line.count("]") for line in lines)
        assert all(line[0] in "+-=" or before[-1] == ":" for before, line in pairwise(lines))
        assert not any(line[-1] in "+-=×·/" for line in lines)
