"""The formula of one value, in the notation of Y[o,i,j] = b[o] + Σc Σu Σv W[o,c,u,v] · X[c,i+u,j+v]."""

from __future__ import annotations

from collections.abc import Sequence

from .. import units
from ..units import layer_name
from .records import Explanation, Part, Settings

_CELLS = {0: "", 1: "u", 2: "uv", 3: "suv"}
_OUT = {0: "", 1: "i", 2: "ij", 3: "tij"}


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign, as terms of a sum have it.

    >>> signed(0.5), signed(-2), signed(float("nan"))
    ('+ 0.5', '- 2', '+ NaN')
    """
    return f"{'-' if value < 0 else '+'} {plain(abs(value), digits)}"


def less(value: float, digits: int = 3) -> str:
    """A number taken away.

    >>> less(0.5), less(-2), less(0)
    ('- 0.5', '+ 2', '- 0')
    """
    return f"{'+' if value < 0 else '-'} {plain(abs(value), digits)}"


def plain(value: float, digits: int = 3) -> str:
    """A number with a minus of its own; NaN and infinity are named.

    >>> plain(-0.25), plain(float("nan")), plain(float("-inf"))
    ('-0.25', 'NaN', '-Inf')
    """
    if value != value:
        return "NaN"
    if abs(value) == float("inf"):
        return "Inf" if value > 0 else "-Inf"
    if 1000 <= abs(value) < 10**digits:
        return f"{value:.{max(digits - 4, 0)}f}"
    return units.number(value, digits)


def unit_name(explanation: Explanation, letter: str = "Y") -> str:
    """`Y[447,3,5]`."""
    return f"{letter}[{','.join(map(str, (explanation.channel, *explanation.place)))}]"


def in_lines(formula: str, width: int) -> list[str]:
    """A formula in lines of this width, broken where a term begins: before a sign that stands in no bracket, before
    `=`, and after a colon. A term that is longer than a line has one of its own.

    >>> in_lines("0.081 + 0.178 × X[1213] - (0.2 - 1) × X[5] + …", 26)
    ['0.081 + 0.178 × X[1213]', '- (0.2 - 1) × X[5] + …']
    """
    terms, depth = [""], 0
    for at, sign in enumerate(formula):
        begins = formula[at : at + 2] in ("+ ", "- ", "= ") or formula[at - 2 : at] == ": "
        if begins and not depth and at and formula[at - 1] == " ":
            terms.append("")
        terms[-1] += sign
        depth += (sign in "([") - (sign in ")]")
    lines = [""]
    for term in terms:
        if lines[-1] and len((lines[-1] + term).rstrip()) > width:
            lines.append("")
        lines[-1] += term
    return [line.rstrip() for line in lines]


def subject(explanation: Explanation) -> str:
    """What the unit is called in a sentence: `channel 447`, `the score of class 967 (espresso)`."""
    label = f" ({units.one_line(explanation.label)})" if explanation.label else ""
    if explanation.is_score:
        return f"the score of class {explanation.channel}{label}"
    return f"channel {explanation.channel}{label}"


def symbols(settings: Settings) -> str:
    """The formula of the operation in letters.

    >>> symbols(Settings("convolution", (3, 3), (2, 2), (1, 1), (1, 1), 1, 3, 8))
    'Y[o,i,j] = b[o] + Σc Σu Σv W[o,c,u,v] · X[c, 2i-1+u, 2j-1+v]'
    >>> symbols(Settings("convolution", (1, 1), (1, 1), (0, 0), (1, 1), 1, 3, 8))
    'Y[o,i,j] = b[o] + Σc W[o,c] · X[c,i,j]'
    >>> symbols(Settings("linear", (), (), (), (), 1, 3, 8))
    'Y[o] = b[o] + Σk W[o,k] · X[k]'
    """
    if not settings.kernel:
        return "Y[o] = b[o] + Σk W[o,k] · X[k]"
    out, cells = _OUT[len(settings.kernel)], _CELLS[len(settings.kernel)]
    places = [_place(letter, cell, settings, axis) for axis, (letter, cell) in enumerate(zip(out, cells, strict=True))]
    where = "" if settings.operation == "convolution" else ", where these are whole"
    return f"Y[o,{','.join(out)}] = b[o] + {_summed(settings, 'o', places)}{where}"


def _summed(settings: Settings, channel: str, places: Sequence[str]) -> str:
    cells = _CELLS[len(settings.kernel)]
    c = channel if settings.depthwise else "c"
    over = [] if settings.depthwise else ["c"]
    over += [] if settings.pointwise else [*cells]
    sums = "".join(f"Σ{each} " for each in over)
    inner = [*([] if settings.depthwise else ["c"]), *([] if settings.pointwise else cells)]
    gap = "," if all(each.isalnum() for each in places) else ", "
    weight = f"W[{','.join([channel, *inner])}]"
    return f"{sums}{weight} · X[{gap.join([c, *places])}]"


def _place(letter: str, cell: str, settings: Settings, axis: int) -> str:
    """Where the input is read along one axis, in letters."""
    stride, padding, dilation = settings.stride[axis], settings.padding[axis], settings.dilation[axis]
    one = settings.pointwise
    if settings.operation != "convolution":
        shift = "" if one else f"-{_times(dilation, cell)}"
        top = f"{letter}{f'+{padding}' if padding else ''}{shift}"
        return top if stride == 1 else f"({top})/{stride}"
    return f"{_times(stride, letter)}{f'-{padding}' if padding else ''}" + ("" if one else f"+{_times(dilation, cell)}")


def _times(factor: int, letter: str) -> str:
    return letter if factor == 1 else f"{factor}{letter}"


def with_numbers(explanation: Explanation) -> str:
    """The formula of this unit: the right-hand side with its indices."""
    settings, channel = explanation.settings, str(explanation.weight_channel)
    bias = plain(explanation.bias)
    if not settings.kernel:
        return f"{bias} + Σk W[{channel},k] · X[k]"
    cells = _CELLS[len(settings.kernel)]
    places = []
    for axis, each in enumerate(explanation.reads):
        if not each:
            places.append("–")
        elif settings.pointwise:
            places.append(str(each[0]))
        elif settings.operation == "convolution":
            places.append(f"{each[0]}+{_times(settings.dilation[axis], cells[axis])}")
        else:
            places.append("/".join(map(str, each)))
    return f"{bias} + {_summed(settings, channel, places)}"


def added_up(explanation: Explanation, count: int = 4) -> str:
    """The sum with its largest terms: `0.1 + 1.31 + 0.82 - 0.4 + …`."""
    terms = explanation.terms[:count]
    words = " ".join([plain(explanation.bias), *(signed(each.contribution) for each in terms)])
    return words if len(terms) == len(explanation.contributions) else f"{words} + …"


def mixture(explanation: Explanation, count: int = 4) -> str:
    """A layer that looks at one place, as a mixture of channels: `0.1 + 0.8 × [373] + 0.5 × [237] - …`."""
    found = [plain(explanation.bias)]
    for each in explanation.terms[:count]:
        found.append(f"{signed(float(each.kernel.reshape(-1)[0]))} × X[{each.channel}]")
    if len(explanation.contributions) > len(explanation.terms[:count]):
        found.append("+ …")
    return " ".join(found)


def apart(explanation: Explanation) -> str:
    """How far the sum and the network's own value are apart."""
    if explanation.difference != explanation.difference or abs(explanation.difference) == float("inf"):
        return f"the network computed {plain(explanation.value, 8)}"
    if not explanation.difference:
        return f"exactly what the network computed in {explanation.dtype}"
    return (
        f"the network computed {plain(explanation.value, 8)} in {explanation.dtype}:"
        f" {units.number(abs(explanation.difference), 2)} apart"
    )


def shares(explanation: Explanation) -> str:
    """What shares are of, and how much cancels."""
    if explanation.not_finite:
        return "no shares: not all terms are numbers"
    if not explanation.magnitude:
        return "no shares: all terms are 0"
    words = f"share: how much a term counts, with signs left out, of all terms together, {plain(explanation.magnitude)}"
    cancelled = explanation.cancelled or 0.0
    if len(explanation.contributions) > 1:
        words += (
            f"; {units.percent(cancelled)} of that sum cancels: positive terms against negative ones"
            if cancelled > 5e-4
            else ""
        )
    return words


def not_numbers(explanation: Explanation) -> str:
    """The terms that are NaN or infinite, in words; empty where there are none."""
    found = explanation.not_finite
    if not found:
        return ""
    bad = [explanation.contributions[each - explanation.inputs.start] for each in found]
    what = " or ".join(dict.fromkeys("NaN" if each != each else "infinite" for each in bad))
    listed = ", ".join(map(str, found[:6])) + (f" and {len(found) - 6} more" if len(found) > 6 else "")
    many = len(found) > 1
    of = f"{len(found):,} of {len(explanation.contributions):,} terms"
    return f"{of} {'are' if many else 'is'} {what}: input channel{'s' * many} {listed}"


def reads(explanation: Explanation) -> str:
    """Which places of the input lie under the kernel, and how many of them are padding."""
    names = {1: ["steps"], 2: ["rows", "columns"], 3: [f"{explanation.origin.called.layer}s", "rows", "columns"]}.get(
        len(explanation.reads), []
    )
    if not explanation.reads:
        return ""
    words = []
    for name, each in zip(names, explanation.reads, strict=True):
        if not each:
            return f"no {name[:-1]} of the input reaches it: it is the bias alone"
        step = each[1] - each[0] if len(each) > 1 else 1
        span = str(each[0]) if len(each) == 1 else f"{min(each)} to {max(each)}"
        words.append(
            f"{name if len(each) > 1 else name[:-1]} {span}" + (f", every {abs(step)}." if abs(step) > 1 else "")
        )
    cells = 1
    inside = 1
    for each, length in zip(explanation.reads, explanation.input_places, strict=True):
        cells *= len(each)
        inside *= sum(0 <= place < length for place in each)
    outside = f"; {cells - inside} of {cells} cells lie outside, on padding" if inside < cells else ""
    return ", ".join(words).replace("., ", ". ") + outside


_COLOURS = ("red", "green", "blue")


def channel_name(explanation: Explanation, channel: int) -> str:
    """`channel 447`; `red`, where the input is a picture; `channel 9 at 6,5` of a map that is read flattened."""
    if explanation.of_picture:
        return _COLOURS[channel]
    if channel in explanation.map_inputs:
        own, place = explanation.map_inputs[channel]
        return f"channel {own} at {','.join(map(str, place))}"
    return f"channel {channel}"


def input_in_words(explanation: Explanation) -> str:
    """What X is."""
    if explanation.of_input and len(explanation.image.inputs) > 1:
        image = explanation.image
        named = f", {image.shown_name}," if image.sources else ""
        return f"the input {units.one_line(explanation.input_layer)}{named} as the network gets it"
    if explanation.of_picture:
        return "the picture as the network gets it"
    if explanation.of_input:
        return "the input as the network gets it"
    return f"the output of {layer_name(explanation.input_layer)}" if explanation.input_layer else "the layer's input"


def weight_times_value(part: Part) -> str:
    """`0.5 × 2`: the weight with which a channel's value counts, all that lies between multiplied in; and the value.

    Where several places of the channel count there is no one weight.
    """
    if part.kind not in ("channel", "input") or part.channel is None:
        return ""
    if part.value is None:
        return "over several places"
    return f"{plain(part.contribution / part.value)} × {plain(part.value)}" if part.value else "its value is 0"


def part_name(part: Part) -> str:
    """What a part of the recipe is called."""
    if part.kind == "channel":
        return f"channel {part.channel} of {layer_name(part.layer) or 'a tensor without a name'}"
    if part.kind == "input":
        return "the input itself" if part.channel is None else f"channel {part.channel} of the input"
    if part.kind == "bias":
        return f"bias of {layer_name(part.layer)}"
    if part.kind == "rest":
        return f"{part.words}, together" if part.count != 1 else part.words
    return part.words
