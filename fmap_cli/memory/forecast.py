"""A model and a batch → what a step of it will take: composes the model, the traces and what is made of them.

All of it on the meta device, without weights. It runs in a process of its own (`apart`): see there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from ..frameworks import load_torchvision

load_torchvision()  # before the first `import torch`, which takes a quarter less time that way
import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DeviceError, FmapError, ModelError
from ..foreign import raised
from ..inputs.feeds import Place, feed_of
from ..models.preprocessing import FOUND, NOT_FOUND, found_input
from ..models.records import LoadedModel, Origin, notes_about
from ..models.trying import formats_of
from ..network.axes import meta_twin
from ..network.kinds import module_kind
from ..session.opening import cast_floats, dtype_name, open_architecture, versions
from .allocator import Peaks, simulate
from .bill import make_bill
from .objectives import Objective, Targets, objective_for
from .records import Forecast, LargestBatch, MeasuredMemory, MemoryRequest, MemoryTrace, WhatIf
from .replay import AnyBatch, for_any_batch, largest, program
from .tracing import Run, Target, mean_square, trace

Mode = Literal["train", "inference"]
Say = Callable[[str], None]

_SIDE_OF_DETECTION = (480, 640)  # the usual picture of COCO; the network resizes it by itself
_META = torch.device("meta")
_MOST_DETECTIONS = 100  # torchvision's own
_AUTOCAST = torch.float16  # torch's own choice on CUDA
_REPLAYED = 1_000_000  # events that the search for the largest batch may replay beyond the first it finds: 3 s
_BY_CHANCE = "this network's forward differs from run to run: each figure is that of one run, and another may take more"


@dataclass(frozen=True, slots=True)
class Subject:
    """A network on the meta device, and how it is fed and judged at any batch."""

    model: LoadedModel
    module: nn.Module
    size: tuple[int, int]
    dtype: torch.dtype
    objective: Objective
    channels_last: bool = False

    def inputs(self, batch: int) -> tuple[Any, ...]:
        return _inputs(self.model, self.size, batch, self.dtype, self.channels_last)


def forecast(request: MemoryRequest, say: Say) -> Forecast:
    """Everything that is asked for. Raises ModelError where the network refuses the batch or the size."""
    subject = open_subject(request, say)
    notes = _notes_on(subject, request)
    frozen = _freeze(subject.module, request.freeze)
    if "train" in request.modes and not any(each.requires_grad for each in subject.module.parameters()):
        raise ModelError(
            "--freeze leaves no parameter to learn, so there is no training step.", hint="Ask for --inference."
        )
    checkpointed: tuple[str, ...] = ()
    if request.checkpoint is not None and "train" in request.modes:
        checkpointed, remark = _checkpoints(subject, request)
        if remark:
            notes.append(remark if checkpointed else f"{remark}: nothing is checkpointed")
    traces = {mode: trace_of(subject, request, mode, checkpointed=checkpointed, named=True) for mode in request.modes}
    bills = tuple(make_bill(each, mode) for mode, each in traces.items())
    if any(bill.upper_bound for bill in bills):
        notes.append(
            "upper bound: how many objects there are depends on the data, and is taken at the model's own caps"
        )
    budget = _budget(request)
    found: tuple[LargestBatch, ...] = ()
    if budget is not None:
        found = tuple(
            each
            for mode in request.modes
            for each in _largest(subject, request, mode, budget, traces[mode], checkpointed, notes)
        )
    what_ifs: tuple[WhatIf, ...] = ()
    if request.what_if:
        what_ifs = tuple(_what_ifs(subject, request, request.modes[0], traces[request.modes[0]], checkpointed, say))
    measured: tuple[MeasuredMemory, ...] = ()
    if request.measure is not None:
        measured = tuple(_measured(subject, request, mode, checkpointed) for mode in request.modes)
    return Forecast(
        origin=_origin(subject),
        batch=request.batch,
        inputs=_shapes(subject.inputs(request.batch)),
        dtype=request.dtype,
        optimizer=request.optimizer,
        loss=subject.objective.name,
        parameters=sum(each.numel() for each in subject.module.parameters()),
        frozen=frozen,
        bills=bills,
        checkpointed=checkpointed,
        budget=budget,
        largest=found,
        what_ifs=what_ifs,
        measured=measured,
        notes=tuple(notes),
    )


def _origin(subject: Subject) -> Origin:
    model = subject.model
    dtype = dtype_name(subject.dtype)
    return Origin(model.name, model.weights, model.feeding, "meta", dtype, versions(), model.takes)


def open_subject(request: MemoryRequest, say: Say, *, channels_last: bool = False) -> Subject:
    """The network that is asked for, on the meta device and in its number format. Raises ModelError."""
    own = replace(request.model, size=request.size, device="cpu", dtype=None)

    model = open_architecture(own, say, unsaid=("feeding", "dtype", "objects")).model
    if notes_about(model.notes, "feeding") and model.takes is not None and model.takes.how == FOUND:
        say(f"input assumed: {found_input(model.takes)}; --input-shape changes it")
    _check_input(model, request)
    if any(nn.parameter.is_lazy(each) for each in [*model.module.parameters(), *model.module.buffers()]):
        raise ModelError(
            f"{model.name} has lazy layers, whose shapes are not known before they have run.",
            hint="Let the factory run the network once, on zeros of the input's shape, before it returns it.",
        )
    if model.as_trained is not None and model.weights.kind == "none":
        model = replace(model, module=model.as_trained())
    dtype = torch.float32 if request.dtype == "amp" else getattr(torch, request.dtype)
    if request.dtype == "float32" and formats_of(model.module) != [torch.float32]:
        say(f"{model.name} is made in another number format: it is counted in float32 here; --dtype chooses another.")
    module = cast_floats(meta_twin(model.module), dtype)
    heads = getattr(module, "roi_heads", None)
    if heads is not None and model.weights.kind == "none" and getattr(heads, "detections_per_img", None) == 1:
        heads.detections_per_img = _MOST_DETECTIONS  # here the bound counts, and not a single object
    learning = any(parameter.requires_grad for parameter in module.parameters())
    for parameter in module.parameters():  # a program's are not marked: then all learn
        can_learn = parameter.is_floating_point() or parameter.is_complex()
        parameter.requires_grad_((parameter.requires_grad or not learning) and can_learn)
    if channels_last:
        module = module.to(memory_format=_last(model))
    size = request.size or _own_size(model)
    inputs = _inputs(model, size, request.batch, dtype, channels_last)
    with _refusals(model, inputs, request):
        objective = objective_for(module, inputs, model.input_kind, request.batch)
    if objective is None and "train" in request.modes:
        raise ModelError(
            f"{model.name} cannot be trained: there is no floating-point tensor in its answer.",
            hint="Ask for --inference, or wrap it in a factory whose module returns what the loss is made of.",
        )
    objective = objective or Objective("none", lambda count, device: Targets((), (), mean_square))
    return Subject(model, module, size, dtype, objective, channels_last)


_PICTURE_CHANNELS = (1, 2, 3, 4)


def _check_input(model: LoadedModel, request: MemoryRequest) -> None:
    """Raises ModelError where how much there is to compute is a guess: no usual picture fits, and no size is given."""
    takes = model.takes
    if takes is not None and takes.how == NOT_FOUND:
        raise ModelError(
            f"{model.name} runs on no usual input: what it takes is not known.",
            hint="Say it with --input-shape C,H,W (C,W or L for what is no picture), once for each input.",
        )
    if takes is None or takes.how != FOUND or request.size is not None:
        return
    for axes, shape in zip(takes.axes, takes.shapes, strict=True):
        picture = axes in ("CHW", "CTHW") and shape[0] in _PICTURE_CHANNELS
        if not picture and axes not in ("C", ""):
            raise ModelError(
                f"{model.name} takes no picture: it runs on {takes.words}, and other sizes may work as well.",
                hint=f"Say how large the input is, for example --input-shape {','.join(map(str, shape))}.",
            )


def _notes_on(subject: Subject, request: MemoryRequest) -> list[str]:
    """What of this network the estimate is known to miss."""
    if subject.model.name == "googlenet" and subject.model.weights.kind != "none" and "train" in request.modes:
        return ["these weights come without GoogLeNet's auxiliary heads; without --weights it is trained with both"]
    if not any(isinstance(each, nn.RNNBase) for each in subject.module.modules()):
        return []
    what = (
        "recurrent layers are taken apart into steps here, and keep more on a real device: read this as a lower bound"
    )
    return [f"{what}; automatic mixed precision does not reach them" if request.dtype == "amp" else what]


def _own_size(model: LoadedModel) -> tuple[int, int]:
    """Height and width of what the network is fed unless told otherwise."""
    own = model.preprocessing
    if model.input_kind == "arrays" and model.takes is not None:
        lead = feed_of(model).lead
        sizes = dict(zip(model.takes.axes[lead], model.takes.shapes[lead], strict=True))
        return sizes.get("H", 1), sizes.get("W", 1)
    if own.crop is not None:
        return own.crop
    if own.resize is None:
        return _SIDE_OF_DETECTION
    return (own.resize, own.resize) if isinstance(own.resize, int) else own.resize


def _last(model: LoadedModel) -> torch.memory_format:
    return torch.channels_last_3d if model.input_kind == "video" else torch.channels_last


def _inputs(
    model: LoadedModel, size: tuple[int, int], batch: int, dtype: torch.dtype, channels_last: bool
) -> tuple[Any, ...]:
    channels = model.preprocessing.channels
    if model.input_kind == "images":
        return ([torch.empty((channels, *size), dtype=dtype, device="meta") for _ in range(batch)],)
    time = (model.frames,) if model.input_kind == "video" else ()
    shape = (batch, channels, *time, *size)
    count = 2 if model.input_kind == "image_pair" else 1
    if model.input_kind == "arrays":
        return feed_of(model).blank(batch, *size, 1, Place(_META, dtype))
    blanks = [torch.empty(shape, dtype=dtype, device="meta") for _ in range(count)]
    return tuple(each.contiguous(memory_format=_last(model)) if channels_last else each for each in blanks)


def _shapes(inputs: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    tensors = inputs[0] if isinstance(inputs[0], list) else inputs
    return tuple(tuple(each.shape) for each in tensors)


@contextmanager
def _refusals(model: LoadedModel, inputs: tuple[Any, ...], request: MemoryRequest) -> Iterator[None]:
    """What the network raises as a ModelError that says what can be asked instead."""
    try:
        yield
    except FmapError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        shape = list(_shapes(inputs)[0])
        what, text = raised.told(error), raised.text(error)
        if _reads_values(error):
            raise ModelError(
                f"{model.name} reads values during its forward or makes shapes out of them, and this "
                f"estimate has none ({what}).",
                hint="Estimate the part that does not: a factory that returns the backbone, as --model "
                "FILE.py:factory.",
            ) from error
        hint = "Try another --size (networks have a smallest input)"
        if "device meta" in text or "on the same device" in text:
            hint = "Its forward makes a tensor without saying where: make it on the input's device (device=x.device)"
        elif not isinstance(error, (RuntimeError, ValueError, AssertionError)):
            hint = "Its own code raised this: run one forward of it by itself to see where"
        elif "overflow" in text:
            hint = "Give a smaller --size or --batch"
        if "more than 1 value per channel" in text:
            hint = "BatchNorm needs more than one value a channel in training: give a larger --batch or --inference"
        elif request.dtype != "float32":
            hint += ", or --dtype float32 or amp"
        raise ModelError(f"{model.name} fails on an input of shape {shape}: {what}", hint=f"{hint}.") from error


def _reads_values(error: BaseException) -> bool:
    text = raised.text(error)
    signs = ("meta tensors", "on meta", "data-dependent", "Cannot copy out of meta", "'aten::nonzero'")
    kinds = (RuntimeError, NotImplementedError, TypeError)
    return isinstance(error, kinds) and any(sign in text for sign in (*signs, "convert meta"))


# -- traces ------------------------------------------------------------------------------------------------------


def run_of(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    *,
    target: Target = "cuda",
    checkpointed: tuple[str, ...] = (),
    named: bool = True,
) -> Run:
    return Run(
        train=mode == "train",
        optimizer=request.optimizer,
        target=target,
        autocast=(_AUTOCAST if target == "cuda" else torch.bfloat16) if request.dtype == "amp" else None,
        losses=None,
        checkpointed=checkpointed if mode == "train" else (),
        worst_case=subject.model.input_kind == "images",
        named=named,
    )


def trace_of(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    *,
    batch: int | None = None,
    target: Target = "cuda",
    checkpointed: tuple[str, ...] = (),
    named: bool = False,
) -> MemoryTrace:
    """One step or inference at this batch. Raises ModelError for what the network refuses."""
    count = request.batch if batch is None else batch
    inputs = subject.inputs(count)
    run = run_of(subject, request, mode, target=target, checkpointed=checkpointed, named=named)
    extra: tuple[Tensor, ...] = ()
    fed = inputs
    if mode == "train":
        targets = subject.objective.targets(count, _META)
        extra = targets.tensors
        run = replace(run, losses=targets.loss)
        fed = (*inputs, *targets.arguments)
    with _refusals(subject.model, inputs, request):
        return trace(subject.module, fed, run, extra=extra)


def _any_batch(
    subject: Subject, request: MemoryRequest, mode: Mode, known: MemoryTrace, checkpointed: tuple[str, ...]
) -> tuple[AnyBatch | None, bool]:
    """The step at any batch, None where it must be traced at each; and whether two runs of one batch differ."""
    batch = request.batch
    if known.uneven:
        return None, False
    if batch < 2:  # a batch of one has strides of its own
        batch = 2
        known = trace_of(subject, request, mode, batch=2, checkpointed=checkpointed)

    def found(count: int, otherwise: bool) -> MemoryTrace:
        with _other_numbers() if otherwise else nullcontext():
            return trace_of(subject, request, mode, batch=count, checkpointed=checkpointed)

    any_batch = for_any_batch(known, batch, found(batch + 1, otherwise=True), batch + 1)
    if any_batch is not None:
        return any_batch, False
    again = found(batch, otherwise=True)
    if np.array_equal(again.events, known.events) and np.array_equal(again.sizes, known.sizes):
        return None, False
    return for_any_batch(known, batch, found(batch + 1, otherwise=False), batch + 1), True


@contextmanager
def _other_numbers() -> Iterator[None]:
    """Inside, torch draws other random numbers than outside, where each trace begins with the same ones."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed((torch.initial_seed() + 1) % (1 << 62))
    try:
        yield
    finally:
        torch.set_rng_state(state)


# -- for real ----------------------------------------------------------------------------------------------------


def _measured(subject: Subject, request: MemoryRequest, mode: Mode, checkpointed: tuple[str, ...]) -> MeasuredMemory:
    """A run on real tensors, beside the estimate for that device. Raises DeviceError and ModelError."""
    from .measuring import real_peak

    kind = (request.measure or "").partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise DeviceError(f"--measure {request.measure}: it runs on cpu or cuda.", hint="Give --measure cpu.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device here to measure on.", hint="Give --measure cpu.")
    device = torch.device(request.measure or "cpu")
    target: Target = "cuda" if kind == "cuda" else "cpu"
    steps = program(trace_of(subject, request, mode, target=target, checkpointed=checkpointed))
    run = run_of(subject, request, mode, target=target, checkpointed=checkpointed)
    module = cast_floats(subject.model.module.to(device), subject.dtype)
    for ours, theirs in zip(module.parameters(), subject.module.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    inputs = _real(subject.inputs(request.batch), device)
    targets = subject.objective.targets(request.batch, device) if mode == "train" else None
    with _refusals(subject.model, inputs, request):
        allocated, reserved = real_peak(module, inputs, run, targets, device)
    if kind == "cpu":
        how = (
            "Measured on the CPU: torch.profiler's allocations in the second step, with what CPU kernels take besides."
        )
        return MeasuredMemory(mode, str(device), how, int(steps.live().max()), allocated)
    peaks = simulate(steps.events, steps.sizes)
    how = "Measured on CUDA: max_memory_allocated and max_memory_reserved of two steps, workspaces included."
    return MeasuredMemory(mode, str(device), how, peaks.allocated, allocated, peaks.reserved, reserved)


def _real(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, Tensor):
        return torch.zeros(inputs.shape, dtype=inputs.dtype, device=device)
    return type(inputs)(_real(each, device) for each in inputs)


# -- the largest batch -------------------------------------------------------------------------------------------


def _budget(request: MemoryRequest) -> int | None:
    if request.budget != "auto":
        return request.budget
    if not torch.cuda.is_available():
        raise DeviceError(
            "no CUDA device here, so there is no card whose memory --budget auto could read.",
            hint="Say how much there is: --budget 24GB.",
        )
    return int(torch.cuda.get_device_properties(0).total_memory)


def _largest(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    budget: int,
    known: MemoryTrace,
    checkpointed: tuple[str, ...],
    notes: list[str],
) -> Iterator[LargestBatch]:
    any_batch, by_chance = _any_batch(subject, request, mode, known, checkpointed)
    if by_chance and _BY_CHANCE not in notes:
        notes.append(_BY_CHANCE)
    seen: dict[int, Peaks] = {}

    def peaks(batch: int) -> Peaks:
        if batch not in seen:
            if any_batch is not None:
                steps = any_batch.at(batch)
            else:
                steps = program(trace_of(subject, request, mode, batch=batch, checkpointed=checkpointed))
            seen[batch] = simulate(steps.events, steps.sizes)
        return seen[batch]

    weights = sum(each.numel() * each.element_size() for each in subject.module.parameters())
    if weights > budget:
        raise ModelError(
            f"the budget of {budget:,} bytes is smaller than the weights of {subject.model.name} alone,"
            f" {weights:,} bytes.",
            hint="Give a larger --budget, or --dtype float16 or bfloat16, which halves the weights.",
        )
    batch = 0
    for bound in ("reserved", "allocated"):  # what fits when all that is reserved counts fits by the other, too
        of = partial(_bytes_of, peaks, bound)
        # About as much more as it is times the batch; where each trial is a trace, a good guess saves minutes.
        guess = 1 if any_batch is not None else request.batch * budget // max(of(request.batch), 1)
        if any_batch is not None:
            window = max(_REPLAYED // len(any_batch.program.events), 64)
            batch = largest(of, budget, max(guess, batch), at_least=any_batch.at_least, window=window)
        else:
            batch = largest(of, budget, max(guess, batch))
        yield LargestBatch(
            mode=mode,
            bound=bound,
            batch=batch or None,
            bytes=of(batch) if batch else None,
            next_bytes=of(batch + 1),
        )


def _bytes_of(peaks: Callable[[int], Peaks], bound: str, batch: int) -> int:
    return int(getattr(peaks(batch), bound))


# -- what does not learn, and what is computed again -------------------------------------------------------------


def _freeze(module: nn.Module, patterns: Sequence[str]) -> int:
    """Parameters that these globs name, by their own or a module's name, do not learn. Returns how many values."""
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]  # a tied weight has two
    for pattern in patterns:
        found = [name for name in names if _matches(name, pattern)]
        if not found:
            raise ModelError(
                f"--freeze {pattern}: no parameter of that name.",
                hint=f"They are called {', '.join(names[:2])}, …, {names[-1]}; a module's name freezes all in it.",
            )
        for name in found:
            module.get_parameter(name).requires_grad_(False)
    return sum(each.numel() for each in module.parameters() if not each.requires_grad)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatch.fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _checkpoints(subject: Subject, request: MemoryRequest) -> tuple[tuple[str, ...], str]:
    """The modules that `--checkpoint` names, or those with which the peak is lowest; and what is to be said of them."""
    paths = [path for path, each in subject.module.named_modules() if path and _may_be_checkpointed(each)]
    if request.checkpoint == "auto":
        return _best_checkpoints(subject, request)
    pattern = request.checkpoint or ""
    found = [path for path in paths if fnmatch.fnmatchcase(path, pattern)]
    found = [path for path in found if not any(path.startswith(f"{other}.") for other in found)]
    if not found:
        near = ", ".join(paths[:4]) or "none"
        raise ModelError(
            f"--checkpoint {pattern}: no module of that name has modules inside.", hint=f"Those that have: {near}, …"
        )
    return tuple(found), ""


def _may_be_checkpointed(module: nn.Module) -> bool:
    return module_kind(module) == "block" and not isinstance(module, (nn.ModuleList, nn.ModuleDict))


def _best_checkpoints(subject: Subject, request: MemoryRequest) -> tuple[tuple[str, ...], str]:
    """Of the network's blocks, a level deep, two or three: the level whose checkpointing gives the lowest peak.

    And why there is none, or which levels fail.
    """
    plain = make_bill(trace_of(subject, request, "train"), "train").allocated
    best: tuple[int, tuple[str, ...]] = (plain, ())
    levels = list(_levels(subject.module))
    failures: list[str] = []
    for paths in levels:
        try:
            bill = make_bill(trace_of(subject, request, "train", checkpointed=paths), "train")
        except ModelError as error:  # such as a block that takes or gives what cannot be computed again
            failures.append(f"{_listed(paths)}: {error.message.rstrip('.')}")
            continue
        if bill.allocated < best[0]:
            best = (bill.allocated, paths)
    if failures and len(failures) == len(levels):
        return (), f"no set of blocks can be computed again ({failures[0]})"
    remarks = [] if best[1] else ["no set of blocks lowers the peak"]
    if failures:
        remarks.append(f"{len(failures)} of {len(levels)} sets of blocks cannot be computed again ({failures[0]})")
    return best[1], "; ".join(remarks)


def _levels(module: nn.Module) -> Iterator[tuple[str, ...]]:
    """Sets of blocks to checkpoint: the outermost that there are several of, then those inside."""
    done: set[tuple[str, ...]] = set()
    for depth in range(1, 6):
        paths = tuple(
            path
            for path, each in module.named_modules()
            if path and path.count(".") == depth - 1 and _may_be_checkpointed(each) and len(list(each.modules())) > 3
        )
        if paths and paths not in done:
            done.add(paths)
            yield paths


# -- what if -----------------------------------------------------------------------------------------------------


def _what_ifs(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    known: MemoryTrace,
    checkpointed: tuple[str, ...],
    say: Say,
) -> Iterator[WhatIf]:
    """The run with one thing changed at a time."""

    def attempt(name: str, detail: str, run: Callable[[], MemoryTrace]) -> WhatIf:
        try:
            steps = program(run())
        except FmapError as error:
            return WhatIf(name, detail, reason=error.message)
        peaks = simulate(steps.events, steps.sizes)
        return WhatIf(name, detail, peaks.allocated, peaks.reserved)

    def other(change: MemoryRequest, **more: Any) -> MemoryTrace:
        again = open_subject(change, lambda _: None, **more)
        _freeze(again.module, change.freeze)
        return trace_of(again, change, mode, checkpointed=checkpointed)

    half = max(request.batch // 2, 1)
    if half < request.batch:
        yield attempt(
            "half the batch",
            str(half),
            lambda: trace_of(subject, request, mode, batch=half, checkpointed=checkpointed),
        )
    if request.dtype == "float32":
        yield attempt("mixed precision", "--dtype amp", lambda: other(replace(request, dtype="amp")))
    else:
        yield attempt("single precision", "--dtype float32", lambda: other(replace(request, dtype="float32")))
    if mode == "train":
        if not checkpointed:
            paths, remark = _best_checkpoints(subject, request)
            if not paths:
                yield WhatIf("gradient checkpointing", "--checkpoint auto", reason=remark)
            else:
                yield attempt(
                    "gradient checkpointing",
                    f"of {_listed(paths)}",
                    lambda: trace_of(subject, request, mode, checkpointed=paths),
                )
        if not request.freeze:
            pattern = _backbone(subject.module)
            if pattern:
                yield attempt(
                    "frozen backbone",
                    f"only {pattern[1]} learns",
                    lambda: other(replace(request, freeze=pattern[0])),
                )
    smaller = tuple(max(round(side / 64) * 32, 32) for side in subject.size)
    if smaller != subject.size and subject.model.input_kind != "arrays":
        size = smaller[0], smaller[1]
        yield attempt("another input size", f"--size {size[0]},{size[1]}", lambda: other(replace(request, size=size)))
    if subject.model.input_kind not in ("images", "arrays"):
        yield attempt("channels_last", "another order in memory", lambda: other(request, channels_last=True))


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(paths) if len(paths) < 3 else f"{paths[0]}, {paths[1]} and {len(paths) - 2} more"


def _backbone(module: nn.Module) -> tuple[tuple[str, ...], str] | None:
    """The names of everything but the last part that has parameters, and that part's name."""
    parts = [path for path, each in module.named_children() if next(each.parameters(), None) is not None]
    if len(parts) < 2:
        return None
    own = [name for name, _ in module.named_parameters() if "." not in name]
    return (*parts[:-1], *own), parts[-1]
