"""timm's models: twenty families and more with random weights, what their axes are, weights and preprocessing."""

from __future__ import annotations

import functools
import importlib.util
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from messages import both_lines
from PIL import Image
from safetensors.torch import save_file

from fmap_cli.errors import FmapError, ModelError, WeightsError
from fmap_cli.frameworks import load_timm
from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.layers.survey import survey
from fmap_cli.maps.look import look
from fmap_cli.maps.records import Look
from fmap_cli.models import catalog, load_model, timm_hub, timm_zoo
from fmap_cli.models.preprocessing import InputOverrides
from fmap_cli.models.records import ModelRequest
from fmap_cli.network.records import Axes
from fmap_cli.session.opening import open_session, read_image

try:
    timm = load_timm()  # as the program does: without the compiler, which takes longer than timm
except ImportError:
    pytest.skip("timm is not installed", allow_module_level=True)

SAY_NOTHING = lambda sentence: pytest.fail(f"said {sentence!r}")  # noqa: E731
Layers = dict[str, tuple[tuple[int, ...], Axes]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks at small sizes: a second thread waits more than it works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def seen(name: str, size: int | None = None) -> tuple[Layers, Look]:
    """Every layer of timm's `name` with random weights, and its first map on the bundled sample."""
    session = open_session(ModelRequest(f"timm:{name}", "random", size=size), lambda sentence: None)
    layers = {row.layer.name: (row.shape, row.axes) for row in survey(session).layers}
    image = read_image(session, str(sample_path()), lambda sentence: None)
    return layers, look(session, image, ["first"])


# --- Families ------------------------------------------------------------------------------------------

# The smallest of each, at a small size where the network takes one: a convolutional network of each way to normalise,
# and of the others those whose axes are checked by hand below. The rest of the families take as long again.
QUICK = [
    ("resnet10t", 96),
    ("resnetv2_18", 96),
    ("vit_tiny_patch16_224", None),
    ("vit_small_patch16_dinov3", 128),
    ("deit_tiny_distilled_patch16_224", None),
    ("swin_tiny_patch4_window7_224", None),
    ("swinv2_cr_tiny_ns_224", None),
    ("mixer_s32_224", None),
    ("maxvit_rmlp_pico_rw_256", 128),
    ("levit_128s", None),
    ("vit_tiny_r_s16_p8_224", None),
    ("convnext_tiny", 64),
    ("convnextv2_atto", 64),
    ("efficientnet_b0", 64),
    ("regnetx_002", 96),
    ("xcit_nano_12_p16_224", None),
    ("pvt_v2_b0", 96),
    ("mambaout_femto", 64),
]
SLOW = [
    ("efficientnetv2_rw_t", 96),
    ("vgg11", 96),
    ("densenet121", 96),
    ("beit_base_patch16_224", None),
    ("focalnet_tiny_srf", None),
    ("hrnet_w18_small", None),
    ("dpn48b", None),
    ("fastvit_t8", None),
    ("efficientvit_b0", None),
    ("efficientvit_m0", None),
    ("repvit_m0_9", None),
    ("rdnet_tiny", None),
    ("swinv2_tiny_window8_256", None),
    ("convmixer_768_32", 96),
    ("volo_d1_224", None),
    ("twins_svt_small", None),
    ("davit_tiny", None),
    ("gcvit_xxtiny", None),
    ("mvitv2_tiny", None),
    ("pit_ti_224", None),
    ("nest_tiny", None),
    ("hiera_tiny_224", None),
    ("sequencer2d_s", None),
    ("dm_nfnet_f0", 96),
    ("resmlp_12_224", 96),
    ("gmlp_ti16_224", 96),
    ("coatnet_nano_rw_224", 96),
    ("mobilenetv4_conv_small", 96),
    ("nf_regnet_b0", 64),
    ("cait_xxs24_224", 96),
    ("poolformerv2_s12", 96),
    ("edgenext_xx_small", 96),
    ("dla46_c", 96),
    ("ghostnet_050", 96),
    ("tiny_vit_5m_224", 96),
]


@pytest.mark.parametrize(
    ("name", "size"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)], ids=lambda each: each
)
def test_a_family_works_with_random_weights(name: str, size: int | None) -> None:
    layers, looked = seen(name, size)
    (drawn,) = looked.maps
    assert drawn.is_map
    assert len(looked.predictions) == (0 if "dinov3" in name else 5)  # DINO's answer is not a list of classes
    assert len(layers) > 20
    ways = {axes.how for _, axes in layers.values() if not axes.how.endswith("'s definition")}
    assert ways <= {"followed", "followed and measured", "measured", "nothing of the image is in it"}
    assert all(len(axes.names) == len(shape) for shape, axes in layers.values())
    assert next(iter(layers.values()))[1].names == ("B", "C", "H", "W")


# What timm's source says of each: name, size, layer, shape, axes, grid of tokens, tokens before it.
HAND_CHECKED = [
    ("vit_tiny_patch16_224", None, "blocks.0", (1, 197, 192), "B N C", (14, 14), 1),  # a class token
    ("vit_tiny_patch16_224", None, "blocks.0.attn.q_norm", (1, 3, 197, 64), "B ? N C", (14, 14), 1),
    ("deit_tiny_distilled_patch16_224", None, "blocks.11", (1, 198, 192), "B N C", (14, 14), 2),  # and distillation
    ("vit_small_patch16_dinov3", 128, "patch_embed", (1, 8, 8, 384), "B H W C", None, 0),
    ("vit_small_patch16_dinov3", 128, "blocks.0", (1, 69, 384), "B N C", (8, 8), 5),  # four registers
    ("swin_tiny_patch4_window7_224", None, "layers.0.blocks.0", (1, 56, 56, 96), "B H W C", None, 0),
    ("swin_tiny_patch4_window7_224", None, "layers.0.blocks.1.attn.qkv", (64, 49, 288), "B·N ? C", None, 0),
    ("swin_tiny_patch4_window7_224", None, "layers.0.blocks.0.mlp.fc1", (1, 3136, 384), "B N C", (56, 56), 0),
    ("swin_tiny_patch4_window7_224", None, "norm", (1, 7, 7, 768), "B H W C", None, 0),
    ("swinv2_cr_tiny_ns_224", None, "stages.0.blocks.0", (1, 56, 56, 96), "B H W C", None, 0),
    # Its windows grow with the image, and stay windows.
    ("swinv2_cr_tiny_ns_224", None, "stages.0.blocks.0.attn.qkv", (64, 49, 288), "B·N ? C", None, 0),
    ("swinv2_cr_tiny_ns_224", None, "stages.0.blocks.0.attn.matmul_1", (64, 3, 49, 32), "B·N ? ? C", None, 0),
    ("swinv2_cr_tiny_ns_224", None, "stages.1", (1, 192, 28, 28), "B C H W", None, 0),
    ("mixer_s32_224", None, "blocks.0", (1, 49, 512), "B N C", (7, 7), 0),
    ("mixer_s32_224", None, "blocks.0.mlp_tokens.fc2", (1, 512, 49), "B C N", (7, 7), 0),
    ("convnext_tiny", 64, "stages.0.blocks.0.norm", (1, 16, 16, 96), "B H W C", None, 0),  # a Linear MLP
    ("convnext_tiny", 64, "stages.0.blocks.0.mlp.fc1", (1, 16, 16, 384), "B H W C", None, 0),
    ("convnext_tiny", 64, "stages.0.blocks.0", (1, 96, 16, 16), "B C H W", None, 0),
    ("convnextv2_atto", 64, "stages.0.blocks.0.mlp.fc1", (1, 160, 16, 16), "B C H W", None, 0),  # one of 1 × 1 convs
    ("levit_128s", None, "stem", (1, 128, 14, 14), "B C H W", None, 0),
    ("levit_128s", None, "stages.0.blocks.0", (1, 196, 128), "B N C", (14, 14), 0),
    ("levit_128s", None, "stages.0.blocks.0.attn.qkv.bn", (196, 256), "B·N C", None, 0),
    ("levit_128s", None, "stages.0.blocks.0.attn.matmul_1", (1, 4, 196, 32), "B ? N C", (14, 14), 0),
    ("levit_128s", None, "stages.1.downsample.attn_downsample.q", (1, 49, 128), "B N C", (7, 7), 0),
    ("maxvit_rmlp_pico_rw_256", 128, "stages.1.blocks.0.conv", (1, 64, 16, 16), "B C H W", None, 0),
    ("maxvit_rmlp_pico_rw_256", 128, "stages.1.blocks.0.attn_block.norm1", (1, 16, 16, 64), "B H W C", None, 0),
    ("maxvit_rmlp_pico_rw_256", 128, "stages.1.blocks.0.attn_block.attn.qkv", (16, 4, 4, 192), "B·N ? ? C", None, 0),
    ("maxvit_rmlp_pico_rw_256", 128, "stages.1.blocks.0.attn_grid.attn.qkv", (16, 4, 4, 192), "B·N ? ? C", None, 0),
    ("vit_tiny_r_s16_p8_224", None, "patch_embed.backbone", (1, 64, 56, 56), "B C H W", None, 0),  # a ResNet's stem
    ("vit_tiny_r_s16_p8_224", None, "blocks.0", (1, 50, 192), "B N C", (7, 7), 1),
    ("xcit_nano_12_p16_224", None, "blocks.0", (1, 196, 128), "B N C", (14, 14), 0),
    ("xcit_nano_12_p16_224", None, "blocks.0.attn.matmul", (1, 4, 32, 32), "B ? C ?", None, 0),  # what each is made of
    ("xcit_nano_12_p16_224", None, "norm", (1, 197, 128), "B N C", (14, 14), 1),  # the class token comes late
    ("pvt_v2_b0", 96, "stages.0.blocks.0", (1, 576, 32), "B N C", (24, 24), 0),
    ("pvt_v2_b0", 96, "stages.0", (1, 32, 24, 24), "B C H W", None, 0),
    ("mambaout_femto", 64, "stages.0.blocks.0", (1, 16, 16, 48), "B H W C", None, 0),
    ("mambaout_femto", 64, "stages.0.blocks.0.conv", (1, 48, 16, 16), "B C H W", None, 0),
]


@pytest.mark.parametrize(("name", "size", "layer", "shape", "names", "grid", "prefix"), HAND_CHECKED)
def test_axes_are_what_the_source_says(
    name: str,
    size: int | None,
    layer: str,
    shape: tuple[int, ...],
    names: str,
    grid: tuple[int, int] | None,
    prefix: int,
) -> None:
    found_shape, axes = seen(name, size)[0][layer]
    assert found_shape == shape
    assert " ".join(axes.names) == names
    assert (axes.grid, axes.prefix) == (grid, prefix)


# --- Importing -----------------------------------------------------------------------------------------


def test_timm_is_imported_without_the_compiler_and_says_nothing() -> None:
    code = (
        "import sys\n"
        "from fmap_cli.models import load_model\n"
        "load_model('timm:resnet10t', 'random')\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "import torch.compiler, timm.models.naflexvit as n\n"
        "assert torch.compiler.disable.__module__ == 'torch.compiler'\n"
    )
    done = forked.run([sys.executable, "-c", code], text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_timm_marks_for_the_compiler_works_after_it_is_imported() -> None:
    code = (
        "from fmap_cli.frameworks import load_timm\n"
        "load_timm()\n"
        "from timm.layers import disable_compiler\n"
        "import timm.models.naflexvit as n, torch\n"
        "marked = n.NaFlexRopeIterator.__next__\n"
        "assert marked._torchdynamo_disable and marked.__name__ == '__next__'\n"
        "import torch._dynamo\n"
        "assert disable_compiler(lambda x: x + 1)(1) == 2\n"
    )
    assert forked.run([sys.executable, "-c", code]).returncode == 0


def test_without_timm_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "timm" else find(name, *rest))
    message = "timm is not installed: `pip install 'fmap-cli[timm]'` adds its models."
    with pytest.raises(ModelError) as caught:
        load_model("timm:resnet18")
    assert both_lines(caught.value) == message
    with pytest.raises(ModelError) as caught:
        catalog("timm:resnet18")
    assert both_lines(caught.value) == message
    with pytest.raises(ModelError, match="unknown model 'resnet18d'"):
        load_model("resnet18d")


def test_timms_log_does_not_reach_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    load_model("timm:resnet10t", "random")
    logging.getLogger("timm.models._builder").warning("not for the user")
    assert capsys.readouterr().err == ""


# --- Names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "weights", "message"),
    [
        (
            "timm:resnet1",
            None,
            "timm has no model 'resnet1'\nDid you mean timm:resnet18 or ",
        ),
        (
            "timm:",
            None,
            "timm has no model ''\n`fmap models 'timm:PATTERN'` lists timm's, say `fmap models 'timm:resnet*'`.",
        ),
        ("timm:resnet18.a1_in2k", None, "timm's resnet18 has no weights tagged 'a1_in2k'\nIt has a1_in1k"),
        (
            "timm:resnet18",
            "a1_in2k",
            "timm:resnet18 has no weights named 'a1_in2k', and there is no such file\nIt has a1_in1k, ",
        ),
        (
            "timm:botnet50ts_256",
            "imagenet",
            "timm:botnet50ts_256 has no weights named 'imagenet', and there is no such file\n"
            "timm has no weights for it; `--weights random` and `--weights FILE` work too.",
        ),
        (
            "timm:botnet50ts_256",
            None,
            "timm has no pretrained weights for botnet50ts_256\n`--weights random` and `--weights FILE` work.",
        ),
        ("resnet18d", None, "torchvision has no model 'resnet18d'\ntimm has: `--model timm:resnet18d`."),
        ("hf-hub:a/b", None, "hf-hub:a/b is timm's way to name a model\nWrite `--model timm:hf-hub:a/b`."),
        ("timm:hf-hub:a/b", "x.pth", "timm:hf-hub:a/b brings its own weights; 'x.pth' cannot take their place\n"),
        ("timm:local-dir:nowhere", None, "timm cannot load local-dir:nowhere: FileNotFoundError: "),
    ],
)
def test_what_timm_does_not_have(spec: str, weights: str | None, message: str) -> None:
    with pytest.raises(FmapError) as caught:
        load_model(spec, weights, say=SAY_NOTHING)
    assert both_lines(caught.value).startswith(message)
    assert len(both_lines(caught.value).splitlines()) <= 2


def test_the_catalog_lists_timms_names_after_the_prefix_alone() -> None:
    assert all(entry.source != "timm" for entry in catalog())
    names = [entry.name for entry in catalog("timm:resnet1?")]
    assert names == ["timm:resnet18"]
    assert len(catalog("timm:")) == len(timm.list_models())
    assert "timm:vit_tiny_patch16_224" in [entry.name for entry in catalog("timm:VIT_TINY")]
    with pytest.raises(ModelError, match="no model of timm's matches 'zzz'"):
        catalog("timm:zzz")


def test_an_entry_is_timms_metadata() -> None:
    (entry,) = catalog("timm:vit_small_patch16_dinov3")[:1]
    assert (entry.source, entry.task, entry.input_size) == ("timm", "features", (256, 256))
    assert entry.default_weights == entry.weights[0] == "lvd1689m"
    entry = next(entry for entry in catalog("timm:resnet18*") if entry.name == "timm:resnet18")
    assert (entry.name, entry.task, entry.parameters) == ("timm:resnet18", "classification", None)


# --- Weights -------------------------------------------------------------------------------------------


def test_random_weights_are_seeded() -> None:
    first, again, other = (load_model("timm:resnet10t", "random", seed=seed) for seed in (5, 5, 6))
    values = [model.module.state_dict()["fc.weight"] for model in (first, again, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert (str(first.weights), first.name) == ("random (seed 5)", "timm:resnet10t")
    assert not first.module.training


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_checkpoint_of_timms_loads(tmp_path: Path, suffix: str) -> None:
    state = {key: value.contiguous() for key, value in timm.create_model("resnet10t").state_dict().items()}
    file = tmp_path / f"model{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save({"state_dict": state}, file)
    model = load_model("timm:resnet10t", str(file), say=SAY_NOTHING)
    assert str(model.weights) == file.name
    assert torch.equal(model.module.state_dict()["fc.weight"], state["fc.weight"])
    assert model.labels is not None
    assert len(model.labels) == 1000


def test_a_checkpoint_of_other_classes_has_no_labels(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=7).state_dict(), tmp_path / "mine.pth")
    model = load_model("timm:vit_tiny_patch16_224", str(tmp_path / "mine.pth"), say=SAY_NOTHING)
    assert model.labels is None
    assert model.notes == ("classifier rebuilt for 7 classes, as in the checkpoint",)
    assert model.module(torch.zeros(1, 3, 224, 224)).shape == (1, 7)


def test_another_networks_checkpoint_does_not_fit(tmp_path: Path) -> None:
    torch.save(timm.create_model("regnetx_002").state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth holds the weights of another network than timm's resnet10t"):
        load_model("timm:resnet10t", str(tmp_path / "other.pth"))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No connection and an empty cache of the hub's, which is returned."""
    from huggingface_hub import constants

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(timm_hub, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("spec", ["timm:resnet18", "timm:resnet18.a2_in1k", "timm:hf-hub:timm/resnet18.a1_in1k"])
def test_without_a_network_two_lines_say_what_works(offline: Path, spec: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load_model(spec, say=SAY_NOTHING)
    first, second = both_lines(caught.value).splitlines()
    named = {"timm:resnet18": "resnet18.a1_in1k"}.get(spec, spec.removeprefix("timm:"))
    assert first == f"cannot download timm's {named} from huggingface.co: Name or service not known"
    assert second.startswith("What works without a download: `--weights random`, `--weights FILE` (.safetensors or ")


def test_weights_in_the_hubs_cache_need_no_network(offline: Path) -> None:
    state = {key: value.contiguous() for key, value in timm.create_model("resnet10t").state_dict().items()}
    home = offline / "models--timm--resnet10t.c3_in1k"
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    save_file(state, snapshot / "model.safetensors")
    model = load_model("timm:resnet10t", say=SAY_NOTHING)
    assert str(model.weights) == "c3_in1k"
    assert torch.equal(model.module.state_dict()["fc.weight"], state["fc.weight"])


# --- Preprocessing and labels --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.a1_in1k",  # crop_pct 0.95, bicubic
        "resnet18.tv_in1k",  # 0.875, bilinear
        "vit_tiny_patch16_224",  # 0.9, mean 0.5
        "dm_nfnet_f0",  # squashed to a square
        "tf_efficientnet_b0",
        "mixer_b16_224",
        "convnextv2_huge",  # squashed, crop_pct 1
        "vit_base_patch16_sapiens2",  # 1024 × 768
    ],
)
@pytest.mark.parametrize("sample", ["chelsea.png", "coffee.png"])
def test_the_network_sees_exactly_what_timms_own_transform_gives(name: str, sample: str) -> None:
    cfg = timm.get_pretrained_cfg(name)
    config = timm.data.resolve_data_config(pretrained_cfg=cfg.to_dict())
    path = Path(__file__).parents[2] / "sample_images" / sample
    theirs = timm.data.create_transform(**config, is_training=False)(Image.open(path).convert("RGB"))
    ours = load_image(str(path), timm_zoo.preprocessing_of(cfg)).tensor
    assert torch.equal(ours, theirs)


def test_the_one_crop_mode_that_differs_is_said() -> None:
    modes = {name: timm.get_pretrained_cfg(name).crop_mode for name in timm.list_models()}
    assert set(modes.values()) <= {"center", "squash", "border"}
    bordered = next(name for name, mode in modes.items() if mode == "border")
    which = timm_zoo._Architecture(f"timm:{bordered}", bordered, "", timm.get_pretrained_cfg(bordered))
    model = timm_zoo._loaded(which, torch.nn.Identity(), "random", InputOverrides())
    assert model.notes == ("timm pads the picture to a square here; fmap crops the square in the middle",)
    for name, mode in modes.items():
        height, width = timm.get_pretrained_cfg(name).input_size[1:]
        assert mode != "center" or height == width, name


def test_labels_are_torchvisions_for_imagenet_1k_and_timms_own_for_21k() -> None:
    labels = load_model("timm:resnet10t", "random").labels
    theirs = timm.data.ImageNetInfo().label_descriptions()
    assert labels is not None
    # Two pairs of classes share their first word; torchvision names them apart.
    assert sum(ours in words for ours, words in zip(labels, theirs, strict=True)) >= 998
    many = load_model("timm:mixer_b16_224.goog_in21k", "random").labels
    assert many is not None
    assert (len(many), len(set(many))) == (21843, len(set(many)))
    assert load_model("timm:vit_small_patch16_dinov3", "random").labels == ()


def test_a_network_without_classes_has_no_answers() -> None:
    session = open_session(ModelRequest("timm:vit_small_patch16_dinov3", "random", size=64), lambda sentence: None)
    image = read_image(session, str(sample_path()), lambda sentence: None)
    assert look(session, image, ["blocks.0"]).predictions == ()


def test_a_network_of_one_size_is_built_for_the_size_wished() -> None:
    model = load_model("timm:vit_tiny_patch16_224", "random", size=96)
    assert model.module(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)
    assert model.rebuild is not None
    assert model.rebuild(64)(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert load_model("timm:resnet10t", "random").rebuild is None
