"""Networks that decide by values: what is counted is the pass over the picture, where there are weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch.utils.flop_counter import FlopCounterMode

from fmap_cli.layers.records import Listing
from fmap_cli.layers.survey import survey
from fmap_cli.models.records import ModelRequest, Weights
from fmap_cli.receptive.records import FieldListing
from fmap_cli.receptive.survey import receptive_fields
from fmap_cli.session.opening import Session, open_architecture, open_session, read_image

_PHOTO = str(ROOT / "sample_images" / "coffee.png")
_NETWORKS = """
import torch
from torch import nn

class Exits(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.first, self.exit, self.second = nn.Conv2d(3, 4, 3, 4), nn.Linear(4, 5), nn.Conv2d(4, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(x)
        y = self.exit(x.mean((2, 3)))
        sure = y.softmax(-1).max()  # 0.2 for blank values
        if {"if": lambda: sure > 0.2001, "item": lambda: sure.item() > 0.2001, "tolist": lambda: sure.tolist() > 0.2001,
            "numpy": lambda: sure.numpy() > 0.2001}[self.how]():
            return y
        return self.head(self.second(x).mean((2, 3)))

class Routes(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.expert = nn.Conv2d(3, 4, 16, 16), nn.Linear(4, 32)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        return self.expert(tokens[tokens[..., 0] > 0]).sum(0)  # as many rows as the mask leaves

def exits_if(): return Exits("if")
def exits_item(): return Exits("item")
def exits_tolist(): return Exits("tolist")
def exits_numpy(): return Exits("numpy")
def routes(): return Routes()
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("nets") / "decides.py"
    file.write_text(_NETWORKS)
    return file


def _session(networks: Path, name: str) -> Session:
    return open_architecture(ModelRequest(f"{networks}:{name}"), lambda _: None)


def _counted_by_torch(session: Session) -> int:
    image = read_image(session, _PHOTO, lambda _: None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        session.model.module.eval()(image.tensor[None])
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["exits_if", "exits_item", "exits_tolist", "exits_numpy", "routes"])
def test_the_real_pass_is_counted(networks: Path, name: str) -> None:
    session = _session(networks, name)
    image = read_image(session, _PHOTO, lambda _: None)
    listing = survey(session, image=image)
    assert listing.multiply_adds == _counted_by_torch(session)
    assert _PHOTO in listing.notes[0]
    if name.startswith("exits"):
        assert "read in Python before the answer" in listing.notes[0]
        assert listing.idle_parameters == (4 * 8 * 9 + 8) + (8 * 5 + 5)
    else:
        assert "the size of a tensor went by values before getitem" in listing.notes[0]
    fields = receptive_fields(session, image=image)
    assert _names(fields) == _names(listing)  # one answer in every command


def test_without_weights_it_is_said_where_a_value_was_read(networks: Path) -> None:
    session = _session(networks, "exits_if")
    bare = Session(replace(session.model, weights=Weights("none")), session.device, session.dtype)
    listing = survey(bare)
    assert listing.idle_parameters == 0  # blank values do not leave early
    assert len(listing.notes) == 1
    assert "a value was read in Python before second" in listing.notes[0]
    assert "without weights the pass ran over blank values" in listing.notes[0]


def _names(listing: Listing | FieldListing) -> list[str]:
    return [each.layer.name for each in listing.layers]


def test_nothing_is_said_where_shapes_decide(networks: Path) -> None:
    session = open_session(ModelRequest("squeezenet1_1", weights="random"), lambda _: None)
    assert survey(session).notes == ()
