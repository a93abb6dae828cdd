"""One forward pass of a session's network, with sinks; failures of the network in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from ..errors import FmapError, ModelError
from ..foreign import raised
from ..inputs.feeds import Place, feed_of
from ..inputs.records import ImageInput
from ..models.nearest import advice
from ..models.preprocessing import NOT_FOUND
from ..network.axes import meta_twin
from ..network.blank import blank_arithmetic
from ..network.capture import CallWatcher, Sink, Watcher, capture, eval_mode
from ..network.plain_sizes import plain_sizes
from ..network.records import LayerRef
from ..network.replacing import Replacement, replacing
from .opening import Session, dtype_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


_Result = TypeVar("_Result")


def run_cheaply(
    session: Session,
    image: ImageInput,
    run: Callable[[nn.Module, tuple[Any, ...]], _Result],
    by_values: Callable[[_Result], Sequence[str]],
    module: nn.Module | None = None,
    before_real: Callable[[], object] = lambda: None,
) -> tuple[_Result, bool]:
    """`run(module, inputs)` of a pass over an image of this size, in the cheapest way that works; and whether for real.

    What a network decides by values it decides for real where it has weights: `by_values` are the layers before which
    it did. The module is the model's own, or a copy of it. `before_real` is called before a pass for real.
    """
    model = session.model
    module = model.module if module is None else module
    size = tuple(image.tensor.shape)
    has_weights = model.weights.kind != "none"
    attempts: tuple[str, ...] = ("meta", "blank") if prefers_meta(session, size) else ("blank", "meta")
    if model.input_kind == "images":  # reads values; what a detector with weights finds is to be counted
        attempts = () if has_weights else ("blank",)
    for attempt in attempts:
        try:
            if attempt == "meta":
                twin = meta_twin(module)
                with torch.device("meta"), plain_sizes():
                    blank = (torch.empty_like(each, device="meta") for each in network_inputs(session, [image]))
                    found = run(twin, tuple(blank))
            else:
                with blank_arithmetic():
                    found = run(module, network_inputs(session, [image]))
        except KeyboardInterrupt:
            raise
        except BaseException:
            continue  # the pass over the image itself will say what is wrong
        if has_weights and by_values(found):
            break
        return found, False
    before_real()
    inputs = network_inputs(session, [image])
    with _model_errors(session, inputs, 1, []):
        return run(module, inputs), True


_META_VALUES = 3 * 400 * 400
"""From an input of this size on, the meta device pays for its kernels, which are Python.

Below, a pass without its arithmetic takes hundredths of a second, whatever the number of parameters.
"""


def prefers_meta(session: Session, size: Sequence[int]) -> bool:
    return prod(size) * session.model.frames >= _META_VALUES


def place_of(session: Session) -> Place:
    return Place(session.device, session.dtype, session.memory_format)


def run(
    session: Session,
    images: ImageInput | Sequence[ImageInput],
    watch: Watcher,
    *,
    operations: bool = True,
    paths: frozenset[str] | None = None,
    through: Callable[..., Any] | None = None,
    inputs: tuple[Any, ...] | None = None,
    gradients: bool = False,
    calls: CallWatcher | None = None,
) -> Any:
    """One forward pass over one image, or a batch of one size; a failure of the network's own becomes a ModelError.

    `inputs` are what `network_inputs` makes of the images, where they are needed before; with `gradients` torch notes
    down how outputs come about, so that a sink can differentiate. `through` is what `capture.watching` yields, where
    its hooks serve more passes than this. `calls` is told when modules begin and end, as `capture` has it.
    """
    module = session.model.module
    batch = [images] if isinstance(images, ImageInput) else images
    own_fault: list[Exception] = []

    def guarded(layer: LayerRef) -> Sink | Replacement | None:
        sink = watch(layer)
        if sink is None:
            return None
        function = sink.function if isinstance(sink, Replacement) else sink

        def call(output: Tensor) -> Any:
            try:
                return function(output)
            except Exception as error:
                own_fault.append(error)
                raise

        return Replacement(call) if isinstance(sink, Replacement) else call

    if inputs is None:
        inputs = network_inputs(session, batch)
    with _model_errors(session, inputs, len(batch), own_fault):
        if through is not None:
            return through(inputs, guarded, calls)
        with torch.set_grad_enabled(gradients), eval_mode(module):
            return capture(
                module, inputs, guarded, operations=operations, paths=paths, calls=calls, as_it_stands=gradients
            )


def run_replaced(
    session: Session,
    images: ImageInput | Sequence[ImageInput],
    layer: LayerRef,
    function: Callable[[Tensor], Tensor],
    *,
    inputs: tuple[Any, ...] | None = None,
    gradients: bool = False,
) -> Any:
    """The network's answer where `function(output)` goes on in the place of one layer's output; the network stays as
    it was.

    The function is given the live output and returns a tensor of its own. With `gradients` the answer has some for it,
    also where all parameters are frozen: `output.detach().requires_grad_()`, of which it returns a `clone`, since the
    next operation may write over what it is given. Raises ModelError where the layer did not run this time.
    """
    replaced: list[str] = []

    def told(output: Tensor) -> Tensor:
        replaced.append(layer.name)
        return function(output)

    by_path = layer.is_module and layer.name == layer.path
    answer = run(
        session,
        images,
        replacing(layer, told),
        operations=not by_path,
        paths=frozenset({layer.path}) if by_path else None,
        inputs=inputs,
        gradients=gradients,
    )
    if not replaced:
        raise ModelError(
            f"{session.model.name} ran without layer {layer.name!r} this time.",
            hint="Its forward depends on chance or on earlier calls: fix its seed, or reset its state.",
        )
    return answer


@contextmanager
def _model_errors(session: Session, inputs: tuple[Any, ...], images: int, own_fault: list[Exception]) -> Iterator[None]:
    """Turn what the network raises into a ModelError; what fmap's own sinks raise stays what it is."""
    try:
        yield
    except (FmapError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if own_fault:
            raise
        first = inputs[0][0] if isinstance(inputs[0], list) else inputs[0]
        raise ModelError(
            f"{session.model.name} fails on an input of shape {list(first.shape)} as {dtype_name(session.dtype)}"
            f" on {session.device}: {raised.told(error)}",
            hint=_failure_hint(session, error, inputs, images),
        ) from error


def _failure_hint(session: Session, error: BaseException, inputs: tuple[Any, ...], images: int) -> str | None:
    model = session.model
    if isinstance(error, TypeError) and "argument" in raised.text(error):
        return (
            "fmap gives a network tensors alone, as --input-shape says, once for each; wrap one that takes more in a"
            " factory whose module supplies the rest."
        )
    if "not implemented for" in raised.text(error):
        return "This device has no such operation in this number format: --dtype float32 casts the network."
    about_shapes = isinstance(error, (RuntimeError, ValueError, AssertionError, IndexError, TypeError))
    advised = _advice(session, inputs) if about_shapes else None
    if advised is not None:
        return advised
    if about_shapes and model.takes is not None and model.takes.how == NOT_FOUND:
        return (
            "No usual input makes it run: try another --size, or say what it takes with --input-shape C,H,W (C,W or L"
            " for what is not a picture), once for each input."
        )
    if isinstance(error, (RuntimeError, ValueError, AssertionError)):
        fewer = " Or --batch 1, where it takes no more." if images > 1 else ""
        return f"Try --dtype float32 or --device cpu, or another --size.{fewer}"
    return None


def _advice(session: Session, inputs: tuple[Any, ...]) -> str | None:
    """Which other sizes or shapes the network runs on; found once for each shape on which it fails."""
    shapes = tuple(tuple(each.shape) for each in inputs if isinstance(each, torch.Tensor))
    if len(shapes) != len(inputs):
        return None
    if shapes not in session.advised:
        each = [shape[1:] for shape in shapes]
        session.advised[shapes] = advice(session.model, each, shapes[0][0], session.dtype)
    return session.advised[shapes]


def network_inputs(session: Session, images: Sequence[ImageInput]) -> tuple[Any, ...]:
    """The images as the network takes them."""
    return feed_of(session.model).batch(images, place_of(session))
