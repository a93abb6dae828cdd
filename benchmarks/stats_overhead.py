"""Statistics of every layer against the same forward pass with no hooks, at batch 8 and 224 px.

    python benchmarks/stats_overhead.py

Every module's and operation's output is reduced (moments, extremes, zeros, NaN, Inf, histogram) and added to the run's
records, as `fmap stats` does after its first batch. Targets: at most 1.12 times the plain forward for ResNet-50, 1.35
times for MobileNetV2; 1.05 and 1.12 with `--kind conv`. Beside it: what torch's own reductions cost in hooks, and two
floors, hooks that do nothing and hooks that read every value once (`Tensor.amax`, one core's share each).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

import measure

from fmap_cli.frameworks import load_torchvision

load_torchvision()
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from fmap_cli.inputs.records import ImageInput  # noqa: E402
from fmap_cli.models.records import ModelRequest  # noqa: E402
from fmap_cli.network.capture import watching  # noqa: E402
from fmap_cli.session.opening import Session, open_session  # noqa: E402
from fmap_cli.statistics.gather import Gathering  # noqa: E402

TORCH = "torch's reductions"
TARGETS = {"resnet50": (1.12, 1.05), "mobilenet_v2": (1.35, 1.12)}


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


def read_once(module: nn.Module, batch: Tensor) -> Callable[[], object]:
    """The floor of any statistics: every leaf module's output is read once, by torch's fastest reduction."""

    def read(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        torch.amax(output)  # what a hook returns would go on in the output's place

    def run() -> None:
        leaves = [each for each in module.modules() if not list(each.children())]
        handles = [each.register_forward_hook(read) for each in leaves]
        module(batch)
        for handle in handles:
            handle.remove()

    return run


def watched_only(session: Session, batch: Tensor) -> Callable[[], object]:
    """The floor of the hooks: fmap's own, operations too, with nothing done in them."""
    runs = watching(session.model.module)
    run = runs.__enter__()  # as a run has them: they stay between batches
    return lambda: (runs, run((batch,), lambda _layer: None))


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
        hooked = open_session(ModelRequest(name, weights="random"), lambda _: None)
        convolutions = open_session(ModelRequest(name, weights="random"), lambda _: None)
        seconds = measure.interleaved(
            {
                "no hooks": lambda plain=plain, batch=batch: plain(batch),
                "every layer": gathering(session, images),
                "--kind conv": gathering(convolutions, images, ("conv",)),
                TORCH: by_torch(plain, batch),
                "hooks alone": watched_only(hooked, batch),
                "each read once": read_once(plain, batch),
            },
            rounds,
        )
        assert module is not plain
        print(f"{name}, 8 × 224 × 224")
        measure.show_times(seconds)
        below = seconds["no hooks"]
        shares = {name: measure.ratios(values, below) for name, values in seconds.items()}
        floor = (
            f"hooks that do nothing {median(shares['hooks alone']):.2f} ×, every module's output read once"
            f" {median(shares['each read once']):.2f} ×; torch's own reductions {median(shares[TORCH]):.2f} ×"
        )
        work = f"statistics of {{}}, {name}, batch 8, 224 px"
        against = "the same forward without hooks"
        met &= measure.show_verdict(
            work.format("every layer"), shares["every layer"], target, against=against, floor=floor
        )
        met &= measure.show_verdict(
            work.format("convolutions (`--kind conv`)"), shares["--kind conv"], conv_target, against=against
        )
        print()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
