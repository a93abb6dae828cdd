"""What one writes without fmap for a folder of photos: a DataLoader and a forward, its answers thrown away.

It reads and prepares a photo as fmap does, so that decoding and resizing are no part of the difference.

The loop runs in a process of its own. How often a pass asks the system for memory, which clears it page by page, goes
by what ran in the process before: after `fmap.stats` the same loop has half as many pages cleared.

    python benchmarks/bare_loop.py FOLDER BATCH [kept]

loads the network and runs the loop once for each line of standard input; each time it prints how long that took. With
`kept` the process keeps its memory, as fmap's does while it goes through a folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import measure

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bare_loop(folder: Path, batch: int, *, kept: bool = False) -> Callable[[], measure.Elsewhere]:
    """A function that runs the loop over a folder once: one worker a core, and batches of this size.

    Its process is there when this returns, and ends with the one that started it, or when the function is let go.
    """
    command = [sys.executable, __file__, str(folder), str(batch), *["kept"] * kept]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def answer() -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the bare loop ended with {process.wait()}")
        return line

    def run() -> measure.Elsewhere:
        assert process.stdin is not None
        process.stdin.write("run\n")
        return measure.Elsewhere(float(answer()))

    assert answer() == "ready\n"
    return run


def loop(folder: Path, batch: int) -> Callable[[], None]:
    """The loop itself, whose network is loaded when this returns."""
    from fmap_cli.frameworks import load_torchvision

    load_torchvision()
    import torch
    from torch.utils.data import DataLoader, Dataset

    from fmap_cli.inputs.images import load_image
    from fmap_cli.models.records import ModelRequest
    from fmap_cli.session.opening import open_session

    session = open_session(ModelRequest("efficientnet_lite0"), lambda _: None)

    class Photos(Dataset[torch.Tensor]):
        files = sorted(map(str, folder.iterdir()))

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, at: int) -> torch.Tensor:
            return load_image(self.files[at], session.model.preprocessing).tensor

    def run() -> None:
        loader = DataLoader(Photos(), batch_size=batch, num_workers=WORKERS)
        with torch.inference_mode():
            for each in loader:
                session.model.module(each)

    return run


def main() -> None:
    from fmap_cli.foreign import allocation

    if "kept" in sys.argv[3:]:
        allocation.keep()
    run = loop(Path(sys.argv[1]), int(sys.argv[2]))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = measure.clock()
        run()
        print(measure.clock() - start, flush=True)


if __name__ == "__main__":
    main()
