"""Saved runs: what is written is read back exactly, what is no run is told, and parts merge to the whole."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save

from fmap_cli.errors import FmapError, OutputError
from fmap_cli.models.records import Weights
from fmap_cli.network.records import Axes, LayerRef
from fmap_cli.statistics import moments, runs
from fmap_cli.statistics import reference as stats
from fmap_cli.statistics.channels import MOMENTS, TALLIES, ChannelStats
from fmap_cli.statistics.merging import check_mergeable, merge_runs, notes
from fmap_cli.statistics.records import ClassRun, LayerRecord, Progress, Run, RunOrigin
from fmap_cli.statistics.runs import load_run, save_run

ROOT = Path(__file__).parents[2]
NAMED = Weights("unknown", "IMAGENET1K_V1")
ORIGIN = RunOrigin("resnet18", NAMED, digest="ab" * 32, input="resize 256, crop 224")


def same(first: Any, second: Any) -> None:
    """Equal in every field, arrays with their dtype and NaN at the same places."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        assert np.array_equal(first, second, equal_nan=first.dtype == np.float64)
        assert first.dtype != np.float64 or np.array_equal(
            np.signbit(first[first == 0]), np.signbit(second[first == 0])
        )
    elif isinstance(first, tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            same(one, other)
    elif isinstance(first, Run | LayerRecord | ChannelStats | ClassRun):
        for field in fields(first):
            same(getattr(first, field.name), getattr(second, field.name))
    else:
        assert first == second


def record(name: str, values: Any, histogram: str | None = "channel", **more: Any) -> LayerRecord:
    """The record of a layer that put out `values` `[C, n]`."""
    seen = torch.as_tensor(values, dtype=torch.float32)
    return LayerRecord(
        layer=LayerRef(name, name.rpartition(".")[0], 0, "conv", "Conv2d", True, 27),
        shape=(1, *seen.shape),
        axes=Axes(("B", "C", "N"), "as torch.nn documents it"),
        dtype="float32",
        images=1,
        channels=stats.channel_stats(seen, histogram),
        **more,
    )


def a_run(*layers: LayerRecord, **more: Any) -> Run:
    return Run(**{"origin": ORIGIN, "sources": ("photos",), "images": 1, "layers": layers, **more})


def two_layers(seed: int = 0, **more: Any) -> Run:
    generator = torch.Generator().manual_seed(seed)
    conv = record("conv1", torch.randn(3, 50, generator=generator))
    return a_run(conv, record("fc", torch.randn(2, 9, generator=generator), "layer"), **more)


def refused(path: Path, *words: str) -> FmapError:
    with pytest.raises(FmapError) as caught:
        load_run(path)
    error = caught.value
    assert str(path) in error.message
    for word in words:
        assert word in error.message, error.message
    return error


def unlike(first: Run, second: Run, *words: str) -> None:
    """Merging is refused both ways round, by `merge_runs` and by `check_mergeable`."""
    for attempt in (
        lambda: merge_runs([("a.fmap", first), ("b.fmap", second)]),
        lambda: merge_runs([("b.fmap", second), ("a.fmap", first)]),
        lambda: check_mergeable(("a.fmap", first), ("b.fmap", second)),
    ):
        with pytest.raises(FmapError) as caught:
            attempt()
        for word in ("a.fmap", "b.fmap", *words):
            assert word in caught.value.message, caught.value.message
        assert caught.value.hint is not None


# -- round trip --------------------------------------------------------------------------------------------------

# Any text, with the low surrogates that stand for a file name's undecodable bytes.
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
numbers = st.integers(0, 2**53 - 1)
a_moment = st.floats(width=64) | st.floats(width=32) | st.sampled_from([math.nan, math.inf, -0.0])


@st.composite
def channel_records(draw: st.DrawFn) -> ChannelStats:
    channels = draw(st.integers(0, 4))
    count = draw(st.integers(0, 300) | numbers)
    rows = draw(st.sampled_from([None, 1, channels]))
    histogram = None
    if rows is not None:
        histogram = np.zeros((rows, moments.BINS), np.int64)
        for row, cell, value in draw(
            st.lists(st.tuples(st.integers(0, 3), st.integers(0, moments.BINS - 1), numbers), max_size=9)
        ):
            if row < rows:
                histogram[row, cell] = value
    return ChannelStats(
        count,
        **{name: draw(arrays(np.float64, channels, elements=a_moment)) for name in MOMENTS},
        **{name: draw(arrays(np.int64, channels, elements=st.integers(0, count // 3))) for name in TALLIES},
        histogram=histogram,
    )


layer_records = st.builds(
    LayerRecord,
    layer=st.builds(
        LayerRef,
        name=texts,
        path=texts,
        call=numbers,
        kind=st.sampled_from(["input", "output", "conv", "linear", "norm", "act", "pool", "op", "block", "other"]),
        type_name=texts,
        is_module=st.booleans(),
        parameters=numbers,
    ),
    shape=st.lists(numbers, max_size=5).map(tuple),
    axes=st.builds(
        Axes,
        names=st.lists(st.sampled_from(["B", "C", "H", "W", "B·N", "?"]), max_size=5).map(tuple),
        how=texts,
        grid=st.none() | st.tuples(numbers, numbers),
        prefix=numbers,
    ),
    dtype=texts,
    images=numbers,
    channels=channel_records(),
    same_as=st.none() | texts,
    varies=st.booleans(),
)
layer_lists = st.lists(layer_records, max_size=3).map(tuple)
any_run = st.builds(
    Run,
    origin=st.builds(
        RunOrigin,
        model=texts,
        weights=texts.map(lambda name: Weights("unknown", name)),
        dtype=texts,
        digest=texts,
        input=texts,
    ),
    sources=st.lists(texts, max_size=3).map(tuple),
    images=numbers,
    layers=layer_lists,
    failures=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    classes=st.lists(st.builds(ClassRun, texts, numbers, layer_lists), max_size=2).map(tuple),
    progress=st.none() | st.builds(Progress, st.just(3), st.integers(3, 9), texts, st.integers(0, 2), st.just(3)),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(run=any_run)
def test_everything_in_a_run_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
    path = tmp_path_factory.getbasetemp() / "any.fmap"
    save_run(path, run)
    same(load_run(path), run)


def test_a_real_run_is_read_back_exactly_with_nan_inf_and_a_channel_without_values(tmp_path: Path) -> None:
    conv = record("layer1.0.conv1", [[0.5, math.nan, math.inf, -2.0], [math.nan] * 4, [0.0] * 4])
    relu = record("layer1.0.relu_1", [[0.1, 0.2]], None, same_as="layer1.0.add", varies=True)
    empty = record("nothing", np.zeros((0, 3)))
    cats = ClassRun("cats", 1, (conv,))
    broken = (("caf\udce9.png", "no image: \udcff\n\x00 \U0001f408"),)
    progress = Progress(320, 500, "cd" * 32, 1, 4)
    run = a_run(conv, relu, empty, classes=(cats,), failures=broken, progress=progress)
    path = tmp_path / "name\udcff.fmap"  # a file name in no encoding, too
    save_run(path, run)
    same(load_run(path), run)


def test_a_run_of_nothing_is_read_back(tmp_path: Path) -> None:
    run = a_run(images=0, sources=())
    save_run(tmp_path / "none.fmap", run)
    same(load_run(tmp_path / "none.fmap"), run)


def test_a_failed_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.fmap"
    save_run(path, two_layers())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_run(path, two_layers(1))
    same(load_run(path), two_layers())
    assert list(tmp_path.iterdir()) == [path]


def test_a_histogram_of_other_cells_is_not_written(tmp_path: Path) -> None:
    conv = record("conv1", [[1.0, 2.0]])
    wrong = replace(conv, channels=replace(conv.channels, histogram=np.ones((1, 5), np.int64)))
    with pytest.raises(ValueError, match="5 cells"):
        save_run(tmp_path / "run.fmap", a_run(wrong))


def realistic(histogram: str) -> Run:
    """100 layers of 200 channels, every second one after a ReLU, 2500 values a channel."""
    generator = torch.Generator().manual_seed(0)
    layers = []
    for at in range(100):
        values = torch.randn(200, 2500, generator=generator) * (0.2 + torch.rand(200, 1, generator=generator))
        layers.append(record(f"layer{at // 30}.{at % 30}.conv1", values.relu() if at % 2 else values, histogram))
    return a_run(*layers)


@pytest.mark.parametrize(("histogram", "megabytes"), [("layer", 0.7), ("channel", 5.4)])
def test_a_file_of_100_layers_and_20000_channels_is_small(tmp_path: Path, histogram: str, megabytes: float) -> None:
    # Measured: 0.65 MB and 5.0 MB. All histograms as they are in memory would take 45 MB.
    run = realistic(histogram)
    save_run(tmp_path / "run.fmap", run)
    assert (tmp_path / "run.fmap").stat().st_size < megabytes * 1e6
    same(load_run(tmp_path / "run.fmap"), run)


def test_what_a_layer_has_in_common_in_all_classes_is_written_once(tmp_path: Path) -> None:
    run = two_layers()
    sizes = []
    for classes in (1, 101, 201):
        save_run(
            tmp_path / "run.fmap", replace(run, classes=tuple(ClassRun(str(n), 1, run.layers) for n in range(classes)))
        )
        sizes.append((tmp_path / "run.fmap").stat().st_size)
    for before, after in pairwise(sizes):
        # Per class 5 channels of at most 5 counts and 4 moments, 4 histograms, and a row of text.
        assert (after - before) / 100 < 5 * 60 + 4 * 35 + 80 * 2 + 60


# -- files that are no runs --------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.fmap"
    save_run(path, two_layers(failures=(("a.png", "broken"),), classes=(ClassRun("cats", 1, two_layers().layers),)))
    return path


def rewritten(path: Path, about: dict[str, str] | None = None, **tensors: np.ndarray | None) -> Path:
    """The file with other tensors (None takes one away) or other metadata."""
    content = {**load(path.read_bytes()), **tensors}
    about = about if about is not None else {"format": "fmap-run", "version": "1"}
    path.write_bytes(save({name: each for name, each in content.items() if each is not None}, metadata=about))
    return path


def retold(path: Path, change: Any) -> Path:
    """The file after `change` has altered its text."""
    text = json.loads(load(path.read_bytes())["text"].tobytes())
    change(text)
    return rewritten(path, text=np.frombuffer(json.dumps(text).encode(), np.uint8))


def test_a_file_rewritten_without_change_is_still_a_run(saved: Path) -> None:
    before = load_run(saved)
    same(load_run(retold(rewritten(saved), lambda text: None)), before)


def test_a_missing_file(tmp_path: Path) -> None:
    error = refused(tmp_path / "absent.fmap", "no such file")
    assert error.hint == "Check the path and the name's spelling."


def test_a_directory(tmp_path: Path) -> None:
    refused(tmp_path, "is a directory, not a saved run")


def test_a_device() -> None:
    refused(Path("/dev/null"), "is not a regular file")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(FmapError, match="cannot read"):
        load_run(Path("a\0b"))


def test_a_file_cut_anywhere(saved: Path) -> None:
    content = saved.read_bytes()
    refused_at = saved.with_name("cut.fmap")
    lengths = {*range(1, 40), *range(40, len(content), 13), *range(len(content) - 40, len(content))}
    for length in sorted(lengths):
        refused_at.write_bytes(content[:length])
        error = refused(refused_at, "is cut: its end is missing")
        assert error.hint is not None
        assert "again" in error.hint
    refused_at.write_bytes(b"")
    refused(refused_at, "is empty")


def test_a_file_with_something_after_its_end(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"more")
    refused(saved, "is damaged")


@pytest.mark.parametrize(
    "content", [b"hello, this is text", b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 40, b"\x89PNG\r\n\x1a\n", b"hello"]
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.fmap"
    path.write_bytes(content)
    error = refused(path, "is not a saved run: it does not start as a safetensors file")
    assert "fmap stats --save" in str(error.hint)


@pytest.mark.parametrize("about", [{}, {"format": "pt"}])
def test_safetensors_of_something_else(tmp_path: Path, about: dict[str, str]) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save({"conv1.weight": np.zeros((2, 2), np.float32)}, metadata=about))
    refused(path, "is not a saved run: it is a safetensors file of something else")


def test_a_file_of_a_newer_version(saved: Path) -> None:
    rewritten(saved, {"format": "fmap-run", "version": "2"}, mean=None, text=np.zeros(3, np.uint8))
    error = refused(saved, "was written by a newer fmap (version 2); this one reads 1")
    assert "Update" in str(error.hint)


@pytest.mark.parametrize("version", ["", "0", "one", "-1", "1" * 5000, "²"])
def test_a_version_that_is_no_number(saved: Path, version: str) -> None:
    refused(rewritten(saved, {"format": "fmap-run", "version": version}), "is damaged: its version is")


def test_what_a_later_version_adds_is_passed_over(saved: Path) -> None:
    before = load_run(saved)

    def add(text: dict[str, Any]) -> None:
        text["new"] = text["origin"]["new"] = text["layers"][0]["new"] = 1

    rewritten(retold(saved, add), entropy=np.zeros(7))
    same(load_run(saved), before)


def test_a_kind_of_layer_that_is_not_known_yet(saved: Path) -> None:
    retold(saved, lambda text: text["layers"][0].update(kind="attention"))
    assert load_run(saved).layers[0].layer.kind == "other"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"images":' + b"9" * 5000 + b"}"]
)
def test_text_that_is_no_json_object(saved: Path, text: bytes) -> None:
    refused(rewritten(saved, text=np.frombuffer(text, np.uint8)), "is damaged: ")


WRONG: list[Any] = [None, True, -1, 1.5, 2**70, "x", [], [1], {}, math.nan, [[1, 2, 3]], [["x"]]]


def test_every_value_of_the_text_is_looked_at(saved: Path) -> None:
    """Each value of the text, replaced by each wrong one or left out: an FmapError, or a run that can be saved."""
    original = saved.read_bytes()
    outcomes = {True: 0, False: 0}

    def places(value: Any, at: tuple[Any, ...] = ()) -> Any:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield (*at, key)
            yield from places(inner, (*at, key))

    text = load(original)["text"].tobytes()
    for *path, last in list(places(json.loads(text))):
        for wrong in [*WRONG, "absent"]:
            changed = json.loads(text)
            inner = changed
            for key in path:
                inner = inner[key]
            if wrong == "absent":
                del inner[last]
            else:
                inner[last] = wrong
            saved.write_bytes(original)
            rewritten(saved, text=np.frombuffer(json.dumps(changed).encode(), np.uint8))
            try:
                run = load_run(saved)
            except FmapError as error:
                assert "is damaged: " in error.message, (path, last, wrong)
                outcomes[False] += 1
            else:
                save_run(saved, run)
                outcomes[True] += 1
    assert outcomes[False] > 300
    assert outcomes[True] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": None}, "it has no 'mean'"),
        ({"mean": np.zeros(3)}, "'mean' has the shape [3], expected [10]"),
        ({"mean": np.zeros((10, 1))}, "'mean' has the shape [10, 1], expected [10]"),
        ({"mean": np.zeros(10, np.int64)}, "'mean' is I64, expected F32 or F64"),
        ({"zeros": np.zeros(10)}, "'zeros' is F64, expected U8 or U16 or U32 or I64"),
        ({"zeros": np.full(10, -1, np.int64)}, "'zeros' has counts outside 0 to 2^53"),
        ({"nan": np.full(10, 2**62, np.int64)}, "'nan' has counts outside 0 to 2^53"),
        ({"nan": np.full(10, 200, np.uint8)}, "a channel has more zeros, NaN and Inf than values"),
        ({"layer": np.array([0, 1, 0, 7], np.uint8)}, "'layer' names layer 7 of 2"),
        ({"layer": np.array([0, 1, 0], np.uint8)}, "'layer' has the shape [3], expected [4]"),
        ({"layer": np.array([1, 1, 1, 1], np.uint8)}, "'mean' has the shape [10], expected [8]"),
        ({"histogram_cells": np.zeros((8, 34), np.uint8)}, "'histogram_cells' has the shape [8, 34], expected [8, 35]"),
        ({"histogram_cells": np.full((8, 35), 255, np.uint8)}, "'histogram_counts' has the shape"),
        ({"histogram_counts": np.zeros(0, np.uint8)}, "'histogram_counts' has the shape [0]"),
        ({"text": np.zeros((1, 4), np.uint8)}, "'text' has the shape [1, 4], expected [any]"),
    ],
)
def test_arrays_that_do_not_fit(saved: Path, change: dict[str, np.ndarray | None], words: str) -> None:
    refused(rewritten(saved, **change), "is damaged: ", words)


def test_text_that_asks_for_more_than_there_is_reserves_nothing(saved: Path) -> None:
    original = saved.read_bytes()
    for name, value in [("channels", 2**52), ("histograms", 2**52), ("channels", 2**60)]:
        saved.write_bytes(original)

        def grow(text: dict[str, Any], name: str = name, value: int = value) -> None:
            text["layers"][0][name] = value
            if name == "histograms":
                text["layers"][0]["channels"] = value

        refused(retold(saved, grow), "is damaged: ")
    saved.write_bytes(original)
    refused(retold(saved, lambda text: text.update(records=2**52)), "is damaged: 'layer' has the shape [4]")


def test_a_header_that_claims_terabytes(tmp_path: Path) -> None:
    path = tmp_path / "run.fmap"
    for row in (
        '{"mean":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8000000000000]}}',
        '{"mean":{"dtype":"F64","shape":[18446744073709551615,2],"data_offsets":[0,8]}}',
        '{"mean":{"dtype":"F64","shape":[1],"data_offsets":[8,0]}}',
        '{"mean":7}',
        "{}  ",
        '{"a":' * 5000,
    ):
        path.write_bytes(len(row).to_bytes(8, "little") + row.encode() + b"\0" * 8)
        refused(path)
    path.write_bytes((2**63).to_bytes(8, "little") + b'{"')
    refused(path, "is not a saved run")


def test_bytes_changed_at_random_never_crash(saved: Path) -> None:
    content = saved.read_bytes()
    choice = random.Random(0)
    refusals = 0
    for _ in range(600):
        changed = bytearray(content)
        for _ in range(choice.choice([1, 1, 8])):
            changed[choice.randrange(len(changed))] = choice.randrange(256)
        saved.write_bytes(changed)
        try:
            load_run(saved)
        except FmapError:
            refusals += 1
    assert refusals > 100


def test_histograms_of_other_cells(saved: Path) -> None:
    original = saved.read_bytes()
    rewritten(saved, histogram_edges=np.linspace(-1, 1, 101), histogram_cells=np.zeros((8, 13), np.uint8))
    error = refused(saved, f"has histograms of 100 cells; this fmap's have {moments.BINS}")
    assert error.hint is not None
    saved.write_bytes(original)
    rewritten(saved, histogram_edges=moments.BIN_EDGES * 2)
    refused(saved, f"has histograms of {moments.BINS} cells with other edges")


def test_a_run_without_histograms_does_not_depend_on_the_cells(tmp_path: Path) -> None:
    run = a_run(record("conv1", [[1.0, 2.0]], None))
    save_run(tmp_path / "run.fmap", run)
    same(load_run(rewritten(tmp_path / "run.fmap", histogram_edges=np.zeros(4))), run)


# -- merging -----------------------------------------------------------------------------------------------------

values = (
    st.floats(width=32, min_value=-(2.0**40), max_value=2.0**40)
    | st.just(0.0)
    | st.sampled_from([math.nan, math.inf, -math.inf])
)
part = st.integers(0, 6).flatmap(lambda length: arrays(np.float32, (2, length), elements=values))


def part_of_a_run(at: int, seen: np.ndarray, label: str = "cats") -> Run:
    layer = replace(record("conv1", seen), shape=(1, 2, 1), images=seen.shape[1])
    return a_run(
        layer,
        images=seen.shape[1],
        sources=(f"part {at}",),
        failures=((f"{at}.png", "broken"),),
        classes=(ClassRun(label, seen.shape[1], (layer,)),),
    )


def near(ours: ChannelStats, whole: ChannelStats) -> None:
    for name in ("count", "min", "max", "zeros", "nan", "inf", "histogram"):
        assert np.array_equal(getattr(ours, name), getattr(whole, name), equal_nan=name in ("min", "max")), name
    size = np.fmax(np.abs(whole.min), np.abs(whole.max))
    for name, scale in (("mean", size), ("m2", size**2 * whole.finite)):
        mine, theirs = getattr(ours, name), getattr(whole, name)
        assert np.array_equal(np.isnan(mine), np.isnan(theirs)), name
        assert (np.abs(mine - theirs)[whole.finite > 0] <= 1e-12 * scale[whole.finite > 0]).all(), name


@settings(deadline=None, max_examples=60)
@given(st.tuples(part, part, part))
def test_three_parts_in_any_grouping_are_the_whole(parts: tuple[np.ndarray, ...]) -> None:
    a, b, c = ((f"{at}.fmap", part_of_a_run(at, seen)) for at, seen in enumerate(parts))
    whole = part_of_a_run(9, np.concatenate(parts, axis=1))
    left = merge_runs([("ab", merge_runs([a, b])), c])
    right = merge_runs([a, ("bc", merge_runs([b, c]))])
    for merged in (left, right, merge_runs([a, b, c])):
        assert merged.images == whole.images
        assert merged.sources == ("part 0", "part 1", "part 2")
        assert [name for name, _ in merged.failures] == ["0.png", "1.png", "2.png"]
        for layer in (*merged.layers, *merged.classes[0].layers):
            assert layer.images == whole.images
            near(layer.channels, whole.layers[0].channels)
    same(merge_runs([a, b, c]), left)


def test_the_arithmetic_of_a_merge_fits_on_paper() -> None:
    merged = merge_runs(
        [("a", a_run(record("conv1", [[0.0, 1.0]]))), ("b", a_run(record("conv1", [[2.0, 6.0]]), sources=("more",)))]
    )
    channels = merged.layers[0].channels
    assert channels.mean[0] == (0 + 1 + 2 + 6) / 4
    assert channels.m2[0] == 2.25**2 + 1.25**2 + 0.25**2 + 3.75**2
    assert (merged.images, merged.layers[0].images, merged.sources) == (2, 2, ("photos", "more"))


def test_one_run_alone_stays_as_it_is() -> None:
    run = two_layers(progress=Progress(1, 3, "d"))
    assert merge_runs([("a.fmap", run)]) is run


def test_layers_are_matched_by_name_and_stand_in_the_first_runs_order() -> None:
    first, second = two_layers(0), two_layers(1)
    turned = replace(second, layers=second.layers[::-1])
    same(merge_runs([("a", first), ("b", turned)]), merge_runs([("a", first), ("b", second)]))
    assert [each.layer.name for each in merge_runs([("b", turned), ("a", first)]).layers] == ["fc", "conv1"]


def test_a_layer_that_has_one_name_twice_is_matched_in_order() -> None:
    first = a_run(record("x", [[1.0, 2.0]]), record("x", [[5.0, 7.0]]))
    second = a_run(record("x", [[3.0, 3.0]]), record("x", [[9.0, 9.0]]))
    merged = merge_runs([("a", first), ("b", second)])
    assert [each.channels.max[0] for each in merged.layers] == [3, 9]


def test_what_is_known_of_a_layer_beside_its_numbers() -> None:
    def layer(shape: tuple[int, ...], same_as: str | None, varies: bool, seed: int) -> Run:
        seen = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))
        return a_run(replace(record("x", seen), shape=shape, same_as=same_as, varies=varies))

    def merged(one: Run, other: Run) -> tuple[tuple[int, ...], str | None, bool]:
        record = merge_runs([("a", one), ("b", other)]).layers[0]
        return record.shape, record.same_as, record.varies

    plain = layer((1, 1, 4), "y", False, 0)
    assert merged(plain, layer((1, 1, 4), "y", False, 1)) == ((1, 1, 4), "y", False)
    assert merged(plain, layer((1, 1, 4), "y", True, 1)) == ((1, 1, 4), "y", True)
    assert merged(plain, layer((1, 1, 4), None, False, 1)) == ((1, 1, 4), None, False)
    assert merged(plain, layer((1, 1, 4), "z", False, 1)) == ((1, 1, 4), None, False)
    assert merged(plain, layer((1, 2, 2), "y", False, 1)) == ((1, 1, 4), "y", True)  # the images' sizes differed


def test_a_run_that_has_seen_nothing_changes_no_number() -> None:
    run = two_layers()
    for nothing in (a_run(images=0), a_run(replace(run.layers[0], images=0, channels=stats.nothing(3, "channel")))):
        nothing = replace(nothing, images=0, sources=("empty",))
        if nothing.layers:
            run = a_run(run.layers[0])
        for pair in ([("a", run), ("b", nothing)], [("b", nothing), ("a", run)]):
            same(merge_runs(pair).layers, run.layers)


def test_classes_are_merged_by_name() -> None:
    first, second = part_of_a_run(0, np.float32([[1, 2], [3, 4]])), part_of_a_run(1, np.float32([[5], [6]]))
    dogs = part_of_a_run(2, np.float32([[7], [8]]), "dogs")
    merged = merge_runs([("a", first), ("c", dogs), ("b", second)])
    assert [(each.name, each.images) for each in merged.classes] == [("cats", 3), ("dogs", 1)]
    assert merged.classes[0].layers[0].channels.max.tolist() == [5, 6]
    same(merged.classes[1].layers, dogs.layers)


def test_a_layer_that_did_not_run_in_one_class_stands_after_the_others() -> None:
    first, second = two_layers(0), two_layers(1)
    one = replace(first, classes=(ClassRun("cats", 1, first.layers[:1]),))
    other = replace(second, classes=(ClassRun("cats", 1, second.layers[1:]),))
    merged = merge_runs([("a", one), ("b", other)]).classes[0]
    assert [(each.layer.name, each.images) for each in merged.layers] == [("conv1", 1), ("fc", 1)]


def test_items_of_unknown_meaning_may_be_as_many_as_the_image_has() -> None:
    """Boxes found, say: one run over both images takes them together, and so does whoever merges two."""
    boxes = [[1.0, 2.0], [5.0, 0.0]], [[4.0, 4.0], [0.0, -1.0], [3.0, 8.0]]
    unknown = Axes(("?", "W"), "followed")
    first, second = (
        a_run(replace(record("boxes", values), axes=unknown, shape=(len(values), 2)), sources=(str(len(values)),))
        for values in boxes
    )
    for merged in (merge_runs([("a", first), ("b", second)]), merge_runs([("b", second), ("a", first)])):
        layer = merged.layers[0]
        assert layer.varies and layer.images == 2
        near(layer.channels, stats.channel_stats(torch.tensor([[1.0, 2, 5, 0, 4, 4, 0, -1, 3, 8]]), "layer"))
    more = merge_runs([("ab", merged), ("a again", replace(first, images=3, failures=(("x.png", "broken"),)))])
    assert more.layers[0].channels.count == 14
    layers = [replace(run.layers[0], axes=Axes(("C", "W"), "followed")) for run in (first, second)]
    unlike(*(replace(run, layers=(layer,)) for run, layer in zip((first, second), layers, strict=True)), "2", "3")


def test_classes_whose_channels_do_not_fit_are_refused() -> None:
    first, second = two_layers(0), two_layers(1)
    one = replace(first, classes=(ClassRun("cats", 1, (record("conv1", [[1.0]]),)),))
    other = replace(second, classes=(ClassRun("cats", 1, second.layers),))
    with pytest.raises(FmapError, match=r"conv1 has 1 channel in the runs before it and 3 in b\.fmap"):
        merge_runs([("a.fmap", one), ("b.fmap", other)])


def test_runs_of_different_origins_are_refused_with_both_values() -> None:
    run = two_layers()

    def other(**changes: Any) -> Run:
        return replace(two_layers(1), origin=replace(ORIGIN, **changes))

    unlike(run, other(model="resnet50"), "different models", "resnet18", "resnet50")
    unlike(
        run,
        other(weights=Weights("pretrained", "IMAGENET1K_V2"), digest="cd" * 32),
        "different weights",
        "IMAGENET1K_V1",
        "IMAGENET1K_V2",
    )
    unlike(
        run,
        other(weights=Weights("random", seed=0), digest=""),
        "different weights",
        "IMAGENET1K_V1",
        "random (seed 0)",
    )
    named = "though both are named IMAGENET1K_V1"
    unlike(run, other(digest="cd" * 32), "different weights", named, "abababababab", "cdcdcdcdcdcd")
    unlike(run, other(dtype="bfloat16"), "different dtypes", "float32", "bfloat16")
    unlike(run, other(input="resize 232, crop 224"), "prepared their images differently", ORIGIN.input, "resize 232")


def test_a_digest_says_more_than_a_name_and_an_absent_one_says_nothing() -> None:
    run = two_layers()
    renamed = replace(two_layers(1), origin=replace(ORIGIN, weights=Weights("file", "copy.pth")))
    assert merge_runs([("a", run), ("b", renamed)]).origin == ORIGIN
    unknown = replace(two_layers(1), origin=replace(ORIGIN, digest=""))
    assert merge_runs([("a", run), ("b", unknown)]).origin == ORIGIN
    assert merge_runs([("b", unknown), ("a", run)]).origin == ORIGIN


def test_an_absent_digest_in_front_does_not_let_different_ones_pass() -> None:
    unknown = replace(two_layers(0), origin=replace(ORIGIN, digest=""))
    other = replace(two_layers(2), origin=replace(ORIGIN, digest="cd" * 32))
    with pytest.raises(FmapError, match=r"b\.fmap and c\.fmap are of different weights"):
        merge_runs([("a.fmap", unknown), ("b.fmap", two_layers(1)), ("c.fmap", other)])


def test_an_empty_run_in_front_does_not_let_different_layers_pass() -> None:
    some = two_layers(1)
    with pytest.raises(FmapError, match=r"b\.fmap and c\.fmap are of different layers"):
        merge_runs([("a.fmap", a_run(images=0)), ("b.fmap", some), ("c.fmap", replace(some, layers=some.layers[:1]))])


def test_runs_of_different_layers_are_refused_by_the_first_that_differs() -> None:
    run = two_layers()
    fewer = replace(two_layers(1), layers=two_layers(1).layers[:1])
    unlike(run, fewer, "different layers: fc is in a.fmap (2 layers) and not in b.fmap (1 layer)")
    unlike(
        run, replace(fewer, layers=()), "different layers: conv1 is in a.fmap (2 layers) and not in b.fmap (0 layers)"
    )
    wider = a_run(record("conv1", np.eye(5)), run.layers[1])
    unlike(run, wider, "conv1 has")
    with pytest.raises(FmapError, match=r"conv1 has 3 channels in a\.fmap and 5 in b\.fmap"):
        check_mergeable(("a.fmap", run), ("b.fmap", wider))


def test_the_same_run_given_twice_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path / "a.fmap", two_layers())
    save_run(tmp_path / "b.fmap", two_layers(1))
    save_run(tmp_path / "copy.fmap", load_run(tmp_path / "a.fmap"))
    given = [(name, load_run(tmp_path / name)) for name in ("a.fmap", "b.fmap", "copy.fmap")]
    with pytest.raises(FmapError) as caught:
        merge_runs(given)
    assert caught.value.message == "a.fmap and copy.fmap are the same run: its images would count twice."
    assert caught.value.hint == "Give each run once."
    assert merge_runs(given[:2]).images == 2


def test_runs_that_only_look_alike_are_merged() -> None:
    # A layer that puts out zeros for whatever image, and two parts of one folder: all the numbers are the same.
    dead = a_run(record("relu", np.zeros((2, 5))))
    assert merge_runs([("a", dead), ("b", dead)]).images == 2
    # The same numbers from files of another name.
    assert merge_runs([("a", two_layers()), ("b", two_layers(sources=("copies",)))]).images == 2


def test_two_states_of_one_unfinished_run_are_refused() -> None:
    early = two_layers(progress=Progress(1, 500, "list", 0, 2))
    late = two_layers(1, progress=Progress(320, 500, "list", 0, 2))
    with pytest.raises(FmapError, match=r"a and b are of one run, after 1 and 320 of 500 images"):
        merge_runs([("a", early), ("b", late)])
    other_process = replace(late, progress=Progress(320, 500, "list", 1, 2))
    assert merge_runs([("a", early), ("b", other_process)]).progress is None


def test_an_unfinished_run_is_merged_and_said() -> None:
    unfinished = two_layers(progress=Progress(320, 500, "list"))
    assert merge_runs([("a.fmap", unfinished), ("b.fmap", two_layers(1))]).images == 2
    assert notes("a.fmap", unfinished) == ("a.fmap is of an unfinished run: 320 of 500 images.",)
    of_four = replace(unfinished, progress=Progress(1, 9, "list", 1, 4))
    assert notes("a.fmap", of_four) == ("a.fmap is of an unfinished run: 1 of 9 images of process 2 of 4.",)
    assert notes("b.fmap", two_layers()) == ()
    assert notes("b.fmap", replace(unfinished, progress=Progress(500, 500, "list"))) == ()


# -- the page ----------------------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "run-files.md").read_text(encoding="utf-8")


def test_the_pages_example_reads_a_run_with_safetensors_and_numpy_alone(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    imported = set(re.findall(r"^(?:import|from) (\w+)", example, re.MULTILINE))
    assert imported == {"json", "numpy", "safetensors"}
    run = a_run(
        record("conv1", [[1.0, 3.0], [5.0, 9.0]], "channel"),
        record("fc", [[-1.0, 0.0, 1.0]], "layer"),
        record("plain", [[2.0]], None),
        classes=(ClassRun("cats", 1, (record("conv1", [[100.0], [200.0]], "channel"),)),),
    )
    save_run(tmp_path / "run.fmap", run)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    said = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in said] == ["conv1", "fc", "plain"]
    assert [float(line[1]) for line in said] == [(2 + 7) / 2, 0, 2]  # means of the channels' means
    assert [int(line[2]) for line in said] == [4, 3, 0]  # values in the histograms


def test_the_page_names_every_tensor_and_every_field(saved: Path) -> None:
    tensors = load(saved.read_bytes())
    text = json.loads(tensors["text"].tobytes())
    text["progress"] = {"done": 0, "total": 0, "digest": "", "rank": 0, "ranks": 1}
    names = {*tensors, *text, *text["origin"], *text["progress"], *text["layers"][0], *text["layers"][0]["axes"]}
    missing = sorted(name for name in names if f"`{name}`" not in PAGE)
    assert not missing
    assert f"version {runs.KIND.version}" in PAGE
    assert f"K = {moments.BINS}" in PAGE


def test_reading_and_merging_runs_need_no_model() -> None:
    heavy = ("torchvision", "matplotlib", "PIL")
    code = f"import sys, fmap_cli.statistics.runs; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
