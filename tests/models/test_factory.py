"""Networks of the user's own, in files that the tests write."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fmap_cli.cli import run
from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.models import load_model
from fmap_cli.models.records import Weights

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, channels=3, classes=2):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))

class Needs(nn.Module):
    def __init__(self, width, *, depth, bias=True):
        super().__init__()

class Box:
    make = Net

def gray(): return Net(channels=1)
def five(): return Net(channels=5)
def clips(): return nn.Sequential(nn.Conv3d(3, 2, 1))
def a_dict(): return {}
def a_class(): return Net
def nothing(): pass
def fails(): raise ValueError("no such width")
def fails_inside(): return nn.Linear(-1, "a")
def leaves(): raise SystemExit(3)
number = 3
made = Net()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def refusal(spec: str, weights: str | None = None) -> str:
    with pytest.raises((ModelError, WeightsError)) as caught:
        load_model(spec, weights)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


# --- What works ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["net.py:Net", "./net.py:Net", "net.py:made", "net.py:Box.make"])
def test_a_class_a_function_or_a_module_in_a_file(spec: str) -> None:
    model = load_model(spec)
    assert model.name == spec
    assert str(model.weights) == f"as made by {spec} (seed 0)"
    assert not model.module.training
    assert type(model.module).__name__ == "Net"
    assert model.labels is None


def test_a_module_of_the_current_directory(folder: Path) -> None:
    (folder / "mypackage_of_test").mkdir()
    (folder / "mypackage_of_test" / "nets.py").write_text(NET)
    assert type(load_model("mypackage_of_test.nets:Net").module).__name__ == "Net"


def test_an_installed_package() -> None:
    model = load_model("torchvision.models:squeezenet1_1")
    assert type(model.module).__name__ == "SqueezeNet"


def test_neighbours_of_the_file_can_be_imported_then_and_later(folder: Path) -> None:
    nets = folder / "deep" / "nets"
    nets.mkdir(parents=True)
    (nets / "blocks_of_test.py").write_text("from torch import nn\nblock = nn.Linear")
    (nets / "late_of_test.py").write_text("width = 3")
    (nets / "net.py").write_text(
        "import blocks_of_test\n"
        "def make():\n    import late_of_test\n    return blocks_of_test.block(late_of_test.width, 1)\n"
    )
    before = list(sys.path)
    assert load_model("deep/nets/net.py:make").module.in_features == 3
    assert sys.path == before


def test_a_file_by_a_librarys_name_does_not_hide_the_library(folder: Path) -> None:
    (folder / "torchvision.py").write_text(NET)
    load_model("torchvision.py:Net")
    assert hasattr(sys.modules["torchvision"], "models")


def test_the_seed_decides_and_the_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (load_model("net.py:Net", seed=seed).module.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first["conv.weight"], again["conv.weight"])
    assert not torch.equal(first["conv.weight"], other["conv.weight"])


@pytest.mark.parametrize("weights", ["random", "default"])
def test_random_and_default_are_as_made(weights: str) -> None:
    assert load_model("net.py:Net", weights, seed=7).weights == Weights("made", "net.py:Net", 7)


def test_what_the_code_prints_is_no_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loud.py").write_text(
        "from torch import nn\nprint('importing')\ndef make():\n    print('making')\n    return nn.Identity()\n"
    )
    load_model("loud.py:make")
    assert capsys.readouterr() == ("", "importing\nmaking\n")


# --- Preprocessing -------------------------------------------------------------------------------------


def test_imagenets_preprocessing_is_assumed_and_said() -> None:
    model = load_model("net.py:Net")
    assert (model.preprocessing.resize, model.preprocessing.crop) == (256, (224, 224))
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)
    assert model.notes == (
        "input assumed: [1, 3, 224, 224] (found by running), shorter side to 256, centre crop 224×224, ImageNet's mean "
        "and std; --input-shape, --size, --mean and --std change it",
    )


def test_nothing_is_assumed_where_all_is_given() -> None:
    model = load_model("net.py:Net", size=32, mean=(0.1, 0.2, 0.3), std=(1.0,))
    assert (model.preprocessing.resize, model.preprocessing.crop) == (32, (32, 32))
    assert model.preprocessing.mean == (0.1, 0.2, 0.3)
    assert model.notes == ()


@pytest.mark.parametrize(("spec", "channels"), [("net.py:gray", 1), ("net.py:five", 5)])
def test_the_first_convolution_says_how_many_channels(spec: str, channels: int) -> None:
    preprocessing = load_model(spec).preprocessing
    assert preprocessing.channels == channels
    assert preprocessing.mean == preprocessing.std == (0.5,) * channels


def test_a_convolution_over_time_takes_clips() -> None:
    model = load_model("net.py:clips")
    assert (model.input_kind, model.frames) == ("video", 16)


# --- Weights -------------------------------------------------------------------------------------------


def net(classes: int = 2) -> nn.Module:
    model = nn.Module()
    model.conv = nn.Conv2d(3, 4, 3)
    model.fc = nn.Linear(4, classes)
    return model


def test_a_checkpoint_fills_it(folder: Path) -> None:
    saved = net().state_dict()
    torch.save(saved, folder / "best.pth")
    model = load_model("net.py:Net", "best.pth")
    assert str(model.weights) == "best.pth"
    assert all(torch.equal(value, saved[key]) for key, value in model.module.state_dict().items())


def test_a_head_of_another_size_is_resized(folder: Path) -> None:
    torch.save({"state_dict": net(9).state_dict()}, folder / "best.pth")
    model = load_model("net.py:Net", "best.pth")
    assert model.notes[:2] == (
        "best.pth: the weights under `state_dict`",
        "fc rebuilt with 9 outputs, as in the checkpoint",
    )
    with torch.no_grad():
        assert model.module(torch.zeros(1, 3, 8, 8)).shape == (1, 9)


def test_a_checkpoint_that_does_not_fit(folder: Path) -> None:
    saved = net().state_dict()
    del saved["fc.bias"]
    torch.save(saved, folder / "best.pth")
    assert refusal("net.py:Net", "best.pth") == (
        "best.pth does not fit net.py:Net: 1 missing (fc.bias)\nIs it from another network, or one with another head?"
    )


# --- What fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("none.py:make", "no such file: none.py"),
        (
            "net.py:nope",
            "net.py has no 'nope'\nIt has Net, Needs, Box, gray, five, clips, a_dict, a_class and more.",
        ),
        (
            "net.py:Needs",
            "net.py:Needs needs arguments: width, depth\n"
            "Name a function that takes none, for example `def make(): return Net(10)`.",
        ),
        ("net.py:a_dict", "net.py:a_dict returned a dict; expected an nn.Module"),
        ("net.py:a_class", "net.py:a_class returned the class Net; expected an nn.Module"),
        ("net.py:nothing", "net.py:nothing returned None; expected an nn.Module"),
        (
            "net.py:number",
            "net.py:number is an int; expected a function or class that makes an nn.Module, or an nn.Module",
        ),
        ("net.py:fails", "net.py:fails failed: ValueError: no such width (net.py:26)"),
        ("net.py:leaves", "net.py:leaves failed: it called sys.exit(3) (net.py:28)"),
        ("net.py:", "'net.py:' names no attribute\nWrite `package.module:NAME` or `path/to/file.py:NAME`."),
        (":make", "':make' names no module\nWrite `package.module:NAME` or `path/to/file.py:NAME`."),
        (
            "no_such_module:make",
            "there is no module 'no_such_module'\nIt is looked for in the current directory and among the "
            "installed packages; a file is named by its path, `path/to/file.py:NAME`.",
        ),
    ],
)
def test_each_failure_has_its_words(spec: str, message: str) -> None:
    assert refusal(spec) == message


def test_a_failure_inside_a_library_names_the_users_line() -> None:
    message = refusal("net.py:fails_inside")
    assert message.startswith("net.py:fails_inside failed: ")
    assert message.endswith("(net.py:27)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:\n", "cannot import broken.py: SyntaxError: invalid syntax (broken.py:1)"),
        ("\nimport no_such_library\n",
         "cannot import broken.py: ModuleNotFoundError: No module named 'no_such_library' (broken.py:2)"),
        ("raise SystemExit\n", "cannot import broken.py: it called sys.exit(None) (broken.py:1)"),
        ("1 / 0\n", "cannot import broken.py: ZeroDivisionError: division by zero (broken.py:1)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_imported(text: str, message: str, folder: Path) -> None:
    (folder / "broken.py").write_text(text)
    before = list(sys.path)
    assert refusal("broken.py:make") == message
    assert sys.path == before


def test_an_import_that_fails_inside_a_module_is_told_from_an_absent_one(folder: Path) -> None:
    (folder / "broken_of_test.py").write_text("import no_such_library\n")
    assert refusal("broken_of_test:make") == (
        "cannot import broken_of_test: ModuleNotFoundError: No module named 'no_such_library' (broken_of_test.py:1)"
    )


# --- Seeds, and the command line -----------------------------------------------------------------------

DRAWS = """
import random
import numpy as np
import torch
from torch import nn

ORDER = np.random.permutation(100)  # drawn on import
standing = nn.Linear(2, 2)

class Drawn(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers = [float(torch.rand(())), float(np.random.rand()), random.random(), float(np.random.rand())]

    def forward(self, x):
        return x
"""


def test_factories_draw_from_the_seed_with_whatever_generator(folder: Path) -> None:
    (folder / "draws_of_test.py").write_text(DRAWS)
    outside = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = [float(torch.rand(())), float(np.random.rand()), random.random(), float(np.random.rand())]
    random.setstate(outside[0])
    np.random.set_state(("MT19937", outside[1], *np.random.get_state()[2:]))
    torch.set_rng_state(outside[2])
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    for spec in ("draws_of_test.py:Drawn", "draws_of_test:Drawn", "draws_of_test:Drawn"):  # the last imports nothing
        assert load_model(spec, seed=5).module.numbers == expected, spec
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_network_that_stands_in_a_module_is_another_one_each_time(folder: Path) -> None:
    (folder / "stands_of_test.py").write_text(DRAWS)
    first, second = (load_model("stands_of_test:standing").module for _ in range(2))
    assert first is not second
    assert torch.equal(first.weight, second.weight)


PARSES = """
import argparse
from torch import nn
parser = argparse.ArgumentParser()
parser.add_argument("--size", type=int, default=64)
options = parser.parse_args()

class Late(nn.Conv2d):
    def forward(self, x):
        assert parser.parse_args().size == 64
        return super().forward(x)

def make(): return nn.Conv2d(3, options.size, 1)
def in_the_call(): return nn.Conv2d(3, parser.parse_args().size, 1)
def late(): return Late(3, 64, 1)
"""


@pytest.mark.parametrize("name", ["make", "in_the_call", "late"])
@pytest.mark.parametrize("place", ["parses.py", "parses"])
def test_fmaps_options_are_not_the_networks(
    name: str, place: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "parses.py").write_text(PARSES)
    monkeypatch.setattr(sys, "argv", ["fmap", "layers", f"{place}:{name}", "--size", "8", "--json"])
    assert run() == 0
    assert sys.argv[2:] == [f"{place}:{name}", "--size", "8", "--json"]
    assert json.loads(capsys.readouterr().out)["parameters"] == 64 * 3 + 64
