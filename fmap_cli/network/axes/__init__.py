"""What the axes of a layer's output mean; and the output as maps of its channels.

`known` reads them off a class or a user's letters, `follow` carries them along one pass (`rules` has a rule an
operation, `factors` what is carried), `measure` runs the network at other sizes, and `resolve` makes one answer of it.
"""

from .known import axes_by_layout, axes_by_module, axes_by_rank
from .maps import channel_axes, channel_maps, undrawn_axes
from .measure import Growth, measure
from .resolve import AxesResolver, Followed, Following, follow
from .twins import meta_twin, twin_of

__all__ = [
    "AxesResolver",
    "Followed",
    "Following",
    "Growth",
    "axes_by_layout",
    "axes_by_module",
    "axes_by_rank",
    "channel_axes",
    "channel_maps",
    "follow",
    "measure",
    "meta_twin",
    "twin_of",
    "undrawn_axes",
]
