"""Sound small files with bits flipped, stretches cut, doubled and put elsewhere: what reads them reads or refuses.

A refusal is an FmapError. Whatever else arises is a fault, and so is anything that runs.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import corpus
import hostile
import numpy as np
import pytest
import watch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fmap_cli.errors import FmapError
from fmap_cli.inputs.arrays import load_array
from fmap_cli.inputs.images import load_image
from fmap_cli.models import checkpoint
from fmap_cli.models.archive import RefusedError
from fmap_cli.models.programs import check
from fmap_cli.models.records import Preprocessing
from fmap_cli.statistics.runs import load_run

PLAIN = Preprocessing(resize=None, crop=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
FEW, MANY = 15, 1500
NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """The file after one to four changes, as damage and ill will make them."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        size = len(content)
        # Headers are where readers decide: half of all changes are there.
        at = draw(st.integers(0, min(size, 300)) | st.integers(0, size))
        end = min(size, at + draw(st.integers(1, 40)))
        match draw(st.sampled_from(("flip", "cut", "drop", "double", "move", "number", "bytes", "digit"))):
            case "flip" if at < size:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[at:]
            case "drop":
                del content[at:end]
            case "double":
                content[at:at] = content[at:end] * draw(st.integers(1, 20))
            case "move":
                other = draw(st.integers(0, size))
                content[other:other] = content[at:end]
            case "number":
                width = draw(st.sampled_from((1, 2, 4, 8)))
                number = draw(st.sampled_from(NUMBERS)) % 256**width
                content[at : at + width] = number.to_bytes(width, draw(st.sampled_from(("little", "big"))))
            case "bytes":
                content[at:end] = draw(st.binary(max_size=12))
            case "digit":  # text in headers: another number
                places = [place for place in range(at, min(size, at + 400)) if 48 <= content[place] <= 57]
                if places:
                    content[places[0] : places[0] + 1] = draw(st.sampled_from((b"-1", b"9" * 30, b"1e9", b"0")))
    return bytes(content)


def _checked(file: Path) -> None:
    with contextlib.suppress(RefusedError):  # what becomes an FmapError of those who call it
        check.check(file)


def _picture(suffix: str) -> Callable[[], bytes]:
    return lambda: corpus.picture(suffix, "RGB") or b""


def _noise() -> np.ndarray:
    return np.random.default_rng(0).random((4, 4, 3))


def _legacy() -> bytes:
    return hostile.saved(corpus.network().state_dict(), _use_new_zipfile_serialization=False)


def _training() -> bytes:
    return hostile.good_checkpoints(corpus.network())["training"]


def _weights(file: Path) -> None:
    checkpoint.read(str(file))


def _image(file: Path) -> None:
    load_image(str(file), PLAIN)


READERS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], object]]] = {
    **{suffix: (f"a.{suffix}", _picture(suffix), _image) for suffix in ("png", "jpg", "webp", "tif", "bmp", "gif")},
    "png of 16 bits": ("a.png", lambda: corpus.png(9, 7, 16, 6, bytes(73) * 7), _image),
    "npy": ("a.npy", lambda: corpus.npy(_noise()), lambda file: load_image(str(file), PLAIN, layout="HWC")),
    "npy as it is": ("a.npy", lambda: corpus.npy(_noise()), lambda file: load_array(str(file), (4, 4, 3))),
    "run": ("run.fmap", corpus.saved_run, load_run),
    "safetensors": ("w.safetensors", corpus.sound_safetensors, _weights),
    "checkpoint": (
        "w.pth",
        lambda: hostile.good_checkpoints(corpus.network())["training"],
        lambda file: checkpoint.read(str(file)),
    ),
    "legacy checkpoint": ("w.pth", _legacy, lambda file: checkpoint.read(str(file))),
    "pt2": ("net.pt2", corpus.exported, _checked),
}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    watch.begin()
    yield
    assert not watch.RAN and not (tmp_path / hostile.MARKER).exists()


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_broken_is_read_or_refused(reader: str, examples: int) -> None:
    name, make, read = READERS[reader]
    file = Path(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = make()
    file.write_bytes(whole)
    read(file)  # it is sound

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples == FEW,
        phases=[Phase.generate] if examples == FEW else list(Phase),
        suppress_health_check=list(HealthCheck),
    )
    @given(broken(whole))
    def breaks(content: bytes) -> None:
        file.write_bytes(content)
        try:
            read(file)
        except FmapError as error:
            assert len(str(error)) < 2_000 and len(str(error).splitlines()) <= 2

    breaks()


def test_the_damage_reaches_the_readers() -> None:
    """Of the broken files some are read and some are refused: neither the changes nor the readers are idle."""
    outcomes = set()
    whole = corpus.picture("png", "RGB") or b""

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(broken(whole))
    def breaks(content: bytes) -> None:
        Path("a.png").write_bytes(content)
        try:
            load_image("a.png", PLAIN)
            outcomes.add("read")
        except FmapError:
            outcomes.add("refused")

    breaks()
    assert outcomes == {"read", "refused"}
