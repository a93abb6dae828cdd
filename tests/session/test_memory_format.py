"""Shape and layout are separate things: channels-last memory changes the strides, and no result."""

import numpy as np
import pytest

from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.maps.look import look
from fmap_cli.models.records import ModelRequest
from fmap_cli.session.opening import open_session


@pytest.mark.parametrize("model", ["efficientnet_lite0", "resnet18"])
def test_channels_last_gives_the_same_maps_with_other_strides(model):
    weights = None if model == "efficientnet_lite0" else "random"
    looks = {}
    for layout in ("contiguous", "channels_last"):
        session = open_session(ModelRequest(model, weights, memory_format=layout, size=96), lambda note: None)
        image = load_image(str(sample_path()), session.model.preprocessing)
        looks[layout] = look(session, image, ["conv1", "conv5", "last"])
    for plain, other in zip(looks["contiguous"].maps, looks["channels_last"].maps, strict=True):
        assert plain.shape == other.shape
        assert plain.axes.names == other.axes.names == ("B", "C", "H", "W")
        channels, height, width = plain.shape[1:]
        assert plain.strides[1:] == (height * width, width, 1)
        assert other.strides[1:] == (1, width * channels, channels)
        scale = float(np.abs(plain.channels.l2).max() / plain.channels.count**0.5)
        np.testing.assert_allclose(other.channels.mean, plain.channels.mean, atol=1e-5 * scale)
    first, second = (looks[layout].predictions[0] for layout in ("contiguous", "channels_last"))
    assert first.index == second.index
    assert first.probability == pytest.approx(second.probability, abs=1e-5)
