"""What Numba has no words for, written out in LLVM's own terms: a number that threads share, and the largest of many
values and where it stands.

LLVM turns these into the instructions of the processor at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

assert __spec__ is not None
STAMP = crc32(__spec__.loader.get_data(__file__))  # type: ignore[union-attr]
"""Says which these functions are, for code that is kept on disk and has them in it."""

WIDE = 16
"""So many values are read at once."""

_INT32, _INT64, _BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_FLOATS, _INTS = (ir.VectorType(each, WIDE) for each in (ir.FloatType(), _INT32))
_MAGNITUDE, _INFINITE = 0x7FFFFFFF, 0x7F800000
_FINITE = ("nnan", "nsz")  # what LLVM may take for granted of floats


def splat(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of which each lane is this value."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _INT32(0))
    places = ir.Constant(ir.VectorType(_INT32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), places)


def folded(builder: Any, lanes: Any, two: Callable[[Any, Any], Any]) -> Any:
    """One value of all lanes: the upper half joined to the lower one until one is left."""
    half = lanes.type.count // 2
    while half:
        halves = (
            builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(_INT32, half), [*range(at, at + half)]))
            for at in (0, half)
        )
        lanes = two(*halves)
        half //= 2
    return builder.extract_element(lanes, _INT32(0))


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


@intrinsic
def largest(_context: Any, _values: Any, _length: Any) -> Any:
    """The largest of at least sixteen float32 values, and whether one of them is NaN; then the largest is any of them.

    Sixteen at a time, in two rows of lanes, of which none waits for the other; the last sixteen, of which some were
    read already, as a whole. NaN is told by its bits, also in functions that are compiled for numbers alone.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, length = builder.bitcast(arguments[0], ir.FloatType().as_pointer()), arguments[1]

        def some(at: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(values, [at]), _FLOATS.as_pointer()), align=4)

        def larger(one: Any, other: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", one, other, flags=_FINITE), one, other, flags=_FINITE)

        def take(new: Any, row: int) -> None:
            builder.store(larger(new, builder.load(tops[row])), tops[row])
            magnitude = builder.and_(builder.bitcast(new, _INTS), ir.Constant(_INTS, [_MAGNITUDE] * WIDE))
            before = builder.load(magnitudes[row])
            holds = builder.icmp_signed(">", magnitude, before)
            builder.store(builder.select(holds, magnitude, before), magnitudes[row])

        first = some(_INT64(0))
        tops = [cgutils.alloca_once_value(builder, first) for _ in range(2)]
        magnitudes = [cgutils.alloca_once_value(builder, ir.Constant(_INTS, [0] * WIDE)) for _ in range(2)]
        with cgutils.for_range(builder, builder.sdiv(length, _INT64(2 * WIDE))) as loop:
            at = builder.mul(loop.index, _INT64(2 * WIDE))
            take(some(at), 0)
            take(some(builder.add(at, _INT64(WIDE))), 1)
        left = builder.srem(length, _INT64(2 * WIDE))
        with cgutils.if_likely(builder, builder.icmp_signed(">", left, _INT64(0))):
            take(some(builder.sub(length, _INT64(WIDE))), 0)
            with cgutils.if_likely(builder, builder.icmp_signed(">", left, _INT64(WIDE))):
                take(some(builder.sub(length, left)), 1)
        found = folded(builder, larger(builder.load(tops[0]), builder.load(tops[1])), larger)
        infinite = ir.Constant(_INTS, [_INFINITE] * WIDE)
        lost = [builder.icmp_signed(">", builder.load(each), infinite) for each in magnitudes]
        bits = builder.bitcast(builder.or_(*lost), ir.IntType(WIDE))
        some_lost = builder.icmp_unsigned("!=", bits, ir.IntType(WIDE)(0))
        return context.make_tuple(builder, signature.return_type, (found, some_lost))

    return types.Tuple((types.float32, types.boolean))(types.voidptr, types.int64), generate


@intrinsic
def before_first(_context: Any, _array: Any, _start: Any, _number: Any) -> Any:
    """From where on the first value that equals a number is to be looked for, in a one-dimensional array without gaps:
    where it stands, or less than sixteen values before the array's end, of which none is looked at.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        length = builder.extract_value(array.shape, 0)
        kind = context.get_value_type(signature.args[0].dtype)
        lanes = ir.VectorType(kind, WIDE)
        wanted = splat(builder, arguments[2], lanes)
        place = cgutils.alloca_once_value(builder, arguments[1])
        mask = cgutils.alloca_once_value(builder, ir.IntType(WIDE)(0))
        head, body, end = (builder.append_basic_block(f"before_first.{name}") for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        after = builder.add(builder.load(place), _INT64(WIDE))
        builder.cbranch(builder.icmp_signed("<=", after, length), body, end)
        builder.position_at_end(body)
        at = builder.load(place)
        pointer = builder.bitcast(builder.gep(array.data, [at]), lanes.as_pointer())
        bits = builder.bitcast(builder.fcmp_ordered("==", builder.load(pointer, align=4), wanted), ir.IntType(WIDE))
        builder.store(bits, mask)
        none = builder.icmp_unsigned("==", bits, ir.IntType(WIDE)(0))
        on = builder.append_basic_block("before_first.on")
        builder.cbranch(none, on, end)
        builder.position_at_end(on)
        builder.store(after, place)
        builder.branch(head)
        builder.position_at_end(end)
        bits = builder.load(mask)
        within = builder.zext(builder.cttz(bits, ir.IntType(1)(0)), _INT64)
        some = builder.icmp_unsigned("!=", bits, ir.IntType(WIDE)(0))
        return builder.add(builder.load(place), builder.select(some, within, _INT64(0)))

    return types.int64(_array, types.int64, _array.dtype), generate
