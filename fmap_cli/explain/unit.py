"""Why a unit has its value: two passes over the image, the first to find out what the question is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import LayerError, ModelError
from ..inputs.records import ImageInput
from ..network.axes import channel_axes, channel_maps
from ..network.records import LayerRef
from ..network.selection import Selection
from ..receptive import box_of
from ..receptive.survey import receptive_fields
from ..session.axes import axes_for
from ..session.fed import pictures_behind
from ..session.opening import Session, dtype_name
from ..session.passes import network_inputs, run
from .asking import path_to_product, source_of
from .flattened import CellOf, laid_out_from, map_inputs
from .onwards import path_onwards, steps_of
from .picking import Asked, Unit, axes_with_places, unit_of
from .products import Product, Sum, product, sum_at
from .recipe import needed_for_recipe, recipe_of
from .records import SHOWN_TERMS, Explanation, Place, Settings
from .splitting import split
from .tape import Operation, Shown, Tape, Value
from .weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from ..network.axes import AxesResolver
    from ..network.capture import Sink


def explain_unit(
    session: Session,
    image: ImageInput,
    patterns: Sequence[str],
    *,
    at: Asked = "max",
    channel: int | None = None,
    through: bool = False,
    back: int = 0,
    top: int = SHOWN_TERMS,
    layout: str | None = None,
) -> Explanation:
    """One unit of the one layer that the patterns pick, a convolution or a linear layer: its value as the sum that it
    is.

    `max` and `min` are the layer's largest and smallest value, or the channel's; without a channel a place has that of
    the largest value there. Raises LayerError where the layer multiplies by no weights or has no such unit, and
    ModelError where the network fails.
    """
    resolver = axes_for(session, image, layout).prepare()
    random = torch.get_rng_state()
    tape, shown, output = _first_pass(session, image, patterns)
    path, operation = path_to_product(tape, shown)
    unit = unit_of(shown, output, resolver.of(shown.layer, output.shape), at, channel)

    assert shown.value is not None  # or there would be no path
    onwards = path_onwards(tape, shown.value) if through else None
    source, between = source_of(tape, operation)
    needed = [
        *path,
        operation,
        *between,
        *laid_out_from(tape, operation.reads[0])[1],
        *(onwards.path if onwards else ()),
    ]
    needed += needed_for_recipe(tape, operation, back)
    torch.set_rng_state(random)
    kept = _second_pass(session, image, tape, needed)

    one, found, at_product = sum_of(kept, kept.operations[operation.index], shown, unit.index)
    if source in kept.values:
        maps, input_layer = _input_maps(kept, tape, resolver, source, one)
    else:
        maps, input_layer = None, ""
    steps, stopped = (
        ((), "") if onwards is None else steps_of(kept, onwards, shown.value, unit.index, _cells(resolver, tape))
    )
    row = receptive_fields(session, [shown.layer.name], image=image, layout=layout).layers[0]
    pictures = pictures_behind(session, image).get(shown.layer.name, ())
    order = np.argsort(-np.abs(np.nan_to_num(found.contributions, nan=np.inf)), kind="stable")[:top]
    return Explanation(
        origin=session.origin_of(image),
        image=image.showing(pictures[0]) if len(pictures) == 1 else image,
        layer=shown.layer,
        shape=unit.shape,
        axes=unit.axes,
        settings=_settings(one),
        channel=unit.channel,
        place=unit.place,
        picked=unit.picked,
        value=float(kept.values[shown.value].reshape(-1)[unit.index]),
        dtype=dtype_name(kept.values[one.made].dtype),
        inputs=found.inputs,
        input_layer=input_layer,
        reads=_reads(kept, found, between),
        input_places=_input_places(kept, one, source),
        patches=found.patches,
        kernels=found.kernels,
        contributions=found.contributions,
        bias=found.bias,
        map=_drawn(unit.maps[unit.channel, unit.cell[0]]),
        maps={}
        if maps is None
        else {found.inputs[int(n)]: _drawn(maps[found.inputs[int(n)], _frame(maps, unit)]) for n in order},
        box=None if len(pictures) > 1 else box_of(row.field, unit.channel, unit.cell),  # it belongs on one picture
        row=row,
        top=top,
        steps=steps,
        stopped=stopped,
        through=through,
        back=back,
        recipe=recipe_of(kept, one, found, at_product, back) if back else None,
        notes=tuple(_notes(tape, shown)),
        map_inputs=_map_inputs(kept, one, found, at_product, order, _cells(resolver, tape)),
        label=_label(session, tape, shown, unit),
        is_score=_is_score(tape, shown, unit),
        of_input=source in tape.given,
        of_picture=source in tape.given and _settings(one).inputs == 3 == _picture_channels(session),
        weight_channel=int(at_product[one.channel_axis]),
    )


# -- the passes --------------------------------------------------------------------------------------------------


def _first_pass(session: Session, image: ImageInput, patterns: Sequence[str]) -> tuple[Tape, Shown, Tensor]:
    """What ran, and the one layer that is meant with its output."""
    selection = Selection(patterns, session.model.module)
    tape = Tape()
    outputs: dict[str, Tensor] = {}

    def watch(layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            tape.show(layer, output)
            if selection.offer(layer, output.shape):
                with tape.paused():
                    outputs.clear()  # more than one is refused below
                    outputs[layer.name] = output.detach().to("cpu", copy=True)

        return sink

    _run(session, image, tape, watch=watch, calls=tape.call)
    chosen = [layer for layer, _ in selection.chosen()]
    if len(chosen) > 1:
        names = ", ".join(each.name for each in chosen[:3])
        raise LayerError(
            f"{len(chosen)} layers match ({names}{', …' if len(chosen) > 3 else ''}), and a unit belongs to one layer.",
            hint="Name one with --layer; `fmap layers --kind conv --kind linear` lists those that can be explained.",
        )
    shown, output = tape.shown[chosen[0].name], outputs[chosen[0].name]
    if output.is_quantized or output.is_complex() or not output.is_floating_point():
        raise LayerError(
            f"layer {shown.layer.name!r} has {dtype_name(output.dtype)} output: only real numbers are explained.",
            hint="`fmap show` draws it.",
        )
    return tape, shown, output


def _second_pass(session: Session, image: ImageInput, first: Tape, needed: Sequence[Operation]) -> Tape:
    """The pass once more, with what these operations read and make."""
    tape = Tape(frozenset(each.index for each in needed))
    _run(session, image, tape)
    if [each.name for each in tape.operations] != [each.name for each in first.operations]:
        raise ModelError(
            f"{session.model.name} did not do the same in a second pass, so its values cannot be explained.",
            hint="Its forward depends on chance or on earlier calls: fix its seed, or reset its state.",
        )
    for own, named in zip(tape.operations, first.operations, strict=True):
        own.layer = named.layer
    tape.shown = first.shown
    return tape


def _run(
    session: Session,
    image: ImageInput,
    tape: Tape,
    *,
    watch: Callable[[LayerRef], Sink | None] | None = None,
    calls: Callable[[str, bool], None] | None = None,
) -> None:
    inputs = network_inputs(session, [image])
    for each in _tensors(inputs):
        tape.start(each)
    with tape, _in_steps():
        if watch is None:
            run(session, image, lambda _: None, operations=False, paths=frozenset(), inputs=inputs)
        else:
            run(session, image, watch, inputs=inputs, calls=calls)


@contextmanager
def _in_steps() -> Iterator[None]:
    """torch.nn's attention and encoder layers run step by step, and not as one fused kernel: that cannot be taken
    apart, and torch takes it in a pass without hooks alone, so that two passes would differ.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, torch.Tensor):
        return [inputs]
    return [tensor for each in inputs for tensor in _tensors(each)] if isinstance(inputs, (list, tuple)) else []


# -- the sum -----------------------------------------------------------------------------------------------------


def sum_of(tape: Tape, operation: Operation, shown: Shown, index: int) -> tuple[Product, Sum, tuple[int, ...]]:
    """The product that an operation is, the sum that one value of the layer is, and the value's place in the
    product."""
    assert shown.value is not None
    one = product(operation)
    shape = tape.values[shown.value].shape
    place = [int(each) for each in np.unravel_index(index, tuple(shape))]
    found = split(tape, shown.value, Weights.at(shape, place), until=shown.begins)
    if one is None or len(found.products) != 1 or found.ends:
        raise LayerError(
            f"layer {shown.layer.name!r} runs as {operation.name} in a way that cannot be taken apart into terms.",
            hint="`fmap layers --kind conv --kind linear` lists others.",
        )
    at_product = found.products[0].weights.only()
    assert at_product is not None
    one_sum = sum_at(tape, one, at_product)
    constant = sum(found.constants.values())
    if constant:
        one_sum = Sum(
            one_sum.inputs,
            one_sum.patches,
            one_sum.kernels,
            one_sum.contributions,
            one_sum.bias + constant,
            one_sum.places,
        )
    return one, one_sum, at_product


def _settings(one: Product) -> Settings:
    kind = "linear" if one.is_linear else "transposed convolution" if one.transposed else "convolution"
    inputs = one.inputs_a_group * one.groups
    return Settings(kind, one.kernel, one.stride, one.padding, one.dilation, one.groups, inputs, one.outputs)


def _picture_channels(session: Session) -> int:
    """How many channels the picture has that the network is given; 0 where it is given none."""
    return 0 if session.model.feeding is None else session.model.feeding.channels


def _reads(tape: Tape, found: Sum, between: Sequence[Operation]) -> tuple[tuple[int, ...], ...]:
    """The places under the kernel, in the layer that was read: what was padded on the way is outside of it."""
    before = [0] * len(found.places)
    for each in between:
        pad = tape.operations[each.index].arguments.get("pad")
        if pad and each.name in ("constant_pad_nd", "pad"):
            for axis, first in enumerate(reversed(list(pad)[::2])):
                at = axis - len(list(pad)[::2]) + len(before)
                if 0 <= at < len(before):
                    before[at] += int(first)
    return tuple(tuple(place - own for place in each) for each, own in zip(found.places, before, strict=True))


def _input_places(tape: Tape, one: Product, source: Value) -> tuple[int, ...]:
    """How large the map is that the kernel goes over, without what was padded on the way."""
    value = source if source in tape.values and tape.values[source].ndim == tape.values[one.read].ndim else one.read
    return () if one.is_linear else tuple(tape.values[value].shape[2:])


def _input_maps(
    kept: Tape, tape: Tape, resolver: AxesResolver, source: Value, one: Product
) -> tuple[Tensor | None, str]:
    """The maps of the product's input channels `[C, T, H, W]`, and the name of the layer that put them out."""
    shown = next((each for each in tape.shown.values() if each.value == source), None)
    if shown is None:
        return None, ""
    output = kept.values[source]
    axes = resolver.of(shown.layer, output.shape)
    maps = channel_maps(output, axes) if channel_axes(axes) and output.is_floating_point() else None
    if maps is not None and len(maps) != one.inputs_a_group * one.groups:
        maps = None
    return maps, shown.layer.name


def _drawn(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.to(torch.float32).numpy()
    return found


def _frame(maps: Tensor, unit: Unit) -> int:
    frames, own = maps.shape[1], unit.maps.shape[1]
    return min(unit.cell[0] * frames // max(own, 1), frames - 1)


def _cells(resolver: AxesResolver, tape: Tape) -> CellOf:
    """Which channel and place an index of a value is, where the value is a layer's output."""
    layers = {each.value: each.layer for each in reversed(tape.shown.values())}

    def cell(value: Value, shape: Sequence[int], index: int) -> tuple[int, Place] | None:
        layer = layers.get(value)
        if layer is None:
            return None
        axes = resolver.of(layer, tuple(shape))
        labels = channel_maps(torch.arange(int(np.prod(shape))).reshape(tuple(shape)), axes)
        found = (labels == index).nonzero().tolist()
        if not found:
            return None
        channel, *at = found[0]
        return channel, tuple(n for n, axis in zip(at, "THW", strict=True) if axis in axes_with_places(axes))

    return cell


def _map_inputs(
    kept: Tape, one: Product, found: Sum, at: Sequence[int], order: np.ndarray, cell: CellOf
) -> dict[int, tuple[int, Place]]:
    if not one.is_linear:
        return {}
    return map_inputs(kept, one.operation, tuple(at[:-1]), [found.inputs[int(each)] for each in order], cell)


def _label(session: Session, tape: Tape, shown: Shown, unit: Unit) -> str:
    """The class that a unit is the score of: it is part of the network's answer, which has as many as there are
    labels."""
    labels = session.model.labels
    answers = shown.value is not None and not tape.readers().get(shown.value)
    if labels is None or not answers or len(unit.maps) != len(labels):
        return ""
    return labels[unit.channel]


def _is_score(tape: Tape, shown: Shown, unit: Unit) -> bool:
    """Whether a unit is one class's score: its layer is the last to run, and its values are classes without a place."""
    last = tape.operations[-1].makes
    return shown.value in last and unit.maps[0].numel() == 1 and len(unit.maps) > 1 and not axes_with_places(unit.axes)


def _notes(tape: Tape, shown: Shown) -> list[str]:
    layer = shown.layer
    calls = [each.layer.name for each in tape.shown.values() if layer.is_module and each.layer.path == layer.path]
    calls = [each for each in calls if tape.shown[each].layer.is_module]
    if len({tape.shown[each].layer.call for each in calls}) < 2:
        return []
    which = calls.index(layer.name) + 1
    return [f"{layer.path} runs {len(calls)} times in this pass ({', '.join(calls)}): this is call {which}"]
