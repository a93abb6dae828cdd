"""Weights that many tests ask for: they are read or drawn once, and each test has a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MOST_BYTES = 1 << 30  # of weights kept at a time


@pytest.fixture(scope="session", autouse=True)
def embedded_weights_read_once() -> Iterator[None]:
    """Several hundred tests open the embedded model: its file is checked and read once, and each has a copy."""
    from fmap_cli.models import embedded

    read, kept = embedded._own_tensors, {}

    def copied(file: Path) -> dict[str, Any]:
        if file not in kept:
            kept[file] = read(file)
        return {name: tensor.clone() for name, tensor in kept[file].items()}

    embedded._own_tensors = copied
    yield
    embedded._own_tensors = read


@pytest.fixture(scope="session", autouse=True)
def random_weights_drawn_once() -> Iterator[Callable[..., Any]]:
    """Drawing the random weights of torchvision's networks takes longer than what most tests do with them. From its
    second time on a network is built without, and gets what the same seed drew the first time: the same bits, since
    all that is drawn is in parameters. `random_weights_drawn_anew` is for tests of the drawing itself.
    """
    from fmap_cli.models import building, torchvision_zoo

    draw, kept = torchvision_zoo._load_random, {}

    def copied(name: str, seed: int, overrides: Any, initialise: bool) -> Any:
        key = name, seed, overrides.height_width
        if not initialise:
            return draw(name, seed, overrides, initialise)
        with building.no_init() if key in kept else contextlib.nullcontext():
            loaded = draw(name, seed, overrides, initialise)
        state = loaded.module.state_dict()
        if key in kept:
            for each, tensor in kept[key].items():
                state[each].copy_(tensor)
        else:
            kept[key] = {each: tensor.clone() for each, tensor in state.items()}
            while sum(tensor.nbytes for each in kept.values() for tensor in each.values()) > MOST_BYTES:
                del kept[next(iter(kept))]
        return loaded

    torchvision_zoo._load_random = copied
    yield draw
    torchvision_zoo._load_random = draw


@pytest.fixture
def random_weights_drawn_anew(random_weights_drawn_once: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmap_cli.models.torchvision_zoo._load_random", random_weights_drawn_once)


@pytest.fixture(scope="session", autouse=True)
def embedded_axes_followed_once() -> Iterator[Callable[..., Any]]:
    """What the axes of the embedded model's layers are goes by its modules and the input's size: commands that see
    photos of the same size through it are told what the first one found.
    """
    from fmap_cli.session import axes

    follow, kept = axes._follow_axes, {}

    def told(session: Any, image: Any, *, cheaply: bool = True) -> Any:
        model = session.model
        if model.name != "efficientnet_lite0" or not cheaply:
            return follow(session, image, cheaply=cheaply)
        modules = tuple((name, type(each), len(each._forward_hooks)) for name, each in model.module.named_modules())
        key = axes.place_of(session), image.tensor.shape, len(image.more), model.weights.kind, modules
        if key not in kept:
            kept[key] = follow(session, image)
        return kept[key]

    axes._follow_axes = told
    yield follow
    axes._follow_axes = follow
