"""What a channel does to the answer: arithmetic on networks small enough, and one ablated forward a channel."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torchvision.models import resnet18

import fmap_cli as fmap
from fmap_cli.commands.group import group
from fmap_cli.effect.measuring import spearman
from fmap_cli.effect.words import headline, together
from fmap_cli.errors import FmapError, LayerError, ModelError

COFFEE, CHELSEA = "sample_images/coffee.png", "sample_images/chelsea.png"


def quiet(_: str) -> None: ...


class Straight(nn.Module):
    """logits = W · mean(ReLU(conv(x))) + b: without a channel a logit has one term less."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.relu, self.fc = nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(x)).mean((2, 3)))


def straight() -> Any:
    return fmap.load_model(Straight(), size=16, mean=0.5, std=0.5, labels=["cat", "dog", "fox"], say=quiet)


def terms(session: Any, found: Any, image: int, klass: int) -> np.ndarray:
    """W[k] · the mean of each channel."""
    net = session.model.module
    with torch.no_grad():
        pooled = net.conv(found.images[image].image.tensor[None]).relu().mean((2, 3))[0]
        return (net.fc.weight[klass] * pooled).double().numpy()


def test_without_a_channel_a_straight_logit_has_its_term_less() -> None:
    session = straight()
    found = fmap.effect(session, COFFEE, "relu", class_="dog", say=quiet)
    expected = terms(session, found, 0, 1)
    assert np.allclose(found.effects, expected, atol=1e-6)
    one = found.images[0]
    bias = session.model.module.fc.bias.detach().double().numpy()
    assert one.together == pytest.approx(one.target.value - bias[1], abs=1e-6)
    assert found.sum_of_singles == pytest.approx(one.together, abs=1e-6)
    logits = sum(terms(session, found, 0, k) * np.eye(3)[k][:, None] for k in range(3)).T + 0  # [C, K]
    whole = logits.sum(0) + bias
    without = whole - logits
    chances = np.exp(without) / np.exp(without).sum(1, keepdims=True)
    assert one.probabilities is not None and one.answers is not None
    assert np.allclose(one.probabilities, np.exp(whole)[1] / np.exp(whole).sum() - chances[:, 1], atol=1e-6)
    assert one.answers.tolist() == without.argmax(1).tolist()
    assert one.answer == whole.argmax()
    some = fmap.effect(session, COFFEE, "relu", class_="dog", channels=(1, 4), say=quiet)
    assert some.together == pytest.approx(expected[[1, 4]].sum(), abs=1e-6)
    assert [abs(found.effects[at]) for at in found.order] == sorted(abs(found.effects), reverse=True)


def test_its_own_mean_leaves_a_straight_logit_as_it_is_and_a_runs_mean_does_not(tmp_path: Path) -> None:
    session = straight()
    found = fmap.effect(session, COFFEE, "relu", with_="mean", say=quiet)
    assert np.abs(found.effects).max() < 1e-6
    both = fmap.effect(session, [COFFEE, CHELSEA], "relu", with_="mean", class_=0, say=quiet)
    each = np.array([terms(session, both, image, 0) for image in range(2)])
    assert np.allclose(both.effects, 0, atol=1e-6)  # what one image has more, the other has less
    assert np.allclose(both.images[0].effects, each[0] - each.mean(0), atol=1e-6)
    assert both.spread is not None
    assert np.allclose(both.spread, each.std(0, ddof=1), atol=1e-6)

    run = fmap.stats(session, [CHELSEA], layer="relu", say=quiet)
    run.save(tmp_path / "run.fmap")
    for saved in (run, tmp_path / "run.fmap"):
        over = fmap.effect(session, COFFEE, "relu", with_="mean", run=saved, class_=0, say=quiet)
        assert np.allclose(over.effects, each[0] - each[1], atol=1e-5)


def test_resampled_is_another_images_map_or_the_same_values_elsewhere() -> None:
    session = straight()
    both = fmap.effect(session, [COFFEE, CHELSEA], "relu", with_="resample", class_=0, say=quiet)
    each = [terms(session, both, image, 0) for image in range(2)]
    assert np.allclose(both.images[0].effects, each[0] - each[1], atol=1e-6)
    alone = fmap.effect(session, COFFEE, "relu", with_="resample", say=quiet)
    assert np.allclose(alone.effects, 0, atol=1e-6)  # a mean does not mind where values are
    with pytest.raises(FmapError, match="a single value"):
        fmap.effect(session, COFFEE, "fc", with_="resample", say=quiet)


@pytest.mark.parametrize("with_", ["zero", "mean"])
def test_gradient_times_activation_is_exact_where_all_is_straight(with_: Any) -> None:
    session = straight()
    images = [COFFEE, CHELSEA]
    real = fmap.effect(session, images, "relu", with_=with_, class_=2, say=quiet)
    fast = fmap.effect(session, images, "relu", with_=with_, class_=2, fast=True, say=quiet)
    assert np.allclose(fast.images[1].effects, real.images[1].effects, atol=1e-6)
    assert fast.agreement is not None and fast.agreement.spearman == pytest.approx(1)
    assert fast.flips is None and "Spearman" in fast.table()
    assert "flipped" not in fast.table() and "flipped" in real.table()


def test_ranks_agree_where_some_are_equal() -> None:
    """The ranks are 1, 2½, 2½, 4, 5 and 2, 1, 3½, 3½, 5: their products about 3 add up to 7¼, the squares to 9½."""
    assert spearman(np.array([1.0, 2, 2, 4, 5]), np.array([2.0, 1, 3, 3, 9])) == pytest.approx(7.25 / 9.5)
    assert spearman(np.ones(3), np.arange(3.0)) is None


@torch.no_grad()
def brute_force(module: nn.Module, layer: nn.Module, inputs: Any, channels: Any, axis: int = 1) -> list[Any]:
    """One whole forward a channel, with a hook of torch's own."""
    answers = []
    for channel in channels:
        index = torch.tensor(int(channel))
        handle = layer.register_forward_hook(lambda _m, _i, out, index=index: out.index_fill(axis, index, 0))
        answers.append(module(inputs))
        handle.remove()
    return answers


def test_it_is_one_ablated_forward_a_channel() -> None:
    torch.manual_seed(0)
    net = resnet18(num_classes=7).eval().requires_grad_(False)
    session = fmap.load_model(net, size=64, say=quiet)
    found = fmap.effect(session, COFFEE, "layer3.0.bn2", channels=range(0, 256, 16), say=quiet)
    one = found.images[0]
    answers = brute_force(net, net.layer3[0].bn2, one.image.tensor[None], found.channels)
    expected = [one.target.value - float(each[0, one.target.index]) for each in answers]
    assert np.allclose(found.effects, expected, atol=1e-5)
    assert found.left_out > 5 and found.rows > 1
    assert not any(each._forward_hooks or "forward" in each.__dict__ for each in net.modules())


def test_of_a_segmentation_it_is_the_mean_over_the_classs_pixels() -> None:
    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem, self.mid, self.head = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.Conv2d(6, 3, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": self.head(self.mid(self.stem(x).relu()).relu())}

    net = Pixels().eval()
    session = fmap.load_model(net, size=32, mean=0.5, std=0.5, say=quiet)
    found = fmap.effect(session, COFFEE, "mid", say=quiet)
    target = found.images[0].target
    assert target.kind == "pixels" and target.mask is not None
    answers = brute_force(net, net.mid, found.images[0].image.tensor[None], found.channels)
    mask = torch.from_numpy(target.mask)
    expected = [target.value - float(each["out"][0, target.index][mask].mean()) for each in answers]
    assert np.allclose(found.effects, expected, atol=1e-6)
    assert np.abs(found.effects).max() > 1e-3


def test_tokens_have_their_channels_last() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patch, self.norm, self.head = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.patch(x).flatten(2).transpose(1, 2)).mean(1))

    net = Tokens().eval()
    session = fmap.load_model(net, size=16, say=quiet)
    found = fmap.effect(session, COFFEE, "norm", say=quiet)
    answers = brute_force(net, net.norm, found.images[0].image.tensor[None], range(8), axis=2)
    index = found.images[0].target.index
    assert np.allclose(found.effects, [found.images[0].target.value - float(a[0, index]) for a in answers], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"class_": "unicorn"}, FmapError, "no class 'unicorn'"),
        ({"class_": 7}, FmapError, "there is no class 7"),
        ({"layer": ["conv", "relu"]}, LayerError, "2 layers match"),
        ({"layer": "nowhere"}, LayerError, "no layer 'nowhere'"),
        ({"layer": ()}, LayerError, "no layer was given"),
        ({"channels": (0, 6)}, LayerError, "no channel 6: it has 6, 0 to 5"),
        ({"with_": "ones"}, FmapError, "with_ is 'ones'"),
        ({"run": "run.fmap"}, FmapError, "with_ mean takes"),
        ({"run": 3, "with_": "mean"}, FmapError, "run is 3"),
        ({"box": 0}, FmapError, "box is for detectors"),
        ({"images": ["gone.png"]}, FmapError, "gone.png"),
    ],
)
def test_bad_input_is_a_clear_line(options: dict[str, Any], error: type[FmapError], words: str) -> None:
    given = {"images": COFFEE, "layer": "relu", **options}
    with pytest.raises(error, match=words):
        fmap.effect(straight(), given.pop("images"), given.pop("layer"), say=quiet, **given)


def test_a_network_without_class_scores_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(0))
    with pytest.raises(ModelError, match="144 numbers"):
        fmap.effect(fmap.load_model(net, size=8, say=quiet), COFFEE, "0", say=quiet)


def test_a_layer_without_channels_is_said() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.total = nn.Conv2d(3, 4, 3), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x).mean((2, 3))
            return y * self.total(y.sum())

    with pytest.raises(LayerError, match="no channels"):
        fmap.effect(fmap.load_model(Sums(), size=8, say=quiet), COFFEE, "total", say=quiet)


def test_table_figure_document_and_csv_say_the_same() -> None:
    found = fmap.effect(straight(), [COFFEE, CHELSEA], "relu", class_="cat", top=4, say=quiet)
    document, table = found.document(), found.table(100)
    first = document["channels"][0]
    assert first["channel"] == int(found.channels[found.order[0]])
    assert first["effect"] == pytest.approx(float(found.effects[found.order[0]]))
    assert document["together"] == pytest.approx(np.mean([each["together"] for each in document["images"]]))
    assert "what its channels do to the logit of cat" in table and "All at once" in table
    assert len(found.csv().splitlines()) == 1 + 2 * 6
    words = " ".join(each.text for each in found.figure().scene.items if hasattr(each, "text"))
    assert "all at once" in words and "single effects" in words
    assert found.figure().image().size[0] > 1000


def test_the_command_says_what_the_verb_says(tmp_path: Path) -> None:
    arguments = ["effect", COFFEE, "--layer", "features.6.3.add", "--channels", "0-7", "-o", str(tmp_path / "e.png")]
    said = CliRunner().invoke(group, [*arguments, "--json"], standalone_mode=False)
    document = json.loads(said.stdout)
    verb = fmap.effect(images=COFFEE, layer="features.6.3.add", channels=range(8), say=quiet)
    listed = {each["channel"]: each["effect"] for each in document["channels"]}
    assert [listed[at] for at in range(8)] == pytest.approx(verb.effects.tolist(), abs=1e-6)
    assert document["images"][0]["target"]["label"] == "espresso"
    assert (tmp_path / "e.png").exists() and document["files"] == [str(tmp_path / "e.png")]
    assert CliRunner().invoke(group, ["effect", "--run", "run.fmap"]).exit_code == 2


def test_show_ranks_by_the_effect_on_the_answer() -> None:
    session = straight()
    found = fmap.effect(session, COFFEE, "relu", say=quiet)
    look = fmap.feature_maps(session, COFFEE, "relu", top=3, by="effect", say=quiet)
    assert look.maps[0].drawn.tolist() == found.channels[found.order[:3]].tolist()
    assert "largest effect on the logit of" in look.maps[0].order
    drawn = look.maps[0].drawn.tolist()
    effects = {int(channel): float(effect) for channel, effect in zip(found.channels, found.effects, strict=True)}
    document = look.document()["layers"][0]
    assert document["effect_unit"] == "logit"
    assert [each["effect"] for each in document["drawn"]] == [effects[channel] for channel in drawn]
    words = [each.text for each in look.figure().scene.items if hasattr(each, "text")]
    for channel in drawn:
        (caption,) = (each for each in words if each.startswith(f"{channel}: ") and each.endswith(" logit"))
        assert float(caption.removeprefix(f"{channel}: ").removesuffix(" logit")) == pytest.approx(
            effects[channel], rel=0.05
        )
        assert caption.split()[1][0] in "+-"


def test_it_says_why_score_and_probability_point_apart_only_where_they_do() -> None:
    """Of two classes the first one's logit falls by 1 with the channel, and the other's by 2: its probability grows."""

    def table(other: float) -> str:
        net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
        with torch.no_grad():
            net[0].weight.zero_(), net[0].bias.fill_(1.0)  # type: ignore[operator, union-attr]
            net[3].weight.copy_(torch.tensor([[-1.0], [other]])), net[3].bias.zero_()  # type: ignore[operator, union-attr]
        found = fmap.effect(fmap.load_model(net, size=8, say=quiet), COFFEE, "0", class_=0, say=quiet)
        words = " ".join(each.text for each in found.figure().scene.items if hasattr(each, "text"))
        assert ("may point apart" in words) == (other < -1)
        assert "-1.00" in words and "replaced by zeros" in words and "are random" not in words
        return " ".join(found.table(100).split())

    assert "may point apart" in table(-2.0)
    assert "may point apart" not in table(0.0)


def test_random_weights_are_said() -> None:
    session = fmap.load_model("resnet18", weights="random", size=64, say=quiet)
    found = fmap.effect(session, COFFEE, "layer4.1", channels=range(4), say=quiet)
    words = " ".join(each.text for each in found.figure().scene.items if hasattr(each, "text"))
    assert "The weights are random" in words and "The weights are random" in found.table(100)


def test_a_layer_that_is_the_answer_is_called_so() -> None:
    found = fmap.effect(straight(), COFFEE, "fc", say=quiet)
    words = " ".join(found.table(100).split())
    assert "This layer is the answer itself" in words
    assert "Without them there is no answer: all scores are equal" in words
    other = " ".join(fmap.effect(straight(), COFFEE, "relu", say=quiet).table(100).split())
    assert "answer itself" not in other and "no answer" not in other


def test_maps_that_nothing_calls_class_scores_are_only_taken_as_such() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1))
    words = "(where it is the largest; nothing says that these are classes)"
    plain = fmap.effect(fmap.load_model(net, size=16, say=quiet), COFFEE, "0", say=quiet)
    assert words in " ".join(plain.table(100).split()) and words in plain.images[0].target.in_words
    named = fmap.load_model(net, size=16, labels=["sky", "road", "tree"], say=quiet)
    assert words not in " ".join(fmap.effect(named, COFFEE, "0", say=quiet).table(100).split())


def test_the_headline_accounts_for_every_channel() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3))
    found = fmap.effect(fmap.load_model(net, size=16, say=quiet), COFFEE, "1", say=quiet)
    effects = np.array([1.0, 2, 3, 0, 0, -1, -2, 0, 4, 0, 5, 6])
    found = replace(found, images=(replace(found.images[0], effects=effects),))
    assert "6 channels speak for class" in found.table(100) and ", 2 against, 4 without effect;" in found.table(100)


def test_a_channel_behind_which_nothing_follows_has_no_effect_whatever_the_batch_rounds() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 40, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(40, 10)),
    ).eval()
    net[2].weight.data[:, 20:] = 0  # what follows does not read these channels
    session = fmap.load_model(net, size=32, say=quiet)
    found = fmap.effect(session, COFFEE, "1", say=quiet)
    assert (found.effects[20:] == 0).all() and (found.effects[:20] != 0).any()
    without = int((found.effects == 0).sum())
    assert without >= 44 and f"{without} without effect" in headline(found)


def test_estimates_that_do_not_add_up_are_not_said_to_work_together() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    net[0].bias.data[:] = 9.0  # beyond 6 a ReLU6 has no slope, so estimates are 0 and effects are not
    net[0].weight.data *= 2
    session = fmap.load_model(net, size=32, say=quiet)
    measured = fmap.effect(session, COFFEE, "0", say=quiet)
    estimated = fmap.effect(session, COFFEE, "0", fast=True, say=quiet)
    assert measured.sum_of_singles == pytest.approx(measured.together, rel=1e-4)
    assert abs(estimated.sum_of_singles - estimated.together) > 0.1 * abs(estimated.together)
    assert "either the estimates are off" in together(estimated)
    assert "differs from what they do one by one" not in together(measured)
