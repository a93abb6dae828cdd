"""What there is to say about dossiers in sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import units
from .dossiers import selectivity
from .excitations import SPREAD
from .records import Dossier, Dossiers, LayerDossiers, Sort

FEW = 20
"""From fewer images on, what a channel answers to can hardly be told."""


def notes_on(found: Dossiers) -> tuple[str, ...]:
    """What cannot be concluded from so many images, and what is left out."""
    notes = []
    if found.images == 1:
        notes.append(
            "One image says where each channel is strongest in it, not what the channel answers to: there is no other "
            "image to tell it from."
        )
    elif found.images < FEW:
        notes.append(
            f"Over {found.images} images the strongest are most of what there is: what they share may be chance."
        )
    if found.by_class and all(len(each.found.classes.names) < 2 for each in found.layers):
        notes.append("There is one class, so no channel can be said to answer to it more than to others.")
    if found.images > SPREAD:
        what = ["distributions", *(() if found.by_class else ("selectivity",))]
        what += ["quantiles"] if found.like is None else ["shares above", "quantiles"]
        said = f"{', '.join(what[:-1])} and {what[-1]}".capitalize()
        notes.append(f"{said} are of {SPREAD} of the {found.images} images, drawn by their names.")
    how_far = found.progress
    if how_far is not None and how_far.done < how_far.total:
        notes.append(f"The run is unfinished: {how_far.done} of {how_far.total} images.")
    return tuple(notes)


def order_in_words(found: Dossiers, layer: LayerDossiers, sort: Sort, reverse: bool) -> str:
    """In which order a layer's channels are."""
    if sort == "selectivity" and np.isnan(selectivity(found, layer)).all():
        return "in the order of the channels, for none has a selectivity"
    return sort_in_words(sort, found.by_class, reverse)


def sort_in_words(sort: Sort, by_class: bool, reverse: bool = False) -> str:
    """By what channels are sorted.

    >>> sort_in_words("selectivity", False), sort_in_words("max", False, reverse=True)
    ('the most selective first (sparseness over images)', 'the weakest first')
    """
    if sort == "like":
        fewer = "fewest" if reverse else "most"
        return f"those first that are stronger here than in {fewer} images"
    if sort == "selectivity":
        how = "by class" if by_class else "sparseness over images"
        return f"the {'least' if reverse else 'most'} selective first ({how})"
    return {
        "fires": f"those that fire {'least' if reverse else 'most'} often first",
        "index": "the last channel first" if reverse else "in the order of the channels",
        "max": f"the {'weakest' if reverse else 'strongest'} first",
    }[sort]


def image_names(found: Dossiers) -> Callable[[str], str]:
    """What images are called where there is little room: by their files' names, and with as many of their folders' as
    tell them apart where files are called alike.
    """
    alike: dict[str, list[tuple[str, ...]]] = {}
    for each in set(found.names.values()):
        alike.setdefault(Path(each).name, []).append(Path(each).parts)

    def called(image: str) -> str:
        parts = Path(image).parts
        others = [each for each in alike.get(parts[-1] if parts else "", []) if each != parts]
        count = 1
        while count < len(parts) and any(each[-count:] == parts[-count:] for each in others):
            count += 1
        return units.one_line("/".join(parts[-count:]) if parts else image)

    return called


def scale_in_words(by_class: bool) -> str:
    """What the numbers of selectivity say.

    >>> scale_in_words(False)
    'Selectivity is 0 where all images excite a channel alike, and 1 where a single image does.'
    """
    images = "classes" if by_class else "images"
    one = "class" if by_class else "image"
    return f"Selectivity is 0 where all {images} excite a channel alike, and 1 where a single {one} does."


def firing(dossier: Dossier) -> str:
    """How often a channel fires.

    >>> from numpy import zeros
    >>> firing(Dossier(3, 40, 0.0, 0.0, -1.5, -0.2, (), None, (), (), zeros(0)))
    'never fires: its largest value over 40 images is 0'
    """
    if dossier.fires is None:
        return "has no value that is a number"
    images = f"{dossier.images} image{'s' * (dossier.images != 1)}"
    if dossier.never_fires:
        return f"never fires: its largest value over {images} is {dossier.max:.3g}"
    return f"fires in {share_in_words(dossier.fires)} of {images}" if dossier.images > 1 else "fires in the one image"


def share_in_words(share: float) -> str:
    """A share in whole percent, which is 0 % and 100 % only where none and all are meant.

    >>> [share_in_words(each) for each in (0, 1 / 300, 0.5, 299 / 300, 1)]
    ['0%', '<1%', '50%', '>99%', '100%']
    """
    if 0 < share < 0.005 or 0.995 <= share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return f"{share:.0%}"


def examples_in_words(per_image: int, *, others: bool) -> str:
    """What the units of a dossier are examples of; `others` than the strongest may be shown as well.

    >>> examples_in_words(3, others=False)
    'Up to 3 of the strongest are of one image.'
    """
    several = f"Up to {per_image} of the strongest are of one image." if per_image > 1 else ""
    first = several or "Each of the strongest is from a different image."
    compared = (
        " For comparison stand images whose maxima are at quantiles of the channel's maxima (50% is an image in the "
        "middle), and those with the smallest maxima."
    )
    return f"{first}{compared * others}".rstrip()


def here_in_words(dossier: Dossier) -> str:
    """How a channel's value at the place asked about compares with its maxima; nothing where none is.

    >>> from numpy import zeros
    >>> here_in_words(Dossier(3, 40, 1.0, 9.0, 0.0, 2.0, (), None, (), (), zeros(0), here=5.25, above=0.975))
    'here 5.25, above the maxima of 98% of the images'
    """
    if dossier.here is None or dossier.above is None:
        return ""
    return f"here {dossier.here:.3g}, above the maxima of {share_in_words(dossier.above)} of the images"
