"""Networks that take no colour picture are listed, followed and counted without a file; shapes are torch's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import fmap_cli as fmap
from fmap_cli.commands.group import group

NETS = """
import torch
from torch import nn

def over(places, channels):
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[places - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[places - 1]
    return nn.Sequential(conv(channels, 6, 3), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(6, 5))

def four(): return over(2, 4)
def twelve(): return over(2, 12)
def volume(): return over(3, 1)
def audio(): return over(1, 1)
def vector(): return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 5))

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.vector, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(10, 4), nn.Linear(8, 5)
    def forward(self, x, y):
        return self.fc(torch.cat([self.image(x).mean((2, 3)), self.vector(y)], 1))
"""

SHAPES = {
    "four": [(4, 224, 224)],
    "twelve": [(12, 224, 224)],
    "volume": [(1, 16, 224, 224)],
    "audio": [(1, 1024)],
    "vector": [(20,)],
    "Two": [(3, 224, 224), (10,)],
}


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    home: dict[str, Any] = {}
    exec(NETS, home)
    return home


def command(*arguments: str) -> Result:
    done = CliRunner().invoke(group, list(arguments))
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("name", SHAPES)
def test_layers_and_fields_need_no_file(nets: dict[str, Any], name: str) -> None:
    net = nets[name]()
    expected: dict[str, list[int]] = {}
    for path, module in net.named_modules():
        if path:
            module.register_forward_hook(lambda _module, _args, out, at=path: expected.update({at: list(out.shape)}))
    with torch.no_grad():
        net(*(torch.zeros(1, *shape) for shape in SHAPES[name]))
    done = command("layers", f"nets.py:{name}", "--json")
    found = {row["name"]: row["shape"] for row in json.loads(done.stdout)["layers"]}
    assert {path: found[path] for path in expected} == expected
    assert "bundled sample" not in done.stderr or name == "Two"
    fields = json.loads(command("rf", "--model", f"nets.py:{name}", "--json").stdout)["layers"]
    assert {row["name"] for row in fields} >= set(expected)


@pytest.mark.parametrize("name", ["twelve", "audio", "Two"])
def test_memory_needs_no_file_and_counts_the_input_that_is_named(nets: dict[str, Any], name: str) -> None:
    forecast = fmap.memory(nets[name](), 4, say=lambda sentence: None)
    assert forecast.inputs == tuple((4, *shape) for shape in SHAPES[name])
    taken = {share.kind: share.most for bill in forecast.bills for share in bill.shares}
    values = sum(4 * int(np.prod(shape)) for shape in SHAPES[name])
    assert 4 * values <= taken["input"] <= 4 * values + 8 * 4 * 8  # float32, and the targets beside


def test_without_a_file_the_array_that_is_wanted_is_named_and_is_taken(nets: dict[str, Any], tmp_path: Path) -> None:
    done = command("predict", "--model", "nets.py:four")
    assert "fed noise (seed 0) of shape [1, 4, 224, 224]; an .npy file with 4 channels is read." in done.stderr
    done = command("predict", "--model", "nets.py:audio")
    assert "fed noise (seed 0) of shape [1, 1, 1024]; an .npy file of that shape is taken as it is." in done.stderr
    generator = np.random.default_rng(0)
    np.save("bands.npy", generator.uniform(size=(4, 224, 224)).astype(np.float32))
    np.save("sound.npy", generator.normal(size=(1, 1024)).astype(np.float32))
    for file, name in (("bands.npy", "four"), ("sound.npy", "audio")):
        document = json.loads(command("predict", file, "--model", f"nets.py:{name}", "--json").stdout)
        assert len(document["predictions"]) == 5
