"""The public API: the same numbers as the commands, from a live module that stays as it was."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fmap_cli as fmap
from fmap_cli.inputs.held import source_of


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
    said = subprocess.run(
        [sys.executable, "-m", "fmap_cli", "stats", "--json", "--layer", "features.0.0"],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
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
    with pytest.raises(fmap.FmapError, match=r"no image|objects"):
        fmap.load_image(wrong)  # type: ignore[arg-type]


# -- the package -------------------------------------------------------------------------------------------------


def test_at_most_twenty_names_and_all_of_them_are_there() -> None:
    assert len(fmap.__all__) <= 20
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
VERBS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "layers": (lambda: fmap.layers("resnet18", say=quietly), ["layers", "resnet18"]),
    "fields": (
        lambda: fmap.receptive_fields("resnet18", kind="conv", say=quietly),
        ["rf", "--model", "resnet18", "--kind", "conv"],
    ),
    "stats": (lambda: fmap.stats(images=PHOTO, kind="conv", say=quietly), ["stats", PHOTO, "--kind", "conv"]),
    "predict": (lambda: fmap.predict(images=PHOTO, say=quietly), ["predict", PHOTO]),
    "embed": (lambda: fmap.embed(images=PHOTO, say=quietly), ["embed", PHOTO]),
    "memory": (lambda: fmap.memory("resnet18", say=quietly), ["memory", "resnet18"]),
    "compare": (
        lambda: fmap.compare(image=PHOTO, vs=fmap.load_model(dtype="bfloat16", say=quietly), kind="conv", say=quietly),
        ["compare", PHOTO, "--vs-dtype", "bfloat16", "--kind", "conv"],
    ),
}


@pytest.mark.parametrize("name", VERBS)
def test_a_result_is_what_the_command_prints(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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
    look = fmap.feature_maps(image=PHOTO, layer=["conv1", "features.1"], say=quietly)
    one, both = (Image.open(io.BytesIO(each)) for each in (look.figure()._repr_png_(), look._repr_png_()))
    assert one.width <= both.width and one.height < both.height
    assert look.save(tmp_path / "maps.png").exists()
    with np.load(look.save(tmp_path / "maps.npz")) as saved:
        assert saved["features.0.0"].shape == (1, 32, 112, 112)
    with pytest.raises(fmap.FmapError, match="not asked for"):
        look.figure("features.2")
    seen = fmap.unit(image=PHOTO, layer="features.4", say=quietly)
    assert seen._repr_png_().startswith(b"\x89PNG") and "features.4" in seen.table()
    run = fmap.stats(images=PHOTO, say=quietly)
    assert fmap.load_run(run.save(tmp_path / "run.fmap")).document()["layers"] == run.document()["layers"]
    assert "features.0.0" in fmap.layers(say=quietly)._repr_html_()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net, image: fmap.load_model(5), "int is no model"),
        (lambda net, image: fmap.load_model(Branches), "the class Branches"),
        (lambda net, image: fmap.load_model(net, weights="random"), "weights are for models"),
        (lambda net, image: fmap.load_model(net, labels="xyz"), "a list of strings"),
        (lambda net, image: fmap.load_model(net, size=32, input_shape=(3, 64, 64)), "give one of them"),
        (lambda net, image: fmap.load_model(net, dtype="float12"), "dtype is 'float12'"),
        (lambda net, image: fmap.feature_maps(net, image, top=0), "top is 0"),
        (lambda net, image: fmap.feature_maps(net, image, by="var"), "by is 'var'"),
        (lambda net, image: fmap.stats(net, []), "the list is empty"),
        (lambda net, image: fmap.stats(net, image, batch=0), "batch is 0"),
        (lambda net, image: fmap.unit(net, [image, image], "0"), "one at a time"),
        (lambda net, image: fmap.layers(net, image=[image, image]), "one at a time"),
        (lambda net, image: fmap.embed(net, image, pool="mean"), "pool is 'mean'"),
        (lambda net, image: fmap.memory(net, 0), "batch is 0"),
        (lambda net, image: fmap.memory(net, optimizer="addam"), "optimizer is 'addam'"),
        (lambda net, image: fmap.memory(net, modes="eval"), "modes is 'eval'"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[..., Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(fmap.FmapError, match=words):
        call(sequential(), np.zeros((32, 32, 3), np.uint8))


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
