"""Networks that keep count, print, put out nothing, leave the program or answer in other ways than a tensor."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fmap_cli.cli import run

NETS = '''
import sys
import torch
from torch import nn


class Counter(nn.Module):
    """Puts out 1 in its first pass, 2 in its second."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.act = nn.ReLU()
        self.register_buffer("passes", torch.zeros(()))
        self.calls = 0

    def forward(self, x):
        self.passes += 1
        self.calls += 1
        return self.act(self.conv(x) * 0 + self.passes + 100 * self.calls)


class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x) * 0 + torch.rand(()))


class Talker(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.act = nn.ReLU()

    def forward(self, x):
        print("hello from forward")
        return self.act(self.conv(x))


class Empty(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        return x[:, :, :0], x[:0], x + 1


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).relu().to_sparse()


class Leaver(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        sys.exit(5)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x, y):
        return self.conv(x) + y["there is no tensor like it"]


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat = nn.Flatten()
        self.fc = nn.Linear(3 * 16 * 16, 7)

    def forward(self, x):
        return self.fc(self.flat(x))


class Logits(Flat):
    def forward(self, x):
        return {"logits": super().forward(x), "other": x.mean()}


class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.fft.fft2(self.conv(x)).abs()
'''


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `fmap show` on a network of NETS: exit code, standard output and standard error."""
    (tmp_path / "nets.py").write_text(NETS)
    sample = Path(__file__).parents[2] / "sample_images" / "coffee.png"
    monkeypatch.chdir(tmp_path)

    def call(name: str, *options: str) -> tuple[int, str, str]:
        code = run(["show", str(sample), "-m", f"nets.py:{name}", "--size", "16,16", "--raw", *options])
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


def test_measuring_axes_leaves_the_network_as_it_was(show):
    code, out, _ = show("Counter", "-l", "act", "--json")
    layer = json.loads(out)["layers"][0]
    assert code == 0
    assert layer["mean"] == layer["max"] == 101  # one pass, on a network that has made none


def test_measuring_axes_leaves_the_random_numbers_as_they_were(show):
    torch.manual_seed(3)
    expected = torch.rand(()).item()
    torch.manual_seed(3)
    assert json.loads(show("Random", "-l", "act", "--json")[1])["layers"][0]["mean"] == pytest.approx(expected)


def test_what_a_network_prints_goes_to_standard_error_once(show):
    code, out, err = show("Talker", "-l", "act", "--json")
    assert code == 0
    assert json.loads(out)["layers"][0]["name"] == "act"
    assert err.count("hello from forward") == 1


def test_layers_without_values_have_numbers_and_no_figure(show):
    code, out, err = show("Empty", "-l", "*", "--json")
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    assert code == 0
    assert layers["getitem"]["shape"] == [1, 4, 0, 14]
    assert (layers["getitem"]["file"], layers["getitem"]["mean"], layers["getitem"]["count"]) == (None, None, 0)
    assert layers["getitem_1"]["file"] is None
    assert Path(layers["add"]["file"]).is_file()
    assert "getitem has an empty output here, [1, 4, 0, 14]: no figure." in err


def test_a_sparse_output_is_drawn_as_what_it_holds(show):
    code, out, _ = show("Sparse", "-l", "*", "--json")
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    assert code == 0
    assert layers["to_sparse"]["mean"] == layers["relu"]["mean"] > 0


def test_a_network_that_leaves_the_program_is_a_failure_of_the_network(show):
    code, out, err = show("Leaver")
    assert (code, out) == (1, "")
    assert "it called sys.exit(5)" in err
    assert "nets.py:" in err


def test_a_network_that_no_input_suits_is_told_from_one_that_is_too_large(show):
    code, _, err = show("Two")
    assert code == 1
    assert "missing 1 required positional argument: 'y'" in err
    assert "--input-shape" in err.splitlines()[-1]
    assert "wrap one that takes more in a factory" in err.splitlines()[-1].replace(" a factory", " a factory")


def test_a_network_without_convolutions_shows_its_first_module(show):
    code, out, _ = show("Flat", "--json")
    assert code == 0
    assert [layer["name"] for layer in json.loads(out)["layers"]] == ["flat"]


def test_logits_among_other_answers_are_the_classes_scores(show):
    predictions = json.loads(show("Logits", "-l", "fc", "--json")[1])["predictions"]
    assert len(predictions) == 5
    assert sum(each["probability"] for each in predictions) < 1


def test_magnitudes_of_complex_values_are_called_so(show):
    from fmap_cli.inputs.images import load_image, sample_path
    from fmap_cli.maps.look import look
    from fmap_cli.models.records import ModelRequest
    from fmap_cli.session.opening import open_session

    session = open_session(ModelRequest("nets.py:Wave", size=(16, 16)), lambda note: None)
    seen = look(session, load_image(str(sample_path()), session.model.preprocessing), ["fft_fft2", "abs"])
    magnitudes, plain = seen.maps
    assert "the values are complex: their magnitudes are drawn and counted" in magnitudes.notes
    assert magnitudes.stats == plain.stats


@pytest.mark.parametrize("suffix", ["npz", "pt", "safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_values_are_saved_as_they_are(show, suffix, dtype):
    """By torch on the saved input: the transform is taken again."""
    from safetensors.torch import load_file

    code, *_ = show("Wave", "-l", "*", "--dtype", dtype, "--save", f"wave.{suffix}", "--json")
    assert code == 0
    saved = {
        "npz": lambda: {name: torch.from_numpy(array) for name, array in np.load("wave.npz").items() if array.ndim},
        "pt": lambda: torch.load("wave.pt"),
        "safetensors": lambda: load_file("wave.safetensors"),
    }[suffix]()
    wave = saved["fft_fft2"]
    assert wave.is_complex()
    assert torch.allclose(wave, torch.fft.fft2(saved["conv"]).to(wave.dtype), atol=1e-4)
    assert torch.allclose(saved["abs"], wave.abs().to(saved["abs"].dtype), rtol=1e-4)


@pytest.mark.parametrize("option", [("--clip", "nan"), ("--score", "nan"), ("--seed", "9" * 23), ("--seed", "-1")])
def test_numbers_that_are_none_are_wrong_usage(show, option):
    assert show("Flat", *option)[0] == 2
