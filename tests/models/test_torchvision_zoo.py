"""torchvision's models with random weights, checkpoints, and pretrained sets that the tests plant in the cache."""

from __future__ import annotations

import hashlib
import io
import urllib.error
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from messages import both_lines
from torch import nn
from torchvision_oracle import weights_laid_out

from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.models import load_model
from fmap_cli.models.records import LoadedModel, Weights
from fmap_cli.models.torchvision_sets import preprocessing_of
from fmap_cli.models.torchvision_zoo import names

SAY_NOTHING = lambda sentence: pytest.fail(f"said {sentence!r}")  # noqa: E731


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def default_entry(name: str) -> Any:
    return torchvision.models.get_model_weights(name).DEFAULT


def plant(cache: Path, name: str, module: nn.Module) -> dict[str, Any]:
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), cache / default_entry(name).url.rpartition("/")[2])
    return dict(module.state_dict())


def run(model: LoadedModel, height: int = 64, width: int = 64) -> Any:
    image = torch.rand(3, height, width)
    with torch.inference_mode():
        if model.input_kind == "images":
            return model.module([image])
        if model.input_kind == "video":
            return model.module(image[None, :, None].expand(1, 3, model.frames, height, width))
        if model.input_kind == "image_pair":
            return model.module(image[None], image[None])
        return model.module(image[None])


# --- Random weights ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("random_weights_drawn_anew")
def test_the_same_seed_gives_the_same_weights() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (load_model("squeezenet1_1", "random", seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    values = [model.module.state_dict()["classifier.1.weight"] for model in (first, again, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert str(first.weights) == "random (seed 5)"


@pytest.mark.usefixtures("random_weights_drawn_anew")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "mnasnet0_5", "fcn_resnet50", "vit_b_32"])
def test_random_networks_are_those_of_the_pretrained_sets(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nor do the builders' warnings get out
        model = load_model(name, "random")
    assert sum(p.numel() for p in model.module.parameters()) == default_entry(name).meta["num_params"]
    assert not model.module.training
    assert model.notes == ()
    assert model.labels == tuple(default_entry(name).meta["categories"])


def test_nothing_is_downloaded_for_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("downloads"))
    load_model("fasterrcnn_mobilenet_v3_large_320_fpn", "random", say=SAY_NOTHING)
    load_model("lraspp_mobilenet_v3_large", "random", say=SAY_NOTHING)


def test_quantized_models_are_float_where_there_is_nothing_to_quantize() -> None:
    model = load_model("quantized_shufflenet_v2_x0_5", "random")
    assert model.notes == (
        "quantized_shufflenet_v2_x0_5 with random weights computes in float32: there is nothing to quantize yet",
    )
    assert run(model).shape == (1, 1000)


# --- Preprocessing -------------------------------------------------------------------------------------


def test_presets_become_data() -> None:
    found = load_model("efficientnet_b0", "random").preprocessing
    assert (found.resize, found.crop, found.interpolation, found.antialias) == (256, (224, 224), "bicubic", True)
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_sets_own_preset_is_taken() -> None:
    sets = torchvision.models.ResNet50_Weights
    assert preprocessing_of(sets.IMAGENET1K_V1).resize == 256
    assert preprocessing_of(sets.IMAGENET1K_V2).resize == 232


def test_segmentation_keeps_the_whole_picture() -> None:
    model = load_model("lraspp_mobilenet_v3_large", "random")
    assert (model.preprocessing.resize, model.preprocessing.crop) == (520, None)
    assert model.labels is not None
    assert model.labels[15] == "person"
    assert run(model)["out"].shape == (1, 21, 64, 64)


def test_detectors_normalise_by_themselves() -> None:
    model = load_model("ssdlite320_mobilenet_v3_large", "random")
    own = model.preprocessing
    assert (own.resize, own.crop, own.mean, own.std) == (None, None, (0, 0, 0), (1, 1, 1))
    assert model.input_kind == "images"
    assert set(run(model)[0]) == {"boxes", "scores", "labels"}


def test_video_models_take_clips() -> None:
    model = load_model("mc3_18", "random")
    assert (model.input_kind, model.frames) == ("video", 16)
    assert (model.preprocessing.resize, model.preprocessing.crop) == ((128, 171), (112, 112))
    assert not model.preprocessing.antialias
    assert run(model, 32, 32).shape == (1, 400)


def test_optical_flow_takes_two_pictures() -> None:
    model = load_model("raft_small", "random")
    assert model.input_kind == "image_pair"
    assert (model.preprocessing.resize, model.preprocessing.multiple_of) == (256, 8)
    assert (model.preprocessing.mean, model.preprocessing.std) == ((0.5,) * 3, (0.5,) * 3)
    assert run(model, 128, 136)[-1].shape == (1, 2, 128, 136)
    assert model.labels is None


def test_networks_made_for_one_size_are_built_for_the_size_wished() -> None:
    model = load_model("vit_b_32", "random", size=64)
    assert model.preprocessing.crop == (64, 64)
    assert run(model).shape == (1, 1000)


def test_weights_for_another_size_are_refused(cache: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model("vit_b_32", "default", size=64, say=SAY_NOTHING)
    assert both_lines(caught.value) == (
        "vit_b_32 with these weights takes 224×224 images alone, not 64×64\n"
        "Leave out `--size`; with `--weights random` the network is built for the size given."
    )


def test_what_torchvision_cannot_build_is_its_own_sentence() -> None:
    with pytest.raises(ModelError, match="torchvision cannot build vit_b_32: "):
        load_model("vit_b_32", "random", size=65)


# --- Pretrained ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights", [None, "default", "IMAGENET1K_V1", "imagenet1k_v1", "SqueezeNet1_1_Weights.DEFAULT"]
)
def test_a_set_in_the_cache_is_loaded_without_a_word(
    weights: str | None, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = plant(cache, "squeezenet1_1", torchvision.models.squeezenet1_1())
    model = load_model("squeezenet1_1", weights, say=SAY_NOTHING)
    assert str(model.weights) == "IMAGENET1K_V1"
    assert all(torch.equal(value, saved[key]) for key, value in model.module.state_dict().items())
    assert model.labels is not None
    assert model.labels[967] == "espresso"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["googlenet", "mnasnet0_5", "densenet121", "deeplabv3_mobilenet_v3_large"])
def test_pretrained_networks_are_built_as_torchvision_builds_them(name: str, cache: Path) -> None:
    structure = {"googlenet": {"init_weights": False}, "deeplabv3_mobilenet_v3_large": {"aux_loss": True}}
    with warnings.catch_warnings(), weights_laid_out():
        warnings.simplefilter("ignore")
        source = torchvision.models.get_model(
            name, weights=None, **structure.get(name, {}), **({"weights_backbone": None} if "lab" in name else {})
        )
    plant(cache, name, source)
    ours = load_model(name, say=SAY_NOTHING).module
    theirs = torchvision.models.get_model(
        name, weights="DEFAULT", **({"weights_backbone": None} if "lab" in name else {})
    ).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        first, second = ours(image), theirs(image)
    if isinstance(first, dict):
        first, second = first["out"], second["out"]
    assert torch.equal(first, second)


def test_quantized_sets_are_quantized(cache: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = torchvision.models.get_model("quantized_shufflenet_v2_x0_5", weights=None, quantize=True)
        except RuntimeError as error:  # this build of torch has no such backend
            pytest.skip(str(error))
    plant(cache, "quantized_shufflenet_v2_x0_5", source)
    model = load_model("quantized_shufflenet_v2_x0_5", say=SAY_NOTHING)
    assert "Quantized" in type(model.module.conv1[0]).__name__ or "quantized" in type(model.module.conv1[0]).__module__
    assert run(model).shape == (1, 1000)


def test_a_damaged_file_in_the_cache_is_said(cache: Path) -> None:
    plant(cache, "squeezenet1_1", torchvision.models.squeezenet1_0())
    with pytest.raises(WeightsError) as caught:
        load_model("squeezenet1_1", say=SAY_NOTHING)
    assert both_lines(caught.value).startswith("cannot build squeezenet1_1 with the weights in ")
    assert both_lines(caught.value).endswith("If the file is damaged, delete it: the next run downloads it afresh.")


def test_the_cache_is_read_without_running_code(cache: Path) -> None:
    cache.mkdir(parents=True)
    torch.save(nn.Linear(1, 1), cache / default_entry("squeezenet1_1").url.rpartition("/")[2])
    with pytest.raises(WeightsError, match="it would run code to load"):
        load_model("squeezenet1_1", say=SAY_NOTHING)


# --- Downloads -----------------------------------------------------------------------------------------

INSTEAD = (
    "What works without a download: `--weights random`, `--weights FILE`, "
    "or the model that comes with fmap, `--model efficientnet_lite0`."
)


class Answer(io.BytesIO):
    """What `urlopen` returns."""

    def info(self) -> Any:
        import email.message

        message = email.message.Message()
        message["Content-Length"] = str(len(self.getvalue()))
        return message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError(OSError(-2, "Name or service not known")), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (
            urllib.error.HTTPError("https://download.pytorch.org/x", 503, "Unavailable", None, None),  # type: ignore[arg-type]
            "download.pytorch.org answers 503 Unavailable",
        ),
    ],
)
def test_without_a_network_two_lines(
    error: Exception, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "urlopen", fails)
    said: list[str] = []
    with pytest.raises(WeightsError) as caught:
        load_model("resnet18", say=said.append)
    assert both_lines(caught.value) == f"cannot download resnet18's weights IMAGENET1K_V1: {reason}\n{INSTEAD}"
    assert said == [f"Downloading resnet18's weights IMAGENET1K_V1 (45 MiB) into {cache}"]
    assert list(cache.iterdir()) == []


def test_a_download_that_is_not_what_it_should_be(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "urlopen", lambda *args, **kwargs: Answer(b"<html>Please log in</html>"))
    with pytest.raises(WeightsError, match=r'IMAGENET1K_V1: invalid hash value .expected "f37072fd"') as caught:
        load_model("resnet18", say=lambda sentence: None)
    assert both_lines(caught.value).endswith(INSTEAD)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="cannot download resnet18's weights IMAGENET1K_V1: "):
        load_model("resnet18", say=lambda sentence: None)


def test_a_download_fills_the_cache_and_says_nothing_on_stdout(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    torch.save(torchvision.models.squeezenet1_1().state_dict(), buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:8]
    entry = default_entry("squeezenet1_1")
    monkeypatch.setattr(entry.value, "url", f"https://example.org/squeezenet1_1-{digest}.pth")
    monkeypatch.setattr(torch.hub, "urlopen", lambda *args, **kwargs: Answer(content))
    said: list[str] = []
    assert load_model("squeezenet1_1", say=said.append).weights == Weights("pretrained", "IMAGENET1K_V1")
    assert said == [f"Downloading squeezenet1_1's weights IMAGENET1K_V1 (5 MiB) into {cache}"]
    assert capsys.readouterr().out == ""
    assert [file.name for file in cache.iterdir()] == [f"squeezenet1_1-{digest}.pth"]


# --- Checkpoints ---------------------------------------------------------------------------------------


def saved_by(module: nn.Module, path: Path) -> str:
    torch.save(module.state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18", {}),
        ("squeezenet1_1", {}),
        ("mobilenet_v2", {}),
        ("mnasnet0_5", {}),
        ("googlenet", {"init_weights": False, "aux_logits": True}),
        ("googlenet", {"init_weights": False, "aux_logits": False}),
        ("inception_v3", {"init_weights": False, "aux_logits": False}),
        pytest.param("vit_b_32", {}, marks=pytest.mark.slow),  # by default one of another image size, below
        ("lraspp_mobilenet_v3_large", {"weights_backbone": None}),
        ("deeplabv3_mobilenet_v3_large", {"weights_backbone": None, "aux_loss": True}),
        ("deeplabv3_mobilenet_v3_large", {"weights_backbone": None, "aux_loss": False}),
        ("ssdlite320_mobilenet_v3_large", {"weights_backbone": None}),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", {"weights_backbone": None}),
        ("mc3_18", {}),
    ],
)
def test_a_fine_tuned_classifier_just_works(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    with warnings.catch_warnings(), weights_laid_out():
        warnings.simplefilter("ignore")
        source = torchvision.models.get_model(name, weights=None, num_classes=7, **arguments)
    model = load_model(name, saved_by(source, tmp_path / "mine.pth"), say=SAY_NOTHING)
    assert str(model.weights) == "mine.pth"
    assert model.labels is None
    assert model.notes == ("classifier rebuilt for 7 classes, as in the checkpoint",)
    saved = source.state_dict()
    assert saved.keys() == model.module.state_dict().keys()
    assert all(torch.equal(value, saved[key]) for key, value in model.module.state_dict().items())
    if model.input_kind == "images":
        run(model)


def test_a_checkpoint_of_the_default_classes_keeps_the_labels(tmp_path: Path) -> None:
    source = torchvision.models.squeezenet1_1()
    model = load_model("squeezenet1_1", saved_by(source, tmp_path / "mine.pth"))
    assert model.labels is not None
    assert model.notes == ()


def test_one_head_alone_fine_tuned(tmp_path: Path) -> None:
    source = torchvision.models.googlenet(init_weights=False)
    source.fc = nn.Linear(1024, 7)  # the auxiliary heads keep their thousand classes
    model = load_model("googlenet", saved_by(source, tmp_path / "mine.pth"))
    assert model.notes == ("fc rebuilt with 7 outputs, as in the checkpoint",)
    assert model.labels is None
    assert run(model).shape == (1, 7)


def test_a_vits_image_size_is_in_the_file(tmp_path: Path) -> None:
    with weights_laid_out():
        source = torchvision.models.vit_b_32(image_size=64, num_classes=7)
    model = load_model("vit_b_32", saved_by(source, tmp_path / "mine.pth"), say=SAY_NOTHING)
    assert model.notes[0] == "classifier rebuilt for 7 classes, as in the checkpoint"
    assert (model.preprocessing.resize, model.preprocessing.crop) == (64, (64, 64))
    assert run(model).shape == (1, 7)


def test_torchvisions_own_file_fetched_by_hand_is_known_by_its_name(tmp_path: Path) -> None:
    entry = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    with weights_laid_out():
        source = torchvision.models.resnet50()
    model = load_model("resnet50", saved_by(source, tmp_path / entry.url.rpartition("/")[2]), say=SAY_NOTHING)
    assert str(model.weights) == "resnet50-0676ba61.pth (IMAGENET1K_V1)"
    assert model.preprocessing.resize == 256  # the default set's is 232


def test_another_networks_checkpoint(tmp_path: Path) -> None:
    path = saved_by(nn.Sequential(nn.Linear(2, 2)), tmp_path / "mine.pth")
    with pytest.raises(WeightsError) as caught:
        load_model("resnet18", path)
    assert both_lines(caught.value) == (
        "mine.pth holds the weights of another network than resnet18: it has 0.weight, 0.bias; "
        "the model has conv1.weight, bn1.weight, bn1.bias and 119 more\n"
        "Name the network it was saved from with `--model`; your own is `path/to/file.py:factory`."
    )


# --- All of them ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_model_loads_and_runs_with_random_weights(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model(name, "random", say=SAY_NOTHING)
    own = model.preprocessing
    height, width = own.crop or ((own.resize, own.resize) if isinstance(own.resize, int) else (240, 320))
    run(model, height, width)


def test_mvit_takes_its_one_size_and_no_other() -> None:
    assert load_model("mvit_v1_b", "random", initialise=False, size=224).preprocessing.crop == (224, 224)
    with pytest.raises(ModelError, match="mvit_v1_b takes 224×224 images alone, not 192×192"):
        load_model("mvit_v1_b", "random", initialise=False, size=192)
