"""Every name in every command's JSON is documented, means one thing, and every documented one is there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Ran

from fmap_cli.commands.group import COMMANDS

Run = Callable[..., Ran]

PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
SHARED = "In every document"
NET = ["--model", str(ROOT / "tests" / "golden" / "nets.py") + ":small", "--size", "32"]
HEADS = ["--model", str(ROOT / "tests" / "attention" / "vits.py") + ":vit"]
COFFEE, CAT = (str(ROOT / "sample_images" / name) for name in ("coffee.png", "chelsea.png"))
MISSING = "nowhere.png"

CASES: dict[str, tuple[str, list[str]]] = {
    "show": ("fmap show", ["show", COFFEE, "--layer", "*", "--out-dir", "OUT", *NET]),
    "show of several": ("fmap show", ["show", COFFEE, MISSING, "--layer", "conv2", "--out-dir", "OUT", *NET]),
    "show --by effect": (
        "fmap show",
        ["show", COFFEE, "--layer", "conv2", "--top", "2", "--by", "effect", *NET, "--out-dir", "OUT"],
    ),
    "show --reduce pca": (
        "fmap show --reduce",
        ["show", COFFEE, CAT, "--layer", "conv2", "--reduce", "pca", "--foreground", "--out-dir", "OUT", *NET],
    ),
    "show --reduce kmeans": (
        "fmap show --reduce",
        ["show", COFFEE, "--layer", "conv2", "--reduce", "kmeans", "--out-dir", "OUT", *NET],
    ),
    "show --similar": (
        "fmap show --reduce",
        ["show", COFFEE, CAT, "--layer", "conv2", "--similar", "3,4", "--out-dir", "OUT", *NET],
    ),
    "stats": (
        "fmap stats",
        ["stats", COFFEE, MISSING, "--per-channel", "--workers", "0", *NET, "--save", "OUT/a.fmap"],
    ),
    "stats of another": ("fmap stats", ["stats", CAT, "--workers", "0", *NET, "--save", "OUT/b.fmap"]),
    "stats by class": ("fmap stats", ["stats", str(ROOT / "sample_images"), "--by-class", "--workers", "0", *NET]),
    "findings": ("fmap stats", ["stats", COFFEE, "--layer", "features.1*", "--workers", "0"]),
    "layers": ("fmap layers", ["layers", *NET]),
    "rf": ("fmap rf", ["rf", "--out", "OUT/rf.png", *NET]),
    "rf of clips": ("fmap rf", ["rf", "--model", "r3d_18", "--layer", "stem", "--size", "32"]),
    "rf --at": ("fmap rf --at", ["rf", COFFEE, "--layer", "conv2", "--at", "max", "--out", "OUT/at.png", *NET]),
    "rf --effective": (
        "fmap rf --effective",
        ["rf", COFFEE, "--layer", "conv2", "--effective", "--out", "OUT/e.png", *NET],
    ),
    "explain": (
        "fmap explain",
        ["explain", COFFEE, "--layer", "conv2", "--through", "--back", "1", "--out", "OUT/x.png", *NET],
    ),
    "attention": ("fmap attention", ["attention", COFFEE, "--out", "OUT/a.png", *HEADS]),
    "attention --rollout": ("fmap attention", ["attention", COFFEE, "--rollout", "--out", "OUT/a.png", *HEADS]),
    "cam": ("fmap cam", ["cam", COFFEE, "--out", "OUT/cam.png", *NET]),
    "effect": (
        "fmap effect",
        ["effect", COFFEE, "--layer", "conv2", "--channels", "0-3", "--fast", "-o", "OUT/x.png", *NET],
    ),
    "filters": ("fmap filters", ["filters", "--layer", "features.1*", "--fold", "--out-dir", "OUT"]),
    "top": (
        "fmap top",
        [
            "top",
            str(ROOT / "sample_images"),
            "--layer",
            "conv2",
            "--by-class",
            "--workers",
            "0",
            *NET,
            "--out-dir",
            "OUT",
        ],
    ),
    "top --like": (
        "fmap top",
        [
            "top",
            COFFEE,
            CAT,
            "--layer",
            "conv2",
            "--like",
            CAT,
            "--at",
            "1,2",
            "--workers",
            "0",
            *NET,
            "--out-dir",
            "OUT",
        ],
    ),
    "report": ("fmap report", ["report", COFFEE, "--out", "OUT/r.html", *NET]),
    "predict": ("fmap predict", ["predict", COFFEE, *NET]),
    "predict of several": ("fmap predict", ["predict", COFFEE, MISSING, *NET]),
    "predict by class": ("fmap predict", ["predict", "OUT/photos", "--by-class"]),
    "embed": ("fmap embed", ["embed", COFFEE, CAT, MISSING, "--similar", "1", *NET]),
    "embed to a file": ("fmap embed", ["embed", COFFEE, "--out", "OUT/v.npz", *NET]),
    "compare": ("fmap compare", ["compare", COFFEE, CAT, "--out", "OUT/c.png", *NET]),
    "compare variants": ("fmap compare", ["compare", COFFEE, "--vs-size", "40", *NET]),
    "compare runs": ("fmap compare", ["compare", "OUT/a.fmap", "OUT/b.fmap"]),
    "memory": (
        "fmap memory",
        ["memory", *NET, "--batch", "2", "--budget", "1GB", "--what-if", "--measure", "cpu", "--out", "OUT/m.png"],
    ),
    "memory --shape": ("fmap memory --shape", ["memory", "--shape", "2,3"]),
    "models": ("fmap models", ["models", "resnet1*"]),
}
ENTRIES = ("images[]", "classes[]")
"""Lists whose entries have names that stand at the top as well."""
# What none of these has: another network would take long, or has it only sometimes.
SELDOM = {
    *("detections[].index", "detections[].label", "detections[].score", "detections[].box"),
    *("not_counted[].operation", "not_counted[].layer"),
    *("layers[].groups[].channels", "layers[].groups[].field_axes"),
}


def sections() -> dict[str, set[str]]:
    """The names that each section of the page lists, by its heading."""
    found: dict[str, set[str]] = {}
    for heading, body in re.findall(r"^##+ ([^\n]*)\n(.*?)(?=^##+ |\Z)", PAGE, re.DOTALL | re.MULTILINE):
        cells = re.findall(r"^\| (`.*?`) \|", body, re.MULTILINE)
        found[heading.strip("`")] = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    return found


def deprecated() -> dict[str, str]:
    """The names that mean several things, each with those that stand beside it."""
    (body,) = re.findall(r"^## Deprecated\n(.*)", PAGE, re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    for name, instead in re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \|$", body, re.MULTILINE):
        found[name] = f"{found.get(name, '')} {instead}".strip()
    return found


def paths(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every name in a document by its path, with the object that it stands in."""
    if isinstance(value, dict):
        for name, each in value.items():
            path = f"{at}.{name}" if at else name
            yield path, value
            yield from paths(each, path)
    elif isinstance(value, list):
        for each in value:
            yield from paths(each, f"{at}[]")


def normal(path: str) -> str:
    """The path under which the page lists a name that stands in several places."""
    path = re.sub(r"^b(\.|$)", r"a\1", path) if path != "b" else path
    path = re.sub(r"(\.parts\[\])+\.", ".", path)  # a part of a recipe has the names of the whole
    path = re.sub(r"^receptive_field\.", "layers[].", path)
    return re.sub(r"\.groups\[\]\.field_axes\[\]\.", ".field_axes[].", path)


def documented(path: str, listed: set[str]) -> bool:
    """Whether the page lists the path, or something inside it; the start of a path may be left out before two names."""
    dots = [at.start() for at in re.finditer(r"\.", path)]
    ends = {path, *(path[at + 1 :] for at in dots[:-1]), *(path[at + 1 :] for at in dots if path[:at] in ENTRIES)}
    return any(name == each or name.startswith((f"{each}.", f"{each}[].")) for name in listed for each in ends)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json")
    for name, photo in (("espresso", COFFEE), ("tiger cat", CAT)):
        (folder / "photos" / name).mkdir(parents=True)
        shutil.copy(photo, folder / "photos" / name)
    return folder


def test_every_name_of_every_document_is_documented_and_the_other_way_round(
    fmap: Run, out: Path, estimates_here: None
) -> None:
    listed, old = sections(), deprecated()
    seen: dict[str, set[str]] = {heading: set() for heading in listed}
    undocumented: list[str] = []
    for case, (heading, arguments) in CASES.items():
        ran = fmap(*(each.replace("OUT", str(out)) for each in arguments), "--json")
        of_rf = listed["fmap rf"] if heading.startswith("fmap rf") else set()
        for path, inside in paths(ran.json):
            name = normal(path)
            last = path.rpartition(".")[2]
            is_entries = last == "images" and isinstance(inside[last], list)
            if last in old and not is_entries and any(each in inside for each in old[last].split()):
                continue  # deprecated, beside its new name
            seen[heading] |= {name, *(name[at.end() :] for at in re.finditer(r"\.", name))}
            if ".axes[]" in path:
                continue  # inside a deprecated list
            if not documented(name, listed[heading] | listed[SHARED] | of_rf):
                undocumented.append(f"{case}: {path}")
    assert undocumented == []
    everything = set().union(*seen.values())
    stale = {
        f"{heading}: {name}"
        for heading, names in listed.items()
        if heading != "Deprecated"
        for name in names
        if name not in (everything if heading == SHARED else seen[heading]) and name not in SELDOM
    }
    assert stale == set()


def test_every_command_is_run() -> None:
    assert {heading.split()[1] for heading, _ in CASES.values()} == set(COMMANDS)


def test_every_document_says_where_it_comes_from_under_the_same_names(fmap: Run, out: Path) -> None:
    origins = []
    for case in ("show", "layers", "rf", "predict", "compare"):
        document = fmap(*(each.replace("OUT", str(out)) for each in CASES[case][1]), "--json").json
        origins.append(document["origin"])
        assert document["origin"]["weights"]["label"] == document["weights"]
    for origin in origins:
        assert origin.keys() == origins[0].keys()
        assert origin["weights"].keys() == {"kind", "name", "seed", "label"}
        assert origin["versions"].keys() == {"fmap", "torch", "torchvision"}
        assert origin["model"] == origins[0]["model"] and origin["preprocessing"]["crop"] == [32, 32]
    assert fmap("memory", "--shape", "2,3", "--json").json.keys() >= {"schema_version", "bytes"}


def test_show_names_the_channels_drawn_with_their_numbers(fmap: Run, tmp_path: Path) -> None:
    from fmap_cli import feature_maps, load_model

    ran = fmap("show", COFFEE, "--layer", "conv2", "--top", 3, "--by", "max", "--out-dir", tmp_path, "--json", *NET)
    (row,) = ran.json["layers"]
    output = feature_maps(load_model(NET[1], size=32, say=str), COFFEE, "conv2", say=str).arrays["conv2"][0]
    strongest = output.flatten(1).max(1).values
    assert [each["channel"] for each in row["drawn"]] == strongest.argsort(descending=True)[:3].tolist()
    for each in row["drawn"]:
        own = output[each["channel"]].double()
        assert each["max"] == float(own.max()) and each["mean"] == pytest.approx(float(own.mean()))
        assert each["std"] == pytest.approx(float(own.std()))
        assert each["rms"] == pytest.approx(float(own.double().square().mean().sqrt()))
    assert row["output_axes"] == ["B", "C", "H", "W"]
    assert ran.json["files"] == [row["file"]] and ran.json["image_count"] == 1
    assert ran.json["images"][0]["layers"] == ran.json["layers"]


def test_a_name_that_is_not_on_the_page_is_noticed() -> None:
    listed = {"model", "origin.weights.kind", "layers[].name", "layers", "layers[].drawn[].mean"}
    assert documented("origin", listed) and documented("origin.weights", listed)
    assert documented("a.origin.weights.kind", listed) and documented("images[].layers[].name", listed)
    assert documented("layers[].drawn", listed)
    for path in ("nonsense", "layers[].nonsense", "origin.nonsense", "origin.weights.nonsense", "name", "a.model"):
        assert not documented(path, listed), path
