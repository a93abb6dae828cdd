"""From where on a number is worth a sentence, and how a user changes that."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

from fmap_cli.errors import FmapError


def _share(default: float) -> Any:
    return field(default=default, metadata={"range": "a share, above 0 and up to 1", "least": 0.0, "most": 1.0})


def _positive(default: float) -> Any:
    return field(default=default, metadata={"range": "a number above 0", "least": 0.0})


def _factor(default: float) -> Any:
    return field(default=default, metadata={"range": "a number above 1", "least": 1.0})


def _whole(default: int, least: int) -> Any:
    return field(default=default, metadata={"range": f"a whole number of at least {least}", "least": least - 1})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a number is worth a sentence. docs/health.md gives each one's source.

    >>> Thresholds.with_changes(["dead_share=0.25", "depth_layers=8"]).dead_share
    0.25
    """

    dead_images: int = _whole(300, least=1)
    """Images that prove a channel dead: one silent in all of them answers to under 1 % of such images, with 95 %
    confidence (the rule of three, 3 / n: Hanley and Lippman-Hand 1983)."""
    warning_images: int = _whole(30, least=1)
    """Images from which a large share of silent channels is a warning: one silent in all of them answers to under
    10 % of such images."""
    dead_share: float = _share(0.4)
    """Share of a layer's channels from which dead ones are a warning: what Stanford's CS231n notes name as the harm
    of a learning rate too high."""
    constant_spread: float = _positive(1e-6)
    """(max - min) / max(|min|, |max|) up to which a channel is constant: eight roundings of float32, 8 · 2⁻²³."""
    constant_share: float = _share(0.4)
    """Share of a layer's channels from which constant ones are a warning. Sound networks have some: a quarter of the
    first filters of torchvision's MobileNetV2 are all zero."""
    nearly_zero_rms: float = _positive(1e-4)
    """Root mean square below which a layer is nearly zero. A weight's gradient is proportional to what it reads: ten
    thousandth of the usual 1."""
    nearly_zero_ratio: float = _share(1e-3)
    """Share of the median of the layers before below which a layer is small: what is small from the input on is its
    scale."""
    saturated_share: float = _share(0.5)
    """Share of values on an S-shaped curve's flat ends (or of rows of a softmax that are nearly one-hot)."""
    clipped_share: float = _share(0.25)
    """Share of values at the upper bound of ReLU6, or either bound of Hardtanh."""
    depth_layers: int = _whole(5, least=3)
    """Fewest convolutions (or linear layers) in a row, with no normalisation between, that make a trend."""
    depth_slope: float = _positive(0.5)
    """|log2| of the growth a layer: 0.5 is 1.41 times, the gain by which a ReLU network without its factor √2 is off
    (He et al. 2015)."""
    depth_ratio: float = _factor(100.0)
    """Growth or decay from the first to the last of those layers."""
    residual_slope: float = _positive(0.3)
    """|log2| of the growth a residual block: a branch as large as what it is added to gives 0.5, √2 times; 0.3 is 1.23
    times."""
    residual_ratio: float = _factor(30.0)
    """Growth from the first to the last of the sums. Where blocks add in proportion to their number, not to what they
    carry, it goes by the root of their number and is 30 only after 900."""
    norm_gain: float = _factor(50.0)
    """Standard deviation of a channel after batch normalisation, and how many times that before it, from which it is
    blown up. A normalised channel's is around its weight; trained networks reach 18 (fmap's measurement)."""
    norm_offset: float = _positive(20.0)
    """Magnitude of the mean of a channel that lies three standard deviations or more off 0 after batch normalisation,
    from which its offset has shifted it far off. In trained networks such channels reach 12 (fmap's measurement)."""
    loud_ratio: float = _factor(50.0)
    """How many times the median channel's standard deviation a channel's is, from which on it is loud. In trained
    networks the loudest reaches 16 times (fmap's measurement)."""
    float16_max: float = _positive(65504.0)
    """Magnitude above which a value counts as lost in float16: its largest number, (2 - 2⁻¹⁰) · 2¹⁵."""
    float16_small_share: float = _share(0.5)
    """Share of the non-zero values below float16's smallest normal number, 2⁻¹⁴."""
    copied_values: int = _whole(16, least=3)
    """Fewest values a channel for two to be called copies of one another."""
    copied_share: float = _share(0.1)
    """Share of a layer's channels that could go as copies from which they are a warning (fmap's choice)."""

    @classmethod
    def with_changes(cls, changes: Iterable[str]) -> Thresholds:
        """The defaults but for the changes, each `NAME=VALUE`; of two for one name the later counts.

        Raises FmapError for a name that is none, or a value outside its range.
        """
        known = {each.name: each for each in fields(cls)}
        names = f"The thresholds are {', '.join(known)}."
        changed: dict[str, float] = {}
        for change in changes:
            name, equals, text = (part.strip() for part in change.partition("="))
            if not equals:
                raise FmapError(f"a threshold is NAME=VALUE, not {change!r}.", hint=names)
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2)
                wish = f" Did you mean {' or '.join(near)}?" if near else ""
                raise FmapError(f"there is no threshold {name!r}.{wish}", hint=names)
            changed[name] = _value(name, text, known[name].type == "int", known[name].metadata)
        return replace(cls(), **changed)  # type: ignore[arg-type]  # ints where ints belong: `_value` sees to it


def _value(name: str, text: str, is_whole: bool, limits: Any) -> float:
    try:
        value = int(text) if is_whole else float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value <= limits["least"] or value > limits.get("most", value):
        raise FmapError(f"the threshold {name} is {limits['range']}, not {text!r}.", hint="docs/health.md tells why.")
    return value
