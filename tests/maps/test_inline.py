"""`--inline`: the figure in the terminal, whichever terminal that is."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from PIL import Image

from fmap_cli.drawing.grid import NAN_RGB
from fmap_cli.inputs.images import load_image
from fmap_cli.models import load_model

Run = Callable[..., Any]
HALF = "▀"
SHOW = ("show", "--size", 16, "-l", "body", "--inline", "-o", "a.png")


def in_a_terminal(arguments: list[str], columns: int, folder: Path, **env: str) -> tuple[int, str]:
    """Exit code and output of `fmap` in a terminal that answers no question."""
    pty = pytest.importorskip("pty")
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    quiet = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FMAP_INLINE")}
    process = forked.Popen(
        [sys.executable, "-m", "fmap_cli", *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=folder,
        env=quiet | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | env,
        start_new_session=True,
    )
    os.close(child)
    content, deadline = b"", time.monotonic() + 100
    try:
        while True:
            assert time.monotonic() < deadline, "it hangs"
            if not select.select([parent], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                read = os.read(parent, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not read:
                break
            content += read
        return process.wait(timeout=30), content.decode()
    finally:
        if process.poll() is None:
            process.kill()
        os.close(parent)


def test_a_terminal_that_answers_nothing_gets_half_blocks_within_its_width(nets: str, tmp_path: Path) -> None:
    arguments = ["show", "-m", f"{nets}:odd", "--size", "16", "-l", "body", "--inline", "-o", "a.png"]
    started = time.monotonic()
    code, out = in_a_terminal(arguments, 80, tmp_path)
    assert code == 0, out
    assert time.monotonic() - started < 60
    assert HALF in out and "\x1b[38;2;" in out, "true colours"
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[_P][^\x1b]*\x1b\\|\x1b\][^\a]*\a", "", out)
    assert max(len(line) for line in plain.replace("\r", "").split("\n") if HALF in line) <= 80
    assert "input" in plain and re.search(r"\b0: -?\d", plain), "captions under the tiles"
    assert "body" in plain and "a.png" in plain


def test_the_method_can_be_chosen_in_a_terminal_too(nets: str, tmp_path: Path) -> None:
    arguments = ["show", "-m", f"{nets}:odd", "--size", "16", "-l", "body", "--inline", "-o", "a.png"]
    code, out = in_a_terminal(arguments, 80, tmp_path, FMAP_INLINE="iterm2")
    assert code == 0 and "\x1b]1337;File=" in out and HALF not in out


def test_iterm2_gets_the_figures_own_pixels(fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMAP_INLINE", "iterm2")
    ran = fmap(*SHOW, "-m", f"{nets}:odd")
    found = re.search(r"\x1b\]1337;File=([^:]*):([A-Za-z0-9+/=]+)\a", ran.out)
    assert found is not None
    content = base64.b64decode(found[2])
    assert "inline=1" in found[1] and f"size={len(content)}" in found[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(Image.open("a.png")))


def test_iterm2_is_found_by_its_name(nets: str, tmp_path: Path) -> None:
    arguments = ["show", "-m", f"{nets}:odd", "--size", "16", "-l", "body", "--inline", "-o", "a.png"]
    assert "\x1b]1337;File=" in in_a_terminal(arguments, 80, tmp_path, TERM_PROGRAM="iTerm.app")[1]


@pytest.mark.parametrize(("method", "start"), [("sixel", "\x1bP"), ("kitty", "\x1b_G"), ("blocks", HALF)])
def test_each_protocol_begins_as_it_should(
    fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch, method: str, start: str
) -> None:
    monkeypatch.setenv("FMAP_INLINE", method)
    ran = fmap(*SHOW, "-m", f"{nets}:odd")
    assert ran.code == 0
    assert start in ran.out
    others = {"\x1bP", "\x1b_G", HALF, "\x1b]1337"} - {start}
    assert not any(other in ran.out for other in others)


def test_kitty_gets_the_figures_own_pixels_in_pieces(fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMAP_INLINE", "kitty")
    monkeypatch.setenv("COLUMNS", "90")
    ran = fmap(*SHOW, "-m", f"{nets}:odd")
    pieces = re.findall(r"\x1b_G([^;\x1b]*);([A-Za-z0-9+/=]*)\x1b\\", ran.out)
    assert {"a=T", "f=100", "c=90", "m=1"} <= set(pieces[0][0].split(","))
    assert [control[-3:] for control, _ in pieces] == ["m=1"] * (len(pieces) - 1) + ["m=0"]
    assert all(len(data) <= 4096 for _, data in pieces)
    content = base64.b64decode("".join(data for _, data in pieces))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(Image.open("a.png")))


def test_an_unknown_method_is_refused(fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMAP_INLINE", "ascii")
    fmap(*SHOW, "-m", f"{nets}:odd").refused("FMAP_INLINE", "'ascii'", "kitty, sixel, iterm2, blocks")


def test_json_stays_clean(fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, sign in ((None, HALF), ("iterm2", "\x1b]1337"), ("kitty", "\x1b_G"), ("sixel", "\x1bP")):
        if method:
            monkeypatch.setenv("FMAP_INLINE", method)
        ran = fmap(*SHOW, "-m", f"{nets}:odd", "--json")
        assert ran.json["layers"][0]["name"] == "body"
        assert sign in ran.err


def test_without_a_terminal_it_works_and_asks_nothing(installed: Run, nets: str) -> None:
    ran = installed(*SHOW, "-m", f"{nets}:odd", input=b"")
    assert ran.code == 0
    assert HALF in ran.out
    assert "\x1b[c" not in ran.out and "\x1b[14t" not in ran.out


@pytest.mark.parametrize("layer", ["two", "none"])
def test_values_without_a_place_say_where_to_look(fmap: Run, nets: str, layer: str) -> None:
    ran = fmap("show", "-m", f"{nets}:flat", "--size", 16, "-l", layer, "--inline", "-o", "a.png")
    assert ran.code == 0 and "no height and width" in ran.out


@pytest.mark.parametrize("model", ["line", "column", "clip", "markup"])
def test_maps_of_all_shapes_fit(fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = fmap("show", "-m", f"{nets}:{model}", "--size", 16, "-l", "*", "--inline", "--out-dir", "o")
    assert ran.code == 0
    assert max(len(line) for line in ran.out.splitlines() if HALF in line) <= 80


def test_half_blocks_hold_the_crop_and_the_tiles(
    fmap: Run, nets: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLORTERM", "truecolor"), ("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    ran = fmap(
        "show", samples / "coffee.png", "-m", f"{nets}:odd", "--size", 24, "-l", "out", "--inline", "-o", "a.png"
    )
    rows = [
        [
            [int(number) for number in cell]
            for cell in re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", line)
        ]
        for line in ran.out.splitlines()
        if HALF in line
    ]
    crop, nan = np.array([row[:24] for row in rows[:12]]), np.array([row[25:49] for row in rows[:12]])
    model = load_model(f"{nets}:odd", size=24, say=lambda _: None)
    pixels = load_image(str(samples / "coffee.png"), model.preprocessing).pixels
    assert (crop[..., :3] == pixels[::2]).all() and (crop[..., 3:] == pixels[1::2]).all()
    assert {tuple(cell) for cell in nan.reshape(-1, 6).tolist()} == {NAN_RGB * 2}
