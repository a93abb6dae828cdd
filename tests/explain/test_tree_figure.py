"""The recipe's picture: channels hang on the lane of their own node, and what is none stands under its map."""

from __future__ import annotations

from collections.abc import Iterator

from fmap_cli.drawing.scene import Box, Scene, Text
from fmap_cli.explain.records import Part
from fmap_cli.explain.tree_figure import draw_tree


def channel(value: float, *parts: Part) -> Part:
    return Part("channel", value, "conv", round(value), parts=parts)


def rest(value: float) -> Part:
    return Part("rest", value, words="the other 5 inputs of conv", count=5)


RECIPE = channel(
    100,
    channel(30, channel(11, rest(5), Part("constant", 6, words="constant of BatchNorm")), channel(12), rest(7)),
    channel(40, channel(21), rest(19)),
    rest(26),
    Part("bias", 4, "conv"),
)


def numbers_of(part: Part) -> Iterator[tuple[float, Part]]:
    for each in part.parts:
        yield part.contribution, each
        yield from numbers_of(each)


def test_channels_hang_on_branches_of_their_own_node_and_what_is_none_stands_right_under_its_map() -> None:
    scene = Scene(2000)
    draw_tree(scene, RECIPE, 0)
    lines = [each for each in scene.items if isinstance(each, Box) and 1 in (each.width, each.height)]
    texts = [each for each in scene.items if isinstance(each, Text) and each.bold and each.text[-1:].isdigit()]
    at = {float(each.text.removeprefix("+ ")): each for each in texts}
    hung, under = set(), 0
    for above, below in numbers_of(RECIPE):
        node, part = at[above], at[below.contribution]
        if below.kind != "channel":
            between = [each for each in texts if node.y < each.y < part.y and abs(each.x - part.x) < 200]
            assert part.x < node.x and 60 < part.y - node.y < 140, f"{below.contribution} stands under {above}"
            assert all(each.y - node.y > 60 for each in between), "no other channel is between"
            under += 1
            continue
        level = [each for each in lines if each.height == 1 and 0 < each.y - part.y < 20 and each.x < part.x]
        branch = max(level, key=lambda each: each.x)  # the one that arrives at it
        (lane,) = (
            each
            for each in lines
            if each.width == 1 and each.x == branch.x and each.y <= branch.y < each.y + each.height
        )
        assert 0 < lane.y - node.y < 20 and node.x < lane.x, f"{below.contribution} hangs on {above}"
        hung.add((branch.x, branch.y))
    assert len(hung) == 5 and under == 6  # a branch each
