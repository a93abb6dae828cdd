"""Files appear whole or not at all: full disks, links, names of any bytes, other processes, what killed ones left."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from fmap_cli import files
from fmap_cli.errors import OutputError
from fmap_cli.files import sole_writer, write_file, write_files

Run = Callable[..., Any]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="locks and links")
SMALL = ("--size", 16)


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


# -- every writer, and a disk that is full -------------------------------------------------------------------------

WRITERS: dict[str, tuple[object, ...]] = {
    "a.png": ("show", "-o"),
    "a.jpg": ("show", "-o"),
    "a.webp": ("show", "-o"),
    "a.pdf": ("show", "-o"),
    "a.svg": ("show", "-o"),
    "a.pt": ("show", "-o", "a.png", "--save"),
    "a.npz": ("show", "-o", "a.png", "--save"),
    "a.safetensors": ("show", "-o", "a.png", "--save"),
    "v.npz": ("embed", "1.png", "2.png", "--layer", "last", "-o"),
    "v.npy": ("embed", "1.png", "2.png", "--layer", "last", "-o"),
    "v.csv": ("embed", "1.png", "2.png", "--layer", "last", "-o"),
    "v.safetensors": ("embed", "1.png", "2.png", "--layer", "last", "-o"),
    "run.fmap": ("stats", "--save"),
    "s.png": ("stats", "-o"),
    "rf.png": ("rf", "-o"),
    "c.png": ("compare", "1.png", "2.png", "-o"),
}


@pytest.fixture
def two_images(workdir: Path, samples: Path) -> None:
    for number, name in ((1, "coffee.png"), (2, "chelsea.png")):
        (workdir / f"{number}.png").symlink_to(samples / name)


@POSIX
@pytest.mark.usefixtures("two_images")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_said_in_its_words_and_leaves_what_was_there(
    fmap: Run, nets: str, workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (workdir / name).write_bytes(b"before")
    made = files._Part.__init__

    def on_a_full_disk(self: Any, path: Path, target: Path) -> None:
        made(self, path, target)
        if path.name == name:
            self.file.close()
            self.file = _Full()

    monkeypatch.setattr(files._Part, "__init__", on_a_full_disk)
    ran = fmap(*WRITERS[name], name, "-m", f"{nets}:inplace", *SMALL)
    assert ran.code == 1 and "Traceback" not in ran.err, ran
    assert f"fmap: cannot write {name}: No space left on device." in ran.err.splitlines(), ran
    assert (workdir / name).read_bytes() == b"before"
    assert not [each for each in names(workdir) if "part" in each or each.endswith(".json")]


class _Full(io.BytesIO):
    """Takes a few bytes, as a disk does that fills up on the way."""

    def write(self, data: Any) -> int:
        if self.tell() + len(memoryview(data).cast("B")) > 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


_DIFFERENT = ("a.png", "a.pdf", "a.pt", "a.npz", "a.safetensors", "v.npy", "run.fmap")


@POSIX
@pytest.mark.usefixtures("two_images")
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in _DIFFERENT else pytest.mark.slow) for each in WRITERS]
)
def test_a_write_that_the_system_refuses_leaves_what_was_there(
    fmap: Run, nets: str, workdir: Path, name: str, file_size_limit: Callable[[int], None]
) -> None:
    """No stand-in for the disk: the kernel takes the first bytes of the file and refuses the rest."""
    (workdir / name).write_bytes(b"before")
    file_size_limit(100)
    ran = fmap(*WRITERS[name], name, "-m", f"{nets}:inplace", *SMALL)
    assert ran.code == 1 and "Traceback" not in ran.err, ran
    written = "a.png" if "a.png" in WRITERS[name] else name  # with --save, the figure comes first
    assert f"fmap: cannot write {written}: {os.strerror(errno.EFBIG)}." in ran.err.splitlines(), ran
    assert (workdir / name).read_bytes() == b"before"
    assert not [each for each in names(workdir) if "part" in each or each.endswith(".json")]


@pytest.fixture
def file_size_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the number of bytes beyond which no file of this process grows."""
    import resource

    from fmap_cli.statistics import kernels

    kernels._compiled()  # writes a cache the first time
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a module's file would be cut off, and read by others
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_belongs_together_appears_together_or_not_at_all(tmp_path: Path) -> None:
    def fails(_file: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(OutputError, match="b: No space"):
        write_files([(tmp_path / "a", lambda file: file.write(b"new")), (tmp_path / "b", fails)])
    assert names(tmp_path) == {"a"} and (tmp_path / "a").read_bytes() == b"before"


def test_an_error_that_is_no_disks_passes_through(tmp_path: Path) -> None:
    def fails(_file: IO[bytes]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_file(tmp_path / "a", fails)
    assert not names(tmp_path)


# -- links and names -----------------------------------------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("name", ["a.png", "a.npz"])
def test_a_loop_of_links_is_refused_and_stays(fmap: Run, nets: str, workdir: Path, name: str) -> None:
    (workdir / name).symlink_to("other")
    (workdir / "other").symlink_to(name)
    before = names(workdir)
    option = ("-o",) if name.endswith("png") else ("-o", "b.png", "--save")
    fmap("show", "-m", f"{nets}:inplace", *SMALL, *option, name).refused(f"cannot write {name}", "symbolic links")
    assert names(workdir) - {"b.png"} == before


@POSIX
@pytest.mark.usefixtures("two_images")
@pytest.mark.parametrize("name", WRITERS)
def test_names_that_are_no_utf8_are_written_and_said(fmap: Run, nets: str, workdir: Path, name: str) -> None:
    odd = os.fsdecode(b"\xff\xe9" + name.encode())
    ran = fmap(*WRITERS[name], odd, "-m", f"{nets}:inplace", *SMALL)
    assert ran.code == 0 and "Traceback" not in ran.err, ran
    assert (workdir / odd).stat().st_size > 50
    assert "\\udcff\\udce9" in ran.out


@POSIX
@pytest.mark.parametrize("suffix", ["npz", "npy", "csv", "safetensors"])
def test_images_whose_names_are_no_utf8_keep_them(
    fmap: Run, nets: str, workdir: Path, samples: Path, suffix: str
) -> None:
    odd = [os.fsdecode(b"\xff%d.png" % number) for number in range(2)]
    for each in odd:
        (workdir / each).symlink_to(samples / "coffee.png")
    ran = fmap("embed", *odd, "-m", f"{nets}:inplace", *SMALL, "-l", "last", "-o", f"v.{suffix}", "--json")
    assert ran.code == 0, ran
    assert [each["image"] for each in ran.json["images"]] == odd
    if suffix == "npz":
        assert np.load("v.npz")["images"].tolist() == odd
    elif suffix == "npy":
        assert json.loads(Path("v.npy.json").read_text())["images"] == odd
    elif suffix == "csv":
        assert b"\xff0.png" in Path("v.csv").read_bytes()
    else:
        from safetensors import safe_open

        with safe_open("v.safetensors", "np") as file:
            assert json.loads(file.metadata()["images"]) == odd


@POSIX
@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pt"])
def test_arrays_of_images_whose_names_are_no_utf8(
    fmap: Run, nets: str, workdir: Path, samples: Path, suffix: str
) -> None:
    odd = [os.fsdecode(b"\xff%d.png" % number) for number in range(2)]
    for each in odd:
        (workdir / each).symlink_to(samples / "coffee.png")
    arrays = f"a.{suffix}"
    ran = fmap("show", *odd, "-m", f"{nets}:inplace", *SMALL, "--out-dir", "o", "--save", arrays, "--json")
    assert ran.code == 0 and "Traceback" not in ran.err, ran
    assert [each["image"] for each in ran.json["images"]] == odd
    assert Path(arrays).stat().st_size > 1000


# -- other processes -----------------------------------------------------------------------------------------------


def at_work(path: Path, how: str) -> subprocess.Popen[str]:
    """A process that is in the middle of writing the file, or is its sole writer, until it is killed."""
    code = f"""
import sys, time
from pathlib import Path
from fmap_cli.files import sole_writer, write_file
path = Path({str(path)!r})
def wait(*_):
    print("ready", flush=True)
    time.sleep(60)
if {how!r} == "writes":
    write_file(path, wait)
else:
    with sole_writer(path) as other:
        print(other, flush=True)
        wait()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    return process


@POSIX
def test_what_killed_runs_left_is_cleared_and_what_others_write_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {".thumbs-12345678.part", "a.fmap-part", ".a.part", ".b-1234567.fmap-part"}
    for each in others:
        (tmp_path / each).write_bytes(b"not fmap's")
    killed, living = (at_work(tmp_path / name, "writes") for name in ("killed.png", "living.png"))
    killed.kill()
    killed.wait()
    left = names(tmp_path) - others
    assert len(left) == 2
    monkeypatch.setattr(files, "_cleared", set())  # what a new process begins with
    write_file(tmp_path / "new.png", lambda file: file.write(b"new"))
    assert {each.split("-")[0] for each in names(tmp_path) - others} == {".living", "new.png"}
    living.kill()
    living.wait()
    monkeypatch.setattr(files, "_cleared", set())
    write_file(tmp_path / "new.png", lambda file: file.write(b"new"))
    assert names(tmp_path) - others == {"new.png"}


@POSIX
def test_the_second_writer_is_told_of_the_first_until_that_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "run.fmap.part"
    first = at_work(path, "holds")
    with sole_writer(path) as other:
        assert other == first.pid
    first.kill()
    first.wait()
    with sole_writer(path) as other:
        assert other is None
    assert not names(tmp_path)


@POSIX
def test_a_second_run_into_one_file_is_refused(fmap: Run, nets: str, workdir: Path) -> None:
    network = ("-m", f"{nets}:inplace", *SMALL)
    first = at_work(workdir / "run.fmap.part", "holds")
    fmap("stats", "--save", "run.fmap", *network).refused(f"process {first.pid}", "run.fmap", "--save")
    assert not (workdir / "run.fmap").exists()
    first.kill()
    first.wait()
    assert fmap("stats", "--save", "run.fmap", *network).code == 0
    assert names(workdir) == {"run.fmap"}


@POSIX
def test_vectors_and_their_names_are_of_one_run_however_many_write_them(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from fmap_cli.files import write_files
folder, which = Path(sys.argv[1]), sys.argv[2].encode()
for _ in range(60):
    write_files([(folder / "v.npy", lambda file: file.write(which)), (folder / "v.npy.json", lambda f: f.write(which))])
"""
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), which]) for which in "ab"]
    assert [each.wait(60) for each in both] == [0, 0]
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / "v.npy.json").read_bytes()
    assert names(tmp_path) == {"v.npy", "v.npy.json"}
