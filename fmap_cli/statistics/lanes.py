"""What Numba has no words for: sixteen values at a time, and a number that threads share.

Written out in LLVM's own terms, which are turned into the instructions of the processor at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .moments import SHARE_OFFSETS, SHARE_PERIOD

assert __spec__ is not None
STAMP = crc32(__spec__.loader.get_data(__file__))  # type: ignore[union-attr]
"""Says which these functions are, for code that is kept on disk and has them in it."""

WIDE = 16
"""So many values are read at once."""
ROUND = 5 * WIDE
"""So many values are read for every two periods of the share that is counted."""
LANES = 4
"""Copies of a histogram's cells: neighbours often fall into one cell; counted in turn, none waits for the other."""
MAGNITUDE = np.int32(0x7FFFFFFF)
CODE_SHIFT = np.int32(20)

_FINITE = ("nnan", "ninf", "nsz")  # what LLVM may take for granted of floats
_INT32, _INT64, _BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_FLOATS, _DOUBLES, _INTS = (ir.VectorType(each, WIDE) for each in (ir.FloatType(), ir.DoubleType(), _INT32))


def _pick(comparison: str) -> Any:
    """The smaller or larger of two floats. Taken to be finite, which SIMD needs; whoever calls it finds out if not."""

    @intrinsic
    def pick(_context: Any, first: Any, second: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            holds = builder.fcmp_ordered(comparison, *arguments, flags=_FINITE)
            return builder.select(holds, *arguments, flags=_FINITE)

        return types.float32(types.float32, types.float32), generate

    return pick


smaller = _pick("<")
larger = _pick(">")


@intrinsic
def add(_context: Any, _address: Any, _at: Any, _number: Any) -> Any:
    """Add a number to one of the int64 at an address, which threads share, and return what it was."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, at, number = arguments
        place = builder.gep(builder.bitcast(address, _INT64.as_pointer()), [at])
        return builder.atomic_rmw("add", place, number, "seq_cst")

    return types.int64(types.voidptr, types.int64, types.int64), generate


@intrinsic
def at_index(_context: Any, _array: Any, _index: Any) -> Any:
    """Where a value of a one-dimensional array without gaps lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.bitcast(builder.gep(array.data, [arguments[1]]), _BYTES)

    return types.voidptr(_array, types.int64), generate


class _Lanes:
    """Generates what is done with sixteen values at a time: their extremes, zeros and sums, each in sixteen lanes.

    Written out as vectors, not left to LLVM, which would take all of it in eight lanes because the sums are float64. In
    which order sums are taken is the same on every processor.
    """

    def __init__(self, builder: Any, first: Any) -> None:
        self.builder = builder
        every = builder.shuffle_vector(
            builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), first, _INT32(0)),
            ir.Constant(_FLOATS, ir.Undefined),
            ir.Constant(_INTS, [0] * WIDE),
        )
        self.low = cgutils.alloca_once_value(builder, every)
        self.high = cgutils.alloca_once_value(builder, every)
        self.zeros = cgutils.alloca_once_value(builder, ir.Constant(_INTS, [0] * WIDE))
        self.total = cgutils.alloca_once_value(builder, ir.Constant(_DOUBLES, [0.0] * WIDE))
        self.squares = cgutils.alloca_once_value(builder, ir.Constant(_DOUBLES, [0.0] * WIDE))

    def take(self, address: Any, last: Any = None) -> None:
        """Sixteen values from an address on: all of them, or for zeros and sums only the `last` so many."""
        builder = self.builder
        values = builder.load(builder.bitcast(address, _FLOATS.as_pointer()), align=4)
        for place, comparison in ((self.low, "<"), (self.high, ">")):
            before = builder.load(place)
            holds = builder.fcmp_ordered(comparison, values, before, flags=_FINITE)
            builder.store(builder.select(holds, values, before, flags=_FINITE), place)
        if last is not None:
            lane = ir.Constant(_INTS, list(range(WIDE)))
            one = builder.insert_element(ir.Constant(_INTS, ir.Undefined), builder.trunc(last, _INT32), _INT32(0))
            first = builder.shuffle_vector(one, one, ir.Constant(_INTS, [0] * WIDE))
            first = builder.sub(ir.Constant(_INTS, [WIDE] * WIDE), first)
            counts = builder.icmp_signed(">=", lane, first)
            zero = builder.and_(self._are_zero(values), counts)
            values = builder.select(counts, values, ir.Constant(_FLOATS, [0.0] * WIDE))
        else:
            zero = self._are_zero(values)
        builder.store(builder.sub(builder.load(self.zeros), builder.sext(zero, _INTS)), self.zeros)
        wide = builder.fpext(values, _DOUBLES)
        builder.store(builder.fadd(builder.load(self.total), wide), self.total)
        product = builder.fmul(wide, wide, flags=("contract",))
        builder.store(builder.fadd(builder.load(self.squares), product, flags=("contract",)), self.squares)

    def _are_zero(self, values: Any) -> Any:
        builder = self.builder
        magnitude = builder.and_(builder.bitcast(values, _INTS), ir.Constant(_INTS, [int(MAGNITUDE)] * WIDE))
        return builder.icmp_unsigned("==", magnitude, ir.Constant(_INTS, [0] * WIDE))

    def together(self) -> tuple[Any, ...]:
        """(lowest, highest, zeros, sum, sum of squares) of all lanes."""
        builder = self.builder

        def smaller(one: Any, other: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", one, other, flags=_FINITE), one, other, flags=_FINITE)

        def larger(one: Any, other: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", one, other, flags=_FINITE), one, other, flags=_FINITE)

        return (
            self._folded(self.low, smaller),
            self._folded(self.high, larger),
            builder.sext(self._folded(self.zeros, builder.add), _INT64),
            self._folded(self.total, builder.fadd),
            self._folded(self.squares, builder.fadd),
        )

    def _folded(self, place: Any, two: Callable[[Any, Any], Any]) -> Any:
        """One of all lanes: the upper half joined to the lower one until one is left."""
        builder = self.builder
        lanes = builder.load(place)
        half = WIDE // 2
        while half:
            halves = (
                builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(_INT32, half), [*range(at, at + half)]))
                for at in (0, half)
            )
            lanes = two(*halves)
            half //= 2
        return builder.extract_element(lanes, _INT32(0))


@intrinsic
def sweep(_context: Any, _values: Any, _length: Any, _rounds: Any, _periods: Any, _bins: Any, _cells: Any) -> Any:
    """(lowest, highest, zeros, sum, sum of squares) of at least sixteen values.

    On the way so many rounds of two periods each, from `periods` on, are counted into cells. Counting is whole numbers
    and addresses, the sums are floats; a processor does both at once where they stand side by side.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, length, rounds, periods, bins, cells = arguments
        bins = builder.bitcast(bins, ir.IntType(16).as_pointer())
        cells = builder.bitcast(cells, _INT32.as_pointer())
        lanes = _Lanes(builder, builder.load(builder.bitcast(values, ir.FloatType().as_pointer())))

        def value(start: Any, at: Any) -> Any:
            return builder.gep(start, [builder.mul(at, _INT64(4))])

        with cgutils.for_range(builder, rounds) as loop:
            here = value(values, builder.mul(loop.index, _INT64(ROUND)))
            period = value(periods, builder.mul(loop.index, _INT64(2 * SHARE_PERIOD)))
            for step in range(ROUND // WIDE):
                lanes.take(value(here, _INT64(step * WIDE)))
                if step < 2:
                    for lane, offset in enumerate(SHARE_OFFSETS):
                        code = builder.load(
                            builder.bitcast(value(period, _INT64(step * SHARE_PERIOD + offset)), _INT32.as_pointer())
                        )
                        code = builder.zext(builder.lshr(code, _INT32(int(CODE_SHIFT))), _INT64)
                        cell = builder.zext(builder.load(builder.gep(bins, [code])), _INT64)
                        cell = builder.gep(cells, [builder.add(builder.mul(cell, _INT64(LANES)), _INT64(lane))])
                        builder.store(builder.add(builder.load(cell), _INT32(1)), cell)
        done = builder.mul(rounds, _INT64(ROUND))
        more = builder.sdiv(builder.sub(length, done), _INT64(WIDE))
        rest = value(values, done)
        with cgutils.for_range(builder, more) as loop:
            lanes.take(value(rest, builder.mul(loop.index, _INT64(WIDE))))
        left = builder.srem(builder.sub(length, done), _INT64(WIDE))
        with cgutils.if_unlikely(builder, builder.icmp_signed(">", left, _INT64(0))):
            lanes.take(value(values, builder.sub(length, _INT64(WIDE))), left)
        return context.make_tuple(builder, signature.return_type, lanes.together())

    found = types.Tuple((types.float32, types.float32, types.int64, types.float64, types.float64))
    pointer, number = types.voidptr, types.int64
    return found(pointer, number, number, pointer, pointer, pointer), generate


@intrinsic
def copy(_context: Any, _target: Any, _source: Any, _length: Any) -> Any:
    """Copy at least sixteen values of 32 bits; the last sixteen, of which some are copied already, as a whole."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        target, source, length = (
            builder.bitcast(arguments[0], _INT32.as_pointer()),
            builder.bitcast(arguments[1], _INT32.as_pointer()),
            arguments[2],
        )

        def some(at: Any) -> None:
            values = builder.load(builder.bitcast(builder.gep(source, [at]), _INTS.as_pointer()), align=4)
            builder.store(values, builder.bitcast(builder.gep(target, [at]), _INTS.as_pointer()), align=4)

        with cgutils.for_range(builder, builder.sdiv(length, _INT64(WIDE))) as loop:
            some(builder.mul(loop.index, _INT64(WIDE)))
        some(builder.sub(length, _INT64(WIDE)))
        return context.get_dummy_value()

    return types.void(types.voidptr, types.voidptr, types.int64), generate
