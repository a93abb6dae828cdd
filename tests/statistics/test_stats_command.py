"""`fmap stats`: the numbers of every layer against passes of our own; folders, interruptions, teams, bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch
from conftest import of_processes
from PIL import Image
from torch import Tensor, nn

import fmap_cli
from fmap_cli.errors import OutputError
from fmap_cli.inputs.images import load_image
from fmap_cli.models import load_model
from fmap_cli.models.records import ModelRequest
from fmap_cli.running import going
from fmap_cli.running.plan import plan_run
from fmap_cli.session.opening import open_session, read_image
from fmap_cli.statistics import gather
from fmap_cli.statistics.records import Run
from fmap_cli.statistics.runs import load_run

Fmap = Callable[..., Any]
COUNTS = ("count", "zero_count", "nan_count", "inf_count", "min", "max", "images", "shape", "dead_channels")
MOMENTS = ("mean", "std", "rms")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of a few layers for pictures of 16 × 16, with an in-place ReLU and a skip; `--model {net}`."""
    file = tmp_path_factory.mktemp("net") / "net.py"
    file.write_text(_NET)
    return f"{file}:net"


_NET = """
import os, time
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv, self.norm, self.relu = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(6, 4)
        with torch.no_grad():
            self.norm.bias[2] = -50.0  # shuts channel 2 of the ReLU

    def forward(self, x):
        time.sleep(float(os.environ.get("NET_SLEEP", "0")))
        if float(x.mean((1, 2, 3)).max()) > 20:
            raise ValueError("too bright for me")
        x = self.relu(self.norm(self.conv(x)))
        return self.fc((x + self.block(x)).mean((2, 3)))


def net(): return Net()
def broken(): return nn.Sequential(nn.Conv2d(3, 3, 50))
def lazy(): return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
def branches(): return Branches()
def inferring(): return Inferring()


class Inferring(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True))

    def forward(self, x):
        with torch.inference_mode():
            return self.body(x)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.a(x) if float(x.sum()) > 0 else self.b(x)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty noisy pictures of 16 × 16 in two classes, and one directly in the folder."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    generator = np.random.default_rng(7)
    for at in range(41):
        place = folder if at == 40 else folder / ("cat" if at % 3 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(place / f"{at:02}.png")
    return folder


@pytest.fixture(autouse=True)
def reads_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of 16 pixels are read before a process that would read them has started: there is one only where a test
    says `--workers` or asks for `as_by_default`.
    """
    if "as_by_default" not in request.fixturenames:
        monkeypatch.setattr("fmap_cli.running.reading._default_workers", lambda: 0)


@pytest.fixture
def as_by_default() -> None:
    """With as many processes that read images as a command has when nothing is said."""


def rows(document: Any) -> dict[str, Any]:
    return {row["name"]: row for row in document["layers"]}


def same(one: Any, other: Any, *, exactly: bool = False, rel: float = 1e-12) -> None:
    """Two documents hold the same numbers: counts and extremes exactly, moments to rounding."""
    assert one["images"] == other["images"]
    assert list(rows(one)) == list(rows(other))
    for name, row in rows(one).items():
        there = rows(other)[name]
        if name in ("mean", "max") and rel > 1e-12:
            continue  # by which the network looks for what is too bright
        loose = rel > 1e-12
        for key in ("count", "images", "shape", "nan_count", "inf_count", "dead_channels") if loose else COUNTS:
            assert row[key] == there[key], (name, key)
        if loose:  # a convolution of another batch rounds otherwise: a value may fall on the other side of zero
            assert row["zero_count"] == pytest.approx(there["zero_count"], abs=2 + 1e-4 * row["count"]), name
            for key in ("min", "max"):
                assert row[key] == pytest.approx(there[key], rel=1e-4, abs=1e-5), (name, key)
        for key in MOMENTS:
            expected = there[key] if exactly or there[key] is None else pytest.approx(there[key], rel=rel, abs=1e-9)
            assert row[key] == expected, (name, key)
        if rel <= 1e-12:
            assert row["histogram"] == there["histogram"], name


# -- the numbers ---------------------------------------------------------------------------------------------------


def plain_outputs(module: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Every module's output, copied in a hook of our own before anything can overwrite it."""
    found: dict[str, Tensor] = {}
    handles = [
        each.register_forward_hook(lambda _m, _i, output, name=name: found.__setitem__(name, output.detach().clone()))
        for name, each in module.named_modules()
    ]
    with torch.inference_mode():
        module(batch)
    for handle in handles:
        handle.remove()
    return found


def check_against_torch(document: Any, outputs: dict[str, Tensor]) -> int:
    """The named modules' rows are what torch's reductions in float64 say; returns how many were compared."""
    compared = 0
    for name, row in rows(document).items():
        if name not in outputs or not isinstance(outputs[name], Tensor):
            continue
        wide = outputs[name].double()
        compared += 1
        assert row["count"] == wide.numel()
        assert row["zero_count"] == int((wide == 0).sum()), name
        assert (row["min"], row["max"]) == (wide.min().item(), wide.max().item()), name
        scale = wide.std().item()
        assert row["mean"] == pytest.approx(wide.mean().item(), abs=1e-6 * scale), name
        assert row["std"] == pytest.approx(scale, rel=1e-6), name
        assert row["rms"] == pytest.approx(wide.square().mean().sqrt().item(), rel=1e-6), name
    return compared


def test_every_module_of_the_embedded_model_on_a_real_photo(fmap: Fmap, samples: Path) -> None:
    model = load_model("efficientnet_lite0", say=lambda _: None)
    photo = samples / "chelsea.png"
    outputs = plain_outputs(model.module, load_image(str(photo), model.preprocessing).tensor[None])
    document = fmap("stats", photo, "-l", "*", "--json").json
    assert check_against_torch(document, outputs) == len(outputs) - 1  # the network itself is no layer
    negative = [row for name, row in rows(document).items() if row["kind"] == "norm" and row["min"] < 0]
    assert len(negative) == 49, "a ReLU6 that overwrites a normalisation's output does not change its numbers"
    assert all(row["min"] >= 0 for row in rows(document).values() if row["type"] == "ReLU6")


def test_a_real_network_over_a_batch(fmap: Fmap, samples: Path) -> None:
    model = load_model("shufflenet_v2_x0_5", "random", seed=3, say=lambda _: None)
    files = [samples / "chelsea.png", samples / "coffee.png"]
    batch = torch.stack([load_image(str(file), model.preprocessing).tensor for file in files])
    document = fmap("stats", *files, "-m", "shufflenet_v2_x0_5", "-w", "random", "--seed", 3, "-l", "*", "--json").json
    assert check_against_torch(document, plain_outputs(model.module, batch)) > 150


def test_per_channel_against_torch(fmap: Fmap, samples: Path) -> None:
    model = load_model("efficientnet_lite0", say=lambda _: None)
    photo = samples / "coffee.png"
    output = plain_outputs(model.module, load_image(str(photo), model.preprocessing).tensor[None])[
        "features.1.0.block.0.2"
    ]
    document = fmap("stats", photo, "-l", "features.1.0.block.0.2", "--per-channel", "--json").json
    channels = rows(document)["features.1.0.block.0.2"]["channels"]
    wide = output.double()[0].flatten(1)
    assert channels["min"] == wide.amin(1).tolist()
    assert channels["max"] == wide.amax(1).tolist()
    assert channels["zero_count"] == (wide == 0).sum(1).tolist()
    assert channels["mean"] == pytest.approx(wide.mean(1).tolist(), abs=1e-6)
    assert channels["std"] == pytest.approx(wide.std(1).tolist(), abs=1e-6)
    assert channels["rms"] == pytest.approx(wide.square().mean(1).sqrt().tolist(), rel=1e-6)
    assert [sum(each) for each in channels["histogram"]] == [wide.shape[1]] * len(wide)


def test_batches_do_not_change_the_numbers(fmap: Fmap, net: str, photos: Path) -> None:
    whole, single, odd = (
        fmap("stats", photos, "-m", net, "--size", 16, "--batch", size, "--json").json for size in (64, 1, 7)
    )
    assert whole["images"] == 41
    for other in (single, odd):
        same(whole, other, rel=1e-5)  # a convolution of another batch rounds differently


def test_workers_do_not_change_the_numbers(fmap: Fmap, net: str, photos: Path, as_by_default: None) -> None:
    asked = ("stats", photos, "-m", net, "--size", 16, "--json")
    by_hand, by_workers, by_default = (fmap(*asked, *more).json for more in (("--workers", 0), ("--workers", 2), ()))
    same(by_hand, by_workers, exactly=True)
    same(by_hand, by_default, exactly=True)


def test_layers_that_are_chosen_have_the_numbers_they_have_among_all(fmap: Fmap, net: str, photos: Path) -> None:
    everything = rows(fmap("stats", photos, "-m", net, "--size", 16, "--json").json)
    only = rows(fmap("stats", photos, "-m", net, "--size", 16, "-k", "conv", "--json").json)
    assert list(only) == ["conv", "block.0"]
    named = rows(fmap("stats", photos, "-m", net, "--size", 16, "-l", "add", "-l", "last", "--json").json)
    assert list(named) == ["block", "add"]
    for name, row in {**only, **named}.items():
        if name in everything:
            assert row == everything[name], name


def test_a_block_has_its_last_layers_numbers_and_is_not_shown_unless_asked_for(fmap: Fmap, net: str) -> None:
    ran = rows(fmap("stats", "-m", net, "--size", 16, "--json").json)
    assert "block" not in ran
    asked = rows(fmap("stats", "-m", net, "--size", 16, "-l", "block*", "--json").json)
    assert asked["block"]["same_as"] == "block.1"
    assert asked["block"]["mean"] == asked["block.1"]["mean"]


def test_dtypes_and_devices_are_named(fmap: Fmap, net: str) -> None:
    document = fmap("stats", "-m", net, "--size", 16, "--dtype", "bfloat16", "--json").json
    assert document["dtype"] == "bfloat16"
    assert rows(document)["conv"]["dtype"] == "bfloat16"
    assert rows(document)["conv"]["count"] == 6 * 16 * 16


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "fasterrcnn_mobilenet_v3_large_320_fpn", "-w", "random", "--size", "160"),
        ("-m", "raft_small", "-w", "random", "--size", "128", "-k", "conv"),
        ("-m", "r3d_18", "-w", "random", "--size", "64", "-k", "conv"),
        ("-m", "swin_t", "-w", "random", "--size", "64"),
        ("-m", "vit_b_32", "-w", "random"),
        ("-m", "deeplabv3_mobilenet_v3_large", "-w", "random", "--size", "96"),
    ],
)
def test_models_of_every_kind(fmap: Fmap, arguments: tuple[str, ...]) -> None:
    ran = fmap("stats", *arguments, "--json")
    assert ran.code == 0, ran.err
    assert len(ran.json["layers"]) > 5
    for row in ran.json["layers"]:
        assert row["nan_count"] == 0, row["name"]


# -- many images ---------------------------------------------------------------------------------------------------


def test_the_list_can_be_cut_and_shuffled(fmap: Fmap, net: str, photos: Path) -> None:
    def first(*arguments: object) -> Any:
        return fmap("stats", photos, "-m", net, "--size", 16, "--limit", 5, "--json", *arguments).json

    assert first()["images"] == 5
    same(first(), first(), exactly=True)
    same(first("--shuffle"), first("--shuffle"), exactly=True)
    assert rows(first())["conv"]["mean"] != rows(first("--shuffle"))["conv"]["mean"]
    everything = fmap("stats", photos, "-m", net, "--size", 16, "--json").json
    shuffled = fmap("stats", photos, "-m", net, "--size", 16, "--json", "--shuffle").json
    same(everything, shuffled, rel=1e-5)


def test_broken_images_are_counted_and_named_and_the_others_count(fmap: Fmap, net: str, photos: Path) -> None:
    shutil.copytree(photos, "data")
    clean = fmap("stats", "data", "-m", net, "--size", 16, "--json").json
    for at, content in enumerate((b"", b"no picture", (photos / "cat/01.png").read_bytes()[:60])):
        Path(f"data/cat/broken{at}.png").write_bytes(content)
    for workers in (0, 2):
        ran = fmap("stats", "data", "-m", net, "--size", 16, "--workers", workers, "--json")
        assert ran.code == 0
        assert [Path(each["image"]).name for each in ran.json["failed"]] == [f"broken{at}.png" for at in range(3)]
        assert all(each["error"] for each in ran.json["failed"])
        same(ran.json, clean, rel=1e-5)
        assert "3 of 44 images could not be read: " in ran.err
        assert "broken2.png" in ran.err
    table = fmap("stats", "data", "-m", net, "--size", 16).out
    assert "3 could not be read" in table
    assert "broken1.png" in table


def test_remarks_on_images_come_to_an_end(fmap: Fmap, net: str, photos: Path) -> None:
    for at in range(25):
        frames = [Image.new("RGB", (16, 16), (at * 9, 0, 0)), Image.new("RGB", (16, 16), (0, 255, at))]
        frames[0].save(f"{at:02}.gif", save_all=True, append_images=frames[1:])
    ran = fmap("stats", ".", "-m", net, "--size", 16, "--json")
    assert ran.json["images"] == 25
    said = [line for line in ran.err.splitlines() if ".gif" in line]
    assert 5 < len(said) <= 20
    assert "there are more notes of this kind" in ran.err


def test_an_image_that_the_network_fails_on_is_a_failure_too(fmap: Fmap, net: str, photos: Path) -> None:
    shutil.copytree(photos, "data")
    np.save("data/cat/00bright.npy", np.full((16, 16, 3), 250, np.uint8))
    ran = fmap("stats", "data", "-m", net, "--size", 16, "--json", "--std", "0.02")
    assert [Path(each["image"]).name for each in ran.json["failed"]] == ["00bright.npy"]
    assert "too bright for me" in ran.json["failed"][0]["error"]
    assert ran.json["images"] == 41
    fmap("stats", "data/cat/00bright.npy", "-m", net, "--size", 16, "--std", "0.02").refused("too bright for me")


def test_classes_are_folders(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos, "-m", net, "--size", 16, "--by-class", "--batch", 64, "--json")
    whole = fmap("stats", photos, "-m", net, "--size", 16, "--batch", 64, "--json").json
    same(ran.json, whole, rel=1e-5)
    classes = {each["name"]: each for each in ran.json["classes"]}
    assert {name: each["images"] for name, each in classes.items()} == {"cat": 26, "dog": 14, "photos": 1}
    dogs = fmap("stats", photos / "dog", "-m", net, "--size", 16, "--batch", 64, "--json").json
    same({"images": 14, "layers": classes["dog"]["layers"]}, dogs, rel=1e-5)
    table = fmap("stats", photos, "-m", net, "--size", 16, "--by-class", "-l", "relu").out
    assert "dog" in table and "all images" in table
    shuffled = fmap("stats", photos, "-m", net, "--size", 16, "--by-class", "--shuffle", "--json").json
    same(shuffled, ran.json, rel=1e-5)


def test_memory_does_not_grow_with_images_or_layers(net: str, tmp_path: Path) -> None:
    """The peak of what Python's and torch's allocators hold, over 2 batches and over 12; over some layers and all."""
    generator = np.random.default_rng(0)
    for at in range(28):
        Image.fromarray(generator.integers(0, 256, (160, 160, 3), np.uint8)).save(tmp_path / f"{at:02}.png")
    # One process makes the three runs, the smallest first: each peak is that of the runs so far.
    script = (
        "import resource, sys\n"
        "from fmap_cli.cli import run\n"
        "for more in (['8', '-l', 'features.0.0'], ['8'], ['28']):\n"
        "    assert run(['stats', sys.argv[1], '--json', '--workers', '0', '--batch', '4', '--size', '160',"
        " '-m', 'mobilenet_v2', '-w', 'random', '--limit', *more]) == 0\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one_layer, few, many = map(float, done.stderr.splitlines()[-3:])
    # All 225 outputs of a batch are 300 MB; kept, they would show. The records of all layers are 10 MB.
    assert many < few + 40
    assert few < one_layer + 100


@pytest.mark.parametrize("kinds", [(), ("-k", "conv"), ("-l", "?")])
def test_a_layer_that_runs_only_later_is_counted_from_then_on(fmap: Fmap, net: str, kinds: tuple[str, ...]) -> None:
    for at, value in enumerate((200, 210, 220, 10, 20)):
        np.save(f"{at}.npy", np.full((16, 16, 3), value, np.uint8))
    model = net.replace(":net", ":branches")
    ran = fmap("stats", ".", "-m", model, "--size", 16, "--batch", 1, "--json", *kinds)
    assert {name: row["images"] for name, row in rows(ran.json).items() if name in "ab"} == {"a": 3, "b": 2}
    table = fmap("stats", ".", "-m", model, "--size", 16, "--batch", 1).out
    assert "these layers did not run for all 5 images: a in 3, b in 2" in table


def test_a_lazy_network(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos / "dog", "-m", net.replace(":net", ":lazy"), "--size", 16, "--json")
    assert ran.code == 0, ran.err
    assert rows(ran.json)["0"]["images"] == 14


def test_a_network_in_inference_mode_of_its_own(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos / "40.png", "-m", net.replace(":net", ":inferring"), "--size", 16, "--json")
    assert ran.code == 0, ran.err
    assert rows(ran.json)["body.0"]["min"] < 0 <= rows(ran.json)["body.1"]["min"]


def test_a_pipe_in_a_folder_is_passed_over(fmap: Fmap, net: str, photos: Path) -> None:
    shutil.copytree(photos, "data")
    os.mkfifo("data/pipe.png")
    assert fmap("stats", "data", "-m", net, "--size", 16, "--json").json["images"] == 41


def test_images_that_are_named_twice_are_remarked_on(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos / "40.png", photos / "40.png", "-m", net, "--size", 16)
    assert "1 of 2 images are given more than once" in ran.err


# -- saved runs ----------------------------------------------------------------------------------------------------


def test_two_saved_runs_are_one_run_over_both(fmap: Fmap, net: str, photos: Path) -> None:
    settings = ("-m", net, "--size", 16, "--batch", 64)
    both = fmap("stats", photos / "cat", photos / "dog", *settings, "--json").json
    fmap("stats", photos / "cat", *settings, "--save", "cat.fmap")
    fmap("stats", photos / "dog", *settings, "--save", "dog.fmap")
    merged = fmap("stats", "--load", "cat.fmap", "dog.fmap", "--json", "--save", "both.fmap")
    same(merged.json, both, rel=1e-5)
    assert merged.json["findings"] == both["findings"]
    again = fmap("stats", "--load", "both.fmap", "--json").json
    same(again, merged.json, exactly=True)
    one = rows(fmap("stats", "--load", "both.fmap", "--json", "-k", "conv").json)
    assert list(one) == ["conv", "block.0"]


def test_saved_runs_that_do_not_go_together(fmap: Fmap, net: str, photos: Path) -> None:
    fmap("stats", photos / "cat", "-m", net, "--size", 16, "--save", "a.fmap")
    fmap("stats", photos / "dog", "-m", net, "--size", 12, "--save", "b.fmap")
    fmap("stats", photos / "dog", "-m", net, "--size", 16, "-k", "conv", "--save", "c.fmap")
    before = Path("a.fmap").read_bytes()
    fmap("stats", "--load", "a.fmap", "b.fmap").refused("16 × 16", "12 × 12")
    fmap("stats", "--load", "a.fmap", "c.fmap").refused("of different layers")
    fmap("stats", "--load", "a.fmap", "a.fmap").refused("are the same run")
    fmap("stats", "--load", "a.fmap", "none.fmap").refused("none.fmap")
    fmap("stats", "--load", "a.fmap", "-l", "nope").refused("no layer 'nope'")
    Path("cut.fmap").write_bytes(before[: len(before) // 2])
    fmap("stats", "--load", "cut.fmap").refused("cut.fmap")
    assert Path("a.fmap").read_bytes() == before


# -- interruption --------------------------------------------------------------------------------------------------


def start(net: str, *arguments: object, sleep: float = 0.15, workdir: Path, **environment: str) -> forked.Popen:
    return forked.Popen(
        [sys.executable, "-m", "fmap_cli", "stats", *map(str, arguments), "-m", net, "--size", "16", "--batch", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=workdir,
        env=os.environ | {"NET_SLEEP": str(sleep), "XDG_CACHE_HOME": str(workdir / "cache")} | environment,
    )


def wait_for(path: Path, process: forked.Popen, images: int) -> Run:
    """The checkpoint once it holds so many images."""
    for _ in range(600):
        if path.exists():
            run = load_run(path)
            if run.images >= images:
                return run
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no checkpoint")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_and_gives_the_same_to_the_last_bit(
    fmap: Fmap, net: str, photos: Path, workdir: Path, workers: int
) -> None:
    settings = (photos, "--workers", workers, "--checkpoint-every", 0)
    process = start(net, *settings, "--save", "run.fmap", workdir=workdir)
    wait_for(workdir / "run.fmap.part", process, 6)
    process.kill()
    process.communicate()
    part = load_run(workdir / "run.fmap.part")
    assert 6 <= part.images < 41
    assert not (workdir / "run.fmap").exists()
    common = ("-m", net, "--size", 16, "--batch", 2, "--workers", workers, "--json")
    resumed = fmap("stats", photos, *common, "--save", "run.fmap", "--resume")
    assert resumed.code == 0, resumed.err
    assert f"continuing after {part.images} of 41 images" in resumed.err
    assert not (workdir / "run.fmap.part").exists()
    uninterrupted = fmap("stats", photos, *common)
    same(resumed.json, uninterrupted.json, exactly=True)
    assert resumed.json["findings"] == uninterrupted.json["findings"]
    same(fmap("stats", "--load", "run.fmap", "--json").json, resumed.json, exactly=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_shows_what_is_known_and_where_it_is_noted(
    fmap: Fmap, net: str, photos: Path, workdir: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(net, photos, "--json", "--workers", 1, "--checkpoint-every", 0, workdir=workdir)
    cache = workdir / "cache" / "fmap" / "runs"
    for _ in range(600):
        if cache.exists() and list(cache.glob("*.part")):
            break
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    document = json.loads(out)
    assert 0 < document["images"] < 41
    assert not document["complete"]
    (part,) = cache.glob("*.part")
    assert f"stopped after {document['images']} images; progress is saved in {part}" in err
    assert "--resume" in err
    assert "Traceback" not in err
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "cache"))
    common = (photos, "-m", net, "--size", 16, "--batch", 2, "--json")
    resumed = fmap("stats", *common, "--resume")
    same(resumed.json, fmap("stats", *common).json, exactly=True)
    assert not part.exists()


def test_there_is_nothing_to_go_on_with(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos, "-m", net, "--size", 16, "--save", "run.fmap", "--resume", "--json")
    assert "there is no run to continue" in ran.err
    assert ran.json["images"] == 41


@pytest.fixture(scope="module")
def killed(net: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of a run in `data`, and what the run left of itself when it was killed."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(photos, folder / "data")
    process = start(net, "data", "--save", "run.fmap", "--checkpoint-every", 0, workdir=folder)
    wait_for(folder / "run.fmap.part", process, 2)
    process.kill()
    process.communicate()
    return folder


def test_a_list_that_has_changed_is_not_gone_on_with(fmap: Fmap, net: str, killed: Path, workdir: Path) -> None:
    shutil.copytree(killed, workdir, dirs_exist_ok=True)
    before = Path("run.fmap.part").read_bytes()
    Path("data/cat/01.png").unlink()
    ran = fmap("stats", "data", "-m", net, "--size", 16, "--batch", 2, "--save", "run.fmap", "--resume")
    ran.refused("is of another list of images", "or of other options")
    assert Path("run.fmap.part").read_bytes() == before


def test_a_run_of_other_options_is_not_gone_on_with(fmap: Fmap, net: str, killed: Path, workdir: Path) -> None:
    shutil.copytree(killed, workdir, dirs_exist_ok=True)
    common = ("data", "-m", net, "--size", 16, "--save", "run.fmap", "--resume")
    for other in (("--batch", 3), ("--batch", 2, "-k", "conv"), ("--batch", 2, "--by-class")):
        fmap("stats", *common, *other).refused("of other options")
    Path("run.fmap.part").write_bytes(b"cut")
    fmap("stats", *common, "--batch", 2).refused("Without --resume the run starts anew")


def test_where_nothing_can_be_noted_down_the_run_goes_on(
    fmap: Fmap, net: str, photos: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "file"))
    ran = fmap("stats", photos, "-m", net, "--size", 16, "--checkpoint-every", 0, "--json")
    assert ran.code == 0
    assert ran.json["images"] == 41
    assert ran.err.count("progress could not be saved") == 1


def test_numbers_that_cannot_be_saved_are_shown(
    fmap: Fmap, net: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, run: Run) -> None:
        raise OutputError(f"cannot write {path}: no space left on device.")

    monkeypatch.setattr("fmap_cli.statistics.runs.save_run", full)
    ran = fmap("stats", photos / "dog", "-m", net, "--size", 16, "--save", "run.fmap")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "fmap: cannot write run.fmap: no space left on device."
    assert "14 images" in ran.out


# -- many processes ------------------------------------------------------------------------------------------------


def together(*arguments: object, net: str, workdir: Path) -> tuple[str, str]:
    """What two processes print that meet as a launcher tells them in the environment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    processes = [
        start(net, *arguments, "--json", workdir=workdir, sleep=0, RANK=rank, LOCAL_RANK=rank, **meeting)
        for rank in "01"
    ]
    (out, err), (other, _) = (each.communicate(timeout=120) for each in processes)
    assert [each.returncode for each in processes] == [0, 0], err
    return out, other


def test_two_processes_give_what_one_gives(fmap: Fmap, net: str, photos: Path, workdir: Path) -> None:
    shutil.copytree(photos, "data")
    Path("data/cat/broken.png").write_bytes(b"no picture")
    alone = fmap("stats", "data", "-m", net, "--size", 16, "--json").json
    out, other = together("data", "--save", "run.fmap", net=net, workdir=workdir)
    assert other == "", "only one process prints"
    both = json.loads(out)
    same(both, alone, rel=1e-5)
    assert [Path(each["image"]).name for each in both["failed"]] == ["broken.png"]
    assert both["sources"] == ["data"]
    assert [each["check"] for each in both["findings"]] == [each["check"] for each in alone["findings"]]
    same(fmap("stats", "--load", "run.fmap", "--json").json, both, exactly=True)
    assert sorted(file.name for file in workdir.glob("run*")) == ["run.fmap"]


def test_more_processes_than_images(net: str, photos: Path, workdir: Path) -> None:
    out, other = together(photos / "40.png", net=net, workdir=workdir)
    assert (json.loads(out)["images"], other) == (1, "")


@pytest.mark.slow
def test_the_processes_of_torchrun_find_each_other(net: str, photos: Path, workdir: Path) -> None:
    """torchrun sets the same variables as `together`, and imports torch three times."""
    out = of_processes(2, "stats", str(photos), "-m", net, "--size", "16", "--json", cwd=workdir)
    assert json.loads(out)["images"] == 41


# -- findings and exit codes ---------------------------------------------------------------------------------------


def test_a_shut_channel_is_found_and_checked_for(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos, "-m", net, "--size", 16, "--json", "--check")
    (finding,) = [each for each in ran.json["findings"] if each["check"] == "dead-channels"]
    assert finding["layer"] == "relu"
    assert finding["channels"] == [2]
    assert "41 images" in finding["sample"]
    assert "an offset in norm" in finding["what"]  # the bias of -50 that shuts it
    assert ran.code == 0, "one of six channels over few images is a note"
    strict = fmap(
        "stats",
        photos,
        "-m",
        net,
        "--size",
        16,
        "--check",
        "--threshold",
        "dead_share=0.1",
        "--threshold",
        "dead_images=40",
    )
    assert strict.code == 3
    assert "dead-channels" in strict.out
    errors_only = fmap(
        "stats",
        photos,
        "-m",
        net,
        "--size",
        16,
        "--check",
        "--fail-on",
        "error",
        "--threshold",
        "dead_share=0.1",
        "--threshold",
        "dead_images=40",
    )
    assert errors_only.code == 0
    fmap("stats", photos, "-m", net, "--threshold", "ded_share=1").refused("dead_share")


def test_figures_and_tables_are_written(fmap: Fmap, net: str, photos: Path) -> None:
    ran = fmap("stats", photos, "-m", net, "--size", 16, "-o", "depth.png", "--save", "run.fmap")
    assert Image.open("depth.png").size[0] > 300
    assert "→ depth.png" in ran.out and "→ run.fmap" in ran.out
    csv = fmap("stats", photos, "-m", net, "--size", 16, "--csv").out.splitlines()
    assert len(csv) == 1 + len(rows(fmap("stats", photos, "-m", net, "--size", 16, "--json").json))
    table = fmap("stats", photos, "-m", net, "--size", 16, "--per-channel", "--sort", "std", "--top", 3).out
    assert sum(line.startswith(("conv", "norm", "relu", "block", "x", "add")) for line in table.splitlines()) == 3


# -- bad input -----------------------------------------------------------------------------------------------------


def test_folders_of_nothing_and_of_broken_files(fmap: Fmap, net: str, workdir: Path) -> None:
    Path("empty").mkdir()
    fmap("stats", "empty", "-m", net).refused("there are no images in empty")
    Path("broken").mkdir()
    for at in range(3):
        Path(f"broken/{at}.png").write_bytes(b"no picture")
    fmap("stats", "broken", "-m", net).refused("none of the 3 images could be read", "broken/0.png")
    fmap("stats", "broken/0.png", "-m", net).refused("broken/0.png")
    fmap("stats", "broken", "-m", net, "--save", "run.fmap").refused("none of the 3 images")
    assert not Path("run.fmap").exists()


def test_a_network_that_fails_on_everything(fmap: Fmap, net: str, photos: Path) -> None:
    fmap("stats", photos, "-m", net.replace(":net", ":broken"), "--input-shape", "3,16,16").refused(
        "fails on an input of shape"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--json", "--csv"), "exclude each other"),
        (("--per-channel", "--by-class"), "exclude each other"),
        (("--sort", "std"), "--per-channel"),
        (("--load",), "takes saved runs"),
        (("run.fmap",), "--load"),
        (("--load", "run.fmap", "--resume"), "--resume"),
        (("--load", "run.fmap", "-m", "resnet18"), "--model"),
        (("--load", "run.fmap", "--batch", "3"), "--batch"),
        (("--fail-on", "note"), "note"),
        (("--save", "run.txt"), ".fmap"),
        (("-o", "figure.txt"), ".png"),
    ],
)
def test_usage_errors(fmap: Fmap, arguments: tuple[str, ...], words: str) -> None:
    fmap("stats", *arguments).refused(words, code=2)


def test_classes_need_a_folder(fmap: Fmap, net: str, photos: Path) -> None:
    fmap("stats", photos / "40.png", "--by-class", "-m", net).refused("tells classes by folder")
    fmap("stats", "--by-class", "-m", net).refused("tells classes by folder")


def test_no_layer_of_that_kind(fmap: Fmap, net: str) -> None:
    fmap("stats", "-m", net, "--size", 16, "-k", "pool").refused("no layer of kind pool", "conv")
    fmap("stats", "-m", net, "--size", 16, "-l", "blok").refused("block")


def test_a_figure_that_cannot_be_written_is_said_before_anything_runs(fmap: Fmap, net: str) -> None:
    fmap("stats", "-m", net, "-o", "nowhere/depth.png").refused("there is no directory nowhere")
    fmap("stats", "-m", net, "--save", "nowhere/run.fmap").refused("there is no directory nowhere")


# -- the room ------------------------------------------------------------------------------------------------------


def test_a_shard_is_every_nth_of_the_list(photos: Path, net: str) -> None:
    class _Model:
        input_kind = "image"

    class _Session:
        model = _Model()

    whole = plan_run(_Session(), [str(photos)], shuffle_seed=3)  # type: ignore[arg-type]
    parts = [
        plan_run(_Session(), [str(photos)], shuffle_seed=3, rank=rank, ranks=3)  # type: ignore[arg-type]
        for rank in range(3)
    ]
    assert sorted(entry for part in parts for entry in part.entries) == sorted(whole.entries)
    assert [part.entries for part in parts] == [whole.entries[rank::3] for rank in range(3)]
    assert len({part.digest for part in parts}) == 3
    assert whole.entries != sorted(whole.entries)
    ordered = plan_run(_Session(), [str(photos)])  # type: ignore[arg-type]
    assert ordered.entries == sorted(ordered.entries)


def test_a_batch_that_fails_midway_counts_no_image_twice(net: str, photos: Path) -> None:
    session = open_session(ModelRequest(net, size=(16, 16)), lambda _: None)
    images = [read_image(session, str(photos / "dog" / f"{at:02}.png"), lambda _: None) for at in (0, 3)]
    bright = replace(images[0], tensor=torch.full((3, 20, 20), 90.0))
    with gather.Gathering(session) as gathering:
        failures = going._added(gathering, list(enumerate([*images, bright])), None)
        assert gathering.images == 2
        assert [name for name, _ in failures] == [bright.name]
        run = gathering.run(going.origin_of(session, digest=False), plan_run(session, [str(photos)]), [], 3)
    assert {record.images for record in run.layers} == {2}


def test_a_folder_of_volumes_is_so_many_and_they_are_called_volumes_when_loaded(fmap: Fmap, workdir: Path) -> None:
    (workdir / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU()).eval()\n"
    )
    (workdir / "scans").mkdir()
    for at in range(3):
        np.save(workdir / "scans" / f"{at}.npy", np.full((1, 5, 6, 7), at, np.float32))
    ran = fmap("stats", "scans", "-m", "net.py:make", "--input-shape", "1,5,6,7", "--save", "run.fmap", "--json")
    values = next(each for each in ran.json["layers"] if each["name"] == "input")
    assert (ran.json["images"], values["mean"], values["max"]) == (3, 1, 2)
    told = fmap("stats", "--load", "run.fmap").out
    assert "3 volumes from scans" in told and "image" not in told
    assert fmap("predict", "scans", "-m", "net.py:make", "--input-shape", "1,6,6,7").code == 1


@pytest.mark.parametrize("layer", ["last", "part"])
def test_a_container_alone_has_the_record_of_its_last_layer(layer: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.head(self.part(x).mean((2, 3)))
            return found

    torch.manual_seed(0)
    session = fmap_cli.load_model(Net().eval(), size=16, mean=0, std=1, say=lambda _: None)
    pictures = [torch.rand(3, 16, 16) for _ in range(3)]
    (record,) = fmap_cli.stats(session, pictures, layer, workers=0, say=lambda _: None).layers
    with torch.no_grad():
        maps = session.model.module.part(torch.stack(pictures))
    assert (record.layer.name, record.same_as, record.images) == ("part", None, 3)
    assert record.channels.mean == pytest.approx(maps.mean((0, 2, 3)).double().numpy(), rel=1e-6)
