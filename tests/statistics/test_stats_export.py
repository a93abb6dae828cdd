"""`fmap stats` for programs: JSON and CSV hold what the records hold, to the last digit."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_runs import FINDINGS, INF, NAN, odd_run, record, run_of

from fmap_cli.documents import dumps
from fmap_cli.statistics.document import stats_csv, stats_document
from fmap_cli.statistics.moments import BINS, as_numbers, dead_channels
from fmap_cli.statistics.records import ClassRun, Progress, Run


def read_back(document: dict[str, Any]) -> Any:
    """The document as another program reads it: bare NaN and Infinity are no JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(dumps(document), parse_constant=refuse)


def with_classes(run: Run) -> Run:
    return replace(run, classes=(ClassRun("cats", 3, run.layers[:2]), ClassRun("dogs, and more", 1, run.layers[1:])))


# -- JSON ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [False, True])
def test_the_document_reads_back_strictly_whatever_is_in_the_run(channels: bool) -> None:
    document = stats_document(with_classes(odd_run()), FINDINGS, channels=channels)
    assert read_back(document) == document
    assert next(iter(document)) == "schema_version"


def test_the_schema_has_these_names_in_this_order() -> None:
    document = stats_document(odd_run(failures=(("a.png", "cut"),)), FINDINGS, files=["depth.png"])
    assert (
        list(document)
        == (
            "schema_version model weights preprocessing origin weights_digest dtype input sources images"
            " image_count complete histogram_edges layers classes findings failed files assumed_input"
        ).split()
    )
    assert (
        list(document["layers"][0])
        == (
            "name kind type call same_as shape shape_varies axes dtype images count mean std rms min max zero_count"
            " zero_fraction nan_count inf_count channel_count dead_channels axes_how output_axes image_count histogram"
            " histogram_count dead_channel_indices"
        ).split()
    )
    assert list(document["findings"][0]) == "layer check severity what sample advice channels caution".split()
    assert document["failed"] == [{"image": "a.png", "error": "cut"}]
    assert document["files"] == ["depth.png"]
    assert dumps(document) == dumps(
        stats_document(odd_run(failures=(("a.png", "cut"),)), FINDINGS, files=["depth.png"])
    )


def test_layers_stand_in_the_order_of_execution_with_their_numbers() -> None:
    run = odd_run()
    document = stats_document(run, ())
    assert [each["name"] for each in document["layers"]] == [each.layer.name for each in run.layers]
    for entry, each in zip(document["layers"], run.layers, strict=True):
        whole = as_numbers(each.channels)
        assert (entry["mean"], entry["std"], entry["min"], entry["max"]) == (
            whole.mean,
            whole.std,
            whole.min,
            whole.max,
        )
        assert entry["rms"] == whole.rms
        assert entry["count"] == each.channels.count * len(each.channels.mean)
        dead = dead_channels(run.layers).get(each.layer.name)
        assert entry["dead_channels"] == (None if dead is None else dead.sum())
        assert entry["dead_channel_indices"] == (
            None if dead is None else [at for at, is_so in enumerate(dead) if is_so]
        )
    assert document["layers"][3]["same_as"] == "features.0.relu"


def test_counts_add_up_in_every_layer() -> None:
    for entry in stats_document(odd_run(), (), channels=True)["layers"]:
        channels = entry["channels"]
        for name in ("zero_count", "nan_count", "inf_count"):
            assert sum(channels[name]) == entry[name]
        assert len(channels["mean"]) == entry["channel_count"]
        if entry["histogram"] is not None:
            finite = entry["count"] - entry["nan_count"] - entry["inf_count"]
            assert sum(entry["histogram"]) == entry["histogram_count"] == finite
        if channels["histogram"] is not None:
            assert np.sum(channels["histogram"], 0).tolist() == entry["histogram"]


def test_a_reader_finds_every_value_between_the_edges_of_its_cell() -> None:
    values = [-70000.0, -1.0, -0.1, 0.0, 0.3, 6.0, 1e9]
    document = stats_document(run_of(record("a", [values])), ())
    edges = document["histogram_edges"]
    (layer,) = document["layers"]
    assert len(layer["histogram"]) == len(edges) + 1 == BINS
    expected = [0] * BINS
    for value in values:
        further = sum(edge <= value for edge in edges) if value >= 0 else sum(edge < value for edge in edges)
        expected[further] += 1
    assert layer["histogram"] == expected


def test_what_does_not_exist_is_null() -> None:
    document = stats_document(run_of(record("a", [[NAN, NAN], [1.0, INF]]), record("b", [[NAN]])), (), channels=True)
    first, second = document["layers"]
    assert first["channels"]["mean"] == [None, 1.0]
    assert first["channels"]["std"] == [None, None]
    assert second["mean"] is second["std"] is second["rms"] is second["min"] is second["max"] is None
    assert (second["nan_count"], second["dead_channels"]) == (1, None)
    assert "channels" not in stats_document(odd_run(), ())["layers"][0]


def test_a_run_that_was_stopped_says_so() -> None:
    run = odd_run()
    assert stats_document(run, ())["complete"] is True
    assert stats_document(replace(run, progress=Progress(3, 10, "x")), ())["complete"] is False
    assert stats_document(replace(run, progress=Progress(10, 10, "x")), ())["complete"] is True


def test_classes_have_the_same_layers_as_the_run() -> None:
    run = with_classes(odd_run())
    document = stats_document(run, ())
    assert [(each["name"], each["images"]) for each in document["classes"]] == [("cats", 3), ("dogs, and more", 1)]
    assert document["classes"][0]["layers"] == document["layers"][:2]


# -- CSV -----------------------------------------------------------------------------------------------------------


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def number(text: str) -> float:
    return float(text) if text else NAN


def test_a_row_a_layer_reads_back_as_the_same_numbers() -> None:
    run = odd_run()
    rows = rows_of(stats_csv(run))
    assert [row["name"] for row in rows] == [each.layer.name for each in run.layers]
    for row, each in zip(rows, run.layers, strict=True):
        whole = as_numbers(each.channels)
        for name in ("mean", "std", "min", "max"):
            value = getattr(whole, name)
            assert (number(row[name]) == value) if value is not None else row[name] == ""
        assert int(row["zero_count"]) == each.channels.zeros.sum()
        assert tuple(map(int, row["shape"].split())) == each.shape


def test_a_row_a_channel_reads_back_as_the_same_arrays() -> None:
    run = odd_run()
    rows = rows_of(stats_csv(run, channels=True))
    assert len(rows) == sum(len(each.channels.mean) for each in run.layers)
    for each in run.layers:
        own = [row for row in rows if row["name"] == each.layer.name]
        assert [int(row["channel"]) for row in own] == list(range(len(each.channels.mean)))
        for name in ("mean", "std", "rms", "min", "max"):
            read = np.array([number(row[name]) for row in own])
            assert np.array_equal(read, getattr(each.channels, name), equal_nan=True), (each.layer.name, name)
        for name, counts in (("zero", "zeros"), ("nan", "nan"), ("inf", "inf")):
            assert [int(row[f"{name}_count"]) for row in own] == getattr(each.channels, counts).tolist()


def test_classes_follow_the_whole_run_in_both() -> None:
    run = with_classes(odd_run())
    for channels in (False, True):
        names = list(dict.fromkeys(row["class"] for row in rows_of(stats_csv(run, channels=channels))))
        assert names == ["", "cats", "dogs, and more"]


def test_numbers_too_large_for_json_are_null_in_it_and_infinite_in_csv() -> None:
    found = record("wide", [[-1.0, 1.0], [2.0, 2.0]])
    found.channels.m2[0] = INF  # squares of values beyond 1e154
    (layer,) = read_back(stats_document(run_of(found), (), channels=True))["layers"]
    assert layer["std"] is None and layer["channels"]["std"] == [None, 0.0]
    assert [row["std"] for row in rows_of(stats_csv(run_of(found), channels=True))] == ["inf", "0.0"]


def test_a_run_without_layers_has_a_heading_alone() -> None:
    heading = stats_csv(odd_run()).partition("\n")[0]
    assert stats_csv(run_of()) == f"{heading}\n"
    assert stats_csv(run_of(), channels=True).count("\n") == 1
