"""`fmap rf` as a user runs it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Ran
from PIL import Image

from fmap_cli.inputs.images import load_image
from fmap_cli.models.records import ModelRequest
from fmap_cli.receptive.unit import effective_field, unit_view
from fmap_cli.session.opening import Session, open_session

Run = Callable[..., Ran]
CAT = str(ROOT / "sample_images" / "chelsea.png")
COFFEE = str(ROOT / "sample_images" / "coffee.png")


@pytest.fixture(scope="module")
def lite() -> Session:
    return open_session(ModelRequest("efficientnet_lite0"), lambda _: None)


# -- the table -----------------------------------------------------------------------------------------------------


def test_a_row_a_layer_with_the_numbers_of_the_papers(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = fmap("rf", "--model", "resnet18", "-l", "conv1", "-l", "layer?", "-l", "avgpool")
    assert ran.code == 0
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[2:] for line in lines[4:10]}  # without name and type
    assert rows["conv1"] == ["7", "2", "3", "-3", "0.1", "%", "112", "×", "112"]
    assert rows["layer4"] == ["435", "32", "217", "-217", "100", "%", "7", "×", "7"]
    assert rows["avgpool"][:2] == ["whole", "image"]
    assert "whole image: avgpool: mean takes in the whole map" in ran.out
    assert "6 of 85 layers" in ran.out


def test_json_and_csv_say_the_same(fmap: Run) -> None:
    arguments = ("rf", "--model", "squeezenet1_0", "-l", "features.12", "-l", "classifier*")
    document = fmap(*arguments, "--json").json
    assert document["schema_version"] == 1
    assert document["input_axes"] == {"H": 224, "W": 224}
    first = document["layers"][0]
    assert (first["name"], first["field"], first["cells"]) == ("features.12", "exact", [13, 13])
    assert first["axes"][0] == {
        "axis": "H",
        "field": "exact",
        "field_kind": "exact",
        "size": 155,
        "least": 155,
        "stride": 16,
        "padding": 60,
        "start": -60,
        "centre": 17.0,
        "by": None,
        "why": None,
    }
    assert first["field_axes"] == first["axes"] and first["field_kind"] == "exact"
    assert (first["field_size"], first["field_stride"], first["field_start"]) == ([155, 155], [16, 16], [-60, -60])
    assert [(group["channels"], group["axes"][1]["size"]) for group in first["groups"]] == [
        ([[0, 255]], 123),
        ([[256, 511]], 155),
    ]
    rows = list(csv.DictReader(io.StringIO(fmap(*arguments, "--csv").out)))
    assert [row["name"] for row in rows] == [each["name"] for each in document["layers"]]
    assert (rows[0]["size"], rows[0]["start"], rows[0]["groups"]) == ("155 155", "-60 -60", "2")
    assert rows[-1]["field"] == "whole image"
    assert rows[-1]["size"] == "- -"


def test_groups_of_channels_stand_under_their_layer(fmap: Run) -> None:
    densenet = ("rf", "--model", "densenet121", "-l", "features.denseblock1.cat")
    few = fmap(*densenet).out
    assert "7 groups of channels" in few and "11 … 59" in few
    every = fmap(*densenet, "--groups").out
    assert every.count("  channels ") == 7


def test_fields_depend_on_the_size_of_the_input_where_padding_does(fmap: Run) -> None:
    """TensorFlow's SAME padding is on one side of an even input and on both of an odd one."""
    even = fmap("rf", "-l", "features.0.0", "--json").json["layers"][0]["axes"][0]
    odd = fmap("rf", "-l", "features.0.0", "--size", "225,225", "--json").json["layers"][0]["axes"][0]
    assert (even["start"], odd["start"]) == (0, -1)
    assert even["size"] == odd["size"] == 3


def test_the_growth_figure_is_written(fmap: Run, workdir: Path) -> None:
    ran = fmap("rf", "--model", "resnet18", "-o", "growth.png")
    assert ran.code == 0 and "growth.png" in ran.out
    assert Image.open(workdir / "growth.png").width > 600


def test_layers_has_a_column(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["name"]: row for row in fmap("layers", "resnet18", "--json").json["layers"]}
    assert rows["layer2"]["field_size"] == [99, 99]
    assert rows["layer2"]["field_stride"] == [8, 8]
    assert rows["layer2"]["field_start"] == [-49, -49]
    assert (rows["fc"]["field_kind"], rows["fc"]["field_size"]) == ("whole image", [None, None])
    monkeypatch.setenv("COLUMNS", "160")
    line = next(line for line in fmap("layers", "resnet18").out.splitlines() if line.startswith("maxpool"))
    assert "11 /4" in line


# -- one unit ------------------------------------------------------------------------------------------------------


def test_a_units_value_and_box_are_those_of_torch(lite: Session) -> None:
    image = load_image(CAT, lite.model.preprocessing)
    view = unit_view(lite, image, ["features.4"], (3, 12), 7)
    with torch.no_grad():
        maps = lite.model.module.features[:5](image.tensor[None])[0]
    assert view.value == float(maps[7, 3, 12])
    assert np.array_equal(view.map, maps[7].numpy())
    axis = view.row.field.axes[0]
    assert axis.start is not None and axis.stride is not None and axis.size is not None
    first = axis.start + 3 * int(axis.stride)
    assert view.box.unclipped[0] == (first, first + axis.size - 1)
    # Pixels outside the box do not count, to the last bit; its outermost rows and columns do.
    (top, bottom), (left, right) = (ends for ends in view.box.seen if ends is not None)
    for inside in (False, True):
        other = image.tensor.clone()
        box = other[:, top : bottom + 1, left : right + 1].clone()
        other += 1.0
        if not inside:
            other[:, top : bottom + 1, left : right + 1] = box
        else:
            other = image.tensor.clone()
            other[:, top, left : right + 1] += 1.0
        with torch.no_grad():
            changed = float(lite.model.module.features[:5](other[None])[0, 7, 3, 12])
        assert (changed == view.value) != inside


def test_the_strongest_unit_is_found(lite: Session) -> None:
    image = load_image(CAT, lite.model.preprocessing)
    with torch.no_grad():
        maps = lite.model.module.features[:5](image.tensor[None])[0]
    best = unit_view(lite, image, ["features.4"], "max")
    assert best.value == float(maps.max())
    of_channel = unit_view(lite, image, ["features.4"], "max", 5)
    assert (of_channel.channel, of_channel.value) == (5, float(maps[5].max()))
    at_cell = unit_view(lite, image, ["features.4"], (2, 2))
    assert at_cell.channel == int(maps[:, 2, 2].argmax())


def test_at_draws_and_prints_the_unit(fmap: Run, workdir: Path) -> None:
    ran = fmap("rf", CAT, "-l", "features.4", "--at", "0,0", "--channel", 3)
    assert ran.code == 0
    assert (
        "the full field, -58 to 88 (147 px), is cut off at the border" in ran.out
        and "channel 3 of 80, row 0, column 0: as asked" in ran.out
    )
    name = "chelsea-efficientnet_lite0-features.4-unit.png"
    assert name in ran.out and (workdir / name).exists()
    document = fmap("rf", CAT, "-l", "features.4", "--at", "0,0", "--channel", 3, "--json", "-o", "x.svg").json
    assert document["box"][0] == {"axis": "H", "seen": [0, 88], "unclipped": [-58, 88]}
    assert (document["cell"], document["channel"], document["figure"]) == ([0, 0], 3, "x.svg")
    assert (workdir / "x.svg").read_text().lstrip().startswith("<?xml")


# -- the effective field -------------------------------------------------------------------------------------------


def test_the_effective_field_is_torchs_gradient(lite: Session) -> None:
    images = [load_image(path, lite.model.preprocessing) for path in (CAT, COFFEE)]
    found = effective_field(lite, images, ["features.3"], place=(20, 6), channel=4)
    expected = np.zeros((224, 224))
    for image in images:
        pixels = image.tensor[None].clone().requires_grad_()
        value = lite.model.module.features[:4](pixels)[0, 4, 20, 6]
        (gradient,) = torch.autograd.grad(value, pixels)
        expected += gradient[0].abs().double().sum(0).numpy()
    assert np.allclose(found.energy, expected / expected.sum(), rtol=1e-5, atol=1e-12)
    assert found.count == 2
    (top, bottom), (left, right) = (ends for ends in found.box.seen if ends is not None)
    outside = found.energy.copy()
    outside[top : bottom + 1, left : right + 1] = 0
    assert outside.sum() == 0  # nothing outside the theoretical field
    assert [share for share, _, _ in found.holds] == [0.5, 0.9, 0.99]
    for share, high, wide in found.holds:
        rows = np.abs(np.arange(224) - found.centre[0]) <= (high - 1) / 2
        columns = np.abs(np.arange(224) - found.centre[1]) <= (wide - 1) / 2
        held = found.energy[np.ix_(rows, columns)].sum()
        tighter = found.energy[
            np.ix_(np.convolve(rows, [1] * 3, "same") == 3, np.convolve(columns, [1] * 3, "same") == 3)
        ]
        assert held >= share > tighter.sum()


def test_the_box_of_all_channels_is_their_hull(fmap: Run) -> None:
    arguments = ("rf", CAT, "-m", "squeezenet1_1", "-w", "random", "-l", "features.12", "--effective", "-o", "e.png")
    every, first = fmap(*arguments, "--json").json, fmap(*arguments, "--json", "--channel", 0).json
    sizes = [box["unclipped"][1] - box["unclipped"][0] + 1 for box in (every["box"][0], first["box"][0])]
    assert sizes == [207, 175]
    assert "theoretical  175 × 175 px" in fmap(*arguments, "--channel", 0).out


def test_noise_is_seeded_and_said(fmap: Run) -> None:
    arguments = ("rf", "-l", "features.2", "--size", 64, "--effective", "--noise", 2, "--json", "-o", "e.png")
    first, second = fmap(*arguments).json, fmap(*arguments).json
    assert first == second
    assert (first["count"], first["source"]) == (2, "Gaussian noise (seed 0)")
    assert fmap(*arguments, "--seed", 1).json["source"] == "Gaussian noise (seed 1)"
    assert first["holds"][0]["height"] < first["holds"][2]["height"]


def test_effective_prints_the_sizes(fmap: Run, workdir: Path) -> None:
    ran = fmap("rf", CAT, COFFEE, "-l", "features.3", "--effective")
    assert ran.code == 0
    assert "90 % of what moves the unit is in" in ran.out and "2 × images" in ran.out
    assert (workdir / "chelsea-efficientnet_lite0-features.3-effective.png").exists()


def test_other_noise_gives_other_gradients(lite: Session) -> None:
    image = load_image(CAT, lite.model.preprocessing)
    one, other = (effective_field(lite, [image], ["features.2"], noise=1, seed=seed).energy for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_a_network_without_gradients_is_refused(fmap: Run, workdir: Path) -> None:
    (workdir / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x.detach())\n"
        "def make():\n"
        "    return Net()\n"
    )
    fmap("rf", CAT, "--model", "net.py:make", "-l", "conv", "--effective").refused("reaches the input", "effective")


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("-l", "features.4", "--at", "14,0"), ("no cell 14,0", "14 × 14", "rows 0 to 13"), 1),
        (("-l", "features.4", "--at", "1,2,3"), ("no cell 1,2,3",), 1),
        (("-l", "features.4", "--at", "middle"), ("'middle' is not a cell", "3,4"), 2),
        (("-l", "features.4", "--at", "-1,2"), ("is not a cell",), 2),
        (("-l", "features.4", "--at", "0,0", "--channel", "80"), ("80 channels", "--channel takes 0 to 79"), 1),
        (("-l", "classifier.1", "--at", "max"), ("--at cannot name a cell of it", "fmap rf --layer classifier.1"), 1),
        (("-l", "flatten", "--effective"), ("without height and width",), 1),
        (("-l", "features.?", "--at", "max"), ("9 layers match", "--layer"), 1),
        (("-l", "features.44", "--at", "max"), ("features.44",), 1),
        (("--at", "max"), ("name it with --layer",), 2),
        (("-l", "features.4", "--channel", "1"), ("--channel goes with",), 2),
        (("-l", "features.4", "--noise", "3"), ("--noise goes with --effective",), 2),
        (("-l", "features.4", "--effective", "--at", "max"), ("--at Y,X",), 2),
        (("--json", "--csv"), ("exclude each other",), 2),
        (("-o", "x.txt"), (".png",), 2),
        ((CAT, COFFEE), ("there are 2 images",), 2),
        ((CAT, "-l", "features.4", "--effective", "--noise", "2"), ("one or the other",), 2),
        (("-l", "features.4", "--at", "0,0", "-k", "conv"), ("--kind", "the table"), 2),
        (("nowhere.png",), ("nowhere.png",), 1),
        (("-o", "no/such/folder.png"), ("no/such/folder.png",), 1),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    fmap: Run, workdir: Path, arguments: tuple[str, ...], words: tuple[str, ...], code: int
) -> None:
    fmap("rf", *arguments).refused(*words, code=code)
    assert list(workdir.iterdir()) == []


# -- fmap show --rf ------------------------------------------------------------------------------------------------


def test_show_boxes_what_the_strongest_units_see(fmap: Run, workdir: Path) -> None:
    plain = ("show", CAT, "-l", "features.4", "--top", 3)
    assert fmap(*plain, "-o", "plain.png").code == 0
    assert fmap(*plain, "--rf", "-o", "boxed.png").code == 0
    before, after = (np.asarray(Image.open(workdir / name)) for name in ("plain.png", "boxed.png"))
    photo = slice(118, 118 + 380), slice(36, 36 + 380)  # the crop in the left column
    assert (before[photo] != after[photo]).any()
    fmap(*plain, "--rf", "--raw").refused("--raw", "--rf", code=2)


def test_show_cannot_box_in_a_detectors_resized_picture(fmap: Run) -> None:
    model = ("--model", "fasterrcnn_mobilenet_v3_large_320_fpn", "-w", "random")
    fmap("show", CAT, *model, "-l", "backbone.fpn", "--rf").refused("is a detector", "fmap rf")
