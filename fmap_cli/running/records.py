"""What every run over many images says of itself: which network, how far it is, how it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..models.input_words import BY_NOUN, InputWords, input_words
from ..models.records import Origin


@dataclass(frozen=True, slots=True)
class RunOrigin(Origin):
    """Which network gave a run's numbers: two runs merge when its `identity` is alike.

    `digest` is a hash of the values of all parameters and buffers (empty where none was made). `input` says what
    happens to a picture before the network sees it; `preprocessing` says that as data, and is None in runs saved before
    it was kept. Of a saved run the weights' name alone is known, and neither the device nor the versions; `noun` is
    what an input of the network is called in it (empty in those saved before that was kept).
    """

    digest: str = ""
    input: str = ""
    noun: str = field(default="", compare=False)

    @property
    def called(self) -> InputWords:
        """What an input of this network is called, and what its places are called."""
        return BY_NOUN.get(self.noun) or input_words(self.input_kind, self.takes)

    @property
    def identity(self) -> tuple[str, ...]:
        """What a saved run keeps of where it comes from."""
        return self.model, str(self.weights), self.digest, self.dtype, self.input

    @property
    def input_in_words(self) -> str:
        return self.fed_in_words or self.input


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run over a list of images has come: `done` of its `total` entries, and a digest of the list.

    With several processes each goes through a list of its own: this is the `rank`-th of `ranks`.
    """

    done: int
    total: int
    digest: str
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True, slots=True)
class Resumable:
    """How a long run is kept: where it will be saved, whether it goes on, how often (seconds) it is noted down."""

    save: Path | None = None
    resume: bool = False
    checkpoint_every: float = 60.0
