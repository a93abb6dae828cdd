"""The page in a real browser: Debian's Chromium, headless, over Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from report_nets import Clip, Pair, small
from torch import nn

import fmap_cli as fmap
from fmap_cli.report.records import Report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to open pages in")

CAT = ROOT / "sample_images" / "chelsea.png"
COFFEE = ROOT / "sample_images" / "coffee.png"

Open = Callable[..., Any]
SAID = re.compile(r"(\S+)(?: ± (\S+))? at row (\d+), column (\d+); sees rows (\d+)–(\d+) and columns (\d+)–(\d+)")


COLOUR = """() => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  pen.drawImage(document.querySelector(".pane canvas"), 9, 9, 1, 1, 0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
}"""


def quietly(_sentence: str) -> None:
    """Says nothing."""


def net() -> Any:
    return fmap.load_model(small(), size=48, mean=0.5, std=0.25, labels=["cat", "<b>dog</b>", "cow"], say=quietly)


@pytest.fixture(scope="module")
def report() -> Report:
    return fmap.report(net(), CAT, say=quietly)


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.save(tmp_path_factory.mktemp("report") / "page.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, file: Path) -> Iterator[Open]:
    """Opens a page; at the end nothing may have been said on its console, and nothing asked of the network."""
    told: list[str] = []
    contexts = []

    def opened(at: Path | None = None, hash_: str = "", *, scripts: bool = True, **how: Any) -> Any:
        context = browser.new_context(
            java_script_enabled=scripts, **{"viewport": {"width": 1280, "height": 900}, **how}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: told.append(request.url) if not _is_own(request.url) else None)
        page.goto((at or file).as_uri() + hash_)
        if scripts:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for each in contexts:
        each.close()
    assert told == []


def _is_own(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def point(page: Any, pane: int, y: float, x: float, click: bool = False) -> None:
    """The mouse over a place of a picture, given as a share of its height and width."""
    stack = page.locator(".pane .stack").nth(pane)
    box = stack.bounding_box()
    place = {"x": x * box["width"], "y": y * box["height"]}
    (stack.click if click else stack.hover)(position=place)
    page.wait_for_timeout(50)


def number(text: str) -> float:
    return float(text.replace("∞", "inf"))


def test_values_and_fields_on_hover_are_those_of_show_and_rf(open_page: Open, report: Report) -> None:
    arrays = fmap.feature_maps(net(), CAT, ["2", "3", "4"], say=quietly).arrays
    for name, channel in (("2", 5), ("3", 0), ("4", 11)):
        (layer,) = (each for each in report.layers if each.layer.name == name)
        page = open_page(hash_=f"#layer={name}&channel={channel}")
        high, wide = arrays[name].shape[2:]
        for y, x in ((0, 0), (high // 2, wide // 3), (high - 1, wide - 1)):
            point(page, page.locator(".pane").count() - 1, (y + 0.5) / high, (x + 0.5) / wide)
            said = page.inner_text("#readout")
            found = SAID.match(said)
            assert found is not None, said
            value = float(arrays[name][0, channel, y, x])
            off = layer.reading.error + 5e-4 * abs(value)
            assert number(found[1]) == pytest.approx(value, abs=off)
            assert number(found[2] or "0") <= np.abs(layer.reading.step).max()
            box = fmap.unit(net(), CAT, name, at=(y, x), channel=channel, say=quietly).box.seen
            assert [int(each) for each in found.groups()[2:]] == [y, x, *box[0], *box[1]]


def test_pointing_at_a_pixel_shows_the_units_that_see_it(open_page: Open, report: Report) -> None:
    page = open_page(hash_="#layer=3&channel=1")
    point(page, 0, 20.5 / 48, 31.5 / 48)
    said = page.inner_text("#readout")
    seen = []
    for y in range(24):
        for x in range(24):
            rows, columns = fmap_box(report, y, x)
            if rows[0] <= 20 <= rows[1] and columns[0] <= 31 <= columns[1]:
                seen.append((y, x))
    (top, left), (bottom, right) = seen[0], seen[-1]
    assert "Pixel 20, 31" in said
    assert f"seen by {len(seen)} units of this channel: rows {top}–{bottom}, columns {left}–{right}" in said
    rgb = report.passes[0].image.pixels[20, 31]
    assert f"red {rgb[0]}, green {rgb[1]}, blue {rgb[2]}" in said


def fmap_box(report: Report, y: int, x: int) -> tuple[tuple[int, int], tuple[int, int]]:
    from fmap_cli.receptive import box_of

    (layer,) = (each for each in report.layers if each.layer.name == "3")
    rows, columns = box_of(layer.field, 1, (0, y, x)).seen
    assert rows is not None and columns is not None
    return rows, columns


def test_the_wheel_zooms_around_the_unit_under_it(open_page: Open) -> None:
    page = open_page(hash_="#layer=3&channel=1")
    point(page, 1, 6.5 / 24, 17.5 / 24)
    before = page.inner_text("#readout")
    assert "at row 6, column 17" in before
    for _ in range(4):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(30)
    point(page, 1, 6.5 / 24, 17.5 / 24)
    assert page.inner_text("#readout") == before
    point(page, 1, 0.99, 0.01)  # the corner shows another part than before
    assert "at row 23, column 0;" not in page.inner_text("#readout")
    page.click("#zoom-fit")
    point(page, 1, 0.99, 0.01)
    assert "at row 23, column 0;" in page.inner_text("#readout")


def test_the_slider_lays_the_map_over_the_photo(open_page: Open) -> None:
    pixel = "at(-2).getContext('2d').getImageData(40, 40, 1, 1).data.join()"
    read = f"() => [...document.querySelectorAll('.pane canvas')].{pixel}"
    colour = open_page(hash_="#layer=3&channel=1").evaluate(read)
    red, green, blue, _ = open_page(hash_="#layer=3&channel=1&alpha=0").evaluate(read).split(",")
    assert red == green == blue and colour.split(",")[0] != red  # the photo in gray


def test_the_arithmetic_adds_up_to_the_value(open_page: Open) -> None:
    array = fmap.feature_maps(net(), CAT, "0", say=quietly).arrays["0"]
    page = open_page(hash_="#layer=0&channel=2&unit=1,7")
    page.wait_for_selector("#arithmetic .term")
    said = page.inner_text("#arithmetic-words")
    total = re.search(r" = (\S+);", said)
    assert total is not None, said
    assert number(total[1]) == pytest.approx(float(array[0, 2, 1, 7]), rel=1e-3)  # the pixels are exact


def test_keys_go_through_channels_and_layers_and_the_address_keeps_the_state(open_page: Open) -> None:
    page = open_page()
    first = page.inner_text("#channel-name")
    page.keyboard.press("ArrowRight")
    second = page.inner_text("#channel-name")
    assert first != second
    page.keyboard.press("m")
    page.keyboard.press("p")
    page.keyboard.press("c")
    assert page.locator("#pins li").count() == 1
    address = page.evaluate("location.hash")
    assert "channel=" in address and "unit=" in address and "pins=" in address and "scale=layer" in address
    again = open_page(hash_=address)
    for part in ("#channel-name", "#layer-name", "#readout", "#pins"):
        assert again.inner_text(part) == page.inner_text(part)
    name = page.inner_text("#layer-name")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("name => document.getElementById('layer-name').textContent !== name", arg=name)
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.fill("#find", "3")
    page.keyboard.press("Enter")
    assert page.inner_text("#channel-name") == "Channel 3"
    page.evaluate("location.hash = '#layer=nowhere&channel=99&unit=4,900'")
    page.wait_for_timeout(100)
    assert page.locator("#panes").is_visible()


def test_the_answer_is_bars_with_the_classes_names(open_page: Open) -> None:
    page = open_page(hash_="#layer=8")
    page.wait_for_selector("#bars li")
    assert "<b>dog</b>" in page.inner_text("#bars") and page.locator("#bars li").count() == 3


def test_bars_are_the_largest_values_and_those_below_zero_go_left(open_page: Open, tmp_path: Path) -> None:
    values = [0.5 - 0.1 * at for at in range(30)]
    ending = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 30))
    with torch.no_grad():
        ending[3].weight.zero_()
        ending[3].bias.copy_(torch.tensor(values))
    made = fmap.report(fmap.load_model(ending, size=48, say=quietly), CAT, say=quietly).save(tmp_path / "bars.html")
    page = open_page(made, "#layer=0&channel=7")
    page.click(".chip[data-layer='3']")
    page.wait_for_selector("#bars li")
    names = page.locator("#bars li span:first-child").all_inner_texts()
    assert names == [str(at) for at in range(24)]  # channel 7 of the map is not the vector's: 0 is the largest
    assert "channel=0" in page.evaluate("location.hash")
    low, high = values[23], values[0]
    zero = 100 * -low / (high - low)
    found = page.locator("#bars rect").evaluate_all("all => all.map((e) => [e.x.baseVal.value, e.width.baseVal.value])")
    for value, (x, width) in zip(values, found, strict=False):
        assert width == pytest.approx(100 * abs(value) / (high - low), abs=1e-3)
        assert (x if value >= 0 else x + width) == pytest.approx(zero, abs=1e-3)
    page.click(".chip[data-layer='0']")
    page.wait_for_selector("#panes", state="visible")
    asked = open_page(made, "#layer=3&channel=29")
    asked.wait_for_selector("#bars li")
    assert asked.locator("#bars li").count() == 25
    assert "The 24 largest of 30 values, and the chosen one, 29;" in asked.inner_text("#bars")
    rows = dict(row.split("\t", 1) for row in asked.inner_text("#numbers").splitlines() if "\t" in row)
    assert rows["std"].startswith("–\t") and not rows["mean"].startswith("–")  # one value has no deviation


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(open_page: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = open_page(color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found] == []


def test_a_narrow_screen_has_nothing_beyond_its_edge(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#tiles canvas").is_visible() and page.locator(".pane").first.is_visible()


def test_dark_mode_follows_the_system_and_the_button(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != dark


def test_without_scripts_the_maps_are_pictures(open_page: Open, report: Report) -> None:
    page = open_page(scripts=False)
    assert page.locator(".sheets img").count() == sum(each.is_map for each in report.layers)
    assert page.locator(".predictions").first.is_visible() and not page.locator("#viewer").is_visible()
    assert page.locator(".sheets img").first.bounding_box()["width"] > 100


def test_two_images_stand_side_by_side_with_their_difference(open_page: Open, tmp_path: Path) -> None:
    images = fmap.report(net(), CAT, other=COFFEE, say=quietly)
    page = open_page(images.save(tmp_path / "two.html"), "#layer=3&channel=4")
    assert page.locator(".pane figcaption b").all_inner_texts() == ["photo A", "A", "B", "B - A"]
    a, b = (fmap.feature_maps(net(), each, "3", say=quietly).arrays["3"][0, 4] for each in (CAT, COFFEE))
    point(page, 3, 10.5 / 24, 5.5 / 24)
    values = [number(each) for each in page.locator(".pane figcaption span").all_inner_texts()[1:]]
    wanted = [float(a[10, 5]), float(b[10, 5]), float(b[10, 5] - a[10, 5])]
    assert values == pytest.approx(wanted, abs=0.02)


def test_several_images_have_a_switcher(open_page: Open, tmp_path: Path) -> None:
    several = fmap.report(net(), [CAT, COFFEE], say=quietly)
    page = open_page(several.save(tmp_path / "several.html"))
    before = page.inner_text("#numbers")
    page.select_option("#pass", "1")
    page.wait_for_function("text => document.getElementById('numbers').innerText !== text", arg=before)
    assert page.locator(".answer:visible").count() == 1 and "coffee" in page.locator(".answer:visible").inner_text()


def test_both_pictures_of_a_pair_are_shown(open_page: Open, tmp_path: Path) -> None:
    pair = fmap.load_model(Pair(), input_shape=[(3, 48, 48), (3, 48, 48)], say=quietly)
    made = fmap.report(pair, [CAT, COFFEE], say=quietly)
    page = open_page(made.save(tmp_path / "pair.html"), "#layer=both&unit=10,20")
    assert page.locator(".photo img").count() == 2
    assert page.locator(".pane figcaption b").all_inner_texts() == ["1: chelsea.png", "2: coffee.png", "both"]
    seen = [each.pixels[20, 31] for each in made.passes[0].pictures]
    for at in (0, 1):
        point(page, at, 20.5 / 48, 31.5 / 48)
        red, green, blue = seen[at]
        assert f"Pixel 20, 31, red {red}, green {green}, blue {blue}: seen by 49 units" in page.inner_text("#readout")
    # What holds both one after the other shows the first one's maps, which the second picture has no part in.
    page = open_page(tmp_path / "pair.html", "#layer=each&unit=10,20")
    assert "it holds 2 pictures one after the other" in page.inner_text("#layer-findings")
    point(page, 1, 0.5, 0.5)
    assert "no unit of this channel sees it" in page.inner_text("#readout")


def test_a_clip_has_all_its_frames(open_page: Open, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    for at, colour in enumerate(colours):
        Image.new("RGB", (16, 16), colour).save(folder / f"{at}.png")
    clip = fmap.load_model(Clip(), input_shape=(3, 4, 16, 16), say=quietly)
    made = fmap.report(clip, [folder], say=quietly)
    assert [tuple(each.pixels[0, 0]) for each in made.passes[0].pictures] == colours
    page = open_page(made.save(tmp_path / "clip.html"), "#layer=conv&channel=1&unit=7,7")
    values = fmap.feature_maps(clip, folder, "conv", say=quietly).arrays["conv"][0, 1, :, 7, 7]
    assert page.locator("#frame").get_attribute("max") == "1"
    for at, frame in enumerate((1, 3)):  # of two frames each, the later one
        page.locator(".film img").nth(2 * at).click()
        assert number(page.inner_text("#readout").split()[0]) == pytest.approx(float(values[at]), rel=1e-3)
        assert f"frame {at};" in page.inner_text("#readout")
        colour = page.evaluate(COLOUR)
        assert tuple(colour[:3]) == colours[frame]
        assert page.locator(".film img.now").get_attribute("data-frame") == str(frame)


def test_of_two_networks_each_has_its_own_layers(open_page: Open, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.AvgPool2d(4), nn.Sequential(nn.Conv2d(8, 5, 3), nn.Tanh()))
    made = fmap.report(net(), CAT, vs=fmap.load_model(other, size=48, mean=0.5, std=0.25, say=quietly), say=quietly)
    page = open_page(made.save(tmp_path / "unlike.html"), "#layer=2.0&channel=3&unit=4,5")
    marks = page.locator(".strip").evaluate_all(
        "all => all.map((e) => [...e.querySelectorAll('.chip')].map((c) => c.innerText))"
    )
    assert marks[0] == ["0", "1", "2", "A 3", "A 4", "A 5", "A 8"] and marks[1] == ["0", "1", "B 2.0", "2"]
    values = fmap.feature_maps(
        fmap.load_model(other, size=48, mean=0.5, std=0.25, say=quietly), CAT, "2.0", say=quietly
    )
    assert "B alone has it" in page.inner_text("#layer-words")
    assert page.locator(".pane figcaption b").all_inner_texts() == ["photo", "2.0"]
    wanted = float(values.arrays["2.0"][0, 3, 4, 5])
    assert number(page.inner_text("#readout").split()[0]) == pytest.approx(wanted, rel=1e-3)
    page.click(".chip[data-layer='0'] >> nth=0")
    page.wait_for_function("document.querySelectorAll('.pane').length === 4")
    page.click(".chip[data-layer='8']")
    page.wait_for_selector("#bars li")
    assert "dog" in page.inner_text("#bars")


def test_two_fingers_zoom_around_what_is_between_them(open_page: Open) -> None:
    page = open_page(hash_="#layer=3&channel=1", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    stack = page.locator(".pane .stack").nth(1)
    stack.scroll_into_view_if_needed()
    box = stack.bounding_box()
    x, y = (box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, apart: float) -> None:
        fingers = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
        page.wait_for_timeout(30)

    touch("touchStart", 10)
    for apart in (14, 18, 25, 30):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert page.evaluate("visualViewport.scale") == 1 and page.locator("#pins li").count() == 0
    page.touchscreen.tap(x, y)
    page.wait_for_timeout(50)
    place = re.search(r"at row (\d+), column (\d+)", page.inner_text("#readout"))
    assert place is not None and [int(each) for each in place.groups()] == [12, 6]  # what was between them stays
    page.touchscreen.tap(box["x"] + 1, y)
    page.wait_for_timeout(50)
    # Three times as large: a quarter of the width is a twelfth of the map.
    place = re.search(r"at row (\d+), column (\d+)", page.inner_text("#readout"))
    assert place is not None and [int(each) for each in place.groups()] == [12, 4]


def test_on_paper_the_first_tiles_stand_whole(open_page: Open) -> None:
    page = open_page()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator(".tools").first.is_visible()
    assert page.locator("#tiles canvas").bounding_box()["height"] > 100
