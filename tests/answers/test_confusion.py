"""Folders as classes against what was answered: counts are NumPy's, and folders are told by name."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import fmap_cli as fmap
from fmap_cli.answers.confusion import confusion_of
from fmap_cli.answers.records import Prediction
from fmap_cli.commands.group import group

NAMES = ("cat", "dog", "bird", "cow")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_counts_and_accuracies_are_those_of_a_confusion_matrix(pairs: list[tuple[int, int]]) -> None:
    matrix = np.zeros((4, 4), int)
    np.add.at(matrix, tuple(np.array(pairs).T), 1)
    answers = [Prediction(said, NAMES[said], 1.0) for _, said in pairs]
    found = confusion_of([NAMES[true] for true, _ in pairs], answers, NAMES)
    assert {row.folder for row in found.rows} == {NAMES[true] for true, _ in pairs}
    for row in found.rows:
        at = NAMES.index(row.folder)
        assert dict(zip(found.columns, row.counts, strict=True)) == {each: matrix[at, each] for each in found.columns}
        assert row.images == matrix[at].sum()
        assert row.accuracy == pytest.approx(matrix[at, at] / matrix[at].sum())
    assert set(found.columns) >= {said for _, said in pairs}
    assert found.accuracy == pytest.approx(np.trace(matrix) / matrix.sum())


@pytest.mark.parametrize(
    ("folder", "labels", "index"),
    [
        ("dog", NAMES, 1),
        ("Dog", NAMES, 1),
        ("tiger_cat", ("tabby", "tiger cat"), 1),
        ("tiger-cat", ("tabby", "tiger cat"), 1),
        ("tench", ("tench, Tinca tinca", "goldfish"), 0),
        ("2", NAMES, 2),
        ("2", None, 2),
        ("2", ("1", "2"), 1),
        ("9", NAMES, None),
        ("crane", ("crane", "crane"), None),
        ("fish", NAMES, None),
        ("fish", None, None),
        ("dog", (), None),
    ],
)
def test_which_class_a_folder_is(folder: str, labels: tuple[str, ...] | None, index: int | None) -> None:
    (row,) = confusion_of([folder], [Prediction(0, None, 1.0)], labels).rows
    assert row.index == index
    assert (row.accuracy is None) == (index is None)


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """What the embedded model says of the photos is known: espresso, tiger cat."""
    home = tmp_path_factory.mktemp("classes") / "val"
    for name, photos in {"espresso": ["coffee"], "Tiger_cat": ["chelsea", "coffee"], "mystery": ["coffee"]}.items():
        (home / name).mkdir(parents=True)
        for photo in photos:
            shutil.copy(samples / f"{photo}.png", home / name)
    (home / "mystery" / "broken.png").write_bytes(b"no picture")
    return home


def command(*arguments: object) -> Any:
    return CliRunner().invoke(group, [str(each) for each in arguments])


def test_the_table_counts_by_folder_and_says_which_is_no_class(val: Path) -> None:
    done = command("predict", val, "--by-class")
    assert done.exit_code == 0
    assert "2 of 3 right, 66.7 %" in done.stdout
    judged = "1 of 3 folders are counted and not judged (mystery): efficientnet_lite0 has no class of that name."
    assert judged in done.stderr
    assert "broken.png" in done.stderr


def test_json_and_csv_say_the_same(val: Path) -> None:
    document = json.loads(command("predict", val, "--by-class", "--json").stdout)
    found = document["by_class"]
    assert [each["label"] for each in found["classes"]] == ["tiger cat", "espresso"]
    rows = {row["class"]: row for row in found["rows"]}
    assert rows["Tiger_cat"] == {
        "class": "Tiger_cat",
        "index": 282,
        "images": 2,
        "right": 1,
        "accuracy": 0.5,
        "counts": [1, 1],
    }
    assert (rows["mystery"]["right"], rows["mystery"]["accuracy"], found["unmatched"]) == (None, None, ["mystery"])
    assert (found["images"], found["accuracy"]) == (3, pytest.approx(2 / 3))
    assert {each["class"] for each in document["images"]} == set(rows)
    table = list(csv.DictReader(io.StringIO(command("predict", val, "--by-class", "--csv").stdout)))
    assert [(row["class"], row["tiger cat"], row["espresso"], row["accuracy"]) for row in table] == [
        ("Tiger_cat", "1", "1", "0.5"),
        ("espresso", "0", "1", "1.0"),
        ("mystery", "0", "1", ""),
    ]


def test_in_python_it_is_the_same_record(val: Path) -> None:
    found = fmap.predict(images=val, by_class=True, say=lambda sentence: None)
    assert found.by_class is not None
    assert (found.by_class.accuracy, found.by_class.unmatched) == (pytest.approx(2 / 3), ("mystery",))
    assert "2 of 3 right" in found.table()
    assert fmap.predict(images=val, say=lambda sentence: None).by_class is None


def test_a_network_without_names_points_to_labels(val: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\n"
        "def make(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
    )
    Path("names.txt").write_text("espresso\ntiger cat\nmystery\n")
    done = command("predict", val, "-m", "net.py:make", "--by-class")
    assert "3 of 3 folders are counted and not judged" in done.stderr
    assert "--labels FILE gives them" in done.stderr
    done = command("predict", val, "-m", "net.py:make", "--by-class", "--labels", "names.txt", "--json")
    assert json.loads(done.stdout)["by_class"]["unmatched"] == []


def test_without_a_folder_there_are_no_classes(samples: Path) -> None:
    done = command("predict", samples / "coffee.png", "--by-class")
    assert "`fmap predict photos --by-class`" in str(done.exception.hint)
