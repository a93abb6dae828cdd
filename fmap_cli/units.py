"""Numbers and names to text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from math import isfinite


def number(value: float | None, digits: int = 3) -> str:
    """A value with `digits` significant figures; `–` where there is none.

    >>> [number(v) for v in (0.0, 0.31249, -2.5, 12345.6, 1.5e-7, 1e9, None, float("inf"))]
    ['0', '0.312', '-2.5', '12346', '1.5e-07', '1e+09', '–', 'inf']
    """
    if value is None or value != value:
        return "–"
    if not isfinite(value):
        return "inf" if value > 0 else "-inf"
    if 1000 <= abs(value) < 100_000:
        return f"{value:.0f}"
    return f"{value:.{digits}g}" if value else "0"


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign: what pushes up has one, too.

    >>> signed(0.25), signed(-1.5), signed(10.0), signed(0.0)
    ('+0.250', '-1.50', '+10.0', '0')
    """
    if value is None or not isfinite(value) or not value or 1000 <= abs(value) < 100_000:
        text = number(value, digits)
    else:
        text = f"{value:#.{digits}g}".replace(".e", "e").removesuffix(".")
    return f"+{text}" if value is not None and value > 0 else text


def value_range(low: float, high: float, digits: int = 3) -> str:
    """Both ends of a range, or the one value of a constant.

    >>> value_range(-0.5, 2.25), value_range(0.0, 0.0), value_range(float("nan"), float("nan"))
    ('-0.5 … 2.25', '= 0', 'no finite value')
    """
    if low != low:
        return "no finite value"
    if low == high:
        return f"= {number(low, digits)}"
    return f"{number(low, digits)} … {number(high, digits)}"


def percent(fraction: float) -> str:
    """A share, with a digit more where it would round to nothing or to all.

    >>> [percent(v) for v in (0.0, 0.1234, 0.00004, 0.99999, 1.0)]
    ['0 %', '12.3 %', '<0.1 %', '>99.9 %', '100 %']
    """
    if fraction in (0.0, 1.0):
        return f"{fraction * 100:.0f} %"
    if fraction < 0.0005:
        return "<0.1 %"
    if fraction >= 0.9995:
        return ">99.9 %"
    return f"{fraction * 100:.1f} %"


def count(value: int | None) -> str:
    """A whole number with its thousands apart; `–` where there is none.

    >>> count(4652008), count(None)
    ('4,652,008', '–')
    """
    return "–" if value is None else f"{value:,}"


def shape(sizes: tuple[int, ...] | list[int]) -> str:
    """A shape as PyTorch prints it.

    >>> shape((1, 64, 112, 112))
    '[1, 64, 112, 112]'
    """
    return f"[{', '.join(str(size) for size in sizes)}]"


def shapes(several: Sequence[tuple[int, ...]]) -> str:
    """The shapes of several tensors, those that are all alike once.

    >>> shapes([(8, 3, 32, 32)] * 2), shapes([(8, 3, 32, 32), (8, 10)])
    ('2 × [8, 3, 32, 32]', '[8, 3, 32, 32] and [8, 10]')
    """
    if len(several) > 1 and len(set(several)) == 1:
        return f"{len(several)} × {shape(several[0])}"
    return " and ".join(map(shape, several))


def scaled(value: int | None) -> str:
    """A large count in thousands, millions or billions; `–` where there is none.

    >>> scaled(4652008), scaled(1_814_073_144), scaled(1_015_900_000_000), scaled(999_999), scaled(12), scaled(None)
    ('4.65 M', '1.81 G', '1.02 T', '1 M', '12', '–')
    """
    if value is None:
        return "–"
    if value < 1000:
        return str(value)
    for factor, sign in ((10**3, "k"), (10**6, "M"), (10**9, "G")):
        if float(f"{value / factor:.3g}") < 1000:
            return f"{value / factor:.3g} {sign}"
    return f"{value / 10**12:,.0f} T" if value >= 10**15 else f"{value / 10**12:.3g} T"


BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BYTE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def unit_in_words(unit: str) -> str:
    """How many bytes a unit is.

    >>> unit_in_words("MB"), unit_in_words("GiB")
    ('10⁶ bytes', '2³⁰ bytes')
    """
    return f"{ {'MB': '10⁶', 'GB': '10⁹', 'MiB': '2²⁰', 'GiB': '2³⁰'}[unit] } bytes"


def in_unit(value: int, unit: str) -> str:
    """Bytes in a unit, without its name: `MB` is 10⁶ bytes, `MiB` 2²⁰. Of gigabytes there are three digits more.

    >>> in_unit(51_380_224, "MB"), in_unit(51_380_224, "MiB"), in_unit(1_234_567_890, "MB"), in_unit(9_000, "MB")
    ('51.4', '49.0', '1,234.6', '0.009')
    >>> in_unit(1_234_567_890, "GB")
    '1.235'
    """
    digits = 3 if unit.startswith("G") else 1
    if value and abs(value) < 0.5 * 10**-digits * BYTE_UNITS[unit]:
        return f"{value / BYTE_UNITS[unit]:.1g}"
    return f"{value / BYTE_UNITS[unit]:,.{digits}f}"


def one_line(text: str) -> str:
    r"""Text for people in one line: line breaks, escape sequences and bytes that are no text become visible.

    A file's name may hold any of them, and none may move the terminal's cursor or end a line of a message.

    >>> one_line("a\nb\x1b[31m\udcff.png"), one_line("naïve 😀.png")
    ('a\\nb\\x1b[31m\\udcff.png', 'naïve 😀.png')
    """
    if text.isprintable():  # nearly every one is
        return text
    return "".join(sign if _is_shown(sign) else sign.encode("unicode_escape").decode("ascii") for sign in text)


def layer_name(name: str) -> str:
    """A layer's name where it stands by itself or in a sentence: a bare number is no name that a reader would know.

    >>> layer_name("layer4.1"), layer_name("6"), layer_name("3.0")
    ('layer4.1', 'layer 6', 'layer 3.0')
    """
    return one_line(name) if any(sign.isalpha() for sign in name) or not name else f"layer {one_line(name)}"


def _is_shown(sign: str) -> bool:
    # Joiners and variation selectors are parts of emoji and of several scripts; they move nothing.
    return sign.isprintable() or sign in "\u200c\u200d" or unicodedata.category(sign) == "Zs"
