"""`fmap top --like`: values at a place against a pass of our own, and the order of the channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ran
from torch import nn

import fmap_cli as fmap

PHOTOS = sorted((Path(__file__).parents[2] / "sample_images").glob("*.[jp][pn]g"))
CAT = next(str(each) for each in PHOTOS if each.stem == "chelsea")


def quiet(_: str) -> None:
    """Says nothing."""


def test_channels_are_sorted_by_the_share_of_maxima_below_the_value_at_the_place() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 12, 5, stride=4), nn.ReLU(), nn.Conv2d(12, 7, 3)).eval()
    session = fmap.load_model(net, size=48, mean=0.5, std=0.5, say=quiet)
    others = [str(each) for each in PHOTOS if each.stem != "chelsea"]
    found = fmap.top(session, others, ["0", "2"], like=CAT, at=(3, 5), workers=0, say=quiet)

    def maps(image: str) -> dict[str, np.ndarray]:
        return {name: each[0] for name, each in fmap.feature_maps(session, image, ["0", "2"], say=quiet).arrays.items()}

    photos, cat = [maps(each) for each in others], maps(CAT)
    for layer in found.layers:
        name = layer.layer.name
        here = cat[name].numpy()[:, 3, 5]
        assert layer.here is not None and np.allclose(layer.here, here, rtol=1e-5, atol=1e-6)
        maxima = np.stack([each[name].numpy().max(axis=(1, 2)) for each in photos])
        above = (maxima < here).mean(axis=0)
        ratio = here / maxima.max(axis=0)  # what is not above zero is no answer, and comes last
        keys = [
            (-a, -r, at) if value > 0 else (1, 0, at)
            for at, (value, a, r) in enumerate(zip(here, above, ratio, strict=True))
        ]
        order = [at for *_, at in sorted(keys)]
        assert found.order(name, sort="like") == order
        one = found.dossier(name, order[0])
        assert one.above == pytest.approx(above[order[0]]) and one.here == pytest.approx(here[order[0]], rel=1e-5)
        assert len(set(above)) > 1  # there was something to sort


def test_saved_dossiers_are_asked_about_a_place_of_an_image(fmap: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
        "def other():\n    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    )
    network = ("--model", f"{tmp_path}/net.py:make", "--size", "16")
    at_once = fmap("top", *PHOTOS, "-l", "0", *network, "--save", "d.fmap", "--like", CAT, "--at", "2,3", "--json").json
    later = fmap("top", "d.fmap", "--load", *network, "--like", CAT, "--at", "2,3", "--json").json
    assert later["layers"][0]["channels"] == at_once["layers"][0]["channels"]
    assert at_once["like"] == {"image": CAT, "at": [2, 3]} and at_once["sort"] == "like"
    shares = [each["above"] for each in at_once["layers"][0]["channels"]]
    assert shares == sorted(shares, reverse=True)
    text = " ".join(fmap("top", "d.fmap", "--load", *network, "--like", CAT, "--at", "2,3").out.split())
    assert "row 2 and column 3 of the map" in text
    load = ("top", "d.fmap", "--load", "--like", CAT)
    fmap(*load, *network, "--at", "14,0").refused("there is no place 14,0 in 0: its map has 14 × 14 places")
    fmap(*load, *network).refused("--like IMAGE and --at ROW,COLUMN go together", code=2)
    fmap(*load, "--model", f"{tmp_path}/net.py:other", "--size", "16", "--at", "0,0").refused("of different models")
    fmap("top", "d.fmap", "--load", "--sort", "like").refused("give --like and --at", code=2)
