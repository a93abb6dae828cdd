"""torchvision's models by name, with its pretrained weights, random ones, or a checkpoint's.

A pretrained network is built by torchvision itself (`builder(weights=entry)`), because the builders change more
than values for it: GoogLeNet's input transform, ViT's image size, the detectors' frozen BatchNorm.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.foreign.raised import what
from fmap_cli.models import building
from fmap_cli.models.names import unknown
from fmap_cli.models.nearest import built_hint
from fmap_cli.models.preprocessing import InputOverrides, assumed
from fmap_cli.models.records import LoadedModel, ModelEntry, Note, Preprocessing, Weights
from fmap_cli.models.sources import Asked
from fmap_cli.models.torchvision_sets import (
    all_weights,
    builder,
    entry_named,
    entry_of_file,
    fed,
    fetched,
    labels_of,
    models,
    preprocessing_of,
)
from fmap_cli.models.values import value_notes

if TYPE_CHECKING:
    import torch


# Networks whose weights belong to one input size, and the builder's keyword for it.
_SIZE_KEYWORDS = {"vit_": "image_size", "maxvit_": "input_size"}
# MViT's too, but its builders take no other: they pass on the keyword themselves.
_ONE_SIZE = {"mvit_": (224, 224)}


def names() -> list[str]:
    """All of `torchvision.models.list_models()`."""
    return list(models().list_models())


def has(name: str) -> bool:
    return name in names()


def load(asked: Asked) -> LoadedModel:
    """The model of that name. Raises ModelError for a name that there is not: this source takes what no other does."""
    name, overrides = asked.spec, asked.overrides
    if not has(name):
        raise unknown(name)
    weights = asked.weights or "default"
    if weights.lower() == "random":
        return _load_random(name, asked.seed, overrides, asked.initialise)
    entry = entry_named(name, weights)
    if entry is not None:
        _check_size(name, overrides, entry.meta.get("min_size", (1, 1)))
        return _load_pretrained(
            name, entry, fetched(name, entry, asked.say), Weights("pretrained", entry.name), overrides
        )
    from fmap_cli.models import checkpoint  # takes as long to import as all of this: only where there is a file

    checkpoint.check_is_file(weights, name, f"It has {', '.join(each.name for each in all_weights(name))}")
    entry = entry_of_file(name, weights)
    if entry is not None:
        _check_size(name, overrides, entry.meta.get("min_size", (1, 1)))
        own = Weights("file", f"{Path(weights).name} ({entry.name})")
        return _load_pretrained(name, entry, Path(weights), own, overrides)
    return _load_file(name, weights, overrides)


# --- Three ways to load --------------------------------------------------------------------------------


def _load_pretrained(name: str, entry: Any, file: Path, weights: Weights, overrides: InputOverrides) -> LoadedModel:
    from fmap_cli.models import tensor_files

    quantized = name.startswith("quantized_")
    state = tensor_files.load_tensors_only(file)
    arguments: dict[str, Any] = {"weights": entry, "progress": False}
    if quantized:
        arguments["quantize"] = True
    if "weights_backbone" in inspect.signature(builder(name)).parameters:
        arguments["weights_backbone"] = None
    # Quantizing looks at the weights it starts from, so there they must be numbers.
    drawing = contextlib.nullcontext() if quantized else building.no_init()
    try:
        with building.quiet(), drawing, _answering(entry, state):
            module = builder(name)(**arguments)
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
        overrides.over(preprocessing_of(entry)),
        labels_of(entry),
        value_notes(module),
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


def _load_random(name: str, seed: int, overrides: InputOverrides, initialise: bool) -> LoadedModel:
    entry = all_weights(name).DEFAULT
    with building.fresh(seed, initialise=initialise):
        if not initialise and _task(name) == "detection":
            module = _detector_unfilled(name, entry)
        else:
            module = _build_sized(name, entry, overrides.height_width)
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
    preprocessing = overrides.over(assumed(preprocessing_of(entry)))
    return _loaded(name, module, weights, entry, preprocessing, labels_of(entry), notes)


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


def _load_file(name: str, path: str, overrides: InputOverrides) -> LoadedModel:
    """A checkpoint of the user's own: fine-tuned, perhaps to other classes; the default set's preprocessing."""
    from fmap_cli.models import checkpoint

    entry = all_weights(name).DEFAULT
    classes = len(labels_of(entry) or ())

    def build(tensors: Mapping[str, torch.Tensor], other_classes: int | None) -> torch.nn.Module:
        arguments = _structure(name, entry) | _structure_in(name, tensors)
        if other_classes is not None:
            arguments["num_classes"] = other_classes
        return _build(name, arguments)

    found = checkpoint.module_from_file(path, name, build, classes)
    labels = labels_of(entry) if found.classes == classes else None
    notes = found.notes
    if name.startswith("quantized_"):
        notes += (f"{name} with a checkpoint's weights computes in float32",)
    side = getattr(found.module, "image_size", None)  # ViT's, which is in the file
    trained = (side, side) if isinstance(side, int) else entry.meta.get("min_size", (1, 1))
    _check_size(name, overrides, trained)
    preprocessing = _preprocessing_for(name, side) if isinstance(side, int) else preprocessing_of(entry)
    return _loaded(name, found.module, found.weights, entry, overrides.over(assumed(preprocessing)), labels, notes)


def _preprocessing_for(name: str, side: int) -> Preprocessing:
    """That of the pretrained set with images of `side`, the default set first; the default's resized if none has."""
    default = all_weights(name).DEFAULT
    for entry in [default, *all_weights(name)]:
        if preprocessing_of(entry).crop == (side, side):
            return preprocessing_of(entry)
    return InputOverrides(size=side).over(preprocessing_of(default))


def _build(name: str, arguments: dict[str, Any], weights: Any = None) -> torch.nn.Module:
    try:
        with building.quiet():
            module: torch.nn.Module = builder(name)(weights=weights, **arguments)
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
    if "weights_backbone" in inspect.signature(builder(name)).parameters:
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


def _build_sized(name: str, entry: Any, size: tuple[int, int] | None) -> torch.nn.Module:
    """The network for an input size; one that can be built for some sizes alone says which are near."""
    try:
        return _build(name, _structure(name, entry) | _sized(name, size))
    except ModelError as error:
        if size is None or error.hint is not None or _size_keyword(name) is None:
            raise
        hint = built_hint(lambda other: _build(name, _structure(name, entry) | _sized(name, other)), size)
        raise ModelError(f"{error.message} (for {_by(size)})", hint=hint) from error


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


def _check_only_size(name: str, asked_size: tuple[int, int] | None) -> None:
    """Raises ModelError where a size is asked of a network that can be built for one size alone."""
    only = next((size for start, size in _ONE_SIZE.items() if name.startswith(start)), None)
    if only is not None and asked_size not in (None, only):
        raise ModelError(f"{name} takes {_by(only)} images alone, not {_by(asked_size)}", hint="Leave out `--size`.")


def _check_size(name: str, overrides: InputOverrides, trained: tuple[int, int]) -> None:
    """Raises ModelError where weights belong to one input size and another is asked for."""
    asked_size = overrides.height_width
    _check_only_size(name, asked_size)
    if asked_size is not None and asked_size != tuple(trained) and _size_keyword(name) is not None:
        raise ModelError(
            f"{name} with these weights takes {_by(trained)} images alone, not {_by(asked_size)}",
            hint="Leave out `--size`; with `--weights random` the network is built for the size given.",
        )


def _by(height_width: tuple[int, int]) -> str:
    return f"{height_width[0]}×{height_width[1]}"


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
    input_kind, frames = fed(entry)
    return LoadedModel(
        module=module.eval(),
        name=name,
        weights=weights,
        preprocessing=preprocessing,
        labels=labels,
        input_kind=input_kind,
        frames=frames,
        notes=notes,
        rebuild=_rebuilder(name, entry),
        as_trained=_googlenet_as_trained if name == "googlenet" else None,
    )


def entry(name: str) -> ModelEntry:
    """The line of `fmap models`."""
    enum = all_weights(name)
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
        if f".{room}." in f"{builder(name).__module__}.":
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
