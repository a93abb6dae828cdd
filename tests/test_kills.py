"""Every command that writes, killed at random moments: nothing is half-written, runs on or lies about."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import forked
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

NETWORK = """
from torch import nn
def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
"""
IMAGES = 40
MODEL = ("-m", "net.py:make", "--size", "32")


@dataclass(frozen=True)
class Command:
    """What is run, the files it makes, and what goes on after a kill."""

    arguments: tuple[str, ...]
    made: tuple[str, ...]
    resumed: bool = False
    redirected: str | None = None


KEPT = ("--batch", "2", "--workers", "2", "--checkpoint-every", "0")
COMMANDS = {
    "figures": Command(("show", "a.png", "b.png", "-l", "*", "--out-dir", "figures", *MODEL), ("figures",)),
    "figure": Command(("show", "a.png", "-o", "figure.pdf", *MODEL), ("figure.pdf",)),
    "arrays": Command(("show", "a.png", "-o", "f.png", "--save", "arrays.pt", *MODEL), ("f.png", "arrays.pt")),
    "stats": Command(
        ("stats", "photos", "--save", "run.fmap", *KEPT, *MODEL),
        ("run.fmap",),
        resumed=True,
    ),
    "dossiers": Command(
        ("top", "photos", *("-l", "last", "--save", "top.fmap", "-o", "top.png"), *KEPT, *MODEL),
        ("top.fmap", "top.png"),
        resumed=True,
    ),
    "vectors": Command(("embed", "photos", "-o", "vectors.npy", *MODEL), ("vectors.npy", "vectors.npy.json")),
    "compare": Command(("compare", "a.png", "b.png", "-o", "compare.svg", *MODEL), ("compare.svg",)),
    "memory": Command(("memory", "-o", "memory.png", "--batch", "2", *MODEL), ("memory.png",)),
    "rf": Command(("rf", "-o", "rf.png", *MODEL), ("rf.png",)),
    "predict": Command(("predict", "photos", "--csv", *MODEL), (), redirected="answers.csv"),
    "layers": Command(("layers", "--csv", *MODEL), (), redirected="layers.csv"),
}


class Scene:
    """A folder with a network, images and the whole results of each command, and one to be killed in."""

    def __init__(self, folder: Path, samples: Path) -> None:
        self.folder = folder
        (folder / "net.py").write_text(NETWORK)
        (folder / "photos").mkdir()
        for name, sample in (("a.png", "coffee.png"), ("b.png", "chelsea.png")):
            (folder / name).symlink_to(samples / sample)
        for number in range(IMAGES):
            (folder / "photos" / f"{number}.png").symlink_to(samples / ("coffee.png", "chelsea.png")[number % 2])
        self.inputs = _names(folder)
        self.whole: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}

    def start(self, command: Command, *more: str, cold: bool = True) -> subprocess.Popen[bytes]:
        """Cold, its time is that of a user's: most of it goes on imports."""
        arguments = [sys.executable, "-m", "fmap_cli", *command.arguments, *more]
        with (self.folder / (command.redirected or ".out")).open("wb") as out:
            return (subprocess.Popen if cold else forked.Popen)(
                arguments, cwd=self.folder, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | {"SOURCE_DATE_EPOCH": "0"},
            )  # fmt: skip

    def finish(self, command: Command, *more: str, cold: bool = True) -> None:
        assert self.start(command, *more, cold=cold).wait(180) == 0

    def learn(self, name: str) -> None:
        """What the command makes when nobody kills it, and how long it takes."""
        if name not in self.whole:
            start = time.monotonic()
            self.finish(COMMANDS[name])
            self.seconds[name] = time.monotonic() - start
            self.whole[name] = self.found(COMMANDS[name])

    def found(self, command: Command) -> dict[str, bytes]:
        """The files under the final names."""
        made = [self.folder / each for each in command.made]
        files = [each for path in made for each in (sorted(path.iterdir()) if path.is_dir() else [path])]
        return {str(each.relative_to(self.folder)): each.read_bytes() for each in files if not _is_left(each)}

    def kill(self, name: str, after: float) -> None:
        """Kill the command at that moment, and look at what it leaves; then run it whole."""
        command, whole = COMMANDS[name], self.whole[name]
        before = dict.fromkeys(whole, b"what was there before")
        for file, content in before.items():
            (self.folder / file).write_bytes(content)
        process = self.start(command)
        time.sleep(after)
        process.kill()
        process.wait()
        for file, content in self.found(command).items():
            assert content in (before[file], whole[file]), f"{file} is half-written"
        deadline = time.monotonic() + 4
        while (left := _session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, f"still running: {left}"
        self.finish(command, *(["--resume"] if command.resumed else []))
        assert self.found(command) == whole
        lying = _names(self.folder) - self.inputs - {".out", "__pycache__"}
        lying |= _names(self.folder / "figures") if name == "figures" else set()
        assert not [each for each in lying if _is_left(Path(each)) or each.endswith(".part")]


def _names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def _is_left(path: Path) -> bool:
    return path.name.endswith((".fmap-part", ".fmap-lock"))


def _session(number: int) -> list[str]:
    """The processes of this session that run."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                words = (each / "stat").read_text().rpartition(")")[2].split()
                if int(words[3]) == number and words[0] != "Z":
                    found.append(f"{each.name} {(each / 'cmdline').read_text()[:80]}")
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("kills"), Path(__file__).parent.parent / "sample_images")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_leaves_nothing_half_done(scene: Scene, name: str, seed: int) -> None:
    scene.learn(name)
    # Most of a run's time is spent importing: moments are drawn so that half of them are in its last third.
    share = random.Random(f"{name} {seed}").triangular(0.05, 1.02, 0.8)
    scene.kill(name, scene.seconds[name] * share)


def test_a_run_that_is_killed_leaves_no_process_and_goes_on_to_the_same_end(scene: Scene) -> None:
    command = COMMANDS["stats"]
    process = scene.start(command, cold=False)
    note = scene.folder / "run.fmap.part"
    while not note.exists():
        assert process.poll() is None
        time.sleep(0.02)
    assert len(_session(process.pid)) > 1, "the processes that read are there"
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 4
    while (left := _session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    scene.finish(command, "--resume", cold=False)
    resumed = (scene.folder / "run.fmap").read_bytes()
    scene.finish(command, cold=False)
    assert (scene.folder / "run.fmap").read_bytes() == resumed
    assert not note.exists()


@pytest.mark.parametrize("command", ["predict", "embed", "stats"])
def test_images_that_cannot_be_read_leave_no_pixels_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Each array that a failed reading held is gone by the time the next image is read."""
    import weakref

    from fmap_cli.cli import run
    from fmap_cli.errors import ImageError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"")
    held: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def fails(session: object, source: object, *_: object) -> None:
        alive.append(sum(each() is not None for each in held))
        pixels = np.zeros((64, 64, 3))
        held.append(weakref.ref(pixels))
        raise ImageError(f"{source} cannot be read")

    for room in ("session.ahead", "running.reading"):
        monkeypatch.setattr(f"fmap_cli.{room}.read_image", fails)
    assert run([command, *(f"{number}.png" for number in range(6)), *MODEL]) == 1
    assert len(alive) == 6 and max(alive) <= 1, alive
