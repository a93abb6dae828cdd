"""Where models come from: which spec is whose, what every source defines, and that one more is a file and a line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import fmap_cli.models
from fmap_cli.commands.group import group
from fmap_cli.errors import ModelError
from fmap_cli.models import brings_its_weights, catalog, load_model, names, sources
from fmap_cli.models.sources import SOURCES, Loader, Names, Source, source_of

TOY = """
from torch import nn
from fmap_cli.models.records import LoadedModel, ModelEntry, Preprocessing, Weights

def names():
    return ["tiny", "small"]

def has(name):
    return name in names()

def entry(name):
    return ModelEntry("toy:" + name, "toys", "classification", ("woods",), "woods", 10, None, (8, 8), None)

def load(asked):
    asked.say("unpacking " + asked.spec)
    preprocessing = asked.overrides.over(Preprocessing(resize=8, crop=(8, 8)))
    module = nn.Sequential(nn.Conv2d(3, 2, 3)).eval()
    return LoadedModel(module, asked.spec, Weights("pretrained", "woods"), preprocessing)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sixth source: one file among the room's, one line in the list."""
    (tmp_path / "toys.py").write_text(TOY)
    monkeypatch.setattr(fmap_cli.models, "__path__", [*fmap_cli.models.__path__, str(tmp_path)])
    line = Source("toys", lambda spec: isinstance(spec, str) and spec.startswith("toy:"), prefix="toy:")
    for module in (sources, names):
        monkeypatch.setattr(module, "SOURCES", (line, *SOURCES))
    yield
    sys.modules.pop("fmap_cli.models.toys", None)
    vars(fmap_cli.models).pop("toys", None)


def test_one_more_source_is_a_file_and_a_line(toy: None) -> None:
    said: list[str] = []
    model = load_model("toy:tiny", size=16, say=said.append, labels=("a", "b"))
    assert (model.name, str(model.weights), model.preprocessing.crop) == ("toy:tiny", "woods", (16, 16))
    assert model.labels == ("a", "b")
    assert said == ["unpacking toy:tiny"]
    assert not brings_its_weights("toy:tiny")
    assert load_model("toy:tiny", shapes=((3, 12, 20),)).preprocessing.resize == (12, 20)
    with pytest.raises(ModelError, match=r"toy:tiny takes 3,H,W, not input_shape 4,8,8"):
        load_model("toy:tiny", shapes=((4, 8, 8),))


def test_commands_take_and_list_it(toy: None) -> None:
    done = CliRunner().invoke(group, ["layers", "toy:tiny", "--json"], catch_exceptions=False)
    assert [row["type"] for row in json.loads(done.stdout)["layers"]] == ["input", "Conv2d"]
    listed = CliRunner().invoke(group, ["models", "toy:s*", "--json"], catch_exceptions=False)
    assert [row["name"] for row in json.loads(listed.stdout)["models"]] == ["toy:small"]
    assert not any(entry.name.startswith("toy") for entry in catalog())


def test_what_it_lacks_is_said_by_its_names(toy: None) -> None:
    with pytest.raises(ModelError) as caught:
        catalog("toy:smal1")
    assert caught.value.message == "no model of toy's matches 'smal1'"
    assert "Did you mean toy:small? `fmap models 'toy:PATTERN'` lists toy's" in str(caught.value.hint)
    with pytest.raises(ModelError, match='toy has: `model="toy:tiny"`'):
        load_model("tiny")


@pytest.mark.parametrize("source", SOURCES, ids=[each.file for each in SOURCES])
def test_every_source_defines_what_is_asked_of_it(source: Source) -> None:
    wanted: Any = Loader if source.prefix is None else Names
    for name, function in inspect.getmembers(wanted, inspect.isfunction):
        if not name.startswith("_"):
            parameters = list(inspect.signature(getattr(source.loader, name)).parameters)
            assert parameters == list(inspect.signature(function).parameters)[1:], name


@pytest.mark.parametrize(
    ("spec", "file", "brings"),
    [
        ("efficientnet_lite0", "embedded", False),
        ("resnet18", "torchvision_zoo", False),
        ("no such name", "torchvision_zoo", False),
        ("timm:resnet18.a1_in1k", "timm_zoo", False),
        ("timm:hf-hub:a/b.pt", "timm_zoo", False),
        ("hf-hub:a/b", "timm_zoo", False),
        ("runs/net.PT2", "programs.opening", True),
        ("weights.safetensors", "programs.opening", True),
        ("net.py:make", "factory", False),
        ("net.py", "factory", False),
        ("package.module:make", "factory", False),
        ("net.pt:make", "factory", False),
        (torch.nn.Identity(), "live", True),
    ],
    ids=str,
)
def test_whose_a_spec_is(spec: Any, file: str, brings: bool) -> None:
    assert source_of(spec).file == file
    assert brings_its_weights(spec) is brings


def test_a_source_is_imported_for_its_own_specs_alone() -> None:
    code = """
import sys
import fmap_cli.models as models
from fmap_cli.models.sources import SOURCES
names = {f"fmap_cli.models.{each.file}" for each in SOURCES}
assert not names & set(sys.modules), names & set(sys.modules)
models.brings_its_weights("resnet18"), models.brings_its_weights("net.pt2"), models.brings_its_weights("timm:x")
assert not names & set(sys.modules), names & set(sys.modules)
models.load_model("efficientnet_lite0")
assert names & set(sys.modules) == {"fmap_cli.models.embedded"}, names & set(sys.modules)
assert "timm" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
