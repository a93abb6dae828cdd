"""What channels answer to: held against a pass that keeps every value and sorts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Ran, of_processes
from pages import faults, texts
from PIL import Image
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

import fmap_cli as fmap
from fmap_cli.errors import FmapError, LayerError, ModelError
from fmap_cli.running.going import Pace, origin_of
from fmap_cli.running.plan import plan_run
from fmap_cli.running.team import Team
from fmap_cli.session.opening import Session, read_image
from fmap_cli.top.dossiers import selectivity_by_class, sparseness
from fmap_cli.top.exact import LIMBS, count_in, total
from fmap_cli.top.excitations import Picks
from fmap_cli.top.figure import sheet
from fmap_cli.top.liking import liked
from fmap_cli.top.merging import merge_dossiers
from fmap_cli.top.records import Dossiers, Looking
from fmap_cli.top.running import TopRun
from fmap_cli.top.saved import load_dossiers

ROOT = Path(__file__).parents[2]
PHOTOS = sorted((ROOT / "sample_images").glob("*.[pj][np]g"))
CLASSES = ("cats", "dogs", "owls")


def quiet(_: str) -> None: ...


def tied() -> Session:
    """Two convolutions with whole weights: of images with few colours many units are exactly equal."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, padding=1))
    for each in (net[0], net[3]):
        each.weight.data = torch.randint(-1, 2, each.weight.shape).float()
        each.bias.data.zero_()
    net[0].bias.data[2] = -1e6  # never fires
    return fmap.load_model(net.eval(), size=12, mean=0, std=1, say=quiet)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of 12 × 12 pixels, each black or white, in three classes; some are the same."""
    folder, random = tmp_path_factory.mktemp("few"), np.random.default_rng(0)
    for at in range(60):
        pixels = (random.integers(0, 2, (12, 12, 3)) * 255).astype(np.uint8)
        if at % 10 == 9:
            pixels[:] = 255
        (folder / CLASSES[at // 20]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / CLASSES[at // 20] / f"{at:03}.png")
    return folder


def crops(folder: Path, count: int, side: int) -> Path:
    """So many pieces of the sample photos."""
    random = np.random.default_rng(1)
    whole = [Image.open(each).convert("RGB") for each in PHOTOS]
    for at in range(count):
        photo = whole[at % len(whole)]
        width = int(random.integers(min(photo.size) // 4, min(photo.size)))
        left, up = (int(random.integers(0, each - width + 1)) for each in photo.size)
        photo.crop((left, up, left + width, up + width)).resize((side, side)).save(folder / f"{at:03}.png")
    return folder


def every_value(session: Session, names: list[str], layers: list[str], batch: int) -> dict[str, np.ndarray]:
    """Each layer's whole output for all images, by hooks of torch's own."""
    kept: dict[str, list[torch.Tensor]] = {each: [] for each in layers}
    module = session.model.module
    hooks = [
        module.get_submodule(each).register_forward_hook(lambda *a, name=each: kept[name].append(a[2].clone()))
        for each in layers
    ]
    tensors = [read_image(session, each, quiet).tensor for each in names]
    with torch.no_grad():
        for at in range(0, len(names), batch):
            module(torch.stack(tensors[at : at + batch]))
    for hook in hooks:
        hook.remove()
    return {each: torch.cat(found).numpy() for each, found in kept.items()}


def check(session: Session, folder: Path, layers: list[str], *, per_image: int, batch: int) -> Dossiers:
    """Raises AssertionError where what is kept differs from what sorting all values gives."""
    found = fmap.top(
        session, folder, layers, per_image=per_image, batch=batch, workers=0, strongest=7, patches=False, say=quiet
    )
    names = [str(each) for each in plan_run(session, [str(folder)]).entries]
    assert found.images == len(names)
    for name, values in every_value(session, names, layers, batch).items():
        record = found[name].found
        count, channels, _, wide = values.shape
        flat = values.reshape(count, channels, -1)
        for channel in range(channels):
            units: list[tuple[float, int, int]] = []
            for image in range(count):
                order = np.argsort(-flat[image, channel], kind="stable")[:per_image]
                units += [(-float(flat[image, channel, at]), image, int(at)) for at in order]
            strongest = [(-value, image, 0, *divmod(at, wide)) for value, image, at in sorted(units)[:7]]
            assert kept(record.strongest, channel) == strongest
            firsts = [(float(each.max()), at, int(each.argmax())) for at, each in enumerate(flat[:, channel])]
            weakest = [(value, image, 0, *divmod(at, wide)) for value, image, at in sorted(firsts)[:3]]
            assert kept(record.weakest, channel) == weakest
            assert record.fired[channel] == sum(each > 0 for each, _, _ in firsts)
        assert np.array_equal(total(record.classes.limbs)[0], flat.max(axis=2).astype(np.float64).sum(axis=0))
    return found


def kept(picks: Picks, channel: int) -> list[tuple[Any, ...]]:
    return [
        (float(picks.value[channel, at]), int(image), *picks.place[channel, at].tolist())
        for at, image in enumerate(picks.image[channel])
    ]


@pytest.mark.parametrize("per_image", [1, 3])
def test_what_is_kept_is_what_sorting_all_values_gives_ties_included(few: Path, per_image: int) -> None:
    found = check(tied(), few, ["1", "3"], per_image=per_image, batch=8)
    strongest = found["1"].found.strongest.value
    assert (np.diff(strongest, axis=1) == 0).sum() > 10  # there were ties


@pytest.mark.parametrize("count", [pytest.param(12, id="12"), pytest.param(300, id="300", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["lite0", "shufflenet"])
def test_real_networks_keep_what_sorting_all_values_gives(tmp_path: Path, name: str, count: int) -> None:
    folder = crops(tmp_path, count, 64)
    if name == "lite0":
        session, layers = fmap.load_model(size=64, say=quiet), ["features.1", "features.4.1", "features.8.0"]
    else:
        torch.manual_seed(0)
        session = fmap.load_model(shufflenet_v2_x0_5().eval(), size=64, mean=0.5, std=0.5, say=quiet)
        layers = ["conv1", "stage3.1", "conv5"]
    check(session, folder, layers, per_image=1, batch=6)


# -- one run, however it is gone through ---------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Whether two records are equal, array by array."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if is_dataclass(one):
        return all(same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[each], other[each]) for each in one)
    return bool(one == other)


def alike(one: Dossiers, other: Dossiers) -> bool:
    def found(each: Dossiers) -> Any:
        return [(layer.channels, layer.found) for layer in each.layers], dict(each.names), each.images, each.entries

    return same(found(one), found(other))


LOOKING = Looking(("1", "3"), batch=5, workers=0, by_class=True)


def whole(session: Session, *folders: Path) -> Dossiers:
    return run(session, folders, Team())


def run(session: Session, folders: tuple[Path, ...], team: Team, **how: Any) -> Dossiers:
    job = TopRun(LOOKING)
    plan = job.plan(session, [str(each) for each in folders], team)
    return job.through(session, plan, origin_of(session, digest=True), quiet, **how)


def test_merged_parts_are_one_run(few: Path, tmp_path: Path) -> None:
    session = tied()
    job = TopRun(replace(LOOKING, by_class=False))

    def part(*folders: Path) -> Dossiers:
        plan = job.plan(session, [str(each) for each in folders], Team())
        return job.through(session, plan, origin_of(session, digest=True), quiet)

    folders = [few / each for each in CLASSES]
    parts = [(each.name, part(each)) for each in folders]
    assert alike(merge_dossiers(parts), part(*folders))
    with_patches = [(each.name, fmap.top(session, each, ["1", "3"], workers=0, say=quiet)) for each in folders]
    merged = merge_dossiers(with_patches)
    whole_run = fmap.top(session, folders, ["1", "3"], workers=0, say=quiet)
    for name in ("1", "3"):  # other images are examples of the quantiles than in the parts
        for channel in range(len(merged[name].channels)):
            assert same(merged.dossier(name, channel), whole_run.dossier(name, channel))
            assert all(unit.patch is not None for unit in merged.dossier(name, channel).units)
    assert {*merged.patches} == {*whole_run.patches}
    assert len(merged.patches) < sum(len(each.patches) for _, each in with_patches)  # fewer may be shown
    with pytest.raises(FmapError, match="same dossiers"):
        merge_dossiers([parts[0], parts[0]])


def test_dossiers_that_do_not_go_together_are_called_dossiers_in_what_would_mend_it(few: Path) -> None:
    """`fmap stats` saves runs, `fmap top` dossiers: a hint that speaks of the other sends the reader astray."""
    found = run(tied(), (few,), Team())
    other = replace(found, origin=replace(found.origin, model="another"), images=59)
    fewer = replace(found, layers=found.layers[:1])
    for unlike in (other, fewer):
        with pytest.raises(FmapError, match="of different") as refused:
            merge_dossiers([("a.fmap", found), ("b.fmap", unlike)])
        assert refused.value.hint is not None and refused.value.hint.startswith("Dossiers can be merged if")
    session = tied()
    with pytest.raises(FmapError, match="of different models") as refused:
        liked(session, other, read_image(session, str(PHOTOS[0]), quiet), (0, 0), None)
    assert refused.value.hint is not None and "merge" not in refused.value.hint


def test_two_processes_share_what_one_does(few: Path) -> None:
    session = tied()
    parts = [(str(rank), run(session, (few,), Team(rank, 2))) for rank in (0, 1)]
    assert alike(replace(TopRun(LOOKING).merge(parts), entries=60), whole(session, few))


def test_a_run_that_was_stopped_and_saved_goes_on_to_the_same_end(few: Path, tmp_path: Path) -> None:
    session, told = tied(), []
    pace: Pace[Dossiers] = Pace(stop=lambda: len(told) > 3, advanced=lambda *at, **_: told.append(at))
    stopped = run(session, (few,), Team(), pace=pace)
    assert stopped.progress is not None and 0 < stopped.progress.done < 60
    stopped.save(tmp_path / "part.fmap")
    again = load_dossiers(tmp_path / "part.fmap")
    assert alike(again, stopped)
    assert alike(run(session, (few,), Team(), earlier=again), whole(session, few))


def test_a_file_holds_all_of_it_and_gives_one_channel_without_the_network(few: Path, tmp_path: Path) -> None:
    found = fmap.top(tied(), few, ["1", "3"], by_class=True, workers=0, say=quiet)
    found.save(tmp_path / "d.fmap")
    loaded = fmap.top(load=tmp_path / "d.fmap")
    assert alike(loaded, found) and same(dict(loaded.patches), dict(found.patches))
    one = fmap.top(load=[tmp_path / "d.fmap"], layer="3", channels=[4])
    assert [each.layer.name for each in one.layers] == ["3"] and one["3"].channels.tolist() == [4]
    assert same(one.dossier("3", 4), found.dossier("3", 4))
    assert one.figure().image().size == one.figure("3").image().size
    with pytest.raises(LayerError, match="no dossier of channel 9"):
        fmap.top(load=tmp_path / "d.fmap", layer="3", channels=[9])
    content = bytearray((tmp_path / "d.fmap").read_bytes())
    for at in range(0, len(content), len(content) // 25):  # whatever is wrong is said, or changes a number
        broken = tmp_path / "broken.fmap"
        broken.write_bytes(bytes(content[:at]))
        with pytest.raises(FmapError):
            fmap.top(load=broken)
        broken.write_bytes(bytes(content[:at]) + bytes([content[at] ^ 255]) + bytes(content[at + 1 :]))
        try:
            fmap.top(load=broken).table()
        except FmapError as error:
            assert str(broken) in str(error)


# -- patches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["features.1", "features.3"])
def test_a_patch_is_exactly_the_field_of_its_unit(layer: str) -> None:
    session = fmap.load_model(size=96, say=quiet)
    found = fmap.top(session, PHOTOS[:3], layer, channels=range(4), workers=0, say=quiet)
    pictures = {str(each): read_image(session, str(each), quiet).pixels for each in PHOTOS[:3]}
    beyond = seen = 0
    for (name, channel, number, _, *place), patch in found.patches.items():
        image = found.names[number]
        unit = fmap.unit(session, image, name, at=tuple(place), channel=channel, say=quiet)
        rows, columns = unit.box.unclipped[-2:]
        assert (patch.rows, patch.columns) == (rows, columns)
        high, wide = rows[1] - rows[0] + 1, columns[1] - columns[0] + 1
        expected = np.pad(pictures[image], ((high, high), (wide, wide), (0, 0)), constant_values=160)
        down, across = rows[0] + high, columns[0] + wide
        cut = expected[down : down + high, across : across + wide]
        if max(high, wide) <= 64:
            assert np.abs(cut.astype(int) - patch.pixels).max() <= 1  # the network's own values, rounded
        beyond += bool((cut == 160).all(axis=-1).any())
        seen += 1
    assert seen > 5 and beyond


def test_a_unit_that_sees_the_whole_picture_has_it_as_its_patch() -> None:
    found = fmap.top("efficientnet_lite0", PHOTOS[:2], "last", channels=[3], workers=0, say=quiet)
    patches = list(found.patches.values())
    assert patches and all(each.whole and each.size == (224, 224) for each in patches)


# -- what is said --------------------------------------------------------------------------------------------------


def test_sums_do_not_round() -> None:
    values = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32) * np.float32(10.0) ** [[-30, 0, 30]]
    values = values.astype(np.float32)
    from math import fsum

    def sums_of(*parts: np.ndarray) -> np.ndarray:
        above, without, counts = np.zeros((3, 3), np.int64)
        sums = np.zeros((3, LIMBS), np.int64)
        for each in parts:
            count_in(each, np.ones(each.shape, bool), above, without, counts, sums)
        assert (counts == 500).all() and not without.any()
        assert np.array_equal(above, (values > 0).sum(axis=0))
        return sums

    sums = sums_of(values[:123], values[123:])
    assert total(sums).tolist() == pytest.approx([fsum(values[:, at].tolist()) for at in range(3)], rel=1e-15)
    assert np.array_equal(sums, sums_of(values[::-1].copy()))


def test_selectivity_is_none_for_a_channel_that_answers_to_all_and_whole_for_one_class() -> None:
    means = np.array([[2.0, 3.0, 1.0], [2.0, 0.0, 3.0], [2.0, 0.0, 2.0]])  # three classes, three channels
    assert selectivity_by_class(means).tolist() == [0, 1, (3 - 1.5) / (3 + 1.5)]
    assert sparseness(np.array([[1.0, 4.0, 0.0], [1.0, 0.0, 0.0]])).tolist()[:2] == [0, 1]
    assert np.isnan(selectivity_by_class(means[:1])).all()


def test_what_is_said_of_a_channel_is_what_numpy_says_of_its_maxima(few: Path) -> None:
    session = tied()
    names = [str(each) for each in plan_run(session, [str(few)]).entries]
    classes = np.array([Path(each).parent.name for each in names])
    by_class = fmap.top(session, few, "3", by_class=True, batch=8, workers=0, patches=False, say=quiet)
    plain = fmap.top(session, few, "3", batch=8, workers=0, patches=False, say=quiet)
    maxima = every_value(session, names, ["3"], 8)["3"].max(axis=(2, 3)).astype(np.float64)
    for channel, values in enumerate(maxima.T):
        one, other = by_class.dossier("3", channel), plain.dossier("3", channel)
        assert (one.fires, one.max, one.min) == ((values > 0).mean(), values.max(), values.min())
        assert one.mean == pytest.approx(values.mean(), rel=1e-12)
        wanted = [np.quantile(values, each, method="inverted_cdf") for each in (0.9, 0.7, 0.5, 0.3, 0.1)]
        assert list(one.quantiles) == wanted
        means = {each: values[classes == each].mean() for each in CLASSES}
        assert [each.name for each in one.classes] == sorted(CLASSES, key=lambda each: -means[each])
        assert [each.mean for each in one.classes] == pytest.approx(sorted(means.values(), reverse=True), rel=1e-12)
        _, *rest = sorted(means.values(), reverse=True)
        best = max(means.values())
        assert one.selectivity == pytest.approx((best - np.mean(rest)) / (abs(best) + abs(np.mean(rest))), rel=1e-9)
        above = np.maximum(values, 0)
        expected = (1 - above.mean() ** 2 / (above**2).mean()) / (1 - 1 / len(above))
        assert other.selectivity == pytest.approx(expected, rel=1e-9) and other.classes == ()


def test_the_command_and_the_verb_say_the_same(fmap: Callable[..., Ran], few: Path, tmp_path: Path, nets: str) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\ndef make():\n    torch.manual_seed(0)\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n    net[0].bias.data[1] = -1e6\n    return net\n"
    )
    network = ("--model", f"{tmp_path}/net.py:make", "--size", "12")
    ran = fmap("top", few, "-l", "1", "--by-class", *network, "--save", "d.fmap", "-o", "d.png", "--json")
    assert ran.code == 0
    (layer,) = ran.json["layers"]
    assert [each["channel"] for each in layer["channels"] if each["never_fires"]] == [1]
    assert {each["name"] for each in layer["channels"][0]["classes"]} == {*CLASSES}
    assert fmap("top", "d.fmap", "--load", "--json").json["layers"][0]["channels"] == layer["channels"]
    for arguments in ((), ("--channel", "1")):
        said = " ".join(fmap("top", "d.fmap", "--load", *arguments).out.split())
        assert "Channel 1 never fires: its largest value over 60 images is 0" in said
    one = fmap("top", few / "cats" / "000.png", "-l", "1", *network).out
    assert "One image says where each channel is strongest in it, not what the channel answers to" in " ".join(
        one.split()
    )
    assert fmap("top", few / "dogs", "-l", "1", "--by-class", *network, "--save", "more.fmap").code == 0
    assert fmap("top", "d.fmap", "more.fmap", "--load", "--channel", "1-3", "--save", "m.fmap").code == 0
    both = load_dossiers(tmp_path / "m.fmap")
    assert both.images > 60 and both.layers[0].channels.tolist() == [1, 2, 3]
    several = fmap("top", "d.fmap", "--load", "--channel", "3,1", "--channel", "0", "--channel", "1", "--json").json
    assert [each["channel"] for each in several["layers"][0]["channels"]] == [0, 1, 3]
    fmap("top", few, "-k", "pool", *network).refused("pattern '*' picks all layers")
    fmap("top", "d.fmap", "--load", "--batch", "3").refused("--load only shows finished dossiers: --batch", code=2)
    fmap("top", "d.fmap").refused("give --load", code=2)
    fmap("top", few, "-l", "nothing", *network).refused("nothing")
    fmap("top", few, "-l", "1", "--channel", "9", *network).refused("there is no channel 9")
    fmap("top", few, "-l", "*", "-o", "d.png", *network).refused("3 layers match: use --out-dir", code=2)
    fmap("stats", few, "--save", "run.fmap", *network)
    fmap("top", "run.fmap", "--load").refused("is not saved dossiers")


@pytest.mark.slow
def test_the_processes_of_torchrun_make_what_one_makes(few: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
    )
    told = "top", str(few), "-l", "*", "--by-class", "-m", "net.py:make", "--size", "12", "--batch", "1"
    found = []
    for count, name in ((1, "one.fmap"), (2, "two.fmap")):
        of_processes(count, *told, "--save", name, cwd=tmp_path)
        found.append(load_dossiers(tmp_path / name))
    assert found[0].images == 60 and alike(*found)


def test_channels_of_the_last_layer_are_those_that_it_has_not_those_of_an_earlier_one(few: Path) -> None:
    session = fmap.load_model(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 9, 3)), size=12, say=quiet)
    (layer,) = fmap.top(session, few, "last", channels=[8], say=quiet).layers
    assert (layer.layer.name, layer.channels.tolist()) == ("1", [8])
    with pytest.raises(LayerError, match="layer '1' has 9 channels; there is no channel 9"):
        fmap.top(session, few, "last", channels=[9], say=quiet)


def test_a_place_is_asked_about_before_a_long_run_not_after_it(few: Path) -> None:
    net, passes = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), []
    net.register_forward_hook(lambda *_: passes.append(1))
    session = fmap.load_model(net, size=12, say=quiet)
    photo = few / "cats" / "000.png"
    for like, at, message in (("nothere.png", (0, 0), "no such file"), (photo, (0, 10), "no place 0,10")):
        passes.clear()
        with pytest.raises(FmapError, match=message):
            fmap.top(session, few, "1", like=like, at=at, batch=1, workers=0, say=quiet)
        assert len(passes) < 5
    found = fmap.top(session, few, "1", like=photo, at=(0, 9), workers=0, patches=False, say=quiet)
    assert found.order("1") == found.order("1", sort="like") and len(passes) > 5
    with pytest.raises(FmapError, match="cannot be sorted by 'foo'"):
        found.order("1", sort="foo")  # type: ignore[arg-type]
    for how, message in (({"like": photo}, "a place of the image is needed"), ({"at": (0, 0)}, "no image")):
        with pytest.raises(FmapError, match=message):
            fmap.top(session, few, "1", workers=0, say=quiet, **how)  # type: ignore[arg-type]


def test_a_class_that_does_not_excite_a_channel_counts_as_zero() -> None:
    means = np.array([[0.9, 0.9, -0.1, np.nan], [0.3, -5.0, -0.2, 1.0], [0.0, -7.0, -3.0, np.nan]])
    found = selectivity_by_class(means)
    assert found[:2].tolist() == pytest.approx([(0.9 - 0.15) / (0.9 + 0.15), 1.0]) and np.isnan(found[2:]).all()


def test_the_frame_is_where_the_map_of_this_very_picture_has_its_cell(tmp_path: Path) -> None:
    found = {}
    for name, size in (("a", (12, 12)), ("b", (12, 30)), ("c", (24, 12))):
        pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        found[f"{name}.png"] = size
    net = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.MaxPool2d(3, 3), nn.Conv2d(1, 1, 31, padding=15)).eval()
    session = fmap.load_model(net, size=12, mean=0, std=1, say=quiet)
    model = replace(session.model, preprocessing=session.model.preprocessing.at_own_size)
    session = replace(session, model=model)
    one = fmap.top(session, tmp_path, "2", batch=1, workers=0, say=quiet).dossier("2", 0)
    for unit in one.units:
        high, wide = found[Path(unit.image).name]
        assert unit.patch is not None and unit.patch.whole and unit.patch.cells == (high // 3, wide // 3)


def test_what_has_no_pictures_is_refused() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3))
    session = fmap.load_model(net, input_shape=(2, 20), say=quiet)
    with pytest.raises(ModelError, match="patches are cut out of single pictures"):
        fmap.top(session, np.zeros((2, 20), np.float32), "0", say=quiet)
    with pytest.raises(FmapError, match="per_image is 0: expected"):
        fmap.top(images=PHOTOS[0], per_image=0)
    with pytest.raises(FmapError, match="holds no dossiers"):
        fmap.top(load="a.png")
    with pytest.raises(FmapError, match="load is 3: expected the path"):
        fmap.top(load=3)  # type: ignore[arg-type]
    with pytest.raises(FmapError, match="strongest has no effect on them"):
        fmap.top(load="a.fmap", strongest=3)


@pytest.mark.parametrize("images", [1, 2, 60])
def test_a_sheet_has_all_its_words_on_the_page_and_none_over_others(few: Path, images: int) -> None:
    session, photos = tied(), sorted(few.rglob("*.png"))[:images]
    by_class = images > 2
    found = fmap.top(session, few if by_class else photos, "1", by_class=by_class, per_image=2, workers=0, say=quiet)
    asked = fmap.top(session, photos, "1", like=photos[0], at=(3, 4), workers=0, say=quiet)
    for each in (found, asked):
        for top in (None, 1):
            layer = each.layers[0]
            scene = sheet(each, layer, each.order("1", sort="index", top=top), "index")
            assert faults(scene) == []
            said = " ".join(texts(scene))
            assert ("maxima of the images" in said) == ("Orange lines" in said) == (images > 1)


def test_an_image_that_does_not_excite_a_channel_is_none_of_its_strongest_on_the_sheet(tmp_path: Path) -> None:
    for name, level in (("dark", 0), ("light", 255)):
        Image.new("RGB", (12, 12), (level, level, level)).save(tmp_path / f"{name}.png")
    net = nn.Sequential(nn.Conv2d(3, 1, 12), nn.ReLU())  # one unit that sees the whole picture
    net[0].weight.data.fill_(1.0)
    net[0].bias.data.fill_(-1.0)
    found = fmap.top(fmap.load_model(net.eval(), size=12, mean=0, std=1, say=quiet), tmp_path, "1", say=quiet)
    assert [each.value > 0 for each in found.dossier("1", 0).of("strongest")] == [True, False]
    said = texts(sheet(found, found.layers[0], [0], "index"))
    assert "light.png" in said and "dark.png" not in said and "fires in 50% of 2 images" in said


def test_nan_is_said_and_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(tmp_path / folder / "1.png")
    net = nn.Sequential(nn.Conv2d(3, 3, 3)).eval()
    net[0].weight.data[1] = torch.nan
    told: list[str] = []
    found = fmap.top(fmap.load_model(net, size=12, say=quiet), tmp_path, "0", workers=0, say=told.append)
    said = " ".join(found.table().split())
    assert any(each.startswith("NaN in layer 0: these values are passed over") for each in told)
    assert "Channel 1 has only NaN in up to 2 of 2 images" in said and "never fire" not in said
    assert "cats/1.png" in said or "dogs/1.png" in said
    assert {"cats/1.png", "dogs/1.png"} <= set(texts(sheet(found, found.layers[0], [0, 1, 2], "index")))
