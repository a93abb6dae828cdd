"""What a layer's numbers say about the network: findings in words, out of records alone.

Each check is a function of the records in execution order. Its rule, the threshold's source and what people do about it
are in docs/health.md. A finding stands where its cause begins: what only follows from it further on is not told again.
What is said of channels is said of the images that were seen, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fmap_cli.statistics.moments import dead_channels
from fmap_cli.statistics.records import Finding, LayerRecord

from .answer import with_consequence
from .channels import channels
from .depth import is_shut, nearly_zero, small_layers, trends
from .loud import loud
from .norms import norms
from .seen import SEVERITIES, Seen, Severity
from .thresholds import Thresholds
from .values import float16, not_finite, saturated

__all__ = ["Severity", "Thresholds", "findings", "reaches"]


def findings(
    layers: Sequence[LayerRecord],
    images: int,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
    noun: str = "image",
) -> tuple[Finding, ...]:
    """What a person should know of a run over `images` images, in the order of the layers it stands at.

    `layers` are in execution order. Of an input only NaN and infinity are told, and a layer that is the same tensor
    as an earlier one is passed over. `noun` is what an input is called (`signal`, `volume`). Layers without a histogram
    are not judged by shares of their values.

    >>> import torch
    >>> from fmap_cli.network.records import Axes, LayerRef
    >>> from fmap_cli.statistics.reference import channel_stats
    >>> relu = LayerRef("1", "1", 0, "act", "ReLU", is_module=True)
    >>> stats = channel_stats(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
    >>> found = findings([LayerRecord(relu, (1, 2, 1, 2), Axes(("B", "C", "H", "W"), ""), "float32", 1, stats)], 1)
    >>> [(each.check, each.severity, each.channels) for each in found]
    [('dead-channels', 'note', (0,))]
    """
    dead = dead_channels(layers)
    own = [Seen(record, dead.get(record.layer.name), thresholds, noun) for record in layers if record.same_as is None]
    real = [each for each in own if not each.is_input and each.is_real]
    depth = list(trends(real, images, thresholds))
    small = list(small_layers(own, thresholds))
    fading = {name for found, run in depth if found.check == "vanishing" for name in run}
    told = [
        *not_finite(own),
        *float16(real, thresholds),
        *(found for found, _ in depth),
        *(nearly_zero(run, usual) for run, usual in small if run[0].name not in fading and not is_shut(run[0])),
        *norms(real, thresholds),
        *loud(real, thresholds),
        *saturated(real, thresholds),
        *channels(own, {each.name for run, _ in small for each in (run[1:] if is_shut(run[0]) else run)}, thresholds),
    ]
    place = {each.name: at for at, each in enumerate(own)}
    return tuple(sorted(with_consequence(told, own, images), key=lambda found: place[found.layer]))


def reaches(found: Iterable[Finding], severity: Severity) -> bool:
    """Whether any finding is at this severity or above: `--check --fail-on` asks.

    >>> reaches([Finding("fc", "nearly-zero", "warning", "", "", "")], "error")
    False
    """
    return any(SEVERITIES.index(each.severity) >= SEVERITIES.index(severity) for each in found)
