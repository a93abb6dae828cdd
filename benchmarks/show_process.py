"""`fmap show` of one image and layer against a bare script, whole processes: at most 0.75 ×, and 1.12 × `import torch`.

    python benchmarks/show_process.py

`bare_script.py` imports torch and torchvision, preprocesses the same image, builds and loads the same model,
runs one forward pass and writes one PNG of the crop. fmap does that, captures a layer and draws its figure.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import measure

TARGET, TORCH_TARGET = 0.75, 1.12
NEEDLESS = {"torch._dynamo", "triton", "torch.utils.flop_counter", "matplotlib", "timm"}
"""Slow to import, and no part of showing one layer as a PNG."""
IMAGE = "sample_images/coffee.png"


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 9)
    measure.show_machine("torch", "torchvision", "pillow", "fmap-cli")
    with tempfile.TemporaryDirectory() as folder:
        figure, crop = Path(folder, "figure.png"), Path(folder, "crop.png")
        bare_script = Path(__file__).with_name("bare_script.py")
        arguments = ["show", IMAGE, "--layer", "conv1", "-o", figure]
        needless = measure.imported_by_fmap(*arguments) & NEEDLESS
        seconds = measure.interleaved(
            {
                "fmap show": measure.process([*measure.fmap_command(), *arguments]),
                "import torch": measure.process([sys.executable, "-c", "import torch"]),
                "import torch, left at once": measure.process(
                    [sys.executable, "-c", "import os, torch; os._exit(0)"]  # as fmap ends
                ),
                "bare script": measure.process([sys.executable, bare_script, IMAGE, crop]),
            },
            rounds,
        )
        assert figure.stat().st_size > 0 and crop.stat().st_size > 0
    measure.show_times(seconds)
    print()
    shares = measure.ratios(seconds["fmap show"], seconds["bare script"])
    met = measure.show_verdict(
        "`show` of one image and layer, whole process",
        shares,
        TARGET,
        against="bare script: imports, model, pass, crop",
    )
    met &= measure.show_verdict(
        "`show` of one image and layer, whole process",
        measure.ratios(seconds["fmap show"], seconds["import torch"]),
        TORCH_TARGET,
        against='`python -c "import torch"`, to the end of its process',
    )
    measure.show_verdict(
        "`show` of one image and layer, whole process",
        measure.ratios(seconds["fmap show"], seconds["import torch, left at once"]),
        None,
        against="the same, left by `os._exit`, as fmap leaves: torch's libraries are not taken down",
    )
    print(f"    needless imports: {', '.join(sorted(needless)) or 'none'}")
    return 0 if met and not needless else 1


if __name__ == "__main__":
    sys.exit(main())
