"""What a model is: the request, the loaded network, how it is fed, and one line of the list of models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from .. import units
from .input_words import InputWords, input_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch


InputKind = Literal["image", "images", "video", "image_pair", "arrays"]
"""How a model takes its input.

`image`: one tensor `[B, C, H, W]`. `images`: a list of `[C, H, W]` (detection). `video`: `[B, C, T, H, W]`.
`image_pair`: two tensors `[B, C, H, W]` (optical flow). `arrays`: whatever else its `NetworkInput` says.
"""


Interpolation = Literal["nearest", "bilinear", "bicubic"]


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What happens to a picture before the network sees it; sizes are height before width.

    In order: `resize` (an int is the length of the shorter side, a pair the exact size, None keeps the size),
    centre crop to `crop` (None keeps all), values to 0..1, then `(value - mean) / std` per channel.
    `value_range` are the numbers in the file that become 0 and 1, where the user says them (`--range`).
    `multiple_of` crops height and width down to a multiple (1 keeps them). `channels` is how many channels
    the network takes: 3 is RGB, 1 is grayscale, any other number takes arrays only. `source` says where all this comes
    from: the weights entry, assumed, given by the user, as on the other side of a comparison; `known` is 2 for what
    weights or the user say, 1 for what is assumed because known weights want it, 0 for what is merely usual. Neither
    makes a difference between two.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: int = 3
    multiple_of: int = 1
    value_range: tuple[float, float] | None = None
    source: str = field(default="", compare=False)
    known: int = field(default=2, compare=False)

    @property
    def has_given_size(self) -> bool:
        """Whether the user says the size."""
        return self.source.startswith("--size")

    @property
    def at_own_size(self) -> Preprocessing:
        """This for a picture that keeps its size."""
        return replace(self, resize=None, crop=None)

    @property
    def steps(self) -> str:
        """What happens to a picture, in words.

        >>> Preprocessing(resize=256, crop=(224, 224)).steps
        'resize 256 bilinear, crop 224 × 224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225'
        """
        return self._steps(lambda values: " ".join(f"{value:g}" for value in values))

    @property
    def in_words(self) -> str:
        """The steps and where they come from, as short as every output has room for.

        >>> Preprocessing(resize=None, crop=None, mean=(127 / 255,) * 3, std=(0.5,) * 3, source="assumed").in_words
        'mean 0.498, std 0.5 (assumed)'
        """
        steps = self._steps(
            lambda values: " ".join(f"{each:.3g}" for each in values[: 1 if len({*values}) == 1 else None])
        )
        return f"{steps} ({self.source})" if self.source else steps

    def _steps(self, numbers: Callable[[tuple[float, ...]], str]) -> str:
        steps = []
        if self.resize is not None:
            size = f"{self.resize}" if isinstance(self.resize, int) else f"{self.resize[0]} × {self.resize[1]}"
            steps.append(f"resize {size} {self.interpolation}{'' if self.antialias else ' (no antialias)'}")
        if self.crop is not None:
            steps.append(f"crop {self.crop[0]} × {self.crop[1]}")
        if self.multiple_of > 1:
            steps.append(f"to a multiple of {self.multiple_of}")
        if self.value_range is not None:
            steps.append("range {:g}..{:g} to 0..1".format(*self.value_range))
        for name, values in (("mean", self.mean), ("std", self.std)):
            steps.append(f"{name} {numbers(values)}")
        if self.channels != 3:
            steps.append(f"{self.channels} channel{'' if self.channels == 1 else 's'}")
        return ", ".join(steps)


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """What the forward of a network that does not say so itself is given; one entry an argument.

    `shapes` are without the batch. `axes` has a letter for each axis: `CHW`, `CTHW`, `CW` or `WC` (a sequence), `C` (a
    vector), `W` (tokens, a signal), empty for a single number. `integers` says which arguments are indices, and
    `indices` how many there are to choose from; all others are numbers of `dtype`. `how` says where all that is known
    from: `found by running`.
    """

    shapes: tuple[tuple[int, ...], ...]
    axes: tuple[str, ...]
    how: str
    integers: tuple[bool, ...]
    indices: int = 0
    dtype: str = "float32"

    @property
    def words(self) -> str:
        """For one item.

        >>> NetworkInput(((3, 224, 224), (10,)), ("CHW", "C"), "found by running", (False, False)).words
        '[1, 3, 224, 224] and [1, 10]'
        """
        return " and ".join(str([1, *shape]) for shape in self.shapes)


WeightsKind = Literal["pretrained", "file", "program", "made", "given", "random", "none", "unknown"]
"""Where a network's numbers come from.

`pretrained`: a set that is published under a name. `file`: a checkpoint. `program`: a file that holds the network as
well. `made`: a factory, which was called with a seed. `given`: a network that the caller made. `random`: drawn from a
seed. `none`: the architecture alone, with numbers of no meaning. `unknown`: whatever the name says, for a run saved to
a file has no more.
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a network's numbers come from; as text it is the label that stands on every output.

    `name` is the pretrained set's, the file's or the factory's, `seed` what was drawn from, None where nothing was.

    >>> [str(each) for each in (Weights("pretrained", "IMAGENET1K_V1"), Weights("random", seed=3), Weights("none"))]
    ['IMAGENET1K_V1', 'random (seed 3)', 'architecture only']
    >>> str(Weights("made", "net.py:make", 0))
    'as made by net.py:make (seed 0)'
    """

    kind: WeightsKind
    name: str = ""
    seed: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "random":
                return f"random (seed {self.seed})"
            case "made":
                return f"as made by {self.name} (seed {self.seed})"
            case "program":
                return f"as in {self.name}"
            case "given":
                return "as given"
            case "none":
                return "architecture only"
            case _:
                return self.name

    @property
    def in_words(self) -> str:
        """The label as a line of facts says it; of an architecture alone there are no weights to name."""
        return str(self) if self.kind == "none" else f"weights: {self}"

    def unlearned(self, what: str) -> str:
        """The warning that `what` a result shows was not learned, where the weights are random; else empty.

        >>> Weights("random", seed=0).unlearned("what the heads look at")
        'The weights are random: what the heads look at was not learned.'
        """
        return f"The weights are random: {what} was not learned." if self.kind == "random" else ""


@dataclass(frozen=True, slots=True)
class Versions:
    """The releases that computed something: fmap's own, PyTorch's and torchvision's."""

    fmap: str
    torch: str
    torchvision: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a result comes from: which network, with which numbers, fed how, run on what; every result carries one.

    `preprocessing` is None for a network that takes no picture, for an array that was given as it is, and where it is
    not known. `device` is empty and `versions` None where they are not known: a run saved to a file may be of many
    machines. `takes` is what a network takes that does not say so itself, `input_kind` how it takes it.
    """

    model: str
    weights: Weights
    preprocessing: Preprocessing | None = None
    device: str = ""
    dtype: str = "float32"
    versions: Versions | None = None
    takes: NetworkInput | None = None
    input_kind: InputKind = "image"

    @property
    def called(self) -> InputWords:
        """What an input of this network is called, and what its places are called."""
        return input_words(self.input_kind, self.takes)

    @property
    def fed_in_words(self) -> str:
        """How a picture became what the network saw; empty where that is not known."""
        return "" if self.preprocessing is None else self.preprocessing.in_words

    def inputs_in_words(self, shape: tuple[int, ...]) -> str:
        """The shapes of all inputs, of which the first has this one.

        >>> Origin("net", Weights("none")).inputs_in_words((1, 3, 224, 224))
        '[1, 3, 224, 224]'
        """
        return units.shape(shape) if self.takes is None or len(self.takes.shapes) == 1 else self.takes.words


Topic = Literal["feeding", "dtype", "objects"]
"""What a note is about that not every command has to say: how pictures are fed where that is assumed, the number format
that a network is made in, that a detector's computation is that for one object."""


class Note(str):
    """A sentence the user should read, and what it is about."""

    about: Topic

    def __new__(cls, text: str, about: Topic) -> Note:
        note = super().__new__(cls, text)
        note.about = about
        return note


def notes_about(notes: Iterable[str], topic: Topic) -> list[str]:
    """Those of the notes that are about this."""
    return [note for note in notes if isinstance(note, Note) and note.about == topic]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run, in eval mode, with what is needed to feed it and to read its answers.

    `name` is the spec as shown to the user, `weights` says where the numbers come from. `labels` are the classes of
    the answer in order, None where they are not known, empty where the answer is not a list of classes. `frames` is
    the length of the clip a video model takes. `notes` are sentences the user should read on stderr. `rebuild`
    makes the network, with weights of no meaning, for another square input, where it is built for one size;
    `as_trained` makes it so with the heads that it is trained with, where it is built without them. `takes` is what
    a network takes that does not say so itself, None for those that do. `tried` holds the other shapes on which it was
    run to see whether it takes them (`trying.takes_too`).
    """

    module: torch.nn.Module = field(repr=False)
    name: str
    weights: Weights
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None = None
    input_kind: InputKind = "image"
    frames: int = 1
    notes: tuple[str, ...] = ()
    rebuild: Callable[[int], torch.nn.Module] | None = None
    as_trained: Callable[[], torch.nn.Module] | None = None
    takes: NetworkInput | None = None
    tried: dict[tuple[int, ...], bool] = field(default_factory=dict, repr=False, compare=False)

    @property
    def feeding(self) -> Preprocessing | None:
        """How a picture becomes what the network sees; None for a network that takes no picture."""
        return None if self.input_kind == "arrays" else self.preprocessing

    @property
    def fed_in_words(self) -> str:
        return "" if self.feeding is None else self.feeding.in_words


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """The model a user asks for and how to run it, as `models.load_model` and `session.open_session` take it.

    `model` is a spec, or a module in hand, which is then copied if it has to go elsewhere or be cast. `dtype` None
    leaves every part of the network as it was made. `labels` are the classes of a module in hand.
    """

    model: str | torch.nn.Module
    weights: str | None = None
    seed: int = 0
    size: int | tuple[int, int] | None = None
    input_shape: tuple[tuple[int, ...], ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    value_range: tuple[float, float] | None = None
    device: str = "cpu"
    dtype: str | None = None
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One line of `fmap models`, from metadata alone: no model is built for it.

    `multiply_adds` counts multiply-accumulate pairs (FLOPs are twice that); `input_size` is (height, width).
    `accuracy` is (metric, value in the metric's own unit), for example ("acc@1", 69.758).
    Absent values are None.
    """

    name: str
    source: str
    task: str
    weights: tuple[str, ...]
    default_weights: str | None
    parameters: int | None
    multiply_adds: int | None
    input_size: tuple[int, int] | None
    accuracy: tuple[str, float] | None
