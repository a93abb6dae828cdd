"""A folder of 500 photos through the embedded model, all layers: at least 0.75 of a bare loop's rate.

    python benchmarks/stats_folder.py

The bare loop is what one writes without fmap: a DataLoader with the same number of workers and batch, the same
preprocessing, the same network, its answers thrown away. Photos are crops of the sample images as JPEG of 500 × 375,
as in ImageNet. Both start from a network that is loaded; starting the workers counts for both.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

import measure
from PIL import Image

from fmap_cli.frameworks import load_torchvision

load_torchvision()
import torch  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from fmap_cli.inputs.images import load_image  # noqa: E402
from fmap_cli.models.records import ModelRequest, Preprocessing  # noqa: E402
from fmap_cli.running.going import go_through, origin_of  # noqa: E402
from fmap_cli.running.plan import plan_run  # noqa: E402
from fmap_cli.session.opening import Session, open_session  # noqa: E402
from fmap_cli.statistics.gather import Gathering  # noqa: E402

TARGET = 1 / 0.75
PHOTOS, BATCH = 500, 8
WORKERS = os.cpu_count() or 1


def write_photos(folder: Path) -> None:
    chance = random.Random(1)
    samples = [Image.open(path).convert("RGB") for path in sorted((measure.REPOSITORY / "sample_images").glob("*.*g"))]
    for at in range(PHOTOS):
        photo = chance.choice(samples)
        share = chance.uniform(0.6, 1)
        width, height = int(photo.width * share), int(photo.height * share)
        left, top = chance.randint(0, photo.width - width), chance.randint(0, photo.height - height)
        crop = photo.crop((left, top, left + width, top + height)).resize((500, 375))
        crop.save(folder / f"{at:04}.jpg", quality=90)


class Photos(Dataset[torch.Tensor]):
    def __init__(self, folder: Path, preprocessing: Preprocessing) -> None:
        self.files = sorted(map(str, folder.iterdir()))
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> torch.Tensor:
        return load_image(self.files[at], self.preprocessing).tensor


def bare_loop(session: Session, folder: Path) -> None:
    loader = DataLoader(Photos(folder, session.model.preprocessing), batch_size=BATCH, num_workers=WORKERS)
    with torch.inference_mode():
        for batch in loader:
            session.model.module(batch)


def with_fmap(session: Session, folder: Path) -> None:
    plan = plan_run(session, [str(folder)])
    with Gathering(session) as gathering:
        run = go_through(
            session,
            plan,
            gathering,
            origin_of(session, digest=True),
            batch=BATCH,
            workers=WORKERS,
            say=lambda _: None,
        )
    assert run.images == PHOTOS
    assert len(run.layers) > 200


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 5)
    measure.show_machine("torch", "torchvision", "numba", "fmap-cli")
    session = open_session(ModelRequest("efficientnet_lite0"), lambda _: None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder)
        seconds = measure.interleaved(
            {"fmap stats": lambda: with_fmap(session, folder), "bare loop": lambda: bare_loop(session, folder)}, rounds
        )
    measure.show_times(seconds)
    ratios = measure.ratios(seconds["fmap stats"], seconds["bare loop"])
    print(f"rate: {1 / sorted(ratios)[len(ratios) // 2]:.2f} of the bare loop's, {WORKERS} workers, batch {BATCH}")
    return 0 if measure.show_verdict("time", ratios, TARGET) else 1


if __name__ == "__main__":
    sys.exit(main())
