"""Statistics of every layer against the same forward pass with no hooks, at batch 8 and 224 px.

    python benchmarks/stats_overhead.py

Every module's and operation's output is reduced (moments, extremes, zeros, NaN, Inf, histogram) and added to the run's
records, as `fmap stats` does after its first batch. Targets: at most 1.25 times the plain forward for ResNet-50, 1.8
times for MobileNetV2, 1.1 times for either with `--kind conv`. Beside it: what torch's own reductions cost in hooks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import measure

from fmap_cli.frameworks import load_torchvision

load_torchvision()
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from fmap_cli.inputs.records import ImageInput  # noqa: E402
from fmap_cli.models.records import ModelRequest  # noqa: E402
from fmap_cli.session.opening import Session, open_session  # noqa: E402
from fmap_cli.statistics.gather import Gathering  # noqa: E402

TARGETS = {"resnet50": (1.25, 1.1), "mobilenet_v2": (1.8, 1.1)}


def by_torch(module: nn.Module, batch: Tensor) -> Callable[[], object]:
    """The textbook way: a hook on every leaf module, five reductions in each."""

    def reduced(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        planes = output.flatten(2) if output.ndim > 2 else output[:, :, None]
        torch.var_mean(planes, (0, 2))
        planes.amin((0, 2))
        planes.amax((0, 2))
        torch.count_nonzero(planes, (0, 2))

    def run() -> None:
        leaves = [each for each in module.modules() if not list(each.children())]
        handles = [each.register_forward_hook(reduced) for each in leaves]
        module(batch)
        for handle in handles:
            handle.remove()

    return run


def gathering(session: Session, images: list[ImageInput], kinds: tuple[str, ...] = ()) -> Callable[[], object]:
    counted = Gathering(session, kinds=kinds)
    placed = list(enumerate(images))
    counted.add(placed)  # the first batch finds out which layers there are
    return lambda: counted.add(placed)


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 15)
    measure.show_machine("torch", "torchvision", "numba", "fmap-cli")
    met = True
    torch.set_grad_enabled(False)
    for name, (target, conv_target) in TARGETS.items():
        session = open_session(ModelRequest(name, weights="random"), lambda _: None)
        module = session.model.module
        batch = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        images = [ImageInput(str(at), "", None, tensor) for at, tensor in enumerate(batch)]  # type: ignore[arg-type]
        # fmap's hooks stay in the network between batches: what is measured without them is a network of its own.
        plain = open_session(ModelRequest(name, weights="random"), lambda _: None).model.module
        convolutions = open_session(ModelRequest(name, weights="random"), lambda _: None)
        seconds = measure.interleaved(
            {
                "no hooks": lambda plain=plain, batch=batch: plain(batch),
                "every layer": gathering(session, images),
                "--kind conv": gathering(convolutions, images, ("conv",)),
                "torch's reductions": by_torch(plain, batch),
            },
            rounds,
        )
        assert module is not plain
        print(f"{name}, 8 × 224 × 224")
        measure.show_times(seconds)
        below = seconds["no hooks"]
        met &= measure.show_verdict("  every layer", measure.ratios(seconds["every layer"], below), target)
        met &= measure.show_verdict("  --kind conv", measure.ratios(seconds["--kind conv"], below), conv_target)
        print()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
