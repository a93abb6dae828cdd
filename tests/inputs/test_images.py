"""Which images are read: files, pipes, standard input, the samples; what is refused, and how."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from inputs.made import (
    COLOURS,
    PLAIN,
    SAMPLES,
    assert_same_picture,
    png_bytes,
    refusal,
    saved,
)
from PIL import Image

from fmap_cli.errors import ImageError
from fmap_cli.inputs import images, streams
from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.models.records import Preprocessing

# Standard input, names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_standard_input(kind: str) -> None:
    stream = io.BytesIO()
    if kind == "png":
        Image.fromarray(COLOURS).save(stream, "PNG")
    else:
        np.save(stream, COLOURS)
    image = load_image("-", PLAIN, stdin=io.BytesIO(stream.getvalue()), layout="HWC")
    assert_same_picture(image, COLOURS)
    assert (image.name, image.stem) == ("-", "stdin")


def test_standard_input_of_the_process(monkeypatch) -> None:
    data = sample_path().read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert load_image("-", PLAIN).pixels.shape == (400, 600, 3)


def test_standard_input_with_nothing_on_it(monkeypatch) -> None:
    error = refusal("-", stdin=io.BytesIO())
    assert error.message == "standard input is empty (0 bytes)."
    assert "fmap show - < photo.jpg" in error.hint
    monkeypatch.setattr(sys, "stdin", None)
    assert refusal("-").message == "no image on standard input."


def test_a_terminal_is_not_waited_for() -> None:
    master, terminal = os.openpty()
    try:
        with os.fdopen(terminal, "rb", buffering=0) as stream:
            assert refusal("-", stdin=stream).message == "no image on standard input."
    finally:
        os.close(master)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(sample_path().read_bytes()))
    writer.start()
    image = load_image(str(fifo), PLAIN)
    writer.join()
    assert image.pixels.shape == (400, 600, 3)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("cat.jpg", "cat"),
        ("my cat (1).final.png", "my_cat_1_.final"),
        (".hidden", "hidden"),
        ("Katze-äöü.png", "Katze-äöü"),
        ("$(rm).png", "rm"),
        ("???.png", "image"),
        ("x" * 200 + ".png", "x" * 80),
    ],
)
def test_name_and_stem(tmp_path: Path, name: str, stem: str) -> None:
    file = tmp_path / name
    file.write_bytes(sample_path("camera.png").read_bytes())
    image = load_image(str(file), PLAIN)
    assert (image.name, image.stem) == (str(file), stem)


# Samples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["camera.png", "coffee.png", "chelsea.png", "rocket.jpg", "astronaut.png"])
def test_every_sample_is_readable_and_described(name: str) -> None:
    image = load_image(str(sample_path(name)), PLAIN)
    height, width = image.pixels.shape[:2]
    rows = [line for line in (SAMPLES / "README.md").read_text().splitlines() if f"| `{name}` |" in line]
    assert len(rows) == 1
    assert f"{width} × {height}" in rows[0]
    assert "CC0" in rows[0] or "public domain" in rows[0]


def test_the_default_sample_and_an_unknown_one() -> None:
    assert sample_path() == sample_path("coffee.png")
    with pytest.raises(ImageError) as caught:
        sample_path("dog.png")
    assert caught.value.message == "no bundled sample named dog.png."
    assert caught.value.hint == "There are astronaut.png, camera.png, chelsea.png, coffee.png, rocket.jpg."


def test_an_installed_package_finds_its_samples_inside(tmp_path: Path, monkeypatch) -> None:
    inside = tmp_path / "fmap_cli" / "sample_images"
    inside.mkdir(parents=True)
    (inside / "coffee.png").touch()
    monkeypatch.setattr(images, "__file__", str(tmp_path / "fmap_cli" / "inputs" / "images.py"))
    assert sample_path() == inside / "coffee.png"


# Bad input ------------------------------------------------------------------------------------------------


def test_a_missing_file() -> None:
    error = refusal("nowhere/cat.jpg")
    assert error.message == "no such file: nowhere/cat.jpg"
    assert error.hint == "Check the path and the name's spelling."


@pytest.mark.parametrize("name", ["conv1", "features.5", "layer1.0.conv1"])
def test_a_layer_in_the_place_of_an_image_is_told_the_option(name: str) -> None:
    error = refusal(name)
    assert error.message == f"no such file: {name}"
    told = f"--layer {name}" in (error.hint or "")
    assert told == (name != "layer1.0.conv1"), "what ends like a file's name may be one"


def test_an_address_is_answered_with_the_way_to_read_it() -> None:
    error = refusal("https://example.org/cat.jpg")
    assert error.hint.endswith("curl -sL https://example.org/cat.jpg | fmap show -")


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)).message == f"{tmp_path} is a directory, not an image."


def test_an_unreadable_file(tmp_path: Path, monkeypatch) -> None:
    def refusing(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    file = tmp_path / "a.png"
    file.touch()
    monkeypatch.setattr(Path, "open", refusing)
    error = refusal(str(file))
    assert error.message == f"{file} cannot be read: permission denied."
    assert error.hint == f"Look at its permissions: ls -l {file}"


def test_a_file_that_opens_and_cannot_be_read(tmp_path: Path, monkeypatch) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    file = tmp_path / "a.png"
    file.touch()
    monkeypatch.setattr(Path, "open", lambda self, mode: Failing())
    assert refusal(str(file)).message == f"{file} cannot be read: Input/output error."
    assert refusal("-", stdin=Failing()).message == "standard input cannot be read: Input/output error."


@pytest.mark.parametrize(("name", "reason"), [("a" * 300 + ".png", "File name too long"), ("a\0b", "null")])
def test_a_name_no_file_can_have(name: str, reason: str) -> None:
    assert reason in refusal(name).message


def test_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.touch()
    assert refusal(str(file)).message == f"{file} is empty (0 bytes)."


def test_a_device() -> None:
    assert refusal("/dev/null").message == "/dev/null is empty (0 bytes)."


def test_a_device_without_an_end(monkeypatch) -> None:
    monkeypatch.setattr(streams, "_STREAM_LIMIT_BYTES", 1 << 22)
    assert refusal("/dev/zero").message == "/dev/zero gives more than 4,194,304 bytes: too much for an image."


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"not an image\n", "fmap reads JPEG, PNG"),
        (b"\0" * 100, "fmap reads JPEG, PNG"),
        (b"PK\x03\x04" + b"\0" * 100, "np.save"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 100, "HEIC"),
    ],
)
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes, hint: str) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    error = refusal(str(file))
    assert error.message == f"{file} is not an image."
    assert hint in error.hint


@pytest.mark.parametrize("side", [9_500, 30_000])  # Pillow warns of the one and refuses the other
def test_a_decompression_bomb(tmp_path: Path, side: int) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes(side, side, 8, 2, b""))
    limit = Image.MAX_IMAGE_PIXELS
    error = refusal(str(file))
    assert error.message == f"{file} is too large: {side * side:,} pixels; the limit is {limit:,} pixels."


def test_an_extreme_aspect_ratio_is_refused_before_it_is_resized(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("L", (20_000, 1)))
    error = refusal(source, Preprocessing(resize=256, crop=(224, 224)))
    # 20000 × 256 = 5,120,000 wide, times 256
    assert "1 × 20000, resized to 256 × 5120000 is too large: 1,310,720,000 pixels" in error.message
    assert load_image(source, PLAIN).pixels.shape == (1, 20_000, 3)


def test_absurd_sizes_asked_for_are_refused() -> None:
    error = refusal(str(sample_path()), Preprocessing(None, (20_000, 20_000)))
    assert "the crop 20000 × 20000 is too large" in error.message
    error = refusal(str(sample_path()), Preprocessing((20_000, 20_000), None))
    assert "resized to 20000 × 20000 is too large" in error.message


# Imports --------------------------------------------------------------------------------------------------


def test_importing_and_refusing_need_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fmap_cli.inputs.images import load_image, sample_path, ImageError\n"
        "from fmap_cli.models.records import Preprocessing\n"
        "sample_path()\n"
        "assert not {'torch', 'torchvision', 'PIL', 'numpy'} & set(sys.modules)\n"
        "try:\n"
        "    load_image(sys.argv[1], Preprocessing(None, None))\n"
        "except ImageError as error:\n"
        "    assert 'is not an image' in error.message\n"
        "print('torch' in sys.modules)\n"
        "load_image(str(sample_path()), Preprocessing(None, None))\n"
        "print('torch' in sys.modules)\n"
    )
    file = tmp_path / "a.png"
    file.write_text("no image")
    ran = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]
    assert ran.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "ct.npy", "-l", "conv", "-o", "o.png"],
        ["predict", "ct.npy"],
        ["embed", "ct.npy"],
        ["stats", "ct.npy"],
        ["compare", "ct.npy", "--vs-dtype", "bfloat16"],
        ["layers", "--image", "ct.npy"],
        ["rf", "ct.npy", "-l", "conv", "--at", "3,3", "-o", "o.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_takes_a_range(fmap, workdir: Path, arguments: list[str]) -> None:
    """Without one the file is refused."""
    np.save("ct.npy", np.linspace(-1000, 3000, 32 * 32, dtype=np.float32).reshape(32, 32))
    (workdir / "net.py").write_text(
        "import collections\nfrom torch import nn\n"
        "def net(): return nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(3, 4, 3),"
        " pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4, 5)))\n"
    )
    run = [*arguments, "-m", "net.py:net", "--size", "32,32"]
    assert "holds float32 values -1000..3000" in fmap(*run).err
    told = fmap(*run, "--range", "-1000,3000")
    assert (told.code, "-1000..3000 mapped to 0..1" in told.err) == (0, True), told
    if arguments[0] in ("show", "predict", "embed", "stats"):
        document = fmap(*run, "--range", "-1000,3000", "--json").json
        assert document["preprocessing"]["range"] == [-1000, 3000]
    assert fmap(*run, "--range", "5,5").code == 2
    assert "the first value has to be the smaller one" in fmap(*run, "--range", "5,5").err
