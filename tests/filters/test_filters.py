"""`fmap filters`: every number, tile and fold against torch and NumPy on weights of our own."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import faults
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import fmap_cli
from fmap_cli import units
from fmap_cli.drawing.scene import Picture, Text
from fmap_cli.errors import FmapError, LayerError
from fmap_cli.filters.alike import DEAD_SHARE, SAME_SHARE, compare
from fmap_cli.filters.files import write_figures
from fmap_cli.filters.numbers import kernel_numbers
from fmap_cli.filters.records import Drawing, Filters, Finding, Kernels
from fmap_cli.filters.weights import in_one_form, plain_weights
from fmap_cli.health import Thresholds

Run = Callable[..., Any]


def quiet(_sentence: str) -> None:
    pass


def kernels_of(net: nn.Module, layer: str, size: int = 16, **options: Any) -> Kernels:
    """The kernels of one layer of a network of our own."""
    model = fmap_cli.load_model(net, size=size, say=quiet)
    (found,) = fmap_cli.filters(model, layer, say=quiet, **options).layers
    return found


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode with every parameter and statistic drawn, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, each in net.state_dict().items():
            if each.is_floating_point():
                drawn = torch.randn(each.shape, generator=generator)
                each.copy_(drawn.abs() + 0.1 if name.endswith("running_var") else drawn)
    return net.eval()


# -- which weights -------------------------------------------------------------------------------------------------


def test_the_weights_of_every_kind_of_layer_have_one_form() -> None:
    net = randomised(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Conv2d(8, 12, (1, 3), padding=(0, 1), groups=4),
            nn.ConvTranspose2d(12, 6, 2, groups=3),
            nn.Conv2d(6, 4, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 5),
        )
    )
    image = torch.randn(2, 12, 7, 7)
    for name, groups in (("0", 1), ("1", 8), ("2", 4), ("4", 1), ("7", 1)):
        found = kernels_of(net, name)
        module = net.get_submodule(name)
        assert isinstance(module.weight, Tensor)
        assert np.array_equal(found.weight, module.weight.detach().numpy())
        assert (found.groups, found.transposed, found.stored) == (groups, False, tuple(module.weight.shape))
        assert np.array_equal(found.bias, module.bias.detach().numpy())  # type: ignore[union-attr,arg-type]
    # A transposed convolution of stride 1 is the convolution with its kernels turned round and padded all about.
    found = kernels_of(net, "3")
    assert found.weight.shape == (6, 4, 2, 2)
    turned = torch.from_numpy(found.weight).flip(2, 3)
    again = F.conv2d(image, turned, torch.from_numpy(found.bias), padding=1, groups=3)
    torch.testing.assert_close(again, net[3](image), rtol=1e-5, atol=1e-5)
    assert [found.inputs_of(at) for at in (0, 1, 2, 5)] == [range(4), range(4), range(4, 8), range(8, 12)]


class Standardised(nn.Conv2d):
    """A convolution that multiplies by another weight than it keeps."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.flatten(1).std(1)[:, None, None, None], self.bias)


class Own(nn.Module):
    """Weights of one's own, multiplied by functions: a convolution, and one whose kernels are made of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, self.kernels), x[:1, :1, :3, :3].repeat(2, 4, 1, 1))


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "old weight_norm", "prune", "standardised", "own"])
def test_the_weights_shown_are_those_that_act(kind: str) -> None:
    torch.manual_seed(0)
    conv: nn.Module = nn.Conv2d(3, 4, 3)
    name = "0"
    if kind == "weight_norm":
        conv = weight_norm(conv)
    elif kind == "spectral_norm":
        conv = spectral_norm(conv)
    elif kind == "old weight_norm":
        with pytest.warns(FutureWarning):
            conv = nn.utils.weight_norm(conv)
        with torch.no_grad():
            conv.weight_g.mul_(3)  # the attribute `weight` stays what it was until the next pass
    elif kind == "prune":
        prune.random_unstructured(conv, "weight", 0.5)
        with torch.no_grad():
            conv.weight_orig.mul_(3)
    elif kind == "standardised":
        conv = Standardised(3, 4, 3)
    else:
        conv, name = Own(), "0.conv2d"
    net = nn.Sequential(conv, nn.ReLU()).eval()
    before = {key: each.clone() for key, each in net.state_dict().items()}
    found = kernels_of(net, name)
    # What a layer multiplies by is what it makes of an image with a single 1 in it, without the bias.
    if kind == "own":
        acting = conv.kernels.detach()
    else:
        image = torch.zeros(3, 3, 5, 5)
        image[[0, 1, 2], [0, 1, 2], 2, 2] = 1
        with torch.no_grad():
            made = conv(image) - conv(torch.zeros(1, 3, 5, 5))  # [input channel, O, 3, 3]
        acting = made.transpose(0, 1).flip(2, 3)
    np.testing.assert_allclose(found.weight, acting.numpy(), rtol=1e-5, atol=1e-6)
    assert (found.how == "as stored") == (kind in ("old weight_norm", "prune", "own"))
    assert all(torch.equal(each, net.state_dict()[key]) for key, each in before.items())


class Positions(nn.Module):
    """A parameter of several axes that nothing is multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[..., None]


def test_a_glob_takes_what_has_kernels_and_leaves_the_rest() -> None:
    net = nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), Positions(), nn.BatchNorm2d(4), Standardised(4, 4, 3))
    model = fmap_cli.load_model(net, size=16, say=quiet)
    assert [each.layer.name for each in fmap_cli.filters(model, "*", say=quiet).layers] == ["0", "3"]
    with pytest.raises(LayerError, match=r"'1' \(Positions\) has no kernels"):
        fmap_cli.filters(model, "1", say=quiet)


def test_quantized_weights_are_integers_times_a_scale() -> None:
    conv = torch.ao.nn.quantized.Conv2d(3, 4, 3)
    weight = torch.randn(4, 3, 3, 3)
    conv.set_weight_bias(torch.quantize_per_tensor(weight, 0.02, 0, torch.qint8), torch.arange(4.0))
    found = plain_weights(conv)
    assert found is not None
    stored, bias = in_one_form(found)
    np.testing.assert_allclose(stored, (torch.round(weight / 0.02).clamp(-128, 127) * 0.02).numpy(), rtol=1e-6)
    assert bias is not None and bias.tolist() == [0, 1, 2, 3]


def test_kernels_made_of_the_picture_are_no_kernels() -> None:
    with pytest.raises(LayerError, match="made of the picture itself"):
        kernels_of(nn.Sequential(Own(), nn.ReLU()), "0.conv2d_1")


@pytest.mark.slow  # torch.export imports for seconds
def test_a_program_shows_its_weights(tmp_path: Path, fmap: Run) -> None:
    net = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 16, 16),)), "net.pt2")
    ran = fmap("filters", "net.pt2", "--layer", "0", "--save", "kernels.npz", "--fold", "--json")
    assert ran.code == 0, ran
    weight, bias = fuse_conv_bn_weights(
        *(net[0].weight, net[0].bias),
        *(net[1].running_mean, net[1].running_var, net[1].eps, net[1].weight, net[1].bias),
    )
    saved = np.load("kernels.npz")
    np.testing.assert_allclose(saved["0"], weight.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(saved["0.bias"], bias.detach().numpy(), rtol=1e-5)
    assert ran.json["layers"][0]["folded"] == "1"


@pytest.mark.slow  # another process runs the program first
def test_a_traced_program_shows_its_weights(tmp_path: Path, fmap: Run) -> None:
    net = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2)))
    torch.jit.trace(net, torch.zeros(1, 3, 16, 16)).save("net.pt")
    ran = fmap("filters", "net.pt", "--size", "16", "-l", "0", "-l", "4", "--save", "kernels.npz", "--fold", "--json")
    assert ran.code == 0, ran
    assert [(each["folded"], each["notes"]) for each in ran.json["layers"]] == [("1", []), (None, [])]
    saved = np.load("kernels.npz")
    assert np.array_equal(saved["4"], net[4].weight.detach().numpy())
    factor = net[1].weight / (net[1].running_var + net[1].eps).sqrt()
    np.testing.assert_allclose(saved["0"], (net[0].weight * factor[:, None, None, None]).detach().numpy(), rtol=1e-5)


class Failing(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("it takes something else")


def test_a_network_that_fails_shows_its_modules_and_says_what_is_not_known() -> None:
    net = Failing(nn.Conv2d(3, 4, 3), Standardised(4, 4, 3), nn.BatchNorm2d(4))
    model = fmap_cli.load_model(net, input_shape=(3, 16, 16), say=quiet)
    plain, own = fmap_cli.filters(model, ("0", "1"), fold=True, say=quiet).layers
    assert np.array_equal(plain.weight, net[0].weight.detach().numpy())  # type: ignore[operator,union-attr]
    assert not plain.reads_picture
    assert "it takes something else" in plain.not_folded
    assert "it takes something else" in own.notes[0]
    for unknown in ("conv1", "2"):
        with pytest.raises(FmapError) as raised:
            fmap_cli.filters(model, unknown, say=quiet)
        assert "0" in str(raised.value.hint) and "1" in str(raised.value.hint)


def test_without_a_convolution_the_first_linear_layer_is_shown() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 2))
    model = fmap_cli.load_model(net, input_shape=(3, 2, 2), say=quiet)
    assert [each.layer.name for each in fmap_cli.filters(model, say=quiet).layers] == ["1"]
    with pytest.raises(LayerError, match="0 convolutions"):
        fmap_cli.filters(model, "conv1", say=quiet)


# -- numbers -------------------------------------------------------------------------------------------------------


def test_numbers_are_numpys() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(7, 5, 3, 3)).astype(np.float32)
    weight[2, 0] = 0
    weight[3] *= 1e-6
    weight[4, 1, 1, 1], weight[4, 1, 1, 2] = np.nan, np.inf
    weight[5] = np.nan
    found = kernel_numbers(weight)
    rows = weight.reshape(7, -1).astype(np.float64)
    near = 1e-3 * np.abs(rows[np.isfinite(rows)]).max()
    for at, row in enumerate(rows):
        known = row[np.isfinite(row)]
        if not known.size:
            assert np.isnan([found.norm[at], found.mean[at], found.min[at], found.near_zero[at]]).all()
            continue
        assert found.norm[at] == pytest.approx(np.linalg.norm(known))
        assert found.l1[at] == pytest.approx(np.linalg.norm(known, 1))
        assert found.mean[at] == pytest.approx(known.mean())
        assert (found.min[at], found.max[at]) == (known.min(), known.max())
        assert found.zero[at] == (known == 0).mean()
        assert found.near_zero[at] == (np.abs(known) <= near).mean()
    assert found.nan.tolist() == [0, 0, 0, 0, 1, 45, 0]
    assert found.inf.tolist() == [0, 0, 0, 0, 1, 0, 0]


def test_squares_do_not_overflow() -> None:
    assert kernel_numbers(np.array([[3e200, 4e200], [3e-200, 4e-200]])).norm == pytest.approx([5e200, 5e-200])


# -- what is alike -------------------------------------------------------------------------------------------------


def brute_force(rows: np.ndarray, least: float) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    wide = rows.reshape(len(rows), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        cosines = wide @ wide.T / np.outer(np.linalg.norm(wide, axis=1), np.linalg.norm(wide, axis=1))
    pairs = [(a, b) for a in range(len(rows)) for b in range(a + 1, len(rows))]
    return {pair for pair in pairs if cosines[pair] >= least}, {pair for pair in pairs if cosines[pair] <= -least}


@pytest.mark.parametrize("block", [3, 1024])
def test_pairs_are_those_of_every_with_every(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[compare.__module__], "_BLOCK_FILTERS", block)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 4)).astype(np.float32)
    rows[17], rows[31], rows[5] = rows[3], rows[3], -2 * rows[4]
    rows[38] = rows[3] * (1 + 1e-7)
    found = compare(rows, kernel_numbers(rows), 0.9, 1e-6)
    near, flipped = brute_force(rows, 0.9)
    copies = {17, 31}  # to the last bit, so that 3 stands for them
    assert found.groups == [(3, 17, 31, 38)]
    assert {pair[:2] for pair in found.flipped} == {pair for pair in flipped if not set(pair) & copies}
    assert {pair[:2] for pair in found.near} == {pair for pair in near if not set(pair) & copies} - {(3, 38)}
    assert found.near_count == len(found.near) > 5


@pytest.mark.parametrize("shared", [0.0, 3.0])
def test_long_filters_are_compared_by_a_part_first_and_none_is_missed(shared: float) -> None:
    """With much in common every pair is a candidate, with nothing hardly any."""
    rng = np.random.default_rng(3)
    rows = (rng.normal(size=(60, 600)) + shared * rng.normal(size=600)).astype(np.float32)
    rows[7] = rows[50] + 0.05 * rows[3]
    rows[8] = -rows[51] * 4
    rows[9, ::16] = rows[10, ::16]  # alike in all that is looked at first
    least = 0.9
    found = compare(rows, kernel_numbers(rows), least, 1e-6)
    near, flipped = brute_force(rows, least)
    assert (found.near_count, found.flipped_count) == (len(near), len(flipped))
    assert {pair[:2] for pair in found.flipped} == flipped
    assert {pair[:2] for pair in found.near} <= near
    assert (7, 50) in near and (8, 51) in flipped


def test_what_is_wrong_with_planted_filters_is_said() -> None:
    conv = nn.Conv2d(3, 64, 3)
    with torch.no_grad():
        conv.weight.normal_(generator=torch.Generator().manual_seed(0))
        conv.weight[12] = conv.weight[40] = conv.weight[41]
        conv.weight[5] = 0
        conv.bias[5] = 0
        conv.weight[7] = 0.25
        conv.weight[9] = conv.weight[8] * -2
        conv.weight[20] = conv.weight[21] + 0.01 * conv.weight[22]
        conv.weight[30, 0, 0, 0], conv.weight[31, 0, 0, 0] = float("nan"), float("inf")
        conv.weight[33] *= 1e-5
    found = kernels_of(nn.Sequential(conv, nn.ReLU()), "0").findings
    said = {each.check: each for each in found}
    assert [each.check for each in found] == [
        *("nan", "inf", "dead-filters", "tiny-filters", "constant-filters"),
        *("same-filters", "near-filters", "flipped-filters"),
    ]
    assert said["same-filters"].what == "channels 12, 40 and 41 are the same filter with different biases"
    assert said["same-filters"].groups == ((12, 40, 41),)
    assert said["dead-filters"].what == "all weights of channel 5 are zero: whatever comes in, the output is 0"
    assert said["constant-filters"].channels == (7,)
    assert said["tiny-filters"].channels == (33,)
    assert [pair[:2] for pair in said["near-filters"].pairs] == [(20, 21)]
    assert [pair[:2] for pair in said["flipped-filters"].pairs] == [(8, 9)]
    assert (said["nan"].channels, said["inf"].channels) == ((30,), (31,))


@pytest.mark.parametrize("factor", [1e4, 1e-4])
def test_one_filter_far_from_all_others_is_the_one_that_is_told(factor: float) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, 3)
    with torch.no_grad():
        conv.weight[4] *= factor
    norms = conv.weight.detach().double().flatten(1).norm(dim=1)
    kernels = kernels_of(nn.Sequential(conv), "0")
    [finding] = kernels.findings
    assert finding.channels == (4,)
    others = conv.weight.detach()[[at for at in range(32) if at != 4]].double().abs()
    near = (others <= 1e-3 * others.max()).double().flatten(1).mean(1)
    assert np.allclose(np.delete(kernels.numbers.near_zero, 4), near.numpy())
    if factor < 1:
        assert (finding.check, finding.severity) == ("tiny-filters", "note")
        return
    assert (finding.check, finding.severity) == ("large-filters", "warning")
    assert f"{units.number(float(norms[4] / norms.quantile(0.5)))} times" in finding.what
    assert kernels.numbers.near_zero[4] == float((conv.weight[4].abs() <= 1e-3 * others.max()).double().mean())


@pytest.mark.parametrize(("dead", "severity"), [(1, "note"), (3, "note"), (4, "warning"), (10, "error")])
def test_dead_filters_are_as_grave_as_the_constant_channels_they_put_out(dead: int, severity: str) -> None:
    assert (Thresholds().constant_share, Thresholds().copied_share) == (DEAD_SHARE, SAME_SHARE)
    conv = nn.Conv2d(3, 10, 3)
    with torch.no_grad():
        conv.weight[:dead] = 0
    said = {each.check: each.severity for each in kernels_of(nn.Sequential(conv), "0").findings}
    assert said["dead-filters"] == severity
    if dead > 1:
        torch.nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            conv.weight[:dead] = conv.weight[0].clone()
        said = {each.check: each.severity for each in kernels_of(nn.Sequential(conv), "0").findings}
        assert said["same-filters"] == ("error" if dead == 10 else "warning")


def test_equal_kernels_over_other_inputs_are_not_the_same_filter() -> None:
    conv = nn.Conv2d(4, 8, 3, groups=4)
    with torch.no_grad():
        conv.weight[5] = conv.weight[2]  # of groups 2 and 1
        conv.weight[1] = conv.weight[0]  # both of group 0
    found = kernels_of(nn.Sequential(nn.Conv2d(3, 4, 1), conv), "1")
    said = {each.check: each for each in found.findings}
    assert (said["same-filters"].groups, said["same-kernels"].groups) == (((0, 1),), ((2, 5),))
    assert said["same-kernels"].what.endswith("each for input channels of its own")


def test_single_weights_are_not_compared() -> None:
    assert kernels_of(nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1, groups=6)), "1").findings == ()


def test_every_pair_is_named_once_with_its_factor() -> None:
    """At a threshold of 0 every pair is near or flipped: 8 · 7 / 2 of them."""
    conv = nn.Conv2d(3, 8, 3)
    with torch.no_grad():
        conv.weight.normal_(generator=torch.Generator().manual_seed(0))
        conv.weight[7] = conv.weight[6] * 2
        conv.weight[4] = conv.weight[2] * -2
    net = nn.Sequential(conv, nn.ReLU())
    found = fmap_cli.filters(fmap_cli.load_model(net, size=16, say=quiet), "0", near=0, say=quiet).layers[0].findings
    pairs = [pair[:2] for each in found for pair in each.pairs]
    assert sorted(pairs) == [(a, b) for a in range(8) for b in range(a + 1, 8)]
    near, flipped = kernels_of(net, "0").findings
    assert near.what.endswith("nearly the same up to a positive factor (cosine ≥ 0.99): 6 and 7 (1, factor 2)")
    assert flipped.what.endswith("up to a negative factor (cosine ≤ -0.99): 2 and 4 (-1, factor -2)")


def test_a_layer_of_copies_takes_no_longer() -> None:
    rows = np.ones((1200, 8), np.float32) + np.float32(1e-7) * (np.arange(1200)[:, None] % 3)
    found = compare(rows, kernel_numbers(rows), 0.99, 1e-6)
    assert [len(each) for each in found.groups] == [1200]
    scaled = np.arange(1, 1201, dtype=np.float32)[:, None] * np.arange(1, 5, dtype=np.float32)
    found = compare(scaled, kernel_numbers(scaled), 0.99, 1e-6)
    assert (found.groups, found.near_count, len(found.near)) == ([], 1200 * 1199 // 2, 100)


# -- folding -------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """BatchNorms in all the places in which one may be: right after, after something else, none, twice, elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 4, 3, bias=False)
        self.after_plain = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
        self.after_up = nn.BatchNorm2d(6, affine=False, eps=0.1)
        self.relued = nn.Conv2d(6, 4, 1)
        self.after_relu = nn.BatchNorm2d(4)
        self.added_to = nn.Conv2d(4, 4, 1)
        self.after_adding = nn.BatchNorm2d(4)
        self.batch = nn.Conv2d(4, 4, 1)
        self.by_batch = nn.BatchNorm2d(4, track_running_stats=False)
        self.twice = nn.Conv2d(4, 4, 1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.after_shared = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)
        self.after_fc = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.after_up(self.up(self.after_plain(self.plain(x))))
        x = self.after_relu(self.relued(x).relu())
        x = self.after_adding(self.added_to(x).add_(1))
        x = self.by_batch(self.batch(x))
        x = self.twice(x)
        x = self.first(x) + self.second(x)
        x = self.shared(x)
        x = self.after_shared(x) + x
        return self.after_fc(self.fc(x.mean((2, 3))))


@pytest.fixture(scope="module")
def branches() -> nn.Module:
    return randomised(Branches())


@pytest.mark.parametrize(
    ("layer", "norm"), [("plain", "after_plain"), ("up", "after_up"), ("shared", "after_shared"), ("fc", "after_fc")]
)
def test_folding_is_torchs_fusion(branches: nn.Module, layer: str, norm: str) -> None:
    found = kernels_of(branches, layer, fold=True)
    module, after = branches.get_submodule(layer), branches.get_submodule(norm)
    given = (module.weight, module.bias, after.running_mean, after.running_var, after.eps, after.weight, after.bias)
    if layer == "fc":
        weight, bias = fuse_linear_bn_weights(*given)
        expected = weight.detach().numpy()
    elif layer == "up":  # torch's fusion of transposed convolutions knows no groups
        factor = (after.running_var + after.eps).rsqrt()
        expected = kernels_of(branches, layer).weight * factor[:, None, None, None].numpy()
        bias = (module.bias - after.running_mean) * factor
    else:
        weight, bias = fuse_conv_bn_weights(*given)
        expected = weight.detach().numpy()
    np.testing.assert_allclose(found.weight, expected, rtol=1e-5)
    np.testing.assert_allclose(found.bias, bias.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert (found.folded, found.not_folded) == (norm, "")
    assert bool(found.notes) == (layer == "shared")


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ("relued", "no BatchNorm takes its very output"),
        ("added_to", "no BatchNorm takes its very output"),
        ("batch", "by_batch normalises by what each batch says"),
        ("twice", "2 BatchNorms take its output"),
    ],
)
def test_where_nothing_is_folded_it_says_why(branches: nn.Module, layer: str, why: str) -> None:
    found = kernels_of(branches, layer, fold=True)
    assert found.folded == ""
    assert why in found.not_folded
    assert np.array_equal(found.weight, branches.get_submodule(layer).weight.detach().numpy())


def test_a_frozen_batch_norm_is_folded_too() -> None:
    from torchvision.ops import FrozenBatchNorm2d

    net = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), FrozenBatchNorm2d(4), nn.ReLU()))
    found = kernels_of(net, "0", fold=True)
    image = torch.randn(1, 3, 8, 8)
    again = F.conv2d(image, torch.from_numpy(found.weight), torch.from_numpy(found.bias))
    torch.testing.assert_close(again, net[1](net[0](image)), rtol=1e-4, atol=1e-4)


# -- pictures ------------------------------------------------------------------------------------------------------


def tiles_of(found: Kernels, drawing: Drawing | None = None) -> list[np.ndarray]:
    """The pictures of the filters on the page, in their order; the colour bar is none of them."""
    whole = Filters(fmap_cli.filters(say=quiet).origin, (found,))
    scene = whole.figure(drawing=drawing).scene
    assert faults(scene) == []
    return [item.pixels for item in scene.items if isinstance(item, Picture) and item.x > 400]


def test_a_filter_over_the_picture_is_in_its_colours() -> None:
    conv = nn.Conv2d(3, 5, 2)
    with torch.no_grad():
        conv.weight.normal_(generator=torch.Generator().manual_seed(1))
        conv.weight[3] *= 0.1
        conv.weight[4] = 0
    found = kernels_of(nn.Sequential(nn.ZeroPad2d(1), conv, nn.Conv2d(5, 3, 1), nn.Conv2d(3, 4, 3)), "1")
    assert found.reads_picture
    weight = found.weight
    for scale in ("channel", "layer"):
        tiles = tiles_of(found, Drawing(scale=scale, tile=20))
        for own, pixels in zip(weight, tiles, strict=True):
            if not own.any():  # dead: mid-gray, crossed out from corner to corner
                assert pixels[0, 0].tolist() == pixels[0, -1].tolist() == [120, 30, 30]
                assert pixels[3, 11].tolist() == [128, 128, 128]
                continue
            most = np.abs(own).max() if scale == "channel" else np.abs(weight).max()
            expected = 127.5 + 127.5 * own / (most or 1)
            shown = pixels[6:22:10, 6:22:10].astype(float)  # [2, 2, 3]: the middle of each weight, 10 pixels across
            np.testing.assert_allclose(shown, expected.transpose(1, 2, 0), atol=0.51)


def test_three_channels_that_are_not_the_pictures_are_signed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3))
    assert kernels_of(net, "0").reads_picture
    assert not kernels_of(net, "2").reads_picture


def test_the_strongest_inputs_are_drawn_and_named() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 20, 3), nn.Conv2d(20, 6, 3, groups=2))
    model = fmap_cli.load_model(net, size=16, say=quiet)
    found = fmap_cli.filters(model, "1", say=quiet)
    scene = found.figure(drawing=Drawing(inputs=4)).scene
    assert faults(scene) == []
    weight = net[1].weight.detach().numpy()
    expected = []
    for at, own in enumerate(weight):
        strongest = np.argsort(-np.linalg.norm(own.reshape(10, -1), axis=1))[:4]
        expected.append([str(channel + 10 * (at // 3)) for channel in strongest])
    names = [item.text for item in scene.items if isinstance(item, Text) and item.x > 400 and item.text.isdecimal()]
    assert names == [name for at, each in enumerate(expected) for name in (*each, str(at))]


@pytest.mark.parametrize("kind", ["1d", "long 1d", "3d", "matrix", "grouped 1 × 1", "wide", "nan"])
def test_every_shape_has_a_page_without_faults(kind: str) -> None:
    rng = np.random.default_rng(2)
    shape = {
        "1d": (12, 5, 3),
        "long 1d": (8, 1, 80),
        "3d": (10, 6, 3, 3, 3),
        "matrix": (300, 40),
        "grouped 1 × 1": (12, 3, 1, 1),
        "wide": (30, 4000),
        "nan": (4, 2, 3, 3),
    }[kind]
    weight = rng.normal(size=shape).astype(np.float32)
    if kind == "nan":
        weight[1, 1], weight[2] = np.nan, np.inf
    plain = kernels_of(nn.Sequential(nn.Conv2d(3, 4, 3)), "0")
    groups = 4 if "grouped" in kind else 1
    found = replace(
        plain,
        weight=weight,
        bias=None,
        inputs=shape[1] * groups,
        groups=groups,
        stored=shape,
        reads_picture=False,
        numbers=kernel_numbers(weight),
        order=np.arange(shape[0]),
    )
    pictures = tiles_of(found)
    assert len(pictures) == (1 if found.is_matrix else shape[0])
    if kind == "nan":
        assert (pictures[1] == (255, 0, 255)).all(-1).any()
        assert (pictures[2] == (0, 255, 255)).all(-1).any()
    if kind == "matrix":
        assert pictures[0].shape == (300, 40, 3)
        red, blue = (pictures[0][..., at].astype(int) for at in (0, 2))
        strong = np.abs(weight) > 0.2
        assert ((red > blue) == (weight > 0))[strong].all()
    if kind == "grouped 1 × 1":
        absent = (pictures[0] == (236, 236, 240)).all(-1)
        assert np.array_equal(~absent, np.kron(np.eye(4), np.ones((3, 3))).astype(bool))


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_draws_saves_and_prints(fmap: Run) -> None:
    ran = fmap("filters", "--top", "4", "--save", "k.safetensors", "--json")
    assert ran.code == 0, ran
    (layer,) = ran.json["layers"]
    assert (layer["name"], layer["asked"], layer["reads_picture"]) == ("features.0.0", "conv1", True)
    assert layer["file"] == "filters-efficientnet_lite0-features.0.0.png"
    with Image.open(layer["file"]) as page:
        assert page.size[0] > 1000
    weight = load_file("k.safetensors")["features.0.0"]
    norms = np.linalg.norm(weight.reshape(32, -1).astype(np.float64), axis=1)
    assert [row["index"] for row in layer["filters"]] == np.argsort(-norms)[:4].tolist()
    assert [row["norm"] for row in layer["filters"]] == pytest.approx(np.sort(norms)[::-1][:4])
    ran = fmap("filters", "--channels", "7,3", "--csv", "--out", "a.svg")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["index"] for row in rows] == ["7", "3"]
    assert float(rows[0]["norm"]) == pytest.approx(norms[7])
    assert Path("a.svg").exists()


def test_channels_that_a_note_names_are_listed_after_the_first_twelve() -> None:
    """Filters 15 and 17 of 20 are a hundred-thousandth of the others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 20, 3))
    with torch.no_grad():
        net[0].weight[[15, 17]] *= 1e-5
    table = fmap_cli.filters(net, "0", say=lambda sentence: None).table(100)
    assert "channels 15 and 17" in table
    numbers = table.partition("\nchannel ")[2]
    rows = [int(line.split()[0]) for line in numbers.splitlines() if line.split() and line.split()[0].isdigit()]
    assert rows == [*range(12), 15, 17]


def test_layers_whose_names_end_alike_have_a_file_each(tmp_path: Path) -> None:
    net = nn.Sequential()
    for name in "ab":  # longer than what a file's name keeps of a layer's
        net.add_module(name + "z" * 120, nn.Conv2d(3, 3, 1))
    model = fmap_cli.load_model(net, size=8, say=quiet)
    files = write_figures(fmap_cli.filters(model, "*", say=quiet), Drawing(), None, tmp_path)
    assert len(files) == 2
    assert sorted(files) == sorted(map(str, tmp_path.iterdir()))


def test_several_layers_have_a_figure_each(fmap: Run) -> None:
    arguments = ("filters", "--model", "resnet18", "--weights", "random", "--layer", "layer1.?.conv1")
    ran = fmap(*arguments, "--out-dir", "kernels")
    assert ran.code == 0
    assert "random (seed 0)" in ran.out
    files = sorted(each.name for each in Path("kernels").iterdir())
    assert files == [f"filters-resnet18-layer1.{at}.conv1.png" for at in (0, 1)]
    fmap(*arguments, "--out", "one.png").refused("2 layers match", code=2)


def test_more_than_64_filters_begin_with_the_strongest(fmap: Run) -> None:
    ran = fmap("filters", "--layer", "features.2.0.block.1.0", "--json")
    (layer,) = ran.json["layers"]
    norms = [row["norm"] for row in layer["filters"]]
    assert len(norms) == 96
    assert norms == sorted(norms, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--layer", "features.0.1"],
            ["'features.0.1' (BatchNorm2d) has no kernels: a scale", "Layers with kernels: features.0.0, "],
        ),
        (
            ["--layer", "features.1"],
            ["(Sequential) has no kernels of its own, but 2 layers inside", "features.1.0.block.0.0 or"],
        ),
        (["--layer", "features.0.O"], ["no layer 'features.0.O'", "Did you mean features.0.0"]),
        (["--layer", "*.2.add"], ["no layer", "*.2.add"]),
        (["--layer", "conv99"], ["the model runs 49 convolutions"]),
        (["--channels", "40"], ["has 32 filters; there is no channel 40", "--channels takes 0 to 31"]),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(arguments: list[str], words: list[str], fmap: Run) -> None:
    fmap("filters", *arguments).refused(*words)
    assert list(Path().iterdir()) == []


class Multiplies(nn.Module):
    """No module has kernels: the forward multiplies by a parameter of the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.arange(12.0).reshape(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.mean((2, 3)), self.table)


def test_without_a_convolution_the_first_linear_layer_is_shown_or_nothing_is() -> None:
    def first(net: nn.Module) -> Kernels:
        return fmap_cli.filters(fmap_cli.load_model(net, size=16, say=quiet), say=quiet).layers[0]

    own = Multiplies()
    assert np.array_equal(first(own).weight, own.table.detach().numpy())
    assert first(nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.Linear(5, 2))).layer.name == "1"
    with pytest.raises(LayerError, match="no kernels to draw: it runs no convolution and no linear layer"):
        first(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))


@pytest.mark.parametrize("command", ["filters", "layers"])
def test_a_picture_is_no_model(command: str, fmap: Run, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.PNG")
    fmap(command, str(tmp_path / "photo.PNG")).refused("is an image, and this command takes a model", code=2)
    np.save(tmp_path / "au.npy", np.zeros((1, 400), np.float32))
    fmap(command, str(tmp_path / "au.npy")).refused("is an array, and this command takes a model", code=2)
    fmap(command, str(tmp_path / "au.npy")).refused("MODEL --input-shape 1,400`", code=2)


def test_a_long_headline_names_the_gravest_and_counts_the_rest() -> None:
    found = kernels_of(nn.Sequential(nn.Conv2d(3, 4, 3)), "0")
    checks = ("nan", "inf", "dead-filters", "tiny-filters", "constant-filters", "same-filters", "near-filters")
    many = tuple(Finding("0", check, "note", "so", tuple(range(4))) for check in checks)
    whole = Filters(fmap_cli.filters(say=quiet).origin, (replace(found, findings=many),))
    texts = [item.text for item in whole.figure().scene.items if isinstance(item, Text)]
    (line,) = (text for text in texts if text.startswith("4 filters of 3 × 3 over"))
    assert line.endswith(" more below")
    assert "4 with NaN; 4 with infinite weights" in line


def test_contradictions_are_usage_errors(fmap: Run) -> None:
    fmap("filters", "--top", "3", "--all").refused("exclude one another", code=2)
    fmap("filters", "--out", "a.png", "--out-dir", "b").refused("give one of them", code=2)
    for wrong in ({"near": 1.5}, {"sort": "std"}, {"top": 0}, {"channels": [-1]}, {"top": 2, "all": True}):
        with pytest.raises(FmapError):
            fmap_cli.filters(say=quiet, **wrong)  # type: ignore[arg-type]
