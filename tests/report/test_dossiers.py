"""What `fmap top` saved, on the page of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Ran
from test_browser import CHROMIUM, browser, open_page  # noqa: F401

import fmap_cli as fmap

PHOTOS = ROOT / "sample_images"
CAT = PHOTOS / "chelsea.png"
NETS = Path(__file__).parent / "report_nets.py"
NET = ["--model", f"{NETS}:small", "--size", "48"]


def quietly(_sentence: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = fmap.load_model(f"{NETS}:small", size=48, say=quietly)
    found = fmap.top(net, PHOTOS, "2", workers=0, say=quietly)
    return found.save(tmp_path_factory.mktemp("top") / "d.fmap")


@pytest.fixture(scope="module")
def file(saved: Path) -> Path:
    net = fmap.load_model(f"{NETS}:small", size=48, say=quietly)
    return fmap.report(net, CAT, dossiers=saved, say=quietly).save(saved.parent / "page.html")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to open pages in")
def test_the_panel_has_the_values_and_pixels_of_the_dossier(open_page: Callable[..., Any], saved: Path) -> None:  # noqa: F811
    page = open_page(hash_="#layer=2&channel=3&sort=selectivity")
    page.wait_for_selector("#exciting-units li")
    units = fmap.top(load=saved, say=quietly).dossier("2", 3).units
    said = page.locator("#exciting-units li").all_inner_texts()
    assert len(said) == len(units)
    for words, unit in zip(said, units, strict=True):
        assert Path(unit.image).name in words
        assert float(words.split("\n")[0].split(": ")[-1]) == pytest.approx(unit.value, rel=1e-3)
    pixels = page.evaluate(
        """() => [...document.querySelectorAll("#exciting-units canvas")].map((each) =>
        [...each.getContext("2d").getImageData(0, 0, each.width, each.height).data])"""
    )
    patches = [each.patch.pixels for each in units if each.patch is not None]
    assert len(pixels) == len(patches) > 0
    for drawn, patch in zip(pixels, patches, strict=True):
        assert np.array_equal(np.array(drawn).reshape(-1, 4)[:, :3], patch.reshape(-1, 3))
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []


def test_the_command_takes_dossiers_and_redacts_and_refuses(
    fmap: Callable[..., Ran], saved: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    ran = fmap("report", str(CAT), *NET, "--dossiers", str(saved), "-o", str(out))
    assert ran.code == 0 and 'id="dossiers-0"' in out.read_text(), ran.err
    ran = fmap("report", str(CAT), "--dossiers", str(saved), "-o", str(out))
    assert ran.code == 1 and "different models" in ran.err and "Traceback" not in ran.err


def test_redacted_dossiers_have_no_patch_and_no_name(saved: Path) -> None:
    from fmap_cli.report.exciting import redacted_dossiers, written_dossiers

    found = fmap.top(load=saved, say=quietly)
    import zlib

    def read(content: bytes) -> Any:
        raw = zlib.decompress(content)
        length = int.from_bytes(raw[:4], "little")
        return json.loads(raw[4 : 4 + length])

    assert "chelsea" in json.dumps(read(written_dossiers(found, found.layers[0])))
    plain = redacted_dossiers(found)
    text = read(written_dossiers(plain, plain.layers[0]))
    assert text["shapes"] == [] and {unit[3] for row in text["rows"] for unit in row["units"]} == {""}
