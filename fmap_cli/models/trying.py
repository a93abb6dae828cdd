"""One run of a network over a blank input that it may take: whether it does, and how far it comes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from fmap_cli.foreign.guests import guest_code
from fmap_cli.models import building
from fmap_cli.models.preprocessing import FOUND
from fmap_cli.network.nested import leaves

if TYPE_CHECKING:
    import torch

    from fmap_cli.models.records import LoadedModel


PICTURES = ("CHW", "CTHW")
"""The axes of inputs that have a height and a width."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What might be an input: each argument's shape without the batch, its axes, and whether it holds integers."""

    shapes: tuple[tuple[int, ...], ...]
    axes: tuple[str, ...]
    integers: tuple[bool, ...]

    def and_(self, other: Candidate) -> Candidate:
        return Candidate(self.shapes + other.shapes, self.axes + other.axes, self.integers + other.integers)

    def of_size(self, size: tuple[int, int]) -> Candidate:
        """With pictures and clips of another height and width."""
        each = zip(self.shapes, self.axes, strict=True)
        return replace(self, shapes=tuple((*shape[:-2], *size) if axes in PICTURES else shape for shape, axes in each))


def input_of(axes: str, *shape: int, integers: bool = False) -> Candidate:
    return Candidate((shape,), (axes,), (integers,))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a run came: `steps` operations, and whether to the end; `fits` where its answer is one for each item."""

    steps: int
    runs: bool = False
    fits: bool = False
    error: BaseException | None = None


def joined(each: Sequence[Candidate]) -> Candidate:
    first = each[0]
    for other in each[1:]:
        first = first.and_(other)
    return first


def _is_about_meta(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, NotImplementedError) or "meta" in str(error))


_LARGE = 2 * 3 * 400 * 400
"""Values from which on an input lies on the meta device, where what is computed takes no memory."""


def tried(module: torch.nn.Module, candidate: Candidate, batch: int, dtype: torch.dtype) -> Outcome:
    """What comes of running a copy of the network over a blank input, whose size decides in which way that is done."""
    large = batch * sum(prod(shape) for shape in candidate.shapes) > _LARGE
    outcome = _outcome_of(module, candidate, batch, dtype, on_meta=large)
    if large and _is_about_meta(outcome.error):
        outcome = _outcome_of(module, candidate, batch, dtype, on_meta=False)
    return outcome


def _outcome_of(
    module: torch.nn.Module, candidate: Candidate, batch: int, dtype: torch.dtype, *, on_meta: bool
) -> Outcome:
    import torch

    from fmap_cli.network.blank import blank_arithmetic

    silence = io.StringIO()
    with (
        guest_code(),
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
        building.quiet(),
        building.seeded(0),  # the numbers drawn here are nobody else's
        torch.no_grad(),
        contextlib.nullcontext(copy_of(module)) as twin,  # before torch's every operation passes through `blank`
        blank_arithmetic() as blank,
    ):
        try:
            twin.eval()
            if on_meta:
                twin.to("meta")
            device = torch.device("meta") if on_meta else device_of(module)
            with device if on_meta else contextlib.nullcontext():
                inputs = [
                    torch.zeros((batch, *shape), dtype=torch.int64 if whole else dtype, device=device)
                    for shape, whole in zip(candidate.shapes, candidate.integers, strict=True)
                ]
                blank.steps = 0
                output = twin(*inputs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Outcome(blank.steps, error=error)
    tensors = [each for each in leaves(output) if isinstance(each, torch.Tensor)]
    if tensors and not any(each.numel() for each in tensors):
        return Outcome(blank.steps)
    one_each = not tensors or any(each.shape[:1] == (batch,) for each in tensors)
    return Outcome(blank.steps, runs=True, fits=one_each)


def takes_too(model: LoadedModel, shape: tuple[int, ...]) -> bool:
    """Whether a network runs on one input of this shape, without the batch, where what it takes was found by running.

    Of such a network the lengths are those that were tried first; others may do as well.
    """
    takes = model.takes
    if takes is None or takes.how != FOUND or len(takes.shapes) != 1 or len(shape) != len(takes.shapes[0]):
        return False
    if shape not in model.tried:
        dtype = next(each for each in formats_of(model.module) if str(each).endswith(takes.dtype))
        outcome = tried(model.module, Candidate((shape,), takes.axes, takes.integers), 2, dtype)
        model.tried[shape] = 0 not in shape and outcome.fits
    return model.tried[shape]


def copy_of(module: torch.nn.Module) -> torch.nn.Module:
    """A copy that shares parameters, but not those that a lazy layer has yet to make; the network itself if need be."""
    from torch.nn.parameter import is_lazy

    from fmap_cli.network.copying import copied

    shared: dict[int, Any] = {id(each): each for each in module.parameters() if not is_lazy(each)}
    for each in module.buffers():  # torch copies a parameter without a shape, and fails on such a buffer
        if is_lazy(each):
            kind: Any = type(each)
            shared[id(each)] = kind(each.requires_grad, each.data.device, each.data.dtype)
    try:
        return copied(module, shared)
    except Exception:
        return module


def device_of(module: torch.nn.Module) -> torch.device:
    """Where a network was made; the CPU where it has no parameters."""
    import torch

    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def formats_of(module: torch.nn.Module) -> list[torch.dtype]:
    """The number formats of a network's parameters, float32 first if it is one of several; float32 where none has any.

    In one of them it takes its input, in the only one where it has one.
    """
    import torch

    found = dict.fromkeys(each.dtype for each in module.parameters() if each.is_floating_point())
    return sorted(found, key=lambda dtype: dtype != torch.float32) or [torch.float32]
