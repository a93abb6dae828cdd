"""Operations on zeros that are not computed, against torch's own results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fmap_cli.network.blank import blank_arithmetic
from fmap_cli.network.zeros import Zeros, zeros


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise the first operation would import torch._dynamo


class _Known(_Mode):
    def __init__(self) -> None:
        super().__init__()
        self.zeros = Zeros()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.zeros.run(func, args, kwargs or {})


def _norm(**values: float) -> Callable[[Tensor], Tensor]:
    norm = nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        for name, value in values.items():
            getattr(norm, name).fill_(value)
    return norm


def _written(step: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    """What is computed of a tensor after `step` wrote to it, or to its memory."""

    def run(values: Tensor) -> Tensor:
        step(values)
        return values.relu() + values

    return run


COLUMN = torch.arange(4.0).reshape(4, 1, 1)
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "relu6": F.relu6,
    "hardtanh above zero": lambda x: F.hardtanh(x, 1.0, 2.0),
    "hardtanh above zero in place": lambda x: F.hardtanh_(x, 1.0, 2.0),
    "silu": F.silu,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "scaled": lambda x: x * COLUMN,
    "scaled by what is infinite": lambda x: x * (COLUMN / 0),
    "scaled in place": lambda x: x.mul_(COLUMN),
    "infinite in place": lambda x: x.mul_(float("inf")),
    "broadcast": lambda x: x * torch.ones(3, 2, 4, 5, 5),
    "doubles": lambda x: x * torch.ones(5, dtype=torch.float64),
    "shifted": lambda x: x + COLUMN,
    "shifted by nothing": lambda x: x + 0 * COLUMN,
    "shifted by an infinite part": lambda x: torch.add(x, 0 * COLUMN, alpha=float("nan")),
    "a residual": lambda x: x + F.relu(x),
    "a residual in place": lambda x: x.add_(F.relu(x)),
    "a residual of another order": lambda x: x + torch.zeros(2, 5, 5, 4).permute(0, 3, 1, 2),
    "a residual in another order": lambda x: x.contiguous(memory_format=torch.channels_last) + x,
    "a product of another order": lambda x: torch.ones(2, 5, 5, 4).permute(0, 3, 1, 2) * x,
    "joined": lambda x: torch.cat([x, x.relu(), x * 2], 1),
    "joined with others": lambda x: torch.cat([x, torch.ones(2, 1, 5, 5)], 1),
    "joined with nothing": lambda x: torch.cat([torch.zeros(0), x.relu()], 1),
    "cloned": lambda x: x.clone(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last).relu(),
    "reordered": lambda x: x.permute(0, 2, 3, 1).relu(),
    "a norm": _norm(),
    "a norm that shifts": _norm(bias=2),
    "a norm that moves": _norm(running_mean=3),
    "a norm that moves and scales by nothing": _norm(running_mean=3, weight=0),
    "a norm of what is NaN": _norm(running_var=float("nan")),
    "a norm by itself": lambda x: F.instance_norm(x),
    "a norm by itself that shifts": lambda x: F.instance_norm(x, weight=torch.ones(4), bias=torch.ones(4)),
    "a norm in training": lambda x: F.batch_norm(x, torch.ones(4), torch.ones(4), training=True),
    "written": _written(lambda x: x.add_(1)),
    "written through a view": _written(lambda x: x[:, 1:3].add_(1)),
    "a view written through": _written(lambda x: x.view(-1).fill_(2)),
    "filled in parts": _written(lambda x: x.index_put_((torch.tensor([1]),), torch.tensor(5.0))),
    "written by another name": _written(lambda x: torch.add(x.detach(), 1, out=x.data)),
    "in place after a copy": lambda x: x.clone().add_(1) + x,
}


@pytest.mark.parametrize("what", STEPS)
@torch.no_grad()
def test_results_are_torchs(what: str) -> None:
    step = STEPS[what]
    expected = step(torch.zeros(2, 4, 5, 5))
    with _Known() as mode:
        given = mode.zeros.note(torch.zeros(2, 4, 5, 5))
        found = step(given)
        assert not mode.zeros.has(found) or not expected.any()
    assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
    assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())


@torch.no_grad()
def test_a_blank_network_computes_nothing_of_its_zeros() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Hardtanh()).eval()
    images = torch.rand(1, 3, 9, 9)

    class Ran(_Mode):
        names: list[str]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(func.name())
            return func(*args, **(kwargs or {}))

    ran = Ran()
    ran.names = []
    with ran, blank_arithmetic():  # beneath: what reaches it is really computed
        output = net(images)
    assert not output.any() and output.shape == (1, 8, 7, 7)
    assert not {"aten::native_batch_norm", "aten::relu", "aten::hardtanh"} & {*ran.names}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("refused", [False, True])
def test_large_zeros_are_memory_of_their_own_that_nobody_has_touched(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, refused: bool
) -> None:
    if refused:
        monkeypatch.setattr(
            "fmap_cli.network.zeros.mmap.mmap", lambda *_, **__: (_ for _ in ()).throw(OSError("no more"))
        )
    like = torch.ones(1, dtype=dtype)
    one, other = zeros(like, (2, 1 << 16)), zeros(like, (2, 1 << 16))
    one += 1
    assert (one.shape, one.dtype, one.is_contiguous(), one._base) == ((2, 1 << 16), dtype, True, None)
    assert bool((one == 1).all()) and not other.any()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory there is")
def test_zeros_that_nobody_reads_take_no_memory() -> None:
    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = pages()
    held = zeros(torch.ones(1), (1 << 26,))
    assert pages() - before < 1000
    held.fill_(1)
    assert pages() - before > 60_000, "this can fail"


def test_tensors_that_are_gone_are_forgotten() -> None:
    known = Zeros()
    held = known.note(torch.zeros(3))
    for _ in range(5):
        known.note(torch.zeros(3))
    assert len(known._held) == len(known._inside) == 1
    assert known.has(held)
    assert not known.has(torch.zeros(3))
