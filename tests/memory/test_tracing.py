"""A traced step against real ones on the CPU, measured without any of the code under test (`real_run`)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from fmap_cli.memory import shortcuts
from fmap_cli.memory.bill import make_bill
from fmap_cli.memory.replay import program
from fmap_cli.memory.tracing import Run, mean_square, trace, with_checkpoints
from fmap_cli.network.axes import meta_twin

sys.path.insert(0, str(Path(__file__).parent))
from real_run import Measured, training_step

FLOAT = 4
OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=1e-3),
    "sgd-momentum": functools.partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
    "adam": functools.partial(torch.optim.Adam, lr=1e-3),
    "adamw": functools.partial(torch.optim.AdamW, lr=1e-3),
}
TWENTY = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet mnasnet0_5 mobilenet_v2 "
    "mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5 "
    "squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32"
).split()


def network(name: str, **arguments: object) -> nn.Module:
    if name == "googlenet":
        arguments["init_weights"] = False
    return torchvision.models.get_model(name, **arguments)


def at_64_pixels(name: str) -> nn.Module:
    return network(name, image_size=64) if name.startswith("vit") else network(name)


def estimate(net: nn.Module, inputs: tuple[torch.Tensor, ...], **run: object) -> tuple[int, int]:
    """Saved bytes, and the peak of tensors' lifetimes over two steps."""
    found = trace(meta_twin(net), tuple(each.to("meta") for each in inputs), Run(target="cpu", **run))  # type: ignore[arg-type]
    return int(found.sizes[found.saved].sum()), int(program(found).live().max())


def agrees(name: str, size: int, optimizer: str = "sgd-momentum", amp: torch.dtype | None = None) -> Measured:
    net = network(name, image_size=size) if name.startswith("vit") else network(name)
    inputs = (torch.zeros(2, 3, size, size),)
    real = training_step(net, inputs, mean_square, OPTIMIZERS[optimizer], amp)
    saved, peak = estimate(net, inputs, optimizer=optimizer, autocast=amp)
    assert saved == real.saved
    if amp is None:
        assert peak == real.peak
    else:
        assert peak == pytest.approx(real.peak, rel=1e-3)
    return real


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("resnet18", "sgd-momentum"),
        ("mobilenet_v3_small", "adamw"),
        ("squeezenet1_1", "adam"),
        ("shufflenet_v2_x0_5", "sgd"),
    ],
)
def test_saved_bytes_and_peak_are_those_of_a_real_step(name: str, optimizer: str) -> None:
    agrees(name, 64, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWENTY)
def test_saved_bytes_and_peak_are_those_of_a_real_step_for_twenty_models(name: str) -> None:
    agrees(name, 224)


@pytest.mark.parametrize("name", ["mobilenet_v3_small"])
def test_mixed_precision_saves_what_autocast_saves_on_the_cpu(name: str) -> None:
    real = agrees(name, 64, amp=torch.bfloat16)
    plain, _ = estimate(network(name), (torch.zeros(2, 3, 64, 64),))
    assert real.saved < 0.7 * plain


class ChecksItself(nn.Module):
    """Its inside is computed again in the backward pass by its own will, twice, with a weight used twice in it."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem = nn.Conv2d(3, 8, 3)
        self.shared = nn.Conv2d(8, 8, 1)
        self.block = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 8, 3))

    def inside(self, maps: torch.Tensor) -> torch.Tensor:
        return self.block(self.shared(self.shared(maps).sigmoid()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.stem(image)
        for _ in range(2):
            maps = torch.utils.checkpoint.checkpoint(self.inside, maps, use_reentrant=self.reentrant)
        return maps


@pytest.mark.parametrize("amp", [None, torch.bfloat16])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_network_that_computes_again_by_itself(reentrant: bool, amp: torch.dtype | None) -> None:
    net, inputs = ChecksItself(reentrant), (torch.zeros(2, 3, 32, 32),)
    real = training_step(net, inputs, mean_square, OPTIMIZERS["sgd"], amp)
    assert estimate(net, inputs, optimizer="sgd", autocast=amp) == (real.saved, real.peak)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("squeezenet1_1", ("features",)),
        pytest.param("resnet18", ("layer1", "layer2", "layer3", "layer4"), marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_small", ("features",), marks=pytest.mark.slow),
        pytest.param("convnext_tiny", ("features.1", "features.3"), marks=pytest.mark.slow),
        pytest.param("vit_b_32", ("encoder.layers.encoder_layer_0",), marks=pytest.mark.slow),
    ],
)
def test_what_is_computed_again_is_cast_again(name: str, paths: tuple[str, ...]) -> None:
    net, inputs = at_64_pixels(name), (torch.zeros(2, 3, 64, 64),)
    with with_checkpoints(net, paths):
        real = training_step(net, inputs, mean_square, OPTIMIZERS["sgd"], torch.bfloat16)
    saved, peak = estimate(net, inputs, optimizer="sgd", autocast=torch.bfloat16, checkpointed=paths)
    assert saved == real.saved
    assert peak == pytest.approx(real.peak, rel=1e-3)
    assert saved < estimate(net, inputs, optimizer="sgd", autocast=torch.bfloat16)[0]


class CastsItself(nn.Module):
    """Parts under autocast of their own, and parts not: how it is opened is given."""

    def __init__(self, region: Callable[..., torch.autocast], again: bool = False) -> None:
        super().__init__()
        self.region, self.again = region, again
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.third, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.region(x.device.type):
            y = self.second(self.first(x).relu()).relu()
            if self.again:
                y = checkpoint(self.inside, y, use_reentrant=False, preserve_rng_state=False)
            with torch.autocast(x.device.type, enabled=False):
                y = self.third(y.float()).relu()
            y = self.third(y)
        return self.head(y.float().mean((2, 3)))

    def inside(self, y: torch.Tensor) -> torch.Tensor:
        return self.second(self.second(y).relu())


@pytest.mark.parametrize("again", [False, True], ids=["plain", "checkpointed"])
@pytest.mark.parametrize(
    "region",
    [
        lambda device: torch.autocast(device, torch.bfloat16),
        lambda device: torch.autocast("cpu"),
        lambda device: torch.autocast(device, torch.float16),
        lambda device: torch.cpu.amp.autocast(),
        lambda device: torch.autocast(device, torch.bfloat16, enabled=False),
    ],
    ids=["bfloat16", "the cpu's", "float16", "the old way", "off"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_networks_own_autocast_saves_what_it_saves_on_the_cpu(region: Callable[..., Any], again: bool) -> None:
    net = CastsItself(region, again)
    inputs = (torch.zeros(2, 3, 32, 32),)
    real = training_step(net, inputs, mean_square, OPTIMIZERS["sgd"])
    before = (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.autocast.__enter__)
    saved, peak = estimate(net, inputs, optimizer="sgd")
    assert saved == real.saved
    assert peak == pytest.approx(real.peak, rel=1e-3)
    assert before == (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.autocast.__enter__)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t", "vit_b_32", "densenet121", "efficientnet_b0", "googlenet"])
def test_mixed_precision_saves_what_autocast_saves_on_the_cpu_for_more_models(name: str) -> None:
    agrees(name, 96, amp=torch.bfloat16)


def test_the_sum_on_paper() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).to("meta")
    found = trace(net, (torch.empty(5, 3, 8, 8, device="meta"),), Run(optimizer="sgd"))
    image, weight, output = 5 * 3 * 8 * 8, 3 * 4 * 3 * 3, 5 * 4 * 6 * 6
    statistics = 4 * 4 + 2 * 4  # weight, bias, running mean and variance; the batch's mean and deviation
    saved = int(found.sizes[found.saved].sum())
    # The convolution keeps image and weight, the norm its input and statistics, but not its bias, the ReLU its output,
    # which lies where the norm's lies and is what the loss squares.
    assert saved == FLOAT * (image + weight + output + statistics - 4 + output)
    bill = make_bill(found, "train")
    assert bill.kept == FLOAT * (2 * output + 2 * 4)
    assert sum(each.kept_bytes for each in bill.layers) == bill.kept
    assert {each.layer.name: each.kept_bytes for each in bill.layers}["2"] == 0  # in place


def test_the_bill_adds_up() -> None:
    bill = make_bill(trace(network("resnet18").to("meta"), (torch.empty(2, 3, 64, 64, device="meta"),), Run()), "train")
    assert sum(each.at_peak for each in bill.shares) == bill.tensors
    assert bill.tensors + bill.rounding == bill.allocated <= bill.reserved
    most = {each.kind: each.most for each in bill.shares}
    weights = FLOAT * sum(each.numel() for each in network("resnet18").parameters())
    assert most["parameters"] == most["gradients"] == weights
    assert int(bill.course.alive.sum(0).max()) == bill.tensors
    assert {each.layer.kind: each.kept_bytes + each.peak_bytes for each in bill.layers}["input"] == 0  # not a layer's


def test_every_layer_of_the_backward_pass_is_named_after_the_forward_s() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8)).to("meta")
    found = trace(net, (torch.empty(2, 8, device="meta"),), Run())
    sections = dict(found.sections)
    backward = found.places[sections["backward"] : sections["step"]]
    made = found.events[sections["backward"] : sections["step"]] > 0
    order = [found.layers[place].layer.name for place in backward[made]]
    assert list(dict.fromkeys(order)) == ["loss", "2", "1", "0"]


@pytest.mark.parametrize(
    "name", ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in ("swin_t", "densenet121"))]
)
@pytest.mark.parametrize("train", [True, False])
def test_shortcuts_change_nothing(name: str, train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def events() -> list[int]:
        run = Run(train=train, named=False, optimizer="sgd-momentum")
        found = trace(network(name).to("meta"), (torch.empty(2, 3, 64, 64, device="meta"),), run)
        if not train:  # torch's own keep a few numbers a channel of a norm, which no device does
            return found.sizes[found.sizes > 65536].tolist()
        return (np_sign(found.events) * found.sizes[abs(found.events) - 1]).tolist()

    quick = events()
    monkeypatch.setattr(shortcuts, "_SHORTCUTS", {})
    assert quick == events()


def np_sign(values):  # type: ignore[no-untyped-def]
    return (values > 0) * 2 - 1


def test_names_cost_nothing() -> None:
    net, image = network("mobilenet_v3_small").to("meta"), torch.empty(2, 3, 64, 64, device="meta")
    named, bare = (trace(net, (image,), Run(named=each)) for each in (True, False))
    assert (named.events == bare.events).all()
    assert (named.sizes == bare.sizes).all()


def test_dropout_on_cuda_keeps_a_byte_a_value_and_on_the_cpu_a_float() -> None:
    kept = {}
    for target in ("cuda", "cpu"):
        net = nn.Sequential(nn.Dropout(0.5)).to("meta")
        image = torch.empty(10, 100, device="meta", requires_grad=True)
        found = trace(net, (image,), Run(target=target, losses=lambda output: output.sum()))  # type: ignore[arg-type]
        kept[target] = make_bill(found, "train").kept
    assert kept == {"cuda": 1000, "cpu": 4000}


def test_attention_keeps_no_matrix_of_weights() -> None:
    class Attention(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    tokens = torch.empty(2, 4, 1024, 64, device="meta", requires_grad=True)
    found = trace(Attention(), (tokens,), Run(losses=lambda output: output.sum()))
    matrix = FLOAT * 2 * 4 * 1024 * 1024
    assert int(found.sizes.max()) < matrix / 8


def test_a_checkpointed_block_keeps_only_what_enters_it() -> None:
    block = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(4)))
    net = nn.Sequential(block, nn.Linear(64, 8)).to("meta")
    tokens = torch.empty(512, 64, device="meta")
    plain, again = (make_bill(trace(net, (tokens,), Run(checkpointed=paths)), "train") for paths in ((), ("0",)))
    assert plain.kept - again.kept >= FLOAT * 512 * 64 * 3
    assert "forward" not in vars(block)


def test_nothing_of_the_trace_stays_behind() -> None:
    query = torch.empty(1, 1, 8, 8, device="meta")
    before = torch.random.get_rng_state()
    trace(nn.Sequential(nn.Dropout(0.5)).to("meta"), (query,), Run(autocast=torch.float16))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.nn.functional.conv2d(query, query).dtype == torch.float32


@pytest.mark.parametrize("name", ["squeezenet1_1", *(pytest.param(name, marks=pytest.mark.slow) for name in TWENTY)])
def test_memtracker_says_the_same(name: str) -> None:
    """PyTorch's own tracker, under FakeTensorMode, over the same step."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    net = at_64_pixels(name)  # some cannot be built among fake tensors: they read values
    fake = FakeTensorMode()
    for module in net.modules():
        for table in (module._parameters, module._buffers):
            for key, value in table.items():
                if value is not None:
                    made = fake.from_tensor(value.detach())
                    table[key] = nn.Parameter(made) if isinstance(value, nn.Parameter) else made
    with fake:
        image = torch.zeros(2, 3, 64, 64)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
        tracker = MemTracker()
        tracker.track_external(net, optimizer, image)
        with tracker:
            for _ in range(2):
                loss = mean_square(net(image))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                del loss
                tracker.reset_mod_stats()
        theirs = next(iter(tracker.get_tracker_snapshot("peak").values()))["Total"]
    _, ours = estimate(at_64_pixels(name), (torch.zeros(2, 3, 64, 64),), optimizer="sgd-momentum")
    assert ours == pytest.approx(theirs, rel=1e-3)
