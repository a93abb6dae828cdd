"""Class names for one's own networks: what files say them, whose they are checked against, and where they appear."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fmap_cli as fmap
from fmap_cli.answers.figure import class_colours, label_picture
from fmap_cli.answers.names import background_class
from fmap_cli.commands.group import group
from fmap_cli.errors import ModelError
from fmap_cli.models.labels import read_labels
from fmap_cli.session.opening import read_image

NETS = """
from torch import nn
def classifier():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.Identity()
    def forward(self, x):
        return self.other(self.last(self.first(x).relu()))
"""
NAMES = ("cat", "dog", "kōwhai tree")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    (tmp_path / "two.json").write_text('["a", "b"]')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: object) -> Any:
    return CliRunner().invoke(group, [str(each) for each in arguments])


# --- Files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "cat\ndog\nkōwhai tree",
        "\ufeffcat\r\n  dog \r\nkōwhai tree\r\n\r\n",
        json.dumps(NAMES),
        json.dumps({"0": "cat", "1": "dog", "2": "kōwhai tree"}),
        json.dumps({"2": "kōwhai tree", "0": "cat", "1": "dog"}),
        json.dumps({"kōwhai tree": 2, "cat": 0, "dog": 1}),
        json.dumps({"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "kōwhai tree"]}),
    ],
    ids=["lines", "windows", "list", "numbers", "disorder", "class_to_idx", "synsets"],
)
def test_a_file_says_the_names_in_one_of_these_ways(tmp_path: Path, content: str) -> None:
    (tmp_path / "names").write_text(content, encoding="utf-8", newline="")
    assert read_labels(tmp_path / "names") == NAMES


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"cat\n\ndog\n", "line 2 is empty"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"a\x00b", "not text"),
        (b"[1, 2]", "the name of class 0 is int, not text"),
        (b'["a", ""]', "the name of class 1 is empty"),
        (b'{"0": "a", "2": "b"}', "no name for class 1"),
        (b'{"0": "a", "x": "b"}', "'x' is not a number of a class"),
        (b'{"a": 0, "b": 0}', "two names have one number"),
        (b'["a", ', "Expecting value"),
        (b"[" * 100_000, "holds no labels"),
    ],
)
def test_what_holds_no_names_is_a_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ModelError, match="holds no labels") as caught:
        read_labels(tmp_path / "names.txt")
    assert says in caught.value.message
    assert "a class a line" in str(caught.value.hint)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the labels .*No such file"):
        read_labels(tmp_path / "none.txt")


@given(st.lists(st.text(st.characters(categories=("L", "N", "Zs"))).filter(lambda name: name.strip()), min_size=1))
def test_both_forms_say_the_same(names: list[str]) -> None:
    import tempfile

    expected = tuple(name.strip() for name in names)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "names")
        for content in (json.dumps(names), json.dumps(dict(enumerate(names))), "\n".join(names) + "\n"):
            file.write_text(content, encoding="utf-8")
            if content[0] in "[{" or expected[0][0] not in "[{":
                assert read_labels(file) == expected


# --- Where they appear ---------------------------------------------------------------------------------------


# A program is loaded in a process of its own first, which takes seconds: the second form of one is slow.
@pytest.mark.parametrize("model", ["nets.py:classifier", "net.pt2", pytest.param("net.pt", marks=pytest.mark.slow)])
def test_ones_own_classes_are_named(home: Path, samples: Path, model: str) -> None:
    net = _made("classifier")
    example = torch.zeros(1, 3, 64, 64)
    if model == "net.pt2":
        torch.export.save(torch.export.export(net, (example,)), model)
    elif model == "net.pt":
        torch.jit.save(torch.jit.trace(net, example), model)
    photo = samples / "coffee.png"
    document = json.loads(command("predict", photo, "-m", model, "--labels", "names.txt", "--json").stdout)
    found = {each["index"]: each["label"] for each in document["predictions"]}
    assert found == dict(enumerate(NAMES))
    shown = json.loads(command("show", photo, "-m", model, "--labels", "names.txt", "--json", "-o", "x.png").stdout)[
        "predictions"
    ]
    assert {each["index"]: each["label"] for each in shown} == found


def test_a_checkpoint_with_a_head_of_its_own_gets_its_names(home: Path, samples: Path) -> None:
    import torchvision

    net = torchvision.models.squeezenet1_1(num_classes=3)
    torch.save(net.state_dict(), "fine.pth")
    done = command(
        "predict", samples / "coffee.png", "-m", "squeezenet1_1", "-w", "fine.pth", "--labels", "names.txt", "--json"
    )
    assert {each["label"] for each in json.loads(done.stdout)["predictions"]} == set(NAMES)


@pytest.mark.parametrize("verb", ["predict", "show"])
@pytest.mark.parametrize("net", ["classifier", "Pixels"])
def test_another_number_of_names_than_classes_is_refused(home: Path, samples: Path, verb: str, net: str) -> None:
    done = command(verb, samples / "coffee.png", "-m", f"nets.py:{net}", "--labels", "two.json")
    assert isinstance(done.exception, ModelError)
    assert done.exception.message == (
        f"2 labels for nets.py:{net}, which answers with 3 classes: one label a class is needed."
    )


def test_in_python_a_file_is_a_path(home: Path, samples: Path) -> None:
    model = fmap.load_model(_made("classifier"), size=64, labels=Path("names.txt"), say=lambda sentence: None)
    assert model.model.labels == NAMES
    with pytest.raises(ModelError, match=r"2 labels .* 3 classes"):
        fmap.load_model("nets.py:classifier", labels=Path("two.json"), say=lambda sentence: None)


# --- Segmentation --------------------------------------------------------------------------------------------


def test_the_class_map_of_ones_own_segmentation_is_that_of_its_scores(home: Path, samples: Path) -> None:
    net = _made("Pixels")
    model = fmap.load_model(net, size=(48, 64), labels=NAMES, say=lambda sentence: None)
    with torch.no_grad():
        answer = net(read_image(model, str(samples / "coffee.png"), lambda sentence: None).tensor[None])
    looked = fmap.feature_maps(model, samples / "coffee.png", ["first", "last", "other"], say=lambda sentence: None)
    maps = {each.layer.name: each.label_map for each in looked.maps}
    assert maps["first"] is None  # as many channels as classes, and not the answer
    for name in ("last", "other"):  # the answer itself, passed on
        assert maps[name] is not None
        np.testing.assert_array_equal(maps[name], answer[0].argmax(0).numpy())


@pytest.mark.parametrize(("first", "plain"), [("road", False), ("__background__", True), ("Void", True)])
def test_the_first_class_is_coloured_unless_it_is_the_background(first: str, plain: bool) -> None:
    """All pixels are of class 0: by Matplotlib's tab20 that is (31, 119, 180), of which the map takes 0.65."""
    photo, classes = np.full((2, 2, 3), 100, np.uint8), np.zeros((2, 2), int)
    found = label_picture(classes, photo, class_colours(2), background_class((first, "sky")))
    wanted = [100, 100, 100] if plain else [round(0.35 * 100 + 0.65 * each) for each in (31, 119, 180)]
    assert found.tolist() == [[wanted] * 2] * 2


@pytest.mark.parametrize(("layer", "said"), [("first", True), ("other", False)])
def test_where_the_answer_is_not_asked_for_a_note_says_how_its_classes_are_drawn(
    layer: str, said: bool, home: Path, samples: Path
) -> None:
    told: list[str] = []
    model = fmap.load_model(_made("Pixels"), size=(48, 64), labels=NAMES, say=lambda sentence: None)
    fmap.feature_maps(model, samples / "coffee.png", layer, say=told.append)
    assert any("gives each pixel a class" in each for each in told) is said


def test_without_names_there_is_no_class_map(home: Path, samples: Path) -> None:
    model = fmap.load_model(_made("Pixels"), size=(48, 64), say=lambda sentence: None)
    looked = fmap.feature_maps(model, samples / "coffee.png", "last", say=lambda sentence: None)
    assert looked.maps[0].label_map is None


def _made(name: str) -> Any:
    home: dict[str, Any] = {}
    exec(NETS, home)
    torch.manual_seed(0)
    net: nn.Module = home[name]()
    return net.eval()
