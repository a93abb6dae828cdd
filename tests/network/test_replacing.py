"""What goes on in a layer's place: the rest of the network reads it, and the network stays as it was."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18, swin_t

from fmap_cli.network.capture import capture
from fmap_cli.network.records import LayerRef
from fmap_cli.network.replacing import Replacement

Two = namedtuple("Two", "left right")


@dataclass
class Record:
    map: Tensor
    count: int = 0


class Net(nn.Module):
    """A module around one function of `(self, x)`, with submodules by name."""

    def __init__(self, function: Any, **children: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def replaced(module: nn.Module, x: Tensor, name: str, function: Any, **options: Any) -> Any:
    """The answer where a layer's output is another one; and that there is such a layer."""
    times = []

    def watch(layer: LayerRef) -> Replacement | None:
        if layer.name == name:
            times.append(name)
            return Replacement(function)
        return None

    answer = capture(module, (x,), watch, **options)
    assert times == [name]
    return answer


def seven(output: Tensor) -> Tensor:
    return torch.full_like(output, 7)


X = torch.tensor([[-1.0, 2.0]])
SAME = nn.Identity


@pytest.mark.parametrize(
    ("name", "function", "children", "expected"),
    [
        ("a", lambda self, x: self.a(x) + 1, {"a": SAME()}, [8, 8]),
        ("a_1", lambda self, x: self.a(self.a(x) + 1) + x, {"a": SAME()}, [6, 9]),
        ("add", lambda self, x: (x + 1) * 2, {}, [14, 14]),
        ("add_1", lambda self, x: x + 1 + (x + 2), {}, [7, 10]),
        ("a", lambda self, x: F.relu_(self.a(x)) - 1, {"a": SAME()}, [6, 6]),
        ("x", lambda self, x: x * 2, {}, [14, 14]),
        ("getitem", lambda self, x: x.chunk(2, 1)[0] + 1, {}, [8]),
        # written in place, and read under the argument's name
        ("relu", lambda self, x: [y := x * 1, F.relu(y, inplace=True), y + 1][-1], {}, [8, 8]),
        ("relu_", lambda self, x: [y := x * 1, y.relu_(), y + 1][-1], {}, [8, 8]),
        ("a", lambda self, x: [y := x * 1, self.a(y), y + 1][-1], {"a": nn.ReLU(inplace=True)}, [8, 8]),
        # not written: another name of the same tensor
        ("a", lambda self, x: [y := x * 1, self.a(y), y + 1][-1], {"a": SAME()}, [0, 3]),
    ],
)
def test_the_rest_reads_what_goes_on_in_its_place(name: str, function: Any, children: Any, expected: Any) -> None:
    net = Net(function, **children)
    answer = replaced(net, X.clone(), name, seven)
    assert answer.tolist() == [expected]


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda x: (x, x + 1), lambda out: out[1]),
        (lambda x: [x, x + 1], lambda out: out[1]),
        (lambda x: Two(x, x + 1), lambda out: out.right),
        (lambda x: (x, {"deep": [x + 1]}), lambda out: out[1]["deep"][0]),
        (lambda x: OrderedDict(a=x, b=x + 1), lambda out: out["b"]),
        (lambda x: (x, Record(x + 1)), lambda out: out[1].map),
        (lambda x: torch.max(x, 1, keepdim=True), lambda out: out.indices),
    ],
)
def test_one_tensor_of_several_is_replaced_and_the_rest_kept(make: Any, read: Any) -> None:
    inner = Net(lambda self, x: make(x))
    net = Net(lambda self, x: (type(out := self.inner(x)), read(out) * 2), inner=inner)
    names: list[str] = []
    capture(net, (X,), lambda layer: names.append(layer.name))
    name = [each for each in names if each.startswith("inner.")][-1]
    kind, answer = replaced(net, X, name, seven)
    assert answer.unique().tolist() == [14]
    assert kind is type(make(X)) or issubclass(kind, tuple)


def test_what_a_network_keeps_for_itself_stays_as_it_is() -> None:
    held = {"map": torch.zeros(1, 2), "other": torch.zeros(1, 2)}
    net = Net(lambda self, x: self.a(x)["map"] + x, a=Net(lambda self, x: held))
    assert replaced(net, X, "a.map", seven).tolist() == [[6, 9]]
    assert held["map"].tolist() == [[0, 0]]


def test_gradients_reach_what_was_put_in_with_all_parameters_frozen() -> None:
    """d(sum of the answer)/d(the map) of `Linear(ReLU(map))` is the weight where the map is positive."""
    net = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Linear(3, 1)).eval().requires_grad_(False)
    kept: list[Tensor] = []

    def leaf(output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    with torch.no_grad(), torch.enable_grad():
        answer = replaced(net, torch.tensor([[1.0, -1.0, 2.0]]), "0", leaf, as_it_stands=True)
    (gradient,) = torch.autograd.grad(answer.sum(), kept[0])
    weight = net[2].weight[0]
    assert torch.equal(gradient[0], weight * torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("name", ["bn1", "layer1.0.add", "layer2.0.relu_1", "layer3.1.conv2", "layer4", "flatten"])
@torch.no_grad()
def test_a_resnet_answers_as_one_whose_channel_a_forward_of_its_own_sets(name: str) -> None:
    """Put in as it was, nothing changes; with a channel at zero, it is the answer of the network from there on."""
    torch.manual_seed(0)
    net = resnet18(num_classes=5).eval()
    x = torch.randn(1, 3, 64, 64)
    whole = net(x)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert torch.equal(replaced(net, x, name, lambda output: output.clone()), whole)
    zeroed = replaced(net, x, name, lambda output: output.index_fill(1, torch.tensor(1), 0))
    if name == "layer3.1.conv2":
        weight = net.layer3[1].conv2.weight
        kept = weight[1].clone()
        weight[1] = 0
        assert torch.allclose(zeroed, net(x), atol=1e-6)
        weight[1] = kept
    assert not torch.equal(zeroed, whole)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(net(x), whole)


@torch.no_grad()
def test_a_swin_block_is_replaced_in_its_own_axes() -> None:
    torch.manual_seed(0)
    net = swin_t(num_classes=5).eval()
    x = torch.randn(1, 3, 64, 64)
    shapes: list[list[int]] = []
    answer = replaced(net, x, "features.3.0.add", lambda output: [shapes.append(list(output.shape)), output * 0][1])
    assert shapes == [[1, 8, 8, 192]]
    assert not torch.allclose(answer, net(x))
