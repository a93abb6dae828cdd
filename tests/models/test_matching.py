"""Checkpoints as training scripts leave them: what is around the weights comes off, and nothing else passes for them.

Every file here is made from a network's own `state_dict()`; right is that very state dict.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from messages import both_lines
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision.models import resnet18, resnet34

from fmap_cli.errors import WeightsError
from fmap_cli.models import checkpoint, misfit


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)
        self.bn = nn.BatchNorm2d(outputs)


class Net(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Block(3, 4), Block(4, 8))
        self.fc = nn.Linear(8, classes)


class Inside(nn.Module):
    """The network as a part of another."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.add_module(name, network)


State = dict[str, Any]
Save = Callable[[Any], str]


def state_of(seed: int = 0, classes: int = 10) -> State:
    torch.manual_seed(seed)
    return dict(Net(classes).state_dict())


def behind(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def renamed(state: State, old: str, new: str) -> State:
    return {key.replace(old, new, 1): value for key, value in state.items()}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def to_file(content: Any) -> str:
        torch.save(content, tmp_path / "net.pth")
        return str(tmp_path / "net.pth")

    return to_file


def loaded(path: str, module: nn.Module | None = None) -> tuple[State, str]:
    """The state of a network filled from the file, and what was said."""
    module = module or Net()
    saved = checkpoint.matched(checkpoint.read(path), module)
    checkpoint.fill(module, saved, "net.py:Net")
    return dict(module.state_dict()), "\n".join(saved.notes)


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


WRAPPED: dict[str, Callable[[State], Any]] = {
    "a Lightning attribute": lambda s: {"state_dict": behind("net.", s), "epoch": 3},
    "two names before": lambda s: {"state_dict": behind("model.backbone.", s)},
    "beside the loss": lambda s: {"state_dict": behind("model.", s) | {"criterion.weight": torch.ones(10)}},
    "beside a metric, unwrapped": lambda s: s | {"metric.total": torch.zeros(3, 3)},
    "a part compiled": lambda s: renamed(s, "encoder.", "encoder._orig_mod."),
    "a part in DataParallel": lambda s: renamed(s, "encoder.", "encoder.module."),
    "both, and before": lambda s: behind("module._orig_mod.", renamed(s, "encoder.0.", "encoder.0.module.")),
    "a wrapper of one's own": lambda s: renamed(s, "encoder.", "encoder.wrapped."),
    "the same, behind a name": lambda s: behind("net.", renamed(s, "encoder.1.conv.", "encoder.1.conv.base_layer.")),
    "thop's counts": lambda s: s | {"total_ops": torch.zeros(1), "encoder.0.conv.total_params": torch.zeros(1)},
    "numbers among the tensors": lambda s: s | {"epoch": 3, "lr": 0.1},
    "BasicSR": lambda s: {"params": s},
    "a state dict a part": lambda s: {
        "encoder": {k[8:]: v for k, v in s.items() if k.startswith("encoder.")},
        "fc": {k[3:]: v for k, v in s.items() if k.startswith("fc.")},
    },
    "deep inside": lambda s: {"trainer": {"saved": {"weights": behind("net.", s)}}},
    "a list": lambda s: [s, {"step": 3}],
    "a list inside": lambda s: {"models": [s], "epoch": 3},
    "another network beside": lambda s: {"generator": s, "discriminator": {"conv.weight": torch.zeros(1, 3, 3, 3)}},
    "an optimiser by names": lambda s: {"model": s, "optimizer": {"state": {"fc.weight": {"exp_avg": s["fc.weight"]}}}},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_what_training_put_around_the_weights_comes_off(how: str, save: Save) -> None:
    state = state_of()
    assert same(loaded(save(WRAPPED[how](state)))[0], state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.", "model.module."])
def test_a_network_that_is_wrapped_itself_takes_bare_keys(prefix: str, save: Save) -> None:
    network: nn.Module = Net()
    for name in reversed(prefix.strip(".").split(".")):
        network = Inside(name, network)
    assert same(loaded(save(state_of()), network)[0], behind(prefix, state_of()))


def test_torchs_own_average_of_a_wrapped_network(save: Save) -> None:
    torch.manual_seed(0)
    averaged = AveragedModel(nn.DataParallel(Net()))
    assert same(loaded(save(averaged.state_dict()))[0], state_of())


@pytest.mark.parametrize(
    ("content", "taken", "passed_over"),
    [
        (lambda a, b: {"params": a, "params_ema": b}, "params", "params_ema"),
        (lambda a, b: {"params_ema": b, "params": a}, "params", "params_ema"),
        (lambda a, b: {"model": a, "model_ema": b}, "model", "model_ema"),
        (lambda a, b: {"state_dict": a, "state_dict_ema": behind("module.", b)}, "state_dict", "state_dict_ema"),
        (
            lambda a, b: {"state_dict": behind("net.", a) | behind("net_ema.", b)},
            "state_dict.net",
            "state_dict.net_ema",
        ),
        (
            lambda a, b: behind("net.", a) | behind("ema.module.", b) | {"ema.n_averaged": torch.tensor(2)},
            "net",
            "ema",
        ),
        (lambda a, b: {"student": a, "teacher_ema": b}, "student", "teacher_ema"),
        (lambda a, b: {"model": a, "model_ema": {"decay": 0.9, "module": b}}, "model", "model_ema.module"),
        (lambda a, b: {"model": a, "teacher": b}, "model", "teacher"),
        (lambda a, b: {"model": a, "callbacks": {"EMA": {"weights": b}}}, "model", "callbacks.EMA.weights"),
        # Diffusion models keep the average as buffers without dots, MMDetection as buffers with underscores.
        (lambda a, b: behind("model.", a) | {"ema." + k.replace(".", ""): v for k, v in b.items()}, "model", None),
    ],
)
def test_trained_weights_are_taken_and_the_others_named(
    content: Callable[[State, State], Any], taken: str, passed_over: str | None, save: Save
) -> None:
    trained, average = state_of(0), state_of(1)
    path = save(content(trained, average))
    found, said = loaded(path)
    assert same(found, trained)
    if passed_over is None:
        return
    assert f"the weights under `{taken}`" in said
    assert f"`{passed_over}`" in said
    assert f"`--weights {path}:{passed_over}` takes it" in said
    assert same(loaded(f"{path}:{passed_over}")[0], average)
    assert checkpoint.read(f"{path}:{passed_over}").name == f"net.pth:{passed_over}"


@pytest.mark.parametrize(
    "content",
    [
        lambda a, b: {"student": a, "teacher": b, "epoch": 1},
        lambda a, b: {"student": behind("module.", a), "teacher": b | {"head.w": torch.zeros(3)}},
        lambda a, b: behind("student.", a) | behind("teacher.", b),
    ],
)
def test_a_choice_is_offered_where_none_is_likelier(content: Callable[[State, State], Any], save: Save) -> None:
    one, other = state_of(0), state_of(1)
    path = save(content(one, other))
    with pytest.raises(WeightsError) as caught:
        loaded(path)
    first, second = both_lines(caught.value).splitlines()
    offered = first.partition("that fit: ")[2].split(", ")
    assert [each.partition(".")[0] for each in offered] == ["student", "teacher"]
    assert f"`--weights {path}:{offered[0]}`" in second
    assert [same(loaded(f"{path}:{each}")[0], state) for each, state in zip(offered, (one, other), strict=True)] == [
        True
    ] * 2
    assert same(loaded(f"{path}:teacher")[0], other)


def test_averages_whose_names_take_no_dots(save: Save) -> None:
    trained, average = state_of(0), state_of(1)
    for prefix, joint in (("model_ema.", ""), ("ema_", "_")):
        path = save(trained | {prefix + key.replace(".", joint): value for key, value in average.items()})
        assert same(loaded(f"{path}:{prefix.strip('.')}")[0], average)


def test_a_place_that_is_not_there(save: Save) -> None:
    path = save({"student": state_of(), "teacher": state_of()})
    with pytest.raises(WeightsError, match="holds nothing under 'pupil'\nIt has student, teacher: `weights="):
        checkpoint.read(f"{path}:pupil")
    with pytest.raises(WeightsError, match="It has encoder, fc"):
        checkpoint.read(save(state_of()) + ":pupil")


def test_what_is_left_out_is_named(save: Save) -> None:
    state = state_of()
    said = loaded(save({"state_dict": behind("model.", state) | {"criterion.weight": torch.ones(1)}}))[1]
    assert "ignored 1 tensor that the network does not have (criterion.weight)" in said
    assert "ignored what is not a tensor (epoch (int))" in loaded(save(state | {"epoch": 3}))[1]
    assert "(total_ops)" in loaded(save(state | {"total_ops": torch.zeros(1)}))[1]
    assert "`wrapped` taken out of the names" in loaded(save(renamed(state, "encoder.", "encoder.wrapped.")))[1]
    headless = Net()
    headless.fc = nn.Identity()  # type: ignore[assignment]
    found, said = loaded(save(state), headless)
    assert same(found, {key: value for key, value in state.items() if not key.startswith("fc.")})
    assert "ignored 2 tensors that the network does not have (fc.weight, fc.bias)" in said


# --- What must not pass ------------------------------------------------------------------------------------


def test_a_deeper_network_of_which_all_keys_are_there_is_another_network(save: Save) -> None:
    """All of ResNet-18's keys are in ResNet-34's state dict, with the same shapes."""
    deep = resnet34().state_dict()
    assert all(key in deep and deep[key].shape == value.shape for key, value in resnet18().state_dict().items())
    for content in (deep, {"state_dict": behind("net.", dict(deep))}):
        with pytest.raises(WeightsError, match="80 unexpected"):
            loaded(save(content), resnet18())


@pytest.mark.parametrize(
    "more",
    [
        {"encoder.2.conv.weight": torch.zeros(1)},
        {"encoder.0.gate.weight": torch.zeros(4, 4)},  # squeeze and excitation inside a block
        {"encoder2.conv.weight": torch.zeros(1)},
        {"fc.scale": torch.zeros(10)},
    ],
)
def test_tensors_where_the_networks_own_are_say_that_it_is_another(more: State, save: Save) -> None:
    with pytest.raises(WeightsError, match=f"1 unexpected \\({next(iter(more))}\\)"):
        loaded(save(state_of() | more))


def test_one_key_missing_is_a_misfit_whatever_is_around_it(save: Save) -> None:
    state = state_of()
    del state["encoder.1.bn.bias"]
    for content in (state, behind("net.", state), {"state_dict": behind("model.net.", state)}):
        with pytest.raises(WeightsError, match=r"1 missing \(encoder.1.bn.bias\)$|1 missing \(encoder.1.bn.bias\)\n"):
            loaded(save(content))


def test_a_head_of_other_classes_behind_a_prefix(save: Save) -> None:
    module = Net()
    saved = checkpoint.matched(checkpoint.read(save({"state_dict": behind("net.", state_of(classes=7))})), module)
    assert misfit.resize_heads(module, saved) == ("fc rebuilt with 7 outputs, as in the checkpoint",)


def test_the_state_dict_with_the_networks_own_head_is_preferred(save: Save) -> None:
    mine, other = state_of(0), state_of(1, classes=7)
    assert same(loaded(save({"student": other, "teacher": mine}))[0], mine)


def test_a_network_with_another_head_is_not_passed_over_for_one_in_the_loss(save: Save) -> None:
    """A loss that compares features holds a network of the same kind, with the head that the class has by itself."""
    module, saved = Net(), behind("model.", state_of(0, classes=7)) | behind("loss.net.", state_of(1))
    found = checkpoint.matched(checkpoint.read(save({"state_dict": saved})), module)
    assert found.tensors["fc.weight"].shape == (7, 8)
    assert "also holds others that fit: `state_dict.loss.net`;" in "\n".join(found.notes)


def test_where_nothing_fits_the_other_places_are_named(save: Save) -> None:
    path = save({"generator": {"conv.weight": torch.zeros(1)}, "critic": {"conv.bias": torch.zeros(1)}})
    with pytest.raises(WeightsError, match=r"weights of another network[\s\S]*The file also holds (generator|critic)"):
        loaded(path)


def test_versions_of_modules_come_along(save: Save) -> None:
    saved = nn.DataParallel(Inside("net", Net())).state_dict()
    found = checkpoint.matched(checkpoint.read(save({"state_dict": saved})), Net())
    assert found.metadata["encoder.0.bn"] == {"version": 2}
