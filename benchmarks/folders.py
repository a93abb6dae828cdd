"""Folders of photos through the embedded model: `stats`, `predict` and `embed` over 500, `show --out-dir` over 100.

    python benchmarks/folders.py [--photos 500] [--rounds 3] [--only WORD]

The bare loop is what one writes without fmap, in a process of its own: a DataLoader with one worker a core and the
command's batch, the same preprocessing, the same network, its answers thrown away (`bare_loop.py`). Both sides start
from a network that is loaded; starting the workers counts for both. `show` is held against a loop that decodes, runs
the network and writes the crop as PNG, and both sides load the network. Targets: 0.88 of the bare loop's rate for
statistics of all layers, 0.95 for `predict` and `embed`, 1.5 times the loop's time for `show`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure
from bare_loop import WORKERS, bare_loop

from fmap_cli.foreign import allocation
from fmap_cli.frameworks import load_torchvision

load_torchvision()
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from fmap_cli.answers.classify import classify  # noqa: E402
from fmap_cli.embedding.embed import embed  # noqa: E402
from fmap_cli.inputs.images import load_image  # noqa: E402
from fmap_cli.models.records import ModelRequest  # noqa: E402
from fmap_cli.running.going import whole_run  # noqa: E402
from fmap_cli.session.opening import Session, open_session  # noqa: E402
from fmap_cli.statistics.records import Counting  # noqa: E402
from fmap_cli.statistics.running import Count  # noqa: E402

PHOTOS_SHOWN = 100


def bare_figures(folder: Path, out: Path) -> None:
    """Decode, run, write the crop; `show` chooses channels, draws figures and writes those."""
    session = open_session(ModelRequest("efficientnet_lite0"), lambda _: None)
    for path in sorted(folder.iterdir()):
        image = load_image(str(path), session.model.preprocessing)
        with torch.inference_mode():
            session.model.module(image.tensor[None])
        Image.fromarray(image.pixels).save(out / f"{path.stem}.png")


def stats(session: Session, folder: Path) -> None:
    run = whole_run(session, [str(folder)], Count(Counting(workers=WORKERS)), lambda _: None)
    assert len(run.layers) > 200 and not run.failures


def show_rate(work: str, seconds: dict[str, list[float]], batch: int, target: float) -> bool:
    """The times of fmap, then of the bare loop, and fmap's share of the loop's rate: whether that is enough.

    A third are those of the loop in a process that keeps its memory, which nobody has asked for: without an aim.
    """
    measure.show_times(seconds)
    ours, bare, *kept = seconds.values()
    loop = f"bare DataLoader and forward, {WORKERS} workers, batch {batch}"
    met = measure.show_verdict(
        f"{work}: rate",
        measure.ratios(bare, ours),
        target,
        at_least=True,
        against=loop,
        floor="1: the loop's own decoding and forward",
    )
    for each in kept:
        against = f"{loop}; its process keeps its memory from batch to batch, as fmap does"
        measure.show_verdict(f"{work}: rate", measure.ratios(each, ours), None, against=against)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="stats, predict, embed or show")
    options = parser.parse_args()
    measure.show_machine("torch", "torchvision", "pillow", "numba", "fmap-cli")
    session = open_session(ModelRequest("efficientnet_lite0"), lambda _: None)

    def quiet(_: str) -> None:
        pass

    met = True
    with tempfile.TemporaryDirectory() as name:
        folder, few, out = Path(name, "photos"), Path(name, "few"), Path(name, "out")
        for each in (folder, few, out):
            each.mkdir()
        measure.write_photos(folder, options.photos)
        measure.write_photos(few, min(PHOTOS_SHOWN, options.photos))
        works: dict[str, tuple[Callable[[], object], int, float]] = {
            "stats": (lambda: stats(session, folder), 8, 0.88),
            "predict": (lambda: classify(session, [str(folder)], 5, 16, quiet), 16, 0.95),
            "embed": (lambda: embed(session, [str(folder)], None, None, 16, quiet), 16, 0.95),
        }
        for work, (ours, batch, target) in works.items():
            if options.only not in work:
                continue
            loops = {
                "bare loop": bare_loop(folder, batch),
                "bare loop, memory kept": bare_loop(folder, batch, kept=True),
            }
            seconds = measure.interleaved({f"fmap {work}": ours, **loops}, options.rounds)
            del loops  # and their processes with them
            met &= show_rate(f"`{work}` over {options.photos} photos, embedded model", seconds, batch, target)
        if options.only in "show":
            allocation.keep()  # as the program does as it starts; the bare loop has it as well
            figures = ["show", few, "--layer", "features.2", "--out-dir", out / "fmap"]
            bare = out / "bare"
            bare.mkdir()
            seconds = measure.interleaved(
                {"fmap show": lambda: measure.quietly(figures), "bare loop": lambda: bare_figures(few, bare)},
                options.rounds,
            )
            assert len(list((out / "fmap").glob("*.png"))) == len(list(bare.iterdir()))
            measure.show_times(seconds)
            met &= measure.show_verdict(
                f"`show --out-dir` over {len(list(few.iterdir()))} photos, one layer, figures as PNG",
                measure.ratios(*seconds.values()),
                1.5,
                against="bare loop that decodes, runs and writes the crop as PNG",
                floor="1 and the figures' own pixels, which are more than the crop's",
            )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
