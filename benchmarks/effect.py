"""`fmap effect` against brute force: the same numbers, in the time that the layer's position allows.

    python benchmarks/effect.py --rounds 3

*Speed*: ResNet-50's `layer3` and `layer4`, 64 channels in the batches that fmap takes: the whole network as brute force
runs it, the modules behind the layer written out by hand, and fmap; target: at least 0.7 of the hand-written
remainder's speed-up over the whole. *Equality*: of the embedded network and of others with random weights some
channels, each in one whole forward pass with a hook of torch's own, one at a time; target: 1e-5 of the number.
*Ranks*: Spearman's rho between `--fast` and channels that are really taken away, up to 128.
"""

from __future__ import annotations

import sys
from typing import Any

import measure
import numpy as np
import torch
from torch import Tensor, nn

import fmap_cli as fmap
from fmap_cli.answers.target import target_of, value_of
from fmap_cli.effect.measuring import Ablation, gradient_times_activation, spearman
from fmap_cli.session.opening import read_image
from fmap_cli.session.picked import look_at_layers
from fmap_cli.session.rest import Rest, rest_of

COFFEE = "sample_images/coffee.png"
CLOSE, LEAST_SHARE, CHANNELS = 1e-5, 0.7, 64
NETWORKS = (
    ("efficientnet_lite0", "features.6.3", None, 1),
    ("vit_b_16", "encoder.layers.encoder_layer_9", None, 2),
    ("convnext_tiny", "features.5.6", None, 1),
    ("timm:vit_tiny_patch16_224", "blocks.9", None, 2),
    ("fcn_resnet50", "backbone.layer3", 128, 1),
    ("fasterrcnn_mobilenet_v3_large_320_fpn", "backbone.body.13", None, 1),
)


def opened(name: str, size: int | None) -> Any:
    weights = None if name == "efficientnet_lite0" else "random"
    session = fmap.load_model(name, weights=weights, size=size, say=lambda _: None)
    if weights:
        module = session.model.module
        _let_signals_through(module.backbone if hasattr(module, "roi_heads") else module)
    if hasattr(session.model.module, "roi_heads"):
        session.model.module.roi_heads.score_thresh = 0.0  # what is untrained is sure of nothing
    return session


@torch.no_grad()
def _let_signals_through(module: nn.Module) -> None:
    """Heads that begin at zero, and norms that make a tenth of what comes in, leave an untrained network mute."""
    generator = torch.Generator().manual_seed(0)
    for each in module.modules():
        if isinstance(each, (nn.Linear, nn.Conv2d)):
            fan = each.weight[0].numel()
            each.weight.copy_(torch.randn(each.weight.shape, generator=generator) * (2 / fan) ** 0.5)
        for name, values in each.named_parameters(recurse=False):
            if "layer_scale" in name or name == "gamma":
                values.fill_(0.5)


@torch.no_grad()
def brute_force(module: nn.Module, inputs: Any, layer: str, channels: np.ndarray, axis: int) -> list[Any]:
    answers = []
    for channel in channels:
        index = torch.tensor(int(channel))
        where = module.get_submodule(layer)
        handle = where.register_forward_hook(lambda _m, _i, output, index=index: output.index_fill(axis, index, 0))
        answers.append(module(*inputs))
        handle.remove()
    return answers


def compare(name: str, layer: str, size: int | None, axis: int, count: int = 12) -> bool:
    from fmap_cli.session.passes import network_inputs

    session = opened(name, size)
    image = read_image(session, COFFEE, lambda _: None)
    (picked,), answer = look_at_layers(session, image, [layer], lambda _l, _o, axes: axes)
    target = target_of(session.model, answer)
    with rest_of(session, image, picked.layer, picked.found) as rest:
        ablation = Ablation(rest, target, torch.zeros_like(rest.output))
        total = rest.output.shape[axis]
        every = np.arange(total)[:: max(total // 128, 1)]
        fast = gradient_times_activation(session, image, picked.layer, ablation)
        real, _, _ = ablation.singles(every)
        facts = f"{rest.left_out} calls left out, {rest.rows} at a time"
    some = every[np.linspace(0, len(every) - 1, min(count, len(every))).astype(int)]
    answers = brute_force(session.model.module, network_inputs(session, [image]), layer, some, axis)
    expected = np.array([target.value - float(value_of(target, each)[0]) for each in answers])
    apart = float(np.abs(expected - real[np.searchsorted(every, some)]).max() / max(abs(target.value), 1.0))
    rho = spearman(fast[every], real)
    word = "met" if apart <= CLOSE else "MISSED"
    rank = "–" if rho is None else f"{rho:.3f}"
    print(
        f"{name:38} {layer:32} apart {apart:.1e} ({word}); largest effect {np.abs(real).max():.3g} of"
        f" {target.value:.4g}; rho of --fast {rank} over {len(every)}; {facts}",
        flush=True,
    )
    return apart <= CLOSE


def race(layer: str, rounds: int) -> bool:
    session = opened("resnet50", None)
    net: Any = session.model.module
    image = read_image(session, COFFEE, lambda _: None)
    (picked,), answer = look_at_layers(session, image, [layer], lambda _l, _o, axes: axes)
    target = target_of(session.model, answer)
    behind = nn.Sequential(*([net.layer4] if layer == "layer3" else []), net.avgpool, nn.Flatten(), net.fc).eval()
    channels = np.arange(CHANNELS)
    with rest_of(session, image, picked.layer, picked.found) as rest:
        ablation = Ablation(rest, target, torch.zeros_like(rest.output))
        whole = image.tensor[None].expand(rest.rows, -1, -1, -1).contiguous()

        def ablated(rest: Rest, start: int, output: Tensor) -> Tensor:
            for row, channel in enumerate(channels[start : start + rest.rows]):
                output[row, channel] = 0
            return output

        @torch.no_grad()
        def by_hand(run: Any) -> None:
            for start in range(0, CHANNELS, rest.rows):
                value_of(target, run(start))

        def remainder(start: int) -> Tensor:
            return behind(ablated(rest, start, rest.output.repeat(rest.rows, 1, 1, 1)))

        def everything(start: int) -> Tensor:
            handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: ablated(rest, start, out))
            try:
                return net(whole)
            finally:
                handle.remove()

        seconds = measure.interleaved(
            {
                f"{layer}: the whole network, by hand": lambda: by_hand(everything),
                f"{layer}: what is behind it, by hand": lambda: by_hand(remainder),
                f"{layer}: fmap": lambda: ablation.singles(channels),
            },
            rounds,
        )
    measure.show_times(seconds)
    brute, hand, own = (np.median(each) for each in seconds.values())
    share = hand / own
    word = "met" if share >= LEAST_SHARE else "MISSED"
    print(
        f"{layer}: {brute / own:.1f} × as fast as the whole; whole ÷ behind is {brute / hand:.1f}; share {share:.2f}",
        end="",
    )
    print(f"; target ≥ {LEAST_SHARE:g}: {word}\n", flush=True)
    return bool(share >= LEAST_SHARE)


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 3)
    measure.show_machine("torch", "torchvision", "timm", "fmap-cli")
    fast = [race(layer, rounds) for layer in ("layer3", "layer4")]
    same = [compare(*each) for each in NETWORKS]
    return 0 if all([*fast, *same]) else 1


if __name__ == "__main__":
    sys.exit(main())
