"""Zip archives of torch, held against the rules before torch's own readers see them.

`torch.save`, `torch.jit.save` and `torch.export.save` store their members as they are, one after another, each under a
name of its own. What departs from that is damaged or made to harm: compressed members that claim gigabytes, members
that lie over each other or beyond the file's end, two of one name, names that lead out of a folder.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_MOST_MEMBERS = 500_000
_LONGEST_NAME = 1_000
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
# torch.jit.save compresses the program's text and its notes for debugging, and nothing else.
_COMPRESSED = (".py", ".debug_pkl")
_MOST_TEXT_BYTES = 64 << 20


class RefusedError(Exception):
    """Why a file is not opened, as the end of a sentence that begins with the file's name."""


class Archive:
    """A zip archive whose layout is that of torch's own. `root` is the folder that all members share, or empty."""

    def __init__(self, opened: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        self._opened = opened
        self._members = members
        first = next(iter(members)).partition("/")
        self.root = first[0] + "/" if first[1] and all(name.startswith(first[0] + "/") for name in members) else ""

    @property
    def names(self) -> list[str]:
        """The members' names below `root`, in the archive's order."""
        return [name.removeprefix(self.root) for name in self._members]

    def bytes_in(self, name: str) -> int:
        """The size of the member of this name. Raises RefusedError where there is none."""
        return self._info(name).file_size

    def read(self, name: str, *, most_bytes: int) -> bytes:
        """The content of a member of at most so many bytes. Raises RefusedError."""
        info = self._info(name)
        if info.file_size > most_bytes:
            raise RefusedError(f"its member {shown(name)} claims {info.file_size:,} bytes; {most_bytes:,} are read")
        try:
            return self._opened.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise RefusedError(f"its member {shown(name)} is damaged") from error
        except Exception as error:  # zlib.error, and whatever a damaged stream gives
            raise RefusedError(f"its member {shown(name)} is damaged") from error

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self._members.get(self.root + name)
        if info is None:
            raise RefusedError(f"its member {shown(name)} is missing")
        return info


@contextlib.contextmanager
def opened(source: Path | bytes) -> Iterator[Archive]:
    """The archive in a file, or in bytes out of another, its layout checked. Raises RefusedError."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, struct.error) as error:
            raise RefusedError("its end is missing, or its table of contents is damaged") from error
        with archive:
            yield Archive(archive, _checked(archive, stream))


def shown(name: str) -> str:
    """A name out of a file, short and without control characters, in quotation marks.

    >>> shown("data/0"), shown("a" * 100)[:12], shown("tab\\tbed")
    ("'data/0'", "'aaaaaaaaaaa", "'tab\\\\tbed'")
    """
    return repr(name if len(name) <= 80 else name[:77] + "...").encode("utf-8", "backslashreplace").decode()


def _checked(archive: zipfile.ZipFile, stream: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if not infos:
        raise RefusedError("it is an empty archive")
    if len(infos) > _MOST_MEMBERS:
        raise RefusedError(f"it claims {len(infos):,} members; {_MOST_MEMBERS:,} are read")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        _check_name(info)
        if info.filename in members:
            raise RefusedError(f"two of its members are called {shown(info.filename)}")
        _check_kept_as_is(info)
        members[info.filename] = info
    # torch's own reader may look a name up without regard to case. A program's classes may differ in that alone.
    others = [name.lower() for name in members if not name.endswith(_COMPRESSED)]
    if len(set(others)) < len(others):
        raise RefusedError("two of its members have the same name but for upper and lower case")
    if sum(info.file_size for info in infos if info.compress_type) > _MOST_TEXT_BYTES:
        raise RefusedError(f"the text of its program claims over {_MOST_TEXT_BYTES >> 20} MB")
    _check_places(infos, stream, archive.start_dir)
    return members


def _check_name(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = name.split("/")
    if not name or len(name) > _LONGEST_NAME:
        raise RefusedError("one of its members has no name, or one of over a thousand letters")
    leads_out = name.startswith("/") or "\\" in name or ":" in parts[0] or ".." in parts
    if leads_out or any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise RefusedError(f"its member {shown(name)} has a name that torch does not write")


def _check_kept_as_is(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise RefusedError(f"its member {shown(info.filename)} is encrypted")
    if info.compress_type == zipfile.ZIP_STORED:
        if info.compress_size != info.file_size:
            raise RefusedError(f"its member {shown(info.filename)} claims another size than it has")
    elif info.compress_type != zipfile.ZIP_DEFLATED or not info.filename.endswith(_COMPRESSED):
        raise RefusedError(f"its member {shown(info.filename)} is compressed, which torch.save never does")


def _check_places(infos: list[zipfile.ZipInfo], stream: IO[bytes], end: int) -> None:
    """Members begin at the file's first byte and lie one after another up to the table of contents."""
    length = stream.seek(0, io.SEEK_END)
    stream.seek(max(length - _END.size, 0))
    last = stream.read(_END.size)
    if len(last) < _END.size or last[:4] != b"PK\5\6" or last[-2:] != b"\0\0":
        raise RefusedError("something follows its end")
    reached = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if not 0 <= info.header_offset < length:  # zipfile shifts all offsets where the end says another place
            raise RefusedError(f"its member {shown(info.filename)} claims a place outside the file")
        stream.seek(info.header_offset)
        head = stream.read(_LOCAL_HEADER.size)
        if len(head) < _LOCAL_HEADER.size or head[:4] != b"PK\3\4":
            raise RefusedError(f"its member {shown(info.filename)} is not where its table of contents says")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(head)
        name = stream.read(name_length)
        begin = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        if info.header_offset < reached or (reached == 0 and info.header_offset != 0):
            raise RefusedError(f"its member {shown(info.filename)} lies over another, or behind other data")
        if begin + info.compress_size > min(end, length):
            raise RefusedError(f"its member {shown(info.filename)} claims bytes beyond the file's end")
        if name.decode("utf-8" if info.flag_bits & 0x800 else "cp437", "replace") != info.orig_filename:
            raise RefusedError(f"its member {shown(info.filename)} has two names")
        reached = begin + info.compress_size
