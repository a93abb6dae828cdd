"""TorchScript archives and torch.export programs: their layers, their values, and what cannot be seen or opened."""

from __future__ import annotations

import contextlib
import importlib
import pickle
import re
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from click.testing import CliRunner
from messages import both_lines
from PIL import Image
from torch import nn
from torchvision_oracle import weights_laid_out

from fmap_cli.commands.group import group
from fmap_cli.errors import FmapError, ModelError, WeightsError
from fmap_cli.layers.survey import survey
from fmap_cli.models import brings_its_weights, load_model
from fmap_cli.models.programs import endless, trial, walk
from fmap_cli.models.records import LoadedModel, ModelRequest
from fmap_cli.network.capture import capture
from fmap_cli.network.records import LayerRef
from fmap_cli.session.opening import open_architecture

FOUND = (
    "input assumed: [1, 3, 224, 224] (found by running), shorter side to 256, centre crop 224×224, ImageNet's mean and "
    "std; --input-shape, --size, --mean and --std change it"
)
ASSUMED = (
    "preprocessing assumed: shorter side to 256, centre crop 224×224, ImageNet's mean and std; --size, --mean and "
    "--std change it"
)


class NoLimits:
    def __init__(self, file: Path, say: object) -> None:
        self.load = self.lack = lambda: None

    def run(self, *, loops: bool) -> Callable[[int], None]:
        return lambda values: None


@pytest.fixture(autouse=True)
def tried_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are tried in this process, which saves each test the start of another (`test_endless` has those)."""

    @contextlib.contextmanager
    def tried(spec: str, module: str, function: str, *arguments: Any) -> Iterator[Callable[[], Any]]:
        yield lambda: getattr(importlib.import_module(module), function)(spec, *arguments, lambda seconds: None)

    monkeypatch.setattr(trial, "tried", tried)
    monkeypatch.setattr(trial, "Limits", NoLimits)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.bn(self.conv(x)) + x)


class Net(nn.Module):
    """A module called twice, an operation, and a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.layer1 = nn.Sequential(Block(8), Block(8))
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = self.layer1(x)
        x = self.layer1[0](x)
        return self.fc(x.mean((2, 3)))


class Branching(nn.Module):
    """What only a script keeps: a condition, a loop, a list, a dict, a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.turns = 3

    def half(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        kept: list[torch.Tensor] = []
        for turn in range(self.turns):
            x = self.conv(x)
            if turn % 2 == 0:
                kept.append(self.half(x))
        if x.shape[-1] > 1000:
            raise ValueError(f"too wide: {x.shape[-1]}")
        return {"out": torch.cat(kept, 1), "last": x}


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.conv(image) * mask


NAMES = [
    "stem relu layer1.0.conv layer1.0.bn layer1.0.add layer1.0.relu layer1.0",
    "layer1.1.conv layer1.1.bn layer1.1.add layer1.1.relu layer1.1 layer1",
    "layer1.0.conv_1 layer1.0.bn_1 layer1.0.add_1 layer1.0.relu_1 layer1.0_1 mean fc",
]


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    made = Net().eval()
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):  # so that training mode would show
            each.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    return made


@pytest.fixture(scope="module")
def folder(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of file there is."""
    home = tmp_path_factory.mktemp("programs")
    image = torch.zeros(1, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, image).save(home / "traced.pt")
        torch.jit.script(net).save(home / "scripted.pth")
        torch.jit.freeze(torch.jit.script(net)).save(home / "frozen.pt")
        torch.jit.script(Branching()).save(home / "branching.pt")
        torch.jit.script(Pair()).save(home / "pair.pt")
        torch.export.save(torch.export.export(net, (image,)), home / "net.pt2")
        torch.export.save(torch.export.export(net, (torch.zeros(4, 3, 64, 64),)), home / "four.pt2")
        sizes = {0: torch.export.Dim("b"), 2: torch.export.Dim("h", min=16), 3: torch.export.Dim("w", min=16)}
        free = torch.export.export(net, (torch.zeros(2, 3, 64, 48),), dynamic_shapes=(sizes,))
        torch.export.save(free, home / "free.pt2")
        torch.export.save(torch.export.export(Pair(), (image, torch.ones(1))), home / "pair.pt2")
    torch.save(net.state_dict(), home / "weights.pt")
    torch.save({"net": net}, home / "pickled.pth")
    (home / "empty.pt2").write_bytes(b"")
    (home / "text.pt").write_text("hello")
    (home / "cut.pt").write_bytes((home / "traced.pt").read_bytes()[:4000])
    return home


def values(model: LoadedModel, image: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, LayerRef], Any]:
    found: dict[str, torch.Tensor] = {}
    layers: dict[str, LayerRef] = {}

    def watch(layer: LayerRef) -> Any:
        layers[layer.name] = layer
        return lambda output: found.update({layer.name: output.clone()})

    return found, layers, capture(model.module, (image,), watch)


def eager(net: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    capture(net, (image,), lambda layer: lambda output: found.update({layer.name: output.clone()}))
    return found


# --- Layers and values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["traced.pt", "scripted.pth", "net.pt2"])
def test_a_program_has_the_layers_of_the_network_it_was_made_from(folder: Path, net: Net, file: str) -> None:
    model = load_model(str(folder / file))
    image = torch.randn(1, 3, 64, 64)
    found, layers, output = values(model, image)
    assert list(found)[1:] == " ".join(NAMES).split()
    expected = eager(net, image)
    for name in " ".join(NAMES).split():
        torch.testing.assert_close(found[name], expected[name])
    with torch.no_grad():
        torch.testing.assert_close(output, net(image))
    assert (layers["stem"].type_name, layers["stem"].kind, layers["stem"].parameters) == ("Conv2d", "conv", 224)
    assert (layers["layer1.0"].type_name, layers["layer1.0"].kind) == ("Block", "block")
    assert (layers["layer1.1.bn"].kind, layers["layer1.1.relu"].kind, layers["relu"].kind) == ("norm", "act", "act")
    assert str(model.weights) == f"as in {file}"
    assert model.labels is None


def test_a_frozen_program_has_its_operations(folder: Path, net: Net) -> None:
    model = load_model(str(folder / "frozen.pt"))
    image = torch.randn(1, 3, 64, 64)
    found, _, output = values(model, image)
    assert [name for name in found if name.startswith("conv")] == ["conv2d", "conv2d_1", "conv2d_2", "conv2d_3"]
    with torch.no_grad():
        torch.testing.assert_close(output, net(image))


def test_a_scripts_conditions_loops_lists_and_methods_are_followed(folder: Path) -> None:
    model = load_model(str(folder / "branching.pt"))
    assert model.notes == (FOUND,)  # nothing that could not be seen
    found, _, output = values(model, torch.randn(1, 3, 8, 8))
    assert [name for name in found if name.startswith("conv")] == ["conv", "conv_1", "conv_2"]
    torch.testing.assert_close(output["out"], torch.cat([found["conv"] / 2, found["conv_2"] / 2], 1))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mobilenet_v3_small", "script"),
        ("mobilenet_v3_small", "trace"),
        pytest.param("shufflenet_v2_x0_5", "script", marks=pytest.mark.slow),
        ("squeezenet1_1", "export"),
        pytest.param("swin_t", "script", marks=pytest.mark.slow),
        pytest.param("swin_t", "trace", marks=pytest.mark.slow),
        pytest.param("swin_t", "export", marks=pytest.mark.slow),
        pytest.param("vit_b_32", "script", marks=pytest.mark.slow),
        pytest.param("vit_b_32", "trace", marks=pytest.mark.slow),
        pytest.param("densenet121", "script", marks=pytest.mark.slow),
        pytest.param("googlenet", "script", marks=pytest.mark.slow),
        pytest.param("maxvit_t", "script", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", "export", marks=pytest.mark.slow),
    ],
)
def test_torchvisions_models_are_seen_inside(tmp_path: Path, name: str, kind: str) -> None:
    with weights_laid_out():
        network = torchvision.models.get_model(name, weights=None).eval()
    image = torch.randn(1, 3, 224, 224)
    file = str(tmp_path / ("net.pt2" if kind == "export" else "net.pt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "export":
            torch.export.save(torch.export.export(network, (image,)), file)
        else:
            (
                torch.jit.script(network) if kind == "script" else torch.jit.trace(network, image, check_trace=False)
            ).save(file)
    model = load_model(file)
    assert model.notes == ((ASSUMED,) if kind == "export" else (FOUND,))
    found, layers, _ = values(model, image)
    expected = eager(network, image)
    kinds = {nn.Conv2d: "conv", nn.Linear: "linear", nn.BatchNorm2d: "norm", nn.LayerNorm: "norm"}
    called = {path: kinds[type(each)] for path, each in network.named_modules() if type(each) in kinds}
    called = {path: kind for path, kind in called.items() if path in expected}
    assert len(called) > 20
    for path, kind in called.items():
        assert layers[path].kind == kind
        torch.testing.assert_close(found[path], expected[path], rtol=1e-3, atol=1e-4)


# --- What cannot be seen -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        ("unknown", "it uses `aten::relu`, which fmap cannot follow"),
        ("wrong", "following it step by step gives another answer"),
        ("fails", "following it fails (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_program_that_cannot_be_followed_runs_whole_and_says_so(
    folder: Path, net: Net, monkeypatch: pytest.MonkeyPatch, breaks: str, reason: str
) -> None:
    def broken(plan: Any, node: Any, ins: list[int], outs: list[int]) -> Any:
        def step(values: dict[int, Any]) -> None:
            if breaks == "unknown":
                raise walk.UnknownError("`aten::relu`")
            values[outs[0]] = values[ins[0]] * (1 / 0 if breaks == "fails" else 2)

        return step

    monkeypatch.setitem(walk._MAKERS, "aten::relu", broken)
    model = load_model(str(folder / "traced.pt"))
    assert model.notes == (
        f"only the answer of traced.pt can be seen, not what is inside: {reason}. To see its layers, make the network "
        "in Python: `--model path/to/file.py:factory --weights FILE`.",
        FOUND,
    )
    image = torch.randn(1, 3, 64, 64)
    found, _, output = values(model, image)
    assert list(found) == ["input", "program"]
    with torch.no_grad():
        torch.testing.assert_close(output, net(image))


# --- Sizes and preprocessing ---------------------------------------------------------------------------------


def test_a_program_of_one_size_gets_it(folder: Path) -> None:
    model = load_model(str(folder / "net.pt2"))
    assert (model.preprocessing.resize, model.preprocessing.crop) == (73, (64, 64))
    assert model.notes == (ASSUMED.replace("256", "73").replace("224×224", "64×64"),)
    with pytest.raises(ModelError) as caught:
        load_model(str(folder / "net.pt2"), size=96)
    assert both_lines(caught.value) == (
        f"{folder / 'net.pt2'} was exported for 64×64 images alone, not 96×96\n"
        "Leave out `--size`, or export with dynamic height and width."
    )


def test_a_program_of_any_size_gets_what_is_wished(folder: Path) -> None:
    assert load_model(str(folder / "free.pt2")).preprocessing.crop == (64, 48)
    model = load_model(str(folder / "free.pt2"), size=96, mean=(0.5,), std=(0.5,))
    assert model.notes == ()
    assert values(model, torch.zeros(1, 3, 96, 96))[0]["stem"].shape == (1, 8, 47, 47)


def test_a_program_of_a_fixed_batch_gets_the_picture_as_often(folder: Path, net: Net) -> None:
    model = load_model(str(folder / "four.pt2"))
    assert model.notes[0] == "the program takes 4 images at once and no other number: each is given 4 times"
    image = torch.randn(1, 3, 64, 64)
    output = values(model, image)[2]
    with torch.no_grad():
        torch.testing.assert_close(output, net(image).expand(4, -1))


def test_axes_are_named_where_only_one_shape_runs(folder: Path) -> None:
    session = open_architecture(ModelRequest(str(folder / "net.pt2")), lambda sentence: None)
    axes = {row.layer.name: " ".join(row.axes.names) for row in survey(session).layers}
    assert axes["relu"] == axes["layer1.0.add"] == axes["layer1"] == "B C H W"
    assert axes["fc"] == "B C"
    session = open_architecture(ModelRequest(str(folder / "scripted.pth")), lambda sentence: None)
    ways = {row.axes.how for row in survey(session).layers if not row.axes.how.endswith("'s definition")}
    assert ways == {"followed"}


# --- Refusals ------------------------------------------------------------------------------------------------


def test_which_specs_are_programs() -> None:
    assert brings_its_weights("runs/net.PT2")
    assert brings_its_weights("net.pth")
    assert not brings_its_weights("net.py:make")
    assert not brings_its_weights("timm:vit.pt")
    assert not brings_its_weights("resnet18")


@pytest.mark.parametrize("weights", ["random", "IMAGENET1K_V1", "other.pth"])
@pytest.mark.parametrize("file", ["traced.pt", "net.pt2"])
def test_other_weights_are_refused(folder: Path, file: str, weights: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load_model(str(folder / file), weights)
    first, second = both_lines(caught.value).splitlines()
    assert first == f"{folder / file} is a program with its own weights; '{weights}' cannot take their place"
    assert second.startswith("Leave out `--weights`")


NO_PROGRAM = "is neither a TorchScript archive nor a torch.export program, or it is damaged\nExpected what `torch.jit."


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("weights.pt", "holds weights, and no program that could run\nName their network: `--model NAME --weights "),
        ("pickled.pth", "holds weights, and no program that could run\nName their network: `--model NAME --weights "),
        ("empty.pt2", NO_PROGRAM),
        ("text.pt", NO_PROGRAM),
        ("cut.pt", "was not opened: its end is missing, or its table of contents is damaged\nTo see its layers"),
        ("pair.pt2", "takes image [1, 3, 64, 64], mask [1]; fmap gives a program one picture, [B, C, H, W]\nWrap the"),
    ],
)
def test_what_is_no_program_for_one_picture(folder: Path, file: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder / file))
    assert both_lines(caught.value).startswith(f"{folder / file} {message}")
    assert len(both_lines(caught.value).splitlines()) == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file: nowhere\.pt2"):
        load_model("nowhere.pt2")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ModelError, match="is not a file"):
        load_model(str(tmp_path / "folder.pt"))


@pytest.mark.parametrize("part", [".py", "data.pkl"])
def test_a_damaged_script_is_one_error(folder: Path, tmp_path: Path, part: str) -> None:
    with zipfile.ZipFile(folder / "traced.pt") as old, zipfile.ZipFile(tmp_path / "bad.pt", "w") as new:
        for member in old.namelist():
            new.writestr(member, b"nonsense" if member.endswith(part) else old.read(member))
    with pytest.raises(ModelError, match="cannot load the TorchScript program"):
        load_model(str(tmp_path / "bad.pt"))


class Mischief:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("the file ran code",))


def test_a_program_that_would_unpickle_code_is_not_opened(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt2"
    hidden = tmp_path / "hidden.pt"
    torch.save(Mischief(), hidden)
    with zipfile.ZipFile(folder / "net.pt2") as old, zipfile.ZipFile(bad, "w") as new:
        for member in old.namelist():
            new.writestr(member, hidden.read_bytes() if "sample_inputs" in member else old.read(member))
    load, loads = torch.load, pickle.loads
    with pytest.raises(FmapError) as caught:
        load_model(str(bad))
    assert both_lines(caught.value).splitlines()[0] == (
        f"{bad} holds more than tensors: it would run Python code to load, so it was not opened"
    )
    assert (torch.load, pickle.loads) == (load, loads)


# --- Commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["scripted.pth", "net.pt2", "four.pt2"])
def test_commands_take_programs(folder: Path, tmp_path: Path, file: str) -> None:
    done = CliRunner().invoke(group, ["layers", str(folder / file)])
    assert (done.exit_code, "layer1.0.conv" in done.stdout) == (0, True), done.stderr
    done = CliRunner().invoke(
        group, ["show", "--model", str(folder / file), "--layer", "layer1.0.add", "-o", str(tmp_path / "maps.png")]
    )
    assert done.exit_code == 0, done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "maps.png").exists()


class Bright(nn.Module):
    """Its loop has no end over an image with a value above 2; it calls a module in each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        while bool(x.max() > 2):
            y = y + self.conv(x)
        return y


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats", "white.png"],
        ["show", "white.png", "--layer", "*"],
        ["layers", "--image", "white.png"],
        ["rf", "white.png", "--layer", "conv", "--effective"],
        ["predict", "white.png"],
        ["embed", "white.png"],
        ["compare", "white.png", "white.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_loop_that_one_picture_sets_off_ends_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """White is 2.6 and 2.4 as networks of ImageNet see it. What a command has watched by then has made no room."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(endless, "_MOST_SECONDS", 0.1)
    monkeypatch.setattr(endless, "_SECONDS_AGAIN", 0.0)
    Image.new("RGB", (32, 32), "white").save("white.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Bright().eval()).save("net.pt")
    started = time.monotonic()
    done = CliRunner().invoke(group, [*arguments, "--model", "net.pt", "--size", "32"], catch_exceptions=True)
    assert time.monotonic() - started < 20  # half a second on an idle machine
    assert isinstance(done.exception, ModelError)
    assert re.match(r"net\.pt was stopped: its loops have made [\d,]+ turns in \d+ seconds", done.exception.message)
