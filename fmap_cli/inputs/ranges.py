"""The numbers in a file as values from 0 (black) to 1 (white), however many bits they have. NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ImageError

if TYPE_CHECKING:
    import numpy as np

_FULL_SCALE = 65535
_DARK = 1 / 8
"""A 16-bit picture that uses less than this of its range is 12-bit data, or nearly black: that is said."""


def to_unit(
    planes: np.ndarray, label: str, value_range: tuple[float, float] | None = None
) -> tuple[np.ndarray, list[str]]:
    """The values as uint8, where they are whole numbers in 0..255, else as float32 in 0..1; and notes.

    Unsigned 16-bit integers are divided by 65535, floats above 1 by 255. `value_range` says which values become 0 and 1
    instead; what lies outside is cut off. Raises ImageError for values whose meaning nobody can know.

    >>> import numpy as np
    >>> to_unit(np.array([-1000, 0, 3000]), "ct.npy", (-1000, 1000))[0].tolist()
    [0.0, 0.5, 1.0]
    """
    import numpy as np

    dtype = planes.dtype
    if dtype.kind == "f":
        check_finite(planes, label)
    if value_range is not None:
        return _mapped(planes, value_range)
    if dtype == np.uint8:
        return planes, []
    if dtype == np.bool_:
        return planes.astype(np.uint8) * np.uint8(255), []
    low, high = planes.min(), planes.max()
    if dtype.kind == "u" and dtype.itemsize == 2:
        said = f"{span(planes)} divided by {_FULL_SCALE}"
        if 0 < high < _FULL_SCALE * _DARK:
            most = (1 << int(high).bit_length()) - 1
            said += f": dark, {_percent(float(high) / _FULL_SCALE)} of the range; --range 0,{most} spreads it"
        return planes.astype(np.float32) / np.float32(_FULL_SCALE), [said]
    if low < 0 or high > 255:
        raise _outside(planes, label, "0..1 or 0..255" if dtype.kind == "f" else "0..255, or uint16 in 0..65535")
    if dtype.kind != "f":
        return planes.astype(np.uint8), [f"{span(planes)} read as 0..255"]
    if high > 1:
        # float16 is too coarse to divide in.
        unit = np.divide(planes, 255, dtype=np.promote_types(dtype, np.float32))
        return unit.astype(np.float32), [f"{span(planes)} read as 0..255, divided by 255"]
    return planes.astype(np.float32), []


def of_stored_bits(planes: np.ndarray, bits: int, label: str) -> np.ndarray:
    """A picture's integers in the type that says their full scale: uint8 or uint16.

    Wide ones, of more than 16 `bits`, say nothing of it: up to 255 they are 8-bit, up to 65535 16-bit values.
    Raises ImageError outside of both.

    >>> import numpy as np
    >>> [of_stored_bits(np.array([0, high]), 32, "a.tif").dtype.name for high in (255, 4095)]
    ['uint8', 'uint16']
    """
    import numpy as np

    if planes.min() < 0 or planes.max() > _FULL_SCALE:
        raise _outside(planes, label, "0..255 or 0..65535")
    return planes.astype(np.uint8 if bits > 16 and planes.max() <= 255 else np.uint16)


def alpha_to_unit(plane: np.ndarray) -> np.ndarray:
    """Opacity in 0..1, from the full scale of its type; floats are that already."""
    import numpy as np

    full = 1 if plane.dtype.kind == "f" else np.iinfo(plane.dtype).max if plane.dtype.kind in "iu" else 1
    return (plane.astype(np.float32) / np.float32(full)).clip(0, 1)


def span(planes: np.ndarray) -> str:
    """
    >>> import numpy as np
    >>> span(np.array([-1, 7], np.int16))
    'int16 values -1..7'
    """
    return f"{planes.dtype.name} values {_number(planes.min())}..{_number(planes.max())}"


def _mapped(planes: np.ndarray, value_range: tuple[float, float]) -> tuple[np.ndarray, list[str]]:
    import numpy as np

    low, high = value_range
    unit = (planes.astype(np.float64) - low) / (high - low)
    outside = int(((unit < 0) | (unit > 1)).sum())
    said = f"{span(planes)}: {low:g}..{high:g} mapped to 0..1"
    if outside:
        said += f", {_percent(outside / unit.size)} of them outside and cut off"
    return unit.clip(0, 1).astype(np.float32), [said]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _outside(planes: np.ndarray, label: str, expected: str) -> ImageError:
    low, high = _number(planes.min()), _number(planes.max())
    return ImageError(
        f"{label} holds {span(planes)}; expected {expected}.",
        hint=f"Say which values are black and white: --range {low},{high}. Or, where these are values after"
        " normalisation, give the picture before it: fmap applies the model's mean and std itself.",
    )


def check_finite(planes: np.ndarray, label: str) -> None:
    import numpy as np

    nan, infinite = int(np.isnan(planes).sum()), int(np.isinf(planes).sum())
    if nan or infinite:
        raise ImageError(
            f"{label} holds {nan} NaN and {infinite} infinite values among {planes.size}.",
            hint="Replace them first, for example with np.nan_to_num(array).",
        )


def _number(value: Any) -> str:
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)
