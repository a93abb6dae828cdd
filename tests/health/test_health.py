"""What the numbers say: each check against arithmetic on paper, and faults planted in a real network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fmap_cli import units
from fmap_cli.errors import FmapError
from fmap_cli.health import Thresholds, findings, reaches
from fmap_cli.health.silence import _proof
from fmap_cli.inputs.images import sample_path
from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import LoadedModel, ModelRequest, Preprocessing, Weights
from fmap_cli.network.records import Axes, LayerKind, LayerRef
from fmap_cli.session.opening import Session, open_session, read_image
from fmap_cli.session.passes import run
from fmap_cli.statistics.channels import merge
from fmap_cli.statistics.records import Finding, LayerRecord
from fmap_cli.statistics.reference import channel_stats

DEFAULT = Thresholds()
AXES = Axes(("B", "C", "H", "W"), "said")
KINDS: dict[str, LayerKind] = {
    "Conv2d": "conv", "Linear": "linear", "BatchNorm2d": "norm", "MaxPool2d": "pool", "input": "input",
    "BatchNorm1d": "norm", "add": "op", "mul": "op", "cat": "op", "expand": "op", "masked_fill": "op",
    "AvgPool2d": "pool",
}  # fmt: skip


def layer(
    type_name: str,
    values: Tensor | list,
    name: str = "",
    *,
    images: int = 1,
    dtype: str = "float32",
    same_as: str | None = None,
    parameters: int = 0,
    histogram: str | None = "layer",
) -> LayerRecord:
    """A record of `values`, a row for each channel, as if they came from this many images."""
    table = torch.as_tensor(values, dtype=torch.float64)
    kind = KINDS.get(type_name, "act")
    ref = LayerRef(name or type_name, name or type_name, 0, kind, type_name, parameters=parameters)
    shape = (1, len(table), 1, table.shape[1] // images)
    return LayerRecord(ref, shape, AXES, dtype, images, channel_stats(table, histogram), same_as)


def found(*layers: LayerRecord, thresholds: Thresholds = DEFAULT) -> list[Finding]:
    return list(findings(layers, layers[0].images, thresholds))


def checks(*layers: LayerRecord, thresholds: Thresholds = DEFAULT) -> list[tuple[str, str]]:
    return [(each.layer, each.check) for each in found(*layers, thresholds=thresholds)]


def noise(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- dead channels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", ["ReLU", "relu", "relu_", "ReLU6", "relu6", "threshold", "GELU"])
def test_a_channel_that_is_always_zero_after_an_activation_is_dead(type_name: str) -> None:
    [finding] = found(layer(type_name, [[0, 0, 0], [0, 2, 0], [0, 0, 0]]))
    assert (finding.check, finding.severity, finding.channels) == ("dead-channels", "note", (0, 2))
    assert finding.sample == "over 1 image, 3 values a channel"
    assert finding.what == "2 of 3 channels were 0 everywhere in this image."
    assert finding.caution == (
        "Where the weights alone do not decide it, 1 image is too few to be sure: such a channel may still respond to "
        "most other images. After silence in 300 images that would be at most 1.0 % of them (95 % confidence)."
    )


@pytest.mark.parametrize(
    ("images", "part"), [(1, "most"), (4, "most"), (5, "up to 45.1 % of"), (100, "up to 3.0 % of")]
)
def test_one_share_stands_beside_its_confidence(images: int, part: str) -> None:
    words = _proof(images, DEFAULT)  # the bound is 1 - 0.05 ** (1 / images): 0.527 for 4, 0.451 for 5, 0.0295 for 100
    assert f"may still respond to {part} other images." in words
    assert words.count("95 %") == 1 and words.count("95.0 %") == 0


@pytest.mark.parametrize("type_name", ["LeakyReLU", "GELU", "Conv2d", "tanh"])
def test_elsewhere_a_channel_below_zero_is_alive(type_name: str) -> None:
    assert found(layer(type_name, [[-3, -2, -1], [0, 2, 1]])) == []


def test_one_value_above_zero_is_life() -> None:
    assert found(layer("ReLU", [[0, 0, 0.001], [0, 2, 0]])) == []


@pytest.mark.parametrize(
    ("dead", "images", "severity"),
    [
        (1, 300, "note"),
        (4, 300, "warning"),
        (10, 300, "error"),
        (1, 299, "note"),
        (4, 299, "warning"),
        (4, 29, "note"),
        (10, 299, "warning"),
    ],
)
def test_severity_grows_with_share_and_images(dead: int, images: int, severity: str) -> None:
    values = torch.arange(1.0, 301.0).repeat(10, 1)[:, :images] + torch.arange(10.0)[:, None]
    values[:dead] = 0
    [finding] = found(layer("ReLU", values, images=images))
    assert (finding.check, finding.severity, len(finding.channels)) == ("dead-channels", severity, dead)
    if dead == 10:
        assert finding.what.startswith("all 10 channels were 0 in all ")
        return
    assert ("too few to be sure" in finding.caution) == (images < 300)
    if images == 300:  # 1 - 0.05 ** (1 / 300) = 0.00994
        assert "fewer than 1.0 % of images like these" in finding.caution


@pytest.mark.parametrize(("images", "severity"), [(29, "note"), (30, "warning"), (40, "warning")])
def test_twenty_of_thirty_two_over_forty_images_are_a_warning(images: int, severity: str) -> None:
    values = noise(32, 4 * images).abs()
    values[:20] = 0
    [finding] = found(layer("ReLU", values, images=images))
    assert (finding.severity, finding.what.split(".")[0]) == (
        severity,
        f"20 of 32 channels were 0 everywhere in all {images} images",
    )
    assert "Look at 300 images before you call them dead." in finding.advice
    assert "prune" not in finding.advice


def test_only_many_images_are_advice_to_prune_fold_or_merge() -> None:
    def advice(images: int) -> str:
        dead = noise(8, 2 * images).abs()
        dead[0] = 0
        still = noise(8, 2 * images, 1)
        still[4], still[2] = 3, still[1]
        gates = torch.ones(3, images)
        told = found(
            layer("ReLU", dead, images=images), layer("Conv2d", still, images=images),
            layer("hardsigmoid", gates, images=images),
            layer("Conv2d", noise(8, 2 * images, 2), "after", images=images),
        )  # fmt: skip
        assert {each.check for each in told} == {"dead-channels", "constant-channels", "copied-channels", "saturated"}
        return " ".join(each.advice for each in told)

    for word in ("pruned", "folded", "merged", "removed"):
        assert word in advice(300)
        assert word not in advice(299)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_map_of_which_all_channels_are_dead_is_an_error_over_any_sample(images: int) -> None:
    size = noise(3, 9 * images)
    [finding] = found(layer("Conv2d", size, images=images), layer("ReLU", torch.zeros(3, 9 * images), images=images))
    assert (finding.check, finding.severity) == ("dead-channels", "error")
    where = "this image" if images == 1 else f"all {images} images"
    assert finding.what == (
        f"all 3 channels were 0 everywhere in {where}. Nothing about the image gets through this layer."
    )


def dying(images: int, answer: Tensor, before: Tensor | None = None) -> list[Finding]:
    """A network whose second layer is dead, and whose answer is this."""
    ran = {"images": images}
    return found(
        layer("Conv2d", noise(4, 9 * images) if before is None else before, "conv", **ran),
        layer("ReLU", torch.zeros(4, 9 * images), "relu", **ran),
        layer("AvgPool2d", torch.zeros(4, images), "pool", **ran),
        layer("Linear", answer, "fc", **ran),
    )


def test_an_answer_that_is_the_same_for_every_image_is_said_with_where_it_begins() -> None:
    same = torch.tensor([[0.3], [-0.1], [2.0]]).repeat(1, 5)
    [finding] = dying(5, same)
    assert (finding.layer, finding.check, finding.severity) == ("relu", "dead-channels", "error")
    assert finding.what.endswith(
        "The answer is the same for all 5 images: it does not depend on the image, from relu on."
    )
    # One image has one answer, and an answer that varies got the image past the dead layer.
    for told in (dying(1, same[:, :1]), dying(5, noise(3, 5))):
        assert [(each.check, each.severity) for each in told] == [("dead-channels", "error")]
        assert "The answer" not in told[0].what


def test_an_answer_without_a_dead_layer_may_be_the_same_as_well() -> None:
    ran = {"images": 5}
    same = torch.tensor([[0.3], [-0.1], [2.0]]).repeat(1, 5)
    features = layer("AvgPool2d", noise(4, 5), "pool", **ran)
    conv = layer("Conv2d", noise(4, 45), **ran)
    [finding] = found(conv, features, layer("Linear", same, "fc", **ran))
    assert (finding.layer, finding.check, finding.severity) == ("fc", "constant-channels", "error")
    assert "does not depend on the image, from fc on" in finding.what


def test_one_photo_given_five_times_proves_nothing_of_others() -> None:
    ran = {"images": 5}
    once = noise(4, 9)
    told = found(
        layer("Conv2d", once.repeat(1, 5), **ran),
        layer("AvgPool2d", once.mean(1, keepdim=True).repeat(1, 5), **ran),
        layer("Linear", noise(3, 1).repeat(1, 5), "fc", **ran),
    )
    assert not any("The answer" in each.what or each.severity == "error" for each in told)


def test_each_layer_with_dead_channels_is_told_over_few_images_too() -> None:
    first = layer("ReLU", [[0, 0], [1, 2], [1, 3], [2, 4]], "a")
    second = layer("ReLU", [[0, 0], [0, 0], [1, 3]], "b")
    one, two = found(first, layer("Conv2d", noise(3, 2)), second)
    assert [(each.layer, each.severity, each.channels) for each in (one, two)] == [
        ("a", "note", (0,)), ("b", "note", (0, 1)),
    ]  # fmt: skip
    assert two.what == "2 of 3 channels were 0 everywhere in this image."


def test_dead_channels_of_before_are_counted_and_named_so_that_the_sum_is_the_table_s() -> None:
    before = noise(5, 9).abs()
    before[:2] = 0
    depthwise = noise(5, 9, 1)
    depthwise[:2] = 0
    after = depthwise.abs()
    after[3] = 0
    one, two = found(
        layer("ReLU", before, "a"), layer("Conv2d", depthwise, "conv", parameters=5 * 9), layer("ReLU", after, "b")
    )
    assert (one.layer, one.channels) == ("a", (0, 1))
    assert (two.layer, two.channels, two.severity) == ("b", (0, 1, 3), "note")
    assert two.what == "3 of 5 channels were 0 everywhere in this image: 1 began here, 2 were already 0 in a."


def test_over_a_sound_sample_each_layer_has_its_own() -> None:
    rows = noise(3, 300).abs()
    rows[0] = 0
    other = noise(4, 300, 1).abs()
    other[2] = 0
    assert checks(
        layer("ReLU", rows, "a", images=300),
        layer("Conv2d", noise(4, 300, 2), images=300),
        layer("ReLU", other, "b", images=300),
    ) == [("a", "dead-channels"), ("b", "dead-channels")]


def test_a_dead_channel_is_told_where_it_begins() -> None:
    dead = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 5.0]])
    shifted = dead + torch.tensor([[0.7], [0.0]])  # what a depthwise convolution's bias makes of it
    assert checks(
        layer("ReLU", dead, "relu"),
        layer("MaxPool2d", dead, "pool"),
        layer("Conv2d", shifted, "depthwise", parameters=2 * 10),
        layer("BatchNorm2d", shifted - 1, "norm"),
        layer("ReLU6", (shifted - 1).clamp(min=0), "again"),
        layer("cat", torch.cat([dead, dead + 1]), "cat"),
        layer("MaxPool2d", torch.cat([dead, dead + 1]), "after"),
    ) == [("relu", "dead-channels")]


def test_pooling_beside_the_way_reads_what_was_told_before() -> None:
    dead = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    assert checks(
        layer("ReLU", dead, "relu"), layer("Conv2d", noise(5, 3), "branch"), layer("MaxPool2d", dead, "pool")
    ) == [("relu", "dead-channels")]


def test_a_channel_shut_by_its_normalisation_is_told_once_and_why() -> None:
    before = torch.tensor([[-1.0, -1.0, -1.0], [1.0, -2.0, 3.0]])
    [finding] = found(layer("BatchNorm2d", before), layer("ReLU6", before.clamp(min=0)))
    assert (finding.layer, finding.check, finding.channels) == ("ReLU6", "dead-channels", (0,))
    assert "It was already constant in BatchNorm2d, the layer before." in finding.what
    # Of what the normalisation reads nothing is known here; where that varies, its weights alone are the cause.
    [finding] = found(layer("Conv2d", noise(2, 3)), layer("BatchNorm2d", before), layer("ReLU6", before.clamp(min=0)))
    assert finding.what == (
        "1 of 2 channels was 0 everywhere in this image. It was already constant in BatchNorm2d, the layer before: its "
        "weights alone do that, so it holds for every image."
    )
    assert (finding.caution, "Look at" in finding.advice) == ("", False)


def test_what_an_image_may_have_done_is_not_put_down_to_the_weights() -> None:
    """A convolution that reads a channel silent today is constant because of that, for all that is known."""
    read = noise(3, 9).abs()
    read[0] = 0
    conv = noise(2, 9, 1)
    conv[0] = -1.5
    *_, finding = found(layer("ReLU", read, "a"), layer("Conv2d", conv, "conv"), layer("ReLU", conv.clamp(min=0), "b"))
    assert (finding.layer, finding.channels) == ("b", (0,))
    assert finding.what.endswith("It was already constant in conv, the layer before.")
    assert "1 image is too few" in finding.caution and "Look at 300 images" in finding.advice


def test_hard_swish_is_dead_where_it_is_always_zero_only() -> None:
    [finding] = found(layer("Hardswish", [[0, 0, 0], [-0.3, -0.2, -0.1], [1, 2, 3]]))
    assert (finding.check, finding.channels) == ("dead-channels", (0,))


def test_what_is_no_image_is_not_called_one() -> None:
    for images, values in ((1, torch.zeros(3, 9)), (5, torch.zeros(3, 45)), (5, noise(3, 45).clamp(max=0) * 0)):
        alive = noise(3, 9 * images).abs()
        alive[0] = 0
        still = noise(4, 9 * images)
        still[1] = 2
        layers = [
            layer("ReLU", alive, "a", images=images), layer("Conv2d", still, "b", images=images),
            layer("ReLU", values, "c", images=images), layer("Linear", torch.ones(2, images), "fc", images=images),
        ]  # fmt: skip
        told = findings(layers, images, noun="volume")
        assert {each.layer for each in told} >= {"a", "b", "c"}
        words = " ".join(f"{each.what} {each.sample} {each.advice} {each.caution}" for each in told)
        assert "image" not in words and "volume" in words


# -- constant channels ---------------------------------------------------------------------------------------------


def test_a_channel_of_one_value_is_constant() -> None:
    [finding] = found(layer("BatchNorm2d", [[0.5, 0.5, 0.5], [0.5, 0.5, 0.6], [1, 2, 3]]))
    assert (finding.check, finding.severity, finding.channels) == ("constant-channels", "note", (0,))
    assert finding.what == "1 of 3 channels is constant (0.5) everywhere in this image."


@pytest.mark.parametrize("type_name", ["ReLU", "Conv2d", "BatchNorm2d", "AvgPool2d"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_a_channel_with_nan_or_infinity_is_neither_dead_nor_constant_nor_nothing(type_name: str, odd: float) -> None:
    for held in (0.0, 3.0):
        values = torch.full((4, 9), held)
        values[:, 4] = odd
        assert {check for _, check in checks(layer("input", noise(3, 9)), layer(type_name, values))} == {"not-finite"}


def test_rounding_is_no_variation_and_a_hundred_thousandth_is() -> None:
    assert checks(layer("Conv2d", [[1000, 1000.0001], [1, 2]])) == [("Conv2d", "constant-channels")]
    assert checks(layer("Conv2d", [[1000, 1000.01], [1, 2]])) == []


def test_one_value_has_no_variation_to_miss() -> None:
    assert checks(layer("AvgPool2d", [[0.5], [0.7]])) == []


def test_how_much_is_constant_and_over_how_many_images_makes_the_severity() -> None:
    def severity(values: list, images: int) -> str:
        return found(layer("Conv2d", values, images=images))[0].severity

    assert severity([[3, 3, 3, 3], [1, 2, 3, 4]], 2) == "warning"  # half of them
    assert severity([[3, 3, 3, 3], [4, 4, 4, 4]], 2) == "error"
    assert severity([[3, 3, 3, 3], [4, 4, 4, 4]], 1) == "error"
    assert severity([[3, 3, 3, 3], [4, 4, 4, 4]], 4) == "warning"  # one value an image: four say little


def test_weights_are_not_blamed_where_what_a_channel_reads_was_not_looked_at() -> None:
    silent, varying = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), noise(2, 3)
    depthwise = layer("Conv2d", silent, "depthwise", parameters=2 * 9)
    for records in ([layer("Conv2d", varying, "conv"), depthwise], [layer("BatchNorm2d", silent, "norm")]):
        [finding] = found(*records)
        assert finding.check == "constant-channels"
        assert finding.advice.startswith("Look at the layer that it reads, which is not among these")
    for before in (layer("ReLU", varying.abs() + 1, "relu"), layer("add", varying, "add")):
        [finding] = found(before, depthwise)
        assert finding.advice.startswith("Look for weights or a normalisation's scale that went to zero")
    assert checks(layer("ReLU", silent, "relu"), depthwise) == [("relu", "dead-channels")]  # what follows is not told


def test_a_constant_channel_is_told_where_it_begins() -> None:
    values = torch.tensor([[3.0, 3.0, 3.0], [1.0, 2.0, 3.0]])
    branch = noise(2, 3)
    assert checks(
        layer("Conv2d", values, "conv"),
        layer("BatchNorm2d", values * 2, "norm"),
        layer("Conv2d", branch, "branch"),
        layer("mul", values * 5, "mul"),
    ) == [("conv", "constant-channels")]


def test_of_a_blank_picture_constant_maps_are_no_fault() -> None:
    assert checks(layer("input", [[1, 1, 1]]), layer("Conv2d", [[3, 3, 3], [4, 4, 4]])) == []


# -- nearly zero ---------------------------------------------------------------------------------------------------


def test_a_layer_of_next_to_nothing_is_told_once_with_what_follows() -> None:
    size = noise(3, 50)
    [lost, finding] = found(
        layer("input", size),
        layer("Conv2d", size * 1e-5, "a"),
        layer("LeakyReLU", size * 2e-5, "b"),
        layer("BatchNorm2d", size, "c"),
    )
    assert (lost.layer, lost.check) == ("a", "float16-underflow")
    assert (finding.layer, finding.check, finding.severity) == ("a", "nearly-zero", "warning")
    rms, largest = float(size.square().mean().sqrt()), float(size.abs().max())
    assert finding.what == (
        f"the root mean square is {rms * 1e-5:.3g} and no magnitude above {largest * 1e-5:.3g}, where the layers "
        f"before have {rms:.3g} (their median). 1 later layer (b) is nearly zero too."
    )


def test_small_is_against_the_layers_before_and_in_itself() -> None:
    size = noise(3, 50)
    of_small = [layer("input", size * 1e-3), layer("Conv2d", size * 5e-5)]  # a twentieth of the input
    of_usual = [layer("input", size), layer("Conv2d", size * 2e-4)]
    assert ("Conv2d", "nearly-zero") not in checks(*of_small)
    assert checks(*of_usual) == []
    assert checks(*of_usual, thresholds=Thresholds(nearly_zero_rms=1e-3)) == [("Conv2d", "nearly-zero")]


def test_all_zeros_are_nearly_zero_and_nothing_else() -> None:
    [finding] = found(
        layer("Conv2d", noise(3, 9)), layer("BatchNorm2d", torch.zeros(3, 9)), layer("ReLU", torch.zeros(3, 9))
    )
    assert (finding.layer, finding.check) == ("BatchNorm2d", "nearly-zero")
    assert finding.what.startswith("every value is exactly 0, where the layers before have ")


def test_a_relu_that_lets_nothing_through_is_dead_and_what_follows_is_not_told() -> None:
    assert checks(
        layer("Conv2d", noise(3, 9)), layer("ReLU", torch.zeros(3, 9)), layer("Conv2d", torch.zeros(2, 9), "b")
    ) == [("ReLU", "dead-channels")]


@pytest.mark.parametrize("type_name", ["softmax", "Sigmoid", "hardsigmoid", "mul"])
def test_what_is_small_by_nature_is_no_fault(type_name: str) -> None:
    told = checks(layer("input", noise(3, 50)), layer(type_name, noise(3, 50).abs() * 1e-6))
    assert (type_name, "nearly-zero") not in told


# -- saturated -----------------------------------------------------------------------------------------------------


def saturated(type_name: str, values: list, images: int = 1) -> Finding | None:
    after = layer("Conv2d", noise(2, 4), "after")  # someone reads it
    told = [each for each in found(layer(type_name, values, images=images), after) if each.check == "saturated"]
    return told[0] if told else None


@pytest.mark.parametrize(
    ("type_name", "values", "words"),
    [
        ("ReLU6", [[6, 0, 3, 2]], "25.0 % of 4 values are at the upper bound, 6."),
        ("Hardtanh", [[1, -1, 0.5, 0.2, 0.3, -0.1, 0.7, -0.2]], "25.0 % of 8 values are at a bound, -1 or 1."),
        ("Hardtanh", [[2, -0.5, 0.3, 1.5]], "50.0 % of 4 values are at a bound, -0.5 or 2."),
        ("Hardswish", [[0, 0, 1, 5]], "50.0 % of 4 values are exactly 0, where its input is -3 or less."),
        ("hardsigmoid", [[0, 1, 0.5, 0.7]], "50.0 % of 4 values are exactly 0 or 1."),
        ("Sigmoid", [[0.9375, 0.0624, 0.5, 0.93]], "50.0 % of 4 values are below 1/16 or from 15/16 on."),
        ("tanh", [[0.9375, -0.95, 0.5, -0.93]], "50.0 % of 4 values are within 1/16 of -1 or 1."),
        ("softmax", [[0.95, 0.3], [0.03, 0.3], [0.02, 0.4]], "50.0 % of 2 rows have one value of at least 15/16"),
    ],
)
def test_shares_at_the_bounds_are_counted_exactly(type_name: str, values: list, words: str) -> None:
    finding = saturated(type_name, values)
    assert finding is not None
    assert words in finding.what
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    ("type_name", "values"),
    [
        ("ReLU6", [[6, 0, 3, 2, 5.99]]),  # a fifth
        ("ReLU6", [[0, 0, 0, 5]]),  # zeros are its way
        ("ReLU", [[6, 6, 6, 5]]),
        ("Hardtanh", [[0.99, -0.97, 0.5]]),
        ("Hardswish", [[0, -0.1, 1, 5, 2]]),
        ("hardsigmoid", [[0, 0.999, 0.5]]),
        ("Sigmoid", [[0.93, 0.0626, 0.5, 0.99, 0.01, 0.5]]),
        ("tanh", [[0.93, -0.93, 0.99]]),
        ("softmax", [[0.95, 0.3, 0.3], [0.05, 0.7, 0.7]]),
    ],
)
def test_a_little_less_is_silent(type_name: str, values: list) -> None:
    assert saturated(type_name, values) is None


def test_an_answer_may_be_certain_and_a_gate_is_a_note() -> None:
    certain = [[1.0, 0.0], [0.0, 1.0]]
    assert checks(layer("Linear", noise(2, 2)), layer("softmax", certain)) == []
    gate = saturated("hardsigmoid", [[1.0], [0.0], [1.0]])
    assert gate is not None
    assert (gate.severity, gate.what) == ("note", "100 % of 3 gates are exactly 0 or 1.")


def test_without_a_histogram_shares_are_not_judged() -> None:
    assert checks(layer("ReLU6", [[6, 6, 5]], histogram=None), layer("Conv2d", noise(2, 3))) == []


# -- through depth -------------------------------------------------------------------------------------------------


def tower(sizes: Sequence[float], between: str = "ReLU") -> list[LayerRecord]:
    """Convolutions whose root mean squares are these, an activation or norm after each, and a classifier."""
    layers = []
    for at, size in enumerate(sizes):
        values = noise(4, 64, at)
        values *= size / values.square().mean().sqrt()
        layers.append(layer("Conv2d", values, f"conv{at}"))
        layers.append(layer(between, values.clamp(min=0) if between == "ReLU" else values, f"after{at}"))
    return [*layers, layer("Linear", noise(4, 1), "fc")]


def test_growth_through_depth_is_told_where_it_passes_the_bound() -> None:
    [finding] = found(*tower([3.0**at for at in range(8)]))
    assert (finding.layer, finding.check, finding.severity) == ("conv5", "exploding", "warning")  # 3⁵ = 243
    assert finding.what == (
        "the root mean square grows from 1 at conv0 to 2187 at conv7, about 3 times more with each of 8 layers; here "
        "it is 100 times the first."
    )
    assert finding.sample == "over 1 image, 8 layers with no normalisation between them"
    assert found(*tower([3.0**at for at in range(10)]))[0].severity == "error"  # 3⁹ = 19,683 ≥ 100²


def test_decay_through_depth_is_told_once_though_the_end_is_nearly_zero() -> None:
    told = [each for each in found(*tower([0.3**at for at in range(12)])) if each.check != "float16-underflow"]
    assert [(each.layer, each.check) for each in told] == [("conv4", "vanishing")]  # 0.3⁴ = 1 / 123
    assert "less with each of 12 layers; here it is 100 times smaller than the first." in told[0].what


@pytest.mark.parametrize(
    "sizes",
    [
        [1.3**at for at in range(12)],  # below 1.41 a layer
        [3.0**at for at in range(4)],  # too few
        [1, 1, 1, 500, 500, 500, 500],  # one jump
        [1, 30, 1, 30, 2, 60, 3, 200],  # up and down
        [2.0, 1.5, 2.5, 1.8, 3.0, 2.0],
    ],
)
def test_no_trend_is_no_finding(sizes: list[float]) -> None:
    assert found(*tower(sizes)) == []


def test_a_normalisation_sets_the_scale_anew() -> None:
    assert found(*tower([3.0**at for at in range(8)], between="BatchNorm2d")) == []


# -- float16 -------------------------------------------------------------------------------------------------------


def test_beyond_float16_is_told_once_with_the_layers_after() -> None:
    [finding] = found(
        layer("Conv2d", [[65504, 1, 2], [-65505, 7, 8]], "a"), layer("add", [[1e6, 2e5, 1], [5, 7, 9]], "b")
    )
    assert (finding.layer, finding.check, finding.channels) == ("a", "float16-overflow", (1,))
    assert finding.what == (
        "at least 1 value beyond 65504, the largest number of float16: -65505 … 65504. 1 later layer (b) has such "
        "values too. The largest magnitude of all is 1e+06."
    )
    assert "at least 3 values" in found(layer("Conv2d", [[1e6, -2e5, 65536], [5, 7, 9]]))[0].what


def test_what_float16_holds_is_no_finding_nor_what_is_float16() -> None:
    assert checks(layer("Conv2d", [[65504, -65504, 1], [5, 7, 9]])) == []
    assert checks(layer("Conv2d", [[1e6, 2e5, 1], [5, 7, 9]], dtype="float16")) == []


def test_the_share_below_float16s_normal_numbers_leaves_out_zeros() -> None:
    small = 2.0**-15
    [finding] = found(layer("mul", [[small, -small, small, 2], [0, 0, 0, 3]]))
    assert finding.check == "float16-underflow"
    assert finding.what == (
        "60.0 % of the 5 values that are not zero are below 2⁻¹⁴ = 6.1e-05, where float16 loses digits."
    )
    assert checks(layer("mul", [[small, -small, 1, 2], [0, 0, 0, 3]])) == []  # 2 of 5
    assert checks(layer("mul", [[2.0**-14, -(2.0**-14), 2.0**-14, 2], [0, 0, 0, 3]])) == []
    assert checks(layer("softmax", [[small, small, small, 1], [small, small, small, 1]])) == []


# -- normalisation -------------------------------------------------------------------------------------------------


def test_a_batch_normalisation_with_hardly_any_variance_is_told_and_one_that_is_well_is_not() -> None:
    size = noise(8, 200)
    blown = size.clone()
    blown[:3] *= 1 / (1e-9 + 1e-5) ** 0.5  # 316 times: what is left of the variance is its eps
    [finding] = found(layer("Conv2d", size), layer("BatchNorm2d", blown))
    assert (finding.check, finding.severity, finding.channels) == ("norm-gain", "warning", (0, 1, 2))
    assert "multiplies 3 of 8 channels by 50 or more, the most by 316: channel " in finding.what
    assert checks(layer("Conv2d", size / 300), layer("BatchNorm2d", size)) == []  # small before, as it should be after
    assert checks(layer("Conv2d", size * 300), layer("BatchNorm2d", size * 300)) == []  # an input out of scale


@pytest.mark.parametrize("bias", [0.0, -50.0])
@pytest.mark.parametrize("factor", [1.0, 350.0])
def test_a_gain_and_an_offset_are_told_apart(bias: float, factor: float) -> None:
    """Channel 1 of a normalisation has its bias moved, channel 2 its weight multiplied, in torch's own arithmetic."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4).eval()
    read = torch.randn(1, 4, 20, 20) * 3 + 1
    with torch.no_grad():
        norm.running_mean[:], norm.running_var[:] = 1.0, 9.0  # type: ignore[index]
        norm.bias[1] += bias
        norm.weight[2] *= factor
        put_out = norm(read)
    flat = [each[0].flatten(1) for each in (read, put_out, put_out.relu())]
    told = found(layer("Conv2d", flat[0]), layer("BatchNorm2d", flat[1]), layer("ReLU", flat[2]))
    by_check = {each.check: each for each in told}
    assert set(by_check) == {
        *(["norm-gain"] if factor > 1 else []),
        *(["norm-offset", "dead-channels"] if bias else []),
    }
    if factor > 1:
        gain, std = 350 / (9 + 1e-5) ** 0.5, float(put_out[0, 2].std())
        assert by_check["norm-gain"].channels == (2,)
        assert f"the most by {gain:.0f}: channel 2 has a standard deviation of " in by_check["norm-gain"].what
        assert f" before it and of {std:.0f} after it." in by_check["norm-gain"].what
    if bias:
        offset, dead = by_check["norm-offset"], by_check["dead-channels"]
        assert (offset.channels, dead.channels) == ((1,), (1,))
        assert "moves 1 of 4 channels by 20 or more away from 0, the furthest by -50.3: channel 1" in offset.what
        assert "a ReLU after this layer puts out nothing but 0 there" in offset.what
        assert "It was held there by an offset in BatchNorm2d, the layer before (its bias)" in dead.what
        assert (dead.caution, dead.advice.startswith("Look at the bias of BatchNorm2d")) == ("", True)


def test_an_input_far_off_is_no_offset_of_the_normalisation() -> None:
    size = noise(4, 200)
    assert checks(layer("Conv2d", size + 90), layer("BatchNorm2d", size + 90)) == []


def test_of_one_value_a_channel_no_gain_is_told() -> None:
    assert checks(layer("Linear", noise(4, 1)), layer("BatchNorm1d", noise(4, 1) * 900)) == []


def residual(growth: float, blocks: int = 12, norm: bool = False) -> list[LayerRecord]:
    layers = []
    for at in range(blocks):
        values = noise(4, 64, at)
        values *= growth**at / values.square().mean().sqrt()
        layers.append(layer("Conv2d", noise(4, 64, at + 50), f"conv{at}"))
        if norm:
            layers.append(layer("BatchNorm2d", noise(4, 64, at + 90), f"norm{at}"))
        layers.append(layer("add", values, f"add{at}"))
    return [*layers, layer("Linear", noise(4, 1), "fc")]


def test_a_few_channels_beside_which_the_others_hardly_count_are_told_with_their_ratio() -> None:
    values = noise(32, 400)
    values[4] *= 1e4
    std = values.std(1, unbiased=False)
    ratio, share = float(std[4] / std.quantile(0.5)), float(std[4] ** 2 / (std**2).sum())
    [finding] = found(layer("Conv2d", values), layer("ReLU", values.relu()))
    assert (finding.layer, finding.check, finding.channels) == ("Conv2d", "loud-channels", (4,))
    assert finding.severity == "warning" and share > 0.99
    assert f"{units.number(ratio)} times the median's" in finding.what
    for factor, told in ((0.9, False), (1.1, True)):  # beside the threshold, of the median of all 32
        near = noise(32, 400)
        near[4] *= 50 * factor * float(near.std(1, unbiased=False).quantile(0.5) / near[4].std(unbiased=False))
        assert [each.check for each in found(layer("Linear", near))] == ["loud-channels"] * told
    half = noise(32, 400)
    half[:20] *= 1e4  # the usual channel is a large one
    assert found(layer("Conv2d", half)) == []
    few = noise(64, 400)
    few[3] *= 60
    std = few.std(1, unbiased=False)
    assert float(std[3] ** 2 / (std**2).sum()) < 0.99
    assert [each.severity for each in found(layer("Conv2d", few))] == ["note"]


def test_a_loud_channel_is_told_where_it_begins_and_not_where_a_normalisation_evens_it_out() -> None:
    plain = noise(16, 400)
    large = plain.clone()
    large[2] *= 1000
    assert checks(layer("Conv2d", large), layer("BatchNorm2d", plain)) == []
    kept = checks(layer("Conv2d", large), layer("BatchNorm2d", 0.5 * large), layer("ReLU", (0.5 * large).relu()))
    assert kept == [("Conv2d", "loud-channels")]
    assert checks(layer("Conv2d", plain), layer("BatchNorm2d", large)) == [("BatchNorm2d", "norm-gain")]
    assert checks(layer("Linear", large[:, :8])) == []  # too few values


def test_residual_sums_that_grow_with_no_normalisation_are_told() -> None:
    [finding] = found(*residual(2**0.5))
    assert (finding.check, finding.severity, finding.layer) == ("exploding", "warning", "add10")  # 2⁵ = 32 ≥ 30
    assert "grows from 1 at add0 to 45.3 at add11, about 1.41 times more with each of 12 sums" in finding.what
    assert checks(*residual(1.04)) == []  # branches scaled down, as Fixup does
    assert checks(*residual(2**0.5, norm=True)) == []


# -- NaN and infinity ----------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


def test_the_first_layer_that_is_not_finite_is_told_and_the_rest_counted() -> None:
    [finding] = found(
        layer("Conv2d", noise(2, 3)), layer("BatchNorm2d", [[1, NAN, INF], [1, 2, 3]], "bn"),
        layer("Conv2d", [[NAN, NAN, 1], [1, 2, 3]], "next"), layer("mul", [[NAN, 1, 2], [1, 2, 3]]),
    )  # fmt: skip
    assert (finding.layer, finding.check, finding.severity, finding.channels) == ("bn", "not-finite", "error", (0,))
    assert finding.what == (
        "the first layer with values that are not finite: 1 NaN and 1 infinite of 6 values, in 1 of 2 channels; 2 "
        "later layers have them too."
    )


def test_an_input_that_is_not_finite_is_said_to_be_so() -> None:
    [finding] = found(layer("input", [[1, NAN, 3]]), layer("Conv2d", [[NAN, NAN, 1]]))
    assert finding.layer == "input"
    assert finding.what.startswith("the input already has values that are not finite: 1 NaN of 3 values")


def test_the_logarithm_of_zero_is_no_mask() -> None:
    [finding] = found(layer("log", [[1, -INF, 3], [1, 2, 3]]), layer("Conv2d", noise(2, 3)))
    assert (finding.check, finding.layer) == ("not-finite", "log")


def test_a_mask_of_infinities_is_meant() -> None:
    mask = [[1, -INF, 3], [1, 2, -INF]]
    rows = [[0.1, 0.2, 0.8], [0.9, 0.8, 0.2]]
    assert checks(layer("masked_fill", mask), layer("softmax", rows), layer("Conv2d", noise(2, 3))) == []
    assert checks(layer("add", mask), layer("softmax", rows), layer("Conv2d", noise(2, 3))) == []
    assert checks(layer("add", mask), layer("Conv2d", noise(2, 3))) == [("add", "not-finite")]


# -- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("histogram", ["layer", "channel", None])
def test_channels_alike_to_the_last_bit_are_copies(histogram: str | None) -> None:
    values = noise(8, 20)
    values[5] = values[2]
    [finding] = found(layer("Conv2d", values, histogram=histogram))
    assert (finding.check, finding.severity, finding.channels) == ("copied-channels", "warning", (2, 5))
    assert finding.what == "1 of 8 channels is a copy of another, identical to the last bit: 2=5."
    values[7], values[0] = values[2], values[1]
    [finding] = found(layer("Conv2d", values, histogram=histogram))
    assert finding.what.startswith("3 of 8 channels are copies of others")
    assert finding.what.endswith("0=1, 2=5=7.")


def test_severity_of_copies_grows_with_their_share() -> None:
    values = noise(20, 20)
    values[5] = values[2]
    assert found(layer("Conv2d", values))[0].severity == "note"
    assert found(layer("Conv2d", values[:1].repeat(20, 1)))[0].severity == "error"


def test_what_is_nearly_alike_is_no_copy() -> None:
    values = noise(4, 20)
    values[1] = values[0]
    values[1, 3] += 1e-9
    assert checks(layer("Conv2d", values)) == []


@pytest.mark.parametrize("factor", [2.0, 3.0, 0.37])
def test_a_filter_that_is_another_one_times_a_number_is_told(factor: float) -> None:
    values = noise(32, 400).float()
    values[6] = values[5] * factor
    [finding] = found(layer("Conv2d", values), layer("ReLU", values.clamp(min=0)))
    assert (finding.layer, finding.check, finding.severity, finding.channels) == (
        "Conv2d", "copied-channels", "note", (5, 6),
    )  # fmt: skip
    assert finding.what == f"1 of 32 channels is a multiple of another one: 6 = {factor:g} × 5."


def test_a_mirrored_or_shifted_channel_is_no_copy_nor_are_those_of_a_gray_picture() -> None:
    values = noise(32, 400)
    values[6], values[8] = -values[5], values[7] + 0.3
    assert checks(layer("Conv2d", values)) == []
    gray = noise(1, 400)
    filters = noise(8, 1, 1).abs() * gray
    assert checks(layer("input", gray.repeat(3, 1)), layer("Conv2d", filters)) == []


def test_channels_of_two_values_and_of_few_may_be_alike_by_chance() -> None:
    once = torch.zeros(2, 20)
    once[0, 3] = once[1, 7] = 6  # each clipped at one place
    assert checks(layer("mul", once)) == []
    assert checks(layer("mul", noise(1, 8).repeat(2, 1))) == []


def test_copies_are_told_where_they_begin_and_not_where_they_are_made_on_purpose() -> None:
    values = noise(30, 20)
    values[5] = values[2]
    gray = noise(1, 20).repeat(3, 1)
    assert checks(
        layer("input", gray),
        layer("mul", gray * 2, "scaled"),
        layer("Conv2d", values, "conv"),
        layer("BatchNorm2d", values / 2, "norm"),
        layer("ReLU", values.clamp(min=0), "relu"),
        layer("expand", values[:1].repeat(9, 1), "expand"),
        layer("MaxPool2d", values[:1].repeat(9, 1), "pool"),
    ) == [("conv", "copied-channels")]


# -- all together --------------------------------------------------------------------------------------------------


def test_the_same_tensor_is_told_once_and_of_an_input_nothing_but_nan() -> None:
    dead = [[0, 0, 0], [0, 0, 0]]
    assert checks(layer("ReLU", dead, "a"), layer("ReLU", dead, "block", same_as="a")) == [("a", "dead-channels")]
    assert checks(layer("input", [[1e6, 1e6, 1e6], [0, 0, 0]])) == []


def test_findings_come_in_the_order_of_layers() -> None:
    copies = noise(8, 20)
    copies[1] = copies[0]
    assert checks(
        layer("Conv2d", copies, "a"), layer("ReLU", [[0, 0], [1, 2]], "b"), layer("mul", [[1e6, 1], [1, 2]], "c"),
        layer("Conv2d", [[NAN, 1], [1, 2]], "d"),
    ) == [("a", "copied-channels"), ("b", "dead-channels"), ("c", "float16-overflow"), ("d", "not-finite")]  # fmt: skip


def test_of_whole_numbers_and_truths_nothing_is_told() -> None:
    assert checks(layer("ReLU", [[0, 0], [7, 7]], dtype="int64"), layer("ReLU", [[0, 0], [1, 1]], dtype="bool")) == []


def test_nothing_seen_is_nothing_told() -> None:
    assert findings([], 0) == ()
    assert found(layer("ReLU", torch.zeros(3, 0))) == []


@pytest.mark.parametrize(
    ("severities", "at", "answer"),
    [
        (["note"], "warning", False),
        (["note", "warning"], "warning", True),
        (["warning"], "error", False),
        (["error", "note"], "warning", True),
        (["error"], "error", True),
        ([], "warning", False),
    ],
)
def test_the_worst_finding_decides(severities: list, at: str, answer: bool) -> None:
    told = [Finding("a", "b", severity, "", "", "") for severity in severities]
    assert reaches(told, at) is answer  # type: ignore[arg-type]


# -- thresholds ----------------------------------------------------------------------------------------------------


def test_thresholds_are_set_by_name_and_decide() -> None:
    changed = Thresholds.with_changes(["warning_images=1", "dead_images=1", "dead_share = 0.5", "dead_share=0.3"])
    assert changed == replace(Thresholds(), warning_images=1, dead_images=1, dead_share=0.3)
    assert isinstance(changed.dead_images, int)
    relu = layer("ReLU", [[0, 0, 0], [0, 2, 0], [1, 0, 0]])
    assert [found(relu)[0].severity, found(relu, thresholds=changed)[0].severity] == ["note", "warning"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dead_shares=0.5", ["no threshold 'dead_shares'", "Did you mean dead_share", "dead_images, warning_images, "]),
        ("zebra=1", ["no threshold 'zebra'.", "The thresholds are dead_images"]),
        ("dead_share", ["NAME=VALUE, not 'dead_share'"]),
        ("dead_share=nan", ["dead_share is a share, above 0 and up to 1, not 'nan'"]),
        ("dead_share=1.5", ["not '1.5'"]),
        ("dead_share=-0.1", ["not '-0.1'"]),
        ("dead_share=0", ["not '0'"]),
        ("float16_max=inf", ["a number above 0, not 'inf'"]),
        ("nearly_zero_rms=tiny", ["a number above 0, not 'tiny'"]),
        ("depth_layers=2", ["a whole number of at least 3, not '2'"]),
        ("dead_images=3.5", ["a whole number of at least 1, not '3.5'"]),
        ("depth_ratio=1", ["a number above 1, not '1'"]),
    ],
)
def test_a_threshold_that_is_none_is_refused_in_a_line(change: str, words: list[str]) -> None:
    with pytest.raises(FmapError) as refused:
        Thresholds.with_changes([change])
    for word in words:
        assert word in str(refused.value)


def test_every_threshold_stands_in_the_page_with_its_default() -> None:
    page = (sample_path().parent.parent / "docs" / "health.md").read_text(encoding="utf-8")
    for name in Thresholds.__dataclass_fields__:
        assert f"`{name}` = {getattr(Thresholds(), name):g}" in page, name


# -- real networks -------------------------------------------------------------------------------------------------


def records_of(session: Session, images: Sequence[ImageInput]) -> list[LayerRecord]:
    """Every layer's record over these images, one pass each; channels are the second axis."""
    records: dict[str, LayerRecord] = {}
    for image in images:
        kept: dict[tuple, tuple[str, Tensor]] = {}

        def watch(ref: LayerRef, kept: dict = kept) -> Callable[[Tensor], None]:
            def sink(output: Tensor) -> None:
                at = (output.data_ptr(), output._version, output.shape)
                same_as = kept[at][0] if at in kept else None
                kept.setdefault(at, (ref.name, output))  # held, so that no other tensor gets its place
                stats = channel_stats(output[0].reshape(output.shape[1], -1), "layer")
                dtype = str(output.dtype).removeprefix("torch.")
                record = LayerRecord(ref, tuple(output.shape), AXES, dtype, 1, stats, same_as)
                if before := records.get(ref.name):
                    record = replace(record, images=before.images + 1, channels=merge(before.channels, stats))
                records[ref.name] = record

            return sink

        run(session, image, watch)
    return list(records.values())


def sample_images(session: Session) -> list[ImageInput]:
    folder = sample_path().parent
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
    return [read_image(session, str(path), lambda said: None) for path in paths]


def embedded(size: int | None = None) -> Session:
    return open_session(ModelRequest("efficientnet_lite0", size=size), lambda said: None)


@pytest.fixture(scope="module")
def healthy() -> list[LayerRecord]:
    session = embedded(128)
    return records_of(session, sample_images(session))


def test_the_embedded_model_over_the_sample_images_has_few_and_true_findings(healthy: list[LayerRecord]) -> None:
    told = findings(healthy, 5)
    assert {(each.check, each.severity) for each in told} == {("dead-channels", "note")}
    silent = {
        record.layer.name: tuple(channel for channel, most in enumerate(record.channels.max) if most <= 0)
        for record in healthy
        if record.layer.type_name == "ReLU6"
    }
    assert {each.layer: each.channels for each in told}.items() <= silent.items()
    for each in told:
        assert f"{len(each.channels)} of " in each.what and " 0 everywhere in all 5 images" in each.what
    assert any("5 images are too few to be sure" in each.caution for each in told)
    # What is told nowhere else began at a layer before.
    for name in silent.keys() - {each.layer for each in told}:
        assert set(silent[name]) <= {channel for each in told for channel in each.channels}


def planted(fault: Callable[[nn.Module], None], size: int | None = 128) -> list[tuple[str, str]]:
    """What is found in the embedded model with a fault, over one image, but for the note on channels silent in it."""
    session = embedded(size)
    with torch.no_grad():
        fault(session.model.module)
    told = findings(records_of(session, sample_images(session)[:1]), 1)
    return [(each.layer, each.check) for each in told if (each.check, each.severity) != ("dead-channels", "note")]


def test_without_a_fault_one_image_shows_nothing_else() -> None:
    assert planted(lambda net: None, size=None) == []


def test_a_normalisation_that_shuts_its_channels_is_found_after_it() -> None:
    def shut(net: nn.Module) -> None:
        norm = net.get_submodule("features.2.1.block.0.1")
        norm.weight.zero_()
        norm.bias.fill_(-1)

    # Without what the block adds, one channel further on is driven beyond 6 at each place: true, and a note.
    assert planted(shut, size=None) == [
        ("features.2.1.block.0.2", "dead-channels"),
        ("features.3.0.block.1.2", "constant-channels"),
    ]


def test_weights_a_million_times_too_large_overflow_float16() -> None:
    told = planted(lambda net: net.get_submodule("features.3.1.block.0.0").weight.mul_(1e6))
    assert told[0] == ("features.3.1.block.0.0", "float16-overflow")


def test_one_nan_among_the_weights_is_found_at_its_layer() -> None:
    def poison(net: nn.Module) -> None:
        net.get_submodule("features.4.1.block.0.0").weight[7, 3] = float("nan")

    assert planted(poison)[0] == ("features.4.1.block.0.0", "not-finite")


def test_a_filter_copied_by_hand_is_found_at_its_layer() -> None:
    def copy(net: nn.Module) -> None:
        weight = net.get_submodule("features.3.1.block.0.0").weight
        weight[9] = weight[4]

    assert planted(copy) == [("features.3.1.block.0.0", "copied-channels")]


def plain_tower(gain: float) -> Session:
    """Twelve convolutions with ReLUs and no normalisation, at a multiple of He's initialisation."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (3, *[32] * 11):
        conv = nn.Conv2d(channels, 32, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        conv.weight.data *= gain
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU(inplace=True)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()
    preprocessing = Preprocessing(resize=64, crop=(64, 64))
    return Session(
        LoadedModel(net, "tower", Weights("random", seed=0), preprocessing), torch.device("cpu"), torch.float32
    )


@pytest.mark.parametrize(("gain", "expected"), [(3.0, {"exploding"}), (1.0, set()), (0.3, {"vanishing"})])
def test_an_initialisation_off_by_a_factor_is_found_through_depth(gain: float, expected: set[str]) -> None:
    session = plain_tower(gain)
    told = findings(records_of(session, sample_images(session)[:2]), 2)
    assert {each.check for each in told} & {"exploding", "vanishing"} == expected
    for each in told:
        if each.check in expected:
            assert each.severity == "error"
            assert int(each.layer) // 2 in (4, 5), each  # 3⁴ = 81 and 3⁵ = 243, give or take


@pytest.mark.parametrize("model", ["resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_random_weights_of_torchvisions_networks_show_no_trend(model: str) -> None:
    session = open_session(ModelRequest(model, "random"), lambda said: None)
    told = findings(records_of(session, sample_images(session)[:1]), 1)
    assert {each.check for each in told} & {"exploding", "vanishing", "copied-channels", "not-finite"} == set()
