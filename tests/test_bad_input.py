"""Whatever is wrong: one or two lines that say what and what to try, the right exit code, and no half-written file."""

from __future__ import annotations

import errno
import os
import stat
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Run = Callable[..., Any]
DEFAULT_FIGURE = "coffee-efficientnet_lite0-features.0.0.png"


def everything_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# -- images --------------------------------------------------------------------------------------------------------


def broken_images(folder: Path, samples: Path) -> dict[str, tuple[str, ...]]:
    """Files that cannot be shown, each with what its refusal says."""
    png = (samples / "coffee.png").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(png[: len(png) // 2])
    (folder / "head.png").write_bytes(png[:20])
    (folder / "text.png").write_text("This is not an image.")
    (folder / "folder.png").mkdir()
    (folder / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(folder / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.save(folder / "flat.npy", np.zeros(7, np.float32))
    return {
        "missing.png": ("missing.png",),
        "empty.png": ("empty.png", "empty"),
        "cut.png": ("cut.png",),
        "head.png": ("head.png",),
        "text.png": ("text.png",),
        "folder.png": ("folder.png",),
        "cut.npy": ("cut.npy",),
        "objects.npy": ("objects.npy",),
        "flat.npy": ("flat.npy",),
    }


@pytest.mark.parametrize(
    "name",
    ["missing.png", "empty.png", "cut.png", "head.png", "text.png", "folder.png", "cut.npy", "objects.npy", "flat.npy"],
)
def test_what_is_no_image_is_refused_by_name(fmap: Run, samples: Path, workdir: Path, name: str) -> None:
    words = broken_images(workdir, samples)[name]
    before = everything_in(workdir)
    fmap("show", name).refused(*words)
    assert everything_in(workdir) == before


def test_a_file_that_may_not_be_read(fmap: Run, samples: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "secret.png").write_bytes((samples / "coffee.png").read_bytes())
    plain = Path.open

    def refused(self: Path, *arguments: Any, **options: Any) -> Any:  # tests may run as root
        if self.name == "secret.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    fmap("show", "secret.png").refused("secret.png", "ermission")


def test_one_broken_image_among_several_does_not_hide_the_others(fmap: Run, samples: Path, workdir: Path) -> None:
    (workdir / "broken.png").write_bytes(b"no image")
    images = [samples / "coffee.png", "broken.png", samples / "chelsea.png"]
    ran = fmap("show", *images, "--out-dir", "o")
    assert ran.code == 1
    assert "espresso" in ran.out and "tiger cat" in ran.out
    said = [line for line in ran.err.splitlines() if line.startswith("fmap: ")]
    assert len(said) == 1 and "broken.png" in said[0] and "Traceback" not in ran.err
    assert len(everything_in(workdir / "o")) == 2
    ran = fmap("show", *images, "--out-dir", "o", "--json")
    assert ran.code == 1
    assert [entry["image"] for entry in ran.json["images"]] == [str(images[0]), str(images[2])]


def test_all_images_broken_is_a_failure_without_a_figure(fmap: Run, workdir: Path) -> None:
    for name in ("a.png", "b.png"):
        (workdir / name).write_bytes(b"no image")
    ran = fmap("show", "a.png", "b.png", "--out-dir", "o")
    assert ran.code == 1
    assert all(f"{name}" in ran.err for name in ("a.png", "b.png"))
    assert "Traceback" not in ran.err and "→" not in ran.out
    assert not everything_in(workdir / "o") if (workdir / "o").exists() else True


def test_an_unknown_layout_is_refused(fmap: Run) -> None:
    np.save("a.npy", np.zeros((8, 8, 3), np.uint8))
    ran = fmap("show", "a.npy", "--layout", "XYZ")
    assert ran.code in (1, 2) and "XYZ" in ran.err and "Traceback" not in ran.err


# -- outputs -------------------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_there(fmap: Run, workdir: Path) -> None:
    fmap("show", "-o", "gone/a.png").refused("cannot write gone/a.png", "no directory gone")
    fmap("show", "--save", "gone/a.npz", "-o", "a.png").refused("cannot write gone/a.npz")


def test_a_directory_in_the_figures_place(fmap: Run, workdir: Path) -> None:
    (workdir / "a.png").mkdir()
    (workdir / "a.npz").mkdir()
    fmap("show", "-o", "a.png").refused("cannot write a.png", "is a directory")
    fmap("show", "--save", "a.npz", "-o", "b.png").refused("cannot write a.npz", "is a directory")


def test_a_file_in_the_directorys_place(fmap: Run, workdir: Path) -> None:
    (workdir / "o").write_text("a file")
    fmap("show", "--out-dir", "o").refused("cannot create the directory o")
    fmap("show", "--out-dir", "o/p").refused("cannot create the directory o/p")
    assert (workdir / "o").read_text() == "a file"


def test_a_read_only_directory(fmap: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:  # tests may run as root, whom permissions do not stop
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    fmap("show").refused(f"cannot write {DEFAULT_FIGURE}", "Permission denied")
    monkeypatch.setattr(Path, "mkdir", refused)
    fmap("show", "--out-dir", "o").refused("cannot create the directory o", "Permission denied")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("option", ["-o", "--save"])
def test_a_full_device_is_said_and_stays_a_device(fmap: Run, workdir: Path, option: str) -> None:
    name = "full.png" if option == "-o" else "full.npz"
    (workdir / name).symlink_to("/dev/full")
    before = os.stat("/dev/full")  # noqa: PTH116
    fmap("show", option, name).refused(f"cannot write {name}: No space left on device")
    after = os.stat("/dev/full")  # noqa: PTH116
    assert stat.S_ISCHR(after.st_mode) and (before.st_rdev, before.st_mode) == (after.st_rdev, after.st_mode)
    assert (workdir / name).is_symlink()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".pdf", ".svg"])
def test_a_disk_that_fills_up_leaves_the_figure_of_before(
    fmap: Run, nets: str, workdir: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = workdir / f"a{suffix}"
    show = ("show", "-m", f"{nets}:many", "--size", 32, "-o", path.name)
    assert fmap(*show, "--top", 1).code == 0
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    fmap(*show, "--top", 2).refused(f"cannot write {path.name}: No space left on device")
    assert path.read_bytes() == before
    assert everything_in(workdir) == {path.name}, "something was left behind"


def test_arrays_that_do_not_fit_leave_no_part_and_keep_what_was_there(
    fmap: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "a.npz").write_bytes(b"before")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.open", full)
    fmap("show", "--save", "a.npz", "-o", "a.png").refused("cannot write a.npz: No space left on device")
    assert (workdir / "a.npz").read_bytes() == b"before"
    assert everything_in(workdir) == {"a.npz", "a.png"}


def test_a_page_that_no_program_opens(fmap: Run, workdir: Path) -> None:
    every = ("show", "-l", "features.8.0", "--all")
    fmap(*every, "--tile", 2048).refused("features.8.0", "pixels across", "--tile")
    fmap(*every, "--tile", 2048, "--raw").refused("features.8.0", "pixels across", "--tile")
    assert everything_in(workdir) == set()


# -- models and weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "layers"])
def test_an_unknown_model_is_answered_with_near_names(fmap: Run, command: str) -> None:
    fmap(command, "-m", "resnet19").refused("unknown model 'resnet19'", "Did you mean", "resnet18", "fmap models")
    fmap(command, "-m", "nets.py").refused("nets.py")


def test_unknown_weights_are_answered_with_the_known(fmap: Run) -> None:
    fmap("show", "-m", "resnet18", "-w", "IMAGENET1K_V9").refused("IMAGENET1K_V9", "IMAGENET1K_V1", "random")
    fmap("show", "-w", "gone.pth").refused("gone.pth")


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError(OSError(errno.ENETUNREACH, "Network is unreachable")),
        TimeoutError("timed out"),
        urllib.error.HTTPError("https://download.pytorch.org/x", 503, "Service Unavailable", None, None),  # type: ignore[arg-type]
    ],
    ids=["offline", "slow", "down"],
)
def test_without_a_network_two_lines_say_what_failed_and_what_works_instead(
    fmap: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(workdir / "cache"))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    ran = fmap("show", "-m", "resnet18")
    ran.refused("cannot download resnet18's weights IMAGENET1K_V1", "--weights random", "--weights FILE")
    assert "efficientnet_lite0" in ran.err
    assert "note: Downloading resnet18's weights" in ran.err, "downloads are said aloud"
    assert everything_in(workdir) == set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["w.pth"]),
        (b"not a checkpoint", ["w.pth"]),
        ({"other.weight": torch.zeros(3)}, ["w.pth", "other.weight"]),
        ([1, 2, 3], ["w.pth"]),
    ],
    ids=["empty", "text", "another network's", "no state dict"],
)
def test_a_wrong_checkpoint_is_refused(fmap: Run, workdir: Path, content: Any, words: list[str]) -> None:
    if isinstance(content, bytes):
        (workdir / "w.pth").write_bytes(content)
    else:
        torch.save(content, workdir / "w.pth")
    fmap("show", "-m", "resnet18", "-w", "w.pth").refused(*words)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("owned",))


def test_a_checkpoint_that_wants_to_run_code_is_refused_and_runs_none(fmap: Run, workdir: Path) -> None:
    torch.save({"state_dict": Evil()}, workdir / "evil.pth")
    fmap("show", "-w", "evil.pth").refused("evil.pth")
    assert not (workdir / "owned").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", ["RuntimeError", "no such thing", "nets.py:"]),
        ("number", ["returned", "nn.Module"]),
        ("absent", ["has no 'absent'"]),
    ],
)
def test_a_factory_that_fails_is_named_with_the_line(fmap: Run, nets: str, name: str, words: list[str]) -> None:
    fmap("show", "-m", f"{nets}:{name}").refused(*words)


def test_a_file_or_module_that_is_not_there(fmap: Run) -> None:
    fmap("show", "-m", "gone.py:make").refused("gone.py")
    fmap("show", "-m", "gone.module:make").refused("no module", "gone")


def test_a_syntax_error_in_the_users_file_is_one_line(fmap: Run, workdir: Path) -> None:
    (workdir / "bad.py").write_text("def make(:\n    pass\n")
    fmap("show", "-m", "bad.py:make").refused("bad.py", "SyntaxError")


# -- running it ----------------------------------------------------------------------------------------------------


def test_a_layer_that_is_not_there(fmap: Run, workdir: Path) -> None:
    fmap("show", "-l", "features.0.9").refused("no layer 'features.0.9'", "Did you mean", "features.0.0", "fmap layers")
    fmap("show", "-l", "nothing*").refused("no layer matches 'nothing*'", "fmap layers")
    fmap("show", "-l", "conv999").refused("conv999", "convolutions")
    assert everything_in(workdir) == set()


def test_a_channel_that_is_not_there(fmap: Run, workdir: Path) -> None:
    fmap("show", "--channels", "0,32").refused("has 32 channels", "no channel 32", "0 to 31")
    assert everything_in(workdir) == set()


def test_several_layers_for_one_file(fmap: Run) -> None:
    fmap("show", "-l", "features.[01]", "-o", "a.png").refused("2 layers match", "--out-dir", code=2)


def test_a_mean_of_another_length(fmap: Run) -> None:
    fmap("show", "--mean", "0.5,0.5").refused("mean has 2 values", "3 channels")
    fmap("show", "--std", "0.5,0.5").refused("std has 2 values", "3 channels")
    ran = fmap("show", "--std", "0")
    assert ran.code != 0 and "std" in ran.err and "Traceback" not in ran.err


def test_a_size_the_network_cannot_take(fmap: Run, nets: str) -> None:
    ran = fmap("show", "-m", f"{nets}:tight", "--size", 16)
    ran.refused("16×16", "RuntimeError", "--size 19")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_asked_for_and_absent(fmap: Run) -> None:
    fmap("show", "--device", "cuda").refused("no CUDA device", "--device cpu")
    assert fmap("show", "--device", "auto").code == 0


def test_an_unknown_device(fmap: Run) -> None:
    fmap("show", "--device", "tpu").refused("unknown device 'tpu'", "cpu, cuda")


def test_the_refusals_of_the_installed_program_are_the_same(installed: Run, workdir: Path) -> None:
    (workdir / "text.png").write_text("This is not an image.")
    installed("show", "text.png").refused("text.png")
    installed("show", "-m", "resnet19", module=True).refused("resnet18")
    assert everything_in(workdir) == {"text.png"}
