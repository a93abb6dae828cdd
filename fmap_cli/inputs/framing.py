"""What part of a picture the network sees, and how much it was enlarged for it, said where that is out of the ordinary.

An ordinary photo is resized to about the network's input and loses its edges: ImageNet's usual crop keeps 57 % of a 4:3
photo, 43 % of a 16:9 one. That goes without saying. Said is what changes what the answer is about: less than a third
seen (pictures from about 7:3 on), every pixel blown up to 2 × 2 or more, one side squeezed half as much again as the
other (a portrait made 4:3), and black around what is smaller than the crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import ImageInput

LEAST_SEEN = 1 / 3  # of the picture's area
MOST_ENLARGED = 2.0  # of either side
MOST_SQUEEZED = 1.5  # of one side beside the other


@dataclass(frozen=True, slots=True)
class Framing:
    """How a picture of `size` pixels became the network's input: it was `resized`, and the middle of it `cut` out.

    All are (height, width). Where `cut` is the larger, black is around the picture.
    """

    size: tuple[int, int]
    resized: tuple[int, int]
    cut: tuple[int, int]

    @property
    def kept(self) -> tuple[int, int]:
        """Height and width of what is seen, in the picture's own pixels."""
        sides = zip(self.size, self.resized, self.cut, strict=True)
        down, across = (max(round(min(cut / resized, 1) * size), 1) for size, resized, cut in sides)
        return down, across

    @property
    def unusual(self) -> dict[str, float]:
        """By how much the framing is out of the ordinary, for each way in which it is; the larger the more.

        >>> Framing((400, 600), (256, 384), (224, 224)).unusual
        {}
        >>> sorted(Framing((8, 8), (256, 256), (224, 224)).unusual)
        ['enlarged']
        """
        (height, width), sizes = self.resized, self.size
        seen = min(self.cut[0] / height, 1) * min(self.cut[1] / width, 1)
        down, across = height / sizes[0], width / sizes[1]
        far = {
            "cropped": 1 / seen if seen < LEAST_SEEN else 0.0,
            "enlarged": min(down, across) if min(down, across) >= MOST_ENLARGED else 0.0,
            "squeezed": max(down / across, across / down),
            "padded": max(self.cut[0] / height, self.cut[1] / width),
        }
        far["squeezed"] *= far["squeezed"] >= MOST_SQUEEZED
        far["padded"] *= far["padded"] > 1
        return {kind: by for kind, by in far.items() if by}

    @property
    def in_words(self) -> str:
        """What is out of the ordinary, for a caption under what the network saw; empty where nothing is.

        >>> Framing((300, 6000), (256, 5120), (224, 224)).in_words
        '1/26 of the picture, the middle 262 × 262 of its 300 × 6000 px'
        >>> Framing((8, 8), (256, 256), (224, 224)).in_words
        "the picture's 8 × 8 px enlarged 32 times"
        """
        own, middle = _product(self.size), _product(self.kept)
        said = {
            "cropped": f"{self.share} of the picture, the middle {middle} of its {own} px",
            "enlarged": f"the picture's {own} px enlarged {self.times('enlarged')}",
            "squeezed": f"the picture's {self.squeezed} squeezed {self.times('squeezed')} as much as its {self.other}",
            "padded": f"the picture's {own} px with black around",
        }
        return ", ".join(said[kind] for kind in self.unusual)

    def about(self, name: str) -> dict[str, str]:
        """What is out of the ordinary about the picture of that name, in a sentence each."""
        own, middle, squeezed = _product(self.size), _product(self.kept), self.times("squeezed")
        said = {
            "cropped": f"the network sees {self.share} of {name}, the middle {middle} of its {own} px",
            "enlarged": f"{name}, {own} px, is enlarged {self.times('enlarged')} for the network",
            "squeezed": f"{name} is distorted: its {self.squeezed} shrinks {squeezed} as much as its {self.other}",
            "padded": f"{name}, {own} px, is smaller than the crop, {_product(self.cut)}: black is put around it",
        }
        return {kind: said[kind] for kind in self.unusual}

    @property
    def share(self) -> str:
        """How much of the picture is seen."""
        seen = 1 / self.unusual["cropped"] if "cropped" in self.unusual else 1.0
        return f"{seen * 100:.0f} %" if seen >= 0.1 else f"1/{round(1 / seen)}"

    @property
    def squeezed(self) -> str:
        """The side that shrinks more than the other."""
        down, across = (resized / size for resized, size in zip(self.resized, self.size, strict=True))
        return "height" if down < across else "width"

    @property
    def other(self) -> str:
        """The side that shrinks less."""
        return "width" if self.squeezed == "height" else "height"

    def times(self, kind: str) -> str:
        return f"{self.unusual.get(kind, 1):.3g} times"


def caption(size: tuple[int, int], framing: Framing | None, who: str = "the network") -> str:
    """What stands in a figure under a picture of this size that `who` saw.

    >>> caption((224, 224), Framing((400, 600), (256, 384), (224, 224)))
    'what the network saw, 224 × 224 px'
    """
    words = framing.in_words if framing is not None else ""
    return f"what {who} saw, {_product(size)} px" + (f": {words}" if words else "")


def _product(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


_OF_SEVERAL = {
    "cropped": "the network sees less than a third of {images}, least of {name}: {far.share}",
    "enlarged": "{images} are enlarged for the network, {name} ({far.size[0]} × {far.size[1]} px) {times}",
    "squeezed": "{images} are distorted, {name} most: its {far.squeezed} shrinks {times} as much as its {far.other}",
    "padded": "{images} are smaller than the crop: black is put around them",
}


@dataclass(slots=True)
class Framings:
    """The framings of a run's pictures, of which one sentence is said, however many they are."""

    count: int = 0
    found: dict[str, tuple[int, str, Framing]] = field(default_factory=dict)
    """For each kind of what is out of the ordinary: of how many pictures, and the one of which most."""

    def add(self, name: str, framing: Framing | None) -> None:
        """Take one more input into account; without a framing, one that no picture was resized for."""
        self.count += 1
        if framing is None:
            return
        for kind, by in framing.unusual.items():
            count, most, far = self.found.get(kind, (0, name, framing))
            if by > far.unusual[kind]:
                most, far = name, framing
            self.found[kind] = count + 1, most, far

    def say(self, say: Callable[[str], None]) -> None:
        """Say what is out of the ordinary, if anything is."""
        if self.found:
            say(self.sentence)

    @property
    def sentence(self) -> str:
        r"""What is out of the ordinary, of how many pictures, and which is the farthest.

        >>> wide, small, usual = ((300, 6000), (256, 5120)), ((8, 8), (256, 256)), ((400, 600), (256, 384))
        >>> framings = Framings()
        >>> for name, sizes in (("wide", wide), ("small", small), ("photo", usual), ("wider", wide)):
        ...     framings.add(name, Framing(*sizes, (224, 224)))
        >>> print(framings.sentence.replace("; ", ";\n"))
        the network sees less than a third of 2 of 4 images, least of wide: 1/26;
        small, 8 × 8 px, is enlarged 32 times for the network;
        --size H,W crops nothing
        """
        said = []
        for kind, (count, name, far) in self.found.items():
            if count == 1:
                said.append(far.about(name)[kind])
                continue
            images = f"all {count} images" if count == self.count else f"{count} of {self.count} images"
            said.append(_OF_SEVERAL[kind].format(images=images, name=name, far=far, times=far.times(kind)))
        return "; ".join([*said, *(["--size H,W crops nothing"] if "cropped" in self.found else [])])


def framings_of(images: Iterable[ImageInput]) -> Framings:
    """The framings of these images."""
    framings = Framings()
    for image in images:
        framings.add(image.name, image.framing)
    return framings
