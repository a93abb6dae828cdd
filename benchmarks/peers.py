"""Other packages on the same work, in one process, on the same network with the same weights.

    pip install torchinfo fvcore captum torchlens MapExtrackt featlens
    python benchmarks/peers.py [--rounds 5]

A package that is not installed is skipped, and that is said. What each does is named in the row; where fmap does more
than the other (it counts where the other keeps), that is named too. Figures are fmap's time over the other's. The
network is the same object in all rounds, as in a notebook: what fmap found out about it in the first, which is dropped,
it still knows in the others (`fmap_cli/network/unchanged.py`). Rows that say so have a new network in each round.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.metadata
import io
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import measure

from fmap_cli.frameworks import load_torchvision

load_torchvision()
import torch  # noqa: E402
import torchvision  # noqa: E402
from bare_loop import WORKERS  # noqa: E402
from PIL import Image  # noqa: E402

import fmap_cli as fmap  # noqa: E402

Work = tuple[str, Callable[[], object], Callable[[], object]]
"""What is done, in words, and who does it: fmap, and the other package."""

PHOTO = measure.REPOSITORY / "sample_images" / "coffee.png"


def silently(call: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call()

    return run


def quiet(_: str) -> None:
    pass


# -- what each package does, and what fmap does for it -----------------------------------------------------------


def torchinfo(net: Any, folder: Path, *, new: bool = False) -> Work:
    from torchinfo import summary

    columns = ("output_size", "num_params", "mult_adds")
    theirs = lambda: str(summary(net, input_size=(1, 3, 224, 224), verbose=0, col_names=columns))  # noqa: E731
    work = (
        "table of ResNet-50's layers with shapes, parameters, multiply-adds, {} (fmap: receptive fields and axes too)"
    )
    return work.format(AGAIN_OR_NEW[new]), listed(net, new), theirs


def fvcore(net: Any, folder: Path, *, new: bool = False) -> Work:
    from fvcore.nn import FlopCountAnalysis, flop_count_table

    batch = torch.zeros(1, 3, 224, 224)
    theirs = lambda: flop_count_table(FlopCountAnalysis(net, batch), max_depth=9)  # noqa: E731
    work = (
        "table of ResNet-50's layers with parameters, multiply-adds, {} (fmap: shapes, receptive fields and axes too)"
    )
    return work.format(AGAIN_OR_NEW[new]), listed(net, new), theirs


AGAIN_OR_NEW = "again, of the same network", "of a new network"


def listed(net: Any, new: bool) -> Callable[[], object]:
    """fmap's table of the network, or each time of a copy that it has not seen. (The others keep nothing of one.)"""
    copies = [copy.deepcopy(net) for _ in range(8 * new)]  # made beforehand

    def table() -> None:
        one = net if not new else copies.pop() if copies else copy.deepcopy(net)
        fmap.layers(one, say=quiet).print()

    return table


def torchlens(net: Any, folder: Path) -> Work:
    import torchlens as peer

    batch = torch.rand(1, 3, 224, 224)
    work = "every layer's output of one image (fmap: its statistics; torchlens: kept)"
    return work, lambda: fmap.stats(net, batch[0], say=quiet), lambda: peer.trace(net, batch)


def captum(net: Any, folder: Path) -> Work:
    """Both are told the network, and captum the layer, beforehand."""
    from captum.attr import LayerActivation

    batch = torch.rand(1, 3, 224, 224)
    session = fmap.load_model(net, size=224, say=quiet)
    theirs = LayerActivation(net, net.layer4)
    work = "layer4's output of one tensor, kept (fmap: prepares it, and statistics, strongest maps and the answer too)"
    ours = lambda: fmap.feature_maps(session, batch[0], "layer4", say=quiet).arrays["layer4"]  # noqa: E731
    assert ours().shape == theirs.attribute(batch).shape
    return work, ours, lambda: theirs.attribute(batch)


def captum_over_photos(net: Any, folder: Path) -> Work:
    """Both read the same files, in as many processes and batches of as many."""
    from captum.attr import LayerActivation
    from torch.utils.data import DataLoader, Dataset

    photos = folder / "photos"
    photos.mkdir()
    measure.write_photos(photos, 64)
    prepared = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()

    class Photos(Dataset[torch.Tensor]):
        files = sorted(photos.iterdir())

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, at: int) -> torch.Tensor:
            return prepared(Image.open(self.files[at]).convert("RGB"))

    peer = LayerActivation(net, net.layer4)

    def theirs() -> torch.Tensor:
        return torch.cat([peer.attribute(each) for each in DataLoader(Photos(), batch_size=16, num_workers=WORKERS)])

    def ours() -> Any:
        return fmap.embed(session, photos, "layer4", pool="none", batch=16, say=quiet).vectors

    session = fmap.load_model(net, say=quiet)
    held, expected = ours(), theirs().flatten(1).numpy()
    assert held.shape == expected.shape and abs(held - expected).max() <= 1e-3 * abs(expected).max()
    return f"layer4's outputs of 64 photos, kept (captum: a DataLoader with {WORKERS} workers)", ours, theirs


def mapextrackt(net: Any, folder: Path) -> Work:
    """Both run the network on the same 224 × 224 pixels."""
    from MapExtrackt import FeatureExtractor
    from torchvision.transforms import CenterCrop, Compose, Resize

    crop = Compose([Resize(256), CenterCrop(224)])

    def theirs() -> None:
        peer = FeatureExtractor(net)
        peer.set_image(crop(Image.open(PHOTO).convert("RGB")), allowed_modules=["conv"])
        peer.display_from_map(0, out_type="pil", write_text="none").save(folder / "theirs.png")

    def ours() -> None:
        fmap.feature_maps(net, PHOTO, "conv1", say=quiet).figure().save(folder / "ours.png")

    return "conv1's 64 maps of one photo as a PNG (MapExtrackt: keeps the maps of all convolutions)", ours, theirs


def featlens(net: Any, folder: Path, *, page: bool = False) -> Work:
    """Both are told the network beforehand. Without `page` both write the colours alone, 224 × 224 pixels."""
    from featlens.pca import get_pca_map

    ready = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()

    def theirs() -> None:
        found = []
        handle = net.layer4.register_forward_hook(lambda _module, _inputs, output: found.append(output[0]))
        with torch.no_grad():
            net(ready(Image.open(PHOTO).convert("RGB"))[None])
        handle.remove()
        colours = get_pca_map(found[0].permute(1, 2, 0))
        Image.fromarray((colours * 255).astype("uint8")).resize((224, 224)).save(folder / "theirs.png")

    session = fmap.load_model(net, say=quiet)

    def ours() -> None:
        found = fmap.feature_maps(session, PHOTO, "layer4", reduce="pca", say=quiet)
        (found.figure() if page else found.figure(raw=True, tile=224)).save(folder / "ours.png")

    colours = "layer4's maps of one photo as principal components, a PNG (a plain hook, featlens' PCA, Pillow)"
    whole = "the same (fmap: on a page of 1,600 × 800 pixels, with the photo and what the colours mean)"
    return whole if page else colours, ours, theirs


PEERS = [
    ("torchinfo", torchinfo),
    ("torchinfo", partial(torchinfo, new=True)),
    ("fvcore", fvcore),
    ("fvcore", partial(fvcore, new=True)),
    ("torchlens", torchlens),
    ("captum", captum_over_photos),
    ("captum", captum),
    ("MapExtrackt", mapextrackt),
    ("featlens", featlens),
    ("featlens", partial(featlens, page=True)),
]


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 5)
    measure.show_machine("torch", "torchvision", "fmap-cli")
    torch.manual_seed(0)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        for package, work_of in PEERS:
            try:
                version = importlib.metadata.version(package)
                importlib.import_module(package)
            except ImportError as error:
                print(f"{package}: skipped, it cannot be imported here ({error})")
                measure.record(skipped=f"{package} is not installed", values=[], met=True)
                continue
            try:
                net = torchvision.models.resnet50(weights=None).eval()
                work, ours, theirs = work_of(net, Path(name))
                seconds = measure.interleaved({"fmap": silently(ours), package: silently(theirs)}, rounds)
            except Exception as error:
                print(f"{package}: FAILED: {type(error).__name__}: {error}")
                measure.record(
                    skipped=f"{package} {version} failed: {type(error).__name__}: {error}", values=[], met=True
                )
                failed = True
                continue
            measure.show_times(seconds)
            shares = measure.ratios(*seconds.values())
            measure.show_verdict(work, shares, 1.0, peer=f"{package} {version}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
