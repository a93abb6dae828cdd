"""What is said of a picture that the network sees little of, or enlarged, and that nothing is said of ordinary ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fmap_cli.inputs.framing import Framing, Framings, caption
from fmap_cli.inputs.images import load_image
from fmap_cli.models.records import Preprocessing

IMAGENET = Preprocessing(resize=256, crop=(224, 224))
CLIP = Preprocessing(resize=(128, 171), crop=(112, 112))
DENSE = Preprocessing(resize=520, crop=None)


def framed(tmp_path: Path, size: tuple[int, int], own: Preprocessing) -> Framing:
    """The framing of a picture of this height and width."""
    Image.new("RGB", size[::-1], (90, 120, 30)).save(tmp_path / "a.png")
    found = load_image(str(tmp_path / "a.png"), own).framing
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("size", "own"),
    [
        ((400, 600), IMAGENET),  # 3:2
        ((480, 640), IMAGENET),
        ((640, 480), IMAGENET),
        ((1080, 1920), IMAGENET),
        ((256, 256), IMAGENET),
        ((200, 300), IMAGENET),  # a little enlarged
        ((240, 320), CLIP),
        ((270, 480), CLIP),
        ((300, 451), DENSE),
        ((28, 28), Preprocessing(resize=28, crop=(28, 28))),
        ((33, 47), Preprocessing(resize=None, crop=None, multiple_of=8)),
    ],
)
def test_nothing_is_said_of_an_ordinary_picture(tmp_path: Path, size: tuple[int, int], own: Preprocessing) -> None:
    found = framed(tmp_path, size, own)
    assert found.unusual == {}
    assert found.in_words == ""
    framings = Framings()
    framings.add("a.png", found)
    said: list[str] = []
    framings.say(said.append)
    assert said == []
    assert caption((224, 224), found) == "what the network saw, 224 × 224 px"


def test_how_much_of_a_panorama_is_seen_is_arithmetic(tmp_path: Path) -> None:
    found = framed(tmp_path, (60, 1200), IMAGENET)  # 1:20
    assert found.resized == (256, 5120)
    assert 1 / found.unusual["cropped"] == pytest.approx(224 * 224 / (256 * 5120))
    # 224 of 256 rows are 52.5 of 60, and as many columns.
    assert found.kept == (52, 52)
    assert caption((224, 224), found).startswith(
        "what the network saw, 224 × 224 px: 1/26 of the picture, the middle 52"
    )
    # It is enlarged as well: 256 / 60.
    assert found.unusual["enlarged"] == pytest.approx(256 / 60)


def test_a_third_is_where_cropping_is_said() -> None:
    # The share is 224² / (256 · width).
    for width, said in ((570, False), (600, True)):
        assert ("cropped" in Framing((256, width), (256, width), (224, 224)).unusual) == said
    assert "29 % of the picture" in Framing((256, 670), (256, 670), (224, 224)).in_words


@pytest.mark.parametrize(("size", "times"), [((8, 8), "32"), ((64, 64), "4"), ((100, 100), "2.56")])
def test_a_small_picture_is_enlarged_so_many_times(tmp_path: Path, size: tuple[int, int], times: str) -> None:
    found = framed(tmp_path, size, IMAGENET)
    assert found.in_words == f"the picture's {size[0]} × {size[1]} px enlarged {times} times"


def test_a_portrait_made_wide_is_distorted(tmp_path: Path) -> None:
    found = framed(tmp_path, (640, 480), CLIP)
    # Height by 128 / 640, width by 171 / 480.
    assert found.unusual["squeezed"] == pytest.approx((171 / 480) / (128 / 640))
    assert found.in_words == "the picture's height squeezed 1.78 times as much as its width"


def test_black_around_a_picture_is_said(tmp_path: Path) -> None:
    found = framed(tmp_path, (20, 40), Preprocessing(resize=None, crop=(32, 32)))
    assert found.in_words == "the picture's 20 × 40 px with black around"
    assert "a.png, 20 × 40 px, is smaller than the crop, 32 × 32: black" in found.about("a.png")["padded"]


def test_one_sentence_says_of_how_many_pictures() -> None:
    framings = Framings()
    for at in range(40):
        framings.add(f"small{at}", Framing((64 - at, 64 - at), (256, 256), (224, 224)))
    for at in range(60):
        framings.add(f"photo{at}", Framing((400, 600), (256, 384), (224, 224)))
    said: list[str] = []
    framings.say(said.append)
    assert said == ["40 of 100 images are enlarged for the network, small39 (25 × 25 px) 10.2 times"]
    everyone = Framings()
    for at in range(3):
        everyone.add(f"wide{at}", Framing((100, 1000 + at), (256, 2560), (224, 224)))
    assert "less than a third of all 3 images" in everyone.sentence


def test_what_is_no_picture_counts_as_an_input_without_framing() -> None:
    framings = Framings()
    framings.add("noise", None)
    said: list[str] = []
    framings.say(said.append)
    assert said == [] and framings.count == 1


SMALL = ("--model", str(Path(__file__).parents[1] / "golden" / "nets.py:small"), "--size", 32)


@pytest.mark.parametrize(
    "command",
    [
        ("show", "--layer", "conv1", "-o", "a.svg"),
        ("predict",),
        ("embed", "-o", "v.npz"),
        ("stats",),
        ("stats", "--workers", "1"),
        ("compare", "PHOTO"),
        ("rf", "--layer", "conv2", "--at", "max", "-o", "a.svg"),
        ("rf", "--layer", "conv2", "--effective", "-o", "a.svg"),
        ("layers", "--image", "FILE"),
    ],
    ids=" ".join,
)
def test_every_command_that_reads_images_says_it_once(
    fmap: Any, workdir: Path, samples: Path, command: tuple[Any, ...]
) -> None:
    Image.new("RGB", (4000, 100), (90, 120, 30)).save("wide.png")
    name, *rest = (str(samples / "coffee.png") if each == "PHOTO" else each for each in command)
    arguments = ["wide.png", *rest] if "FILE" not in rest else ["wide.png" if each == "FILE" else each for each in rest]
    ran = fmap(name, *arguments, *SMALL)
    assert ran.code == 0, ran.err
    said = [line for line in ran.err.splitlines() if "the network sees 1/" in line]
    assert said == ["note: the network sees 1/40 of wide.png, the middle 100 × 100 of its 100 × 4000 px; "
                    "--size H,W crops nothing"]  # fmt: skip
    if (workdir / "a.svg").exists():
        words = (workdir / "a.svg").read_text()
        assert "1/40 of the picture" in words


def test_two_pictures_of_a_comparison_have_their_captions(fmap: Any, workdir: Path, samples: Path) -> None:
    Image.new("RGB", (4000, 100), (90, 120, 30)).save("wide.png")
    ran = fmap("compare", samples / "coffee.png", "wide.png", *SMALL, "-o", "a.svg")
    assert ran.code == 0, ran.err
    assert "1/40 of the picture" in (workdir / "a.svg").read_text()
