"""Programs that never end, ask for terabytes or end torch itself: one line each, within seconds."""

from __future__ import annotations

import io
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from torch import nn

from fmap_cli.errors import ModelError
from fmap_cli.models import load_model
from fmap_cli.models.programs import endless, script, sizes, trial, walk
from fmap_cli.models.records import LoadedModel
from fmap_cli.network.capture import capture


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Forever(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        while y.numel() > 0:
            y = y + 1
        return y


class Bright(Plain):
    """Its loop has no end over an image with a value above 2, and no turn over others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turns = 0
        while bool(x.max() > 2):
            turns += 1
        return self.conv(x) + turns


class Calling(Plain):
    """As `Bright`, with a call of a module in each turn."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        while bool(x.max() > 2):
            y = y + self.conv(x)
        return y


class Keeping(Plain):
    """As `Bright`, and it keeps a megabyte in each turn."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = [self.conv(x)]
        while bool(x.max() > 2):
            kept.append(torch.zeros([1 << 18]) + len(kept))
        return kept[0]


class Counted(Plain):
    """200 turns where the image is bright, else 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        for turn in range(200 if bool(x.max() > 2) else 3):
            y = y + turn
        return y


class Doubling(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [1]
        for _ in range(50):
            values = values + values
        return self.conv(x) + len(values)


class Huge(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + torch.ones([2_500_000_000_000]).sum()


class Large(Plain):
    """It asks for what a machine may have: 3.6 GB."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + torch.ones([30_000, 30_000]).sum()


class Loading(Plain):
    """Its loop runs while it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return (torch.ones(1), self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.training = state[1]
        turns = 0
        while bool(state[0].sum() > 0):
            turns += 1


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scripted(net: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net.eval()).save("net.pt")


def nested_code() -> None:
    """A program whose text nests brackets deeper than torch's parser has room for."""
    scripted(Plain())
    with zipfile.ZipFile("net.pt") as old:
        members = {name: old.read(name) for name in old.namelist()}
    main = next(
        name for name in members if name.endswith("__torch__/test_endless.py") or b"class Plain" in members[name]
    )
    deep = b"(" * 200_000 + b"x" + b")" * 200_000
    members[main] = members[main].replace(b"(conv).forward(x, )", b"(conv).forward(" + deep + b", )")
    assert deep in members[main]
    Path("net.pt").write_bytes(hostile.zipped(members))


def calls_of_calls() -> None:
    """Forty functions, each of which calls the one before twice: 2 ** 40 steps, and no loop."""
    scripted(Plain())
    with zipfile.ZipFile("net.pt") as old:
        members = {name: old.read(name) for name in old.namelist()}
    main = next(name for name in members if b"class Plain" in members[name])
    text = "  def f0(self: {0},\n    x: Tensor) -> Tensor:\n    return torch.relu(x)\n"
    for at in range(1, 41):
        text += f"  def f{at}(self: {{0}},\n    x: Tensor) -> Tensor:\n"
        text += f"    return (self).f{at - 1}((self).f{at - 1}(x, ), )\n"
    name = "__torch__." + main.split("/code/__torch__/")[1].removesuffix(".py").replace("/", ".") + ".Plain"
    forward = members[main].index(b"  def forward")
    members[main] = members[main][:forward] + text.format(name).encode() + members[main][forward:]
    members[main] = members[main].replace(b"(conv).forward(x, )", b"(self).f40(x, )")
    Path("net.pt").write_bytes(hostile.zipped(members))


def refused(spec: str = "net.pt") -> str:
    before = time.monotonic()
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert time.monotonic() - before < 60  # ten on an idle machine
    assert caught.value.message.startswith(f"{spec} was not opened: ")
    assert caught.value.hint is not None
    return caught.value.message


SECONDS = "in time; a loop in it may have no end"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: scripted(Forever()), SECONDS, marks=pytest.mark.slow),
        pytest.param(lambda: scripted(Loading()), SECONDS, marks=pytest.mark.slow),
        pytest.param(lambda: scripted(Doubling()), "it asks for more than 1,024 MiB", marks=pytest.mark.slow),
        pytest.param(lambda: scripted(Huge()), "it asks for more than 1,024 MiB", marks=pytest.mark.slow),
        (lambda: scripted(Large()), "it asks for more than 1,024 MiB"),
        (nested_code, "it ends torch itself (SIG"),
        pytest.param(calls_of_calls, "steps; 1,000,000 are run", marks=pytest.mark.slow),
    ],
)
def test_a_script_that_asks_for_too_much_is_not_opened(make: Callable[[], None], words: str) -> None:
    make()
    assert words in refused()


def test_a_loop_without_end_is_given_up_after_the_time_that_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight seconds, of which this one waits for two; under `-m slow` they are waited for."""
    own, waited = trial.Isolated.heard_within, []

    def sooner(self: trial.Isolated, seconds: float) -> None:
        waited.append(seconds)
        own(self, min(seconds, 2) if seconds < trial.SECONDS + 1 else seconds)

    monkeypatch.setattr(trial.Isolated, "heard_within", sooner)
    scripted(Forever())
    assert SECONDS in refused()
    assert trial.SECONDS in waited


BRIGHT = torch.full((1, 3, 8, 8), 3.0)
STOPPED = r"^net\.pt was stopped: its loops have made [\d,]+ turns in \d+ seconds"


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("net", [Bright(), Calling()], ids=["bright", "calling"])
def test_a_loop_without_end_over_one_image_is_stopped(
    monkeypatch: pytest.MonkeyPatch, net: nn.Module, whole: bool
) -> None:
    """Walked, and as torch runs it."""
    monkeypatch.setattr(endless, "_MOST_SECONDS", 0.2)
    monkeypatch.setattr(endless, "_SECONDS_AGAIN", 0.1)
    module = opened(net, whole).module
    assert module(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)
    for _ in range(2):
        with pytest.raises(ModelError, match=STOPPED):
            module(BRIGHT)
    assert module(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


@pytest.mark.parametrize("whole", [False, True])
def test_a_pass_within_a_pass_gives_it_no_more_time(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """What watches a layer may run the program again, and go on where that is stopped."""
    monkeypatch.setattr(endless, "_MOST_SECONDS", 0.2)
    monkeypatch.setattr(endless, "_SECONDS_AGAIN", 0.1)
    module = opened(Calling(), whole).module
    within: list[BaseException | None] = []

    def again(output: torch.Tensor) -> None:
        if not within:
            within.append(None)
            try:
                module(BRIGHT)
            except ModelError as error:
                within[0] = error

    with pytest.raises(ModelError, match=STOPPED):
        capture(module, (BRIGHT,), lambda layer: again)
    assert isinstance(within[0], ModelError) or whole  # as a whole it has one layer, and that is never reached


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say how much memory there is")
@pytest.mark.parametrize("whole", [False, True])
def test_a_loop_that_takes_memory_is_stopped_before_its_time(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr(endless, "_MOST_SECONDS", 60.0)
    monkeypatch.setattr(trial, "MOST_BYTES", 100 << 20)
    module = opened(Keeping(), whole).module
    with pytest.raises(ModelError, match=rf"{STOPPED} and taken [\d,]+ MiB of memory\n"):
        module(BRIGHT)


@pytest.mark.parametrize("whole", [False, True])
def test_a_loop_with_an_end_is_torchs_own(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """0 + 1 + … + 199 = 19,900 is added over the bright image, after 3 turns when it was tried."""
    monkeypatch.setattr(endless, "_MOST_SECONDS", 6.0)
    net = Counted()
    model = opened(net, whole)
    with torch.no_grad():
        torch.testing.assert_close(model.module(BRIGHT), net.conv(BRIGHT) + 19_900)


def opened(net: nn.Module, whole: bool) -> LoadedModel:
    """The program as `load_model` opens it, without the process that tries it."""
    scripted(net)
    read, unit = script._read_script("net.pt")
    assert endless.watch_loops(unit)
    program = endless.Program("net.pt")
    program.may_run(3)
    module = script._whole(read, program) if whole else walk.mirror_of(read, unit, program)
    found: Any = type("Loaded", (), {"module": module.eval()})
    return found


def test_turns_while_it_was_tried_allow_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 1,000 turns twenty thousand are nothing strange, however long they take; five times as many of ten images,
    since two are the usual size.
    """
    monkeypatch.setattr(endless, "_MOST_SECONDS", 0.0)
    monkeypatch.setattr(endless, "_SECONDS_AGAIN", 0.0)
    program = endless.Program("net.pt")
    program.may_run(1_000)
    for images, turns in ((1, 20_000), (10, 100_000)):
        with (
            pytest.raises(ModelError, match=f"{turns + 1:,} turns"),
            endless.one_pass(program, [torch.empty(images, 3, 224, 224)]),
        ):
            for at in range(turns + 1):
                assert endless.turn(at, True)


def program(net: nn.Module) -> None:
    buffer = io.BytesIO()
    exports = torch.export.export(net.eval(), (torch.rand(1, 3, 8, 8),))
    torch.export.save(exports, buffer)
    Path("net.pt2").write_bytes(buffer.getvalue())


class Conditional(Plain):
    """It asks for ten terabytes where the image is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return torch.cond(x.max() > 2, lambda y: y + torch.ones(2_500_000_000_000).sum(), lambda y: y + 1, (y,))


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (
            Conditional(),
            "makes a tensor of 2500000000000, 10,000,000,000,000 bytes; over such an input 1,073,741,824 are",
        ),
        (Huge(), "makes a tensor of 2500000000000, 10,000,000,000,000 bytes; over such an input 1,073,741,824 are"),
        (Large(), "makes a tensor of 30000 × 30000, 3,600,000,000 bytes"),
    ],
)
def test_a_torch_export_program_that_asks_for_too_much_is_not_opened(net: nn.Module, words: str) -> None:
    program(net)
    message = refused("net.pt2")
    assert words in message
    assert "\n" not in message  # torch adds lines to what is raised within its graphs


@pytest.mark.slow
def test_a_torch_export_program_of_unknown_sizes_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "check", lambda module, inputs, most_bytes: False)
    program(Large())
    assert "it asks for more than 1,024 MiB" in refused("net.pt2")
    program(Plain())
    assert load_model("net.pt2").module(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_sizes_that_go_by_values_are_not_known() -> None:
    class Chosen(Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[x > 0].reshape(1, int((x > 0).sum()))

    assert sizes.check(Plain(), [torch.ones(1, 3, 8, 8)], 10_000)
    assert not sizes.check(Chosen(), [torch.ones(1, 3, 8, 8)], 10_000)


def test_larger_input_may_take_more() -> None:
    usual = [torch.empty(2, 3, 224, 224, device="meta")]
    assert trial.bytes_for(usual) == trial.bytes_for([torch.empty(1, 3, 32, 32)]) == 1 << 30
    assert trial.bytes_for([*usual, *usual]) == 2 << 30
