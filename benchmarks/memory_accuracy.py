"""fmap's and torchinfo's estimates of a training step against a real one on the CPU, on the same models.

    pip install torchinfo
    python benchmarks/memory_accuracy.py [--batch 2] [--size 224] [MODEL ...]

The truth is a real step: the bytes that autograd's own hooks report, each storage once (without weights and input,
which neither counts as activations), and the most bytes of tensors alive over two steps of SGD with momentum.
torchinfo's "forward/backward pass size" stands for the former, its estimated total size for the latter, as its users
read them.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from statistics import mean

import measure

sys.path.insert(0, str(measure.REPOSITORY / "tests" / "memory"))

MODELS = (
    "resnet18 resnet50 vgg11_bn mobilenet_v2 mobilenet_v3_small densenet121 squeezenet1_1 shufflenet_v2_x0_5 "
    "efficientnet_b0 regnet_x_400mf convnext_tiny swin_t vit_b_32"
).split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()

    from fmap_cli.frameworks import load_torchvision

    load_torchvision()
    import torch
    import torchinfo
    import torchvision
    from real_run import training_step

    from fmap_cli.memory.bill import kept_bytes
    from fmap_cli.memory.replay import program
    from fmap_cli.memory.tracing import Run, mean_square, trace
    from fmap_cli.network.axes import meta_twin

    measure.show_machine("torch", "torchvision", "torchinfo", "fmap-cli")
    print(f"{'MB':22}{'kept':>9}{'fmap':>9}{'torchinfo':>19}{'peak':>11}{'fmap':>9}{'torchinfo':>19}")
    errors: dict[str, list[float]] = {"fmap kept": [], "torchinfo kept": [], "fmap peak": [], "torchinfo peak": []}
    for name in options.models:
        net = torchvision.models.get_model(name)
        images = torch.zeros(options.batch, 3, options.size, options.size)
        constant = {each.untyped_storage()._cdata for each in [*net.parameters(), *net.buffers(), images]}
        real = training_step(net, (images,), mean_square, partial(torch.optim.SGD, lr=1e-3, momentum=0.9))
        kept = real.saved - real.saved_of(constant)
        found = trace(meta_twin(net), (images.to("meta"),), Run(optimizer="sgd-momentum", target="cpu"))
        ours = kept_bytes(found), int(program(found).live().max())
        summary = torchinfo.summary(net, input_data=images, mode="train", verbose=0)
        theirs = (
            summary.to_megabytes(summary.total_output_bytes) * 1e6,
            summary.to_megabytes(summary.total_input + summary.total_output_bytes + summary.total_param_bytes) * 1e6,
        )
        cells = f"{name:22}"
        for which, truth, own, other in (("kept", kept, ours[0], theirs[0]), ("peak", real.peak, ours[1], theirs[1])):
            errors[f"fmap {which}"].append(abs(own / truth - 1))
            errors[f"torchinfo {which}"].append(abs(other / truth - 1))
            off = f"({other / truth - 1:+.1%})"
            cells += f"{truth / 1e6:9,.1f}{own / 1e6:9,.1f}{other / 1e6:10,.1f} {off:>9}"
        print(cells, flush=True)
    print()
    for which, values in errors.items():
        print(f"{which:16} mean error {mean(values):9.4%}, largest {max(values):9.4%}")
    return 0 if max(errors["fmap kept"] + errors["fmap peak"]) < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
