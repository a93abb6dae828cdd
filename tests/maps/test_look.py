"""One look at one image: numbers against paper arithmetic, channels in order, failures in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fmap_cli.answers.reading import predictions
from fmap_cli.errors import DeviceError, FmapError, LayerError, ModelError
from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.inputs.records import ImageInput
from fmap_cli.layers.survey import survey
from fmap_cli.maps.look import choose_channels, look
from fmap_cli.maps.records import Choice
from fmap_cli.models.records import LoadedModel, ModelRequest, Preprocessing, Weights
from fmap_cli.network.records import LayerRef
from fmap_cli.session.opening import Session, open_architecture, open_session
from fmap_cli.session.passes import run
from fmap_cli.statistics.reference import channel_stats


def session_of(module: nn.Module, **options: object) -> Session:
    plain = Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,), channels=1)
    model = LoadedModel(module.eval(), "tiny", Weights("random", seed=0), plain, **options)
    return Session(model, torch.device("cpu"), torch.float32)


def image_of(values: list | np.ndarray | torch.Tensor) -> ImageInput:
    """An image whose `[C, H, W]` tensor is this."""
    tensor = torch.as_tensor(np.asarray(values, np.float32))
    return ImageInput("made up", "made-up", np.zeros((*tensor.shape[1:], 3), np.uint8), tensor)


def fixed_conv(*kernels: list[list[float]], bias: list[float] | None = None) -> nn.Conv2d:
    weight = torch.tensor(kernels)[:, None]
    conv = nn.Conv2d(1, len(kernels), tuple(weight.shape[2:]), bias=bias is not None)
    conv.weight.data = weight
    if bias is not None:
        conv.bias.data = torch.tensor(bias)
    return conv


class Applied(nn.Module):
    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


PICTURE = image_of([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])


# -- numbers -------------------------------------------------------------------------------------------------------


def test_a_convolutions_map_and_numbers_are_the_arithmetic_on_paper() -> None:
    # Right neighbour minus left, and the sum of both minus seven.
    net = nn.Sequential(fixed_conv([[-1.0, 1.0]], [[1.0, 1.0]], bias=[0.0, -7.0]), nn.ReLU(inplace=True))
    seen = look(session_of(net), PICTURE, ["0", "1"])
    conv, relu = seen.maps
    assert conv.maps[:, 0].tolist() == [[[1, 1], [1, 1]], [[-4, -2], [2, 4]]]
    assert relu.maps[:, 0].tolist() == [[[1, 1], [1, 1]], [[0, 0], [2, 4]]]
    assert (conv.shape, conv.dtype) == ((1, 2, 2, 2), "float32")
    assert (conv.stats.mean, conv.stats.min, conv.stats.max) == (0.5, -4, 4)
    assert conv.stats.std == pytest.approx(math.sqrt((4 * 0.25 + 4.5**2 + 2.5**2 + 1.5**2 + 3.5**2) / 7))
    assert relu.stats.zero_fraction == 2 / 8
    assert conv.channels.mean.tolist() == [1, 0]
    assert conv.channels.std.tolist() == [0, pytest.approx(math.sqrt((16 + 4 + 4 + 16) / 3))]
    assert relu.channels.zeros.tolist() == [0, 2]


def test_what_was_asked_stands_beside_what_was_found() -> None:
    seen = look(session_of(nn.Sequential(nn.ReLU(), fixed_conv([[1.0]]))), PICTURE, ["conv1"])
    assert [(each.layer.name, each.asked) for each in seen.maps] == [("1", "conv1")]
    assert seen.image.name == "made up"


def test_without_a_pattern_the_first_convolution_is_shown_or_the_first_map() -> None:
    assert look(session_of(nn.Sequential(nn.ReLU(), fixed_conv([[1.0]]))), PICTURE, []).maps[0].layer.name == "1"
    assert look(session_of(nn.Sequential(nn.ReLU(), nn.Sigmoid())), PICTURE, []).maps[0].layer.name == "0"


def test_layers_come_in_execution_order_with_operations_between() -> None:
    net = nn.Sequential(Applied(lambda x: x + 1), nn.ReLU())
    seen = look(session_of(net), PICTURE, ["1", "0.add"])
    assert [(each.layer.name, each.maps[0, 0, 0, 0]) for each in seen.maps] == [("0.add", 2), ("1", 2)]


def test_last_is_the_last_map_and_only_it_is_kept() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Flatten())
    seen = look(session_of(net), PICTURE, ["last"], keep_arrays=True)
    assert [each.layer.name for each in seen.maps] == ["1"]
    assert list(seen.arrays) == ["1"]


def test_arrays_are_whole_outputs_and_kept_only_when_asked() -> None:
    net = nn.Sequential(nn.Conv2d(1, 100, 1), nn.ReLU(inplace=True))
    session = session_of(net)
    assert look(session, PICTURE, ["0"]).arrays == {}
    seen = look(session, PICTURE, ["0"], keep_arrays=True)
    assert torch.equal(seen.arrays["0"], net[0](PICTURE.tensor[None]).detach())
    assert len(seen.maps[0].drawn) == 64


def test_maps_are_copies_that_a_later_layer_cannot_reach() -> None:
    net = nn.Sequential(nn.Identity(), Applied(lambda x: x.zero_()))
    assert look(session_of(net), PICTURE, ["0"]).maps[0].maps.sum() == 21


def test_values_without_a_place_are_one_a_channel_and_all_are_drawn() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 100))
    fc = look(session_of(net), PICTURE, ["2"]).maps[0]
    assert (fc.maps.shape, fc.is_map, fc.channel_count) == ((100, 1, 1, 1), False, 100)
    assert fc.order == "all 100 channels, in order"


def test_other_items_on_the_first_axis_are_said() -> None:
    net = nn.Sequential(Applied(lambda x: torch.cat([x, x * 2, x * 3])))
    seen = look(session_of(net), PICTURE, ["0"]).maps[0]
    assert seen.shape == (3, 1, 2, 3)
    assert seen.maps[0, 0].tolist() == PICTURE.tensor[0].tolist()
    assert seen.stats.mean == 3.5 * 2  # over all three
    assert any("first of 3 items" in note for note in seen.notes)


def test_complex_values_are_shown_by_their_magnitude() -> None:
    net = nn.Sequential(Applied(lambda x: torch.complex(x * 3, x * 4)))
    seen = look(session_of(net), PICTURE, ["0"]).maps[0]
    assert seen.dtype == "complex64"
    assert np.allclose(seen.maps[0, 0], PICTURE.tensor[0] * 5)


def test_truths_and_integers_are_shown_as_numbers() -> None:
    net = nn.Sequential(Applied(lambda x: x > 3), Applied(lambda x: x.long() * 7))
    truth, integer = look(session_of(net), PICTURE, ["0", "1"]).maps
    assert (truth.dtype, integer.dtype) == ("bool", "int64")
    assert truth.maps[0, 0].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert integer.maps[0, 0].tolist() == [[0, 0, 0], [7, 7, 7]]


def test_what_is_no_number_is_counted_and_kept() -> None:
    net = nn.Sequential(Applied(lambda x: (x - 1) / (x - 1)))
    seen = look(session_of(net), PICTURE, ["0"]).maps[0]
    assert (seen.stats.nan, seen.stats.mean) == (1, 1)
    assert np.isnan(seen.maps[0, 0, 0, 0])


# -- which channels ------------------------------------------------------------------------------------------------

LAYER = LayerRef("conv1", "conv1", 0, "conv", "Conv2d", True)
# std 0, 1, 3 and 2; mean 5, 0, 0 and -1; and one of no number at all.
FIVE = channel_stats(
    torch.tensor(
        [[5.0, 5.0, 5.0], [-1.0, 0.0, 1.0], [-3.0, 0.0, 3.0], [-3.0, -1.0, 1.0], [math.nan, math.nan, math.nan]]
    )
)


def chosen(choice: Choice, channels=FIVE, **options: int) -> tuple[list[int], str]:
    indices, words = choose_channels(LAYER, channels, choice, **options)
    return indices.tolist(), words


def test_a_layer_of_few_channels_is_drawn_whole_and_in_order() -> None:
    assert chosen(Choice()) == ([0, 1, 2, 3, 4], "all 5 channels, in order")


def test_a_layer_of_many_channels_is_drawn_by_the_largest_standard_deviation() -> None:
    many = channel_stats(torch.arange(70.0)[:, None] * torch.tensor([[-1.0, 1.0]]))
    indices, words = chosen(Choice(), many)
    assert indices == list(range(69, 5, -1))
    assert words == "64 of 70 channels, largest standard deviation first"
    assert chosen(Choice(all=True), many) == (list(range(70)), "all 70 channels, in order")


@pytest.mark.parametrize(
    ("by", "order", "words"),
    [
        ("std", [2, 3, 1], "largest standard deviation first"),
        ("mean", [0, 1, 2], "largest mean first"),
        ("max", [0, 2, 1], "largest maximum first"),
        ("l2", [0, 2, 3], "largest L2 norm first"),
    ],
)
def test_the_strongest_channels_come_first_by_each_moment(by: str, order: list[int], words: str) -> None:
    assert chosen(Choice(top=3, by=by)) == (order, f"3 of 5 channels, {words}")


def test_channels_without_that_moment_come_last() -> None:
    assert chosen(Choice(top=5))[0][-1] == 4


def test_one_value_a_channel_is_ranked_by_its_size_where_there_is_no_standard_deviation() -> None:
    single = channel_stats(torch.tensor([[1.0], [-5.0], [3.0]]))
    assert chosen(Choice(top=2), single)[0] == [1, 2]


def test_more_than_there_are_is_all_there_are() -> None:
    indices, words = chosen(Choice(top=50))
    assert sorted(indices) == [0, 1, 2, 3, 4]
    assert words.startswith("5 of 5 channels")


def test_channels_asked_for_come_as_asked() -> None:
    assert chosen(Choice(channels=(3, 0, 3))) == ([3, 0, 3], "3 of 5 channels, as chosen")


def test_the_only_channel_is_called_that() -> None:
    assert chosen(Choice(), channel_stats(torch.ones(1, 4))) == ([0], "the only channel")


def test_a_channel_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(LayerError) as caught:
        chosen(Choice(channels=(0, 5, 9)))
    assert caught.value.message == "layer 'conv1' has 5 channels; there is no channel 5."
    assert caught.value.hint == "--channels takes 0 to 4 here."


def test_a_channel_that_is_not_there_is_refused_in_a_whole_look_too() -> None:
    with pytest.raises(LayerError, match="there is no channel 7"):
        look(session_of(nn.Sequential(nn.ReLU())), PICTURE, ["0"], Choice(channels=(7,)))


# -- answers -------------------------------------------------------------------------------------------------------


def test_scores_become_probabilities_by_softmax_in_float64() -> None:
    scores = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0)) * 10
    exact = np.exp(scores[0].double().numpy() - scores.max().item())
    exact /= exact.sum()
    found = predictions(scores, None)
    assert [each.index for each in found] == np.argsort(-exact)[:5].tolist()
    assert [each.probability for each in found] == pytest.approx(np.sort(exact)[::-1][:5].tolist(), rel=1e-12)


def test_probabilities_are_left_as_they_are() -> None:
    found = predictions(torch.tensor([[0.1, 0.7, 0.2]], dtype=torch.float64), ["a", "b", "c"], count=2)
    assert [(each.label, each.probability) for each in found] == [("b", 0.7), ("c", 0.2)]


def test_scores_that_merely_sum_to_one_are_no_probabilities() -> None:
    found = predictions(torch.tensor([[-1.0, 2.0]]), None)
    assert found[0].probability == pytest.approx(1 / (1 + math.exp(-3)))


@pytest.mark.parametrize(
    "output",
    [
        torch.zeros(1, 3, 2, 2),
        torch.zeros(2, 3),
        torch.zeros(1, 1),
        torch.zeros(3),
        {"out": torch.zeros(1, 3), "aux": torch.zeros(1, 3)},
        {},
        None,
        torch.tensor([[math.nan, 1.0]]),
        torch.tensor([[math.inf, 1.0]]),
    ],
)
def test_what_is_no_classifiers_answer_predicts_nothing(output: object) -> None:
    assert predictions(output, None) == ()


def test_the_one_tensor_of_an_answer_or_its_logits_are_its_scores() -> None:
    scores, other = torch.tensor([[0.0, 2.0, 1.0]]), torch.zeros(1, 3)
    for output in ({"out": scores}, {"hidden": other, "logits": scores}, (scores,), [scores]):
        assert predictions(output, None)[0].index == 1


def test_labels_that_do_not_fit_name_nothing() -> None:
    assert [each.label for each in predictions(torch.zeros(1, 3), ["only", "two"])] == [None] * 3


def test_a_look_carries_the_classifiers_answers() -> None:
    head = nn.Linear(1, 2, bias=False)
    head.weight.data = torch.tensor([[1.0], [-1.0]])
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    answers = look(session_of(net, labels=("up", "down")), PICTURE, ["2"]).predictions
    assert [each.label for each in answers] == ["up", "down"]
    assert answers[0].probability == pytest.approx(1 / (1 + math.exp(-7)))


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_network_that_fails_on_its_input_is_a_model_error_that_says_where() -> None:
    def of_three_channels(x):
        return nn.functional.conv2d(x, torch.zeros(4, 3, 3, 3))

    net = nn.Sequential(Applied(of_three_channels))
    with pytest.raises(ModelError) as caught:
        look(session_of(net), PICTURE, ["0"])
    message, hint = caught.value.message, caught.value.hint
    assert message.startswith("tiny fails on an input of shape [1, 1, 2, 3] as float32 on cpu: RuntimeError: Given")
    line = of_three_channels.__code__.co_firstlineno + 1  # in the network's own code, not in torch below it
    assert message.endswith(f"test_look.py:{line})")
    assert "\n" not in message
    assert hint == "No other --size makes it run, of those tried from 8 to 1024 pixels."
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_network_too_deep_for_the_picture_is_a_model_error() -> None:
    net = nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2))
    with pytest.raises(ModelError, match="tiny fails on an input of shape"):
        look(session_of(net), PICTURE, ["*"])


def test_an_error_without_a_message_is_still_one_line() -> None:
    def silent(x):
        raise ValueError

    with pytest.raises(ModelError, match=r"^.*: ValueError \(\S*test_look\.py:\d+\)\n"):
        look(session_of(nn.Sequential(Applied(silent))), PICTURE, ["input"])


def test_a_bug_of_fmaps_own_is_not_dressed_up_as_the_networks(monkeypatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("a bug in fmap")

    monkeypatch.setattr("fmap_cli.maps.look.channel_stats", broken)
    with pytest.raises(RuntimeError, match="a bug in fmap"):
        look(session_of(nn.Sequential(nn.ReLU())), PICTURE, ["0"])


def test_a_bug_of_fmaps_own_that_the_network_catches_does_not_pass_for_the_networks() -> None:
    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ReLU()

        def forward(self, x):
            try:
                return self.inner(x)
            except KeyError as error:
                raise RuntimeError("the inner module failed") from error

    def watch(layer: LayerRef):
        def sink(output: torch.Tensor) -> None:
            if layer.name == "inner":
                raise KeyError("a bug in fmap")

        return sink

    with pytest.raises(RuntimeError, match="the inner module failed") as caught:
        run(session_of(Catches()), PICTURE, watch)
    assert not isinstance(caught.value, FmapError)


def test_interrupting_stays_an_interruption() -> None:
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(session_of(nn.Sequential(Applied(interrupted))), PICTURE, ["*"])


def test_an_unknown_layer_is_a_layer_error_after_the_one_pass() -> None:
    with pytest.raises(LayerError, match=r"no layer 'cnov'\."):
        look(session_of(nn.Sequential(nn.ReLU())), PICTURE, ["cnov"])


# -- devices and dtypes --------------------------------------------------------------------------------------------


def opened(**options: object) -> Session:
    return open_session(ModelRequest("efficientnet_lite0", **options), lambda sentence: None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_asked_for_and_absent_is_refused_before_a_model_is_loaded(device: str, monkeypatch) -> None:
    monkeypatch.setattr(
        "fmap_cli.session.opening.load_model", lambda *args, **options: pytest.fail("a model was loaded")
    )
    with pytest.raises(DeviceError, match=r"^no CUDA device here \(PyTorch .* finds no usable GPU\)") as caught:
        opened(device=device)
    assert caught.value.hint == "Use --device cpu, or --device auto to take a GPU only where there is one."


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an MPS device here")
def test_mps_asked_for_and_absent_is_refused() -> None:
    with pytest.raises(DeviceError, match="no MPS device here"):
        opened(device="mps")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "tpu", "", "cuda:-1"])
def test_a_device_of_no_known_kind_is_refused(device: str) -> None:
    with pytest.raises(DeviceError) as caught:
        opened(device=device)
    assert caught.value.message.startswith((f"unknown device {device!r}.", "no CUDA device here"))


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU here")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert opened(device="auto").device == torch.device("cpu")


@pytest.fixture(scope="module")
def coffee() -> ImageInput:
    return load_image(str(sample_path()), opened().model.preprocessing)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-4), ("bfloat16", 0.15), ("float16", 0.02)])
def test_the_embedded_model_sees_much_the_same_in_every_dtype(coffee, dtype: str, tolerance: float) -> None:
    # The first and the last convolution, of a corner: half precision is slow on a CPU.
    corner = replace(coffee, tensor=coffee.tensor[:, :96, :96])
    exact = look(opened(), corner, ["conv1", "features.8.0"])
    other = look(opened(dtype=dtype), corner, ["conv1", "features.8.0"])
    assert [each.dtype for each in other.maps] == [dtype, dtype]
    assert all(each.maps.dtype == np.float32 for each in other.maps)
    for one, two in zip(exact.maps, other.maps, strict=True):
        assert two.stats.mean == pytest.approx(one.stats.mean, rel=tolerance, abs=tolerance * one.stats.std)
    assert len(other.predictions) == 5


def test_the_embedded_model_knows_its_sample(coffee) -> None:
    answers = look(opened(), coffee, ["conv1"]).predictions
    assert len(answers) == 5
    assert all(each.label for each in answers)
    chances = [each.probability for each in answers]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) <= 1


def test_what_the_model_has_to_say_is_said() -> None:
    said: list[str] = []
    noted = replace(session_of(nn.ReLU()).model, notes=("first.", "second."))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmap_cli.session.opening.load_model", lambda *args, **options: noted)
        open_session(ModelRequest("tiny"), said.append)
    assert said[:2] == ["first.", "second."]


def test_an_architecture_is_opened_with_random_weights_unless_some_are_named(monkeypatch) -> None:
    asked: list[str | None] = []

    def load(spec: str, weights: str | None, **options: object) -> LoadedModel:
        asked.append(weights)
        return session_of(nn.ReLU()).model

    monkeypatch.setattr("fmap_cli.session.opening.load_model", load)
    open_architecture(ModelRequest("tiny"), lambda sentence: None)
    open_architecture(ModelRequest("tiny", weights="default"), lambda sentence: None)
    assert asked == ["random", "default"]


# -- kinds of input ------------------------------------------------------------------------------------------------


def input_seen(kind: str, **options: object) -> tuple:
    seen: list = []

    def keep(*inputs):
        seen.append(inputs)
        return inputs[0][0] if isinstance(inputs[0], list) else inputs[0] * 1

    session = session_of(Applied(keep), input_kind=kind, **options)
    run(session, PICTURE, lambda layer: None)
    return seen[-1]


def test_an_image_is_a_batch_of_one() -> None:
    (batch,) = input_seen("image")
    assert torch.equal(batch, PICTURE.tensor[None])


def test_a_detector_gets_a_list_of_images() -> None:
    (images,) = input_seen("images")
    assert isinstance(images, list)
    assert torch.equal(images[0], PICTURE.tensor)


def test_a_video_model_gets_the_picture_as_a_still_clip() -> None:
    (clip,) = input_seen("video", frames=4)
    assert clip.shape == (1, 1, 4, 2, 3)
    assert all(torch.equal(clip[0, :, t], PICTURE.tensor) for t in range(4))


def test_an_optical_flow_model_gets_the_picture_twice() -> None:
    first, second = input_seen("image_pair")
    assert torch.equal(first, PICTURE.tensor[None])
    assert torch.equal(second, PICTURE.tensor[None])


def test_a_clips_layer_is_a_row_of_frames_a_channel() -> None:
    net = nn.Sequential(nn.Conv3d(1, 3, 1))
    seen = look(session_of(net, input_kind="video", frames=4), PICTURE, ["0"]).maps[0]
    assert (seen.shape, seen.maps.shape) == ((1, 3, 4, 2, 3), (3, 4, 2, 3))


def test_the_dtype_of_the_session_is_the_dtype_of_the_input() -> None:
    session = replace(session_of(nn.ReLU()), dtype=torch.float64)
    seen: list[torch.dtype] = []
    run(session, PICTURE, lambda layer: lambda output: seen.append(output.dtype))
    assert seen[0] == torch.float64


# -- lists of layers -----------------------------------------------------------------------------------------------


class Gray(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.conv(x).relu().mean((2, 3))


def test_layers_are_listed_with_their_shapes_in_execution_order() -> None:
    session = session_of(Gray())
    height, width = load_image(str(sample_path()), session.model.preprocessing).tensor.shape[1:]
    assert [(row.layer.name, row.shape) for row in survey(session).layers] == [
        ("x", (1, 1, height, width)),
        ("conv", (1, 2, height, width)),
        ("relu", (1, 2, height, width)),
        ("mean", (1, 2)),
    ]


def test_a_list_of_layers_may_be_narrowed_by_patterns() -> None:
    assert [row.layer.name for row in survey(session_of(Gray()), ["c*", "mean"]).layers] == ["conv", "mean"]
    with pytest.raises(LayerError, match=r"no layer 'nope'\."):
        survey(session_of(Gray()), ["nope"])
