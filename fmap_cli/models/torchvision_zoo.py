"""torchvision's models by name, with its pretrained weights, random ones, or a checkpoint's.

A pretrained network is built by torchvision itself (`builder(weights=entry)`), because the builders change more
than values for it: GoogLeNet's input transform, ViT's image size, the detectors' frozen BatchNorm.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import math
import re
import socket
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.foreign.raised import what
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models import building, checkpoint, tensor_files
from fmap_cli.models.names import unknown
from fmap_cli.models.preprocessing import Wishes, assumed
from fmap_cli.models.records import InputKind, LoadedModel, ModelEntry, Note, Preprocessing, Weights
from fmap_cli.models.sources import Asked

if TYPE_CHECKING:
    import torch

VIDEO_FRAMES = 16  # the clip length most of them were trained on; all of them run on it
FLOW_SHORTER_SIDE_PX = 256  # RAFT takes any size from 128 up; its time grows with the area squared
FLOW_MULTIPLE_PX = 8
DOWNLOAD_TIMEOUT_S = 20

_INSTEAD = (
    "What works without a download: `--weights random`, `--weights FILE`, "
    "or the model that comes with fmap, `--model efficientnet_lite0`."
)

# Networks whose weights belong to one input size, and the builder's keyword for it.
_SIZE_KEYWORDS = {"vit_": "image_size", "maxvit_": "input_size"}
# MViT's too, but its builders take no other: they pass on the keyword themselves.
_ONE_SIZE = {"mvit_": (224, 224)}


def names() -> list[str]:
    """All of `torchvision.models.list_models()`."""
    return list(_models().list_models())


def has(name: str) -> bool:
    return name in names()


def load(asked: Asked) -> LoadedModel:
    """The model of that name. Raises ModelError for a name that there is not: this source takes what no other does."""
    name, wishes = asked.spec, asked.wishes
    if not has(name):
        raise unknown(name)
    weights = asked.weights or "default"
    if weights.lower() == "random":
        return _load_random(name, asked.seed, wishes, asked.initialise)
    entry = _entry_named(name, weights)
    if entry is not None:
        _check_size(name, wishes, entry.meta.get("min_size", (1, 1)))
        return _load_pretrained(
            name, entry, _fetched(name, entry, asked.say), Weights("pretrained", entry.name), wishes
        )
    if not checkpoint.looks_like_a_file(weights):
        raise WeightsError(
            f"{name} has no weights named {weights!r}, and there is no such file",
            hint=f"It has {', '.join(each.name for each in _all_weights(name))}; "
            "`--weights random` and `--weights FILE` work too.",
        )
    entry = _entry_of_file(name, weights)
    if entry is not None:
        _check_size(name, wishes, entry.meta.get("min_size", (1, 1)))
        own = Weights("file", f"{Path(weights).name} ({entry.name})")
        return _load_pretrained(name, entry, Path(weights), own, wishes)
    return _load_file(name, weights, wishes)


def _models() -> Any:
    load_torchvision()
    import torchvision.models

    return torchvision.models


def _builder(name: str) -> Any:
    return _models().get_model_builder(name)


def _all_weights(name: str) -> Any:
    """The enumeration of the model's pretrained sets; each has `name`, `url`, `transforms()` and `meta`."""
    return _models().get_model_weights(name)


# --- Weights by name -----------------------------------------------------------------------------------


def _entry_named(name: str, weights: str) -> Any | None:
    """The pretrained set that `weights` names (in its own case first, then in any), None for anything else."""
    enum = _all_weights(name)
    # `ResNet50_Weights.IMAGENET1K_V2` is how torchvision's pages write it.
    bare = re.sub(rf"^{re.escape(enum.__name__)}\.", "", weights, flags=re.IGNORECASE)
    if bare.lower() == "default":
        return enum.DEFAULT
    by_name = {entry.name: entry for entry in enum}
    by_lower_name = {entry.name.lower(): entry for entry in enum}
    return by_name.get(bare) or by_lower_name.get(bare.lower())


def _entry_of_file(name: str, path: str) -> Any | None:
    """The pretrained set whose file this is by its name, say `resnet50-11ad3fa6.pth` fetched by hand."""
    for entry in _all_weights(name):
        if _file_name(entry) == Path(path).name:
            return entry
    return None


def _file_name(entry: Any) -> str:
    return str(entry.url).rpartition("/")[2]


def _fetched(name: str, entry: Any, say: Callable[[str], None]) -> Path:
    """The weights' file in torch's own cache, downloaded there where it is not there yet.

    Torch writes beside the file, checks the hash and renames: nothing half-written stays.
    """
    import torch.hub

    folder = Path(torch.hub.get_dir(), "checkpoints")
    file = folder / _file_name(entry)
    if file.exists():
        return file
    size = entry.meta.get("_file_size")
    say(f"Downloading {name}'s weights {entry.name}{f' ({size:.0f} MiB)' if size else ''} into {folder}")
    expected = torch.hub.HASH_REGEX.search(file.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(DOWNLOAD_TIMEOUT_S):
            torch.hub.download_url_to_file(entry.url, str(file), expected and expected.group(1), progress=True)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        raise WeightsError(f"cannot download {name}'s weights {entry.name}: {_reason(error)}", hint=_INSTEAD) from error
    return file


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{urlsplit(error.url).netloc} answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        inner = error.reason
        return str(getattr(inner, "strerror", None) or inner)
    if isinstance(error, OSError):
        return str(error.strerror or error or type(error).__name__)
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Torch opens the connection without a timeout: a silent network would hang for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# --- Three ways to load --------------------------------------------------------------------------------


def _load_pretrained(name: str, entry: Any, file: Path, weights: Weights, wishes: Wishes) -> LoadedModel:
    quantized = name.startswith("quantized_")
    state = tensor_files.load_tensors_only(file)
    arguments: dict[str, Any] = {"weights": entry, "progress": False}
    if quantized:
        arguments["quantize"] = True
    if "weights_backbone" in inspect.signature(_builder(name)).parameters:
        arguments["weights_backbone"] = None
    # Quantizing looks at the weights it starts from, so there they must be numbers.
    drawing = contextlib.nullcontext() if quantized else building.no_init()
    try:
        with building.quiet(), drawing, _answering(entry, state):
            module = _builder(name)(**arguments)
    except Exception as error:
        raise WeightsError(
            f"cannot build {name} with the weights in {file}: {what(error)}",
            hint="If the file is damaged, delete it: the next run downloads it afresh.",
        ) from error
    return _loaded(
        name,
        module,
        weights,
        entry,
        wishes.over(preprocessing_of(entry)),
        _labels(entry),
        checkpoint.finite_notes(module),
    )


@contextlib.contextmanager
def _answering(entry: Any, state: object) -> Iterator[None]:
    """The builder gets `state` where it asks `entry` for its state dict.

    So that it is read here: with `weights_only=True`, which torchvision does not ask for, and without the
    line that torch.hub prints to stdout.
    """
    entry.get_state_dict = lambda *args, **kwargs: state
    try:
        yield
    finally:
        del entry.get_state_dict


def _load_random(name: str, seed: int, wishes: Wishes, initialise: bool) -> LoadedModel:
    entry = _all_weights(name).DEFAULT
    with building.fresh(seed, initialise=initialise):
        if not initialise and _task(name) == "detection":
            module = _detector_unfilled(name, entry)
        else:
            module = _build(name, _structure(name, entry) | _sized(name, wishes.height_width))
    if not initialise:
        building.settle(module)
    notes: tuple[str, ...] = ()
    if name.startswith("quantized_") and not initialise:
        notes = (f"{name} is listed in float32; `--weights default` lists it quantized",)
    elif name.startswith(_WITH_HEADS_FOR_OBJECTS) and not initialise:
        said = f"what {name} computes grows with the number of objects it finds: listed is the computation for one"
        notes = (Note(said, "objects"),)
    elif name.startswith("quantized_"):
        notes = (f"{name} with random weights computes in float32: there is nothing to quantize yet",)
    weights = building.drawn(seed, initialise=initialise)
    preprocessing = wishes.over(assumed(preprocessing_of(entry)))
    return _loaded(name, module, weights, entry, preprocessing, _labels(entry), notes)


_WITH_HEADS_FOR_OBJECTS = ("maskrcnn_", "keypointrcnn_")


def _detector_unfilled(name: str, entry: Any) -> torch.nn.Module:
    """The network that torchvision builds for a pretrained set, without the set.

    Without weights its detectors are other networks: with BatchNorm that learns where the pretrained ones have it
    frozen. And where heads look at each object that was found, blank weights are to find one.
    """
    arguments: dict[str, Any] = {"weights_backbone": None, "progress": False}
    if name.startswith(_WITH_HEADS_FOR_OBJECTS):
        arguments |= {"box_score_thresh": 0.0, "box_detections_per_img": 1}
    with building.unfilled(), _answering(entry, {}):
        return _build(name, arguments, entry)


def _load_file(name: str, path: str, wishes: Wishes) -> LoadedModel:
    """A checkpoint of the user's own: fine-tuned, perhaps to other classes; the default set's preprocessing."""
    entry = _all_weights(name).DEFAULT
    classes = len(_labels(entry) or ())

    def build(tensors: Mapping[str, torch.Tensor], other_classes: int | None) -> torch.nn.Module:
        arguments = _structure(name, entry) | _structure_in(name, tensors)
        if other_classes is not None:
            arguments["num_classes"] = other_classes
        return _build(name, arguments)

    found = checkpoint.module_from_file(path, name, build, classes)
    labels = _labels(entry) if found.classes == classes else None
    notes = found.notes
    if name.startswith("quantized_"):
        notes += (f"{name} with a checkpoint's weights computes in float32",)
    side = getattr(found.module, "image_size", None)  # ViT's, which is in the file
    trained = (side, side) if isinstance(side, int) else entry.meta.get("min_size", (1, 1))
    _check_size(name, wishes, trained)
    preprocessing = _preprocessing_for(name, side) if isinstance(side, int) else preprocessing_of(entry)
    return _loaded(name, found.module, found.weights, entry, wishes.over(assumed(preprocessing)), labels, notes)


def _preprocessing_for(name: str, side: int) -> Preprocessing:
    """That of the pretrained set with images of `side`, the default set first; the default's resized if none has."""
    default = _all_weights(name).DEFAULT
    for entry in [default, *_all_weights(name)]:
        if preprocessing_of(entry).crop == (side, side):
            return preprocessing_of(entry)
    return Wishes(size=side).over(preprocessing_of(default))


def _build(name: str, arguments: dict[str, Any], weights: Any = None) -> torch.nn.Module:
    try:
        with building.quiet():
            module: torch.nn.Module = _builder(name)(weights=weights, **arguments)
    except Exception as error:
        raise ModelError(f"torchvision cannot build {name}: {what(error)}") from error
    return module


def _structure(name: str, entry: Any) -> dict[str, Any]:
    """What the builder needs to make, without weights, the network that it makes with them.

    So that layers, shapes and parameters are the same whichever weights are chosen.
    """
    arguments: dict[str, Any] = {}
    bare = name.removeprefix("quantized_")
    if bare in ("googlenet", "inception_v3"):
        # Their own initialisation is slow, and no better where BatchNorm follows.
        arguments |= {"transform_input": True, "init_weights": False, "aux_logits": name == "inception_v3"}
    elif name.startswith(_WITH_AUXILIARY_HEAD):
        arguments["aux_loss"] = True
    elif name.startswith("vit_"):
        arguments["image_size"] = entry.meta["min_size"][0]
    if "weights_backbone" in inspect.signature(_builder(name)).parameters:
        arguments["weights_backbone"] = None  # otherwise some builders download it unasked
    return arguments


def _googlenet_as_trained() -> torch.nn.Module:
    """GoogLeNet with its auxiliary heads: the pretrained set comes without them, so it is built without elsewhere."""
    with building.fresh(0, initialise=False):
        module = _build("googlenet", {"aux_logits": True, "init_weights": False})
    building.settle(module)
    return module


_WITH_AUXILIARY_HEAD = ("fcn_", "deeplabv3_")


def _structure_in(name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The arguments of a constructor that a checkpoint tells: auxiliary heads, and ViT's image size."""

    def has(part: str) -> bool:
        return any(key.startswith(part) or f".{part}" in key for key in tensors)

    bare = name.removeprefix("quantized_")
    if bare == "googlenet":
        return {"aux_logits": has("aux1.")}
    if bare == "inception_v3":
        return {"aux_logits": has("AuxLogits.")}
    if name.startswith(_WITH_AUXILIARY_HEAD):
        return {"aux_loss": has("aux_classifier.")}
    if name.startswith("vit_"):
        positions = next((value for key, value in tensors.items() if key.endswith("pos_embedding")), None)
        patches = next((value for key, value in tensors.items() if key.endswith("conv_proj.weight")), None)
        if positions is not None and patches is not None and positions.dim() == 3 and patches.dim() == 4:
            # One position a patch of a square image, and one for the class token.
            return {"image_size": math.isqrt(max(positions.shape[1] - 1, 0)) * patches.shape[-1]}
    return {}


def _sized(name: str, height_width: tuple[int, int] | None) -> dict[str, Any]:
    """The builder's argument for an input size, where the network is made for one size."""
    _check_only_size(name, height_width)
    keyword = _size_keyword(name)
    if keyword is None or height_width is None:
        return {}
    if keyword != "image_size":
        return {keyword: height_width}
    if height_width[0] != height_width[1]:
        raise ModelError(f"{name} takes square images alone, not {_by(height_width)}")
    return {keyword: height_width[0]}


def _rebuilder(name: str, entry: Any) -> Callable[[int], torch.nn.Module] | None:
    """What makes a network that is built for one input size anew for another; None for those that take any."""
    if _size_keyword(name) is None:
        return None

    def rebuild(side: int) -> torch.nn.Module:
        with building.no_init():
            return _build(name, _structure(name, entry) | _sized(name, (side, side))).eval()

    return rebuild


def _size_keyword(name: str) -> str | None:
    return next((keyword for start, keyword in _SIZE_KEYWORDS.items() if name.startswith(start)), None)


def _check_only_size(name: str, wished: tuple[int, int] | None) -> None:
    """Raises ModelError where a size is wished for a network that can be built for one size alone."""
    only = next((size for start, size in _ONE_SIZE.items() if name.startswith(start)), None)
    if only is not None and wished not in (None, only):
        raise ModelError(f"{name} takes {_by(only)} images alone, not {_by(wished)}", hint="Leave out `--size`.")


def _check_size(name: str, wishes: Wishes, trained: tuple[int, int]) -> None:
    """Raises ModelError where weights belong to one input size and another is wished."""
    wished = wishes.height_width
    _check_only_size(name, wished)
    if wished is not None and wished != tuple(trained) and _size_keyword(name) is not None:
        raise ModelError(
            f"{name} with these weights takes {_by(trained)} images alone, not {_by(wished)}",
            hint="Leave out `--size`; with `--weights random` the network is built for the size given.",
        )


def _by(height_width: tuple[int, int]) -> str:
    return f"{height_width[0]}×{height_width[1]}"


# --- By class ------------------------------------------------------------------------------------------

# Of each class in torchvision.models whose networks take anything but one picture at 224: a model made of it.
_OF_CLASSES = {
    "detection.generalized_rcnn.GeneralizedRCNN": "fasterrcnn_resnet50_fpn",
    "detection.retinanet.RetinaNet": "retinanet_resnet50_fpn",
    "detection.fcos.FCOS": "fcos_resnet50_fpn",
    "detection.ssd.SSD": "ssd300_vgg16",
    "segmentation._utils._SimpleSegmentationModel": "fcn_resnet50",
    "segmentation.lraspp.LRASPP": "lraspp_mobilenet_v3_large",
    "optical_flow.raft.RAFT": "raft_large",
    "video.resnet.VideoResNet": "r3d_18",
    "video.mvit.MViT": "mvit_v1_b",
    "video.swin_transformer.SwinTransformer3d": "swin3d_t",
    "video.s3d.S3D": "s3d",
}


def name_by_class(module: torch.nn.Module) -> str | None:
    """The model that a network of the user's own is fed like, by its class or one that it is a subclass of.

    One that only wraps such a network, which is all it has of parameters, is fed as that is.
    """
    for each in type(module).__mro__:
        name = _OF_CLASSES.get(f"{each.__module__}.{each.__qualname__}".removeprefix("torchvision.models."))
        if name is not None:
            return name
    learning = [child for child in module.children() if next(child.parameters(), None) is not None]
    wraps = len(learning) == 1 and next(module.parameters(recurse=False), None) is None
    return name_by_class(learning[0]) if wraps and type(module).__module__.partition(".")[0] != "torchvision" else None


def fed_by_class(name: str) -> tuple[Preprocessing, InputKind, int]:
    """How the model `name` is fed, for networks of its class: preprocessing, kind of input, frames."""
    entry = _all_weights(name).DEFAULT
    kind = _INPUT_KINDS.get(type(entry.transforms()).__name__, "image")
    return assumed(preprocessing_of(entry)), kind, VIDEO_FRAMES if kind == "video" else 1


# --- Metadata ------------------------------------------------------------------------------------------


def _loaded(
    name: str,
    module: torch.nn.Module,
    weights: Weights,
    entry: Any,
    preprocessing: Preprocessing,
    labels: tuple[str, ...] | None,
    notes: tuple[str, ...],
) -> LoadedModel:
    input_kind = _INPUT_KINDS.get(type(entry.transforms()).__name__, "image")
    return LoadedModel(
        module=module.eval(),
        name=name,
        weights=weights,
        preprocessing=preprocessing,
        labels=labels,
        input_kind=input_kind,
        frames=VIDEO_FRAMES if input_kind == "video" else 1,
        notes=notes,
        rebuild=_rebuilder(name, entry),
        as_trained=_googlenet_as_trained if name == "googlenet" else None,
    )


_INPUT_KINDS: dict[str, InputKind] = {
    "ObjectDetection": "images",
    "VideoClassification": "video",
    "OpticalFlow": "image_pair",
}


def preprocessing_of(entry: Any) -> Preprocessing:
    """The preset of a weights entry (`entry.transforms()`), as data."""
    preset = entry.transforms()
    kind = type(preset).__name__
    source = f"weights {entry.name}"
    if kind == "ObjectDetection":  # the network resizes and normalises by itself
        return Preprocessing(resize=None, crop=None, mean=(0.0,) * 3, std=(1.0,) * 3, source=source)
    if kind == "OpticalFlow":  # values to -1..1; the preset leaves the size to its user
        return Preprocessing(
            resize=FLOW_SHORTER_SIDE_PX,
            crop=None,
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            multiple_of=FLOW_MULTIPLE_PX,
            source=source,
        )
    crop = getattr(preset, "crop_size", None)
    return Preprocessing(
        resize=_resize(preset.resize_size),
        crop=(crop[0], crop[-1]) if crop else None,
        interpolation=preset.interpolation.value,
        antialias=bool(getattr(preset, "antialias", False)),  # the video preset does without
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        source=source,
    )


def _resize(resize_size: Sequence[int]) -> int | tuple[int, int]:
    # One number is the shorter side, two are height and width.
    return resize_size[0] if len(resize_size) == 1 else (resize_size[0], resize_size[1])


def _labels(entry: Any) -> tuple[str, ...] | None:
    return tuple(entry.meta.get("categories") or ()) or None


def entry(name: str) -> ModelEntry:
    """The line of `fmap models`."""
    enum = _all_weights(name)
    default = enum.DEFAULT
    multiply_adds = default.meta.get("_ops")  # in thousand millions
    return ModelEntry(
        name=name,
        source="torchvision",
        task=_task(name),
        weights=tuple(entry.name for entry in enum),
        default_weights=default.name,
        parameters=default.meta.get("num_params"),
        multiply_adds=None if multiply_adds is None else round(multiply_adds * 1e9),
        input_size=_input_size(preprocessing_of(default)),
        accuracy=_accuracy(default.meta),
    )


def _task(name: str) -> str:
    for room, task in _TASKS.items():
        if f".{room}." in f"{_builder(name).__module__}.":
            return task
    return "classification"


_TASKS = {
    "quantization": "quantized",
    "segmentation": "segmentation",
    "detection": "detection",
    "video": "video",
    "optical_flow": "optical flow",
}


def _input_size(own: Preprocessing) -> tuple[int, int] | None:
    """The size of what the network sees; None where that is up to the picture."""
    if own.crop is not None:
        return own.crop
    if own.multiple_of > 1 or own.resize is None:
        return None
    return (own.resize, own.resize) if isinstance(own.resize, int) else own.resize


def _accuracy(meta: Mapping[str, Any]) -> tuple[str, float] | None:
    """The first metric on the first data set: acc@1, box_map, miou or epe (less is better for the last)."""
    for metrics in meta.get("_metrics", {}).values():
        for metric, value in metrics.items():
            return (metric, float(value)) if math.isfinite(value) else None
    return None
