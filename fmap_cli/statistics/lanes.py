"""What Numba has no words for: extremes, zeros, sums and a histogram's share of sixteen values at a time.

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

from ..foreign.vectors import WIDE, folded, splat
from .moments import SHARE_OFFSETS, SHARE_PERIOD

assert __spec__ is not None
STAMP = crc32(__spec__.loader.get_data(__file__))  # type: ignore[union-attr]
"""Says which these functions are, for code that is kept on disk and has them in it."""

ROUND = 5 * WIDE
"""So many values are read for every two periods of the share that is counted."""
LANES = 4
"""Copies of a histogram's cells: neighbours often fall into one cell; counted in turn, none waits for the other."""
MAGNITUDE = np.int32(0x7FFFFFFF)
CODE_SHIFT = np.int32(20)

_FINITE = ("nnan", "ninf", "nsz")  # what LLVM may take for granted of floats
_INT32, _INT64, _BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_FLOATS, _INTS = ir.VectorType(ir.FloatType(), WIDE), ir.VectorType(_INT32, WIDE)
_QUARTERS = range(4)
_QUARTER = WIDE // 4  # so many float64 at a time
_FEW, _DOUBLES = ir.VectorType(ir.FloatType(), _QUARTER), ir.VectorType(ir.DoubleType(), _QUARTER)


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


def _hidden(builder: Any, number: Any) -> Any:
    """An int64 of which LLVM does not know that it is this one."""
    return builder.call(ir.InlineAsm(ir.FunctionType(_INT64, [_INT64]), "", "=r,0", False), [number])


class _Lanes:
    """Generates what is done with sixteen values at a time: their extremes, zeros and sums, each in sixteen lanes.

    Written out as vectors, not left to LLVM, which would take all of it in eight lanes because the sums are float64. In
    which order sums are taken is the same on every processor.
    """

    def __init__(self, builder: Any, first: Any) -> None:
        self.builder = builder
        # LLVM would make additions of what is multiplied by one, which wait for the units that compare and convert.
        one = builder.bitcast(_hidden(builder, _INT64(0x3FF0000000000000)), ir.DoubleType())
        self.one = splat(builder, one, _DOUBLES)
        every = splat(builder, first, _FLOATS)
        nothing = ir.Constant(_DOUBLES, [0.0] * _QUARTER)
        none = ir.Constant(_INTS, [0] * WIDE)
        self.low, self.high, self.zeros = (cgutils.alloca_once_value(builder, x) for x in (every, every, none))
        self.total, self.squares = ([cgutils.alloca_once_value(builder, nothing) for _ in _QUARTERS] for _ in range(2))

    def _read(self, start: Any, at: int, kind: Any) -> Any:
        place = self.builder.gep(start, [_INT64(at)])
        return self.builder.load(self.builder.bitcast(place, kind.as_pointer()), align=4)

    def take(self, address: Any, again: Any, last: Any = None) -> None:
        """Sixteen values from an address on: all of them, or for zeros and sums only the `last` so many."""
        builder = self.builder
        values = self._read(address, 0, _FLOATS)
        for place, comparison in ((self.low, "<"), (self.high, ">")):
            before = builder.load(place)
            holds = builder.fcmp_ordered(comparison, values, before, flags=_FINITE)
            builder.store(builder.select(holds, values, before, flags=_FINITE), place)
        magnitude = builder.and_(builder.bitcast(values, _INTS), ir.Constant(_INTS, [int(MAGNITUDE)] * WIDE))
        zero = builder.icmp_unsigned("==", magnitude, ir.Constant(_INTS, [0] * WIDE))
        counts = None
        if last is not None:
            first = splat(builder, builder.sub(_INT32(WIDE), builder.trunc(last, _INT32)), _INTS)
            counts = builder.icmp_signed(">=", ir.Constant(_INTS, list(range(WIDE))), first)
            zero = builder.and_(zero, counts)
        builder.store(builder.sub(builder.load(self.zeros), builder.sext(zero, _INTS)), self.zeros)
        for at in _QUARTERS:
            few = self._read(again, 4 * at * _QUARTER, _FEW)
            if counts is not None:
                lanes = ir.Constant(ir.VectorType(_INT32, _QUARTER), [*range(at * _QUARTER, (at + 1) * _QUARTER)])
                there = builder.shuffle_vector(counts, counts, lanes)
                few = builder.select(there, few, ir.Constant(_FEW, [0.0] * _QUARTER))
            wide = builder.fpext(few, _DOUBLES)
            for place, factor in ((self.total[at], self.one), (self.squares[at], wide)):
                product = builder.fmul(wide, factor, flags=("contract",))
                builder.store(builder.fadd(builder.load(place), product, flags=("contract",)), place)

    def together(self) -> tuple[Any, ...]:
        """(lowest, highest, zeros, sum, sum of squares) of all lanes."""
        builder = self.builder

        def picked(comparison: str) -> Callable[[Any, Any], Any]:
            return lambda one, other: builder.select(
                builder.fcmp_ordered(comparison, one, other, flags=_FINITE), one, other, flags=_FINITE
            )

        return (
            self._folded([self.low], picked("<")),
            self._folded([self.high], picked(">")),
            builder.sext(self._folded([self.zeros], builder.add), _INT64),
            self._folded(self.total, builder.fadd),
            self._folded(self.squares, builder.fadd),
        )

    def _folded(self, held: Any, two: Callable[[Any, Any], Any]) -> Any:
        """One of all lanes: the upper half joined to the lower one until one is left."""
        builder = self.builder
        parts = [builder.load(each) for each in held]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [two(parts[at], parts[half + at]) for at in range(half)]
        return folded(builder, parts[0], two)


def _count(builder: Any, values: Any, at: Any, bins: Any, cells: Any, lane: Any) -> None:
    """Count the value there into its cell, in one of the copies."""
    code = builder.load(builder.bitcast(_value(builder, values, at), _INT32.as_pointer()))
    code = builder.zext(builder.lshr(code, _INT32(int(CODE_SHIFT))), _INT64)
    cell = builder.zext(builder.load(builder.gep(builder.bitcast(bins, ir.IntType(16).as_pointer()), [code])), _INT64)
    cell = builder.add(builder.mul(cell, _INT64(LANES)), lane)
    cell = builder.gep(builder.bitcast(cells, _INT32.as_pointer()), [cell])
    builder.store(builder.add(builder.load(cell), _INT32(1)), cell)


def _value(builder: Any, start: Any, at: Any) -> Any:
    return builder.gep(start, [builder.mul(at, _INT64(4))])


@intrinsic
def sweep(_context: Any, _values: Any, _length: Any, _rounds: Any, _periods: Any, _bins: Any, _cells: Any) -> Any:
    """(lowest, highest, zeros, sum, sum of squares) of at least sixteen values.

    On the way so many rounds of two periods each, from `periods` on, are counted into cells. Counting is whole numbers
    and addresses, the sums are floats; a processor does both at once where they stand side by side.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, length, rounds, periods, bins, cells = arguments
        lanes = _Lanes(builder, builder.load(builder.bitcast(values, ir.FloatType().as_pointer())))
        # The same address, read as another one: four values are converted faster from memory than from a register.
        again = builder.inttoptr(_hidden(builder, builder.ptrtoint(values, _INT64)), _BYTES)

        def take(at: Any, last: Any = None) -> None:
            lanes.take(_value(builder, values, at), _value(builder, again, at), last)

        with cgutils.for_range(builder, rounds) as loop:
            here = builder.mul(loop.index, _INT64(ROUND))
            period = _value(builder, periods, builder.mul(loop.index, _INT64(2 * SHARE_PERIOD)))
            for step in range(ROUND // WIDE):
                take(builder.add(here, _INT64(step * WIDE)))
                if step < 2:
                    for lane, offset in enumerate(SHARE_OFFSETS):
                        _count(builder, period, _INT64(step * SHARE_PERIOD + offset), bins, cells, _INT64(lane))
        done = builder.mul(rounds, _INT64(ROUND))
        more = builder.sdiv(builder.sub(length, done), _INT64(WIDE))
        with cgutils.for_range(builder, more) as loop:
            take(builder.add(done, builder.mul(loop.index, _INT64(WIDE))))
        left = builder.srem(builder.sub(length, done), _INT64(WIDE))
        with cgutils.if_unlikely(builder, builder.icmp_signed(">", left, _INT64(0))):
            take(builder.sub(length, _INT64(WIDE)), left)
        return context.make_tuple(builder, signature.return_type, lanes.together())

    found = types.Tuple((types.float32, types.float32, types.int64, types.float64, types.float64))
    pointer, number = types.voidptr, types.int64
    return found(pointer, number, number, pointer, pointer, pointer), generate


@intrinsic
def tally(_context: Any, _values: Any, _list: Any, _length: Any, _bins: Any, _cells: Any) -> Any:
    """Count so many values into cells. A list says which: pairs of int32, the place and the copy of the cells."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        values, places, length, bins, cells = arguments
        with cgutils.for_range(builder, length) as loop:
            pair = builder.bitcast(_value(builder, places, builder.mul(loop.index, _INT64(2))), _INT32.as_pointer())
            at, lane = (builder.sext(builder.load(builder.gep(pair, [_INT32(side)])), _INT64) for side in range(2))
            _count(builder, values, at, bins, cells, lane)
        return context.get_dummy_value()

    pointer, number = types.voidptr, types.int64
    return types.void(pointer, pointer, number, pointer, pointer), generate


@intrinsic
def further(_context: Any, _address: Any, _values: Any) -> Any:
    """The address so many values of 32 bits further."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _value(builder, *arguments)

    return types.voidptr(types.voidptr, types.int64), generate


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
