"""What figures with a network's layers along an axis share: colours of kinds, stages, names that read upwards."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from .scene import GRAY, INK, Box, Colour, Scene, Text, text_width

_NAME_STEP, _NAME_ROOM = 15, 200
_NAME_SIZE = 12

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE: Colour = (0, 114, 178)
ORANGE: Colour = (230, 159, 0)
GREEN: Colour = (0, 158, 115)
OTHER: Colour = (125, 125, 134)
RED: Colour = (213, 94, 0)
KINDS: dict[str, tuple[str, Colour]] = {
    "conv": ("convolution, linear", BLUE),
    "linear": ("convolution, linear", BLUE),
    "norm": ("normalisation", ORANGE),
    "act": ("activation", GREEN),
}
ELSE = ("other", OTHER)
BAND: Colour = (246, 246, 249)


def stages(names: Sequence[str]) -> list[tuple[str, int]]:
    """Layers in a row whose names begin alike, and how many each: as coarse as leaves none with over half of all.

    Empty where names do not say.

    >>> stages(["conv1", "layer1.0.conv1", "layer1.0.relu", "layer2.0.conv1", "layer2.0.relu"])
    [('conv1', 1), ('layer1', 2), ('layer2', 2)]
    >>> stages(["a.0.x", "a.0.y", "a.0.z", "a.1.x", "a.1.y", "a.1.z"])
    [('a.0', 3), ('a.1', 3)]
    """
    for depth in range(1, 5):
        runs: list[tuple[str, int]] = []
        for name in names:
            stage = ".".join(name.split(".")[:depth])
            if runs and runs[-1][0] == stage:
                runs[-1] = (stage, runs[-1][1] + 1)
            else:
                runs.append((stage, 1))
        if max((count for _, count in runs), default=0) * 2 <= len(names):
            return runs if len(runs) <= 0.6 * len(names) else []
    return []


def mixed(colour: Colour, share: float) -> Colour:
    """A colour of which `share` is left over white."""
    red, green, blue = (round(255 + (each - 255) * share) for each in colour)
    return red, green, blue


def draw_bands(
    scene: Scene, names: Sequence[str], slot: int, left: int, top: int, bottom: int
) -> list[tuple[int, int]]:
    """A band behind every other stage of the network, the names above. Returns where the bands begin and end."""
    bands: list[tuple[int, int]] = []
    start, shaded = 0, False
    for name, count in stages(names):
        x, width = left + start * slot, count * slot
        start += count
        if count == 1:
            continue
        shaded = not shaded
        if shaded:
            bands.append((x, x + width))
            scene.add(Box(x, top, width, bottom - top, BAND))
        if width >= 30:
            words = end_of(name, width - 4, _NAME_SIZE)
            scene.add(Text(x + width / 2, top - 18, words, _NAME_SIZE, GRAY, align="middle"))
    return bands


def draw_names(scene: Scene, names: Sequence[str], slot: int, left: int, y: int) -> int:
    """The layers' names reading upwards, as many as there is room for; the first slot begins at `left`.

    Returns where they end.
    """
    step = ceil(_NAME_STEP / slot)
    longest = 0.0
    for at in range(0, len(names), step):
        name = end_of(names[at], _NAME_ROOM, _NAME_SIZE)
        longest = max(longest, text_width(name, _NAME_SIZE))
        scene.add(Text(left + at * slot + slot / 2 - 7, y, name, _NAME_SIZE, INK, align="right", turned=True))
        if step > 1:
            scene.add(Box(left + at * slot + slot // 2, y - 5, 1, 4, GRAY))
    return y + ceil(longest)


def end_of(text: str, width: float, size: int) -> str:
    """As much of the end of a text as fits: layers' names differ in the end."""
    if text_width(text, size) <= width:
        return text
    start = next((at for at in range(1, len(text)) if text_width("…" + text[at:], size) <= width), len(text))
    return "…" + text[start:]
