"""Receptive fields: which pixels of the image go into a layer's values.

`Follower` carries along with every tensor of a pass what it sees (`field`), by a rule an operation (`operations`);
`describe` turns what it has found of a layer into size, stride and start. `effective` measures how much of that counts.
"""

from .describe import box_of, describe, spans_of
from .effective import gradient_energy, holding_boxes
from .follow import Follower

__all__ = ["Follower", "box_of", "describe", "gradient_energy", "holding_boxes", "spans_of"]
