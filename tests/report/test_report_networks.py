"""Reports of networks of other kinds: what is on their pages is what the other verbs say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, Ran
from report_nets import small
from torch import nn
from torchvision import models

import fmap_cli as fmap
from fmap_cli.report.planes import read
from fmap_cli.report.records import Report

CAT = ROOT / "sample_images" / "chelsea.png"


def quietly(_sentence: str) -> None:
    """Says nothing."""


class Segmenter(nn.Module):
    """Three classes a pixel, under the name that torchvision's segmentation networks give them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": nn.functional.interpolate(self.head(self.body(image)), image.shape[2:], mode="bilinear")}


def vit() -> nn.Module:
    torch.manual_seed(0)
    return models.VisionTransformer(32, 8, num_layers=5, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4)


def swin() -> nn.Module:
    torch.manual_seed(0)
    return models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=4)


def _agrees(found: Report, net: Any, image: Path = CAT) -> None:
    """Every value of the page is the network's own, as `show` saves it, to the stated error."""
    for each in found.layers:
        saved = fmap.feature_maps(net, image, each.layer.name, say=quietly).arrays[each.layer.name]
        back = read(found.codes[each.codes], each.reading)
        if each.axes.names[-1] == "C" and each.is_map:
            saved = saved.reshape(*saved.shape[:-1][:1], -1, saved.shape[-1]).transpose(1, 2)
        if each.axes.prefix:
            saved = saved[..., each.axes.prefix :]
        wanted = np.asarray(saved[0].reshape(back.shape))
        assert np.abs(back - wanted).max() <= each.reading.error * 1.001 + 1e-12, each.layer.name


def _data(page: bytes) -> Any:
    text = page.decode().partition('id="data">')[2].partition("</script>")[0]
    return json.loads(text)


@pytest.mark.parametrize("make", [vit, swin])
def test_of_transformers_the_blocks_maps_are_the_tokens_grid(make: Callable[[], nn.Module]) -> None:
    net = fmap.load_model(make(), size=32, mean=0.5, std=0.25, say=quietly)
    found = fmap.report(net, CAT, say=quietly)
    maps = [each for each in found.layers if each.is_map]
    assert len(maps) > 3 and all(each.count >= 16 for each in maps)
    _agrees(found, net)
    if make is vit:
        assert {each.cells for each in maps} == {(1, 4, 4)}
        assert any("the class token is not shown" in each.notes for each in maps)


def test_of_a_segmentation_the_classes_are_beside_the_photo() -> None:
    net = fmap.load_model(Segmenter(), size=32, labels=["sky", "sea", "<sand>"], say=quietly)
    found = fmap.report(net, CAT, say=quietly)
    _agrees(found, net)
    (one,) = found.passes
    scores = fmap.feature_maps(net, CAT, "out", say=quietly).arrays["out"][0]
    assert one.label_map is not None and (one.label_map == scores.argmax(0).numpy()).all()
    data = _data(found.html())
    (last,) = [each for each in data["passes"][0]["layers"] if each["name"] == "out"]
    assert last["classes"] and last["count"] == 3 and data["labels"] == [["sky", "sea", "<sand>"]]


def test_a_program_saved_by_export_makes_the_page_of_its_module(fmap: Callable[..., Ran], tmp_path: Path) -> None:
    program = torch.export.export(small().eval(), (torch.zeros(1, 3, 48, 48),))
    torch.export.save(program, tmp_path / "small.pt2")
    ran = fmap("report", str(CAT), "--model", str(tmp_path / "small.pt2"), "-o", str(tmp_path / "p.html"), "--json")
    assert ran.code == 0, ran.err
    own = fmap("report", str(CAT), "--model", f"{ROOT}/tests/report/report_nets.py:small", "--size", "48", "-o",
               str(tmp_path / "own.html"), "--json")  # fmt: skip
    one, other = ran.json["images"][0], own.json["images"][0]
    assert [each["shape"] for each in one["layers"]] == [each["shape"] for each in other["layers"]]


def test_a_network_of_timm_has_a_page() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    net = fmap.load_model("timm:test_resnet", weights="random", say=quietly)
    found = fmap.report(net, CAT, say=quietly)
    _agrees(found, net)
    assert found.origin.model == "timm:test_resnet" and len({each.cells for each in found.layers}) > 3


@pytest.mark.slow
def test_of_a_detector_the_boxes_are_those_of_predict() -> None:
    net = fmap.load_model("fasterrcnn_mobilenet_v3_large_320_fpn", weights="random", say=quietly)
    with torch.no_grad():
        net.model.module.roi_heads.box_predictor.cls_score.bias[3] = 8.0  # sure of one class everywhere
    found = fmap.report(net, CAT, score=0.01, say=quietly)
    (one,) = found.passes
    assert one.detects and one.detections
    assert one.scale[0] > 1 and one.image.pixels.shape[0] % 32 == 0  # what the backbone saw: enlarged and padded
    boxes = np.array([each.box for each in one.detections])
    assert boxes.min() >= -1e-3 and (boxes[:, 2] <= one.image.pixels.shape[0] + 1e-3).all()
    with torch.no_grad():
        (answer,) = net.model.module.eval()([one.image.tensor])
    wanted = answer["boxes"][answer["scores"] >= 0.01][:, [1, 0, 3, 2]].numpy()  # rows before columns
    scaled = wanted[: len(boxes)] * np.tile(np.array(one.scale), 2)
    assert boxes == pytest.approx(scaled, rel=1e-4)
    assert found.html().count(b"<rect x=") >= len(boxes)
