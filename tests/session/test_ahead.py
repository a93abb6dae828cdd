"""Images are read while the network runs on those before them, in their order and as if one after another."""

import threading

import numpy as np
import pytest
from PIL import Image

from fmap_cli.errors import ImageError
from fmap_cli.models.records import ModelRequest
from fmap_cli.session.ahead import read_ahead
from fmap_cli.session.opening import open_session, read_image


@pytest.fixture(scope="module")
def session():
    return open_session(ModelRequest("squeezenet1_1", weights="random"), lambda _: None)


@pytest.fixture
def paths(tmp_path):
    chance = np.random.default_rng(0)
    for at in range(7):
        size = (40 + 90 * at, 60)
        Image.fromarray(chance.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"{at}.png")
    (tmp_path / "3.png").write_bytes(b"no picture")
    return [str(tmp_path / f"{at}.png") for at in range(7)]


def test_images_come_in_order_as_reading_each_gives_them(session, paths):
    found = list(read_ahead(session, paths, lambda _: None, None, ahead=3))
    assert [source for source, _ in found] == paths
    for path, image in found:
        if path == paths[3]:
            assert isinstance(image, ImageError) and path in image.message
        else:
            assert image.tensor.equal(read_image(session, path, lambda _: None).tensor)


def test_what_is_said_of_an_image_comes_with_its_turn_and_in_the_callers_thread(session, paths, monkeypatch):
    events = []

    def noting(_session, source, say, _layout):
        say(f"about {source}")
        return source

    monkeypatch.setattr("fmap_cli.session.ahead.read_image", noting)

    def say(sentence):
        assert threading.current_thread() is threading.main_thread()
        events.append(sentence)

    for source, _ in read_ahead(session, paths, say, None, ahead=3):
        events.append(source)
    assert events == [each for path in paths for each in (f"about {path}", path)]


def test_no_more_than_asked_for_is_read_ahead_and_nothing_after_the_end(session, paths, monkeypatch):
    begun = []
    monkeypatch.setattr("fmap_cli.session.ahead.read_image", lambda _session, source, *_: begun.append(source))
    before = threading.active_count()
    reader = read_ahead(session, paths, lambda _: None, None, ahead=2)
    next(reader)
    assert len(begun) <= 3
    reader.close()
    assert len(begun) <= 3 and threading.active_count() == before


def test_a_fault_of_fmap_itself_is_raised_when_its_turn_comes(session, paths, monkeypatch):
    def broken(_session, source, *_):
        if source == paths[2]:
            raise ZeroDivisionError
        return source

    monkeypatch.setattr("fmap_cli.session.ahead.read_image", broken)
    reader = read_ahead(session, paths, lambda _: None, None, ahead=3)
    assert [next(reader)[0], next(reader)[0]] == paths[:2]
    with pytest.raises(ZeroDivisionError):
        next(reader)
