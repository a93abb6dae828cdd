"""Files appear whole or not at all, and JSON is always JSON."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fmap_cli.documents import SCHEMA_VERSION, dumps, save_arrays
from fmap_cli.errors import OutputError
from fmap_cli.files import make_directory, write_file


def full(_: IO[bytes]) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half(file: IO[bytes]) -> None:
    file.write(b"half")
    full(file)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# -- one file ------------------------------------------------------------------------------------------------------


def test_a_file_is_written(tmp_path: Path) -> None:
    write_file(tmp_path / "a.bin", lambda file: file.write(b"content"))
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    assert names(tmp_path) == {"a.bin"}


@pytest.mark.parametrize("failure", [full, half])
def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path, failure: Callable[..., Any]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"cannot write .*a\.png: No space left on device"):
        write_file(path, failure)
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == {"a.png"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_other_errors_pass_and_leave_nothing_either(tmp_path: Path, error: type[BaseException]) -> None:
    def broken(_: IO[bytes]) -> None:
        raise error

    with pytest.raises(error):
        write_file(tmp_path / "a.png", broken)
    assert names(tmp_path) == set()


def test_the_file_is_never_seen_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def write(file: IO[bytes]) -> None:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"

    write_file(path, write)
    assert path.read_bytes() == b"after"


def test_a_rename_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, _: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OutputError, match="Operation not permitted"):
        write_file(tmp_path / "a.png", lambda file: file.write(b"x"))
    assert names(tmp_path) == set()


def test_a_directory_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(OutputError, match=r"cannot write .*a\.png: Permission denied"):
        write_file(tmp_path / "a.png", lambda file: file.write(b"x"))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"there is no directory .*gone"):
        write_file(tmp_path / "gone" / "a.png", lambda file: file.write(b"x"))


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write_file(tmp_path / "a.png", lambda file: file.write(b"x"))
    assert (tmp_path / "a.png").is_dir()


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.png"
    target.write_bytes(b"before")
    (tmp_path / "a.png").symlink_to(target)
    write_file(tmp_path / "a.png", lambda file: file.write(b"after"))
    assert (tmp_path / "a.png").is_symlink() and target.read_bytes() == b"after"
    assert names(tmp_path / "real") == {"a.png"}


def test_permissions_are_those_of_the_file_replaced_or_of_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    before = os.umask(0o027)
    try:
        write_file(path, lambda file: file.write(b"x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_file(path, lambda file: file.write(b"y"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "full.png"
    link.symlink_to("/dev/full")
    before = Path("/dev/full").stat()
    for path in (Path("/dev/full"), link):
        with pytest.raises(OutputError, match="No space left on device"):
            write_file(path, lambda file: file.write(b"x" * 100_000))
    after = Path("/dev/full").stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev, after.st_mode) == (before.st_ino, before.st_rdev, before.st_mode)


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    import threading

    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, lambda file: file.write(b"through"))
    reader.join(10)
    assert read == [b"through"]


def test_directories_are_made_with_their_parents_and_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot create the directory"):
        make_directory(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot create the directory"):
        make_directory(tmp_path / "file" / "c")


# -- arrays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_a_full_disk_leaves_the_arrays_of_before(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{suffix}"
    save_arrays(path, {"x": torch.arange(3.0)}, {"model": "m"})
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: full(None))  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="No space left"):
        save_arrays(path, {"x": torch.arange(4.0)}, {"model": "m"})
    assert path.read_bytes() == before
    assert names(tmp_path) == {path.name}


def test_names_that_numpy_would_take_for_its_own_arguments_are_kept(tmp_path: Path) -> None:
    arrays = {"file": torch.ones(2), "a/b.c": torch.zeros(()), "allow_pickle": torch.ones(1), "x": torch.ones(1, 0)}
    save_arrays(tmp_path / "a.npz", arrays, {"model": "m"})
    with np.load(tmp_path / "a.npz") as read:
        assert set(read.files) == {*arrays, "__about__"}
        for name, tensor in arrays.items():
            assert np.array_equal(read[name], tensor.numpy())
        assert json.loads(str(read["__about__"])) == {"model": "m"}


def test_views_are_saved_in_their_own_order(tmp_path: Path) -> None:
    view = torch.arange(12.0).reshape(3, 4).t()
    for suffix in (".npz", ".safetensors", ".pt"):
        save_arrays(tmp_path / f"a{suffix}", {"x": view}, {})
    assert np.array_equal(np.load(tmp_path / "a.npz")["x"], view.numpy())
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], view)
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=True)["x"], view)


# -- JSON ----------------------------------------------------------------------------------------------------------


def test_json_is_utf8_whatever_a_file_name_holds() -> None:
    name = b"bad\xff \xe2\x98\x83.png".decode(errors="surrogateescape")
    text = dumps({"image": name})
    assert json.loads(text.encode()) == {"image": name}
    assert "☃" in text


def test_json_refuses_what_it_cannot_say() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"mean": float("nan")})


def test_the_schemas_version_is_the_one_promised() -> None:
    assert SCHEMA_VERSION == 1
