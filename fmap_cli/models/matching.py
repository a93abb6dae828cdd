"""Which of a file's tensors are a network's weights, and under what names the file has them.

Training scripts put things around a state dict: keys of their own beside it (`{"model": …, "epoch": 3}`), names before
every key (`net.`, `module.`), names in the middle of keys (`encoder._orig_mod.conv`), tensors of the loss or of a
counter beside the weights, an average of the weights under another name. What is taken off is accepted only where
every key of the network is then there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

COUNTER = "num_batches_tracked"
"""The last name of BatchNorm's counter, which is not used in eval mode: it may be missing."""

KNOWN_NAMES = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "params",
    "weights",
)
"""Where training scripts put the weights, in the order of preference."""
_AVERAGE = re.compile(r"(?:^|[._])(?:ema|average|averaged|avg|swa|shadow|momentum)(?:$|[._])|n_averaged", re.IGNORECASE)
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
"""What DataParallel, torch.compile, FSDP, checkpoint wrappers and Fabric put into the path of what they wrap."""
_COUNTERS = {COUNTER, "n_averaged"}  # BatchNorm's and AveragedModel's
_BESIDE_WEIGHTS = {"total_ops", "total_params"}  # thop's, in every module
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class StateDict:
    """Tensors by key as a file holds them, at the place `trail`; `metadata` are the modules' versions by their path.

    `others` are entries beside the tensors that are none, as `epoch (int)`. `is_joined` says that the file has a state
    dict for each part of a network, and these are all of them.
    """

    trail: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    is_joined: bool = False

    @property
    def place(self) -> str:
        return ".".join(self.trail)


@dataclass(frozen=True, slots=True)
class Fit:
    """A state dict under the network's names: `names` maps those of the network to those of the file.

    `key` is the place in the file, with the prefix that was taken off; `inner` a name taken out of the middle of keys.
    `left` are the file's keys that are no part of the network, `clashing` those that lie where the network's own are:
    they say that the file is of another network. `whole` says that no key of the network is missing.
    """

    state: StateDict
    names: Mapping[str, str]
    prefix: str = ""
    inner: str | None = None
    whole: bool = True
    left: tuple[str, ...] = ()
    clashing: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return ".".join([*self.state.trail, *filter(None, [without_wrappers(self.prefix.strip("."))])])

    @property
    def is_average(self) -> bool:
        return is_average(self.key)

    @property
    def is_known(self) -> bool:
        """Whether it stands at the file's top or under names that mean the weights."""
        return all(name in KNOWN_NAMES or name in _WRAPPERS for name in self.key.split(".") if name)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors under the network's names, and the clashing ones under theirs."""
        return {name: self.state.tensors[key] for name, key in {**self.clashing, **self.names}.items()}

    def metadata(self) -> dict[str, Any]:
        """The modules' versions under the network's paths."""
        found = {}
        for name, key in self.names.items():
            path, place = name.split("."), key.split(".")
            while path and place and path[-1] == place[-1]:  # up from the tensor to the network itself
                path, place = path[:-1], place[:-1]
                if ".".join(place) in self.state.metadata:
                    found[".".join(path)] = self.state.metadata[".".join(place)]
        return found


def is_average(key: str) -> bool:
    """Whether a name says that what is under it is an average over the training.

    >>> [is_average(key) for key in ("params_ema", "state_dict.model_ema", "ema_", "schema", "teacher")]
    [True, True, True, False, False]
    """
    return _AVERAGE.search(key) is not None


# -- what a file holds -------------------------------------------------------------------------------------------


def state_dicts(content: Mapping[Any, Any], trail: tuple[str, ...] = ()) -> list[StateDict]:
    """Every place in what was saved that has tensors by name, those that are likely the weights first."""
    found = list(_found(content, trail))
    depth = len(trail)

    def rank(each: StateDict) -> tuple[bool, bool, int]:
        first = each.trail[depth] if len(each.trail) > depth else "state_dict"
        known = KNOWN_NAMES.index(first) if first in KNOWN_NAMES else len(KNOWN_NAMES)
        return each.is_joined, is_average(".".join(each.trail[depth:])), known

    return sorted(found, key=rank)


def as_mapping(value: object) -> object:
    """A list or tuple that holds mappings, `(model.state_dict(), optimizer.state_dict())`, by number; else the value.

    >>> as_mapping([{"w": 1}, 3]), as_mapping([1])
    ({'0': {'w': 1}, '1': 3}, [1])
    """
    if isinstance(value, (list, tuple)) and any(isinstance(each, Mapping) for each in value):
        return {str(at): each for at, each in enumerate(value)}
    return value


def _found(content: Mapping[Any, Any], trail: tuple[str, ...]) -> Iterator[StateDict]:
    import torch

    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    inside = {
        key: mapping
        for key, value in content.items()
        if isinstance(key, str) and not key.startswith("optim") and isinstance(mapping := as_mapping(value), Mapping)
    }
    if tensors:
        metadata = getattr(content, "_metadata", None)
        others = tuple(
            f"{key} ({type(value).__name__})"
            for key, value in content.items()
            if key not in tensors and key not in inside
        )
        yield StateDict(trail, tensors, metadata if isinstance(metadata, Mapping) else {}, others)
    if len(trail) >= _DEEPEST:
        return
    parts = {key: list(_found(value, (*trail, key))) for key, value in inside.items()}
    for each in parts.values():
        yield from each
    if len(parts) > 1:
        joined = {
            ".".join([*each.trail[len(trail) :], key]): value
            for found in parts.values()
            for each in found
            for key, value in each.tensors.items()
        }
        if joined:
            yield StateDict(trail, joined, is_joined=True)  # {"encoder": {…}, "decoder": {…}}


def under(content: Mapping[Any, Any], key: str) -> list[StateDict]:
    """The state dicts at the place that `key` names: keys of dicts, and a prefix of tensors' names; none where there is
    no such place.

    >>> import torch
    >>> saved = {"model": {"student.w": torch.zeros(1), "teacher.w": torch.ones(1)}}
    >>> [(each.place, list(each.tensors)) for each in under(saved, "model.student")]
    [('model.student', ['w'])]
    """
    return _under(content, key, ())


def _under(content: Mapping[Any, Any], key: str, trail: tuple[str, ...]) -> list[StateDict]:
    for name, held in content.items():
        value = as_mapping(held)
        if not isinstance(name, str) or not isinstance(value, Mapping):
            continue
        if name == key:
            return state_dicts(value, (*trail, name))
        if key.startswith(f"{name}."):
            found = _under(value, key[len(name) + 1 :], (*trail, name))
            if found:
                return found
    start = key if key.endswith("_") else f"{key}."
    for form in (str, without_wrappers):
        for each in state_dicts(content, trail):
            kept = {
                form(name)[len(start) :]: value for name, value in each.tensors.items() if form(name).startswith(start)
            }
            if kept and each.trail == trail:
                versions = {
                    name[len(start) :]: value
                    for name, value in each.metadata.items()
                    if form is str and f"{name}.".startswith(start)
                }
                return [StateDict((*trail, key), kept, versions)]
    return []


# -- under what names --------------------------------------------------------------------------------------------


def without_wrappers(key: str) -> str:
    """The key without what wrappers have put into its path.

    >>> without_wrappers("module.encoder._orig_mod.conv.weight")
    'encoder.conv.weight'
    """
    return ".".join(name for name in key.split(".") if name not in _WRAPPERS)


_FORMS: tuple[tuple[Callable[[str], str], bool], ...] = (
    (str, True),
    (without_wrappers, True),
    (lambda key: key.replace(".", ""), False),  # averages kept as buffers, whose names take no dots
    (lambda key: key.replace(".", "_"), False),
)
"""What makes two keys one, from the strictest; and whether dots still separate names."""


def fits(state: StateDict, own: Iterable[str]) -> list[Fit]:
    """Every way to find all of the network's keys in the state dict, by the strictest method that finds one.

    In turn: the keys as they are; behind one name or several (`net.`); without what wrappers put into paths, in the
    file or in the network; with the dots taken out of names; behind one name in the network; with one more name
    somewhere in the middle of the file's keys.
    """
    own = list(own)
    needed = [key for key in own if not _is_counter(key)]
    if not needed:
        return [_fit(state, own, {key: key for key in own if key in state.tensors}, "")]
    for form, dotted in _FORMS:
        found = _behind_prefixes(state, own, needed, form, dotted)
        if found:
            return found
    common = _common_prefix(needed)
    if common:
        found = _behind_prefixes(state, own, needed, lambda key: without_wrappers(key).removeprefix(common), True)
        if found:
            return found
    return _with_a_name_inside(state, own, needed)


def nearest_fit(state: StateDict, own: Iterable[str]) -> Fit:
    """The state dict with that prefix off that leaves most keys in common with the network: for saying what differs."""
    own = list(own)
    prefix = _likeliest_prefix(state.tensors, own)
    names = {key: prefix + key for key in own if prefix + key in state.tensors}
    used = set(names.values())
    rest = {key.removeprefix(prefix): key for key in state.tensors if key not in used and not _is_counter(key)}
    return Fit(state, names, prefix, whole=False, clashing=rest)


def _likeliest_prefix(keys: Iterable[str], own: Iterable[str]) -> str:
    """What, taken off the keys, leaves most of the network's, the shortest of several; nothing, where that is few."""
    known = set(own)
    count = Counter(key[: len(key) - len(rest)] for key in keys for rest in _endings(key) if rest in known)
    likeliest = max(count, key=lambda each: (count[each], -len(each)), default="")
    return likeliest if 2 * count[likeliest] >= len(known) else ""


def _endings(key: str) -> list[str]:
    """
    >>> _endings("net.conv.weight")
    ['net.conv.weight', 'conv.weight', 'weight']
    """
    names = key.split(".")
    return [".".join(names[at:]) for at in range(len(names))]


def _behind_prefixes(
    state: StateDict, own: Sequence[str], needed: Sequence[str], form: Callable[[str], str], dotted: bool
) -> list[Fit]:
    formed = {form(key): key for key in state.tensors}
    table = {form(key): key for key in own}
    if len(formed) < len(state.tensors) or len(table) < len(own):
        return []  # two keys would become one
    anchor = form(needed[0])
    prefixes = [each[: len(each) - len(anchor)] for each in formed if each.endswith(anchor)]
    found = []
    for prefix in sorted(prefixes, key=len):
        if dotted and prefix and not prefix.endswith("."):
            continue
        names = {key: formed[prefix + each] for each, key in table.items() if prefix + each in formed}
        if all(key in names for key in needed):
            found.append(_fit(state, own, names, prefix, form=form))
    return found


def _with_a_name_inside(state: StateDict, own: Sequence[str], needed: Sequence[str]) -> list[Fit]:
    """Keys that have one name more than the network's, always the same: `encoder.wrapped.0.weight`."""
    formed = {without_wrappers(key): key for key in state.tensors}
    table = {without_wrappers(key): key for key in own}
    if len(formed) < len(state.tensors) or len(table) < len(own):
        return []
    start = _likeliest_prefix(formed, table)
    absent = next((each for each in table if start + each not in formed), None)
    tried = set()
    for target in dict.fromkeys([without_wrappers(needed[0]), absent or ""]):
        for key in formed:
            for prefix, inner in _one_too_many(key, target):
                if (prefix, inner) in tried:
                    continue
                tried.add((prefix, inner))
                names: dict[str, str] = {}
                for each, saved in formed.items():
                    if each.startswith(prefix):
                        rest = each[len(prefix) :]
                        match = next((table[one] for one in [rest, *_without(rest, inner)] if one in table), None)
                        if match is not None:
                            names.setdefault(match, saved)
                if all(key in names for key in needed):
                    return [_fit(state, own, names, prefix, inner=inner)]
    return []


def _one_too_many(key: str, target: str) -> Iterator[tuple[str, str]]:
    """The (prefix, inner name) that taken off `key` leave `target`.

    >>> list(_one_too_many("net.encoder.wrapped.0.weight", "encoder.0.weight"))
    [('net.', 'wrapped')]
    """
    names, wanted = key.split("."), target.split(".")
    start = len(names) - len(wanted) - 1
    if start < 0 or names[-1] != wanted[-1]:
        return
    inside = names[start:]
    for at in range(len(inside) - 1):
        if inside[:at] + inside[at + 1 :] == wanted:
            yield "".join(f"{name}." for name in names[:start]), inside[at]


def _without(key: str, name: str) -> list[str]:
    """The key without one of the names of that spelling in it, for each of them."""
    names = key.split(".")
    return [".".join(names[:at] + names[at + 1 :]) for at, each in enumerate(names) if each == name]


def _fit(
    state: StateDict,
    own: Sequence[str],
    names: Mapping[str, str],
    prefix: str,
    *,
    inner: str | None = None,
    form: Callable[[str], str] = without_wrappers,
) -> Fit:
    used = set(names.values())
    beside = [key for key in state.tensors if key not in used and not _is_counter(key)]
    firsts = {_stem(form(key).partition(".")[0]) for key in own}
    clashing = {}
    left = []
    for key in beside:
        each = form(key)
        first = each[len(prefix) :].partition(".")[0]
        ours = each.startswith(prefix) and key.rpartition(".")[2] not in _BESIDE_WEIGHTS
        if ours and (first.isdigit() or _stem(first) in firsts):
            clashing[each[len(prefix) :]] = key
        else:
            left.append(key)
    return Fit(state, names, prefix, inner, left=tuple(left), clashing=clashing)


def _stem(name: str) -> str:
    """A name without its number: `layer5` stands where a network of four has `layer4`, and makes another network.

    >>> _stem("layer5"), _stem("5"), _stem("fc")
    ('layer', '5', 'fc')
    """
    return name.rstrip("0123456789") or name


def _common_prefix(keys: Sequence[str]) -> str:
    """What all the network's keys begin with, up to a dot, after wrappers are off.

    >>> _common_prefix(["net.conv.weight", "net.fc.weight"]), _common_prefix(["conv.weight", "fc.weight"])
    ('net.', '')
    """
    paths = [without_wrappers(key).split(".")[:-1] for key in keys]
    shared = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return "".join(f"{name}." for name in shared)


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] in _COUNTERS
