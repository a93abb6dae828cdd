"""Whether two runs are of one network, which is fed in one way: then what they have found joins."""

from __future__ import annotations

from dataclasses import replace

from ..errors import FmapError
from .records import RunOrigin

ALIKE = "Runs can be merged if model, weights, dtype, input and layers are the same: make both with the same options."

DOSSIERS_ALIKE = ALIKE.replace("Runs", "Dossiers", 1)

DOSSIERS_OF_THIS = (
    "Dossiers go with the network they were made of, fed as it was then: give the same model, weights, dtype and size."
)
"""Where dossiers are read beside a network at hand, and nothing is merged."""


def check_origins(first: str, one: RunOrigin, second: str, other: RunOrigin, hint: str = ALIKE) -> None:
    """Raise FmapError where the two runs' networks or inputs differ, with both values of the first that does.

    Weights are alike where their digests are; where either is absent, where their names are. `hint` is what to try.
    """
    both = f"{first} and {second}"
    ours, theirs = str(one.weights), str(other.weights)
    if one.model != other.model:
        raise FmapError(f"{both} are of different models: {one.model} and {other.model}.", hint=hint)
    if one.digest and other.digest:
        if one.digest != other.digest and ours != theirs:
            raise FmapError(f"{both} are of different weights: {ours} and {theirs}.", hint=hint)
        if one.digest != other.digest:
            raise FmapError(
                f"{both} are of different weights, though both are named {ours}: "
                f"their digests are {one.digest[:12]} and {other.digest[:12]}.",
                hint=hint,
            )
    elif ours != theirs:
        raise FmapError(f"{both} are of different weights: {ours} and {theirs}.", hint=hint)
    if one.dtype != other.dtype:
        raise FmapError(f"{both} are of different dtypes: {one.dtype} and {other.dtype}.", hint=hint)
    if one.input != other.input:
        raise FmapError(f"{both} prepared their images differently: {one.input} and {other.input}.", hint=hint)


def joined_origin(first: RunOrigin, second: RunOrigin) -> RunOrigin:
    """That of both; what only one of them knows, or what differs, is not known of the whole."""
    return replace(
        first,
        digest=first.digest or second.digest,
        device=first.device if first.device == second.device else "",
        versions=first.versions if first.versions == second.versions else None,
    )
