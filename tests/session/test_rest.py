"""What follows a layer, run alone, answers as the whole network does; and what comes before it does not run again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet121, googlenet, resnet18, swin_t

import fmap_cli as fmap
from fmap_cli.errors import ModelError
from fmap_cli.network.records import Axes
from fmap_cli.session.opening import read_image
from fmap_cli.session.passes import run_replaced
from fmap_cli.session.picked import look_at_layers
from fmap_cli.session.rest import Rest, rest_of, row_of


class Counted(nn.Module):
    """Says how many inputs went through it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.rows = 0

    def forward(self, x: Tensor) -> Any:
        self.rows += len(x)
        return self.inner(x)


class Net(nn.Module):
    """A convolution, and then one function of `(self, x)`, with submodules by name."""

    def __init__(self, function: Any, **children: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.function(self, x).mean((2, 3)))


def conv() -> nn.Module:
    return nn.Conv2d(4, 4, 3, padding=1)


def norm() -> nn.Module:
    return nn.BatchNorm2d(4)


def held(net: nn.Module, layer: str, size: int = 12) -> tuple[Any, Any, Any, Axes]:
    session = fmap.load_model(net, size=size, say=lambda _: None)
    image = read_image(session, None, lambda _: None)
    (picked,), _ = look_at_layers(session, image, [layer], lambda layer, output, axes: axes)
    return session, image, picked.layer, picked.found


def check(net: nn.Module, layer: str, size: int = 12) -> tuple[int, int]:
    """Of three ablated channels the rest answers what the whole answers; how many calls it left out, and its rows."""
    session, image, ref, axes = held(net, layer, size)
    at = axes.names.index("C")
    with rest_of(session, image, ref, axes) as rest:
        ablated = [rest.output.index_fill(at, torch.tensor(channel), 0) for channel in range(3)]
        if rest.rows > 1:
            together = rest.through(torch.cat(ablated, rest.batch_axis or 0))
            found = [row_of(together, row, 3) for row in range(3)]
        else:
            found = [rest.through(each.clone()) for each in ablated]
        facts = rest.left_out, rest.rows
        untouched = rest.answer
    assert all("forward" not in each.__dict__ for each in net.modules())
    for each, values in zip(found, ablated, strict=True):
        expected = run_replaced(session, image, ref, lambda output, values=values: values)
        assert torch.allclose(each, expected, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(each, untouched, rtol=1e-5, atol=1e-8)
    return facts


@pytest.mark.parametrize(
    ("layer", "function", "children", "left_out"),
    [
        ("a", lambda self, x: self.a(self.stem(x)), {"a": conv()}, 2),
        ("add", lambda self, x: self.b(self.a(y := self.stem(x)) + y), {"a": conv(), "b": conv()}, 2),
        ("a_1", lambda self, x: self.a(self.a(self.stem(x))), {"a": conv()}, 3),
        ("b.0", lambda self, x: self.b(self.a(self.stem(x))), {"a": conv(), "b": nn.Sequential(conv(), norm())}, 3),
        # in place: by modules that are left out, by the layer itself, by operations that run
        ("b", lambda self, x: self.b(self.r(self.a(self.stem(x)))), {"a": norm(), "b": conv(), "r": nn.ReLU(True)}, 4),
        (
            "b",
            lambda self, x: self.b(y := self.a(self.stem(x))) + self.r(y) + y,
            {"a": norm(), "b": conv(), "r": nn.ReLU(True)},
            4,
        ),
        (
            "b",
            lambda self, x: [y := self.a(self.stem(x)), self.r(y), self.b(y) + y][-1],
            {"a": norm(), "b": conv(), "r": nn.ReLU(True)},
            4,
        ),
        (
            "r",
            lambda self, x: [y := self.a(self.stem(x)), self.r(y), self.b(y) + y][-1],
            {"a": norm(), "b": conv(), "r": nn.ReLU(True)},
            2,
        ),
        (
            "b",
            lambda self, x: [y := self.a(self.stem(x)), z := y.add_(1), self.b(z) + y][-1],
            {"a": norm(), "b": conv()},
            3,
        ),
        (
            "b",
            lambda self, x: [y := self.a(self.stem(x)), F.relu_(y[:, :2]), self.b(y) + y][-1],
            {"a": norm(), "b": conv()},
            3,
        ),
        (
            "b",
            lambda self, x: [y := self.a(self.stem(x)), self.r(y[:, :2]), self.b(y) + y][-1],
            {"a": norm(), "b": conv(), "r": nn.ReLU(True)},
            3,
        ),
        # a branch beside the layer, before and after it
        ("a", lambda self, x: [y := self.stem(x), self.a(y) + self.b(y)][-1], {"a": conv(), "b": conv()}, 3),
        (
            "a",
            lambda self, x: [y := self.stem(x), z := self.a(y), self.b(y + 0) + z][-1],
            {"a": conv(), "b": conv()},
            2,
        ),
        # written over between: the branch reads other values than before
        (
            "a",
            lambda self, x: [y := self.stem(x), z := self.a(y), y.add_(z), self.b(y)][-1],
            {"a": conv(), "b": conv()},
            2,
        ),
    ],
)
def test_the_rest_answers_as_the_whole(layer: str, function: Any, children: Any, left_out: int) -> None:
    torch.manual_seed(0)
    assert check(Net(function, **children).eval(), layer) == (left_out, 32)


def test_what_comes_before_runs_once_for_one_input() -> None:
    """Beside the pass that finds the layer and the one of the whole network that the rest is held against."""
    before, after = Counted(conv()), Counted(conv())
    net = Net(lambda self, x: self.after(self.a(self.before(self.stem(x)))), before=before, a=conv(), after=after)
    session, image, layer, axes = held(net, "a")
    before.rows = after.rows = 0
    with rest_of(session, image, layer, axes) as rest:
        assert before.rows == 2
        rows = after.rows
        rest.through(torch.cat([rest.output] * 8))
        assert (before.rows, after.rows) == (2, rows + 8)


@pytest.mark.parametrize(
    ("make", "layer", "size"),
    [
        (resnet18, "layer3.0.bn2", 64),
        (resnet18, "layer3.0.relu", 64),
        (resnet18, "layer2.1.add", 64),
        (swin_t, "features.3.1", 64),
        (swin_t, "features.1.1.attn", 64),
        (densenet121, "features.denseblock2.denselayer3.norm1", 64),
        (lambda **_: googlenet(init_weights=False, aux_logits=False), "inception4a.branch2.0.bn", 64),
    ],
)
@pytest.mark.slow
def test_families(make: Any, layer: str, size: int) -> None:
    torch.manual_seed(0)
    left_out, _ = check(make(weights=None).eval(), layer, size)
    assert left_out > 3


def test_a_network_of_one_input_at_a_time_goes_one_at_a_time() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.b(self.a(x)).view(4, -1).mean(1)[None])

    assert check(One().eval(), "a") == (1, 1)


def test_a_network_whose_modules_talk_past_their_arguments_runs_whole() -> None:
    """`b` reads what `a` left lying about: left out, it would give what it gave before."""
    box: dict[str, Tensor] = {}

    class Leaves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            box["x"] = x * 2
            return x

    class Reads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + box["x"]

    net = Net(lambda self, x: [y := self.stem(x), self.b(self.a(y)), self.c(y)][-1], a=conv(), b=Leaves(), c=Reads())
    assert check(net.eval(), "a") == (0, 32)


def test_chance_is_said() -> None:
    net = Net(lambda self, x: self.a(self.stem(x)) + torch.rand(1), a=conv())
    session, image, layer, axes = held(net, "a")
    with pytest.raises(ModelError, match="differently each time"), rest_of(session, image, layer, axes):
        pass
    assert all("forward" not in each.__dict__ for each in net.modules())


def test_a_forward_of_its_own_stays() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    own = net[0].forward
    net[0].forward = lambda x: own(x) * 2  # type: ignore[method-assign]
    mine = net[0].forward
    session, image, layer, axes = held(net, "1")
    with rest_of(session, image, layer, axes) as rest:
        assert isinstance(rest, Rest)
        answer = rest.answer
    assert net[0].forward is mine
    assert np.allclose(answer, net(image.tensor[None]).detach())
