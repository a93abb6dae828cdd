"""`fmap top` over a folder of photos through the embedded model, against a bare loader-and-forward loop.

    python benchmarks/top.py [--photos 500] [--rounds 3]

The bare loop is benchmarks/bare_loop.py. Both sides start from a network that is loaded. For patches the units'
fields are cut out at the end, for which pictures beyond the 8 MB in hand are read again. Targets: 0.8
of the bare loop's rate for one layer, 0.6 for all of them, both without the patches; and in memory at most 200 MB more
over all photos than over one, for one layer with patches and for all of them without.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import folders
import measure
from bare_loop import WORKERS, bare_loop

from fmap_cli.models.records import ModelRequest
from fmap_cli.session.opening import open_session
from fmap_cli.top.api import top
from fmap_cli.top.records import Dossiers

MB = 2**20
LAYER = "features.5"
# ru_maxrss would not do: a process that is started has at least what the one that starts it holds.
PEAK = """
import re, sys
{work}
with open("/proc/self/status") as status:
    print("peak", 1024 * int(re.search(r"^VmHWM:\\s+(\\d+) kB", status.read(), re.MULTILINE)[1]))
"""
TOP = """
from fmap_cli.top.api import top
found = top(images=sys.argv[1], layer=sys.argv[2], patches=sys.argv[3] == "patches", say=lambda _: None)
"""
BARE = """
from pathlib import Path
from bare_loop import loop
loop(Path(sys.argv[1]), 8)()
"""


def quiet(_: str) -> None: ...


def peak(work: str, *arguments: str | Path) -> int:
    """The most bytes that a process of its own holds at a time for some work, without those that read images."""
    command = [sys.executable, "-c", PEAK.format(work=work), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=measure.REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return int(re.findall(r"^peak (\d+)$", done.stdout, re.MULTILINE)[0])


def bytes_a_channel(found: Dossiers) -> float:
    return sum(each.found.nbytes for each in found.layers) / sum(len(each.channels) for each in found.layers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    measure.show_machine("torch", "torchvision", "pillow", "numpy", "fmap-cli")
    session = open_session(ModelRequest("efficientnet_lite0"), quiet)
    met = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "photos")
        folder.mkdir()
        measure.write_photos(folder, options.photos)
        loops = {"bare loop": bare_loop(folder, 8), "bare loop, memory kept": bare_loop(folder, 8, kept=True)}
        for words, layer, target in (("one layer", LAYER, 0.8), ("all layers", "*", 0.6)):
            ran: list[Dossiers] = []

            def ours(layer: str = layer, ran: list[Dossiers] = ran) -> None:
                ran[:] = [top(session, folder, layer, workers=WORKERS, patches=False, say=quiet)]

            seconds = measure.interleaved({f"fmap top, {words}": ours, **loops}, options.rounds)
            work = f"`top` over {options.photos} photos, embedded model, {words}"
            met &= folders.show_rate(work, seconds, 8, target)
            print(f"{words}: {bytes_a_channel(ran[0]):.0f} bytes a channel")
        one = Path(name, "one")
        one.mkdir()
        photo = min(folder.iterdir())
        (one / photo.name).symlink_to(photo)
        own = (peak(BARE, folder) - peak(BARE, one)) / MB
        for words, layer, patches in (
            ("one layer, with patches", LAYER, "patches"),
            ("all layers", "*", "none"),
            ("all layers, with patches", "*", "patches"),
        ):
            more = [
                (peak(TOP, folder, layer, patches) - peak(TOP, one, layer, patches)) / MB for _ in range(options.rounds)
            ]
            if words.startswith("all") and patches != "none":  # grows with the pictures that are shown
                print(f"memory, {words}: {more[0]:.0f} MB more over {options.photos} photos than over one")
                continue
            met &= measure.show_verdict(
                f"`top` over {options.photos} photos, embedded model, {words}: memory beyond that of one photo",
                more,
                200,
                against="the same over one photo",
                unit="MB",
                floor=f"{own:.0f} MB, which the bare loop takes beyond that of one photo",
            )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
