"""Batch after batch written in place: every layer has the numbers of all its outputs, as torch has them in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import ModelRequest
from fmap_cli.network.capture import capture
from fmap_cli.running.going import origin_of
from fmap_cli.running.plan import Plan
from fmap_cli.session.opening import open_session
from fmap_cli.statistics.channels import FIELDS
from fmap_cli.statistics.gather import Gathering, _Total
from fmap_cli.statistics.records import LayerRecord
from fmap_cli.statistics.reference import channel_stats
from fmap_cli.statistics.sheet import Sheet


class Net(nn.Module):
    """Layers in place and of one tensor, a value a channel, a view with gaps; `bend` changes what is put out."""

    def __init__(self) -> None:
        super().__init__()
        self.bend: Callable[[Tensor], Tensor] | None = None
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True))
        self.same = nn.Identity()
        self.part = nn.Identity()
        self.bent = nn.Identity()
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(self.body(x))
        self.part(x[:, ::2, 1:])
        if self.bend is not None:
            self.bent.forward = self.bend  # one layer, whatever it does: operations in it are not told apart
            self.bent(x)
        return self.head(x.mean((2, 3)))


def batches(*counts: int, size: int = 12) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(count, 3, size, size, generator=generator) for count in counts]


def placed(batch: Tensor) -> list[tuple[int, ImageInput]]:
    return [(at, ImageInput(str(at), "", None, each)) for at, each in enumerate(batch)]  # type: ignore[arg-type]


def counted(net: nn.Module, inputs: list[Tensor], before: Callable[[int], None] = lambda _: None) -> Any:
    with Gathering(open_session(ModelRequest(net, input_shape=((3, 12, 12),)), lambda _: None)) as gathering:
        for at, batch in enumerate(inputs):
            before(at)
            gathering.add(placed(batch))
        return gathering.known[None].records()


def agrees(net: nn.Module, inputs: list[Tensor], before: Callable[[int], None] = lambda _: None) -> None:
    """The run's records are those of every layer's outputs, copied in a pass of their own and laid end to end."""
    net.eval()
    records: dict[str, LayerRecord] = counted(net, inputs, before)
    outputs: dict[str, list[Tensor]] = {}
    for at, batch in enumerate(inputs):
        before(at)

        def watch(layer: Any) -> Any:
            return lambda output: outputs.setdefault(layer.name, []).append(output.detach().double().clone())

        capture(net, (batch,), watch)
    assert records.keys() == outputs.keys() and len(records) > 8
    for name, record in records.items():
        rows = torch.cat([each.movedim(1, 0).flatten(1) for each in outputs[name]], 1)
        expected = channel_stats(rows, "layer", False)
        found = record.channels
        assert record.images == sum(len(each) for each in outputs[name]), name
        assert found.count == rows.shape[1], name
        for field in ("min", "max", "zeros", "nan", "inf"):
            assert np.array_equal(getattr(found, field), getattr(expected, field), equal_nan=True), (name, field)
        assert np.allclose(found.mean, expected.mean, rtol=1e-9, atol=1e-12, equal_nan=True), name
        assert np.allclose(found.m2, expected.m2, rtol=1e-9, atol=1e-12), name


def same(one: LayerRecord, other: LayerRecord) -> None:
    assert one.images == other.images and one.same_as == other.same_as
    for field in ("count", *FIELDS, "histogram"):
        first, second = getattr(one.channels, field), getattr(other.channels, field)
        assert np.array_equal(first, second, equal_nan=True), (one.layer.name, field)


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every batch that is counted, whether it was written in place."""
    seen: list[bool] = []
    add = _Total.add

    def noted(total: _Total, images: int, found: Any) -> None:
        seen.append(isinstance(found, Sheet))
        add(total, images, found)

    monkeypatch.setattr(_Total, "add", noted)
    return seen


def test_batches_of_two_sizes_in_turn(sheets: list[bool]) -> None:
    agrees(Net(), batches(3, 3, 2, 3, 2, 3))
    assert sheets == [False, True, False, True, True, True]


def test_images_of_two_sizes_in_one_call(sheets: list[bool]) -> None:
    net = Net()
    large, small = batches(2, 2), batches(1, 1, size=9)
    with Gathering(open_session(ModelRequest(net, input_shape=((3, 12, 12),)), lambda _: None)) as gathering:
        gathering.add(placed(large[0]))
        gathering.add(placed(small[0]))
        for _ in range(2):  # the second time each size has its sheet
            gathering.add([*placed(large[1]), *placed(small[1]), *placed(large[0])])
        records = gathering.known[None].records()
    assert not any(sheets), "several passes are counted together: none may write over another"
    every = [large[0], small[0], *[large[1], small[1], large[0]] * 2]
    values = torch.cat([each.movedim(1, 0).flatten(1) for each in every], 1).double()
    assert records["x"].images == 13
    assert np.allclose(records["x"].channels.mean, values.mean(1), rtol=1e-9)


@pytest.mark.parametrize(
    "bend",
    [
        lambda x: x[:, :, ::2],
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.half(),
        lambda x: x.double() * 1.5,
        lambda x: x * float("nan"),
        lambda x: x.reshape(len(x), 5, 5, 20),
        torch._neg_view,
    ],
    ids=["with gaps", "channels last", "half", "double", "nan", "another shape", "negated"],
)
def test_an_output_that_lies_otherwise_from_some_batch_on(bend: Callable[[Tensor], Tensor], sheets: list[bool]) -> None:
    net = Net()

    def before(at: int) -> None:
        net.bend = bend if at in (2, 3) else (lambda x: x + 1)

    agrees(net, batches(2, 2, 2, 2, 2, 2), before)
    assert any(sheets)


@pytest.mark.parametrize("runs_in", [(0, 1, 4), (1, 4, 5), (2, 3)])
def test_a_layer_that_runs_in_some_batches_only(runs_in: tuple[int, ...], sheets: list[bool]) -> None:
    net = Net()

    def before(at: int) -> None:
        net.bend = (lambda x: x + 1) if at in runs_in else None

    agrees(net, batches(2, 2, 2, 2, 2, 2), before)
    assert any(sheets)


def test_a_layer_that_puts_out_the_same_tensor_in_some_batches_only() -> None:
    net = Net().eval()
    inputs = batches(2, 2, 2, 2, 2, 2, 2)

    def before(at: int) -> None:
        net.bend = (lambda x: x) if at in (0, 3, 4) else torch.clone

    records = counted(net, inputs, before)
    values = torch.cat([net.body(each) for each in inputs]).detach().double()
    assert records["bent"].images == 14
    assert np.allclose(records["bent"].channels.mean, values.mean((0, 2, 3)), rtol=1e-9)
    assert np.allclose(records["body"].channels.mean, values.mean((0, 2, 3)), rtol=1e-9)


def test_a_pass_that_fails_midway_leaves_nothing_behind() -> None:
    inputs = batches(2, 2, 2)
    net = Net()
    whole = counted(net, inputs)

    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("midway")

    with Gathering(open_session(ModelRequest(net, input_shape=((3, 12, 12),)), lambda _: None)) as gathering:
        gathering.add(placed(inputs[0]))
        for batch in inputs[1:]:
            net.bend = fail
            with pytest.raises(Exception, match="midway"):
                gathering.add(placed(batch * 100))
            net.bend = None
            gathering.add(placed(batch))
        records = gathering.known[None].records()
    for name, record in whole.items():
        same(records[name], record)


@pytest.mark.parametrize("histogram", ["layer", "channel"])
def test_a_run_in_place_is_the_run_of_its_parts_to_the_last_bit(histogram: Any) -> None:
    """Each part is counted by a gathering of its own, whose first batch is not written in place, as one resumed."""
    inputs = batches(3, 3, 3, 3)
    net = Net()

    def gathering(earlier: Any = None) -> Gathering:
        session = open_session(ModelRequest(net, input_shape=((3, 12, 12),)), lambda _: None)
        return Gathering(session, histogram=histogram, earlier=earlier)

    plan = Plan((), ("x",) * 12, None, "")
    with gathering() as whole:
        for batch in inputs:
            whole.add(placed(batch))
    earlier = None
    for at, batch in enumerate(inputs):
        with gathering(earlier) as part:
            part.add(placed(batch))
            earlier = part.run(origin_of(part.session, digest=False), plan, [], 3 * (at + 1))
    assert earlier is not None
    for name, record in whole.known[None].records().items():
        same(next(each for each in earlier.layers if each.layer.name == name), record)
