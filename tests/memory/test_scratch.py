"""Buffers inside kernels: the estimate against every allocation that torch's profiler sees on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torchvision.ops import DeformConv2d

from fmap_cli.memory.forecast import forecast
from fmap_cli.memory.replay import program
from fmap_cli.memory.request import MemoryRequest
from fmap_cli.memory.tracing import Run, trace
from fmap_cli.models.records import ModelRequest
from fmap_cli.network.axes import meta_twin


class Deformable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = DeformConv2d(16, 8, 3, padding=1)
        self.offset = nn.Parameter(torch.zeros(1, 18, 24, 24))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, self.offset.expand(len(x), -1, -1, -1).contiguous())


def allocated(run: Callable[[], object]) -> int:
    """The most bytes at once, by the profiler's own events."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [each for each in profiler.profiler.kineto_results.events() if each.name() == "[memory]"]
    now = most = 0
    for each in sorted(events, key=lambda each: each.start_ns()):
        now += each.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_a_deformable_convolutions_columns_count(batch: int) -> None:
    net, image = Deformable().eval(), torch.zeros(batch, 16, 24, 24)
    with torch.no_grad():
        real = allocated(lambda: net(image))
    found = trace(meta_twin(net), (image.to("meta"),), Run(train=False, target="cpu"))
    there = sum(each.numel() for each in (*net.parameters(), image)) * 4
    together = {1: 1, 2: 2, 33: 11}[batch]
    assert real > 4 * 16 * 9 * together * 24 * 24
    assert int(program(found).live().max()) - there == real


def test_a_training_step_with_them(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(
        "import torch\nfrom torch import nn\nfrom torchvision.ops import DeformConv2d\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.offset, self.conv = nn.Conv2d(3, 18, 3, padding=1), DeformConv2d(3, 16, 3, padding=1)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x, self.offset(x)).mean((2, 3))\n"
    )
    request = MemoryRequest(
        ModelRequest(f"{file}:Net"), batch=4, size=(48, 48), modes=("train",), measure="cpu", budget=40_000_000
    )
    found = forecast(request, lambda _: None)
    (measured,) = found.measured
    assert measured.estimated == pytest.approx(measured.measured, rel=0.01)
    largest = found.largest[0]
    assert largest.batch is not None and largest.bytes is not None and largest.next_bytes is not None
    assert largest.bytes <= 40_000_000 < largest.next_bytes
