"""Attention calls as they run: which they are, by the module that makes them, and what their weights are.

Beneath a dispatch mode the fused kernels show with their queries and keys, and attention that is written out as a
softmax of a product that a product with the values follows. The pass itself runs as it always does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ..network.calls import taken_apart, tensors_in
from .origins import Note, Origins, Planes, mean_over
from .scores import Laid, Scored, Scores

_SOFTMAX = frozenset("_softmax _safe_softmax softmax".split())
_PRODUCTS = frozenset("mm bmm matmul addmm baddbmm".split())


@dataclass(eq=False, slots=True)
class AttentionCall:
    """One attention call: the module that made it, the `shape` of its weights, where queries and keys come from.

    `queries` are coordinates `[L, Nq]` for each axis of the input, `keys` `[L, Nk]`, L being all axes before (images,
    windows, heads) in one; None where that is not known. `scores` compute the weights again; None where they were not
    asked for.
    """

    path: str
    how: str
    shape: tuple[int, ...]
    queries: Planes | None
    keys: Planes | None
    scores: Scores | None
    name: str = ""
    lost: str = ""

    @property
    def of_channels(self) -> bool:
        """Whether what attends to one another are channels: all come from one place, which is everywhere."""
        if self.keys is None or self.queries is None or self.shape[-1] < 2:
            return False
        return all(_constant(each) for each in (*self.keys, *self.queries))


def _constant(plane: Tensor) -> bool:
    return not bool(plane.isnan().any()) and bool((plane - plane[:, :1]).abs().max() < 1e-2)


class AttentionCalls(TorchDispatchMode):
    """While it is on, writes down every attention call; `keep(path)` says whether its weights are wanted, and `found`
    is told of each as it is sure.
    """

    supports_higher_order_operators = True

    def __init__(
        self, modules: dict[str, nn.Module], keep: Callable[[str], bool], found: Callable[[AttentionCall], None]
    ) -> None:
        super().__init__()
        self.origins = Origins()
        self.softmaxes = 0  # of no product of queries and keys
        self._modules = modules
        self._keep = keep
        self._found = found
        self._running: list[str] = []
        self._sure: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def call(self, path: str, begins: bool) -> None:
        """A module's call begins or has ended."""
        if begins:
            self._running.append(path)
        elif self._running:
            self._running.pop()

    @property
    def path(self) -> str:
        """The module that runs; of a softmax or a dropout of its own, the one that it belongs to."""
        for path in reversed(self._running):
            if not isinstance(self._modules.get(path), (nn.Softmax, nn.Softmax2d, nn.Dropout, nn.Identity)):
                return path
        return ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (output := taken_apart(self, func, args, kwargs)) is not NotImplemented:
            return output
        schema = getattr(func, "_schema", None)
        if schema is None:
            return func(*args, **kwargs)
        given = {each.name: each.default_value for each in schema.arguments if each.has_default_value()}
        given.update(zip((each.name for each in schema.arguments), args, strict=False))
        given.update(kwargs)
        name = schema.name.rpartition("::")[2].removesuffix("_")
        before = self._before(name, given)
        output = func(*args, **kwargs)
        with torch.no_grad():
            if not self._is_attention(name, given, output, before):
                self.origins.carry(name, func, args, kwargs, given, output)
        return output

    def _before(self, name: str, given: dict[str, Any]) -> Note | None:
        """The scores that a softmax takes, which it may write over."""
        return self.origins.of(given.get("self")) if name in _SOFTMAX else None

    def _is_attention(self, name: str, given: dict[str, Any], output: Any, before: Note | None) -> bool:
        if name.startswith("_scaled_dot_product") and "query" in given:
            self._fused(given, output)
        elif name == "_native_multi_head_attention":
            self._layer(given, given["query"], given["num_head"], output)
        elif name == "_transformer_encoder_layer_fwd":
            self._encoder(given, output)
        elif name in _SOFTMAX and isinstance(output, Tensor):
            return self._softmax(given["dim"], output, before)
        elif name in _PRODUCTS:
            self._product(given)
            return False
        else:
            return False
        return True

    # -- in one piece ------------------------------------------------------------------------------------------------

    def _fused(self, given: dict[str, Any], output: Any) -> None:
        query, key = given["query"], given["key"]
        mask = given.get("attn_mask", given.get("attn_bias"))
        self._scored("scaled_dot_product_attention", query, key, mask, bool(given.get("is_causal")), given.get("scale"))
        self._came_out(query, output)

    def _came_out(self, query: Tensor, output: Any) -> None:
        """The output's rows stand where the queries do."""
        note = self.origins.of(query)
        for each in tensors_in([output]):
            if each.shape[:-1] == query.shape[:-1]:
                places = self.origins.nowhere(each)
                if note is not None and note.places is not None:
                    places = tuple(mean_over(plane, -1).unsqueeze(-1).expand(each.shape) for plane in note.places)
                self.origins.set(each, Note(places))
            break

    def _scored(
        self, how: str, query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float | None
    ) -> None:
        path = self.path
        kept = Scored.copied(query, key, mask, causal, scale) if self._keep(path) else None
        shape = (*query.shape[:-1], key.shape[-2])
        leading = query.shape[:-2]
        queries, keys = (self._tokens(each, leading) for each in (query, key))
        self._found(AttentionCall(path, how, shape, queries, keys, kept, lost=self.origins.lost))

    def _tokens(self, tensor: Tensor, leading: torch.Size) -> Planes | None:
        """Where tokens `[…, N, channels]` come from, `[L, N]`."""
        note = self.origins.of(tensor)
        if note is None or note.places is None:
            return None
        planes = [mean_over(each, -1) for each in note.places]
        if planes[0].shape[:-1] != leading:  # several heads of queries share one of keys
            each = leading[-1] // planes[0].shape[-2]
            planes = [plane.repeat_interleave(each, -2) for plane in planes]
        return tuple(plane.reshape(-1, plane.shape[-1]).clone() for plane in planes)

    def _layer(self, given: dict[str, Any], x: Tensor, heads: int, output: Any, how: str = "") -> None:
        if x.is_nested:
            return
        weight, bias = given["qkv_weight"], given.get("qkv_bias")
        if self._keep(self.path):
            query, key, _ = (
                each.unflatten(-1, (heads, -1)).transpose(-2, -3) for each in F.linear(x, weight, bias).chunk(3, -1)
            )
        else:
            shape = (*x.shape[:-2], heads, x.shape[-2], x.shape[-1] // heads)
            query, key = (torch.empty(shape, device="meta") for _ in range(2))
        note = self.origins.of(x)
        if note is not None and note.places is not None:
            places = tuple(mean_over(p, -1)[..., None, :, None].expand(query.shape) for p in note.places)
            for each in (query, key):
                self.origins.set(each, Note(places))
        mask = given.get("mask")
        if mask is not None:
            if mask.ndim == 2 and given.get("mask_type") == 1:  # of keys that are padding, an image each
                mask = mask[:, None, None]
            if mask.dtype == torch.bool:  # True is left out here
                mask = torch.zeros(mask.shape, device=x.device).masked_fill(mask, -torch.inf)
        self._scored(how or "torch.nn's fast path", query, key, mask, False, None)
        self._came_out(x, output)

    def _encoder(self, given: dict[str, Any], output: Any) -> None:
        x = given["src"]
        if given["norm_first"] and not x.is_nested:
            normed = F.layer_norm(x, x.shape[-1:], given["norm_weight_1"], given["norm_bias_1"], given["eps"])
            note = self.origins.of(x)
            self.origins.set(normed, note)
            x = normed
        self._layer(given, x, given["num_heads"], output, "torch.nn's fast path of a whole encoder layer")

    # -- written out -------------------------------------------------------------------------------------------------

    def _softmax(self, dim: int, output: Tensor, note: Note | None) -> bool:
        if note is None or output.ndim < 2:
            return False
        if not note.scores:
            self.softmaxes += 1
            return False
        path = self.path
        rows, columns = note.places, note.columns
        laid = output.transpose(dim, -1)

        def tokens(planes: Planes | None, axis: int) -> Planes | None:
            """Where the queries (axis -2) or the keys (-1) come from, `[L, N]`."""
            if planes is None:
                return None
            along = [mean_over(each.transpose(dim, -1), -3 - axis) for each in planes]
            return tuple(each.reshape(-1, each.shape[-1]).clone() for each in along)

        if rows is not None and (columns is None or _varies(rows, dim) > _varies(columns, dim)):
            rows, columns = columns, rows
        queries, keys = tokens(rows, -2), tokens(columns, -1)
        kept = Laid.copied(laid) if self._keep(path) else None
        call = AttentionCall(
            path, "softmax of a product", tuple(laid.shape), queries, keys, kept, lost=self.origins.lost
        )
        self.origins.set(output, Note(rows, columns, weights=call))
        return True

    def _product(self, given: dict[str, Any]) -> None:
        """What a product adds up by the weights of a softmax is attention."""
        factors = [each for each in given.values() if isinstance(each, Tensor)]
        notes = [self.origins.of(each) for each in factors]
        calls = [each.weights for each in notes if each is not None and each.weights is not None]
        others = [each for each in notes if each is not None and each.weights is None]
        if calls and others and id(calls[0]) not in self._sure:
            self._sure.add(id(calls[0]))
            self._kept = calls  # so that no other takes its number
            self._found(calls[0])


def _varies(planes: Planes, dim: int) -> float:
    """How far places are apart along an axis."""
    spans = []
    for plane in planes:
        if plane.stride(dim) and plane.shape[dim] > 1:
            known = plane.nan_to_num(0.0)
            spans.append(float((known.amax(dim) - known.amin(dim)).mean()))
    return max(spans, default=0.0)
