"""What a report holds and what its file is: without a browser."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, Ran
from report_nets import small
from torch import nn

import fmap_cli as fmap
from fmap_cli.report.planes import read
from fmap_cli.report.records import Report
from fmap_cli.report.writing import _where

CAT = ROOT / "sample_images" / "chelsea.png"
COFFEE = ROOT / "sample_images" / "coffee.png"
NET = ["--model", str(Path(__file__).parent / "report_nets.py") + ":small", "--size", "48"]
HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


def quietly(_sentence: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def page() -> Report:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25, labels=["</script>", "<b>dog</b>", "cow"])
    return fmap.report(net, CAT, say=quietly)


class Parser(html.parser.HTMLParser):
    """The elements of a page: scripts and styles with their text, and all tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.texts.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is not None:  # inside a script or a style
            tag, attributes, text = self.texts.pop()
            self.texts.append((tag, attributes, text + data))

    @property
    def data(self) -> Any:
        (found,) = [text for _, attributes, text in self.texts if attributes.get("id") == "data"]
        return json.loads(found)


def test_the_values_of_every_layer_are_those_that_show_saves(page: Report) -> None:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25)
    names = [each.layer.name for each in page.layers]
    assert names == ["0", "1", "2", "3", "4", "5", "8"]
    arrays = fmap.feature_maps(net, CAT, names, say=quietly).arrays
    for each in page.layers:
        back = read(page.codes[each.codes], each.reading)
        wanted = arrays[each.layer.name].numpy()[0].reshape(back.shape)
        assert np.abs(back - wanted).max() <= each.reading.error * 1.001 + 1e-12
        assert each.reading.error <= np.abs(each.reading.step).max() / 2 * 1.01
    # The BatchNorm and both ReLUs are read from the codes of what came before.
    assert [each.codes for each in page.layers] == [0, 0, 0, 1, 1, 2, 3]
    assert [each.before for each in page.layers] == [None, None, "1", None, "3", None, None]


def test_statistics_fields_and_costs_are_those_of_the_other_verbs(page: Report) -> None:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25)
    maps = {each.layer.name: each for each in fmap.feature_maps(net, CAT, ["*"], say=quietly).maps}
    rows = {each.layer.name: each for each in fmap.layers(net, say=quietly).layers}
    for each in page.layers:
        other = maps[each.layer.name]
        assert each.stats.mean == pytest.approx(other.stats.mean) and each.stats.std == pytest.approx(other.stats.std)
        assert each.channels.std == pytest.approx(other.channels.std, nan_ok=True)
        assert each.multiply_adds == rows[each.layer.name].multiply_adds


def test_the_arithmetic_is_that_of_the_convolutions_whose_input_is_on_the_page(page: Report) -> None:
    found = {each.layer.name: each.arithmetic for each in page.layers if each.arithmetic is not None}
    assert {name: each.reads for name, each in found.items()} == {"0": "", "3": "2", "5": "4"}
    assert found["3"].stride == (2, 2) and found["3"].padding == (1, 1)


def test_the_same_input_gives_the_same_bytes(page: Report) -> None:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25, labels=["</script>", "<b>dog</b>", "cow"])
    assert fmap.report(net, CAT, say=quietly).html() == page.html()


def test_the_policy_lets_in_the_pages_own_script_and_style_alone(page: Report) -> None:
    parser = Parser(page.html().decode())
    (policy,) = [
        attributes["content"]
        for tag, attributes in parser.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None and policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for tag, attributes, text in parser.texts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        runs = tag == "style" or "type" not in attributes
        assert (f"'sha256-{digest}'" in policy) == runs, attributes
    for _, attributes in parser.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), attributes


def test_names_are_data_and_never_markup(page: Report, tmp_path: Path) -> None:
    path = tmp_path / HOSTILE
    path.write_bytes(CAT.read_bytes())
    net = fmap.load_model(small(), size=48, labels=["</script>", "<b>dog</b>", "cow"])
    text = fmap.report(net, path, say=quietly).html().decode()
    parser = Parser(text)
    assert [tag for tag, _ in parser.tags] == [tag for tag, _ in Parser(page.html().decode()).tags]
    assert "<img src=x" not in text and "<b>dog" not in text
    assert parser.data["passes"][0]["name"] == HOSTILE and parser.data["labels"][0][0] == "</script>"


def test_a_redacted_page_has_neither_photo_nor_paths(tmp_path: Path) -> None:
    folder = tmp_path / "secretfolder"
    folder.mkdir()
    path = folder / "secretname.png"
    path.write_bytes(CAT.read_bytes())
    (folder / "secretnet.py").write_text((Path(__file__).parent / "report_nets.py").read_text())
    net = fmap.load_model(f"{folder}/secretnet.py:small", size=48)
    whole = fmap.report(net, path, memory=False, say=quietly).html().decode()
    assert "secretname" in whole and "secretnet" in whole and 'id="photo-0-0"' in whole
    found = fmap.report(net, path, redact=True, say=quietly)
    text = found.html().decode()
    assert "secret" not in text and 'id="photo-0-0"' not in text and str(tmp_path) not in text
    assert "secret" not in json.dumps(found.document())
    some = fmap.report(net, [path, folder / "secretlost.png"], redact=True, say=quietly)
    assert len(some.document()["failed"]) == 1 and "secret" not in json.dumps(some.document())


def test_a_finding_leads_to_a_layer_of_the_page_or_says_that_there_is_none() -> None:
    dead = nn.Conv2d(8, 8, 3)
    with torch.no_grad():
        dead.weight.zero_()
        dead.bias.fill_(-1.0)
    block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), dead, nn.ReLU())
    found = fmap.report(fmap.load_model(nn.Sequential(block, nn.MaxPool2d(2)), size=48, say=quietly), CAT, say=quietly)
    (one,) = found.passes
    assert one.findings
    first = one.findings[0]
    own, twin = replace(first, layer="elsewhere"), replace(first, layer="block.2")
    at = replace(one.layers[0], layer=replace(one.layers[0].layer, name="block"), findings=())
    assert _where(replace(one, layers=(at,)), own) == ("", "not on this page")
    assert _where(replace(one, layers=(at,)), twin) == ("block", "on this page it is inside")
    same = replace(at, layer=replace(at.layer, name="last"), findings=(twin,))
    assert _where(replace(one, layers=(same,)), twin) == ("last", "on this page its values are those of")
    assert _where(replace(one, layers=(at,)), replace(first, layer="block")) == ("block", "")
    links = [
        attributes for tag, attributes in Parser(found.html().decode()).tags if attributes.get("class") == "to-layer"
    ]
    assert links and {each["data-layer"] for each in links} <= {each.layer.name for each in found.layers}
    assert all(each["data-pass"] == "0" for each in links)


def test_the_strip_says_the_range_of_channels_and_fields_larger_than_the_picture_say_so() -> None:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 65, padding=32), nn.ReLU()]
    found = fmap.report(fmap.load_model(nn.Sequential(*layers), size=48, say=quietly), CAT, say=quietly)
    text = found.html().decode()
    assert "4–8 channels" in text
    beyond = {e["name"]: e["field"]["beyond"] for e in Parser(text).data["passes"][0]["layers"]}
    assert beyond["0"] is False and beyond["2"] is True  # 3 and 67 pixels, of 48


def test_a_page_that_is_too_large_says_which_layers_to_drop(page: Report) -> None:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25)
    with pytest.raises(fmap.errors.OutputError) as raised:
        fmap.report(net, CAT, max_size=10_000, say=quietly).html()
    assert re.search(r"the page would be 0\.\d MB, more than --max-size 0.01MB", raised.value.message)
    assert re.search(r"Leave out layers: 0 \(0\.\d MB\), 1 ", raised.value.hint or "")


def test_two_images_and_two_networks_are_compared(page: Report) -> None:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25)
    images = fmap.report(net, CAT, other=COFFEE, say=quietly)
    assert images.compared == "chelsea.png and coffee.png" and len(images.passes) == 2
    double = fmap.load_model(small(), size=48, mean=0.5, std=0.25, dtype="float64")
    variants = fmap.report(net, CAT, vs=double, say=quietly)
    assert variants.variant == "float64" and len(variants.passes) == 2
    with pytest.raises(fmap.FmapError, match="give one of them"):
        fmap.report(net, CAT, other=COFFEE, vs=double, say=quietly)
    with pytest.raises(fmap.FmapError, match="one image is compared with one other"):
        fmap.report(net, [CAT, COFFEE], other=COFFEE, say=quietly)


def test_evidence_and_effects_are_those_of_their_verbs() -> None:
    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25)
    said: list[str] = []
    found = fmap.report(net, CAT, evidence=True, attention=True, effect=True, say=said.append)
    assert [each.title for each in found.passes[0].extras] == [
        f"Evidence for class {found.passes[0].predictions[0].index}"
    ]
    assert any(each.startswith("no attention on the page: ") for each in said)
    effects = {each.layer.name: each.effect for each in found.layers}
    for name in ("0", "1", "2", "3"):  # what follows "1" writes over it
        wanted = fmap.effect(net, CAT, name, fast=True, top=1, say=quietly).effects
        assert effects[name] == pytest.approx(np.asarray(wanted)), name
    assert effects["8"] is None
    assert Parser(found.html().decode()).data["passes"][0]["layers"][3]["effect"] is True


def test_a_whole_layer_has_the_colours_that_show_gives_it(page: Report) -> None:
    from fmap_cli.reduced.colours import component_colours, ends_of
    from fmap_cli.reduced.records import Drawing

    net = fmap.load_model(small(), size=48, mean=0.5, std=0.25)
    for layer in page.layers:
        if layer.layer.name == "8":
            assert layer.components is None
            continue
        reduced = fmap.feature_maps(net, CAT, layer.layer.name, reduce="pca", say=quietly)
        (values,) = [each.values for row in reduced.maps for each in row]
        assert layer.components is not None
        assert (layer.components.pixels == component_colours(values, ends_of(reduced, 0, Drawing()))).all()
        assert reduced.bases[0].components is not None
        assert layer.components.shares == reduced.bases[0].components.shares
    assert "Of its principal components the first is red (" in page.html().decode()


def test_sequences_are_strips_and_vectors_bars() -> None:
    sequence = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 18, 3))
    found = fmap.report(fmap.load_model(sequence, input_shape=(2, 20), say=quietly), say=quietly)
    assert [(each.cells, each.is_map) for each in found.layers] == [
        ((1, 1, 18), True),
        ((1, 1, 18), True),
        ((1, 1, 1), False),
    ]
    assert b"<!doctype html>" in found.html()


def test_a_frame_keeps_the_page_apart_from_the_notebook(page: Report) -> None:
    frame = page.frame()._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts" ') and frame.count("<iframe") == 1
    (tag,) = Parser(frame).tags
    assert tag[1]["srcdoc"] == page.html().decode()
    assert len(page._repr_html_()) < 20_000


def test_the_command_writes_the_page_and_says_so(fmap: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    ran = fmap("report", str(CAT), *NET, "--layer", "conv2", "-o", str(out))
    assert ran.code == 0, ran.err
    assert out.read_bytes().startswith(b"<!doctype html>") and str(out) in ran.out.replace("\n", "")
    for arguments, words in (
        (["-o", str(tmp_path / "x.pdf")], "has to end in .html"),
        (["-o", str(out), "--compare", str(COFFEE), "--vs-dtype", "float64"], "give one of them"),
        (["-o", str(out), "--max-size", "lots"], "--max-size"),
    ):
        ran = fmap("report", str(CAT), *NET, *arguments)
        assert ran.code == 2 and words in ran.err and "Traceback" not in ran.err
    ran = fmap("report", str(CAT), "nowhere.png", *NET, "-o", str(out), "--json")
    assert ran.code == 1 and ran.json["failed"][0]["image"] == "nowhere.png" and ran.json["image_count"] == 1
    ran = fmap("report", "nowhere.png", "neither.png", *NET, "-o", str(out))
    assert ran.code == 1 and "2 of 2 images failed" in ran.err and "Traceback" not in ran.err
    ran = fmap("report", str(CAT), *NET, "--layer", "nope", "-o", str(out))
    assert ran.code == 1 and "no layer 'nope'" in ran.err
