"""Charts on a page: in our style whatever the user's is, where they are put, and paid for when drawn."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib.axes import Axes
from pages import drawn, faults, place_of

from fmap_cli.drawing.files import write_scene
from fmap_cli.drawing.page import Key, draw_facts, draw_legend, draw_paragraph, draw_title
from fmap_cli.drawing.raster import rasterise
from fmap_cli.drawing.scene import Plot, Scene, Text, font_file


def draw(axes: Axes) -> None:
    axes.plot([0, 1], [1, 1000], label="line")
    axes.set_yscale("log")
    axes.set_xlabel("\N{CJK UNIFIED IDEOGRAPH-5FB4}")


def page() -> Scene:
    scene = Scene(400, 300)
    scene.add(Text(20, 20, "words", 13), Plot("chart", 100, 60, (150, 250), draw))
    return scene


def test_a_chart_stands_where_it_is_put() -> None:
    box = drawn(page())["chart"].bbox
    assert (box.x0, 300 - box.y1, box.width, box.height) == pytest.approx((100, 60, 250, 150))
    pixels = np.asarray(rasterise(page()))
    without = np.asarray(rasterise(Scene(400, 300, page().items[:1])))
    rows, columns = np.nonzero((pixels != without).any(2))
    assert 50 <= rows.min() < 70 and rows.max() > 200 and 40 < columns.min() < 100 and columns.max() <= 352
    assert (pixels[10:40] == without[10:40]).all()


def test_the_users_own_settings_change_no_chart_and_stay_as_they_were() -> None:
    usual = np.asarray(rasterise(page()))
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "axes.facecolor": "black", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert (np.asarray(rasterise(page())) == usual).all()
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_sign_that_the_font_lacks_is_no_warning(suffix: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_scene(page(), io.BytesIO(), suffix)


def test_words_of_an_svg_are_words_and_their_signs_come_with_it() -> None:
    scene = page()
    scene.add(Text(20, 250, "<conv> & ‖B - A‖ × 3", 13, bold=True), Text(20, 280, "µΔσ", 13, turned=True))
    file = io.BytesIO()
    write_scene(scene, file, ".svg")
    svg = file.getvalue().decode()
    words = ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"words", "<conv> & ‖B - A‖ × 3", "µΔσ", "徴"} <= {*words}
    fonts = re.findall(r"font-weight: (\w+); src: url\(data:font/ttf;base64,([^)]*)\)", svg)
    assert [weight for weight, _ in fonts] == ["normal", "bold"]
    for weight, held in fonts:
        part, whole = TTFont(io.BytesIO(base64.b64decode(held))), TTFont(font_file(weight == "bold"))
        had, has = whole.getBestCmap(), part.getBestCmap()
        for sign in {*"".join(words)} - {"徴", "\n"}:
            assert part["hmtx"][has[ord(sign)]][0] == whole["hmtx"][had[ord(sign)]][0], sign
        assert len(has) < 100 < len(had)
    assert "'DejaVu Sans', Verdana" in svg
    again = io.BytesIO()
    write_scene(scene, again, ".svg")
    assert again.getvalue() == file.getvalue()


def test_nothing_is_said_while_a_figure_is_written() -> None:
    code = (
        "import io; from fmap_cli.drawing.files import write_scene\n"
        "from fmap_cli.drawing.scene import Scene, Text\n"
        "write_scene(Scene(50, 50, [Text(1, 1, 'a', 9)]), io.BytesIO(), '.svg')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_a_page_without_charts_does_not_import_matplotlibs_figure() -> None:
    for items, imported in (("Text(1, 1, 'a', 9)", False), ("Plot('p', 9, 9, (20, 20), lambda axes: None)", True)):
        code = (
            "import sys; from fmap_cli.drawing.raster import rasterise\n"
            "from fmap_cli.drawing.scene import Plot, Scene, Text\n"
            f"rasterise(Scene(50, 50, [{items}])); print('matplotlib.figure' in sys.modules)"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == str(imported)


def test_parts_of_a_page_end_where_they_say_and_wrap_where_there_is_no_room() -> None:
    scene = Scene(400, 2000)
    y = draw_title(scene, "t" * 200, ["l" * 200, "short"], "kind")
    for part in (
        lambda y: draw_paragraph(scene, "many words " * 20, 36, y, 320),
        lambda y: draw_facts(scene, [("name", "value " * 30), ("other", "v" * 99)], 36, y, 320),
        lambda y: draw_legend(
            scene, [Key("some words", (1, 2, 3), "hollow")] * 9 + [Key("w" * 99, (0, 0, 0))], 36, y, 360
        ),
    ):
        before = len(scene.items)
        end = part(y)
        places = [place_of(each) for each in scene.items[before:]]
        assert min(top for _, top, _, _ in places) >= y and max(bottom for *_, bottom in places) <= end
        y = end
    scene = replace(scene, height=y + 20)
    assert faults(scene) == []
    assert draw_legend(scene, [], 36, y, 360) == draw_paragraph(scene, "", 36, y, 320) == y
