"""Attention weights, held against a softmax written out in plain torch on queries and keys that hooks of the test
caught; and where tokens come from, on networks whose attention is known by construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

import fmap_cli as fmap
from fmap_cli.attention.records import Attention, LayerAttention
from fmap_cli.attention.words import looks
from fmap_cli.session.passes import network_inputs

SIZE = 64


def looked(net: nn.Module, layer: Any = (), size: int | tuple[int, int] = SIZE, **asked: Any) -> Attention:
    height, width = (size, size) if isinstance(size, int) else size
    model = fmap.load_model(net, input_shape=(3, height, width), say=lambda _: None)
    return fmap.attention(model, None, layer, say=lambda _: None, **asked)


def only(found: Attention) -> LayerAttention:
    (layer,) = found.layers
    return layer


def fed(net: nn.Module, found: Attention, size: int | tuple[int, int] = SIZE) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    model = fmap.load_model(net, input_shape=(3, height, width), say=lambda _: None)
    (x,) = network_inputs(model, [found.image])
    assert isinstance(x, Tensor)
    return x


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Weights large enough that attention is far from even."""
    torch.manual_seed(3)
    net = make().eval()
    with torch.no_grad():
        for name, each in net.named_parameters():
            if ("qkv" in name or "in_proj" in name) and each.ndim == 2:
                each.mul_(4)
    return net


def caught(net: nn.Module, x: Tensor, path: str) -> tuple[Tensor, ...]:
    """What a module of the network is called with."""
    given: list[tuple[Tensor, ...]] = []
    handle = net.get_submodule(path).register_forward_pre_hook(lambda _m, args: given.append(args))
    try:
        with torch.no_grad():
            net(x)
    finally:
        handle.remove()
    return given[0]


# -- equal to a softmax that is written out ----------------------------------------------------------------------


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def of_multihead(module: Any, x: Tensor) -> Tensor:
    q, k, _ = F.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
    q, k = heads_of(q, module.num_heads), heads_of(k, module.num_heads)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def of_timm(module: Any, x: Tensor) -> Tensor:
    q, k, _ = module.qkv(x).chunk(3, -1)
    q, k = module.q_norm(heads_of(q, module.num_heads)), module.k_norm(heads_of(k, module.num_heads))
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def test_torchvision_vit_by_the_formula_and_its_answer_stays() -> None:
    net = seeded(lambda: models.VisionTransformer(SIZE, 16, 2, 4, 32, 64))
    path = "encoder.layers.encoder_layer_0.self_attention"
    found = looked(net, path)
    x = fed(net, found)
    want = of_multihead(net.get_submodule(path), caught(net, x, path)[0])
    weights = only(found).weights
    assert weights is not None and only(found).how == "torch.nn's fast path"
    np.testing.assert_allclose(weights[0], want[0].detach().numpy(), atol=1e-6)
    module: Any = net.get_submodule(path)
    (tokens, *_) = caught(net, x, path)
    with torch.no_grad():  # what the fast path itself put out
        values = heads_of(F.linear(tokens, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)[2], 4)
        out = module.out_proj((torch.from_numpy(weights) @ values).transpose(1, 2).flatten(2))
        np.testing.assert_allclose(out, module(tokens, tokens, tokens, need_weights=False)[0], atol=1e-5)
    assert want.amax() > 0.1  # far from even, or equality would say little


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_timm_attention_fused_and_not_by_the_formula(fused: bool, qk_norm: bool) -> None:
    timm = pytest.importorskip("timm")

    def make() -> nn.Module:
        return timm.models.vision_transformer.VisionTransformer(
            SIZE, 16, embed_dim=32, depth=2, num_heads=4, num_classes=5, qk_norm=qk_norm
        )

    net = seeded(make)
    for block in net.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = fused
    found = looked(net, "blocks.0")
    want = of_timm(net.get_submodule("blocks.0.attn"), caught(net, fed(net, found), "blocks.0.attn")[0])
    assert only(found).name == "blocks.0.attn"
    np.testing.assert_allclose(only(found).weights[0], want[0].detach().numpy(), atol=1e-6)  # type: ignore[index]


def in_windows(x: Tensor, window: int, shift: int) -> Tensor:
    """`[B, H, W, C]` in shifted windows, `[windows, cells, C]`, by loops."""
    _, height, width, _ = x.shape
    x = x.roll((-shift, -shift), (1, 2))
    parts = [
        x[0, top : top + window, left : left + window].flatten(0, 1)
        for top in range(0, height, window)
        for left in range(0, width, window)
    ]
    return torch.stack(parts)


@pytest.mark.parametrize(("block", "shift"), [("features.1.0.attn", 0), ("features.1.1.attn", 2)])
@pytest.mark.parametrize("version", [1, 2])
def test_swin_by_the_formula_with_its_windows_laid_back(block: str, shift: int, version: int) -> None:
    kinds: Any = {
        1: {},
        2: {
            "block": models.swin_transformer.SwinTransformerBlockV2,
            "downsample_layer": models.swin_transformer.PatchMergingV2,
        },
    }[version]
    net = seeded(lambda: models.SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=5, **kinds))
    found = looked(net, block, at=(5, 6))
    layer, module = only(found), net.get_submodule(block)
    (x,) = caught(net, fed(net, found), block)
    with torch.no_grad():
        windows = in_windows(x, 4, shift)
        q, k, _ = F.linear(windows, module.qkv.weight, module.qkv.bias).chunk(3, -1)
        q, k = heads_of(q, 2), heads_of(k, 2)
        if version == 2:
            scores = (
                F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * module.logit_scale.clamp(max=np.log(100)).exp()
            )
        else:
            scores = q @ k.mT / q.shape[-1] ** 0.5
        scores = scores + module.get_relative_position_bias()
        rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
        # (After the roll, cells that come from other ends of the picture do not see one another.)
        parts = torch.where(rows < 12, 0, torch.where(rows < 14, 1, 2)) * 3
        parts = parts + torch.where(columns < 12, 0, torch.where(columns < 14, 1, 2))
        own = in_windows((parts * (shift > 0))[None, ..., None], 4, 0)[..., 0]
        scores = scores - 100.0 * (own[:, :, None] != own[:, None])[:, None]
        want = scores.softmax(-1)
    assert layer.weights is not None and layer.windows == 16 and layer.heads == 2
    np.testing.assert_allclose(layer.weights, want.numpy(), atol=1e-5)
    # The unit at row 5, column 6 stands in the window of the rolled picture that holds (5 - shift, 6 - shift).
    top, left = (5 - shift) // 4 * 4, (6 - shift) // 4 * 4
    row = want[top // 4 * 4 + left // 4, :, (5 - shift - top) * 4 + 6 - shift - left]  # [heads, 16]
    laid = np.zeros((2, 16, 16))
    laid[:, top + shift : top + shift + 4, left + shift : left + shift + 4] = row.reshape(2, 4, 4).numpy()
    assert layer.maps is not None
    np.testing.assert_allclose(layer.maps[:, 0], laid, atol=1e-5)


@pytest.mark.slow
def test_maxvit_by_the_formula_in_windows_and_on_a_grid() -> None:
    net = seeded(lambda: models.maxvit_t(weights=None))
    x: Tensor | None = None
    for path in ("blocks.0.layers.0.layers.window_attention", "blocks.0.layers.0.layers.grid_attention"):
        found = looked(net, path, size=224)
        x = fed(net, found, 224) if x is None else x
        module = net.get_submodule(f"{path}.attn_layer.1")
        (tokens,) = caught(net, x, f"{path}.attn_layer.1")  # [B, G, P, D]
        with torch.no_grad():
            q, k, _ = module.to_qkv(tokens).chunk(3, -1)
            q, k = heads_of(q, module.n_heads), heads_of(k, module.n_heads)
            want = (q @ k.mT * module.scale_factor + module.get_relative_positional_bias()).softmax(-1)
        layer = only(found)
        assert layer.weights is not None and layer.windows == 64
        np.testing.assert_allclose(layer.weights, want[0].numpy(), atol=1e-5)
        spread = np.argwhere(layer.reach[0])  # type: ignore[index]
        steps = np.unique(np.diff(np.unique(spread[:, 0])))
        assert steps.tolist() == ([1] if "window" in path else [8])


class Own(nn.Module):
    """Patches, and one attention call of one's own."""

    def __init__(self, call: Callable[[Tensor, Tensor, Tensor], Tensor], heads: int = 2, keys: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 8 * keys), nn.Linear(16, 8 * keys)
        self.call, self.heads, self.keys = call, heads, keys

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = heads_of(self.q(tokens) * 3, self.heads), *(heads_of(f(tokens), self.keys) for f in (self.k, self.v))
        return self.call(q, k, v).mean((1, 2))


def _cut(q: Tensor) -> Tensor:
    """A mask in which each query sees every third key, and itself."""
    at = torch.arange(q.shape[-2])
    return (at[:, None] - at) % 3 == 0


CALLS: dict[str, tuple[Any, Any, int]] = {
    "causal": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), lambda q: _causal(q), 2),
    "boolean mask": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=_cut(q)), _cut, 2),
    "additive mask, scale": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=_additive(q), scale=0.7),
        lambda q: _additive(q),
        2,
    ),
    "dropout": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.0), None, 2),
    "grouped queries": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), None, 1),
    "einsum": (
        lambda q, k, v: torch.einsum(
            "bhij,bhjd->bhid", (torch.einsum("bhid,bhjd->bhij", q, k) * 8**-0.5).softmax(-1), v
        ),
        None,
        2,
    ),
    "columns add up to one": (lambda q, k, v: (k @ q.mT * 8**-0.5).softmax(-2).mT @ v, None, 2),
    "dropout that eval forgot": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=1e-9),
        None,
        2,
    ),
    "in place": (lambda q, k, v: (q @ k.mT).mul_(8**-0.5).softmax(-1).mul_(1.0) @ v, None, 2),
}


def _causal(q: Tensor) -> Tensor:
    return torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).tril()


def _additive(q: Tensor) -> Tensor:
    at = torch.arange(q.shape[-2], dtype=torch.float32)
    return -(at[:, None] - at).abs() / 4


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_of_ones_own_by_the_formula(kind: str) -> None:
    call, mask, keys = CALLS[kind]
    torch.manual_seed(1)
    net = Own(call, keys=keys).eval()
    found = looked(net)
    x = fed(net, found)
    with torch.no_grad():
        tokens = net.patches(x).flatten(2).transpose(1, 2)
        q, k = heads_of(net.q(tokens) * 3, 2), heads_of(net.k(tokens), keys)
        scores = q @ k.mT * (0.7 if "scale" in kind else 8**-0.5)
        if mask is not None:
            given = mask(q)
            scores = scores.masked_fill(~given, -torch.inf) if given.dtype == torch.bool else scores + given
        want = scores.softmax(-1)
        v = heads_of(net.v(tokens), keys)
        answer = net(x)
    layer = only(found)
    assert layer.weights is not None
    np.testing.assert_allclose(layer.weights[0], want[0].numpy(), atol=1e-6)
    np.testing.assert_allclose((torch.from_numpy(layer.weights) @ v).mean((1, 2)), answer, atol=1e-5)
    assert layer.query_grid is not None and layer.query_grid.size == (8, 8)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_whole_encoder_layer_in_one_piece_by_its_parts(norm_first: bool) -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first).eval()
    net = nn.Sequential(nn.Conv1d(5, 16, 1), Turned(), encoder)
    with torch.no_grad():
        encoder.self_attn.in_proj_weight.mul_(4)
    model = fmap.load_model(net, input_shape=(5, 12), say=lambda _: None)
    found = fmap.attention(model, at=(7,), say=lambda _: None)
    (x,) = network_inputs(model, [found.image])
    with torch.no_grad():
        tokens = net[1](net[0](x))
        normed = encoder.norm1(tokens) if norm_first else tokens
        _, want = encoder.self_attn(normed, normed, normed, need_weights=True, average_attn_weights=False)
    layer = only(found)
    assert layer.weights is not None and layer.name.startswith("2") and "fast path" in layer.how
    np.testing.assert_allclose(layer.weights[0], want[0].numpy(), atol=1e-6)
    assert not layer.on_plane and layer.query.words == "the unit at step 7"
    steps = np.abs(np.arange(12)[:, None] - np.arange(12))
    np.testing.assert_allclose(layer.numbers.distance, (want[0].numpy() * steps).sum(-1).mean(-1), rtol=1e-4)


class Turned(nn.Module):
    """`[B, C, N]` as `[B, N, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT


def test_a_network_answers_bitwise_the_same_while_it_is_watched() -> None:
    from fmap_cli.attention.calls import AttentionCalls

    nets = [
        models.VisionTransformer(SIZE, 16, 2, 4, 32, 64),
        models.SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=5),
        nn.Sequential(
            nn.Conv2d(3, 16, 8, 8),
            nn.Flatten(2),
            nn.Linear(64, 16),
            nn.TransformerEncoderLayer(16, 2, 8, batch_first=True),
        ),
    ]
    for net in nets:
        net.eval()
        x = torch.rand(1, 3, SIZE, SIZE)
        told: list[Any] = []
        watch = AttentionCalls({}, lambda _path: True, told.append)
        watch.origins.start(x, "BCHW")
        with torch.no_grad():
            plain = net(x)
            with watch:
                seen = net(x)
        assert torch.equal(plain, seen) and told


def test_a_decoder_reads_the_picture_and_its_own_queries() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 16, 16)
            self.ask = nn.Parameter(torch.randn(1, 3, 16))
            self.transformer = nn.Transformer(16, 2, 1, 2, 32, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.transformer(self.patches(x).flatten(2).mT, self.ask).mean(1)  # type: ignore[no-any-return]

    torch.manual_seed(0)
    net = Reads().eval()
    names = ["encoder.layers.0.self_attn", *(f"decoder.layers.{n}.{each}" for n in (0, 1) for each in _DECODER)]
    found = looked(net, "transformer")
    assert [each.name.removeprefix("transformer.") for each in found.calls] == names
    layers = {each.name.removeprefix("transformer."): each for each in found.layers}
    reading, own = (layers[f"decoder.layers.1.{each}"] for each in reversed(_DECODER))
    assert reading.maps is not None and reading.maps.shape == (2, 1, 4, 4) and reading.queries == 3
    assert own.maps is None and (own.queries, own.keys) == (3, 3)
    assert found.figure(own.name).scene.width > 0


_DECODER = ("self_attn", "multihead_attn")


def test_cross_attention_with_padding_by_what_torch_returns() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 16, 16)
            self.ask = nn.Parameter(torch.randn(1, 3, 16))
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: Tensor, need: bool = False) -> Any:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            unseen = torch.arange(tokens.shape[1])[None] >= 12
            out, weights = self.attend(
                self.ask, tokens, tokens, key_padding_mask=unseen, need_weights=need, average_attn_weights=False
            )
            return weights if need else out.mean(1)

    torch.manual_seed(0)
    net = Reads().eval()
    found = looked(net, at=(1,))
    layer = only(found)
    with torch.no_grad():
        want = net(fed(net, found), need=True)[0]
    np.testing.assert_allclose(layer.weights[0], want.numpy(), atol=1e-6)  # type: ignore[index]
    assert (layer.queries, layer.keys, layer.query.words) == (3, 16, "learned query 1")
    np.testing.assert_allclose(layer.maps[:, 0].reshape(2, 16), want[:, 1].numpy(), atol=1e-6)  # type: ignore[index]
    assert (layer.maps[:, 0, 3] == 0).all()  # type: ignore[index]  # the last row of the picture is left out


# -- where tokens come from --------------------------------------------------------------------------------------


class Planted(nn.Module):
    """Each unit looks at the one two rows down and three columns to the right, round the edges."""

    def __init__(self, token: bool) -> None:
        super().__init__()
        self.token = token

    def forward(self, x: Tensor) -> Tensor:
        maps = F.avg_pool2d(x, 8)
        height, width = maps.shape[-2:]
        tokens = maps.flatten(2).transpose(1, 2)
        at = torch.arange(height * width).reshape(height, width)
        target = at.roll((-2, -3), (0, 1)).flatten()
        bias = torch.zeros(len(target), len(target))
        bias[torch.arange(len(target)), target] = 60.0
        if self.token:
            tokens = torch.cat([torch.zeros(len(x), 1, 3), tokens], 1)
            bias = F.pad(bias, (1, 0, 1, 0))
        return F.scaled_dot_product_attention(tokens[:, None], tokens[:, None], tokens[:, None], attn_mask=bias)[
            :, 0
        ].mean(1)


@pytest.mark.parametrize("token", [True, False])
def test_rows_and_columns_are_not_swapped(token: bool) -> None:
    layer = only(looked(Planted(token), size=(48, 80), at=(1, 4)))
    assert layer.maps is not None and layer.maps.shape == (1, 1, 6, 10)
    assert np.argwhere(layer.maps[0, 0] > 0.99).tolist() == [[3, 7]]
    assert layer.numbers.own_distance[0] == pytest.approx(8 * 13**0.5, rel=1e-4)
    assert layer.numbers.own_entropy[0] == pytest.approx(0, abs=1e-4)
    assert layer.query.pixels == (11.5, 35.5)


def said(found: Attention) -> str:
    return looks(only(found), found.origin.called)


def test_the_sentence_names_the_place_that_is_looked_at_and_what_even_would_be() -> None:
    assert said(looked(Planted(False), size=(48, 80), at=(1, 4))) == (
        "It looks most at row 3, column 7: 100 %, where even would be 1.7 %."
    )
    even = said(looked(Planted(False), size=(48, 80), at="mean"))
    assert even == "They look at all 60 places nearly alike: at most 1.7 % at one, where even would be 1.7 %."


class InTime(nn.Module):
    """Each unit looks at the frame after its own, one row down; or, of a sequence, two steps on."""

    def forward(self, x: Tensor) -> Tensor:
        maps = F.avg_pool3d(x, (2, 8, 8)) if x.ndim == 5 else F.avg_pool1d(x, 4)
        tokens = maps.flatten(2).transpose(1, 2)
        at = torch.arange(tokens.shape[1]).reshape(maps.shape[2:])
        target = (at.roll((-1, -1), (0, 1)) if x.ndim == 5 else at.roll(-2)).flatten()
        bias = torch.zeros(len(target), len(target))
        bias[torch.arange(len(target)), target] = 60.0
        return F.scaled_dot_product_attention(*[tokens[:, None]] * 3, attn_mask=bias)[:, 0].mean(1)


@pytest.mark.parametrize(
    ("shape", "at", "words"),
    [((3, 8, 24, 32), (0, 1, 3), "frame 1, row 2, column 3"), ((3, 40), (3,), "step 5")],
    ids=["clip", "sequence"],
)
def test_the_sentence_of_a_clip_names_the_frame_and_of_a_sequence_the_step(
    shape: tuple[int, ...], at: tuple[int, ...], words: str
) -> None:
    model = fmap.load_model(InTime(), input_shape=shape, say=lambda _: None)
    assert f" most at {words}: 100 %" in said(fmap.attention(model, at=at, say=lambda _: None))


def test_a_class_token_is_drawn_where_there_is_one_and_numbers_are_by_hand() -> None:
    layer = only(looked(Planted(True), size=(48, 80)))
    assert layer.query.words == "the class token"
    np.testing.assert_allclose(layer.rows, 1 / 61, atol=1e-6)
    assert layer.numbers.own_entropy[0] == pytest.approx(np.log2(61), abs=1e-5)
    assert layer.numbers.nowhere[0] == pytest.approx(1 / 61, abs=1e-6)
    # Each of the 60 units looks at one: 4 of 6 rows 2 down and 2 of them 4 up, 7 of 10 columns 3 right and 3 7 left.
    want = np.mean([8 * np.hypot(2 if y < 4 else 4, 3 if x < 7 else 7) for y in range(6) for x in range(10)])
    assert layer.numbers.distance[0] == pytest.approx(want, rel=1e-4)


def test_the_mean_over_all_units_is_what_they_look_at_on_average() -> None:
    layer = only(looked(Planted(False), size=(48, 80), at="mean"))
    np.testing.assert_allclose(layer.maps, 1 / 60, atol=1e-6)  # each is looked at once
    assert layer.numbers.entropy[0] == pytest.approx(0, abs=1e-4)


def test_rollout_is_the_product_with_the_residual_branch() -> None:
    net = seeded(lambda: models.VisionTransformer(SIZE, 16, 3, 4, 32, 64))
    own = only(looked(net))
    np.testing.assert_allclose(own.numbers.peak, own.rows[:, 1:].max(1))  # on a place, not on the class token
    assert (own.numbers.peak_key == own.rows[:, 1:].argmax(1) + 1).all()
    together = np.eye(17)
    for each in looked(net, "encoder").layers:
        assert each.weights is not None
        together = (0.5 * each.weights[0].mean(0) + 0.5 * np.eye(17)) @ together
    found = only(looked(net, rollout=True))
    np.testing.assert_allclose(found.rows[-1], together[0], atol=1e-5)
    assert list(found.of_rollout) == [f"encoder.layers.encoder_layer_{n}.self_attention" for n in range(3)]


def test_pieces_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from fmap_cli.attention import gather, numbers

    net = seeded(lambda: models.VisionTransformer(SIZE, 16, 2, 4, 32, 64))
    whole = only(looked(net, at=(2, 1)))
    monkeypatch.setattr(numbers, "_VALUES", 4 * 17 * 3)  # three queries at a time
    monkeypatch.setattr(gather, "WHOLE_UP_TO", 10)
    pieces = only(looked(net, at=(2, 1)))
    assert whole.weights is not None and pieces.weights is None
    np.testing.assert_allclose(whole.rows, pieces.rows, atol=1e-6)
    np.testing.assert_allclose(whole.numbers.entropy, pieces.numbers.entropy, rtol=1e-5)
    np.testing.assert_allclose(whole.numbers.distance, pieces.numbers.distance, rtol=1e-5)
    np.testing.assert_allclose(whole.rows, whole.weights[0, :, 1 + 2 * 4 + 1])


# -- what cannot be drawn ----------------------------------------------------------------------------------------


def message(net: nn.Module, *args: Any, **asked: Any) -> str:
    with pytest.raises(fmap.FmapError) as error:
        looked(net, *args, **asked)
    return f"{error.value.message} {error.value.hint or ''}"


def test_what_has_no_attention_is_said() -> None:
    conv = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1))
    assert "no attention call ran" in message(conv)
    linear = Own(lambda q, k, v: q.relu() @ (k.relu().mT @ v))
    assert "linear attention" in message(linear)
    normed = Own(lambda q, k, v: q.softmax(-1) @ (k.softmax(-2).mT @ v))
    assert "linear attention" in message(normed)
    channels = Own(lambda q, k, v: ((q.mT @ k).softmax(-1) @ v.mT).mT)
    assert "between channels" in message(channels)


def test_a_layer_or_a_unit_that_is_not_there_is_said() -> None:
    net = models.VisionTransformer(SIZE, 16, 2, 4, 32, 64).eval()
    assert "It ran in encoder.layers.encoder_layer_0.self_attention" in message(net, "conv_proj")
    assert "rows 0 to 3, columns 0 to 3" in message(net, at=(9, 9))
    assert "no class token" in message(Planted(False), at="class")
    swin = models.SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=5).eval()
    assert "looks within windows" in message(swin, rollout=True)
    with pytest.raises(fmap.FmapError, match="at is 'top'"):
        looked(net, at="top")
    with pytest.raises(fmap.FmapError, match="rollout is 1"):
        looked(net, rollout=1)


def test_layers_are_named_by_who_calls() -> None:
    net = models.VisionTransformer(SIZE, 16, 2, 4, 32, 64).eval()
    names = [f"encoder.layers.encoder_layer_{n}.self_attention" for n in range(2)]
    assert [each.name for each in looked(net).calls] == names
    assert [each.name for each in looked(net).layers] == names[1:]
    assert [each.name for each in looked(net, "first").layers] == names[:1]
    assert [each.name for each in looked(net, "*.self_attention").layers] == names
    assert [each.name for each in looked(net, "encoder.layers.encoder_layer_0").layers] == names[:1]


def test_distances_of_a_volume_are_in_voxels_and_layers_named_by_a_number_are_called_so() -> None:
    from fmap_cli.attention.figure import attention_figure
    from fmap_cli.attention.words import distance
    from fmap_cli.drawing.scene import Text

    class Patches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).transpose(1, 2)

    torch.manual_seed(0)
    attend = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    net = nn.Sequential(nn.Conv3d(1, 16, 4, 4), Patches(), attend).eval()
    model = fmap.load_model(net, input_shape=(1, 8, 16, 16), say=lambda _: None)
    found = fmap.attention(model, say=lambda _: None)
    layer = only(found)
    told = [each.text for each in attention_figure(found, layer).items if isinstance(each, Text)]
    away = distance(float(layer.numbers.own_distance[0]), layer, found.origin.called)
    assert away == f"{layer.numbers.own_distance[0]:.0f} voxels"
    assert any(each.endswith(away) for each in told)
    assert not any("px" in each or "pixels" in each for each in told if "saw" not in each)
