"""Reading and fitting, on a network small enough to name all its keys."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from messages import both_lines
from torch import nn

from fmap_cli.errors import WeightsError
from fmap_cli.models import checkpoint, load_model, misfit


class Tiny(nn.Module):
    """Keys: conv.weight, conv.bias, bn.*, fc.weight, fc.bias."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)


@pytest.fixture
def state() -> dict[str, Any]:
    return dict(Tiny().state_dict())


Save = Callable[[Any], str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def to_file(content: Any) -> str:
        torch.save(content, tmp_path / "net.pth")
        return str(tmp_path / "net.pth")

    return to_file


def loaded(path: str, classes: int = 3) -> checkpoint.FromFile:
    return checkpoint.module_from_file(path, "tiny", lambda tensors, other: Tiny(other or classes), classes)


def refusal(path: str) -> str:
    with pytest.raises(WeightsError) as caught:
        loaded(path)
    message = both_lines(caught.value)
    assert len(message.splitlines()) <= 2
    assert "weights_only" not in message
    return message.replace(str(Path(path).parent) + "/", "")


def same(module: nn.Module, state: dict[str, Any]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


# --- What is read --------------------------------------------------------------------------------------


def test_a_bare_state_dict(state: dict[str, Any], save: Save) -> None:
    found = loaded(save(state))
    assert same(found.module, state)
    assert (str(found.weights), found.classes, found.notes) == ("net.pth", 3, ())


def test_the_older_format(state: dict[str, Any], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(loaded(str(tmp_path / "old.pth")).module, state)


@pytest.mark.parametrize("name", ["net.safetensors", "net.bin"])  # told by its content, not by its name
def test_safetensors(name: str, state: dict[str, Any], tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / name)
    assert same(loaded(str(tmp_path / name)).module, state)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "model_ema", "ema", "net"])
def test_the_usual_wrappings(key: str, state: dict[str, Any], save: Save) -> None:
    found = loaded(save({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}))
    assert same(found.module, state)
    assert found.notes == (f"net.pth: the weights under `{key}`",)


def test_a_wrapping_in_a_wrapping(state: dict[str, Any], save: Save) -> None:
    found = loaded(save({"model": {"state_dict": state}}))
    assert found.notes == ("net.pth: the weights under `model.state_dict`",)


def test_trained_weights_come_before_their_average(state: dict[str, Any], save: Save) -> None:
    average = {f"module.{key}": value * 0 for key, value in state.items()}
    found = loaded(save({"model_ema": {"n_averaged": torch.tensor(9), **average}, "model": state}))
    assert same(found.module, state)
    found = loaded(save({"model_ema": {"n_averaged": torch.tensor(9), **average}}))
    assert found.module.state_dict()["fc.weight"].eq(0).all()


def test_options_and_numpy_numbers_beside_the_weights_are_data(state: dict[str, Any], save: Save) -> None:
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(3), "epoch": np.int64(2)}
    assert same(loaded(save({"model": state, **beside})).module, state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.model."])
def test_prefixes_come_off(prefix: str, state: dict[str, Any], save: Save) -> None:
    assert same(loaded(save({prefix + key: value for key, value in state.items()})).module, state)


def test_a_prefix_that_is_the_networks_own_stays(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 2)

    saved = Wrapped().state_dict()
    torch.save(saved, tmp_path / "net.pth")
    read = checkpoint.matched(checkpoint.read(str(tmp_path / "net.pth")), Wrapped())
    assert list(read.tensors) == ["model.weight", "model.bias"]


def test_prefixes_come_off_the_modules_versions_too(tmp_path: Path) -> None:
    saved = nn.DataParallel(Tiny()).state_dict()
    torch.save(saved, tmp_path / "net.pth")
    read = checkpoint.matched(checkpoint.read(str(tmp_path / "net.pth")), Tiny())
    assert read.metadata["bn"] == {"version": 2}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_cast(dtype: torch.dtype, state: dict[str, Any], save: Save) -> None:
    found = loaded(save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}))
    assert all(p.dtype == torch.float32 for p in found.module.parameters())
    assert torch.equal(found.module.state_dict()["fc.bias"], state["fc.bias"].to(dtype).float())


def test_batch_counters_may_be_missing(state: dict[str, Any], save: Save) -> None:
    del state["bn.num_batches_tracked"]
    assert loaded(save(state)).module.state_dict()["bn.num_batches_tracked"] == 0


def test_values_that_are_not_finite_are_counted(state: dict[str, Any], save: Save) -> None:
    state["conv.weight"][0, 0, 0, :2] = float("nan")
    state["fc.bias"][1] = float("-inf")
    said = "3 weights are NaN or infinite: conv.weight[0, 0, 0, 0], conv.weight[0, 0, 0, 1], fc.bias[1]"
    assert loaded(save(state)).notes == (said,)
    state["conv.weight"][:] = float("nan")
    count = state["conv.weight"].numel() + 1
    (note,) = loaded(save(state)).notes
    assert note.startswith(f"{count} weights are NaN or infinite: conv.weight[0, 0, 0, 0], ")
    assert note.endswith(f" and {count - 3} more")


def test_a_negative_running_variance_is_named(state: dict[str, Any], save: Save) -> None:
    state["bn.running_var"][1] = -0.25
    found = loaded(save(state))
    said = "1 running variance is negative (BatchNorm takes the root, so such a channel is NaN): bn.running_var[1]"
    assert found.notes == (f"{said} = -0.25",)
    bn = found.module.get_submodule("bn").eval()
    answer = bn(torch.zeros(1, bn.num_features, 2, 2))  # type: ignore[arg-type]
    assert answer.isnan().any(dim=(0, 2, 3)).nonzero().flatten().tolist() == [1]
    state["bn.running_var"][1] = -1e-6  # eps is more
    assert loaded(save(state)).notes == (
        "1 running variance is negative (no variance is; it adds eps and goes on): bn.running_var[1] = -1e-06",
    )


def test_a_negative_running_variance_of_a_live_module_is_named() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    net[1].running_var[2] = -0.5
    assert any("1.running_var[2] = -0.5" in note for note in load_model(net, size=8).notes)


# --- Heads ---------------------------------------------------------------------------------------------


def test_a_head_of_other_classes_is_rebuilt(save: Save) -> None:
    seven = Tiny(7).state_dict()
    found = loaded(save(seven))
    assert same(found.module, seven)
    assert found.notes == ("classifier rebuilt for 7 classes, as in the checkpoint",)
    assert found.classes == 7


def test_a_layer_inside_the_network_is_no_head(state: dict[str, Any], save: Save) -> None:
    state["conv.weight"], state["conv.bias"] = torch.zeros(8, 3, 3, 3), torch.zeros(8)
    for key in ("weight", "bias", "running_mean", "running_var"):
        state[f"bn.{key}"] = torch.ones(8)
    assert "net.pth does not fit tiny: 6 of another shape" in refusal(save(state))


def test_heads_are_resized_in_place_where_no_builder_is_at_hand(tmp_path: Path) -> None:
    torch.save(Tiny(7).state_dict(), tmp_path / "net.pth")
    module = Tiny(3)
    saved = checkpoint.read(str(tmp_path / "net.pth"))
    assert misfit.resize_heads(module, saved) == ("fc rebuilt with 7 outputs, as in the checkpoint",)
    checkpoint.fill(module, saved, "tiny")
    assert module.fc.out_features == 7
    assert module.fc(torch.zeros(1, 4)).shape == (1, 7)


# --- What does not fit ---------------------------------------------------------------------------------


def test_keys_are_named(state: dict[str, Any], save: Save) -> None:
    state["head.weight"] = state.pop("fc.weight")
    state["head.bias"] = state.pop("fc.bias")
    assert refusal(save(state)) == (
        "net.pth does not fit tiny: 2 missing (fc.weight, fc.bias); 2 unexpected (head.weight, head.bias)\n"
        "Is it from another network, or one with another head? "
        "Your own network is `--model path/to/file.py:factory --weights FILE`."
    )


def test_the_first_few_keys_and_how_many_more(state: dict[str, Any], save: Save) -> None:
    for index in range(10):
        state[f"fc.extra{index}"] = torch.zeros(1)
    assert "10 unexpected (fc.extra0, fc.extra1, fc.extra2 and 7 more)" in refusal(save(state))


def test_shapes_are_told(state: dict[str, Any], save: Save) -> None:
    state["conv.weight"] = torch.zeros(4, 1, 3, 3)
    assert "1 of another shape (conv.weight [4, 1, 3, 3], the model's [4, 3, 3, 3])" in refusal(save(state))


def test_integers_are_no_weights(state: dict[str, Any], save: Save) -> None:
    state["conv.weight"] = state["conv.weight"].to(torch.int8)
    assert "1 of another type (conv.weight (int8))" in refusal(save(state))


def test_another_network_altogether(save: Save) -> None:
    assert refusal(save({"stem.weight": torch.zeros(1)})) == (
        "net.pth holds the weights of another network than tiny: it has stem.weight; "
        "the model has conv.weight, conv.bias, bn.weight and 6 more\n"
        "Name the network it was saved from with `--model`; your own is `path/to/file.py:factory`."
    )


# --- What is not a checkpoint -----------------------------------------------------------------------------


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harm-done"),)


def test_a_file_that_needs_code_is_refused_with_the_way_out(save: Save) -> None:
    assert refusal(save(Tiny())) == (
        f"net.pth holds more than tensors: it would run code to load (`{Tiny.__module__}.Tiny`), "
        "so it was not opened\n"
        "Save its weights alone: `torch.save(model.state_dict(), FILE)`, or a .safetensors file."
    )


def test_no_code_of_a_file_is_run(
    state: dict[str, Any], save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "so it was not opened" in refusal(save({"model": state, "extra": Harmful()}))
    assert not Path("harm-done").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "net.pth holds an empty state dict"),
        (OrderedDict(), "net.pth holds an empty state dict"),
        ({"a": 1, "b": "x"}, "net.pth holds no tensors under a, b"),
        (
            {"w": torch.zeros(1), "epoch": 3},
            "net.pth holds the weights of another network than tiny: it has w; "
            "the model has conv.weight, conv.bias, bn.weight and 6 more",
        ),
        (torch.zeros(2), "net.pth holds a Tensor; expected a state dict (names to tensors)"),
        ([1], "net.pth holds a list; expected a state dict (names to tensors)"),
    ],
)
def test_other_things_that_torch_saved(content: Any, message: str, save: Save) -> None:
    assert refusal(save(content)).splitlines()[0] == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "net.pth is empty"),
        (b"\xff\xd8\xff\xe0 a photo", "net.pth is not a checkpoint: neither a PyTorch file nor a safetensors file"),
        (b"epoch,loss\n1,0.3\n", "net.pth is not a checkpoint: neither a PyTorch file nor a safetensors file"),
        (
            pickle.dumps({"a": 1}, 4),
            "net.pth is a pickle of protocol 4; torch reads tensors alone from protocols 2 and 3",
        ),
        (
            pickle.dumps({"a": range(1)}, 1),
            "net.pth is not a checkpoint: neither a PyTorch file nor a safetensors file",
        ),
        (b"\x80\x02\x8c\x01a.", "net.pth is a pickle that torch.save did not write, or damaged"),
        (b"\x80\x02", "net.pth is damaged or truncated: "),
    ],
)
def test_files_that_torch_did_not_save(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    assert refusal(str(tmp_path / "net.pth")).splitlines()[0].startswith(message)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols_that_torch_reads_are_read(
    protocol: int, zipped: bool, state: dict[str, Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """torch itself says which; what else it is asked for is one line."""
    file = tmp_path / "net.pth"
    torch.save(state, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    try:
        torch.load(file, weights_only=True)
    except pickle.UnpicklingError:
        message = f"net.pth is a pickle of protocol {protocol}; torch reads tensors alone from protocols 2 and 3"
        first, hint = refusal(str(file)).splitlines()
        assert first == message
        assert "without `pickle_protocol`" in hint
        assert protocol > 3
    else:
        recwarn.clear()
        assert same(loaded(str(file)).module, state)
        assert not recwarn.list  # torch warns of protocol 3
        assert protocol <= 3


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.99])
def test_truncated_files(zipped: bool, kept: float, state: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    assert "damaged" in refusal(str(file))


@pytest.mark.parametrize("kept", [4, 200, -4])
def test_truncated_safetensors(kept: int, state: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(safetensors.torch.save(state)[:kept])
    assert "net.safetensors is damaged or truncated" in refusal(str(file))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "net.pth")
    assert refusal(str(tmp_path / "net.pth")).splitlines()[0] == ("net.pth is a TorchScript program, not a state dict")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "is a directory; expected a checkpoint file" in refusal(str(tmp_path))
    assert refusal(str(tmp_path / "none.pth")) == "no such weights file: none.pth"
    assert "cannot read" in refusal("nul\0byte.pth")
