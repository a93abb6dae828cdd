"""`fmap memory`: the bill, layers, budgets, what-ifs, the figure, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torchvision
from PIL import Image

Run = Callable[..., Any]
FLOAT = 4


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("own") / "own.py"
    file.write_text(
        "import os, torch\n"
        "from torch import nn\n"
        "def small():\n"
        "    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True),\n"
        "        nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid()),\n"
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))\n"
        "class Reads(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, 8, 3)\n"
        "    def forward(self, x):\n"
        "        y = self.body(x)\n"
        "        return y[y > 0] if y.max() > 0 else y\n"
        "class Aborts(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, 8, 3)\n"
        "    def forward(self, x):\n"
        "        os.abort()\n"
        "reads, aborts = Reads, Aborts\n"
        "class Fourier(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(3, 4, dtype=torch.cfloat))\n"
        "    def forward(self, x):\n"
        "        print('from the forward')\n"
        "        return torch.einsum('bchw,cd->bdhw', torch.fft.fft2(x), self.weight).real.mean((2, 3))\n"
        "fourier = Fourier\n"
        "class Steps(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.lstm = nn.LSTM(3 * 64, 8, batch_first=True)\n"
        "    def forward(self, x):\n"
        "        return self.lstm(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1]\n"
        "steps = Steps\n"
        "class Placeless(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, 8, 3)\n"
        "    def forward(self, x):\n"
        "        return self.body(x) + torch.rand(1)\n"
        "placeless = Placeless\n"
        "def tied():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))\n"
        "    net[1].weight = net[0].weight\n"
        "    return net\n"
        "def lazy():\n"
        "    return nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU())\n"
    )
    return str(file)


@pytest.fixture(autouse=True)
def here(estimates_here: None) -> None:
    """Estimates are made in this process. `installed` runs the program as it is."""


def test_estimates_are_made_here(fmap: Run, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmap_cli.foreign.isolated._start", lambda *_, **__: pytest.fail("a process was started"))
    assert fmap("memory", f"{own}:small", "--size", 16).code == 0


def test_the_bill_of_a_network_whose_sum_fits_on_paper(fmap: Run, own: str) -> None:
    document = fmap("memory", f"{own}:small", "--size", 16, "--batch", 4, "--optimizer", "adamw", "--json").json
    train, inference = document["runs"]
    weights = FLOAT * (3 * 8 * 9 + 8 + 8 * 8 * 9 + 8 + 8 * 5 + 5)
    image, maps = FLOAT * 4 * 3 * 256, FLOAT * 4 * 8 * 256
    kinds = {each["kind"]: each["most_bytes"] for each in train["kinds"]}
    assert kinds["parameters"] == kinds["gradients"] == weights
    assert kinds["optimizer"] == 2 * weights
    assert kinds["input"] == image + 8 * 4  # labels
    # Two maps are kept, the ReLU's where the convolution's was, and the Sigmoid's; what the linear layer reads and
    # the logarithms of the answer; and the loss's own weight, one number.
    assert train["kept_bytes"] == 3 * maps - maps + FLOAT * (4 * 8 + 4 * 5 + 1)
    assert document["loss"] == "cross entropy"
    for run in document["runs"]:
        assert sum(each["at_peak_bytes"] for each in run["kinds"]) == run["tensor_bytes"]
        assert run["tensor_bytes"] + run["rounding_bytes"] == run["allocated_bytes"] <= run["reserved_bytes"]
        assert run["cudnn_workspace_bytes"] is None
    assert sum(each["kept_bytes"] for each in train["layers"]) == train["kept_bytes"]
    assert inference["kept_bytes"] == 0
    assert inference["tensor_bytes"] < train["tensor_bytes"]


def test_a_layer_is_a_product(fmap: Run, own: str) -> None:
    ran = fmap("memory", f"{own}:small", "--size", 16, "--batch", 4, "--per-layer")
    assert "4·8·16·16" in ran.out
    assert "× 4" in ran.out
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(memory_csv(fmap, own))) if row["mode"] == "train"}
    assert int(rows["0.0"]["output_bytes"]) == 4 * 8 * 16 * 16 * FLOAT
    assert rows["0.0"]["shape"] == "4 8 16 16"


def memory_csv(fmap: Run, own: str) -> str:
    return str(fmap("memory", f"{own}:small", "--size", 16, "--batch", 4, "--csv").out)


def test_modes_top_and_kind(fmap: Run, own: str) -> None:
    ran = fmap("memory", f"{own}:small", "--size", 16, "--inference", "--kind", "conv", "--top", 1)
    assert "training" not in ran.out
    assert "The 1 of 2 layers that have the largest outputs" in ran.out
    assert fmap("memory", f"{own}:small", "--size", 16, "--train", "--json").json["runs"][0]["mode"] == "train"


@pytest.mark.parametrize("unit", ["MB", "MiB"])
def test_one_unit_alone(fmap: Run, own: str, unit: str) -> None:
    out = fmap("memory", f"{own}:small", "--size", 16, "--units", unit, "--budget", "1GB").out
    other = {"MB": "MiB", "MiB": "MB"}[unit]
    assert unit in out
    assert not [word for word in out.replace("(", " ").replace(")", " ").split() if word == other]


def test_one_tensor_spelled_out(fmap: Run) -> None:
    out = fmap("memory", "--shape", "32,128,56,56", "--dtype", "float32").out
    assert out.splitlines() == [
        "32 · 128 · 56 · 56 = 12,845,056 values",
        "12,845,056 × 4 bytes (float32) = 51,380,224 bytes ≈ 51.4 MB",
    ]
    document = fmap("memory", "--shape", "32,128,56,56", "--dtype", "bfloat16", "--json").json
    assert document["bytes"] == 25_690_112


def test_one_tensor_needs_no_torch(installed: Run) -> None:
    code = (
        "import sys; from fmap_cli.cli import run; run(['memory', '--shape', '2,3']); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_and_frozen_parameters_take_less(fmap: Run, own: str) -> None:
    arguments = ("memory", f"{own}:small", "--size", 64, "--batch", 8, "--train", "--json")
    plain = fmap(*arguments).json
    again = fmap(*arguments, "--checkpoint", "0").json
    assert again["checkpointed"] == ["0"]
    assert again["runs"][0]["kept_bytes"] < plain["runs"][0]["kept_bytes"]
    frozen = fmap(*arguments, "--freeze", "0").json
    assert frozen["frozen_parameters"] == 3 * 8 * 9 + 8 + 8 * 8 * 9 + 8
    gradients = {each["kind"]: each["most_bytes"] for each in frozen["runs"][0]["kinds"]}["gradients"]
    assert gradients == FLOAT * (8 * 5 + 5)


def test_what_if_has_a_row_for_each_change(fmap: Run) -> None:
    ran = fmap("memory", "resnet18", "--size", 64, "--batch", 4, "--train", "--what-if", "--json")
    rows = {each["name"]: each for each in ran.json["what_ifs"]}
    assert list(rows) == [
        "half the batch",
        "mixed precision",
        "gradient checkpointing",
        "frozen backbone",
        "another input size",
        "channels_last",
    ]
    assert all(each["allocated_bytes"] for each in rows.values()), rows
    plain = ran.json["runs"][0]["allocated_bytes"]
    half = fmap("memory", "resnet18", "--size", 64, "--batch", 2, "--train", "--json").json["runs"][0]
    assert rows["half the batch"]["allocated_bytes"] == half["allocated_bytes"] < plain
    assert rows["frozen backbone"]["allocated_bytes"] < plain


def test_what_if_is_a_table_of_the_same_numbers(fmap: Run, own: str) -> None:
    asked = ("memory", f"{own}:small", "--size", 64, "--batch", 8, "--train", "--what-if")
    document = fmap(*asked, "--json").json
    rows = fmap(*asked, "--units", "MB").out.split("What if, in training, one thing changed:\n")[1].splitlines()
    plain = document["runs"][0]["allocated_bytes"]
    assert next(row for row in rows if row.startswith("as it is")).split()[-2:] == [
        f"{document['runs'][0][key] / 1e6:.1f}" for key in ("allocated_bytes", "reserved_bytes")
    ]
    for each in document["what_ifs"]:
        row = next(row for row in rows if row.startswith(each["name"])).split()
        if each["allocated_bytes"] is None:
            assert row[-3:] == ["–", "–", "–"]
        else:
            change = f"{(each['allocated_bytes'] / plain - 1) * 100:+.1f}"
            assert row[-4:-1] == [f"{each['allocated_bytes'] / 1e6:.1f}", change, "%"], each
    assert {each["name"] for each in document["what_ifs"] if each["allocated_bytes"] is None} == {
        "gradient checkpointing"  # there is no set of blocks to choose from
    }


def test_a_budget_that_no_batch_fits_says_what_one_image_takes(fmap: Run, own: str) -> None:
    ran = fmap("memory", f"{own}:small", "--size", 512, "--batch", 8, "--budget", "1MB", "--units", "MB")
    assert ran.code == 0
    rows = ran.out.split("The largest batch in 1.0 MB:\n")[1].splitlines()
    needed = [row.split()[-1] for row in rows if " by " in row and "none" in row]
    assert len(needed) == 4  # training and inference, by reserved and by allocated memory
    assert f"Not even a batch of 1 fits: it takes {min(map(float, needed))} MB." in ran.out


def test_frozen_and_checkpointed_parts_are_named_above_the_bill(fmap: Run, own: str) -> None:
    out = fmap(
        "memory", f"{own}:small", "--size", 16, "--batch", 2, "--train", "--freeze", "0", "--checkpoint", "0"
    ).out
    frozen, learning = 3 * 8 * 9 + 8 + 8 * 8 * 9 + 8, 8 * 5 + 5
    assert f"{frozen} of {frozen + learning} parameters frozen" in " ".join(out.split())
    assert "computed again in the backward pass: 0" in out


def test_the_figure(fmap: Run, own: str, workdir: Path) -> None:
    ran = fmap("memory", f"{own}:small", "--size", 16, "-o", "course.png")
    assert ran.code == 0
    assert "course.png" in ran.out
    with Image.open(workdir / "course.png") as picture:
        assert min(picture.size) > 500
        colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert {(0, 114, 178), (86, 180, 233)} <= colours  # saved activations and temporaries


def test_a_real_run_beside_the_estimate(fmap: Run) -> None:
    ran = fmap("memory", "mobilenet_v3_small", "--size", 64, "--batch", 8, "--measure", "cpu", "--json")
    assert [each["mode"] for each in ran.json["measured"]] == ["train", "inference"]
    for each in ran.json["measured"]:
        assert each["estimated_bytes"] == pytest.approx(each["measured_bytes"], rel=0.05)


def test_what_was_measured_stands_beside_the_estimate(fmap: Run, own: str) -> None:
    ran = fmap("memory", f"{own}:small", "--size", 64, "--batch", 8, "--measure", "cpu", "--units", "MB")
    rows = ran.out.split("\nmeasured ")[1].splitlines()
    for mode in ("training", "inference"):
        estimated, measured, off = next(row for row in rows if row.startswith(f"{mode} on cpu")).split()[3:6]
        exact = (float(estimated) / float(measured) - 1) * 100
        assert float(off) == pytest.approx(exact, abs=4)  # of numbers with one digit behind the point
    assert "Measured on the CPU: torch.profiler's allocations in the second step" in ran.out


@pytest.mark.parametrize(
    ("model", "words"),
    [("raft_small", "mean distance"), ("ssdlite320_mobilenet_v3_large", "upper bound")],
)
def test_other_tasks(fmap: Run, model: str, words: str) -> None:
    ran = fmap("memory", model, "--batch", 2, "--size", 128)
    assert ran.code == 0, ran
    assert words in ran.out


def test_a_checkpoint_of_other_classes(fmap: Run, workdir: Path) -> None:
    import torch

    torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), workdir / "mine.pth")
    ran = fmap("memory", "squeezenet1_1", "--weights", "mine.pth", "--size", 64, "--batch", 2, "--json")
    assert ran.json["weights"] == "mine.pth"
    assert {row["name"]: row["shape"] for row in ran.json["runs"][0]["layers"]}["classifier.1"] == [2, 7, 3, 3]


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet18", "--size", 64, "--budget", "1MB"), ("smaller than the weights", "--budget")),
        (("alexnet", "--size", 16), ("[32, 3, 16, 16]", "`--size 63`")),
        (("no_such_net",), ("unknown model",)),
        (("resnet18", "--freeze", "nothing.*"), ("no parameter of that name",)),
        (("resnet18", "--checkpoint", "nothing"), ("no module of that name",)),
        (("resnet18", "--size", 64, "-o", "no/such/place.png"), ("no directory",)),
        (("vit_b_16", "--size", "100,200"), ("square",)),
    ],
)
def test_what_cannot_be_is_a_line(fmap: Run, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    fmap("memory", *arguments).refused(*words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget", "24XB"), ("an amount of memory", "GiB")),
        (("--budget", "24"), ("an amount of memory",)),
        (("--units", "parsec"), ("parsec",)),
        (("--shape", "3,x,5"), ("not a shape",)),
        (("--batch", "0"), ("0",)),
        (("--json", "--csv"), ("exclude",)),
        (("resnet18", "--model", "resnet50"), ("twice",)),
    ],
)
def test_usage(fmap: Run, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    fmap("memory", *arguments).refused(*words, code=2)


def test_shapes_that_depend_on_data_are_refused_with_what_to_ask(fmap: Run, own: str) -> None:
    fmap("memory", f"{own}:reads", "--size", 16).refused("reads values during its forward", "backbone")


def test_lazy_layers_are_counted_as_made_for_the_input(fmap: Run, own: str) -> None:
    ran = fmap("memory", f"{own}:lazy", "--size", 16, "--json", "--batch", 2)
    assert ran.code == 0
    assert ran.json["inputs"] == [[2, 3, 16, 16]]
    assert ran.json["assumed_input"] == {"shapes": [[1, 3, 16, 16]], "how": "found by running"}
    assert ran.json["parameters"] > 0


def test_a_network_that_takes_no_picture_is_counted_for_the_input_that_is_said(fmap: Run, tmp_path: Path) -> None:
    file = tmp_path / "generators.py"
    file.write_text(
        "from torch import nn\n"
        "def generator(): return nn.Sequential(nn.ConvTranspose2d(100, 8, 4), nn.ConvTranspose2d(8, 3, 4, 2, 1))\n"
        "def audio(): return nn.Conv1d(1, 4, 9)\n"
        "def bands(): return nn.Sequential(nn.Conv2d(12, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "def vector(): return nn.Sequential(nn.Linear(20, 4))\n"
    )
    for name, shape in (("generator", [100, 1, 1]), ("audio", [1, 1024]), ("bands", [12, 224, 224])):
        ran = fmap("memory", f"{file}:{name}", "--batch", 4, "--json")
        assert ran.json["inputs"] == [[4, *shape]]
        assert f"input assumed: {[1, *shape]} (found by running); --input-shape changes it" in ran.err
    said = fmap("memory", f"{file}:generator", "--input-shape", "100,1,1", "--batch", 4, "--json").json
    assert said["inputs"] == [[4, 100, 1, 1]]
    assert fmap("memory", f"{file}:vector", "--batch", 4, "--json").json["inputs"] == [[4, 20]]
    assert fmap("memory", f"{file}:audio", "--input-shape", "1,64", "--batch", 4, "--json").json["inputs"] == [
        [4, 1, 64]
    ]
    fmap("memory", f"{file}:audio", "--input-shape", "1,64", "--size", 8).refused("--input-shape", code=2)


def test_an_abort_in_the_network_is_a_line(installed: Run, own: str) -> None:
    installed("memory", f"{own}:aborts", "--size", 16).refused("SIGABRT")


def test_what_a_network_draws_is_the_same_every_time_and_the_callers_numbers_stay() -> None:
    """As torchvision's detectors draw the size that they train an image at."""
    import torch

    import fmap_cli

    class Draws(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Conv2d(3, 8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sides = torch.randint(8, 2000, (1,), device="cpu").item(), random.randint(8, 2000)
            return self.body(torch.nn.functional.interpolate(x, size=sides)).mean((2, 3))

    net, kept = Draws(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), random.getstate()
        kept.append([bill.allocated for bill in fmap_cli.memory(net, 2, say=lambda _: None).bills])
        assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert kept[0] == kept[1]


def test_a_batch_of_one_that_batchnorm_refuses(fmap: Run) -> None:
    ran = fmap("memory", "resnet18", "--batch", 1, "--size", 32)
    ran.refused("more than 1 value per channel", "--inference")
    assert fmap("memory", "resnet18", "--batch", 1, "--size", 32, "--inference").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models())
def test_every_model_of_torchvision_has_an_answer(fmap: Run, name: str) -> None:
    ran = fmap("memory", name, "--batch", 2, "--json")
    assert ran.code == 0, ran.err
    train, inference = json.loads(ran.out)["runs"]
    weights = {each["kind"]: each["most_bytes"] for each in train["kinds"]}["parameters"]
    assert train["allocated_bytes"] > inference["allocated_bytes"] > weights


def test_the_example_in_the_docs(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "memory.md").read_text(encoding="utf-8")
    line = page.split("<!-- memory-example -->\n```sh\n")[1].split("\n```")[0]
    shown = page.split("<!-- memory-output -->\n```\n")[1].split("```")[0]
    monkeypatch.setenv("COLUMNS", "80")
    out = fmap(*line.split()[1:]).out
    assert [each.rstrip() for each in out.splitlines()] == shown.splitlines()


# -- networks of every kind ----------------------------------------------------------------------------------------


def test_complex_parameters_count_twice_and_prints_stay_out_of_json(installed: Run, own: str) -> None:
    ran = installed("memory", f"{own}:fourier", "--size", 64, "--batch", 2, "--train", "--json")
    kinds = {each["kind"]: each["most_bytes"] for each in ran.json["runs"][0]["kinds"]}
    assert kinds["parameters"] == kinds["gradients"] == 3 * 4 * 2 * FLOAT


def test_recurrent_layers_are_said_to_be_a_lower_bound(fmap: Run, own: str) -> None:
    notes = fmap("memory", f"{own}:steps", "--size", 64, "--batch", 2, "--train", "--json").json["notes"]
    assert any("lower bound" in note for note in notes)


def test_a_tied_weight_is_frozen_by_either_name(fmap: Run, own: str) -> None:
    frozen = [
        fmap("memory", f"{own}:tied", "--size", 64, "--batch", 2, "--train", "--freeze", name, "--json").json
        for name in ("0", "1", "1.weight")
    ]
    assert [each["frozen_parameters"] for each in frozen] == [3 * 3 * 9 + 3, 3 * 3 * 9 + 3, 3 * 3 * 9]


def test_a_torchscript_file_trains(fmap: Run, workdir: Path) -> None:
    import torch

    module = torchvision.models.squeezenet1_1(weights=None, num_classes=7)
    torch.jit.script(module).save("net.pt")
    program = fmap("memory", "net.pt", "--size", 64, "--batch", 2, "--train", "--json").json
    assert program["frozen_parameters"] == 0
    kinds = {each["kind"]: each["most_bytes"] for each in program["runs"][0]["kinds"]}
    assert kinds["gradients"] == kinds["parameters"] == FLOAT * sum(each.numel() for each in module.parameters())


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--shape", "²,3"), ("is not a shape",), 2),
        (("--shape", "9" * 20), ("more values than",), 2),
        (("--shape", "3,4", "-o", "x.png"), ("--shape is about one tensor",), 2),
        (("--batch", "9" * 20), ("--batch",), 2),
        (("--inference", "--checkpoint", "nope"), ("--checkpoint", "--inference"), 2),
        (("--csv", "--top", "1"), ("--kind and --top",), 2),
        (("--measure", "tpu"), ("--measure tpu", "cpu"), 2),
        (("--train", "--freeze", "*", "--size", "64", "--batch", "2"), ("no parameter to learn", "--inference"), 1),
    ],
)
def test_what_makes_no_sense_is_refused(
    fmap: Run, arguments: tuple[str, ...], words: tuple[str, ...], code: int
) -> None:
    fmap("memory", *arguments).refused(*words, code=code)


def test_a_tensor_made_without_saying_where_is_explained(fmap: Run, own: str) -> None:
    arguments = ("memory", f"{own}:placeless", "--size", 64, "--batch", 2, "--train")
    fmap(*arguments).refused("placeless", "device=x.device")


def test_the_headline_says_whether_the_batch_fits(fmap: Run, own: str) -> None:
    asked = ("memory", f"{own}:small", "--size", 64, "--batch", 64, "--train", "--units", "MB")
    reserved = fmap(*asked, "--json").json["runs"][0]["reserved_bytes"]
    tight = fmap(*asked, "--budget", f"{reserved / 2e6:.6f}MB")
    assert "Training at batch 64 does not fit in" in tight.out.splitlines()[2]
    assert tight.code == 0
    assert fmap(*asked, "--budget", f"{reserved / 2e6:.6f}MB", "--check").code == 3
    wide = fmap(*asked, "--budget", f"{reserved / 1e6:.6f}MB", "--check")
    assert wide.code == 0
    assert "Training at batch 64 fits in" in wide.out.splitlines()[2]
    assert "cuDNN's workspaces come on top of either" in wide.out
    assert "safe" not in wide.out
    document = fmap(*asked, "--budget", f"{reserved / 2e6:.6f}MB", "--check", "--json")
    assert (document.code, document.json["fits"]) == (3, False)


def test_check_needs_a_budget(fmap: Run, own: str) -> None:
    fmap("memory", f"{own}:small", "--check").refused("--budget", code=2)
