"""`fmap predict`: probabilities held against a softmax of our own; batches, broken images, other networks."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fmap_cli.errors import FmapError
from fmap_cli.inputs.images import load_image
from fmap_cli.models import load_model
from fmap_cli.models.records import LoadedModel, Preprocessing, Weights
from fmap_cli.session.batches import batches
from fmap_cli.session.opening import Session

Run = Callable[..., Any]
PHOTOS = ["astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg"]

NETS = '''
import collections
import dataclasses
import types

import torch
from torch import nn

class OneAtATime(nn.Module):
    def forward(self, x):
        return x.reshape(1, 3, -1).mean(2) if len(x) == 1 else x.reshape(1, -1)[:, :7]

class Refuses(nn.Module):
    def forward(self, x):
        assert len(x) == 1, "one image, please"
        return x.mean((2, 3))

class BrightIsNaN(nn.Module):
    """The mean of each colour; NaN for an image that is all white."""
    def forward(self, x):
        x = x.mean((2, 3))
        return torch.where(x.amin(1, keepdim=True) > 0.99, torch.nan, x)

class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.answer = answer

    def forward(self, x):
        return self.answer(self.conv(x))

def one(): return OneAtATime()
def refuses(): return Refuses()
def bright(): return BrightIsNaN()
def certain(): return Answers(lambda x: x.mean((2, 3)).softmax(1))
def single(): return Answers(lambda x: x.mean((2, 3))[:, :1])
def pair(): return Answers(lambda x: (x, x))
def maps(): return Answers(lambda x: x)
def named(): return Answers(lambda x: {"out": x, "aux": x})
def scores(x): return x.mean((2, 3))
def as_dict(): return Answers(lambda x: {"logits": scores(x), "hidden_states": (x, x), "features": scores(x)[:, :3]})
def as_list(): return Answers(lambda x: [scores(x)])
def as_places(): return Answers(lambda x: x.mean((2, 3), keepdim=True))
def as_named(): return Answers(lambda x: collections.namedtuple("Output", "logits aux_logits")(scores(x), scores(x)))
def as_object(): return Answers(lambda x: types.SimpleNamespace(loss=None, scores=scores(x), maps=x))
def as_model_output(): return Answers(lambda x: ModelOutput(None, scores(x), (x,)))
def as_dataclass(): return Answers(lambda x: Plain(None, scores(x)))
def nested(): return Answers(lambda x: [{"logits": scores(x)}])
def alone(): return Answers(scores)
def two(): return Answers(lambda x: (scores(x), scores(x)[:, :3]))

@dataclasses.dataclass
class Plain:
    loss: object
    logits: object

@dataclasses.dataclass
class ModelOutput(collections.OrderedDict):
    """As transformers has it: a dataclass that is a mapping of what is not None."""
    loss: object
    logits: object
    hidden_states: object
    def __post_init__(self):
        self.update((name, value) for name, value in vars(self).items() if value is not None)

def clip(): return nn.Sequential(nn.Conv3d(3, 5, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
'''


@pytest.fixture
def nets(workdir: Path) -> str:
    (workdir / "nets.py").write_text(NETS)
    return "nets.py"


@pytest.fixture(scope="module")
def softmax(samples: Path) -> dict[str, torch.Tensor]:
    """The probabilities of each photo, one by one, in float64."""
    model = load_model("efficientnet_lite0", say=lambda _: None)
    found = {}
    with torch.no_grad():
        for name in PHOTOS:
            tensor = load_image(str(samples / name), model.preprocessing).tensor
            found[name] = model.module(tensor[None])[0].double().softmax(0)
    return found


# -- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("photo", "answer"), [("coffee.png", "espresso"), ("chelsea.png", "tiger cat")])
def test_one_photo(fmap: Run, samples: Path, softmax: dict[str, torch.Tensor], photo: str, answer: str) -> None:
    told = fmap("predict", samples / photo, "--json")
    assert (told.code, told.err) == (0, "")
    names = ["schema_version", "model", "weights", "preprocessing", "origin", "image", "predictions"]
    names += ["images", "image_count", "failed", "assumed_input"]
    assert list(told.json) == names
    assert told.json["schema_version"] == 1
    assert told.json["model"] == "efficientnet_lite0"
    assert told.json["image"] == str(samples / photo)
    assert told.json["images"] == [{"image": str(samples / photo), "predictions": told.json["predictions"]}]
    assert told.json["failed"] == []
    assert told.json["predictions"][0]["label"] == answer
    values, indices = softmax[photo].topk(5)
    assert [each["index"] for each in told.json["predictions"]] == indices.tolist()
    chances = [each["probability"] for each in told.json["predictions"]]
    assert chances == pytest.approx(values.tolist(), rel=1e-5)
    shown = fmap("predict", samples / photo, "--top", 2)
    assert shown.code == 0
    assert f"image: {samples / photo}" in shown.out
    assert answer in shown.out
    assert "top 2" in shown.out


def test_without_an_image_it_is_the_sample(fmap: Run) -> None:
    told = fmap("predict", "--top", 1, "--json")
    assert told.json["image"] == "coffee (bundled sample)"
    assert "the bundled sample" in told.err


def test_all_classes_sum_to_one(fmap: Run, samples: Path) -> None:
    told = fmap("predict", samples / "coffee.png", "--top", 5000, "--json")
    chances = [each["probability"] for each in told.json["predictions"]]
    assert len(chances) == 1000
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=1e-12)


def test_what_are_probabilities_already_is_left_alone(fmap: Run, samples: Path, nets: str) -> None:
    told = fmap("predict", samples / "coffee.png", "-m", f"{nets}:certain", "--top", 4, "--json").json["predictions"]
    assert sum(each["probability"] for each in told) == pytest.approx(1, abs=1e-6)
    assert [each["label"] for each in told] == [None] * 4
    assert f"class {told[0]['index']}" in fmap("predict", samples / "coffee.png", "-m", f"{nets}:certain").out


# -- many ----------------------------------------------------------------------------------------------------------


def test_batching_does_not_change_the_answers(fmap: Run, samples: Path, softmax: dict[str, torch.Tensor]) -> None:
    for size in (1, 2, 16):
        told = fmap("predict", samples, "--batch", size, "--json").json
        assert told["image"] is None
        assert "predictions" not in told
        assert [Path(each["image"]).name for each in told["images"]] == PHOTOS
        for each in told["images"]:
            alone = softmax[Path(each["image"]).name]
            for answer in each["predictions"]:
                assert answer["probability"] == pytest.approx(float(alone[answer["index"]]), rel=1e-4)
            assert each["predictions"][0]["index"] == int(alone.argmax())


def test_batches_are_as_large_as_they_may_be_and_of_one_size(tmp_path: Path) -> None:
    names = []
    for number, side in enumerate([8, 8, 8, 8, 9, 8, 8]):
        names.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (side, 8)).save(names[-1])
    names.insert(3, str(tmp_path / "missing.png"))
    model = LoadedModel(nn.Identity(), "net", Weights("given"), Preprocessing(None, None))
    session = Session(model, torch.device("cpu"), torch.float32)
    failures: list[tuple[str, FmapError]] = []
    sizes = [len(batch) for batch in batches(session, names, 3, lambda _: None, failures)]
    assert sizes == [3, 1, 1, 2]
    assert [name for name, _ in failures] == [str(tmp_path / "missing.png")]


def test_csv_has_a_row_for_each_image_and_rank(fmap: Run, samples: Path, softmax: dict[str, torch.Tensor]) -> None:
    told = fmap("predict", samples / "coffee.png", samples / "chelsea.png", "--csv", "--top", 2)
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert [(Path(row["image"]).name, row["rank"], row["label"]) for row in rows] == [
        ("coffee.png", "1", "espresso"),
        ("coffee.png", "2", "cup"),
        ("chelsea.png", "1", "tiger cat"),
        ("chelsea.png", "2", "Egyptian cat"),
    ]
    for row in rows:
        expected = float(softmax[Path(row["image"]).name][int(row["index"])])
        assert float(row["probability"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("width", [80, 160])
def test_a_row_an_image_fits_the_terminal(
    fmap: Run, samples: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(samples.parent)
    told = fmap("predict", "sample_images", Path("sample_images") / "coffee.png")
    lines = told.out.splitlines()
    assert max(map(len, lines)) <= width
    assert "espresso 95.1 % · cup 1.5 % · consomme 0.8 %" in told.out  # a label and its number stay together
    for name in PHOTOS:
        assert sum(f"sample_images/{name} " in line for line in lines) == (2 if name == "coffee.png" else 1)
    if width == 160:
        assert len(lines) == 5 + 6


def test_a_broken_image_is_named_at_the_end_and_the_rest_is_printed(fmap: Run, samples: Path, workdir: Path) -> None:
    (workdir / "photos").mkdir()
    shutil.copy(samples / "coffee.png", workdir / "photos" / "a.png")
    (workdir / "photos" / "b.png").write_bytes(b"no picture")
    shutil.copy(samples / "chelsea.png", workdir / "photos" / "c.png")
    told = fmap("predict", "photos", "--top", 1)
    assert told.code == 1
    assert "espresso" in told.out and "tiger cat" in told.out and "b.png" not in told.out
    assert told.err.splitlines()[0] == "fmap: photos/b.png is not an image."
    assert told.err.splitlines()[-1] == "fmap: 1 of 3 images failed: photos/b.png"
    told = fmap("predict", "photos", "--top", 1, "--json")
    assert told.code == 1
    assert [each["image"] for each in told.json["images"]] == ["photos/a.png", "photos/c.png"]
    assert told.json["failed"] == [{"image": "photos/b.png", "error": "photos/b.png is not an image."}]
    alone = fmap("predict", "photos/a.png", "missing.png", "--json")
    assert alone.code == 1
    assert "predictions" not in alone.json  # two were asked for: the form is that of several


def test_all_images_broken(fmap: Run, workdir: Path) -> None:
    fmap("predict", "missing.png").refused("no such file: missing.png")
    told = fmap("predict", "missing.png", "gone.png")
    assert (told.code, told.out) == (1, "")
    assert "2 of 2 images failed: missing.png, gone.png" in told.err
    (workdir / "empty").mkdir()
    fmap("predict", "empty").refused("there are no images in empty")
    fmap("predict", "*.jpg").refused("no file matches '*.jpg'")


def test_scores_that_are_not_finite_fail_that_image_alone(fmap: Run, nets: str) -> None:
    for name, value in (("white", 1.0), ("gray", 0.5)):
        np.save(f"{name}.npy", np.full((16, 16, 3), value, np.float32))
    run = ["-m", f"{nets}:bright", "--size", "16", "--mean", "0", "--std", "1"]
    told = fmap("predict", "white.npy", "gray.npy", *run, "--json")
    assert told.code == 1
    assert [each["image"] for each in told.json["images"]] == ["gray.npy"]
    assert told.json["failed"][0]["error"] == "nets.py:bright gives scores that are not finite for white.npy."
    fmap("predict", "white.npy", *run).refused("scores that are not finite", "`fmap stats`")


# -- models --------------------------------------------------------------------------------------------------------


def test_clips_are_classified_too(fmap: Run, samples: Path, nets: str) -> None:
    told = fmap("predict", samples / "coffee.png", "-m", f"{nets}:clip", "--size", "16", "--top", 5, "--json")
    assert told.code == 0
    assert "the picture is repeated as" in told.err
    assert len(told.json["predictions"]) == 5


def test_a_clip_is_the_same_in_a_batch(fmap: Run, samples: Path, nets: str) -> None:
    run = ["-m", f"{nets}:clip", "--size", "16", "--json"]
    photos = [samples / "coffee.png", samples / "chelsea.png"]
    together = fmap("predict", *photos, *run).json["images"]
    for photo, each in zip(photos, together, strict=True):
        alone = fmap("predict", photo, *run).json["predictions"]
        assert [a["index"] for a in alone] == [a["index"] for a in each["predictions"]]
        assert [a["probability"] for a in alone] == pytest.approx([a["probability"] for a in each["predictions"]])


def test_networks_for_one_image_at_a_time(fmap: Run, samples: Path, nets: str) -> None:
    photos = [samples / "coffee.png", samples / "chelsea.png"]
    told = fmap("predict", *photos, "-m", f"{nets}:one", "--size", 16)
    told.refused("gives 1 row for 2 images", "--batch 1")
    assert fmap("predict", *photos, "-m", f"{nets}:one", "--size", 16, "--batch", 1).code == 0
    fmap("predict", *photos, "-m", f"{nets}:refuses", "--size", 16).refused("one image, please", "--batch 1")
    assert fmap("predict", *photos, "-m", f"{nets}:refuses", "--size", 16, "--batch", 1).code == 0


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ("single", ["its output is [1, 1], a single number an image"]),
        ("pair", ["its output is 0 [1, 4, 16, 16], 1 [1, 4, 16, 16], a map of scores"]),
        ("maps", ["its output is [1, 4, 16, 16]", "--layer last"]),
        ("named", ["its output is out [1, 4, 16, 16], aux [1, 4, 16, 16], a map of scores", "--layer out"]),
    ],
)
def test_networks_that_classify_nothing(fmap: Run, samples: Path, nets: str, net: str, words: list[str]) -> None:
    told = fmap("predict", samples / "coffee.png", "-m", f"{nets}:{net}", "--size", 16)
    told.refused(f"nets.py:{net} is not a classifier", *words)


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ("lraspp_mobilenet_v3_large", 64, ["out [1, 21, 64, 64]", "a map of scores", "--layer out"]),
        ("raft_small", 128, ["how each pixel moves", "fmap show FIRST SECOND --model raft_small --layer last"]),
        ("ssdlite320_mobilenet_v3_large", 320, ["detects objects", "fmap show IMAGE --model ssdlite320"]),
    ],
)
def test_torchvisions_models_that_classify_nothing(
    fmap: Run, samples: Path, model: str, size: int, words: list[str]
) -> None:
    told = fmap("predict", samples / "coffee.png", "-m", model, "-w", "random", "--size", f"{size},{size}")
    told.refused(f"{model} is not a classifier", *words)


SHAPES = "as_dict as_list as_places as_named as_object as_model_output as_dataclass nested".split()


@pytest.mark.parametrize("net", SHAPES)
def test_scores_are_found_in_whatever_holds_them(fmap: Run, samples: Path, nets: str, net: str) -> None:
    """As the network that puts out the scores alone says; and `show` says it as `predict` does."""
    run = (samples / "coffee.png", "--size", 16, "--json")
    expected = fmap("predict", *run, "-m", f"{nets}:alone").json["predictions"]
    assert len(expected) == 4
    assert fmap("predict", *run, "-m", f"{nets}:{net}").json["predictions"] == expected
    assert fmap("show", *run, "-m", f"{nets}:{net}", "-l", "conv").json["predictions"] == expected


def test_two_answers_without_a_name_are_no_classifiers_for_either_command(fmap: Run, samples: Path, nets: str) -> None:
    run = (samples / "coffee.png", "--size", 16, "-m", f"{nets}:two")
    fmap("predict", *run).refused("several answers (0 [1, 4], 1 [1, 3]), none of them called logits")
    assert fmap("show", *run, "-l", "conv", "--json").json["predictions"] == []


def test_features_are_no_scores_for_either_command(fmap: Run, samples: Path) -> None:
    """timm knows no classes of DINO's: its answer is features."""
    run = (samples / "coffee.png", "-m", "timm:vit_small_patch14_dinov2", "-w", "random", "--size", 28)
    fmap("predict", *run).refused("its output is [1, 384], which are features, not scores of classes")
    assert fmap("show", *run, "-l", "norm", "--json").json["predictions"] == []


def test_wrong_usage(fmap: Run) -> None:
    fmap("predict", "--csv", "--json").refused("--json and --csv exclude each other", code=2)
    fmap("predict", "--top", 0).refused("--top", code=2)


def test_where_the_preprocessing_comes_from_is_said(fmap: Run, tmp_path: Path) -> None:
    """What is assumed of a weights file is torchvision's newest preset, and its numbers are the entry's own."""
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

    torch.save(mobilenet_v2().state_dict(), tmp_path / "mine.pth")
    preset = MobileNet_V2_Weights.DEFAULT.transforms()
    ran = fmap("predict", "-m", "mobilenet_v2", "-w", tmp_path / "mine.pth", "--json")
    fed = ran.json["preprocessing"]
    assert [fed["resize"], *fed["crop"]] == [*preset.resize_size, *preset.crop_size * 2]
    assert (fed["mean"], fed["std"], fed["interpolation"]) == (preset.mean, preset.std, preset.interpolation.value)
    assert fed["source"] == "assumed: that of weights IMAGENET1K_V2"
    asked = ("predict", "--size", 64, "--top", 1)
    assert "resize 64 bicubic, crop 64 × 64" in fmap(*asked).out
    assert fmap(*asked, "--json").json["preprocessing"]["source"] == "--size given, the rest weights ImageNet"


@pytest.mark.parametrize("command", ["predict", "embed", "compare"])
def test_how_far_a_command_is_shows_on_a_terminal_alone(
    fmap: Run, samples: Path, nets: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    arguments = (command, samples / "coffee.png", samples / "chelsea.png", "--model", f"{nets}:certain", "--size", 16)
    plain = fmap(*arguments)
    assert "2/2" not in plain.err
    monkeypatch.setattr(Console, "is_terminal", property(lambda console: console.stderr))
    shown = fmap(*arguments)
    assert (shown.code, shown.out) == (plain.code, plain.out)
    assert "2/2" in shown.err


def test_a_sigmoids_probabilities_stay_as_they_are(fmap: Run, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\ndef make(last):\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), last)\n"
        "def sigmoid(): return make(nn.Sigmoid())\ndef softmax(): return make(nn.Softmax(1))\n"
        "def plain(): return make(nn.Identity())\n"
    )
    said, chances = {}, {}
    for name in ("plain", "softmax", "sigmoid"):
        arguments = (
            "predict",
            samples / "chelsea.png",
            "-m",
            f"{tmp_path}/net.py:{name}",
            "--size",
            "16",
            "--top",
            "5",
        )
        said[name] = " ".join(fmap(*arguments).out.split())
        (image,) = fmap(*arguments, "--json").json["images"]
        chances[name] = {each["index"]: each["probability"] for each in image["predictions"]}
    assert chances["softmax"] == pytest.approx(chances["plain"], rel=1e-5)
    logits = torch.tensor([chances["sigmoid"][each] for each in range(5)]).logit()
    expected = torch.tensor([chances["plain"][each] for each in range(5)])
    assert torch.allclose(logits.softmax(0), expected, atol=1e-6)
    assert ["a sigmoid's: they do not add up to 100 %" in said[each] for each in said] == [False, False, True]


def test_where_classes_have_no_columns_of_their_own_a_folder_lists_them(
    fmap: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("chelsea.png", "coffee.png"):
        (tmp_path / name[:-4]).mkdir()
        shutil.copy(samples / name, tmp_path / name[:-4] / name)
    lines = {}
    for width in (50, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        lines[width] = fmap("predict", tmp_path, "--by-class").out.splitlines()
    assert any("answered with" in line for line in lines[50])
    assert [line.split()[-3:] for line in lines[50] if line.startswith("chelsea")] == [["tiger", "cat", "1"]]
    heads = [line for line in lines[120] if line.startswith("folder")]
    assert len(heads) == 1 and "espresso" in heads[0] and "tiger cat" in heads[0]
