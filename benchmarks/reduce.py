"""What `fmap show --reduce` and `--similar` cost beyond the pass: from a layer's output to the colours of its picture.

    python benchmarks/reduce.py

One photo, random weights but for the embedded model; the output is copied, reduced and coloured as the command does,
and no page is laid out. The target is 50 ms for every method on every layer, the median of the rounds.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median

import measure
import torch

import fmap_cli as fmap
from fmap_cli.inputs.records import ImageInput
from fmap_cli.network.records import Axes, LayerRef
from fmap_cli.reduced.colours import ends_of, paint
from fmap_cli.reduced.gather import whole
from fmap_cli.reduced.records import REDUCTIONS, Asked, Drawing, Reduced
from fmap_cli.reduced.reduce import reduce_all
from fmap_cli.session.opening import Session, read_image
from fmap_cli.session.picked import look_at_layers

TARGET = 0.050
PHOTO = str(measure.REPOSITORY / "sample_images" / "chelsea.png")
CASES = (
    ("efficientnet_lite0", "features.0.0"),
    ("efficientnet_lite0", "features.5"),
    ("efficientnet_lite0", "features.8"),
    ("resnet50", "layer1"),
    ("resnet50", "layer4"),
    ("vit_b_16", "encoder.layers.encoder_layer_11"),
)


def output_of(session: Session, image: ImageInput, layer: str) -> tuple[LayerRef, torch.Tensor, Axes]:
    """A layer's output for one image, with its name and axes."""
    (picked,), _ = look_at_layers(session, image, (layer,), lambda ref, output, axes: (ref, output.clone(), axes))
    return picked.found


def reduce_and_paint(
    session: Session, image: ImageInput, output: tuple[LayerRef, torch.Tensor, Axes], asked: Asked
) -> None:
    layer = whole(*output)
    maps, bases, _ = reduce_all([[(layer.found, layer.maps)]], asked)
    ends = ends_of(Reduced(session.origin, asked, (image,), maps, bases), 0, Drawing())
    paint(maps[0][0], ends, asked.method, image.pixels, image.pixels.shape[:2], False)


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 7)
    measure.show_machine("torch", "torchvision", "fmap-cli")
    print(f"{torch.get_num_threads()} threads of torch\n")
    ways = {**{each: Asked(reduce=each) for each in REDUCTIONS}, "similar": Asked(reduce=None, similar=(2, 3))}
    print(f"{'':50}" + "".join(f"{name:>11}" for name in ways))
    slowest = 0.0
    for model, layer in CASES:
        session = fmap.load_model(model, weights=None if model == "efficientnet_lite0" else "random", say=str)
        image = read_image(session, PHOTO, lambda _: None)
        output = output_of(session, image, layer)
        calls = {name: partial(reduce_and_paint, session, image, output, asked) for name, asked in ways.items()}
        middles = [median(each) for each in measure.interleaved(calls, rounds).values()]
        row = f"{model} {layer.rpartition('_')[2]} {list(output[1].shape)}"
        print(f"{row:50}" + "".join(f"{1000 * each:8.1f} ms" for each in middles), flush=True)
        slowest = max(slowest, *middles)
    met = slowest <= TARGET
    print(f"\nslowest: {1000 * slowest:.1f} ms; target ≤ {1000 * TARGET:g} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
