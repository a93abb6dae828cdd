"""Hostile and damaged checkpoints and programs: one line each, and nothing of them runs."""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
import torch
import watch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from fmap_cli.errors import FmapError, ModelError, WeightsError
from fmap_cli.models import checkpoint, load_model, pickle_check
from fmap_cli.models.archive import RefusedError
from fmap_cli.models.programs import expressions

CHECKPOINTS = hostile.checkpoints()


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails where a reader ran what the corpus asks for, or left something in the temporary folder."""
    watch.begin()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    yield
    assert not watch.RAN
    assert not (tmp_path / hostile.MARKER).exists()
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert not [name for name in left if not name.startswith("torchinductor")]


@pytest.fixture(scope="module")
def whole() -> bytes:
    return hostile.exported()


def test_the_watch_sees_what_pickle_would_do(tmp_path: Path) -> None:
    """The guard can fail: without fmap, the corpus does run."""
    pickle.loads(pickle.dumps(hostile.Code()))
    assert watch.RAN
    assert (tmp_path / hostile.MARKER).exists()
    watch.RAN.clear()
    (tmp_path / hostile.MARKER).unlink()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_an_odd_checkpoint_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    suffix = ".safetensors" if name.startswith("safetensors") else ".pth"
    (tmp_path / f"net{suffix}").write_bytes(CHECKPOINTS[name])
    with pytest.raises(WeightsError) as caught:
        checkpoint.read(f"net{suffix}")
    assert caught.value.message.startswith(f"net{suffix} ")
    assert len(str(caught.value)) < 500


def test_what_training_scripts_leave_is_read(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for name, content in hostile.good_checkpoints(net).items():
        (tmp_path / "net.pth").write_bytes(content)
        read = checkpoint.matched(checkpoint.read("net.pth"), net).tensors
        assert {key: tuple(value.shape) for key, value in read.items()} == {
            key: tuple(value.shape) for key, value in net.state_dict().items()
        }, name


def test_a_claim_counts_the_bytes_that_are_there(tmp_path: Path) -> None:
    """Three floats are twelve bytes: with eleven the file is refused, with twelve it is read."""
    for count, fits in ((11, False), (12, True)):
        (tmp_path / "net.pth").write_bytes(hostile.checkpoint(hostile.tensor_pickle(3, (3,)), b"\0" * count))
        if fits:
            assert checkpoint.read("net.pth").tensors["weight"].tolist() == [0, 0, 0]
        else:
            with pytest.raises(WeightsError, match="claims 12 bytes, and the file has 11"):
                checkpoint.read("net.pth")


def test_a_view_lies_within_its_storage() -> None:
    """Rows of 2 in 6 values, 3 apart: two rows end at value 5, three would end at 8."""
    fits = hostile.tensor_pickle(6, (2, 2), (3, 1))
    pickle_check.check(io.BytesIO(fits), lambda key, claimed: 24)
    with pytest.raises(RefusedError, match="3 × 2 claims more than its storage has"):
        pickle_check.check(io.BytesIO(hostile.tensor_pickle(6, (3, 2), (3, 1))), lambda key, claimed: 24)


def test_a_program_is_opened(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(whole)
    loaded = load_model("net.pt2")
    assert loaded.module(torch.rand(1, 3, 20, 24))["out"].shape == (1, 4, 9, 11)


def test_a_program_that_asks_for_more_is_refused_in_a_line(whole: bytes, tmp_path: Path) -> None:
    for name, content in hostile.programs(whole).items():
        (tmp_path / "net.pt2").write_bytes(content)
        with pytest.raises(ModelError) as caught:
            load_model("net.pt2")
        assert caught.value.message.startswith("net.pt2 "), name
        assert not caught.value.message.startswith("cannot load"), (name, caught.value.message)
        assert len(str(caught.value)) < 700, name
        if name == "nodes":
            assert caught.value.message == "net.pt2 was not opened: its program has 50,000 operations; 6,000 are run"


@pytest.mark.parametrize(
    "size",
    [
        "Add(FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2)), Integer(-1))",
        "Max(Integer(1), Mul(Rational(1, 2), Symbol('u0', integer=True)))",
        "TruncToInt(FloatTrueDiv(ToFloat(Symbol('s0')), Float('1.5', precision=53)))",
        "Pow(Symbol('s0'), Integer(2))",
        "2*s0 + s1//2 - Mod(s0, 3)**2",
        "Equality(Mod(Symbol('zf3'), Integer(2)), Integer(0))",
    ],
)
def test_sizes_that_torch_writes(size: str) -> None:
    expressions.check_size(size)


@pytest.mark.parametrize(
    "size", ["s0.real", "s0[0]", "f(s0)", "'s0'", "x", "1.5", "s0 if 1 else 2", "[1]", "", "2**s0**s1**s2"]
)
def test_sizes_that_are_no_arithmetic(size: str) -> None:
    with pytest.raises(RefusedError):
        expressions.check_size(size)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6))
def test_damage_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    net = nn.Linear(2, 2)
    for suffix, content in ((".pth", hostile.saved(net.state_dict())), (".pth", _legacy(net))):
        for _, broken in hostile.damaged(content, seed=seed, count=4):
            (tmp_path / f"net{suffix}").write_bytes(broken)
            try:
                checkpoint.read(f"net{suffix}")
            except FmapError as error:
                assert len(str(error)) < 500


def _legacy(net: nn.Module) -> bytes:
    return hostile.saved(net.state_dict(), _use_new_zipfile_serialization=False)
