"""`stats --load` of ten runs of a million images each, merged and printed: at most 1 s beyond the imports.

    python benchmarks/runs_load.py

A run's file holds sums, so a million images take the room of eight; what is written here are runs over eight images of
noise whose counts are raised to a million.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import measure

TARGET_S = 1.0
IMPORTS = """
import contextlib, importlib, sys
for each in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(each)
"""
RUNS, IMAGES = 10, 1_000_000


def write_runs(folder: Path) -> list[Path]:
    from fmap_cli.frameworks import load_torchvision

    load_torchvision()
    import torch

    from fmap_cli.inputs.records import ImageInput
    from fmap_cli.models.records import ModelRequest
    from fmap_cli.running.going import origin_of
    from fmap_cli.running.plan import Plan
    from fmap_cli.session.opening import open_session
    from fmap_cli.statistics.gather import Gathering
    from fmap_cli.statistics.records import LayerRecord, Run

    session = open_session(ModelRequest("efficientnet_lite0"), lambda _: None)
    origin = origin_of(session, digest=True)

    def raised(record: LayerRecord) -> LayerRecord:
        times = IMAGES // record.images
        channels = record.channels
        histogram = None if channels.histogram is None else channels.histogram * times
        more = replace(
            channels,
            count=channels.count * times,
            m2=channels.m2 * times,
            zeros=channels.zeros * times,
            histogram=histogram,
        )
        return replace(record, images=IMAGES, channels=more)

    paths = []
    for at in range(RUNS):
        noise = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(at))
        images = [ImageInput(str(index), "", None, each) for index, each in enumerate(noise)]  # type: ignore[arg-type]
        with Gathering(session) as gathering:
            gathering.add(list(enumerate(images)), None)
            found = gathering.run(origin, Plan((f"shard{at}",), (), None, ""), (), 0)
        run = Run(origin, (f"shard{at}",), IMAGES, tuple(map(raised, found.layers)))
        paths.append(run.save(folder / f"{at}.fmap"))
    return paths


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 5)
    measure.show_machine("torch", "numba", "fmap-cli")
    with tempfile.TemporaryDirectory() as name:
        paths = write_runs(Path(name))
        arguments = ["stats", "--load", *paths]
        roots = ("fmap_cli", "rich", "click", "torch", "numpy")
        wanted = sorted(each for each in measure.imported_by_fmap(*arguments) if each.split(".")[0] in roots)
        wanted = [each for each in wanted if not each.endswith("__main__")]
        seconds = measure.interleaved(
            {
                "fmap stats --load": measure.process([*measure.fmap_command(), *arguments]),
                "its imports": measure.process([sys.executable, "-c", IMPORTS, *wanted]),
            },
            rounds,
        )
        size = sum(path.stat().st_size for path in paths)
    measure.show_times(seconds)
    beyond = [own - imports for own, imports in zip(*seconds.values(), strict=True)]
    met = measure.show_verdict(
        f"`stats --load` of {RUNS} runs of a million images each, beyond its imports",
        beyond,
        TARGET_S,
        unit="s",
        against="a process that imports the same modules",
        floor=f"{size / 1e6:.1f} MB to read",
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
