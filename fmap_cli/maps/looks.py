"""One network's looks at any number of images, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import FmapError, ModelError
from ..inputs.feeds import feed_of, source_name
from ..inputs.framing import Framings
from ..network.shapes import split_layout
from ..receptive.records import FieldRow
from ..receptive.survey import receptive_fields
from ..receptive.unit import strongest_units
from ..session.ahead import read_ahead
from ..session.opening import Session, groups
from .look import look
from .records import Look, Looking

_READ_AHEAD = 2
"""Images read while the network runs on the one before them."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks at these images, each made when it is asked for; for an image that cannot be read, the reason.

    Raises ImageError where the sources name no images, and ModelError where the strongest units cannot be boxed on
    what this network's figures show.
    """

    session: Session
    sources: Sequence[str]
    looking: Looking
    say: Callable[[str], None]
    _groups: list[str | Sequence[str] | None] = field(init=False)
    _fields: dict[tuple[int, ...], dict[str, FieldRow]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", groups(self.session, self.sources))
        model = self.session.model
        if self.looking.strongest and model.input_kind == "images":
            raise ModelError(
                f"{model.name} is a detector: its figures show a resized picture, --rf boxes the given one.",
                hint="`fmap rf IMAGE --layer L --at max` draws the box of a detector's unit.",
            )
        if self.looking.strongest and feed_of(model).axes[-2:] != ("H", "W"):
            raise ModelError(f"--rf boxes what units see on the picture, and {model.name} takes none.")

    @property
    def names(self) -> list[str]:
        """What the images are called."""
        return [source_name(each) for each in self._groups]

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Look | FmapError]:
        of_arrays, of_outputs = split_layout(self.looking.layout)
        framings = Framings()
        class_map_of = ""
        for _, image in read_ahead(self.session, self._groups, self.say, of_arrays, _READ_AHEAD):
            if isinstance(image, FmapError):
                yield image
                continue
            framings.add(image.name, image.framing)
            found = look(
                self.session,
                image,
                self.looking.patterns,
                self.looking.choice,
                keep_arrays=self.looking.keep_arrays,
                least_score=self.looking.score,
                layout=of_outputs,
            )
            class_map_of = found.class_map_of
            yield self._with_units(found) if self.looking.strongest else found
        framings.say(self.say)
        if class_map_of:
            self.say(f"the network gives each pixel a class: --layer with its answer ({class_map_of}) draws these.")

    def _with_units(self, found: Look) -> Look:
        """The look with each map's strongest units, of an input as large as this one."""
        maps = [each for each in found.maps if each.is_map]
        size = tuple(found.image.tensor.shape)
        if maps and size not in self._fields:
            rows = receptive_fields(self.session, image=found.image).layers
            self._fields[size] = {row.layer.name: row for row in rows}
        units = {
            each.layer.name: tuple(strongest_units(each.maps, each.drawn, self._fields[size][each.layer.name]))
            for each in maps
        }
        return replace(found, units=units)
