"""`fmap explain` as a user runs it, and its figure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, Ran
from pages import drawn, faults, texts
from PIL import Image
from torch import nn

import fmap_cli as fmap
from fmap_cli.explain.figure import explanation_figure
from fmap_cli.explain.picking import unit_of
from fmap_cli.explain.records import Explanation
from fmap_cli.explain.tape import Shown
from fmap_cli.explain.terms_figure import MOST_ROWS, _short
from fmap_cli.explain.words import mixture
from fmap_cli.network.records import Axes, LayerRef

Run = Callable[..., Ran]
COFFEE = str(ROOT / "sample_images" / "coffee.png")
CAT = str(ROOT / "sample_images" / "chelsea.png")


def explained(layer: str, image: str = CAT, **asked: Any) -> Explanation:
    return fmap.explain(image=image, layer=layer, say=lambda _: None, **asked)


def test_the_formula_stands_there_with_this_units_numbers(fmap: Run) -> None:
    ran = fmap("explain", COFFEE, "--layer", "conv1", "--channel", "3", "--at", "40,40")
    assert (ran.code, ran.err) == (0, "")
    assert "features.0.0  convolution 3 × 3, stride 2" in ran.out
    assert "Y[o,i,j] = b[o] + Σc Σu Σv W[o,c,u,v] · X[c, 2i+u, 2j+v]" in ran.out
    assert "Y[3,40,40] = 0 + Σc Σu Σv W[3,c,u,v] · X[c, 80+u, 80+v]" in ran.out
    assert "= 0 - 4.11 - 3.16 - 0.171" in ran.out
    assert re.search(r"= -7\.43900\d+   (the network computed -7\.43900\d+ in float32|exactly)", ran.out)
    assert re.search(r"^ +0 +-4\.106 +55\.2 % +55\.2 % +red$", ran.out, re.MULTILINE)
    assert "red, cell by cell" in ran.out


def test_json_has_every_term_and_the_windows_of_those_listed(fmap: Run) -> None:
    arguments = ("explain", CAT, "--layer", "features.4.0.block.0.0", "--top", "5", "--through", "--back", "1")
    document = fmap(*arguments, "--json").json
    assert document["schema_version"] == 1
    assert document["operation"]["words"] == "convolution 1 × 1"
    assert len(document["contributions"]) == 40
    assert sum(document["contributions"]) + document["bias"] == pytest.approx(document["sum"])
    assert document["sum"] - document["value"] == pytest.approx(document["difference"])
    assert len(document["terms"]) == 5
    first = document["terms"][0]
    assert first["patch"][0][0] * first["kernel"][0][0] == pytest.approx(first["contribution"])
    assert [each["operation"] for each in document["steps"]] == ["BatchNorm", "ReLU6"]
    assert document["steps"][0]["before"] == document["value"]
    assert document["stopped"] == "Next it is read by features.4.0.block.1.0."
    recipe = document["recipe"]
    assert sum(each["contribution"] for each in recipe["parts"]) == pytest.approx(document["value"], rel=1e-9)
    assert [each["axis"] for each in document["receptive_field"]] == ["H", "W"]


def test_csv_has_a_row_a_term(fmap: Run) -> None:
    ran = fmap("explain", CAT, "--layer", "classifier.1", "--csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(rows) == 1280
    sizes = [abs(float(row["contribution"])) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert float(rows[-1]["cumulative"]) == pytest.approx(1)


def test_a_class_is_named_by_its_score(fmap: Run) -> None:
    ran = fmap("explain", COFFEE, "--layer", "classifier.1", "--back", "1")
    assert "Y[967] is the score of class 967 (espresso), the largest value of the layer" in ran.out
    assert "what it is made of: each line is the sum of the lines under it" in ran.out
    assert "channel 1213 of features.8.0" in ran.out
    assert "the other 1,277 inputs of classifier.1, together" in ran.out


def test_eighty_columns_hold_it(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = fmap("explain", CAT, "--layer", "features.3.1.block.3.0", "--through")
    assert max(map(len, ran.out.splitlines()[2:])) <= 80
    assert "the other branch is the output of features.3.0.block.3.1" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--at", "3"), 1, ["there is no place 3 in the map", "rows 0 to 111, columns 0 to 111"]),
        (("--at", "here"), 2, ["'here' is not a cell", "max or min"]),
        (("--channel", "32"), 1, ["has 32 channels; there is no channel 32"]),
        (
            ("--layer", "features.0.2"),
            1,
            ["it is ReLU6, made of the output of features.0.0", "--layer features.0.0 --through"],
        ),
        (("--layer", "features.1"), 1, ["more than one step", "from the last one back, features.1.0.block"]),
        (("--layer", "features.*"), 1, ["layers match"]),
        (
            (CAT,),
            1,
            [
                "2 images were given: one at a time",
                "`show`, `stats`, `predict`, `embed`, `effect` and `report` take several",
            ],
        ),
        (("--layer", "classifier.1", "--at", "1,2"), 1, ["gives a vector", "Leave --at out"]),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_mistakes_say_what_to_ask(fmap: Run, arguments: Sequence[str], code: int, says: Sequence[str]) -> None:
    ran = fmap("explain", COFFEE, *arguments)
    assert ran.code == code
    assert ran.out == ""
    for each in says:
        assert each in ran.err
    assert code == 2 or len(ran.err.splitlines()) <= 2


# -- the figure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "asked"),
    [
        ("conv1", {"channel": 3, "through": True}),
        ("features.3.1.block.1.0", {"through": True}),
        ("features.4.0.block.0.0", {"back": 1, "at": "min"}),
        ("classifier.1", {"back": 2}),
    ],
)
def test_nothing_on_the_page_covers_anything_else(layer: str, asked: dict[str, Any]) -> None:
    scene = explanation_figure(explained(layer, **asked))
    wrong = [each for each in faults(scene) if not re.match(r"'-?[\d.e-…]+' lies over a picture", each)]
    assert wrong == [], "a cell's number alone stands on its window"


@pytest.mark.parametrize(("top", "drawn_terms"), [(8, 8), (3, 3), (20, 12)])
def test_figure_and_table_list_the_same_terms_or_the_figure_says_how_many(top: int, drawn_terms: int) -> None:
    found = explained("features.4.0.block.0.0", top=top)
    words = texts(explanation_figure(found))
    named = [each for each in words if re.fullmatch(r"channel \d+", each)]
    assert named == [f"channel {each.channel}" for each in found.terms[:drawn_terms]]
    assert any(each.startswith(f"the {drawn_terms} largest of 40") for each in words)


def test_the_waterfall_goes_from_the_bias_to_the_value() -> None:
    found = explained("classifier.1")
    axes = drawn(explanation_figure(found))["sum"]
    bars = [each for each in axes.patches if each.get_width() < 1]  # type: ignore[attr-defined]
    heights = [each.get_height() for each in bars]  # type: ignore[attr-defined]
    assert heights[0] == pytest.approx(found.bias)
    assert heights[1:-2] == pytest.approx([each.contribution for each in found.terms[:MOST_ROWS]])
    assert sum(heights[:-1]) == pytest.approx(found.total)
    assert heights[-1] == pytest.approx(found.total)


def test_the_page_says_what_the_record_holds() -> None:
    found = explained("conv1", COFFEE, channel=3, at=(40, 40))
    words = texts(explanation_figure(found))
    assert "Why channel 3 at row 40, column 40 is -7.439 on coffee.png" in words
    assert {"red", "green", "blue"} <= {*words}
    assert "- 4.106" in words
    assert "-1.1" in words, "the filter's weight -1.054, in its cell"


@pytest.mark.parametrize(
    ("net", "shape", "layer"),
    [
        (nn.Conv1d(3, 4, 5), (3, 40), "0"),
        (nn.Conv3d(3, 4, 3), (3, 6, 16, 16), "0"),
        (nn.Linear(6, 3), (6,), "0"),
    ],
    ids=["1-D", "3-D", "vector"],
)
def test_what_is_no_picture_has_a_page_as_well(net: nn.Module, shape: tuple[int, ...], layer: str) -> None:
    torch.manual_seed(0)
    model = fmap.load_model(nn.Sequential(net), input_shape=shape, say=lambda _: None)
    found = fmap.explain(model, None, layer, back=1, say=lambda _: None)
    picture = np.asarray(found.figure().image())
    assert picture.shape[0] > 300
    assert "explained" in found.file_name


def test_out_writes_the_figure_and_says_so(fmap: Run, tmp_path: Path) -> None:
    ran = fmap("explain", COFFEE, "-o", str(tmp_path / "why.png"))
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"→ {tmp_path / 'why.png'}"
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.width > 1000


def own(net: nn.Module, **how: Any) -> Any:
    torch.manual_seed(0)
    return fmap.load_model(net.eval(), say=lambda _: None, **how)


@pytest.mark.parametrize("how", [{"input_shape": (3, 32, 32)}, {"size": 32}])
def test_a_network_of_ones_own_has_the_photo_and_its_colours(how: dict[str, Any], capsys: Any) -> None:
    found = fmap.explain(own(nn.Sequential(nn.Conv2d(3, 4, 3)), **how), COFFEE, "0", at=(4, 4), say=lambda _: None)
    words = texts(explanation_figure(found))
    assert {"red", "green", "blue"} <= {*words}
    assert any("coffee.png" in each and "The unit sees" in each for each in [" ".join(words)])
    found.print()
    assert "X is the picture as the network gets it: rows 4 to 6" in capsys.readouterr().out


def test_the_input_is_no_layer_that_puts_something_out(capsys: Any) -> None:
    found = fmap.explain(own(nn.Sequential(nn.Conv1d(3, 4, 5)), input_shape=(3, 40)), None, "0", say=lambda _: None)
    found.print()
    assert "X is the input as the network gets it: steps" in capsys.readouterr().out


def linear(inputs: int) -> Explanation:
    return fmap.explain(own(nn.Sequential(nn.Linear(inputs, 3)), input_shape=(inputs,)), None, "0", top=1, say=str)


def test_a_mixture_says_that_there_are_more_terms_than_it_lists() -> None:
    assert mixture(linear(3)).endswith("+ …")
    assert "…" not in mixture(linear(1))


@pytest.mark.parametrize("layer", [None, [], ()])
def test_no_layer_is_said(layer: Any) -> None:
    with pytest.raises(fmap.FmapError, match="no layer was given"):
        fmap.explain("efficientnet_lite0", COFFEE, layer)


def test_back_has_one_limit() -> None:
    with pytest.raises(fmap.FmapError, match="whole number from 0 to 8"):
        fmap.explain("efficientnet_lite0", COFFEE, "conv1", back=99)


def test_a_vector_has_no_place() -> None:
    with pytest.raises(fmap.FmapError, match="no place 0,0"):
        explained("classifier.1", at=(0, 0))


def test_the_class_token_is_no_place_of_the_map() -> None:
    axes = Axes(("B", "N", "C"), "", (2, 2), 1)
    output = torch.zeros(1, 5, 3)
    output[0, 0, 1], output[0, 2, 1] = 9.0, 5.0
    unit = unit_of(Shown(LayerRef("x", "x", 0, "linear", "Linear", is_module=True), None, 0), output, axes, "max", None)
    assert (unit.channel, unit.place) == (1, (0, 1))
    assert unit.picked == "the largest value of the layer, of the map's places; the class token is left out"


def test_a_cell_that_is_nearly_zero_has_a_digit() -> None:
    assert _short(-0.0036, 60) == "-0.0036"
    assert _short(-0.0036, 40) in ("-0.004", "-4e-3")
    assert _short(-0.0036, 28) not in ("0", "-0")


def test_the_examples_on_the_page_are_what_is_printed(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    blocks = re.findall(r"`fmap (explain [^`]+)` (?:prints|ends)[^\n]*\n\n```\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for command, block in blocks:
        printed = [line.rstrip() for line in fmap(*command.split()).out.splitlines()]
        missing = [line for line in block.splitlines() if line.strip(" …") and alike(line) not in map(alike, printed)]
        assert missing == [], command


def alike(line: str) -> str:
    """Without what rounding decides: the difference to the network's own value, and digits beyond the fourth."""
    line = re.sub(r"   (the network computed|exactly what).*", "", line)
    return re.sub(r"\d+\.\d+", lambda each: f"{float(each[0]):.3g}", line).rstrip()


def test_a_recipe_stays_within_the_terminal(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = fmap("explain", CAT, "--layer", "features.4.0.block.0.0", "--back", "2")
    tree = ran.out.partition("what it is made of:")[2].splitlines()
    assert max(map(len, tree)) <= 80
    assert any(re.fullmatch(r"[ │]+[^ │├└].*", line) for line in tree[2:]), "what does not fit is under its line"


def test_pooling_is_said_in_plain_words() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    found = fmap.explain(own(net, size=8), COFFEE, "0", through=True, say=str)
    assert [each.formula for each in found.steps] == ["max of the window", "mean of 16 values"]
    assert found.steps[0].note == "this value is the largest"


def test_the_input_that_is_added_is_named_as_itself(capsys: Any) -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x) + x)  # type: ignore[no-any-return]

    fmap.explain(own(Skips(), size=8), COFFEE, "b", back=1, say=str).print()
    printed = capsys.readouterr().out
    assert re.search(r"[+-] [\d.]+  the input itself$", printed, re.MULTILINE)
    assert "None" not in printed


def test_a_value_that_is_no_number_has_no_bar() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        net[0].weight[1, 2] = float("nan")  # type: ignore[index, operator]
    found = fmap.explain(own(net, size=8), COFFEE, "1", channel=0, at=(2, 2), say=str)
    assert np.isnan(found.total)
    axes = drawn(explanation_figure(found))["sum"]
    assert len(axes.patches) == 1 + len(found.terms), "the bias and the terms"


def test_a_value_that_a_relu_takes_away_is_said_not_to_survive() -> None:
    import torch
    from torch import nn

    import fmap_cli

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1)).eval()
    with torch.no_grad():
        net[1].bias.fill_(-100.0)
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)).numpy()
    loaded = fmap_cli.load_model(net, size=8, mean=0, std=1, say=lambda _: None)
    with torch.no_grad():
        assert not net[:3](torch.rand(1, 3, 8, 8)).any()
    lost = fmap_cli.explain(loaded, picture, "0", through=True, say=lambda _: None)
    assert "does not survive: ReLU (layer 2) makes 0 of it" in " ".join(lost.table(120).split())
    with torch.no_grad():
        net[1].bias.fill_(100.0)
    kept = fmap_cli.explain(loaded, picture, "0", through=True, say=lambda _: None)
    assert "survive" not in kept.table(120)
