"""The public API: the same numbers as the commands, from a live module that stays as it was."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fmap_cli as fmap
from fmap_cli.inputs.held import source_of
from fmap_cli.results import FIGURE_SUFFIXES


def quietly(_sentence: str) -> None:
    pass


class Branches(nn.Module):
    """A skip, an in-place activation, a shared module and a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)
        self.body.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = self.act(x + self.body(x))
        return self.head(x.mean((2, 3)))


def sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def hooked() -> nn.Module:
    net = sequential()
    net[0].register_forward_hook(lambda *_: None)
    return net.double()


NETWORKS: dict[str, Callable[[], nn.Module]] = {"branches": Branches, "sequential": sequential, "hooked": hooked}


def told(net: nn.Module) -> list[Any]:
    """All of a module that a look at it could change."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [module.training for module in net.modules()],
        [[dict(getattr(module, name)) for name in hooks] for module in net.modules()],
        [(name, id(each), each.requires_grad, each.dtype, each.device) for name, each in net.named_parameters()],
        [each.detach().clone() for each in net.state_dict().values()],
        [None if each.grad is None else each.grad.clone() for each in net.parameters()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    ]


def alike(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        return torch.equal(before, after)
    if isinstance(before, list):
        return len(before) == len(after) and all(map(alike, before, after))
    return bool(before == after)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_live_module_stays_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name]().train()
    list(net.children())[-1].eval()
    dtype = next(net.parameters()).dtype
    net(torch.randn(2, 3, 32, 32, dtype=dtype)).sum().backward()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    before = told(net)
    model = fmap.load_model(net, size=32, labels=["cat", "dog"], say=quietly)
    assert model.model.module is net
    first = next(net.named_children())[0]
    fmap.feature_maps(model, image, first, say=quietly)
    fmap.findings(fmap.stats(model, [image, image], say=quietly))
    fmap.layers(model, say=quietly)
    fmap.receptive_fields(model, say=quietly)
    fmap.unit(model, image, first, say=quietly)
    fmap.effective_field(model, image, first, say=quietly)
    fmap.predict(model, image, say=quietly)
    fmap.embed(model, image, say=quietly)
    fmap.compare(model, image, image, say=quietly)
    fmap.memory(net, 4, size=32, say=quietly)
    assert alike(before, told(net))


def test_a_module_that_has_to_be_cast_is_copied() -> None:
    net = sequential()
    model = fmap.load_model(net, size=32, dtype="float64", say=quietly)
    assert model.model.module is not net
    assert {each.dtype for each in net.parameters()} == {torch.float32}


def test_what_a_module_learns_afterwards_is_seen() -> None:
    net = sequential()
    image = np.full((32, 32, 3), 128, np.uint8)
    model = fmap.load_model(net, size=32, say=quietly)
    before = fmap.feature_maps(model, image, "0", say=quietly).arrays["0"]
    with torch.no_grad():
        net[0].weight.mul_(2)
        net[0].bias.mul_(2)
    after = fmap.feature_maps(model, image, "0", say=quietly).arrays["0"]
    torch.testing.assert_close(after, 2 * before)


def test_maps_are_what_the_module_puts_out() -> None:
    net = sequential().eval()
    picture = torch.rand(3, 32, 32)
    model = fmap.load_model(net, size=32, mean=0.0, std=1.0, say=quietly)
    look = fmap.feature_maps(model, picture, ["0", "6"], all=True, say=quietly)
    with torch.no_grad():
        expected = net[0](picture[None])
        answer = net(picture[None])
    assert [each.layer.name for each in look.maps] == ["0", "6"]
    torch.testing.assert_close(torch.from_numpy(look.maps[0].maps[:, 0]), expected[0])
    torch.testing.assert_close(look.arrays["6"], answer)


def test_the_commands_numbers() -> None:
    """`fmap stats --json` in a shell, and `fmap.stats` here."""
    said = forked.run([sys.executable, "-m", "fmap_cli", "stats", "--json", "--layer", "features.0.0"], text=True)
    (row,) = json.loads(said.stdout)["layers"]
    (record,) = fmap.stats(layer="features.0.0", say=quietly).layers
    assert row["mean"] == pytest.approx(float(record.channels.mean.mean()), rel=1e-12)
    assert row["min"] == float(record.channels.min.min())
    assert row["max"] == float(record.channels.max.max())


# -- images ------------------------------------------------------------------------------------------------------


def test_a_path_an_array_a_tensor_and_a_pillow_image_are_one_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    given = [str(tmp_path / "a.png"), tmp_path / "a.png", pixels, torch.from_numpy(pixels), Image.fromarray(pixels)]
    model = fmap.load_model(sequential(), size=32, say=quietly)
    seen = [fmap.feature_maps(model, each, "0", say=quietly).arrays["0"] for each in given]
    assert all(torch.equal(seen[0], each) for each in seen[1:])
    vectors = fmap.embed(model, given, say=quietly).vectors
    assert (vectors == vectors[0]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_a_pillow_image_is_read_as_its_file_would_be(mode: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (40, 48), np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(pixels.astype(np.float32) / 255)
    else:
        image = image.convert("RGB").convert(mode)
    suffix = "tif" if mode in ("CMYK", "YCbCr", "F") else "png"
    image.save(tmp_path / f"a.{suffix}")
    model = fmap.load_model(sequential(), size=32, say=quietly)
    here, there = (
        fmap.feature_maps(model, each, "0", say=quietly).image.pixels for each in (image, tmp_path / f"a.{suffix}")
    )
    assert (here == there).all()


def test_an_image_keeps_its_name_and_goes_to_other_processes() -> None:
    image = fmap.load_image(np.zeros((8, 8), np.uint8), name="dark")
    assert (str(image), str(source_of(image))) == ("dark", "dark")
    again = pickle.loads(pickle.dumps(image))
    assert again.content == copy.copy(image).content == image.content  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [object(), 3, np.array([object()])])
def test_what_is_no_image_is_refused(wrong: object) -> None:
    with pytest.raises(fmap.FmapError, match=r"is not an image"):
        fmap.load_image(wrong)  # type: ignore[arg-type]


# -- the package -------------------------------------------------------------------------------------------------


def test_beside_the_commands_verbs_there_are_at_most_twelve_names_and_all_are_there() -> None:
    from fmap_cli.commands.group import COMMANDS

    assert len(set(fmap.__all__) - set(COMMANDS)) <= 12
    assert set(fmap.__all__) <= set(dir(fmap))
    for name in fmap.__all__:
        assert getattr(fmap, name).__doc__
    with pytest.raises(AttributeError, match="feature_map"):
        _ = fmap.feature_map


def test_a_verb_stays_a_verb_where_a_room_has_its_name() -> None:
    from fmap_cli.layers.survey import survey
    from fmap_cli.memory.records import Forecast

    assert callable(survey) and Forecast.__name__ == "Forecast"

    assert callable(fmap.layers)
    assert callable(fmap.memory)


def test_importing_it_imports_no_torch_and_typing_is_declared() -> None:
    code = "import sys, fmap_cli; print({'torch', 'numpy', 'PIL', 'matplotlib', 'rich', 'click'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "set()\n"
    assert (Path(fmap.__file__ or "").parent / "py.typed").exists()


# -- results -----------------------------------------------------------------------------------------------------

PHOTO = str(Path(__file__).parent.parent / "sample_images" / "coffee.png")


def small(**asked: Any) -> Any:
    """The embedded model, fed 64 × 64 pixels."""
    return fmap.load_model(size=64, say=quietly, **asked)


VERBS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "layers": (lambda: fmap.layers("resnet18", say=quietly), ["layers", "resnet18"]),
    "fields": (
        lambda: fmap.receptive_fields("resnet18", kind="conv", say=quietly),
        ["rf", "--model", "resnet18", "--kind", "conv"],
    ),
    "stats": (
        lambda: fmap.stats(small(), images=PHOTO, kind="conv", say=quietly),
        ["stats", PHOTO, "--size", "64", "--kind", "conv"],
    ),
    "predict": (lambda: fmap.predict(small(), images=PHOTO, say=quietly), ["predict", PHOTO, "--size", "64"]),
    "embed": (lambda: fmap.embed(small(), images=PHOTO, say=quietly), ["embed", PHOTO, "--size", "64"]),
    "memory": (lambda: fmap.memory("resnet18", say=quietly), ["memory", "resnet18"]),
    "compare": (
        lambda: fmap.compare(
            small(),
            image=PHOTO,
            vs=small(dtype="bfloat16"),
            kind="conv",
            say=quietly,
        ),
        ["compare", PHOTO, "--size", "64", "--vs-dtype", "bfloat16", "--kind", "conv"],
    ),
}


@pytest.mark.parametrize("name", VERBS)
def test_a_result_is_what_the_command_prints(
    name: str, estimates_here: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table at 120 columns and the document, word for word and number for number."""
    from fmap_cli import cli

    verb, arguments = VERBS[name]
    result = verb()
    monkeypatch.setenv("COLUMNS", "120")
    assert cli.run(arguments) == 0
    assert result.table(120) == capsys.readouterr().out
    assert cli.run([*arguments, "--json"]) == 0
    assert json.loads(json.dumps(result.document())) == json.loads(capsys.readouterr().out)


def test_figures_show_in_a_notebook_and_tables_where_there_is_none(tmp_path: Path) -> None:
    session = small()
    look = fmap.feature_maps(session, image=PHOTO, layer=["conv1", "features.1"], say=quietly)
    one, both = (Image.open(io.BytesIO(each)) for each in (look.figure()._repr_png_(), look._repr_png_()))
    assert one.width <= both.width and one.height < both.height
    assert look.save(tmp_path / "maps.png").exists()
    with np.load(look.save(tmp_path / "maps.npz")) as saved:
        assert saved["features.0.0"].shape == (1, 32, 32, 32)
    with pytest.raises(fmap.FmapError, match="not asked for"):
        look.figure("features.2")
    seen = fmap.unit(session, image=PHOTO, layer="features.4", say=quietly)
    assert seen._repr_png_().startswith(b"\x89PNG") and "features.4" in seen.table()
    run = fmap.stats(session, images=PHOTO, say=quietly)
    assert fmap.load_run(run.save(tmp_path / "run.fmap")).document()["layers"] == run.document()["layers"]
    assert "features.0.0" in fmap.layers(session, say=quietly)._repr_html_()


SIZED = {"size": 32, "say": quietly}
WRONG: dict[str, list[tuple[Callable[..., Any], str]]] = {
    "models": [
        (lambda net, image: fmap.load_model(5), "int is not a model"),
        (lambda net, image: fmap.load_model(Branches), "the class Branches"),
        (lambda net, image: fmap.feature_maps(None, image), "NoneType is not a model"),
        (lambda net, image: fmap.load_model(net, weights="random"), "weights are for models"),
        (lambda net, image: fmap.load_model("resnet18", weights=5), "weights is 5"),
        (lambda net, image: fmap.load_model(net, labels="xyz"), "a list of strings"),
        (lambda net, image: fmap.load_model(net, labels=[1, 2]), "a list of strings"),
        (
            lambda net, image: fmap.load_model("resnet18", weights="random", labels=["a"]),
            "1 label .* with 1000 classes",
        ),
        (lambda net, image: fmap.load_model(net, **SIZED, labels=["a", "b", "c"]), "3 labels .* with 2 classes"),
        (lambda net, image: fmap.load_model(net, **SIZED, labels=["a"]), "1 label .* with 2 classes"),
        (lambda net, image: fmap.load_model(net, size=32, input_shape=(3, 64, 64)), "give one of them"),
        (lambda net, image: fmap.load_model(net, input_shape="3,32,32"), "input_shape is '3,32,32'"),
        (lambda net, image: fmap.load_model(net, input_shape=(3, -1, 4)), "input_shape is"),
        (lambda net, image: fmap.load_model(net, input_shape=[(3, 32, 32), 5]), "input_shape is"),
        (lambda net, image: fmap.load_model(net, dtype="float12"), "dtype is 'float12'"),
        (lambda net, image: fmap.load_model(net, memory_format="last"), "memory_format is 'last'"),
        (lambda net, image: fmap.load_model(net, size="32"), "size is '32'"),
        (lambda net, image: fmap.load_model(net, size=(32, 0)), r"size is \(32, 0\)"),
        (lambda net, image: fmap.load_model(net, size=True), "size is True"),
        (lambda net, image: fmap.load_model(net, value_range=(5, 1)), r"value_range is \(5, 1\)"),
        (lambda net, image: fmap.load_model(net, value_range=(0, float("nan"))), "value_range is"),
        (lambda net, image: fmap.load_model(net, value_range=5), "value_range is 5"),
        (lambda net, image: fmap.load_model(net, mean="a"), "mean is 'a'"),
        (lambda net, image: fmap.load_model("resnet18", weights="random", seed=-1), "seed is -1"),
    ],
    "what is swapped": [
        (lambda net, image: fmap.feature_maps("photo.jpg", "resnet18"), "'photo.jpg' is an image.*comes first"),
        (lambda net, image: fmap.predict(image, net), "this ndarray is an image"),
        (lambda net, image: fmap.stats(torch.zeros(3, 8, 8), net), "this Tensor is an image"),
        (lambda net, image: fmap.stats(net, net), "this Sequential is not an image"),
        (lambda net, image: fmap.feature_maps(net, "0", image), "layer is of type ndarray"),
        (lambda net, image: fmap.memory(32, net), "batch is of type Sequential"),
    ],
    "images": [
        (lambda net, image: fmap.stats(net, []), "the list is empty"),
        (lambda net, image: fmap.unit(net, [image, image], "0"), "one at a time"),
        (lambda net, image: fmap.layers(net, image=[image, image]), "one at a time"),
        (lambda net, image: fmap.feature_maps(net, image, layout=3), "layout is 3"),
        (lambda net, image: fmap.load_image(image, name=3), "name is 3"),
        (lambda net, image: fmap.effective_field(net, image, "0", noise=2), "noise takes the place of images"),
    ],
    "layers": [
        (lambda net, image: fmap.feature_maps(net, image, 3), "layer is 3"),
        (lambda net, image: fmap.stats(net, image, ["0", 3]), "layer is 3"),
        (lambda net, image: fmap.stats(net, image, net[0]), "layer is"),
        (lambda net, image: fmap.embed(net, image, ["0", "1"]), "one layer"),
        (lambda net, image: fmap.stats(net, image, kind="convs"), "kind is 'convs'.*'conv'"),
        (lambda net, image: fmap.layers(net, depth=0), "depth is 0"),
    ],
    "channels and places": [
        (lambda net, image: fmap.feature_maps(net, image, channels=[0, -1]), r"channels is \[0, -1\]"),
        (lambda net, image: fmap.feature_maps(net, image, channels="0-3"), "channels is '0-3'"),
        (lambda net, image: fmap.feature_maps(net, image, channels=[]), r"channels is \[\]"),
        (lambda net, image: fmap.feature_maps(net, image, top=0), "top is 0"),
        (lambda net, image: fmap.feature_maps(net, image, top=2, channels=[1]), "channels, top and all"),
        (lambda net, image: fmap.feature_maps(net, image, top=2, all=True), "channels, top and all"),
        (lambda net, image: fmap.feature_maps(net, image, by="var"), "by is 'var'"),
        (lambda net, image: fmap.unit(net, image, "0", channel=-2), "channel is -2"),
        (lambda net, image: fmap.unit(net, image, "0", at=(-1, 0)), r"at is \(-1, 0\)"),
        (lambda net, image: fmap.unit(fmap.load_model(net, **SIZED), image, "0", at=(1,)), "no cell 1"),
        (lambda net, image: fmap.unit(net, image, "0", at=()), r"at is \(\)"),
        (lambda net, image: fmap.explain(net, image, "0", at=-1), "at is -1"),
        (lambda net, image: fmap.explain(net, image, "0", back=-1), "back is -1"),
        (lambda net, image: fmap.unit(net, image, "0", at="mean"), "at is 'mean'.*'max' or 'min'"),
        (lambda net, image: fmap.effective_field(net, None, "0", at="max"), "at is 'max'"),
    ],
    "numbers": [
        (lambda net, image: fmap.stats(net, image, batch=0), "batch is 0"),
        (lambda net, image: fmap.stats(net, image, batch="8"), "batch is '8'"),
        (lambda net, image: fmap.stats(net, image, shuffle=True), "shuffle is True"),
        (lambda net, image: fmap.predict(net, image, top=2.5), "top is 2.5"),
        (lambda net, image: fmap.feature_maps(net, image, score=7), "score is 7"),
        (lambda net, image: fmap.feature_maps(net, image, score=float("nan")), "score is nan"),
        (lambda net, image: fmap.compare(net, image, image, threshold=-1), "threshold is -1"),
        (lambda net, image: fmap.embed(net, image, pool="mean"), "pool is 'mean'"),
        (lambda net, image: fmap.stats(net, image, per_channel=True, by_class=True), "exclude each other"),
    ],
    "memory": [
        (lambda net, image: fmap.memory(net, 0), "batch is 0"),
        (lambda net, image: fmap.memory(net, optimizer="addam"), "optimizer is 'addam'"),
        (lambda net, image: fmap.memory(net, modes="eval"), "modes is 'eval'"),
        (lambda net, image: fmap.memory(net, budget="24"), "budget is '24'"),
        (lambda net, image: fmap.memory(net, budget=-1), "budget is -1"),
        (lambda net, image: fmap.memory(fmap.load_model(net, **SIZED), weights="random"), "loaded already"),
    ],
    "runs": [
        (lambda net, image: fmap.load_run(), "no run was named"),
        (lambda net, image: fmap.load_run("run.json"), r"'run.json' is not a saved run"),
        (lambda net, image: fmap.findings([1]), "this list is not a run"),
    ],
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_arguments_are_named(kind: str) -> None:
    net, image = sequential(), np.zeros((32, 32, 3), np.uint8)
    for call, words in WRONG[kind]:
        with pytest.raises(fmap.FmapError) as raised:
            call(net, image)
        assert re.search(words, raised.value.message), raised.value.message
        assert "--" not in str(raised.value)


def test_what_is_wrong_about_two_runs_is_named() -> None:
    run = fmap.stats(load_small(), np.zeros((32, 32, 3), np.uint8), say=quietly)
    given: list[dict[str, Any]] = [{"vs": load_small()}, {"other": "a.png"}, {"draw": "0"}, {"layout": "HWC"}]
    for each in given:
        with pytest.raises(fmap.FmapError, match=f"{next(iter(each))} is about a pass"):
            fmap.compare(run, run, **each)
    with pytest.raises(fmap.FmapError, match="sort is 'var'"):
        run.print(per_channel=True, sort="var")


def load_small() -> Any:
    return fmap.load_model(sequential(), size=32, say=quietly)


def test_errors_speak_of_arguments_and_commands_of_options(
    capsys: pytest.CaptureFixture[str], estimates_here: None
) -> None:
    """One error, raised in one place, in the words of who asked."""
    from fmap_cli import cli

    image = np.zeros((5, 40, 40), np.uint8)
    with pytest.raises(fmap.FmapError, match="freeze leaves no parameter"):
        fmap.memory(sequential(), 2, size=32, freeze="*", say=quietly)
    with pytest.raises(fmap.FmapError) as raised:
        fmap.feature_maps(load_small(), image, "0", say=quietly)
    assert "--layout" in f"{raised.value.message} {raised.value.hint}"
    assert "--" not in str(raised.value) and "layout" in str(raised.value)
    assert cli.run(["memory", "resnet18", "--freeze", "*"]) == 1
    assert "--freeze leaves no parameter" in capsys.readouterr().err


def test_every_verb_checks_what_it_is_given_by_name() -> None:
    """A parameter of a verb that no check knows is a switch, or one of those that need none."""
    import inspect

    free = {
        "advanced",
        "names",
        "say",
        "device",
        "dtype",
        "modes",
        "pool",
        "what_if",
    }  # the last are the verb's to check
    for name in set(fmap.__all__) - {"FmapError", "__version__", "errors", "findings", "load_run"}:
        verb = getattr(fmap, name)
        assert hasattr(verb, "__wrapped__"), name
        parameters = inspect.signature(verb).parameters
        switches = {each for each, about in parameters.items() if about.annotation == "bool"}
        assert set(parameters) - verb.checks - switches <= free, name


def test_results_are_one_line_in_a_notebook_and_say_which_files_there_are(tmp_path: Path, estimates_here: None) -> None:
    model, image = load_small(), np.zeros((32, 32, 3), np.uint8)
    found = [
        fmap.feature_maps(model, image, "0", say=quietly),
        fmap.stats(model, image, say=quietly),
        fmap.layers(model, say=quietly),
        fmap.receptive_fields(model, say=quietly),
        fmap.unit(model, image, "0", say=quietly),
        fmap.effective_field(model, image, "0", say=quietly),
        fmap.predict(model, image, say=quietly),
        fmap.embed(model, image, say=quietly),
        fmap.compare(model, image, image, say=quietly),
        fmap.memory(model, 2, say=quietly),
    ]
    for each in (model, model.model, *found):
        assert "\n" not in repr(each) and len(repr(each)) < 1000
    assert repr(model) == "<Session of Sequential, weights: as given, on cpu as float32>"
    assert repr(found[1]) == "<Run of Sequential: 8 layers, 1 image>"
    for each in found:
        assert len(repr(each)) <= 80
        with pytest.raises(fmap.FmapError) as raised:
            each.save(tmp_path / "x.txt")
        for suffix in each.FILES:
            assert suffix in str(raised.value)
            if suffix in FIGURE_SUFFIXES[1:] and each is not found[0]:
                continue  # whatever is drawn is written by one function: one result holds for all
            assert each.save(tmp_path / f"x{suffix}").stat().st_size


def test_a_run_prints_channels_as_the_command_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmap_cli import cli

    run = fmap.stats(images=PHOTO, kind="conv", per_channel=True, say=quietly)
    monkeypatch.setenv("COLUMNS", "120")
    arguments = ["stats", PHOTO, "--kind", "conv", "--per-channel", "--sort", "mean", "--reverse", "--top", "7"]
    assert cli.run(arguments) == 0
    assert run.table(120, per_channel=True, sort="mean", reverse=True, top=7) == capsys.readouterr().out


def test_memory_takes_what_is_loaded_and_a_budget_in_words() -> None:
    net = sequential()
    model = fmap.load_model(net, size=48, say=quietly)
    loaded, live = fmap.memory(model, 4, budget="1.5MiB"), fmap.memory(net, 4, size=48, budget=3 * 2**19)
    assert loaded.inputs == ((4, 3, 48, 48),)
    taken = [[(each.allocated, each.reserved, each.kept) for each in it.bills] for it in (loaded, live)]
    assert taken[0] == taken[1] and loaded.budget == live.budget == 1_572_864


def test_the_lowest_unit_is_that_of_the_lowest_value(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from fmap_cli import cli

    model, image = load_small(), np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    output = fmap.feature_maps(model, image, "0", say=quietly).arrays["0"][0]
    for at, index in (("max", output.argmax()), ("min", output.argmin())):
        seen = fmap.unit(model, image, "0", at=at, say=quietly)
        place = np.unravel_index(int(index), output.shape)
        assert (seen.channel, *seen.place[1:]) == tuple(int(each) for each in place)
        assert seen.value == pytest.approx(float(output.flatten()[index]))
    arguments = ["rf", PHOTO, "--layer", "features.0.0", "-o", str(tmp_path / "a.png"), "--json"]
    assert cli.run([*arguments, "--at", "min"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] < 0


def test_an_array_is_called_by_its_shape_once(capsys: pytest.CaptureFixture[str]) -> None:
    fmap.feature_maps(load_small(), np.zeros((40, 40), np.uint8), "0")
    assert "note: array [40, 40]: read as HW" in capsys.readouterr().err


def listening(told: list[tuple[int, ...]]) -> Callable[..., None]:
    return lambda *how: told.append(how)


def test_how_far_a_long_call_is_can_be_listened_to() -> None:
    model, image = load_small(), np.zeros((32, 32, 3), np.uint8)
    for verb in (fmap.predict, fmap.embed):
        told: list[tuple[int, ...]] = []
        verb(model, [image] * 5, batch=2, advanced=listening(told), say=quietly)  # type: ignore[operator]
        assert [each[:2] for each in told][:1] == [(0, 5)] and told[-1][:2] == (5, 5)
        assert [each[0] for each in told] == sorted(each[0] for each in told) and len({*told}) >= 3
    told = []
    fmap.compare(model, image, image, advanced=listening(told), say=quietly)
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_two_images_of_one_name_are_two_images() -> None:
    black, white = (np.full((32, 32, 3), value, np.uint8) for value in (0, 255))
    model = fmap.load_model(sequential(), size=32, say=quietly)
    assert fmap.compare(model, black, white, say=quietly).parts
    assert not fmap.compare(model, black, black.copy(), say=quietly).parts
    assert source_of(black) != source_of(white) and source_of(black) != str(source_of(black))


def test_a_threshold_of_the_findings_is_an_argument() -> None:
    run = fmap.stats(images=PHOTO, say=quietly)
    assert len(fmap.findings(run, dead_share=0.01)) >= len(fmap.findings(run))
    with pytest.raises(fmap.FmapError, match="dead_shares"):
        fmap.findings(run, dead_shares=0.1)


def test_an_argument_that_a_verb_does_not_have_is_named_with_the_nearest() -> None:
    with pytest.raises(
        TypeError, match=r"feature_maps\(\) has no argument 'images'; did you mean 'image'\? It has model"
    ):
        fmap.feature_maps(images="cat.png")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"stats\(\) has no argument 'colour'; it has model"):
        fmap.stats(colour=1)  # type: ignore[call-arg]
