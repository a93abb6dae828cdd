"""Which operation makes a layer's values out of weights, and what to ask instead where none does."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import LayerError
from .kinds import in_words, way_of
from .tape import Operation, Shown, Tape, Value


def path_to_product(tape: Tape, shown: Shown) -> tuple[list[Operation], Operation]:
    """The convolution or linear layer that puts out the layer's values, and what is done with them before they are
    shown.

    Between the two there may be nothing but moves (a view, a permutation) and a bias that is added. Raises LayerError.
    """
    path: list[Operation] = []
    value = shown.value
    while value is not None:
        operation = tape.maker[value.number]
        if operation is None or operation.index < shown.begins:
            break
        way = way_of(operation)
        if way == "product":
            return path, operation
        reads = dict.fromkeys(operation.reads)
        if len(reads) != 1 or not (way == "move" or operation.name == "add"):
            break
        path.append(operation)
        (value,) = reads
    raise _nothing_to_explain(tape, shown)


def _nothing_to_explain(tape: Tape, shown: Shown) -> LayerError:
    name = shown.layer.name
    others = "`fmap layers --kind conv --kind linear` lists the layers that can be explained."
    if shown.layer.kind == "input":
        return LayerError(f"layer {name!r} is the network's input: nothing made its values.", hint=others)
    maker = _maker(tape, shown.value)
    if shown.value is None:
        return LayerError(
            f"layer {name!r} does not depend on the image: its values are the same for every input.", hint=others
        )
    if maker is None:
        return LayerError(
            f"layer {name!r} is neither a convolution nor a linear layer, and how it came about cannot be followed.",
            hint=others,
        )
    last = in_words(maker)
    inside = [each.layer for each in tape.operations[shown.begins : maker.index + 1] if way_of(each) == "product"]
    inside = [each for each in dict.fromkeys(inside) if each]
    if inside and maker.index >= shown.begins:
        return LayerError(
            f"layer {name!r} is more than one step, the last of them {last}; `fmap explain` takes one convolution or"
            " linear layer.",
            hint=f"Inside there {'is' if len(inside) == 1 else 'are, from the last one back,'} {_listed(inside[::-1])}:"
            " explain one of them, and --through follows its value on.",
        )
    before = list(dict.fromkeys(each.layer for each in _products_before(tape, shown.value)))
    if "::" in maker.name or way_of(maker) == "stop":
        return LayerError(
            f"layer {name!r} is computed in one piece, {last}, which is not a sum of inputs times weights.",
            hint=f"Explain {_listed(before)}. {others}" if before else others,
        )
    if not before:
        return LayerError(f"layer {name!r} multiplies by no weights: it is {last}.", hint=others)
    return LayerError(
        f"layer {name!r} multiplies by no weights: it is {last}, made of the output of {_listed(before)}.",
        hint=f"Explain that one: `--layer {before[0]} --through` follows its value on through {name}.",
    )


def _maker(tape: Tape, value: Value | None) -> Operation | None:
    """What made a value, and did not merely lay it out anew or add a bias."""
    while value is not None:
        operation = tape.maker[value.number]
        if operation is None or not (way_of(operation) == "move" or operation.name == "add"):
            return operation
        if len(set(operation.reads)) != 1:
            return operation
        value = operation.reads[0]
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _products_before(tape: Tape, value: Value | None) -> Iterator[Operation]:
    """The nearest convolutions and linear layers before a value, the last first."""
    waiting = [] if value is None else [value]
    seen: set[int] = set()
    found = []
    while waiting:
        operation = tape.maker[waiting.pop().number]
        if operation is None or operation.index in seen:
            continue
        seen.add(operation.index)
        if way_of(operation) == "product":
            found.append(operation)
        else:
            waiting.extend(operation.reads)
    yield from sorted(found, key=lambda each: -each.index)


def source_of(tape: Tape, one: Operation) -> tuple[Value, list[Operation]]:
    """The layer's output that a product reads, before it was padded or laid out for it; and what did that."""
    names = {each.value for each in tape.shown.values()}
    between: list[Operation] = []
    (value,) = set(one.reads)
    while True:
        operation = tape.maker[value.number]
        own = operation is not None and operation.layer == one.layer
        if value in names and not own:
            return value, between
        if operation is None or way_of(operation) != "move" or len(set(operation.reads)) != 1:
            return one.reads[0], []
        between.append(operation)
        value = operation.reads[0]
