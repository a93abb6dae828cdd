"""The frozen types that travel between rooms. Importing them imports neither torch nor numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    import numpy as np
    import torch

InputKind = Literal["image", "images", "video", "image_pair", "arrays"]
"""How a model takes its input.

`image`: one tensor `[B, C, H, W]`. `images`: a list of `[C, H, W]` (detection). `video`: `[B, C, T, H, W]`.
`image_pair`: two tensors `[B, C, H, W]` (optical flow). `arrays`: whatever else its `NetworkInput` says.
"""

LayerKind = Literal["input", "output", "conv", "linear", "norm", "act", "pool", "op", "block", "other"]


Interpolation = Literal["nearest", "bilinear", "bicubic"]


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
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: int = 3
    multiple_of: int = 1
    value_range: tuple[float, float] | None = None
    source: str = field(default="", compare=False)
    known: int = field(default=2, compare=False)

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


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run, in eval mode, with what is needed to feed it and to read its answers.

    `name` is the spec as shown to the user, `weights` says where the numbers come from on every output
    (`IMAGENET1K_V1`, a file's name, `random (seed 0)`). `labels` are the classes of the answer in order,
    None where they are not known, empty where the answer is no list of classes. `frames` is the length of the
    clip a video model takes. `notes` are sentences the user should read on stderr. `rebuild` makes the same
    network, with weights of no meaning, for another square input, where it is built for one size. `takes` is what a
    network takes that does not say so itself, None for those that do.
    """

    module: torch.nn.Module
    name: str
    weights: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None = None
    input_kind: InputKind = "image"
    frames: int = 1
    notes: tuple[str, ...] = ()
    rebuild: Callable[[int], torch.nn.Module] | None = None
    takes: NetworkInput | None = None

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

    `dtype` None leaves every part of the network as it was made.
    """

    model: str
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


@dataclass(frozen=True, slots=True)
class ImageInput:
    """A picture twice: for the eye and for the network.

    `pixels` is `[H, W, 3]` uint8, exactly the crop the network saw, before normalisation.
    `tensor` is `[C, H, W]` float32, normalised. `name` is what to call it on outputs (a path, `-`, a sample's
    name), `stem` a short name for files. `notes` are sentences the user should read (first frame of a GIF,
    transparency laid on white, ...). `more` holds
    what follows the picture, of the same shape: the further frames of a clip, the second picture of a pair.
    """

    name: str
    stem: str
    pixels: np.ndarray
    tensor: torch.Tensor
    notes: tuple[str, ...] = ()
    more: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A named place in the model: a module's call or an operation.

    `name` is torchvision's own name (`layer1.0.conv1`, `layer1.0.add`, `relu_1` for a second call); `path` the
    module it is or happens in (`layer1.0`), `call` its index among the calls of that module or operation,
    `type_name` the module's class or the operation (`Conv2d`, `add`), `parameters` the module's count of them.
    """

    name: str
    path: str
    call: int
    kind: LayerKind
    type_name: str
    is_module: bool = False
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Axes:
    """What each axis of a layer's output is, in order.

    `names` has one of `B` (batch), `C` (channel), `T` (time), `H`, `W` (height, width), `N` (tokens), `B·N` (both
    in one), `B·?` (the batch and something else) or `?` (neither: heads, cells of a window, or nobody knows) for each
    axis. Tokens that are cells of a `grid` (height, width) come after `prefix` tokens that are not (the class token).
    `how` says where the answer comes from.
    """

    names: tuple[str, ...]
    how: str
    grid: tuple[int, int] | None = None
    prefix: int = 0

    @property
    def spatial(self) -> bool:
        """Whether the output is a map: it has height and width, or tokens that form a grid."""
        return "H" in self.names or self.grid is not None


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """What is known of each of C channels after any number of images; `stats.merge` joins two of them.

    Over the finite values, float64 `[C]`: `mean`, `m2` (sum of squared distances from the mean), `min` and `max`, NaN
    where no value is finite. int64 `[C]` among the channel's `count` values: `zeros`, `nan` and `inf` (both signs).
    `histogram` counts the finite values in the cells of `stats.BIN_EDGES`: int64 `[C, K]`, or `[1, K]` for all channels
    together; None where it was not asked for.
    """

    count: int
    mean: np.ndarray
    m2: np.ndarray
    min: np.ndarray
    max: np.ndarray
    zeros: np.ndarray
    nan: np.ndarray
    inf: np.ndarray
    histogram: np.ndarray | None = None

    @property
    def finite(self) -> np.ndarray:
        """How many of each channel's values are finite, int64 `[C]`."""
        finite: np.ndarray = self.count - self.nan - self.inf
        return finite

    @property
    def std(self) -> np.ndarray:
        """The standard deviation, divided by n - 1 as `torch.std` does; NaN where fewer than two values are finite."""
        import numpy as np

        finite = self.finite
        return np.sqrt(np.divide(self.m2, finite - 1, where=finite > 1, out=np.full(len(finite), np.nan)))

    @property
    def l2(self) -> np.ndarray:
        """The root of the sum of squares of the finite values."""
        import numpy as np

        return np.sqrt(self.m2 + self.finite * np.where(self.finite > 0, self.mean, 0.0) ** 2)


CHANNEL_COLUMNS = ("layer", "channel", "mean", "std", "min", "max", "zeros", "nan", "inf")
"""What the channels of a run can be sorted by."""


@dataclass(frozen=True, slots=True)
class LayerStats:
    """The same over a whole output, as Python numbers; a moment that does not exist is None."""

    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    zero_fraction: float
    nan: int
    inf: int


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What is known of one layer after `images` images in which it ran.

    `shape` is the output's for one image, of the first image where their sizes differ (`varies`). `same_as` names an
    earlier layer whose output is this very tensor: a block's is that of its last layer.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    dtype: str
    images: int
    channels: ChannelStats
    same_as: str | None = None
    varies: bool = False


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """Which network gave a run's numbers: two runs merge when all of this is alike.

    `weights` is their name for people, `digest` a hash of the values of all parameters and buffers (empty where none
    was made). `input` says what happens to a picture before the network sees it; `preprocessing` is the same as data,
    None in runs saved before it was kept.
    """

    model: str
    weights: str
    digest: str
    dtype: str
    input: str
    preprocessing: Preprocessing | None = field(default=None, compare=False)

    @property
    def input_in_words(self) -> str:
        return self.preprocessing.in_words if self.preprocessing is not None else self.input


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
class ClassRun:
    """The part of a run that is over the images of one class, the folder they stand in."""

    name: str
    images: int
    layers: tuple[LayerRecord, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What a network's layers put out over `images` images, layers in execution order.

    `sources` are the arguments that named the images, `failures` those that could not be read (name, reason).
    `progress` is None for a merged run and for one that is complete.
    """

    origin: RunOrigin
    sources: tuple[str, ...]
    images: int
    layers: tuple[LayerRecord, ...]
    failures: tuple[tuple[str, str], ...] = ()
    classes: tuple[ClassRun, ...] = ()
    progress: Progress | None = None
    takes: NetworkInput | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a layer that a person should know.

    `check` is the rule's name (`dead-channels`), `what` says it in words with its evidence, `sample` what it was seen
    over, `advice` what people usually do about it. `channels` are the indices it holds for, where it is about channels.
    """

    layer: str
    check: str
    severity: Literal["note", "warning", "error"]
    what: str
    sample: str
    advice: str
    channels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """One layer's output for one image: the numbers of all channels, the maps of those that are drawn.

    `maps` is `[N, T, H, W]` float32 (T is 1 but for video; a layer without spatial axes has T = H = W = 1 and all
    its channels). `drawn` holds the N channel indices in the order drawn; `order` says which order that is.
    `shape` and `dtype` are the whole output's, `asked` the pattern that picked the layer. `label_map` is, for an
    answer with one map a class, the class of the largest value in each cell: `[H, W]` integers. `strides`
    are the output's in memory, in elements. `role` says in words what a tensor of the network's answer is of it.
    """

    layer: LayerRef
    asked: str
    shape: tuple[int, ...]
    dtype: str
    axes: Axes
    stats: LayerStats
    channels: ChannelStats
    drawn: np.ndarray
    maps: np.ndarray
    order: str
    notes: tuple[str, ...] = ()
    label_map: np.ndarray | None = None
    strides: tuple[int, ...] = ()
    role: str = ""

    @property
    def channel_count(self) -> int:
        return len(self.channels.mean)

    @property
    def is_map(self) -> bool:
        """Whether there is a map to draw: height and width of more than one cell."""
        return self.axes.spatial and self.maps.shape[2] * self.maps.shape[3] > 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Which channels to draw: the `channels` listed, the `top` ones ranked `by` a moment, or all in order.

    With neither, all of a layer of up to 64 channels, and of a larger one the 64 of the largest `by`.
    """

    channels: tuple[int, ...] | None = None
    top: int | None = None
    by: Literal["std", "mean", "max", "l2"] = "std"
    all: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """How maps become colours.

    `scale` says whose minimum and maximum stand at the ends of the colour map: each `channel`'s own or the
    whole `layer`'s. `clip` leaves out that percentage of values at either end. `cmap` is None for the default:
    viridis, or a diverging map centred on zero where a shared scale reaches below zero. `tile` is the height of
    a tile in pixels, None for one that fits. `overlay` lays each map over the photo.
    """

    scale: Literal["channel", "layer"] = "channel"
    clip: float = 0.0
    cmap: str | None = None
    tile: int | None = None
    overlay: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a classifier: `label` is None where the classes' names are not known."""

    index: int
    label: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One object a detector found: `box` is (top, left, bottom, right) in pixels of the look's image."""

    box: tuple[float, float, float, float]
    index: int
    label: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Look:
    """What one forward pass over one image showed: the layers asked for, and the answers of a classifier or detector.

    `image` is the picture that the layers drawn saw: a detector resizes and pads what it is given. `arrays` holds
    the whole outputs by layer name where they were asked for.
    """

    image: ImageInput
    maps: tuple[FeatureMap, ...]
    predictions: tuple[Prediction, ...]
    arrays: dict[str, torch.Tensor]
    detections: tuple[Detection, ...] = ()


FieldKind = Literal["exact", "upper bound", "whole image", "unknown", "nothing"]


@dataclass(frozen=True, slots=True)
class FieldAxis:
    """What the units of a layer see along one axis of the input, `T`, `H` or `W`, in pixels (`T`: frames).

    - `exact`: each sees `size` pixels, and the i-th begins at `start + i * stride`.
    - `upper bound`: a unit sees at most `size` pixels, `least` the one that sees fewest; None: at most all there are.
    - `whole image`: an operation over the whole map was on the way, so each sees all there is, whatever its size.
    - `unknown`: an operation was on the way that fmap does not follow.
    - `nothing`: the layer does not depend on the image.

    Sizes are unclipped: pixels beyond the image's border count. `stride` is an average, and may be a fraction,
    where units take turns (an enlarged map); it is None where they are unevenly spaced or there is only one. `by` names
    the layer that made the field what it is, `why` says how.
    """

    axis: str
    kind: FieldKind
    size: int | None = None
    stride: Fraction | None = None
    start: int | None = None
    least: int | None = None
    by: str = ""
    why: str = ""

    @property
    def padding(self) -> int | None:
        """How many pixels the first unit's field reaches over the border; negative where it begins inside."""
        return None if self.start is None else -self.start

    @property
    def centre(self) -> float | None:
        """Where the middle of the first unit's field is, in pixels; the middle of the first pixel is 0."""
        return None if self.start is None or self.size is None else self.start + (self.size - 1) / 2


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Channels of a layer that see alike, as ranges with both ends included, and what they see along each axis."""

    channels: tuple[tuple[int, int], ...]
    axes: tuple[FieldAxis, ...]


@dataclass(frozen=True, slots=True)
class UnitBox:
    """What one unit sees along each axis (height before width): first and last pixel, None where there is none.

    `seen` is what really reaches it, inside the image; `unclipped` goes on over the border, None for the whole image.
    """

    seen: tuple[tuple[int, int] | None, ...]
    unclipped: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What the units of a layer see of the input.

    `axes` is for all channels together: `H` and `W`, or `T`, `H` and `W` of a clip. Where channels see differently
    `groups` holds what each sees, in the order of their first channels; `group_count` counts them also where there are
    too many to be listed; it is 0 where there are so many channels that they are not told apart. `cells` is the length
    of the layer's map along the same axes, 1 along those that it does not have (a sequence's), empty where it has none.
    `share` is the largest part of the input's area (volume) that a unit sees. `extents` holds for each axis minus the
    first pixel seen, the last one, and the same unclipped, int32 `[4, C, T, H, W]`; axes along which all is alike are
    of length 1.
    """

    axes: tuple[FieldAxis, ...]
    groups: tuple[FieldGroup, ...]
    group_count: int
    cells: tuple[int, ...]
    share: float
    extents: tuple[np.ndarray, ...]

    @property
    def kind(self) -> FieldKind:
        """The least exact of the axes' kinds."""
        order = ("unknown", "upper bound", "whole image", "exact", "nothing")
        return min((each.kind for each in self.axes), key=order.index)


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A layer with its output's shape and axes and what it sees."""

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    field: ReceptiveField


@dataclass(frozen=True, slots=True)
class FieldListing:
    """What `fmap rf` lists: chosen layers out of `count`, for an input whose axes (`H`, `W`, maybe `T`) are `size`.

    `notes` say what could not be followed.
    """

    layers: tuple[FieldRow, ...]
    count: int
    input_shape: tuple[int, ...]
    size: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitView:
    """One unit of a layer for one image: its value and its box.

    `place` is its cell (frame, row, column), `map` the whole channel as `[H, W]` float32 of that frame, `picked` says
    how the unit was chosen. `image` is the picture the box is in.
    """

    row: FieldRow
    channel: int
    channels: int
    place: tuple[int, int, int]
    picked: str
    value: float
    map: np.ndarray
    box: UnitBox
    image: ImageInput


@dataclass(frozen=True, slots=True)
class EffectiveField:
    """How much each input pixel moves one unit, on average over `count` inputs.

    `energy` is the mean absolute gradient, summed over the input's channels, `[H, W]` float64, its sum 1 (0 where
    nothing moves the unit). `channel` is None where the gradient is that of all channels' sum. `holds` lists (share,
    height, width): the smallest box around `centre` that holds the share, of the theoretical box's proportions.
    `source` says what the inputs were.
    """

    row: FieldRow
    channel: int | None
    place: tuple[int, int, int]
    box: UnitBox
    energy: np.ndarray
    centre: tuple[float, float]
    holds: tuple[tuple[float, int, int], ...]
    count: int
    source: str
    image: ImageInput | None = None


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a convolution or a pooling goes over the map, a number for each of its axes, height before width.

    `padding` is None where it is not symmetrical. `groups` is a convolution's, `per_channel` says that each input
    channel has filters of its own (depthwise), `transposed` that it is a transposed convolution.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | None
    dilation: tuple[int, ...]
    groups: int | None = None
    per_channel: bool = False
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class CountedLayer:
    """A layer with what its output is and what it costs, for one input.

    `multiply_adds` counts multiply-accumulate pairs, with all that happened inside; `own_multiply_adds` without what
    layers inside account for: these add up to the network's total. Both are None for the second and further
    outputs of one call, which are counted with the first. `index` numbers the layers in execution order; `parent` is
    the index of the module's call that a layer is inside of, None at the top, and `depth` how many there are, plus
    one. `composite` layers have layers inside. `memory_format` is `contiguous`, `channels_last` or what else the
    strides say; `detail` is a word about the layer that no other field has (`512 → 1000`).
    """

    layer: LayerRef
    index: int
    shape: tuple[int, ...]
    dtype: str
    memory_format: str
    parent: int | None
    depth: int
    composite: bool
    multiply_adds: int | None
    own_multiply_adds: int | None
    geometry: Geometry | None = None
    detail: str = ""
    axes: Axes | None = None
    field: ReceptiveField | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What `fmap layers` shows: the chosen `layers` out of `count`, and the whole network in numbers.

    `stages` are the shapes, channels first and without the batch, that the map passes through as its resolution
    changes. `parameters` are all the network has, `idle_parameters` those that no operation took. `uncounted` are
    operations that multiply and that nobody has a formula for, each with the first layer that ran it.
    `convolutions`, `mixers` (1 × 1), `depthwise` and `strided` count calls of convolutions. `input_shape` is that
    of the batch of one (or of the one image, for networks that take lists).
    """

    layers: tuple[CountedLayer, ...]
    count: int
    input_shape: tuple[int, ...]
    stages: tuple[tuple[int, ...], ...]
    parameters: int
    idle_parameters: int
    multiply_adds: int
    convolutions: int
    mixers: int
    depthwise: int
    strided: int
    uncounted: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedLayer:
    """A layer that a traced step went through: its output's shape, number format and bytes of one value."""

    layer: LayerRef
    shape: tuple[int, ...]
    dtype: str
    element_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryTrace:
    """Every storage of one step and when it begins and ends, at one batch.

    `sizes` are the storages' bytes, int64 `[S]`, `kinds` what each is (`parameters`, `buffers`, `input`, `gradients`,
    `optimizer`, `activations`, `output`, `temporaries`), `makers` the layer each was made in, int32 `[S]`, -1 for none;
    `saved` says which of them autograd kept for the backward pass. `events` are storage numbers plus one, int32
    `[E]`, negative where it ends; `places` the layer at work. `sections` are the names of the step's parts and the
    index of their first event. `uneven` says that something grows with the batch in no even way.
    """

    sizes: np.ndarray
    kinds: tuple[str, ...]
    makers: np.ndarray
    saved: np.ndarray
    events: np.ndarray
    places: np.ndarray
    sections: tuple[tuple[str, int], ...]
    layers: tuple[TracedLayer, ...]
    upper_bound: bool = False
    uneven: bool = False


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """What a layer takes of memory: its output's bytes, those it made that are kept for backward, and those it made
    that are alive at the peak.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    dtype: str
    element_bytes: int
    output_bytes: int
    kept_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryShare:
    """The bytes of one kind: how many there are at most, and how many at the step's peak."""

    kind: str
    most: int
    at_peak: int


@dataclass(frozen=True, slots=True)
class MemoryCourse:
    """What is alive through a step, int64 `[K, T]`: a row for each of `kinds`, in the order they are stacked.

    `phases` are the step's parts with the first column of each, `peak` is the column of the greatest sum.
    """

    kinds: tuple[str, ...]
    alive: np.ndarray
    phases: tuple[tuple[str, int], ...]
    peak: int


@dataclass(frozen=True, slots=True)
class MemoryBill:
    """What one training step (`mode` is `train`) or inference takes.

    `tensors` is the most bytes of tensors alive at once, `allocated` the most in the allocator's blocks, `reserved` the
    most that it holds. `shares` add up to `tensors`, with `rounding` to `allocated`. `kept` are the bytes that
    autograd keeps for the backward pass, weights and input left out. The peak is while `peak_layer` is at work in
    `peak_phase`. `upper_bound` says that shapes that depend on data were taken at their largest.
    """

    mode: Literal["train", "inference"]
    shares: tuple[MemoryShare, ...]
    tensors: int
    allocated: int
    reserved: int
    rounding: int
    kept: int
    peak_layer: str
    peak_phase: str
    layers: tuple[LayerMemory, ...]
    course: MemoryCourse
    upper_bound: bool = False


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The largest batch that stays within a budget, and the bytes of it and of one more; None where not even 1 fits.

    `bound` is what is held against the budget: `reserved`, or `allocated` alone, which takes luck with fragmentation.
    """

    mode: Literal["train", "inference"]
    bound: Literal["reserved", "allocated"]
    batch: int | None
    bytes: int | None
    next_bytes: int | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The same step with one thing changed, or the `reason` why there is no such number. `detail` says what changed."""

    name: str
    detail: str
    allocated: int | None = None
    reserved: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeasuredMemory:
    """What a real run took on `device`, beside the estimate for that device; None where the device does not tell."""

    mode: Literal["train", "inference"]
    device: str
    how: str
    estimated: int
    measured: int
    estimated_reserved: int | None = None
    measured_reserved: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """What `fmap memory` is asked: a step or an inference of a model, at this batch and in this number format.

    `modes` are `train`, `inference` or both. `checkpoint` is a glob of modules, or `auto`; `freeze` globs of
    parameters that do not learn. `budget` is in bytes, or `auto` for what the card has.
    """

    model: ModelRequest
    batch: int = 32
    size: tuple[int, int] | None = None
    dtype: Literal["float32", "float16", "bfloat16", "amp"] = "float32"
    optimizer: Literal["sgd", "sgd-momentum", "adam", "adamw", "none"] = "sgd-momentum"
    modes: tuple[Literal["train", "inference"], ...] = ("train", "inference")
    checkpoint: str | None = None
    freeze: tuple[str, ...] = ()
    budget: int | Literal["auto"] | None = None
    what_if: bool = False
    measure: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What `fmap memory` shows: a bill for each mode, and what else was asked for.

    `inputs` are the shapes of what the network is fed. `checkpointed` are the modules whose inside is computed again,
    `frozen` counts the values of the parameters that do not learn, out of `parameters`.
    """

    model: str
    weights: str
    batch: int
    inputs: tuple[tuple[int, ...], ...]
    dtype: str
    optimizer: str
    loss: str
    parameters: int
    frozen: int
    bills: tuple[MemoryBill, ...]
    checkpointed: tuple[str, ...] = ()
    budget: int | None = None
    largest: tuple[LargestBatch, ...] = ()
    what_ifs: tuple[WhatIf, ...] = ()
    measured: tuple[MeasuredMemory, ...] = ()
    notes: tuple[str, ...] = ()
    takes: NetworkInput | None = None

    @property
    def fits(self) -> bool:
        """Whether the batch that was asked about stays within the budget, in every mode: all that is reserved."""
        return self.budget is None or all(bill.reserved <= self.budget for bill in self.bills)


@dataclass(frozen=True, slots=True)
class Answers:
    """A classifier's likeliest classes for the image of that name, most likely first."""

    image: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each of the `images` (their names), out of one layer.

    `vectors` is `[N, D]` float32, or float64 from a network in float64; `norms` their lengths in float64. `shape` is
    the layer's output for one image, `enters` the classifier that reads it where that is why it was chosen, `pooling`
    `none` for a layer that is a vector already. `neighbours` holds for each image the nearest others as (index, cosine
    similarity), nearest first; None where not asked for. `axes` are the layer's.
    """

    model: str
    weights: str
    layer: str
    enters: str | None
    shape: tuple[int, ...]
    pooling: str
    images: tuple[str, ...]
    vectors: np.ndarray
    norms: np.ndarray
    neighbours: tuple[tuple[tuple[int, float], ...], ...] | None = None
    takes: NetworkInput | None = None
    axes: Axes | None = None
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two outputs of one shape are apart, A being the reference; everything in float64.

    `max_abs` is the largest |a - b|, `relative_l2` is ‖a - b‖ / ‖a‖: 0 where the two are the same, inf where only A is
    zero throughout. `cosine` is that of both as vectors, None where one of them is zero. `correlation` is the mean over
    the `correlated` channels that vary on both sides of Pearson's correlation between A's and B's values of that
    channel; where a channel has one value, it is taken over the channels, and `correlated` is None.

    Places where both have NaN, or the same infinity, are alike and count nowhere. In `unlike` places only one side is
    finite, or they are not finite in different ways: `max_abs` and `relative_l2` are inf then, the rest is over the
    places where both are finite. `channels` is ‖a - b‖ of each channel, float64 `[C]`, inf for those with such a place.
    """

    count: int
    max_abs: float
    relative_l2: float
    cosine: float | None
    correlation: float | None
    correlated: int | None
    unlike: int
    channels: np.ndarray

    @property
    def channel(self) -> int | None:
        """The channel in which the two differ most; None where they differ in none."""
        return int(self.channels.argmax()) if self.channels.size and self.channels.max() > 0 else None


@dataclass(frozen=True, slots=True)
class ComparedLayer:
    """A layer that both sides have in one shape; `over` says that it is over the threshold, `dtypes` are A's and B's.

    `same_as` names an earlier layer whose output is this very tensor on both sides. `axes` are the output's.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    dtypes: tuple[str, str]
    difference: Difference
    over: bool
    same_as: str | None = None
    axes: Axes | None = None


@dataclass(frozen=True, slots=True)
class RunDifference:
    """How far two runs' statistics of one layer are apart, A being the reference.

    `mean_shift` and `std_shift` are the largest over the channels of |Δmean| and |Δstd| as shares of the channel's
    standard deviation pooled over both runs; `min_shift` and `max_shift` the largest |Δmin| and |Δmax|. `relative_l2`,
    `cosine` and `correlation` compare the vectors of the channels' means. `moved` is the total variation distance of
    the histograms: the share of the values that would have to go to another cell to make them equal; None where there
    are none. `unlike` counts the channels in which only one run has NaN, infinity or no finite value at all; then
    `relative_l2` is inf. `channel` is that of the largest `mean_shift`.
    """

    mean_shift: float
    std_shift: float
    min_shift: float
    max_shift: float
    relative_l2: float
    cosine: float | None
    correlation: float | None
    moved: float | None
    unlike: int
    channel: int | None


@dataclass(frozen=True, slots=True)
class ComparedRecord:
    """A layer that both runs have with as many channels, and the images each is over; `records` are A's and B's.

    `same_as` names an earlier layer whose output is this very tensor in both runs.
    """

    layer: LayerRef
    images: tuple[int, int]
    difference: RunDifference
    over: bool
    records: tuple[LayerRecord, LayerRecord]
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """Where one side of a comparison comes from, in words; `images` counts those of a saved run, None for a pass.

    Of a pass, `size` is the height and width of what the network saw, `preprocessing` how the picture became that.
    """

    source: str
    model: str
    weights: str
    dtype: str
    device: str = ""
    memory_format: str = ""
    images: int | None = None
    size: tuple[int, int] | None = None
    preprocessing: Preprocessing | None = None
    takes: NetworkInput | None = None


@dataclass(frozen=True, slots=True)
class DrawnPair:
    """The strongest-differing channels of one layer, for the eye: both sides' maps, `[N, H, W]` float32.

    `drawn` holds their indices, strongest first, out of `count`; `note` says what part of an output that has more.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    drawn: tuple[int, ...]
    count: int
    a: np.ndarray
    b: np.ndarray
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `fmap compare` shows: layers in A's execution order, as outputs or, of saved runs, as statistics.

    `only_a` and `only_b` are layers that one side alone has, `unlike_shapes` those with a shape on either side (of
    runs: a number of channels). `pictures` are what both networks saw, `pair` the layer that is drawn. `inputs` is how
    far apart what both are fed is, None where it has two shapes or is not known; `fed_alike` that nothing differs (of
    runs: that both made their pictures the same way).
    """

    a: Side
    b: Side
    threshold: float
    layers: tuple[ComparedLayer, ...] | tuple[ComparedRecord, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    unlike_shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    pictures: tuple[np.ndarray, np.ndarray] | None = None
    pair: DrawnPair | None = None
    inputs: Difference | RunDifference | None = None
    fed_alike: bool = True

    @property
    def first(self) -> ComparedLayer | ComparedRecord | None:
        """The first layer over the threshold."""
        return next((each for each in self.layers if each.over), None)

    @property
    def parts(self) -> bool:
        """Whether a layer is over the threshold, or has another shape on either side."""
        return self.first is not None or bool(self.unlike_shapes)
