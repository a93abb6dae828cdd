"""What image arguments mean: files, folders, patterns and `-`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fmap_cli.errors import ImageError
from fmap_cli.inputs.images import sample_path
from fmap_cli.inputs.sources import image_sources, image_suffixes


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def refusal(*arguments: str) -> str:
    with pytest.raises(ImageError) as caught:
        image_sources(arguments)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


def test_files_are_passed_on_as_they_are_in_their_order_missing_ones_too() -> None:
    make("b.png", "a.txt")
    assert image_sources(["b.png", "missing.jpg", "a.txt", "-"]) == ["b.png", "missing.jpg", "a.txt", "-"]


def test_a_folder_is_its_images_and_those_below_by_path() -> None:
    make("p/b.JPG", "p/a.png", "p/notes.txt", "p/deep/c.npy", "p/deep/er/d.webp", "p/z.tiff")
    assert image_sources(["p"]) == ["p/a.png", "p/b.JPG", "p/deep/c.npy", "p/deep/er/d.webp", "p/z.tiff"]
    assert image_sources(["p/deep", "p/a.png"]) == ["p/deep/c.npy", "p/deep/er/d.webp", "p/a.png"]


def test_hidden_files_and_folders_are_left_out() -> None:
    make("p/.hidden.png", "p/.cache/a.png", "p/._a.png", "p/a.png")
    assert image_sources(["p"]) == ["p/a.png"]


def test_loops_of_links_do_no_harm_and_links_are_followed() -> None:
    make("p/a.png", "elsewhere/b.png")
    Path("p/loop").symlink_to("..", target_is_directory=True)
    Path("p/self").symlink_to("self")
    Path("p/linked").symlink_to("../elsewhere", target_is_directory=True)
    assert image_sources(["p"]) == ["p/a.png", "p/linked/b.png"]
    Path("p/link.png").symlink_to("a.png")
    assert image_sources(["p/link.png"]) == ["p/link.png"]


def test_folders_that_link_to_each_other_are_entered_once() -> None:
    for name in "abcdefgh":
        make(f"p/{name}/{name}.png")
        for other in "abcdefgh":
            if other != name:
                Path(f"p/{name}/to-{other}").symlink_to(f"../{other}", target_is_directory=True)
    for argument in ("p", "p/**/*.png", "**/*.png"):
        assert sorted(Path(path).name for path in image_sources([argument])) == [f"{name}.png" for name in "abcdefgh"]


def test_patterns_that_the_shell_did_not_expand() -> None:
    make("p/b.png", "p/a.png", "p/c.jpg", "p/deep/d.png", "p/deep/notes.txt")
    assert image_sources(["p/*.png"]) == ["p/a.png", "p/b.png"]
    assert image_sources(["p/**/*.png"]) == ["p/a.png", "p/b.png", "p/deep/d.png"]
    assert image_sources(["**/d.png", "*/**/a.png"]) == ["p/deep/d.png", "p/a.png"]
    assert image_sources([f"{Path.cwd()}/**/d.png"]) == [f"{Path.cwd()}/p/deep/d.png"]
    assert image_sources(["p/[bc].*"]) == ["p/b.png", "p/c.jpg"]
    assert image_sources(["?"]) == ["p/a.png", "p/b.png", "p/c.jpg", "p/deep/d.png"]
    assert image_sources(["p/**"]) == ["p/a.png", "p/b.png", "p/c.jpg", "p/deep/d.png", "p/deep/notes.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    make("photo[1].png", "photo1.png")
    assert image_sources(["photo[1].png"]) == ["photo[1].png"]


def test_the_samples() -> None:
    names = [Path(path).name for path in image_sources([str(sample_path().parent)])]
    assert names == ["astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg"]


def test_what_is_refused() -> None:
    Path("empty").mkdir()
    make("text/a.txt", "text/b.txt", "text/c.heic", "one/README")
    assert refusal("empty").startswith("there are no images in empty: it holds no files.")
    assert "none of the 3 files in it and below has an image's suffix (.txt, .heic)" in refusal("text")
    assert "the one file in it or below is not an image (no suffix)" in refusal("one")
    assert refusal("nothing/*.png").startswith("no file matches 'nothing/*.png'.")
    assert "standard input can be read only once" in refusal("-", "a.png", "-")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read() -> None:
    make("p/closed/a.png")
    Path("p/closed").chmod(0)
    try:
        assert "closed cannot be read: Permission denied" in refusal("p")
    finally:
        Path("p/closed").chmod(0o700)


def test_suffixes_are_those_of_pictures() -> None:
    suffixes = image_suffixes()
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".npy"} <= suffixes
    assert not {".pdf", ".eps", ".h5", ".mpg", ".txt", ".svg", ".pt"} & suffixes
