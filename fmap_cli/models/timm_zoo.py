"""timm's models, `timm:NAME` or `timm:NAME.tag`, with timm's pretrained weights, random ones, or a checkpoint's.

timm is optional: `pip install 'fmap-cli[timm]'`. The preprocessing is that of timm's own transform for evaluation.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib.util
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.foreign.raised import what
from fmap_cli.frameworks import load_timm
from fmap_cli.models import building, checkpoint
from fmap_cli.models.embedded import imagenet_labels
from fmap_cli.models.names import near
from fmap_cli.models.preprocessing import InputOverrides, assumed
from fmap_cli.models.records import LoadedModel, ModelEntry, Preprocessing, Weights
from fmap_cli.models.sources import Asked
from fmap_cli.models.timm_hub import host_of, hub_quiet, is_cached, unreachable

if TYPE_CHECKING:
    import torch

PREFIX = "timm:"

# timm reads these from a hub or a folder before it knows which network they are.
_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:")

_INSTEAD = (
    "What works without a download: `--weights random`, `--weights FILE` (.safetensors or .pth, fetched elsewhere), "
    "or the model that comes with fmap, `--model efficientnet_lite0`."
)


@dataclass(frozen=True, slots=True)
class _Architecture:
    """A network of timm's and the entry (`cfg`) of the pretrained set it is built for, with or without the weights."""

    spec: str
    name: str
    tag: str
    cfg: Any

    @property
    def one_size(self) -> bool:
        """Whether it is built for one input size."""
        return bool(self.cfg.fixed_input_size)


def is_installed() -> bool:
    """Whether timm is there; imports nothing."""
    return importlib.util.find_spec("timm") is not None


def has(name: str) -> bool:
    """Whether timm knows a model of this name, with or without a tag."""
    return is_installed() and bool(_timm().is_model(name.partition(".")[0]))


def names() -> list[str]:
    """Without tags, in timm's order."""
    return list(_timm().list_models())


def load(asked: Asked) -> LoadedModel:
    """The model of `timm:NAME`."""
    spec, seed, overrides, say, initialise = asked.spec, asked.seed, asked.overrides, asked.say, asked.initialise
    if not spec.startswith(PREFIX):
        raise ModelError(f"{spec} is timm's way to name a model", hint=f"Write `--model timm:{spec}`.")
    name = spec.removeprefix(PREFIX)
    weights = asked.weights or "default"
    if name.startswith(_SOURCES):
        return _load_from_source(spec, name, weights, seed, overrides, say)
    which = _architecture(spec, name)
    if weights.lower() == "random":
        with building.fresh(seed, initialise=initialise):
            module = _build(which, **_sized(which, overrides))
        if not initialise:
            building.settle(module)
        return _loaded(which, module, building.drawn(seed, initialise=initialise), overrides, own_weights=False)
    tag = _tag_named(which, weights)
    if tag is not None:
        return _load_pretrained(_architecture(spec, f"{which.name}.{tag}" if tag else which.name), overrides, say)
    tags = _tags(which.name)
    checkpoint.check_is_file(weights, spec, f"It has {_listed(tags)}" if tags else "timm has no weights for it")
    return _load_file(which, weights, overrides)


# --- timm itself ---------------------------------------------------------------------------------------


def _timm() -> Any:
    if not is_installed():
        raise ModelError("timm is not installed: `pip install 'fmap-cli[timm]'` adds its models.")
    # Its warnings go to loggers without handlers, which Python prints to stderr; one that does nothing takes them.
    logger = logging.getLogger("timm")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    try:
        with building.quiet():
            return load_timm()
    except ImportError as error:
        raise ModelError(
            f"timm is installed but cannot be imported: {what(error)}",
            hint="Reinstall it: `pip install --upgrade 'fmap-cli[timm]'`.",
        ) from error


def _architecture(spec: str, asked: str) -> _Architecture:
    """The architecture and the tag that `NAME` or `NAME.tag` means; without one, timm's default."""
    timm = _timm()
    name, _, tag = asked.partition(".")
    if not name or not timm.is_model(name):
        raise ModelError(f"timm has no model {asked!r}", hint=near(name, PREFIX))
    cfgs = timm.models.get_arch_pretrained_cfgs(name)
    if tag and asked not in cfgs:
        tags = _tags(name)
        like_it = difflib.get_close_matches(tag, tags, n=3, cutoff=0.5) or tags
        raise ModelError(
            f"timm's {name} has no weights tagged {tag!r}",
            hint=f"It has {_listed(like_it)}." if tags else f"timm has no weights for it: `--model {PREFIX}{name}`.",
        )
    cfg = cfgs.get(asked) or timm.get_pretrained_cfg(name)
    if cfg is None:
        return _Architecture(spec, name, "", _usual())
    return _Architecture(spec, name, tag or cfg.tag or "", cfg)


def _usual() -> Any:
    """timm's values for a network it has no entry for."""
    return _timm().models.PretrainedCfg()


def _tags(name: str) -> list[str]:
    """The tags of a model's pretrained sets, the default one first; a set without a tag is named ``."""
    timm = _timm()
    cfgs = timm.models.get_arch_pretrained_cfgs(name)
    weighted = [full.partition(".")[2] for full, cfg in cfgs.items() if cfg.has_weights]
    default = timm.get_pretrained_cfg(name)
    first = default.tag or "" if default is not None else ""
    return sorted(weighted, key=lambda tag: tag != first)  # stable: the rest in timm's order


def _tag_named(which: _Architecture, weights: str) -> str | None:
    """The tag that `weights` means; None where it names no pretrained set."""
    if weights.lower() == "default":
        return which.tag
    bare = weights.removeprefix(f"{which.name}.")
    return bare if bare in _tags(which.name) else None


def _listed(items: list[str]) -> str:
    named = [item or "default" for item in items]
    return ", ".join(named[:6]) + (f" and {len(named) - 6} more" if len(named) > 6 else "")


# --- Building ------------------------------------------------------------------------------------------


def _build(which: _Architecture, **arguments: Any) -> torch.nn.Module:
    """The network with fresh weights; which entry it is for decides its classes and its head."""
    full = f"{which.name}.{which.tag}" if which.tag else which.name
    try:
        with building.quiet():
            module: torch.nn.Module = _timm().create_model(full, pretrained=False, **arguments)
    except Exception as error:
        raise ModelError(f"timm cannot build {full}: {what(error)}") from error
    return module


def _sized(which: _Architecture, overrides: InputOverrides) -> dict[str, Any]:
    """The builder's argument for an input size, where the network is made for one size."""
    asked_size = overrides.height_width
    if asked_size is None or not which.one_size or asked_size == tuple(which.cfg.input_size[1:]):
        return {}
    return {"img_size": asked_size}


def _rebuilder(which: _Architecture) -> Callable[[int], torch.nn.Module] | None:
    """What makes a network that is built for one input size anew for another; None for those that take any."""
    if not which.one_size:
        return None

    def rebuild(side: int) -> torch.nn.Module:
        with building.no_init():
            return _build(which, img_size=side).eval()

    return rebuild


# --- Weights -------------------------------------------------------------------------------------------


def _load_pretrained(which: _Architecture, overrides: InputOverrides, say: Callable[[str], None]) -> LoadedModel:
    if not which.cfg.has_weights:
        raise WeightsError(
            f"timm has no pretrained weights for {which.name}",
            hint="`--weights random` and `--weights FILE` work.",
        )
    arguments = _sized(which, overrides)
    module = _with_timms_weights(f"{which.name}.{which.tag}" if which.tag else which.name, which.cfg, arguments, say)
    notes: tuple[str, ...] = ()
    if arguments:
        trained, asked_size = which.cfg.input_size[1:], arguments["img_size"]
        notes = (f"built for {_by(asked_size)}: timm resampled positions that were trained at {_by(trained)}",)
    return _loaded(which, module, Weights("pretrained", which.tag or "timm's default"), overrides, notes)


def _load_from_source(
    spec: str, asked: str, weights: str, seed: int, overrides: InputOverrides, say: Callable[[str], None]
) -> LoadedModel:
    """`hf-hub:owner/name` or `local-dir:path`: a configuration says which network it is, as timm has it."""
    known = weights.lower()
    if known not in ("default", "random"):
        raise WeightsError(
            f"{spec} brings its own weights; {weights!r} cannot take their place",
            hint="Name the network itself, `--model timm:NAME --weights FILE`, or use `--weights random`.",
        )
    with building.seeded(seed):
        module = _with_timms_weights(asked, None, {"pretrained": known == "default"}, say)
    found: Mapping[str, Any] = getattr(module, "pretrained_cfg", {})
    cfg = _timm().models.PretrainedCfg(**{**found, "custom_load": False, "state_dict": None})
    which = _Architecture(spec, str(found.get("architecture", asked)), "", cfg)
    values = Weights("pretrained", asked) if known == "default" else Weights("random", seed=seed)
    return _loaded(which, module, values, overrides, own_weights=known == "default")


def _with_timms_weights(
    name: str, cfg: Any | None, arguments: Mapping[str, Any], say: Callable[[str], None]
) -> torch.nn.Module:
    """The network as timm makes it with its own weights, fetched where they are not in the cache yet."""
    timm = _timm()
    host = host_of(name, cfg)
    if host is not None and not is_cached(name, cfg):
        reason = unreachable(host)
        if reason is not None:
            raise WeightsError(f"cannot download timm's {name} from {host}: {reason}", hint=_INSTEAD)
        say(f"Downloading timm's {name} from {host}, once")
        host_answers = True
    else:
        host_answers = host is not None and unreachable(host) is None
    try:
        with building.quiet(), hub_quiet(offline=not host_answers):
            module: torch.nn.Module = timm.create_model(name, **{"pretrained": True, **arguments})
    except Exception as error:
        if host is None:
            raise ModelError(f"timm cannot load {name}: {what(error)}") from error
        raise WeightsError(f"timm cannot load its weights {name}: {what(error)}", hint=_INSTEAD) from error
    return module


def _load_file(which: _Architecture, path: str, overrides: InputOverrides) -> LoadedModel:
    """A checkpoint with timm's names; the preprocessing is that of the tag named, or of timm's default."""
    classes = int(which.cfg.num_classes or 0)

    def build(tensors: Mapping[str, torch.Tensor], other_classes: int | None) -> torch.nn.Module:
        arguments = _sized(which, overrides)
        if other_classes is not None:
            arguments["num_classes"] = other_classes
        return _build(which, **arguments)

    found = checkpoint.module_from_file(path, f"timm's {which.name}", build, classes)
    return _loaded(
        which, found.module, found.weights, overrides, found.notes, found.classes != classes, own_weights=False
    )


# --- Metadata ------------------------------------------------------------------------------------------


def _loaded(
    which: _Architecture,
    module: torch.nn.Module,
    weights: Weights,
    overrides: InputOverrides,
    notes: tuple[str, ...] = (),
    other_classes: bool = False,
    *,
    own_weights: bool = True,
) -> LoadedModel:
    if which.cfg.crop_mode == "border" and overrides.size is None:
        notes += ("timm pads the picture to a square here; fmap crops the square in the middle",)
    preprocessing = preprocessing_of(which.cfg)
    return LoadedModel(
        module=module.eval(),
        name=which.spec,
        weights=weights,
        preprocessing=overrides.over(preprocessing if own_weights else assumed(preprocessing)),
        labels=None if other_classes else _labels(which.cfg),
        notes=notes,
        rebuild=_rebuilder(which),
    )


def preprocessing_of(cfg: Any) -> Preprocessing:
    """What `timm.data.create_transform(**resolve_model_data_config(model))` does to a picture, as data."""
    config = _timm().data.resolve_data_config(pretrained_cfg=cfg.to_dict())
    channels, height, width = config["input_size"]
    larger = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    # `squash` gives up the aspect ratio; `center` resizes the shorter side (all of timm's `center` are squares).
    shorter = config["crop_mode"] != "squash" and height == width
    return Preprocessing(
        resize=larger[0] if shorter else (larger[0], larger[1]),
        crop=(height, width),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        channels=channels,
        source=f"timm's configuration {cfg.tag}".rstrip() if cfg.tag else "timm's configuration",
    )


def _labels(cfg: Any) -> tuple[str, ...] | None:
    """The classes in order; empty where the answer is not a list of known classes: features, CLIP's embedding."""
    count = int(cfg.num_classes or 0)
    names = tuple(cfg.label_names or ())
    if names and len(names) == count:
        described = cfg.label_descriptions or {}
        return tuple(str(described.get(name, name)) for name in names)
    if count == 1000:
        return imagenet_labels()  # torchvision's list; timm's is the same one in more words
    with contextlib.suppress(AssertionError, KeyError, OSError):  # a set of classes that timm keeps no names of
        return _imagenet_subset(count)
    return ()


@functools.cache
def _imagenet_subset(count: int) -> tuple[str, ...]:
    """ImageNet-21k and its kin: the first word for each class, all its words where the first serves several."""
    data = _timm().data
    subset = data.infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return ()
    words = data.ImageNetInfo(subset).label_descriptions()
    first = [each.partition(",")[0] for each in words]
    uses = Counter(first)
    return tuple(short if uses[short] == 1 else whole for short, whole in zip(first, words, strict=True))


def entry(name: str) -> ModelEntry:
    """The line of `fmap models`."""
    cfg = _timm().get_pretrained_cfg(name) or _usual()
    tags = _tags(name)
    return ModelEntry(
        name=PREFIX + name,
        source="timm",
        task="classification" if _labels_kind(cfg) else "features",
        weights=tuple(tag or "default" for tag in tags),
        default_weights=(tags[0] or "default") if tags else None,
        parameters=None,
        multiply_adds=None,
        input_size=(cfg.input_size[1], cfg.input_size[2]),
        accuracy=None,
    )


def _labels_kind(cfg: Any) -> bool:
    """Whether its answer is a list of classes that timm knows."""
    return bool(_timm().data.infer_imagenet_subset({"num_classes": cfg.num_classes}))


def _by(height_width: tuple[int, int]) -> str:
    return f"{height_width[0]}×{height_width[1]}"
